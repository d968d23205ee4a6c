"""Find the causes of a server's problems, the most harmful first. Pure.

A cause names the culprit with its identity, the mechanism in one sentence, the victims, what was
ruled out, and the least harmful step. Sessions that only wait are victims and never culprits, and
each is counted once: if a pool is full of sessions that wait for a lock, the lock is the cause.
"""

from __future__ import annotations

from rbkernel.sources.postgres.blocking import trees
from rbkernel.sources.postgres.causes import (
    commits,
    locks,
    reach,
    recovery,
    replication,
    slots,
    transactions,
)
from rbkernel.sources.postgres.causes.cause import Cause, Victims, without_symptoms
from rbkernel.sources.postgres.situation import PREPARED, Situation

__all__ = ["Cause", "Victims", "find"]


def find(situation: Situation) -> list[Cause]:
    """Return the causes of the problems of one server, the most harmful first; empty if none."""
    if situation.reason:
        return [reach.unseen(situation)]
    groups = trees(situation)
    behind_commits = [tree for tree in groups if commits.at_the_root(situation, tree)]
    found = [
        *locks.blocked(situation, [tree for tree in groups if tree not in behind_commits]),
        *commits.synchronous(situation, behind_commits),
        *slots.limits(situation),
        *recovery.conflicts(situation),
    ]
    victims = {pid for tree in groups for pid in tree.waiters}
    found += slots.taken(situation, victims, found)
    found += transactions.forgotten(situation, found)
    if not any(PREPARED in tree.roots for tree in groups):
        found += transactions.prepared(situation)
    found += replication.broken(situation)
    known = without_symptoms(found, found)
    return sorted(known, key=lambda cause: (-cause.verdict.rank, -cause.victims.count))
