"""Replay of a standby that waits for readers of the standby itself. Pure.

Where replay waits for a lock, the reader is at the root of its queue, as anywhere (`locks`). Where
it waits because a reader's snapshot still needs rows that the primary has removed, no lock tells
who that is: the readers with the oldest snapshots are candidates.
"""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.postgres.blocking import Tree
from rbkernel.postgres.causes.cause import Cause, identity
from rbkernel.postgres.remedy import Remedy, forbidden, loss
from rbkernel.postgres.situation import Situation

# how PostgreSQL calls what the startup process waits for then
_EVENT = "RecoveryConflictSnapshot"


def snapshots(situation: Situation) -> Iterator[Cause]:
    """Yield the reader with the oldest snapshot, where replay waits for one."""
    if not any(one.wait_event == _EVENT for one in situation.backends):
        return
    readers = [one for one in situation.clients if one.xmin_age is not None]
    if not readers:
        return
    oldest = max(readers, key=lambda one: (one.xmin_age or 0, one.transaction_s or 0.0))
    remedy = (
        None
        if forbidden(oldest)
        else Remedy(
            verb="terminate" if oldest.idle_in_transaction else "cancel",
            targets=(oldest,),
            loss=loss([oldest]),
            replay=True,
        )
    )
    many = amounts.count(len(readers), "snapshot")
    others = f", the oldest of {many}" if len(readers) > 1 else ""
    yield Cause(
        headline=f"{identity(oldest)} holds up replay on {situation.connection}{others}",
        mechanism="replay waits, because a reader may still need rows that the primary has removed",
        verdict=Verdict.CRITICAL,
        culprits=(oldest,),
        ruled_out=("ending the startup process: it replays, and waits for readers",),
        remedies=(remedy,) if remedy else (),
        next_step=remedy.sentence if remedy else "Ask its owner to end that transaction",
        opens="RUN-007",
        explains=("RUN-007", "RUN-005"),
    )


def replay_waits(situation: Situation, tree: Tree) -> bool:
    """Tell whether replay is among those that wait for a lock."""
    waiting = (situation.backend(pid) for pid in tree.waiters)
    return any(one and one.backend_type == "startup" for one in waiting)
