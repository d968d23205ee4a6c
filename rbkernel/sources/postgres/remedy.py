"""Find the step that frees the most sessions of a blocking tree with the least harm. Pure.

Candidates are the roots, alone and together. Further candidates are waiting sessions behind which
others are queued: those that wait for the lock of a whole table, and a VACUUM that waits for a
page; each alone, and all together. Never a candidate: a session that waits for a row (others wait
for the same row and its holder), a WAL sender or another process of the server, a backup, a session
with an unknown state, and one of several possible blockers. A prepared transaction has no session
that could be ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rbkernel import amounts
from rbkernel.sources.postgres.blocking import Freed, Tree
from rbkernel.sources.postgres.situation import Backend, Doing, Situation

Verb = Literal["cancel", "terminate"]

# lock modes on tables that, while waiting, block later readers or writers
_TABLE_MODES = frozenset(
    {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
)
# maximum number of pids in a sentence
_NAMED = 5
# backup programs, whose work so far would be lost (as in connections/holders)
_BACKUP = re.compile(
    r"pg_dump|pg_dumpall|pg_basebackup|pgbackrest|barman|wal-g|pg_probackup", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A step against a problem: the sessions to cancel or terminate, those freed, and what is lost.

    Each session gets the mildest treatment: a running query is cancelled, a session at rest has no
    query and is terminated. ``left`` counts the sessions that still wait afterwards, ``slots`` the
    freed slots; with ``replay`` the step lets replay on a standby continue. ``sure`` is false if a
    row may have unseen holders, so that fewer sessions may be freed. ``advisory`` is true for an
    advisory lock: only the applications know its meaning, and the lock may outlive the query.
    """

    targets: tuple[Backend, ...]
    loss: str
    freed: Freed = field(default_factory=Freed)
    left: int = 0
    slots: int = 0
    sure: bool = True
    replay: bool = False
    advisory: bool = False

    @property
    def verb(self) -> Verb:
        """The action of the step: ``terminate`` if it terminates a session, else ``cancel``."""
        return "terminate" if self.terminated else "cancel"

    @property
    def terminated(self) -> tuple[Backend, ...]:
        """The sessions that the step terminates."""
        return tuple(one for one in self.targets if self._ends(one))

    @property
    def cancelled(self) -> tuple[Backend, ...]:
        """The sessions whose query the step cancels; they stay connected."""
        return tuple(one for one in self.targets if not self._ends(one))

    def _ends(self, target: Backend) -> bool:
        return self.advisory or target.at_rest

    @property
    def sentence(self) -> str:
        """The step as a sentence for people.

        >>> reads = Backend(pid=1, application="report", state="active")
        >>> rests = Backend(pid=2, application="console", state="idle in transaction")
        >>> Remedy(targets=(reads, rests), loss="nothing is lost", slots=1).sentence.split(":")[0]
        'Terminate console (pid 2) and cancel the query of report (pid 1)'
        """
        steps = []
        if self.terminated:
            steps.append(f"terminate {_who(self.terminated)}")
        if self.cancelled:
            steps.append(f"cancel the query of {_who(self.cancelled)}")
        does = " and ".join(steps)
        return f"{does[0].upper()}{does[1:]}: {self.effect}; {self.loss}"

    @property
    def effect(self) -> str:
        """The effect of the step in words: how many sessions and slots are freed."""
        if self.slots:
            return f"frees {amounts.count(self.slots, 'slot')}"
        if self.replay:
            return "replay continues, unless another reader holds it up too"
        now, later = len(self.freed.at_once), len(self.freed.later)
        effect = f"frees {amounts.count(now, 'session')} at once"
        if later:
            when = "release the lock" if self.advisory else "commit"
            effect += f", {later:,} more when the sessions ahead {when}"
        if self.left:
            effect += f"; {amounts.clause(self.left, 'session', 'keep')} waiting"
        return effect if self.sure else f"{effect}, fewer if other sessions also hold the row"


def _who(targets: Sequence[Backend]) -> str:
    if len(targets) > _NAMED:
        names = dict.fromkeys(target.name for target in targets)
        return f"{len(targets)} sessions of {', '.join(names)}"
    *others, last = (f"{target.name} (pid {target.pid})" for target in targets)
    return f"{', '.join(others)} and {last}" if others else last


def ranked(tree: Tree, situation: Situation) -> tuple[Remedy, ...]:
    """Return the possible steps that free a session of a blocking tree, the best first.

    The best step leaves the fewest sessions waiting; among several such steps, it loses least. The
    result is empty if no step frees a session, or if no step may be proposed.
    """
    useful = [remedy for remedy in _candidates(tree, situation) if remedy.freed.all]
    return tuple(sorted(useful, key=_cost))


