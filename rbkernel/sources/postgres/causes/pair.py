"""Find the causes that only a comparison of a primary and its standby shows. Pure.

The state of one server alone can be misleading. A standby that is cut off from its sender, or whose
sender is cut off, has replayed everything that it received. If two servers both accept writes, each
alone looks like a healthy primary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.blocking import trees
from rbkernel.sources.postgres.causes.cause import REPLICATION, Cause, identity, level
from rbkernel.sources.postgres.remedy import Remedy, forbidden, loss
from rbkernel.sources.postgres.situation import Situation

# limits of a standby's lag in s (as in replication/standby: seeds 001 and 003, and a burst)
_WARN_S, _CRITICAL_S = 2.0, 15.0
# s that a standby with a configured delay may be behind it: twice the default of
# wal_receiver_status_interval, after which it tells an idle primary what it has replayed; and 5 s
_REPORTS_S = 25.0
# the only lock mode on tables that a standby replays
_REPLAYED = "AccessExclusiveLock"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One server of a primary and standby pair; the fields are the columns of
    ``situation/position``.
    """

    connection: str
    standby: bool
    system_identifier: str | None = None
    timeline: int | None = None
    lsn: str | None = None
    position: int | None = None
    newest_commit_s: float | None = None
    started_at: Any = None
    address: str | None = None
    apply_delay_s: float = 0.0
    delaying: bool = False

    @property
    def meant_s(self) -> float:
        """By how many s the standby may be behind, since a delay is configured; 0 without one.

        While replay waits for the delay to pass, what comes next is younger than the delay.
        """
        if self.delaying:
            return inf
        return self.apply_delay_s + _REPORTS_S if self.apply_delay_s else 0.0

    def is_copy_of(self, other: Member) -> bool:
        """Whether this server and the other one are known to be copies of one cluster."""
        own, others = self.system_identifier, other.system_identifier
        return own is not None and own == others

    def is_same_server(self, other: Member) -> bool:
        """Whether two connections lead to the same server."""
        return self.is_copy_of(other) and self.started_at == other.started_at


def roles(primary: Member, standby: Member) -> Iterator[Cause]:
    """Yield a cause if primary and standby both accept writes, are one server, or have swapped
    roles.

    >>> def member(name, standby, start=0):
    ...     return Member(connection=name, standby=standby, system_identifier="7", timeline=1,
    ...                   started_at=start)
    >>> [cause] = roles(member("one", False), member("two", False, 1))
    >>> cause.headline
    'Two writable primaries of one cluster: one (timeline 1) and two (timeline 1)'
    >>> list(roles(member("one", False), member("two", True, 1)))
    []
    """
    if not standby.is_copy_of(primary):
        return
    if standby.is_same_server(primary):
        yield Cause(
            headline=f"{standby.connection} leads to the same server as {primary.connection},"
            " so no standby was checked",
            mechanism="two connections lead to one server",
            verdict=Verdict.UNKNOWN,
            next_step=f"correct host and port of {standby.connection} in rbkernel.toml",
        )
    elif not primary.standby and not standby.standby:
        named = " and ".join(
            f"{one.connection} (timeline {one.timeline})" for one in (primary, standby)
        )
        yield Cause(
            headline=f"Two writable primaries of one cluster: {named}",
            mechanism=f"{standby.connection} was promoted, and {primary.connection} still accepts"
            " writes: what is written to one is missing on the other",
            verdict=Verdict.CRITICAL,
            next_step="Decide which of them is the primary, and stop all writes to the other one"
            " now; save what was written there, then rebuild it as a standby (pg_rewind or a new"
            " base backup)",
            opens="RUN-030",
            explains=("RUN-005", "RUN-018"),
        )
    elif primary.standby and not standby.standby:
        yield Cause(
            headline=f"{standby.connection} is the primary now, and {primary.connection} a standby",
            mechanism="a failover has happened, but the connections still have their old roles",
            verdict=Verdict.WARNING,
            next_step="check that the applications write to the new primary; then exchange the two"
            " connections in rbkernel.toml",
            opens="RUN-005",
            explains=("RUN-005",),
        )


def alone(primary: str, standby: Member) -> Iterator[Cause]:
    """Yield a cause if a standby was promoted and its former primary does not answer."""
    if not standby.standby:
        yield Cause(
            headline=f"{standby.connection} accepts writes (timeline {standby.timeline}): it is no"
            f" longer a standby of {primary}, which does not answer",
            mechanism="the standby was promoted, and its old primary could not be queried",
            verdict=Verdict.WARNING,
            next_step=f"make sure that {primary} does not come back as a primary; then correct the"
            " connections in rbkernel.toml",
            opens="RUN-005",
            explains=("RUN-005",),
        )


