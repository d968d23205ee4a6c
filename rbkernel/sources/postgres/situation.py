"""A snapshot of a server: its sessions, the state of each, and which sessions wait for which.

A `Situation` is a value, which can be stored, and judged later by the same rules. Every session is
in exactly one class (`doing`), and a parallel worker counts as a part of its leader.

The rows of one statement are not read at exactly one moment. Measured under load, 22 % of the lock
waiters had no blocker in the same statement. So a wait counts only if it has lasted `SETTLED_S`, or
if two snapshots show the wait (`settled`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from rbkernel.errors import DatabaseError
from rbkernel.model import Verdict, now
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session

# duration in s after which a wait counts in a single snapshot: the default of deadlock_timeout,
# after which PostgreSQL itself reports a wait (log_lock_waits)
SETTLED_S = 1.0
# s between two snapshots: in this time the head of a moving queue has usually changed
_APART_S = 0.4
# the pid that pg_blocking_pids returns for prepared transactions
PREPARED = 0


class Doing(StrEnum):
    """The state of a session; each session is in exactly one state."""

    LOCK = "waits for a lock"
    SAFE_SNAPSHOT = "waits for a safe snapshot"
    PAGE = "waits for a page in use"
    SYNCHRONOUS = "waits for a synchronous standby"
    IO = "waits for IO"
    OTHER_WAIT = "waits for something else"
    RUNNING = "running"
    HOLDS_LOCKS = "idle in transaction, holding locks"
    HOLDS_HORIZON = "idle in transaction, holding back vacuum"
    IDLE_IN_TRANSACTION = "idle in transaction"
    IDLE = "idle"
    BACKGROUND = "background"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One process of the PostgreSQL server; the fields are the columns of ``situation/sessions``.

    Times are in s. ``blocked_by`` holds pids, `PREPARED` for prepared transactions; if the process
    waits for a page, they are all possible holders. ``row_unseen`` is true if the row that the
    process waits for may have holders that are not known.
    """

    pid: int
    leader_pid: int | None = None
    backend_type: str = "client backend"
    backend_start: datetime | None = None
    application: str = ""
    username: str | None = None
    database: str | None = None
    client: str | None = None
    state: str | None = None
    state_s: float | None = None
    transaction_s: float | None = None
    query_s: float | None = None
    query_start: datetime | None = None
    wait_type: str | None = None
    wait_event: str | None = None
    has_xid: bool = False
    writes: bool = False
    xmin_age: int | None = None
    strong_lock: str | None = None
    locktype: str | None = None
    mode: str | None = None
    relation: str | None = None
    wait_s: float | None = None
    waits_for_xid: str | None = None
    row_relation: int | None = None
    row_ctid: str | None = None
    blocked_by: tuple[int, ...] = ()
    row_unseen: bool = False
    query: str = ""

    @property
    def name(self) -> str:
        """The name of the application, else role and client address, else the type of the
        process.
        """
        if self.application or not (self.is_client and self.username):
            return self.application or self.backend_type
        return f"{self.username}@{self.client or 'local'}"

    @property
    def is_client(self) -> bool:
        """Whether the process is a session of an application."""
        return self.backend_type == "client backend"

    @property
    def idle_in_transaction(self) -> bool:
        """Whether the session has an open transaction and does nothing."""
        return (self.state or "").startswith("idle in transaction")

    @property
    def at_rest(self) -> bool:
        """Whether the session has no running query that could be cancelled.

        A COPY whose client sends nothing does not react to a cancel.
        """
        return self.idle_in_transaction or self.state == "idle" or self.wait_event == "ClientRead"

    @property
    def passes_on(self) -> bool:
        """Whether the session's transaction is too young to have blocked others for long.

        >>> Backend(pid=1, transaction_s=0.2).passes_on, Backend(pid=1, transaction_s=9).passes_on
        (True, False)
        """
        return self.is_client and self.transaction_s is not None and self.transaction_s < SETTLED_S

    @property
    def held_up(self) -> bool:
        """Whether the session waits for another session, so that it is a victim, never a
        culprit.
        """
        return self.doing in _HELD_UP

    @property
    def doing(self) -> Doing:
        """The state of this session, which is exactly one of `Doing`.

        >>> Backend(pid=1, state="active", wait_type="Lock", locktype="tuple").doing.value
        'waits for a lock'
        >>> Backend(pid=1, state="active", wait_type="IPC", wait_event="SyncRep").doing.value
        'waits for a synchronous standby'
        >>> Backend(pid=1, backend_type="autovacuum worker", wait_type="BufferPin").doing.value
        'waits for a page in use'
        >>> Backend(pid=1, state="disabled").doing, Backend(pid=1, state=None).doing
        (<Doing.UNKNOWN: 'unknown'>, <Doing.UNKNOWN: 'unknown'>)
        >>> Backend(pid=1, state="idle in transaction", has_xid=True).doing.value
        'idle in transaction, holding locks'
        """
        if self.locktype is not None:
            return Doing.LOCK
        if self.wait_event == "SafeSnapshot":
            return Doing.SAFE_SNAPSHOT
        # waits of replay are handled in `causes.recovery`
        if self.wait_type == "BufferPin" and self.backend_type != "startup":
            return Doing.PAGE
        if self.wait_event == "SyncRep":
            return Doing.SYNCHRONOUS
        if not self.is_client:
            return Doing.BACKGROUND
        if self.state == "idle":
            return Doing.IDLE
        if self.idle_in_transaction:
            return self._idle_in_transaction()
        if self.state in {"active", "fastpath function call"}:
            return _BUSY.get(self.wait_type or "", Doing.OTHER_WAIT)
        return Doing.UNKNOWN

    def _idle_in_transaction(self) -> Doing:
        if self.has_xid or self.strong_lock:
            return Doing.HOLDS_LOCKS
        return Doing.HOLDS_HORIZON if self.xmin_age is not None else Doing.IDLE_IN_TRANSACTION


