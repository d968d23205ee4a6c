"""Dispatch stored alerts: find an alert's incident, add its jobs, and write the record.

Ordering rules. One transaction stores the alert's incident and its jobs (``received`` →
``placed``). Then the alert is written into the incident's record, and then the alert is ``done``.
Each step can be repeated, so any process may continue with an alert in one of the first two states.
Alerts are processed in the order of their receipt. If one alert cannot be processed, it waits, and
the others continue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from rbkernel.errors import RbkernelError, StoreError
from rbkernel.evidence.incident import AlertOutcome, AlertStatus
from rbkernel.gateway.jobs import grouping, routing
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.grouping import Known, Place
from rbkernel.gateway.jobs.ledger import JobRequest, live_key
from rbkernel.gateway.jobs.records import StoredAlert, stored_alert_of
from rbkernel.gateway.jobs.routing import Route, Routing
from rbkernel.gateway.jobs.situation_capture import Ask, SituationCapture
from rbkernel.gateway.jobs.states import ALERT_TRANSITIONS, AlertState, move
from rbkernel.gateway.jobs.storage.tables import alerts, incidents
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Catalogue

_AT_ONCE = 20  # after this many, the supervisor attends to workers, schedules and the queue again
_LOOK_AGAIN_S = 5.0
_NOTHING: Mapping[str, float] = {}
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_log = logging.getLogger(__name__)


class CatalogueCache:
    """Keeps the catalogue of runbooks, and reloads it when one of its files has changed."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._looked_at = -_LOOK_AGAIN_S
        self._seen: object = None
        self._catalogue = Catalogue()

    def catalogue(self) -> Catalogue:
        """Return the catalogue, reloaded if its files have changed."""
        if time.monotonic() - self._looked_at >= _LOOK_AGAIN_S:
            self._looked_at = time.monotonic()
            if (seen := self._state()) != self._seen:
                self._catalogue, self._seen = catalogue.look(self._folders), seen
                for problem in self._catalogue.problems:
                    _log.warning("catalogue: %s", problem)
        return self._catalogue

    def _state(self) -> object:
        return [(path, _stamp(path)) for path in catalogue.files(self._folders)]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # the file was deleted a moment ago
        return (0, 0)
    return found.st_mtime_ns, found.st_size


