"""The notifications in the gateway's store: they survive a crash, and hosts share them.

Ordering rules: one transaction stores an event for every target that wants it, and marks the event
as known. A gateway claims a row for a limited time before it sends the row, so that only one of
several gateways sends it. It marks the row as sent after it has sent the message. If it is killed
between the two, the message is sent a second time, which is better than never.

A target begins when a gateway first sees it in the configuration: earlier events are not sent to
it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from rbkernel.config.notify import Notify
from rbkernel.evidence.incident import AlertStatus, instant
from rbkernel.gateway.jobs.records import StoredAlert, stored_alert_of
from rbkernel.gateway.jobs.states import AlertState
from rbkernel.gateway.jobs.storage import tables
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.storage.tables import notification_targets, notifications
from rbkernel.gateway.notify.events import Event
from rbkernel.model import Severity

_CLAIM_S = 120.0  # longer than one sending may take
_LONGEST_WAIT_S = 60.0
_AT_ONCE = 200
# a run is sealed half a second after its finding was sent; the seals of several runs come together
_SEALS_WAIT_S = 10.0


class NotificationState(StrEnum):
    """The state of a notification: one event for one target."""

    KNOWN = "known"  # marks the event as stored; belongs to no target
    PENDING = "pending"  # to be sent, or sent again
    SENT = "sent"  # the target has accepted it
    GIVEN_UP = "given up"  # every attempt failed for hours


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """The events that were claimed for a target, and how many messages it may get now."""

    events: tuple[Event, ...]
    messages: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How many notifications of a target are in each state, and the last error, if any."""

    pending: int
    sent: int
    given_up: int
    problem: str


class Receiver(Protocol):
    """Who gets events: a target of notifications, or a sender that gets replies."""

    @property
    def name(self) -> str:
        """The name of the receiver in the store."""
        ...

    def wants(self, kind: str, severity: Severity, /) -> bool:
        """Tell whether the receiver gets an event of this kind and severity."""
        ...


class Outbox:
    """Stores the notifications for all targets, and hands them out to be sent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, targets: Sequence[Receiver]) -> list[str]:
        """Register these targets; return the names of those that were not registered before.

        In a store that an earlier version wrote, a target began with its first message.
        """
        with self._store.planning() as connection:
            known = set(connection.execute(sa.select(notification_targets.c.target)).scalars())
            new = [one.name for one in targets if one.name not in known]
            for name in new:
                first = sa.select(sa.func.min(notifications.c.created_at))
                earlier = connection.execute(first.where(notifications.c.target == name)).scalar()
                row = {"target": name, "since": earlier or time.time()}
                insert = self._store.insert(notification_targets).values(row)
                connection.execute(insert.on_conflict_do_nothing())
        return [name for name in new if not self._has_rows(name)]

    def _has_rows(self, target: str) -> bool:
        wanted = sa.select(notifications.c.key).where(notifications.c.target == target)
        return bool(self._store.read(wanted.limit(1)))

    def known(self, incident: str) -> set[str]:
        """Return the keys of an incident's events that are already stored."""
        table = notifications.c
        wanted = sa.select(table.key).where(table.incident == incident, table.target == "")
        return {row.key for row in self._store.read(wanted)}

    def waiting_alerts(self, before: float) -> list[StoredAlert]:
        """Return firing alerts, received before a time, that are still not dispatched."""
        table = tables.alerts.c
        wanted = sa.select(tables.alerts).where(
            table.state != AlertState.DONE,
            table.status == AlertStatus.FIRING,
            table.received_at < before,
        )
        return [stored_alert_of(row) for row in self._store.read(wanted.limit(_AT_ONCE))]

    def add(
        self, events: Sequence[Event], targets: Sequence[Receiver], stale: Sequence[Event] = ()
    ) -> None:
        """Store events for the targets that want them; mark stale events as known, without sending.

        A target gets no event that happened before the target began.
        """
        rows = [_row(event, "", NotificationState.KNOWN) for event in (*events, *stale)]
        if not rows:
            return
        since = {row.target: row.since for row in self._store.read(sa.select(notification_targets))}
        for event in events:
            at = instant(event.at).timestamp()
            there = [one for one in targets if since.get(one.name, 0.0) <= at]
            rows += [
                _row(event, name, NotificationState.PENDING) for name in receivers(event, there)
            ]
        with self._store.writing() as connection:
            connection.execute(self._store.insert(notifications).on_conflict_do_nothing(), rows)

    def claim(self, target: str, limits: Notify) -> Claimed | None:
        """Claim all events that are due for a target, so that no other gateway sends them.

        Return None if the target has no due events, waits for a retry or for the rate limit, or if
        another gateway has claimed the events.
        """
        now = time.time()
        with self._store.planning() as connection:
            pending = _pending(connection, target)
            if not pending or any(max(row.next_at, row.claimed_until) > now for row in pending):
                return None
            events = tuple(_event(row) for row in pending)
            if now - pending[0].created_at < _SEALS_WAIT_S and all(map(_can_wait, events)):
                return None
            sent = _sent(connection, target, limits, now)
            allowed = allowance([row.sent_at for row in sent], now, limits)
            if not allowed:
                # a critical event waits only for other critical events
                events = _with_critical(events)
                urgent = {row.sent_at for row in sent if events and _is_critical(_event(row))}
                allowed = allowance([*urgent], now, limits) if events else 0
            if not allowed:
                return None
            _change(connection, target, events, claimed_until=now + _CLAIM_S)
        return Claimed(events=events, messages=allowed)

    def sent(self, target: str, events: Iterable[Event]) -> None:
        """Mark a target's claimed events as sent."""
        self._mark(target, events, state=NotificationState.SENT, sent_at=time.time(), problem="")

    def failed(
        self,
        target: str,
        events: Sequence[Event],
        problem: str,
        limits: Notify,
        *,
        last: bool = False,
    ) -> bool:
        """Schedule another attempt to send events, or give up; return whether it gave up.

        With ``last``, it gives up, because every attempt would fail.
        """
        now, table = time.time(), notifications.c
        first = self._one(target, events[0])
        over = last or bool(now - first.created_at > limits.give_up_h * 3600)
        wait_s = min(_LONGEST_WAIT_S, 5.0 * 2 ** min(first.tries, 10))
        self._mark(
            *(target, events),
            state=NotificationState.GIVEN_UP if over else NotificationState.PENDING,
            tries=table.tries + 1,
            next_at=now + wait_s,
            problem=problem,
        )
        return over

    def release(self, target: str, events: Iterable[Event]) -> None:
        """Release a target's claimed events that were not sent."""
        self._mark(target, events, state=NotificationState.PENDING)

    def waiting(self, target: str) -> Waiting:
        """Return the numbers of a target's notifications by state, and its last error."""
        table = notifications.c
        wanted = sa.select(table.state, sa.func.count().label("number")).where(
            table.target == target
        )
        counts = {row.state: row.number for row in self._store.read(wanted.group_by(table.state))}
        troubled = sa.select(table.problem).where(
            table.target == target, table.state == NotificationState.PENDING, table.problem != ""
        )
        problems = self._store.read(troubled.limit(1))
        return Waiting(
            pending=counts.get(NotificationState.PENDING, 0),
            sent=counts.get(NotificationState.SENT, 0),
            given_up=counts.get(NotificationState.GIVEN_UP, 0),
            problem=problems[0].problem if problems else "",
        )

    def _one(self, target: str, event: Event) -> Row[Any]:
        wanted = _is(target, event.incident, event.key)
        return self._store.read(sa.select(notifications).where(wanted))[0]

    def _mark(self, target: str, events: Iterable[Event], **values: Any) -> None:
        with self._store.writing() as connection:
            _change(connection, target, events, claimed_until=0.0, **values)