_BUSY = {"": Doing.RUNNING, "IO": Doing.IO}
_HELD_UP = {Doing.LOCK, Doing.SAFE_SNAPSHOT, Doing.PAGE}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prepared transaction; ``prepared_s`` is the time since it was prepared."""

    name: str
    owner: str
    prepared_s: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A replication problem that a rule found; ``column`` is the column that the rule judges."""

    column: str
    title: str
    verdict: str
    actual: str
    value: float | None = None
    next_step: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the verdict on the problem is warning or critical."""
        return self.verdict in {Verdict.WARNING, Verdict.CRITICAL}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A snapshot of a server's processes, waits and replication.

    ``backends`` are all processes of the server except rbkernel's own, with parallel workers merged
    into their leaders; ``passing`` is the number of waits that are too short to count.
    ``replication`` holds the problems that the rules of replication found, ``standby_name`` the
    standby that a primary must have. Replay on a standby cancels a query that it waits for after
    ``replay_waits_s`` at the latest; None for never. If the snapshot failed, ``reason`` is the
    reason as text, and ``trouble`` the name of the `troubles.Trouble`.
    """

    connection: str
    at: str
    backends: tuple[Backend, ...] = ()
    prepared: tuple[Prepared, ...] = ()
    standby: bool = False
    usable: int = 0
    used: int = 0
    limited_roles: tuple[str, ...] = ()
    limited_databases: tuple[str, ...] = ()
    synchronous_standbys: str = ""
    synchronous_connected: int = 0
    senders: tuple[str, ...] = ()
    replay_waits_s: float | None = None
    passing: int = 0
    replication: tuple[Measured, ...] = ()
    standby_name: str = ""
    reason: str = ""
    next_step: str = ""
    trouble: str = ""

    @property
    def clients(self) -> list[Backend]:
        """The sessions of applications in the snapshot."""
        return [backend for backend in self.backends if backend.is_client]

    def backend(self, pid: int) -> Backend | None:
        """Return the server process with this pid; None if there is none."""
        return next((backend for backend in self.backends if backend.pid == pid), None)

    def share_of_slots(self, sessions: int) -> float:
        """Return a number of sessions as % of the connection slots for ordinary roles."""
        return 100.0 * sessions / self.usable if self.usable else 0.0


def look(session: Session) -> Situation:
    """Take a snapshot of a server; take a second one if a wait is too short to count.

    Parameters
    ----------
    session
        The connection.

    Returns
    -------
    Situation
        The snapshot; ``reason`` is set if the server could not be queried.
    """
    first = look_once(session)
    if not any(_too_young(backend) for backend in first.backends):
        return settled(first)
    time.sleep(_APART_S)
    return settled(first, look_once(session))


def settled(first: Situation, second: Situation | None = None) -> Situation:
    """Return a snapshot without the waits that are shorter than `SETTLED_S` and not in both
    snapshots.

    A wait is in both snapshots if the session waits behind the same root in both, directly or not,
    because clients with a short lock_timeout wait repeatedly, each time in another place of the
    queue. If the first session of a queue is new, the queue is moving, and its waits do not count.
    If a wait counts, the waits of its blockers count, too.

    >>> waits = Backend(pid=2, locktype="tuple", wait_s=0.1, blocked_by=(1,))
    >>> one = Situation(connection="db", at="", backends=(waits,))
    >>> settled(one).passing, settled(one, one).passing
    (1, 0)
    >>> root, other = Backend(pid=1), replace(waits, pid=3, blocked_by=(2, 1))
    >>> swapped = (replace(waits, blocked_by=(3, 1)), replace(other, blocked_by=(1,)), root)
    >>> settled(replace(one, backends=(waits, other, root)), replace(one, backends=swapped)).passing
    0
    >>> moving = replace(one, backends=(waits, Backend(pid=1, transaction_s=0.2)))
    >>> settled(moving, moving).passing
    1
    """
    latest = second or first
    if latest.reason:
        return latest
    before = _ahead(first.backends) if second else {}
    ahead = _ahead(latest.backends)
    counted = {
        one.pid
        for one in latest.backends
        if one.blocked_by
        and (not _too_young(one) or ahead[_who(one)] & before.get(_who(one), frozenset()))
    }
    reached = [*counted]
    blockers = {one.pid: one.blocked_by for one in latest.backends}
    while reached:
        reached = [pid for pid in blockers.get(reached.pop(), ()) if pid not in counted] + reached
        counted.update(reached)
    backends = [
        one if one.pid in counted or not _too_young(one) else replace(one, blocked_by=())
        for one in latest.backends
    ]
    passing = sum(_too_young(one) and one.pid not in counted for one in latest.backends)
    return replace(latest, backends=tuple(backends), passing=passing)


