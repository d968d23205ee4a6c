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
    archive,
    audit,
    damage,
    locks,
    orders,
    outbox,
    pool,
    primaries,
    readers,
    replication,
    row_queue,
    schema,
    service,
    slots,
    slow,
    unreachable,
    vacuum,
)
from rbkernel.spelling import did_you_mean

Truth = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of the sandbox; ``look_alike_of`` names a fault with the same symptom,
    another cause; ``stops`` names the parts of the sandbox that do not run while it is active.
    ``with_service`` says that it needs the service side.
    """

    name: str
    summary: str
    start: Callable[[Access, int], Truth]
    stop: Callable[[Access, int], None]
    look_alike_of: str | None = None
    stops: tuple[str, ...] = ()
    with_service: bool = False


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


def _slow() -> Iterator[Fault]:
    summaries = {
        slow.DROPPED: "an index was dropped, and a statement of the shop reads a whole table",
        slow.STALE: "a table was loaded without ANALYZE, and a plan is made for other rows",
        slow.LARGER: "a service asks for two hundred times as many rows with the same statement",
    }
    for name, summary in summaries.items():
        yield Fault(
            name=name,
            summary=summary,
            start=partial(slow.start, slow.KINDS[name]),
            stop=partial(slow.stop, slow.KINDS[name]),
            look_alike_of=None if name == slow.DROPPED else slow.DROPPED,
        )


def _readers() -> Iterator[Fault]:
    summaries = {
        readers.CANCELLED: "replay cancels a report on the standby, since vacuum removed rows",
        readers.LOCKED_OUT: "replay cancels a report on the standby, since its table is altered",
    }
    for name, summary in summaries.items():
        yield Fault(
            name=name,
            summary=summary,
            start=partial(readers.start, readers.KINDS[name]),
            stop=partial(readers.stop, readers.KINDS[name]),
            look_alike_of=None if name == readers.CANCELLED else readers.CANCELLED,
        )


def _schema() -> Iterator[Fault]:
    yield Fault(
        name=schema.HALF_WAY,
        summary="a migration failed in the middle, and left a half-built index behind",
        start=schema.leave_half_way,
        stop=schema.drop,
    )
    yield Fault(
        name=schema.BUILDING,
        summary="a migration is building an index, and waits for an older transaction",
        start=schema.build,
        stop=schema.drop,
        look_alike_of=schema.HALF_WAY,
    )
    yield Fault(
        name=schema.ENDING,
        summary="the sequence of an integer key is close to its last value",
        start=schema.use_up,
        stop=schema.drop,
    )


def _service() -> Iterator[Fault]:
    for kind in service.KINDS:
        yield Fault(
            name=kind.name,
            summary=kind.summary,
            start=partial(service.start, kind),
            stop=partial(service.stop, kind),
            look_alike_of=kind.look_alike_of,
            with_service=True,
        )


def _primaries() -> Iterator[Fault]:
    yield Fault(
        name=primaries.LOST,
        summary="the primary is lost, and the standby has everything",
        start=primaries.lose,
        stop=primaries.restore,
        stops=("primary", "traffic"),
    )
    yield Fault(
        name=primaries.LOST_AHEAD,
        summary="the primary is lost, and with it commits that the standby has not received",
        start=primaries.lose_ahead,
        stop=primaries.restore,
        look_alike_of=primaries.LOST,
        stops=("primary", "traffic"),
    )
    yield Fault(
        name=primaries.FAILED_OVER,
        summary="the primary was stopped, and the standby was promoted in its place",
        start=primaries.fail_over,
        stop=primaries.rebuild,
        look_alike_of=primaries.LOST,
        # the standby for a moment, while it is rebuilt
        stops=("primary", "standby"),
    )
    yield Fault(
        name=primaries.TWO,
        summary="the standby was promoted, and the primary still accepts writes",
        start=primaries.split,
        stop=primaries.rebuild,
        look_alike_of=primaries.FAILED_OVER,
        stops=("standby",),
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
            name="standby-delayed",
            summary="the standby replays each commit some minutes later, as it is configured",
            start=replication.delay,
            stop=replication.end_delay,
            look_alike_of="replay-paused",
        ),
        *_readers(),
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
        Fault(
            name=unreachable.LOCKED,
            summary="a lock on the catalogue keeps every login waiting; the server runs",
            start=unreachable.lock_catalogue,
            stop=unreachable.unlock_catalogue,
            look_alike_of=unreachable.STOPPED,
        ),
        Fault(
            name=archive.FAILING,
            summary="archive_command fails, and the primary keeps its WAL",
            start=archive.fail,
            stop=archive.repair,
            look_alike_of="slot-unread",
            # for a moment, and longer if the injection is killed between stop and start
            stops=("primary",),
        ),
        *_primaries(),
        *_outbox(),
        *_slow(),
        *_schema(),
        *_service(),
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