class Dispatcher:
    """Processes the alerts in the store, one after the other."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._capture = SituationCapture(context.settings, context.incident_log.record_situation)
        self._catalogues = CatalogueCache(context.settings.catalogue.paths)
        self._catalogues.catalogue()  # loading later would delay senders by a second

    def sweep(self) -> int:
        """Dispatch all stored alerts that can be dispatched; return how many were dispatched.

        Raises
        ------
        StoreError
            The store does not work; the next sweep continues.
        """
        wanted = (
            sa.select(alerts)
            .where(alerts.c.state != AlertState.DONE, alerts.c.retry_at <= time.time())
            .order_by(alerts.c.number)
            .limit(_AT_ONCE)
        )
        waiting = [stored_alert_of(row) for row in self._context.store.read(wanted)]
        return sum(self._go_on(stored) for stored in waiting)

    def _go_on(self, stored: StoredAlert) -> bool:
        try:
            decided = self._decided(stored) if stored.fires else Routing()
            unplaced = stored.state == AlertState.RECEIVED
            placed = self._place(stored, decided) if unplaced else stored
            if placed is None:
                self._wait(stored, "the firing alert that this one resolves is not processed yet")
                return False
            if placed.incident:
                self._context.incident_log.record_alert(placed, decided.severity)
                if unplaced and placed.fires:
                    self._have_looked_at(placed, decided)
                self._done(placed)
                if not placed.fires:
                    self._context.incident_log.settle(placed.incident)
        except StoreError:
            raise
        except RbkernelError as error:
            _log.warning("an alert cannot be processed yet; retrying: %s", error)
            self._wait(stored, str(error))
            return False
        except Exception as error:  # noqa: BLE001  # one alert must not block the others
            _log.exception("alert %s cannot be processed yet; retrying", stored.identity)
            self._wait(stored, str(error) or type(error).__name__)
            return False
        return True

    def _have_looked_at(self, placed: StoredAlert, decided: Routing) -> None:
        """Request a capture of the situation of each server that the runs will check."""
        for connection in dict.fromkeys(route.db for route in decided.routes if route.db):
            ask = Ask(
                connection=connection,
                incident=placed.incident,
                alert=placed.alert.name or placed.alert.fingerprint,
                received_at=placed.received_at,
            )
            self._capture.look(ask)

    # --- the place of an alert

    def _decided(self, stored: StoredAlert) -> Routing:
        return routing.route(
            stored.alert.labels, self._catalogues.catalogue(), self._context.settings
        )

    def _place(self, stored: StoredAlert, decided: Routing) -> StoredAlert | None:
        return self._place_firing(stored, decided) if stored.fires else self._place_resolved(stored)

    def _place_firing(self, stored: StoredAlert, decided: Routing) -> StoredAlert:
        closed = self._closed(stored, decided)
        with self._context.store.planning() as connection:
            now = self._again(connection, stored)
            if now.state != AlertState.RECEIVED:
                return now
            if self._is_stale(connection, stored):
                return self._placed(connection, stored, AlertOutcome.STALE, "")
            place = self._incident(connection, stored, decided, closed)
            incident = place.incident
            orders = [
                self._order(stored, route, incident, decided.mind) for route in decided.routes
            ]
            added = [self._add(connection, stored, order) for order in orders]
            outcome = _outcome(added, crowded=place.crowded, by_rule=decided.by_rule)
            why = decided.mind if added else decided.why
            return self._placed(connection, stored, outcome, incident, "; ".join(why))

    def _place_resolved(self, stored: StoredAlert) -> StoredAlert | None:
        with self._context.store.planning() as connection:
            now = self._again(connection, stored)
            if now.state != AlertState.RECEIVED:
                return now
            began = self._began(connection, stored)
            if began is None:
                return self._placed(connection, stored, AlertOutcome.NOTHING_OPEN, "")
            if began.state == AlertState.RECEIVED:
                return None
            incident = self._goes_on_as(connection, began.incident)
            return self._placed(connection, stored, AlertOutcome.RESOLVED, incident)

    def _closed(self, stored: StoredAlert, decided: Routing) -> dict[str, float]:
        """Return when each incident that an alert may join was closed; called outside of locks."""
        with self._context.store.reading() as connection:
            running, crowd = self._running(connection, decided), self._crowd(connection, decided)
            known = self._known(connection, stored, {*running, crowd})
        found = {one.id: self._context.incident_log.closed_at(one.id) for one in known}
        return {name: at.timestamp() for name, at in found.items() if at}

    def _incident(
        self,
        connection: Connection,
        stored: StoredAlert,
        decided: Routing,
        closed: Mapping[str, float],
    ) -> Place:
        """Choose or create the alert's incident; store the time of the incident's last alert."""
        at = stored.received_at.timestamp()
        group, service = self._marks(stored)
        running, crowd = self._running(connection, decided), self._crowd(connection, decided)
        known = self._known(connection, stored, {*running, crowd}, closed)
        place = grouping.place(
            *(group, service, known, self._context.settings.grouping, at),
            running=running,
            crowd=crowd,
        )
        incident = place.incident or grouping.incident_id(stored.alert, stored.received_at)
        row = {"id": incident, "group": group, "service": service}
        insert = self._context.store.insert(incidents).values(**row, opened_at=at, last_alert_at=at)
        heard = insert.on_conflict_do_update(index_elements=["id"], set_={"last_alert_at": at})
        connection.execute(heard)
        connection.execute(
            sa.update(incidents)
            .where(incidents.c.id.in_(place.merged) | incidents.c.merged_into.in_(place.merged))
            .values(merged_into=incident)
        )
        return replace(place, incident=incident)

    def _known(
        self,
        connection: Connection,
        stored: StoredAlert,
        named: Collection[str],
        closed: Mapping[str, float] = _NOTHING,
    ) -> list[Known]:
        """Return the incidents that an alert may join; for merged ones, return the successor."""
        group, service = self._marks(stored)
        became = incidents.alias()
        into = sa.func.coalesce(incidents.c.merged_into, incidents.c.id) == became.c.id
        wanted = (
            sa.select(
                *(became.c.id, incidents.c.group, incidents.c.service, became.c.opened_at),
                became.c.last_alert_at,
            )
            .join(became, into)
            .where(
                (incidents.c.group == group) & (incidents.c.group != "")
                | (incidents.c.service == service) & (incidents.c.service != "")
                | incidents.c.id.in_(named)
            )
            .order_by(became.c.last_alert_at.desc())
            .limit(_AT_ONCE)
        )
        rows = connection.execute(wanted).all()
        return [_known(row, closed) for row in rows]

    def _running(self, connection: Connection, decided: Routing) -> set[str]:
        """Return the incidents with a live run of a runbook and key that this alert would start."""
        lives = [live_key(one.runbook, one.key) for one in decided.routes if not one.wide]
        return self._context.ledger.live_incidents(connection, lives)

    def _crowd(self, connection: Connection, decided: Routing) -> str:
        """Return the newest incident of the current alert storm; empty if there is no storm.

        A storm is a given number of incidents that each have a live run for an alert without a
        specific runbook. If each further alert started its own run, all these runs would load a
        database that already has problems.
        """
        for one in decided.routes:
            if one.wide:
                own = self._context.ledger.own_incidents(connection, one.runbook, one.key)
                if len(own) >= self._context.settings.grouping.storm:
                    return own[0]
        return ""

    def _order(
        self, stored: StoredAlert, route: Route, incident: str, mind: tuple[str, ...]
    ) -> JobRequest:
        return JobRequest(
            seed=stored.identity,
            runbook=route.runbook,
            parameters=route.parameters,
            key=(*route.key, incident) if route.wide else route.key,
            connections=route.connections,
            severity=route.severity,
            incident=incident,
            source="alert",
            why=f"alert {stored.alert.name or stored.alert.fingerprint}; {route.why}",
            mind=mind,
        )

    def _add(self, connection: Connection, stored: StoredAlert, order: JobRequest) -> bool:
        job, is_new = self._context.ledger.add(connection, order)
        self._context.ledger.attach(connection, job, stored.identity)
        return is_new

    def _marks(self, stored: StoredAlert) -> tuple[str, str]:
        alert = stored.alert
        return grouping.group_of(alert), grouping.service_of(alert, self._context.settings.grouping)

    def _again(self, connection: Connection, stored: StoredAlert) -> StoredAlert:
        row = connection.execute(sa.select(alerts).where(alerts.c.number == stored.number)).one()
        return stored_alert_of(row)

    def _is_stale(self, connection: Connection, stored: StoredAlert) -> bool:
        """Return whether this firing message is late: the alert is known only as resolved."""
        thread = alerts.c.thread == stored.alert.thread
        earlier = sa.select(alerts.c.status).where(thread, alerts.c.number < stored.number)
        return set(connection.execute(earlier).scalars()) == {AlertStatus.RESOLVED}

    def _began(self, connection: Connection, stored: StoredAlert) -> StoredAlert | None:
        """Return the firing alert that a resolved alert belongs to."""
        wanted = (
            sa.select(alerts)
            .where(alerts.c.thread == stored.alert.thread, alerts.c.status == AlertStatus.FIRING)
            .order_by(alerts.c.number.desc())
            .limit(1)
        )
        row = connection.execute(wanted).one_or_none()
        return stored_alert_of(row) if row else None

    def _goes_on_as(self, connection: Connection, incident: str) -> str:
        wanted = sa.select(incidents.c.merged_into).where(incidents.c.id == incident)
        return connection.execute(wanted).scalar() or incident

    # --- the state of an alert

    def _placed(
        self,
        connection: Connection,
        stored: StoredAlert,
        outcome: AlertOutcome,
        incident: str,
        why: str = "",
    ) -> StoredAlert:
        state = AlertState.PLACED if incident else AlertState.DONE
        connection.execute(
            move(alerts, ALERT_TRANSITIONS, state)
            .where(alerts.c.number == stored.number)
            .values(outcome=outcome, incident=incident, problem=why)
        )
        return self._again(connection, stored)

    def _done(self, stored: StoredAlert) -> None:
        with self._context.store.writing() as connection:
            connection.execute(
                move(alerts, ALERT_TRANSITIONS, AlertState.DONE).where(
                    alerts.c.number == stored.number
                )
            )

    def _wait(self, stored: StoredAlert, why: str) -> None:
        with self._context.store.writing() as connection:
            own = alerts.c.number == stored.number
            tries = connection.execute(sa.select(alerts.c.tries).where(own)).scalar_one()
            pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2**tries)
            retry = {"tries": min(tries + 1, 10), "retry_at": time.time() + pause_s}
            connection.execute(sa.update(alerts).where(own).values(retry))
            unplaced = sa.update(alerts).where(own, alerts.c.state == AlertState.RECEIVED)
            connection.execute(unplaced.values(problem=f"not processed yet: {why}"))


def _outcome(added: Sequence[bool], *, crowded: bool, by_rule: bool) -> AlertOutcome:
    """Return what a firing alert started; ``added`` says for each of its jobs if it is new."""
    if any(added):
        return AlertOutcome.STARTED
    if added:
        return AlertOutcome.STORM if crowded else AlertOutcome.ATTACHED
    return AlertOutcome.BY_RULE if by_rule else AlertOutcome.NO_RUN


def _known(row: Any, closed: Mapping[str, float]) -> Known:
    return Known(
        id=row.id,
        group=row.group,
        service=row.service,
        opened_at=row.opened_at,
        last_alert_at=row.last_alert_at,
        closed_at=closed.get(row.id),
    )