def _ahead(backends: Iterable[Backend]) -> dict[Hashable, frozenset[Hashable]]:
    """Return the root blockers of each waiting session, without roots whose transaction is
    young.
    """
    known = {one.pid: one for one in backends}
    waiters: dict[int, list[int]] = defaultdict(list)
    for one in known.values():
        for pid in one.blocked_by:
            waiters[pid].append(one.pid)
    found: dict[int, set[Hashable]] = {one.pid: set() for one in known.values()}
    roots = waiters.keys() - {one.pid for one in known.values() if one.blocked_by}
    for root in roots - {one.pid for one in known.values() if one.passes_on}:
        queue, seen = [root], {root}
        while queue:
            behind = [pid for pid in waiters[queue.pop()] if pid not in seen]
            seen.update(behind)
            queue += behind
        for pid in seen - {root}:
            found[pid].add(_same(known, root))
    return {_who(known[pid]): frozenset(those) for pid, those in found.items()}


def _who(backend: Backend) -> Hashable:
    return backend.pid, backend.backend_start


def _same(known: Mapping[int, Backend], pid: int) -> Hashable:
    """Return a key for a blocking session and its query: with another query, it counts as a new
    blocker.
    """
    one = known.get(pid)
    return (pid, one.backend_start, one.query_start) if one else pid


def _too_young(backend: Backend) -> bool:
    return backend.held_up and (backend.wait_s or 0.0) < SETTLED_S


def look_once(session: Session) -> Situation:
    """Take one snapshot of a server, with all waits; `settled` decides which waits count."""
    at, name = now(), session.connection.name
    sessions = diagnostics.ask(session, "situation/sessions")
    server = diagnostics.ask(session, "situation/server")
    for provenance in (sessions.provenance, server.provenance):
        if provenance.reason or provenance.cut_by:
            return Situation(
                connection=name,
                at=at,
                reason=provenance.reason or f"the answer was cut by {provenance.cut_by}",
                next_step=provenance.next_step,
                trouble=provenance.trouble,
            )
    backends = _folded(_backend(row) for row in sessions.records())
    return _situation(name, at, backends, server.records()[0])


def unanswered(connection: str, error: DatabaseError) -> Situation:
    """Return the situation of a server that could not be queried."""
    return Situation(
        connection=connection,
        at=now(),
        reason=error.what,
        next_step=error.next_step,
        trouble=error.trouble,
    )


def _situation(
    name: str, at: str, backends: tuple[Backend, ...], server: Mapping[str, Any]
) -> Situation:
    facts = dict(server)
    names, owners, ages = (facts.pop(key) for key in ("prepared", "prepared_owners", "prepared_s"))
    prepared = tuple(
        Prepared(name=gid, owner=owner, prepared_s=age)
        for gid, owner, age in zip(names, owners, ages, strict=True)
    )
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
    }
    return Situation(connection=name, at=at, backends=backends, prepared=prepared, **known)


def _backend(row: Mapping[str, Any]) -> Backend:
    given = {key: value for key, value in row.items() if value is not None}
    return Backend(**{**given, "blocked_by": tuple(given.get("blocked_by", ()))})


def _folded(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """Merge parallel workers into their leaders, so that the waits of a worker count for its
    leader.

    >>> leader = Backend(pid=1, state="active", wait_type="IPC")
    >>> worker = Backend(pid=2, leader_pid=1, backend_type="parallel worker", locktype="relation",
    ...                  wait_s=4.0, blocked_by=(9,))
    >>> [folded] = _folded([leader, worker])
    >>> folded.pid, folded.blocked_by, folded.doing.value
    (1, (9,), 'waits for a lock')
    """
    every = {backend.pid: backend for backend in backends}
    leaders = {
        pid: one.leader_pid
        for pid, one in every.items()
        if one.leader_pid in every and one.backend_type == "parallel worker"
    }
    for pid, leader_pid in leaders.items():
        worker, leader = every.pop(pid), every[leader_pid]
        if worker.held_up and not leader.held_up:
            every[leader.pid] = replace(leader, **{key: getattr(worker, key) for key in _WAIT})
    return tuple(replace(one, blocked_by=_leaders_of(one, leaders)) for one in every.values())


_WAIT = (
    "wait_type",
    "wait_event",
    "locktype",
    "mode",
    "relation",
    "wait_s",
    "waits_for_xid",
    "blocked_by",
)


def _leaders_of(backend: Backend, leaders: Mapping[int, int | None]) -> tuple[int, ...]:
    found = dict.fromkeys(leaders.get(pid) or pid for pid in backend.blocked_by)
    return tuple(pid for pid in found if pid != backend.pid)