def lost(
    primary: Iterable[Cause], standby: Iterable[Cause]
) -> tuple[tuple[Cause, ...], tuple[Cause, ...]]:
    """Return the causes on both servers if the standby of a primary is down.

    That the standby is not connected is then a symptom. The runbook on replication, which is about
    both servers, says how to start it; one that is starting is waited for.
    """
    left = tuple(one for one in primary if one.explains != (REPLICATION,))
    down = tuple(
        replace(
            one,
            opens=REPLICATION,
            explains=(REPLICATION, "RUN-010"),
            option="wait" if one.option == "let" else one.option,
        )
        for one in standby
    )
    return left, down


def locked(primary: str, standby: str, causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Return the causes on a standby if a lock blocks all logins on it and on its primary.

    No session of a standby can take such a lock: it is the primary's, which has been replayed. So
    the standby is no cause of its own, but is explained by the cause on the primary.
    """
    return tuple(
        replace(
            one,
            headline=f"{standby} has replayed a lock on the catalogue of {primary}, which blocks"
            " all logins there, too",
            next_step=f"end the transaction on {primary}: its end is replayed, too",
            explains=(),
            option="",
        )
        for one in causes
    )


def replayed(primary: Situation, standby: Situation, cause: Cause) -> Cause | None:
    """Return the cause on the primary for a lock that replay holds on the standby.

    If replay on the standby holds a lock that blocks readers, a session of the primary holds the
    original lock.

    Parameters
    ----------
    primary, standby
        The situations of the two servers.
    cause
        A cause on the standby.

    Returns
    -------
    Cause or None
        The replacement; None if the given cause is not about a replayed lock, or if the session is
        not known.
    """
    if [one.backend_type for one in cause.culprits] != ["startup"]:
        return None
    [replay] = cause.culprits
    tree = next((tree for tree in trees(standby) if tree.roots == (replay.pid,)), None)
    if tree is None:
        return None
    waiting = [standby.backend(pid) for pid in tree.waiters]
    wanted = {f"{_REPLAYED} on {one.relation}" for one in waiting if one}
    holders = [one for one in primary.backends if (one.strong_lock or "").startswith(_REPLAYED)]
    # only one lock of each session is known; if only one session holds locks, it is the culprit
    holders = [one for one in holders if one.strong_lock in wanted] or holders
    if len(holders) != 1:
        return None
    [holder] = holders
    freed = tree.freed([replay.pid])
    left = len(tree.waiters) - len(freed.all)
    remedy = Remedy(targets=(holder,), loss=loss([holder]), freed=freed, left=left)
    return replace(
        cause,
        headline=f"{identity(holder)} blocks {_of(standby, cause)}",
        mechanism=f"the transaction holds {holder.strong_lock}, which {standby.connection} has"
        " replayed",
        culprits=(holder,),
        ruled_out=(f"ending sessions of {standby.connection}: they only wait",),
        remedies=() if forbidden(holder) else (remedy,),
        next_step=f"On {primary.connection}: {remedy.sentence}"
        if not forbidden(holder)
        else f"Escalate; nothing can be proposed safely (pid {holder.pid}: {forbidden(holder)})",
    )


def with_victims(cause: Cause, other: Cause, standby: Situation) -> Cause:
    """Return a cause on the primary that also counts the sessions blocked on the standby."""
    victims = replace(cause.victims, count=cause.victims.count + other.victims.count)
    return replace(cause, headline=f"{cause.headline}, and {_of(standby, other)}", victims=victims)


def _of(standby: Situation, cause: Cause) -> str:
    return f"{amounts.count(cause.victims.count, 'session')} of {standby.connection}"


def behind(primary: Member, standby: Member) -> Iterator[Cause]:
    """Yield a cause if the standby has not replayed WAL that the primary wrote before the check.

    >>> had = Member(connection="one", standby=False, position=5000)
    >>> has = Member(connection="two", standby=True, position=3000, newest_commit_s=6.8)
    >>> [cause] = behind(had, has)
    >>> cause.headline, cause.verdict.value
    ('two is up to 6 s behind one (2,000 bytes of WAL not replayed)', 'warning')
    """
    if not standby.standby or primary.position is None or standby.position is None:
        return
    missing = primary.position - standby.position
    lag_s = standby.newest_commit_s
    if missing <= 0 or lag_s is None or lag_s <= standby.meant_s:
        return
    verdict = level(lag_s, _WARN_S, _CRITICAL_S)
    if verdict is not Verdict.OK:
        yield Cause(
            headline=f"{standby.connection} is up to {amounts.duration(lag_s)} behind"
            f" {primary.connection} ({missing:,} bytes of WAL not replayed)",
            mechanism="the newest commit on the standby is that old, and the primary has written"
            " more since",
            verdict=verdict,
            next_step="check whether the standby receives WAL (its WAL receiver, and that of the"
            " standby it receives from) and whether it replays this WAL",
            opens="RUN-005",
            explains=("RUN-005",),
            late_s=lag_s,
        )