def forbidden(backend: Backend) -> str:
    """Return why a session must not be cancelled or terminated; empty if it may be.

    >>> forbidden(Backend(pid=1, backend_type="walsender"))
    'it is a walsender process of the server'
    >>> forbidden(Backend(pid=1, state="idle in transaction"))
    ''
    """
    if not backend.is_client:
        return f"it is a {backend.backend_type} process of the server"
    if backend.doing is Doing.UNKNOWN:
        return "its state is not known"
    if backend.doing is Doing.SYNCHRONOUS:
        return "its commit waits for a standby: if cancelled, it is committed on this server only"
    if is_backup(backend):
        return "it is a backup"
    return ""


def is_backup(backend: Backend) -> bool:
    """Return whether a session belongs to a backup program."""
    return _BACKUP.search(backend.application) is not None


def suspects(tree: Tree, situation: Situation) -> frozenset[int]:
    """Return the pids of the possible blockers of waits for a page, if there are several.

    Only one of them blocks the wait, but it is unknown which.

    >>> tree = Tree(waiters={3: frozenset({1, 2})}, roots=(1, 2))
    >>> page = Backend(pid=3, wait_type="BufferPin", blocked_by=(1, 2))
    >>> sorted(suspects(tree, Situation(connection="db", at="", backends=(page,))))
    [1, 2]
    """
    waiting = (situation.backend(pid) for pid in tree.waiters)
    paged = [tree.waiters[one.pid] for one in waiting if one and one.doing is Doing.PAGE]
    return frozenset().union(*(users for users in paged if len(users) > 1))


def _candidates(tree: Tree, situation: Situation) -> Iterator[Remedy]:
    known = {pid: situation.backend(pid) for pid in (*tree.roots, *tree.waiters)}
    allowed = {pid: one for pid, one in known.items() if one is not None and not forbidden(one)}
    waiters = [one for pid in tree.waiters if (one := known[pid]) is not None]
    suspected = suspects(tree, situation)
    unsure = frozenset(pid for pid, one in known.items() if one is not None and one.row_unseen)
    for group in _groups_of_roots(tree):
        # a waiting session is a victim, even if its blocker is not visible
        if suspected.isdisjoint(group) and all(
            pid in allowed and not allowed[pid].held_up for pid in group
        ):
            yield _remedy(tree, [allowed[pid] for pid in group], waiters, unsure)
    queued = [pid for pid in tree.waiters if pid in allowed and _has_a_queue(allowed[pid])]
    requests = [allowed[pid] for pid in queued if tree.behind(pid)]
    together = [requests] if len(requests) > 1 else []
    for targets in [*([one] for one in requests), *together]:
        yield _remedy(tree, targets, waiters, unsure)


def _groups_of_roots(tree: Tree) -> list[tuple[int, ...]]:
    """Return the groups of roots that a step may end.

    These are each root alone, the roots of each waiting session, and all roots.
    """
    groups: dict[tuple[int, ...], None] = {(root,): None for root in tree.roots}
    reached = {root: tree.behind(root) for root in tree.roots}
    for waiter in tree.waiters:
        groups[tuple(root for root in tree.roots if waiter in reached[root])] = None
    groups[tree.roots] = None
    return [group for group in groups if group]


def _has_a_queue(backend: Backend) -> bool:
    """Return whether others can queue behind a waiting session.

    They can if it is a VACUUM that waits for a page, or if it waits for a strong lock on a table.
    """
    if backend.doing is Doing.PAGE:
        return True
    return backend.locktype == "relation" and backend.mode in _TABLE_MODES


def _remedy(
    tree: Tree, targets: list[Backend], waiters: list[Backend], unsure: frozenset[int]
) -> Remedy:
    pids = [target.pid for target in targets]
    freed = tree.freed(pids)
    waiting = tree.waiters.keys() - freed.all - set(pids)
    advisory = any(waiter.locktype == "advisory" for waiter in waiters)
    return Remedy(
        targets=tuple(targets),
        freed=freed,
        left=len(waiting),
        loss=loss_of(targets, advisory=advisory),
        sure=not unsure & freed.all,
        advisory=advisory,
    )


_LOSS = (
    "nothing is lost: it has not started",
    "nothing is lost: nothing was changed",
    "the work so far must be repeated",
    "uncommitted work is lost",
)

# an advisory lock may protect a job, or mark the leader of an application
_GUARDED = "what the lock protects is not known: ask its owner first"


def loss_of(targets: Iterable[Backend], *, advisory: bool) -> str:
    """Return what is lost by a step; ``advisory`` says that others wait for an advisory lock."""
    return _GUARDED if advisory else loss(targets)


def loss(targets: Iterable[Backend]) -> str:
    """Return what is lost if these sessions are cancelled or terminated, as text."""
    return _LOSS[max(_harm(target) for target in targets)]


def _harm(backend: Backend) -> int:
    """Return how much is lost if a session is ended, as an index of `_LOSS`."""
    if backend.doing in {Doing.LOCK, Doing.SAFE_SNAPSHOT} and not backend.writes:
        return 0
    if not backend.writes:
        return 1 if backend.at_rest else 2
    return 3


def _cost(remedy: Remedy) -> tuple[int, int, int, int]:
    harm = max(_harm(target) for target in remedy.targets)
    return remedy.left, harm, len(remedy.targets), -len(remedy.freed.at_once)
