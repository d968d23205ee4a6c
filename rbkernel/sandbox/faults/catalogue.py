"""The faults that can be injected into the sandbox, by name.

A fault is a pair of functions: ``start`` injects the fault and returns the result that a runbook
must find; ``stop`` undoes the fault. ``stop`` needs only the seed, so it works even if the
injection was killed or an operator has already repaired something by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rbkernel.errors import SandboxError
from rbkernel.extensions import Group, refuses
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import (
    audit,
    damage,
    locks,
    orders,
    outbox,
    pool,
    replication,
    row_queue,
    slots,
    unreachable,
    vacuum,
)
from rbkernel.spelling import did_you_mean

Truth = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of the sandbox; ``look_alike_of`` names a fault with the same symptom,
    another cause; ``stops`` names the parts of the sandbox that do not run while it is active.
    """

    name: str
    summary: str
    start: Callable[[Access, int], Truth]
    stop: Callable[[Access, int], None]
    look_alike_of: str | None = None
    stops: tuple[str, ...] = ()


def _outbox() -> Iterator[Fault]:
    summaries = {
        outbox.DEAD: "messages pile up in the outbox, because no relay delivers them",
        outbox.REJECTED: "a message is rejected again and again, and holds up its destination",
        outbox.RECEIVER: "the receiver of a destination is down, and its messages wait",
        outbox.LOCKED: "the relay waits for a row that another session holds",
        outbox.BURST: "many new messages, which the relay is delivering",
    }
    for name, summary in summaries.items():
        yield Fault(
            name=name,
            summary=summary,
            start=partial(outbox.start, outbox.KINDS[name]),
            stop=partial(outbox.stop, outbox.KINDS[name]),
            look_alike_of=None if name == outbox.DEAD else outbox.DEAD,
        )


_OURS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            name="pool-idle-in-transaction",
            summary="sessions of a batch job sit idle in transaction and hold nearly all slots",
            start=partial(pool.start, pool.IDLE),
            stop=partial(pool.stop, pool.IDLE),
        ),
        Fault(
            name="pool-active-queries",
            summary="long queries of a report run and hold nearly all slots",
            start=partial(pool.start, pool.ACTIVE),
            stop=partial(pool.stop, pool.ACTIVE),
            look_alike_of="pool-idle-in-transaction",
        ),
        Fault(
            name=row_queue.FAULT,
            summary="a transaction left open holds a row, and the sessions behind it fill the pool",
            start=row_queue.start,
            stop=row_queue.stop,
            look_alike_of="pool-active-queries",
        ),
        Fault(
            name=locks.FAULT,
            summary="a migration waits behind a forgotten transaction, and readers behind it",
            start=locks.start,
            stop=locks.stop,
        ),
        Fault(
            name="replay-paused",
            summary="WAL replay is paused on the standby",
            start=replication.pause,
            stop=replication.resume,
        ),
        Fault(
            name="receiver-down",
            summary="the standby can no longer log in to the primary, its WAL receiver is gone",
            start=replication.cut,
            stop=replication.restore,
            look_alike_of="replay-paused",
        ),
        Fault(
            name="slot-unread",
            summary="a replication slot of a removed standby keeps WAL on the primary",
            start=slots.leave,
            stop=slots.remove,
        ),
        Fault(
            name="slot-lost",
            summary="a replication slot has lost its WAL, so its standby must be rebuilt",
            start=slots.lose,
            stop=slots.remove,
            look_alike_of="slot-unread",
        ),
        Fault(
            name="vacuum-held-back",
            summary="an export holds a snapshot open, and VACUUM cannot remove dead rows",
            start=vacuum.hold_back,
            stop=vacuum.clear,
        ),
        Fault(
            name="vacuum-switched-off",
            summary="a table has many dead rows, and autovacuum is switched off for it",
            start=vacuum.switch_off,
            stop=vacuum.clear,
            look_alike_of="vacuum-held-back",
        ),
        Fault(
            name=unreachable.STOPPED,
            summary="the primary is stopped, and nothing listens on its port",
            start=unreachable.stop,
            stop=unreachable.start,
            stops=("primary",),
        ),
        Fault(
            name=unreachable.RECOVERING,
            summary="the primary is in recovery, waits for its archive and accepts no connections",
            start=unreachable.recover,
            stop=unreachable.end_recovery,
            look_alike_of=unreachable.STOPPED,
            # for a moment, and longer if the injection is killed between stop and start
            stops=("primary",),
        ),
        Fault(
            name=unreachable.PASSWORD,
            summary="the password of the diagnostic role was changed; the server is well",
            start=unreachable.change_password,
            stop=unreachable.restore_password,
            look_alike_of=unreachable.STOPPED,
        ),
        *_outbox(),
        Fault(
            name="orders-drift",
            summary="rows of orders are missing, extra or changed against orders_legacy",
            start=orders.drift,
            stop=orders.mend,
        ),
        Fault(
            name="orders-in-flight",
            summary="orders follows orders_legacy with some seconds of delay",
            start=orders.delay,
            stop=orders.catch_up,
            look_alike_of="orders-drift",
        ),
        Fault(
            name="audit-probing",
            summary="one account of the service tries many actions, and is refused",
            start=audit.probe,
            stop=audit.remove,
        ),
        Fault(
            name="audit-withdrawn",
            summary="the actions of a role that all users have are refused to all of them",
            start=audit.withdraw,
            stop=audit.remove,
            look_alike_of="audit-probing",
        ),
        Fault(
            name="page-damaged",
            summary="a page of a table is damaged on the disk, and fails its checksum",
            start=damage.damage,
            stop=damage.discard,
        ),
        Fault(
            name="login-too-powerful",
            summary="a login of a report may run programs on the server's host",
            start=audit.empower,
            stop=audit.disempower,
        ),
    )
}


def _unusable(_name: str, fault: Any) -> str:
    calls = {"start": fault.start, "stop": fault.stop}
    whys = ((name, refuses(call, "access", "seed")) for name, call in calls.items())
    return "; ".join(f"its function `{name}`: {why}" for name, why in whys if why)


FAULTS: Group[Fault] = Group("rbkernel.faults", Fault, _OURS, unusable=_unusable)


def find(name: str) -> Fault:
    """Return the fault with this name.

    Raises
    ------
    SandboxError
        There is no such fault; the message lists the known names.
    ExtensionError
        The package that adds the fault is broken.
    """
    if name not in FAULTS:
        raise SandboxError(
            f"no fault is called {name!r}{did_you_mean(name, FAULTS)}",
            next_step=f"choose one of {', '.join(FAULTS)}",
        )
    return FAULTS[name]
