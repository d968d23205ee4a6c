"""Find the cause if replay on a standby waits for a query on the standby. Pure.

If replay waits for a lock, the module `locks` finds the reader with the lock. In the other waits,
no lock identifies the reader. From version 15 on, PostgreSQL has names for these other waits:

- a reader's snapshot may still need rows that the primary has removed: replay waits for the oldest
  snapshot, and perhaps for others;
- a tablespace with temporary files is dropped: replay waits for all transactions that were open
  then, so in any case for the oldest;
- a page is in use (a buffer pin), for example by an open cursor: each session with a snapshot may
  be the one that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.sources.postgres.blocking import Tree
from rbkernel.sources.postgres.causes.cause import Cause, identity
from rbkernel.sources.postgres.remedy import Remedy, forbidden, loss
from rbkernel.sources.postgres.situation import SETTLED_S, Backend, Situation

# s after which replay that cancels the query by itself is not worth waiting for (own choice)
_SOON_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Conflict:
    """A reason why replay waits for readers.

    ``age`` returns the age of a reader's snapshot or transaction, or None if the session cannot be
    the reader. ``oldest`` tells whether replay certainly waits for the oldest reader.
    """

    why: str
    what: str
    age: Callable[[Backend], float | None]
    oldest: bool = True


_CONFLICTS = {
    "RecoveryConflictSnapshot": _Conflict(
        why="a reader may still need rows that the primary has removed",
        what="snapshot",
        age=lambda one: one.xmin_age,
    ),
    "RecoveryConflictTablespace": _Conflict(
        why="a tablespace is dropped, and a transaction may have temporary files in it",
        what="open transaction",
        age=lambda one: one.transaction_s,
    ),
    "BufferPin": _Conflict(
        why="a reader keeps a page in use, for example with an open cursor",
        what="reader",
        age=lambda one: one.transaction_s if one.xmin_age is not None else None,
        oldest=False,
    ),
}


def conflicts(situation: Situation) -> Iterator[Cause]:
    """Yield a cause if replay on a standby waits for a reader, but not for a lock."""
    events = (one.wait_event for one in situation.backends if one.backend_type == "startup")
    conflict = next((_CONFLICTS[event] for event in events if event in _CONFLICTS), None)
    if conflict is None:
        return
    ages = {one.pid: age for one in situation.clients if (age := conflict.age(one)) is not None}
    readers = [one for one in situation.clients if one.pid in ages]
    # a transaction that has just begun has not held up replay for long; replay soon cancels it
    if all(one.transaction_s is not None and one.transaction_s < SETTLED_S for one in readers):
        return
    readers.sort(key=lambda one: (ages[one.pid], one.transaction_s or 0.0), reverse=True)
    if readers:
        known = conflict.oldest or len(readers) == 1
        yield unless_soon_over(
            situation, (_known if known else _suspected)(situation, conflict, readers)
        )


def unless_soon_over(situation: Situation, cause: Cause) -> Cause:
    """Return a cause of replay that waits, without a step if replay soon cancels the query itself.

    Nothing is gained then by cancelling it a little earlier, and the reader is the victim.
    """
    limit_s = situation.replay_waits_s
    if limit_s is None or limit_s > _SOON_S:
        return cause
    return replace(
        cause,
        verdict=Verdict.WARNING if not cause.victims.count else cause.verdict,
        remedies=(),
        next_step=f"Wait: replay cancels it by itself, after {amounts.duration(limit_s)} at the"
        " latest (max_standby_streaming_delay); see whether that happens again and again"
        " (RUN-005)",
        option="wait",
    )


def _known(situation: Situation, conflict: _Conflict, readers: list[Backend]) -> Cause:
    first = readers[0]
    remedy = Remedy(targets=(first,), loss=loss([first]), replay=True)
    others = (
        f", the oldest of {amounts.count(len(readers), conflict.what)}" if len(readers) > 1 else ""
    )
    return _cause(
        f"{identity(first)} holds up replay on {situation.connection}{others}",
        conflict,
        (first,),
        () if forbidden(first) else (remedy,),
        "Ask its owner to end that transaction",
    )


def _suspected(situation: Situation, conflict: _Conflict, readers: list[Backend]) -> Cause:
    named = " or ".join(map(identity, readers[:2]))
    more = f" or {len(readers) - 2} more" if len(readers) > 2 else ""
    return _cause(
        f"{named}{more} holds up replay on {situation.connection}; PostgreSQL does not report which"
        f" of the {amounts.count(len(readers), conflict.what)} it is",
        conflict,
        tuple(readers),
        (),
        "Ask their owners to close cursors or to end these transactions, one by one until replay"
        " continues",
    )


def _cause(
    headline: str,
    conflict: _Conflict,
    culprits: tuple[Backend, ...],
    remedies: tuple[Remedy, ...],
    otherwise: str,
) -> Cause:
    return Cause(
        headline=headline,
        mechanism=f"replay waits, because {conflict.why}",
        verdict=Verdict.CRITICAL,
        culprits=culprits,
        ruled_out=("ending the startup process: it replays WAL, and only waits for readers",),
        remedies=remedies,
        next_step=remedies[0].sentence if remedies else otherwise,
        opens="RUN-007",
        explains=("RUN-007", "RUN-005"),
    )


def replay_waits(situation: Situation, tree: Tree) -> bool:
    """Return whether replay on a standby waits in this group of blocked sessions."""
    waiting = (situation.backend(pid) for pid in tree.waiters)
    return any(one and one.backend_type == "startup" for one in waiting)
