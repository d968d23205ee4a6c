"""The least harmful step that frees the most sessions of a tree. Pure.

Candidates are the roots, alone and together, and a request for a whole table that others queue
behind. Never one of these: a session that waits for a row (others wait for the same row, and for
its holder), a WAL sender or another process of the server, a backup, and a session whose state is
not known. A prepared transaction has no session that could be ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from rbkernel import amounts
from rbkernel.postgres.blocking import Freed, Tree
from rbkernel.postgres.situation import Backend, Doing, Situation

Verb = Literal["cancel", "terminate"]

# locks on a table that a request for them makes later readers or writers wait for
_TABLE_MODES = frozenset(
    {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}
)
# pids that a sentence names one by one
_NAMED = 5
# programs that make backups: what they have read so far would be lost
_BACKUP = re.compile(
    r"pg_dump|pg_dumpall|pg_basebackup|pgbackrest|barman|wal-g|pg_probackup", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What to do to which sessions, what that frees, and what is lost by it.

    ``left`` counts the sessions that still wait afterwards, ``slots`` the slots that are freed;
    with ``replay`` it is replay on a standby that goes on.
    ``sure`` is false where a row may have holders that could not be seen, so that fewer may be
    freed. ``advisory``: the lock is one that the applications themselves give a meaning.
    """

    verb: Verb
    targets: tuple[Backend, ...]
    loss: str
    freed: Freed = field(default_factory=Freed)
    left: int = 0
    slots: int = 0
    sure: bool = True
    replay: bool = False
    advisory: bool = False

    @property
    def sentence(self) -> str:
        """The step in words."""
        verb = "Cancel the query of" if self.verb == "cancel" else "Terminate"
        return f"{verb} {self._who}: {self.effect}; {self.loss}"

    @property
    def _who(self) -> str:
        if len(self.targets) > _NAMED:
            names = dict.fromkeys(target.name for target in self.targets)
            return f"{len(self.targets)} sessions of {', '.join(names)}"
        return " and ".join(f"{target.name} (pid {target.pid})" for target in self.targets)

    @property
    def effect(self) -> str:
        """What it frees, in words."""
        if self.slots:
            return f"frees {amounts.count(self.slots, 'slot')}"
        if self.replay:
            return "lets replay go on, unless an older reader is left"
        now, later = len(self.freed.at_once), len(self.freed.later)
        effect = f"frees {amounts.count(now, 'session')} at once"
        if later:
            when = "let go of the lock" if self.advisory else "commit"
            effect += f", {later:,} more when those ahead {when}"
        return effect if self.sure else f"{effect}, fewer if the row has holders that are not seen"


def ranked(tree: Tree, situation: Situation) -> tuple[Remedy, ...]:
    """Return the steps that free somebody, the best first.

    The best leaves the fewest sessions waiting; among such it loses least. Empty where no step
    frees anybody, or none may be proposed.
    """
    useful = [remedy for remedy in _candidates(tree, situation) if remedy.freed.all]
    return tuple(sorted(useful, key=_cost))


def forbidden(backend: Backend) -> str:
    """Say why a session must not be cancelled or terminated; empty when it may be.

    >>> forbidden(Backend(pid=1, backend_type="walsender"))
    'it is a walsender of the server'
    >>> forbidden(Backend(pid=1, state="idle in transaction"))
    ''
    """
    if not backend.is_client:
        return f"it is a {backend.backend_type} of the server"
    if backend.doing is Doing.UNKNOWN:
        return "its state is not known"
    if backend.doing is Doing.SYNCHRONOUS:
        return "its commit waits for a standby: cancelled, it stays committed here alone"
    if _BACKUP.search(backend.application):
        return "it is a backup"
    return ""


def _candidates(tree: Tree, situation: Situation) -> Iterator[Remedy]:
    known = {pid: situation.backend(pid) for pid in (*tree.roots, *tree.waiters)}
    allowed = {pid: one for pid, one in known.items() if one is not None and not forbidden(one)}
    waiters = [one for pid in tree.waiters if (one := known[pid]) is not None]
    unsure = frozenset(pid for pid, one in known.items() if one is not None and one.row_unseen)
    for group in _groups_of_roots(tree):
        # who waits for a lock is a victim, also where it was not seen of whom
        if all(pid in allowed and allowed[pid].doing is not Doing.LOCK for pid in group):
            yield _remedy(tree, [allowed[pid] for pid in group], waiters, unsure)
    for pid in tree.waiters:
        if pid in allowed and _queues_for_a_table(allowed[pid]) and tree.behind(pid):
            yield _remedy(tree, [allowed[pid]], waiters, unsure)


def _groups_of_roots(tree: Tree) -> list[tuple[int, ...]]:
    """Return each root, and the roots of each waiter together, and all of them."""
    groups: dict[tuple[int, ...], None] = {(root,): None for root in tree.roots}
    reached = {root: tree.behind(root) for root in tree.roots}
    for waiter in tree.waiters:
        groups[tuple(root for root in tree.roots if waiter in reached[root])] = None
    groups[tree.roots] = None
    return [group for group in groups if group]


def _queues_for_a_table(backend: Backend) -> bool:
    return backend.locktype == "relation" and backend.mode in _TABLE_MODES


def _remedy(
    tree: Tree, targets: list[Backend], waiters: list[Backend], unsure: frozenset[int]
) -> Remedy:
    pids = [target.pid for target in targets]
    freed = tree.freed(pids)
    waiting = tree.waiters.keys() - freed.all - set(pids)
    # a session without a running query has nothing to cancel
    resting = any(target.idle_in_transaction or target.state == "idle" for target in targets)
    advisory = any(waiter.locktype == "advisory" for waiter in waiters)
    return Remedy(
        verb="terminate" if resting else "cancel",
        targets=tuple(targets),
        freed=freed,
        left=len(waiting),
        loss=_GUARDED if advisory and resting else loss(targets),
        sure=not unsure & freed.all,
        advisory=advisory,
    )


_LOSS = (
    "nothing is lost, for it has not begun",
    "it has changed nothing",
    "its work so far must be repeated",
    "what it has not committed is lost",
)

# an advisory lock may stand for a job, or for who is the leader
_GUARDED = "what the lock guards is not known: ask its owner first"


def loss(targets: Iterable[Backend]) -> str:
    """Say what is lost when these sessions are cancelled or terminated."""
    return _LOSS[max(_harm(target) for target in targets)]


def _harm(backend: Backend) -> int:
    """Return what ending a session loses, as an index of `_LOSS`."""
    if backend.doing is Doing.LOCK and not backend.writes:
        return 0
    if not backend.writes:
        return 1 if backend.idle_in_transaction or backend.state == "idle" else 2
    return 3


def _cost(remedy: Remedy) -> tuple[int, int, int, int]:
    harm = max(_harm(target) for target in remedy.targets)
    return remedy.left, harm, len(remedy.targets), -len(remedy.freed.at_once)
