"""Compute which sessions wait for which, and which are freed when a session ends. Pure.

A session is freed when every session that blocks it has ended or is itself freed: the least
fixpoint. `pg_blocking_pids` is used with one addition: a session that waits for the right to lock a
row (a tuple lock) also waits for the transaction that holds that row, so that ending the first in
such a queue frees nobody. Measured: ending the root of a hot-row queue of 30 frees 1 at once if the
transactions stay open, and all if each commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain
from operator import or_

from rbkernel.sources.postgres.situation import PREPARED, Backend, Situation

Edges = Mapping[int, frozenset[int]]


@dataclass(frozen=True, kw_only=True)
class Freed:
    """The pids of sessions that are freed when some sessions end.

    ``at_once`` are freed immediately; ``later`` are freed when the sessions before them in the
    queue commit.
    """

    at_once: frozenset[int] = frozenset()
    later: frozenset[int] = frozenset()

    @property
    def all(self) -> frozenset[int]:
        """The pids of all sessions that are freed, at once or later."""
        return self.at_once | self.later


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A group of sessions that wait for each other, directly or not, and the roots that block them.

    ``waiters`` maps the pid of each waiting session to the pids that block it. ``roots`` block
    others and do not wait themselves; a deadlock has no roots.
    """

    waiters: Edges
    roots: tuple[int, ...]

    def behind(self, pid: int) -> frozenset[int]:
        """Return the pids of the sessions that wait for the given session, directly or not."""
        reached = ahead = self._waiters_of.get(pid, 0)
        while ahead:
            nearest = ahead & -ahead
            found = self._waiters_of.get(self._pids[nearest.bit_length() - 1], 0) & ~reached
            reached |= found
            ahead = ahead ^ nearest | found
        return frozenset(one for one in self.waiters if self._bits[one] & reached) - {pid}

    def freed(self, ended: Iterable[int]) -> Freed:
        """Return the sessions that are freed when the given sessions end, or stop waiting.

        >>> queue = Tree(waiters={2: frozenset({1}), 3: frozenset({1, 2})}, roots=(1,))
        >>> queue.freed([1])
        Freed(at_once=frozenset({2}), later=frozenset({3}))
        >>> queue.freed([2])
        Freed(at_once=frozenset(), later=frozenset())
        """
        gone = frozenset(ended)
        over = self._mask(gone)
        left = {pid: blockers for pid, blockers in self._blockers_of.items() if pid not in gone}
        at_once = found = {pid for pid, blockers in left.items() if not blockers & ~over}
        free: set[int] = set()
        while found:
            free |= found
            over |= self._mask(found)
            found = {pid for pid, blockers in left.items() if not blockers & ~over} - free
        return Freed(at_once=frozenset(at_once), later=frozenset(free - at_once))

    # A set of sessions is stored as an int with one bit per session. A queue of 200 sessions has
    # 20,000 pairs, and `freed` runs for each session; sets of pids take ten times as long.

    @cached_property
    def _pids(self) -> list[int]:
        return list(dict.fromkeys((*self.roots, *self.waiters, *chain(*self.waiters.values()))))

    @cached_property
    def _bits(self) -> Mapping[int, int]:
        return {pid: 1 << place for place, pid in enumerate(self._pids)}

    @cached_property
    def _blockers_of(self) -> Mapping[int, int]:
        return {pid: self._mask(blockers) for pid, blockers in self.waiters.items()}

    @cached_property
    def _waiters_of(self) -> Mapping[int, int]:
        masks: dict[int, int] = defaultdict(int)
        for waiter, blockers in self.waiters.items():
            for pid in blockers:
                masks[pid] |= self._bits[waiter]
        return masks

    def _mask(self, pids: Iterable[int]) -> int:
        return reduce(or_, (self._bits.get(pid, 0) for pid in pids), 0)


def trees(situation: Situation) -> list[Tree]:
    """Return the groups of sessions that wait for each other, the largest group first."""
    edges = _edges(situation.backends)
    grouped = [_tree(edges, group) for group in _groups(edges)]
    return sorted(grouped, key=lambda tree: (-len(tree.waiters), tree.roots))


def _edges(backends: Iterable[Backend]) -> Edges:
    waiters = {one.pid: one for one in backends if one.blocked_by}
    edges = {pid: frozenset(one.blocked_by) for pid, one in waiters.items()}
    for pid, one in waiters.items():
        if one.locktype == "tuple":
            first = [edges[ahead] for ahead in edges[pid] if ahead in edges]
            edges[pid] = edges[pid].union(*first) - {pid}
    return edges


def _groups(edges: Edges) -> list[set[int]]:
    """Return the groups of pids that wait for each other, directly or not.

    Two groups that only wait for prepared transactions are not connected by these.

    >>> _groups({2: frozenset({1}), 4: frozenset({3}), 5: frozenset({4})})
    [{1, 2}, {3, 4, 5}]
    """
    groups: list[set[int]] = []
    for waiter, blockers in edges.items():
        connected = {waiter, *blockers} - {PREPARED}
        touching = [group for group in groups if group & connected]
        groups = [group for group in groups if not group & connected]
        groups.append(connected.union(*touching))
    return groups


def _tree(edges: Edges, group: set[int]) -> Tree:
    waiters = {pid: edges[pid] for pid in sorted(group) if pid in edges}
    blockers = frozenset().union(*waiters.values())
    return Tree(waiters=waiters, roots=tuple(sorted(blockers - waiters.keys())))