def receivers(event: Event, targets: Sequence[Receiver]) -> list[str]:
    """Return the names of the targets that get an event.

    If no target wants an unhandled critical alert, or an approval by one person alone, all targets
    get it.
    """
    wanted = [one.name for one in targets if one.wants(event.kind, event.severity)]
    if not wanted and event.kind in {"unhandled", "break-glass"} and _is_critical(event):
        return [one.name for one in targets]
    return wanted


def allowance(sent_at: Sequence[float], now: float, limits: Notify) -> int:
    """Return how many messages the rate limit (a token bucket) allows a target to get now.

    >>> limits = Notify(burst=2, every_s=60)
    >>> [allowance(sent, 100.0, limits) for sent in ([], [100.0], [99.0, 100.0], [30.0, 35.0])]
    [2, 1, 0, 1]
    """
    most, before = float(limits.burst), 0.0
    left = most
    for moment in sorted({*sent_at}):
        left = min(most, left + (moment - before) / limits.every_s)
        # not below zero: critical messages beyond the limit are not charged later
        left, before = max(0.0, left - 1), moment
    return int(min(most, left + (now - before) / limits.every_s) + 1e-9)


def _pending(connection: Connection, target: str) -> Sequence[Row[Any]]:
    table = notifications.c
    wanted = sa.select(notifications).where(
        table.target == target, table.state == NotificationState.PENDING
    )
    return connection.execute(wanted.order_by(table.created_at, table.key)).all()


def _sent(connection: Connection, target: str, limits: Notify, now: float) -> Sequence[Row[Any]]:
    table = notifications.c
    since = now - limits.burst * limits.every_s
    wanted: sa.Select[Any] = sa.select(table.sent_at, table.event).where(
        table.target == target, table.sent_at > since
    )
    return connection.execute(wanted).all()


def _with_critical(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events of those incidents that have at least one critical event."""
    critical = {event.incident for event in events if _is_critical(event)}
    return tuple(event for event in events if event.incident in critical)


def _can_wait(event: Event) -> bool:
    """Tell whether an event needs nobody's attention: the seal of a run."""
    return event.kind == "sealed" and not event.facts.get("closed")


def _is_critical(event: Event) -> bool:
    return event.severity is Severity.CRITICAL


def _change(connection: Connection, target: str, events: Iterable[Event], **values: Any) -> None:
    """Set these columns in the stored notifications of a target about these events."""
    change = sa.update(notifications).where(_is(target, sa.bindparam("of"), sa.bindparam("named")))
    rows = [{"of": one.incident, "named": one.key} for one in events]
    if rows:
        connection.execute(change.values(**values), rows)


def _is(target: str, incident: Any, key: Any) -> sa.ColumnElement[bool]:
    table = notifications.c
    return sa.and_(table.target == target, table.incident == incident, table.key == key)


def _row(event: Event, target: str, state: NotificationState) -> Mapping[str, Any]:
    return {
        "incident": event.incident,
        "key": event.key,
        "target": target,
        "event": json.dumps(asdict(event)) if target else "",
        "state": state,
        "created_at": time.time(),
    }


def _event(row: Row[Any]) -> Event:
    fields = json.loads(row.event)
    return Event(**{**fields, "severity": Severity(fields["severity"])})
