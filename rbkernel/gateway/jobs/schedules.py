"""Create jobs when schedules are due. Pure except for `Scheduler`.

Each due time creates one job, however many gateways check it: the job's id derives from the
schedule's name and the due time. After a pause, only the newest missed time is made up for, and
only within the delay that the schedule allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from rbkernel.config.queue import Schedule
from rbkernel.errors import RbkernelError, SecretParameter
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.ledger import JobRequest
from rbkernel.model import Severity
from rbkernel.run.preflight import accept
from rbkernel.runbook import catalogue, connections
from rbkernel.runbook.catalogue import Runbook

_MINUTE = timedelta(minutes=1)


def last_due(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when a schedule was last due, in UTC; None if that is too long ago to catch up.

    >>> zone = "Europe/Berlin"
    >>> daily = Schedule(name="daily", cron="0 6 * * *", timezone=zone, runbook="RUN-016")
    >>> last_due(daily, datetime(2026, 11, 20, 5, 10, tzinfo=UTC)).isoformat()
    '2026-11-20T05:00:00+00:00'
    >>> last_due(daily, datetime(2026, 11, 20, 6, 10, tzinfo=UTC)) is None
    True
    """
    due = _cron(schedule, now + _MINUTE / 60, "get_prev")
    return due if now - due <= timedelta(minutes=schedule.catch_up_min) else None


def next_due(schedule: Schedule, now: datetime) -> datetime:
    """Return the next due time of a schedule, in UTC.

    >>> daily = Schedule(name="daily", cron="0 6 * * *", runbook="RUN-016")
    >>> next_due(daily, datetime(2026, 11, 20, 6, 0, tzinfo=UTC)).isoformat()
    '2026-11-21T06:00:00+00:00'
    """
    return _cron(schedule, now, "get_next")


def incident_of(schedule: Schedule, due: datetime) -> str:
    """Return the id of the separate incident for a scheduled run.

    >>> incident_of(Schedule(name="daily", cron="0 6 * * *", runbook="RUN-016"),
    ...             datetime(2026, 11, 20, 5, tzinfo=UTC))
    'INC-20261120-0500-daily'
    """
    return f"INC-{due.astimezone(UTC):%Y%m%d-%H%M}-{schedule.name.rstrip('-')}"


def _cron(schedule: Schedule, at: datetime, which: str) -> datetime:
    from croniter import croniter

    local = at.astimezone(ZoneInfo(schedule.timezone))
    found: datetime = getattr(croniter(schedule.cron, local), which)(datetime)
    return found.astimezone(UTC)


class Scheduler:
    """Creates a job for each schedule that is due."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._done: dict[str, datetime] = {}

    def sweep(self, complain: Callable[[str], None]) -> int:
        """Create jobs for all due schedules; return the number of new jobs.

        Raises
        ------
        StoreError
            The store does not work; the next sweep tries again.
        """
        now, made = datetime.now(UTC), 0
        for schedule in self._context.settings.schedules:
            due = last_due(schedule, now)
            if due is None or self._done.get(schedule.name) == due:
                continue
            try:
                made += self._fire(schedule, due, complain)
            except SecretParameter as error:  # keep a secret out of the store
                complain(_cannot(schedule, error))
            self._done[schedule.name] = due
        return made

    def _fire(self, schedule: Schedule, due: datetime, complain: Callable[[str], None]) -> bool:
        planned = self._planned(schedule, complain)
        incident = incident_of(schedule, due)
        order = JobRequest(
            seed=f"schedule {schedule.name} {due.isoformat()}",
            runbook=planned.runbook,
            parameters=planned.parameters,
            key=("schedule", schedule.name),
            connections=planned.connections,
            severity=Severity.LOW,
            incident=incident,
            source="schedule",
            why=f"schedule {schedule.name}: {schedule.cron} {schedule.timezone},"
            f" due {due:%Y-%m-%d %H:%M} UTC",
        )
        with self._context.store.planning() as connection:
            _, is_new = self._context.ledger.add(connection, order)
        if is_new:
            title = f"{schedule.name}: {planned.title}"
            self._context.incident_log.open_for_schedule(incident, title)
        return is_new

    def _planned(self, schedule: Schedule, complain: Callable[[str], None]) -> _Planned:
        """Return a schedule's run; if it cannot run, complain, and let its job fail visibly."""
        try:
            runbook = catalogue.find(schedule.runbook, self._context.settings.catalogue.paths)
            values = accept(runbook, schedule.parameters, "", self._context.settings)
        except SecretParameter:
            raise
        except RbkernelError as error:
            complain(_cannot(schedule, error))
            return _Planned(schedule.runbook, schedule.runbook, schedule.parameters, ())
        title = runbook.front_matter.title
        return _Planned(runbook.id, title, values, _connections(runbook, values))


class _Planned(NamedTuple):
    """The run that a schedule starts: runbook, title, parameters and connections."""

    runbook: str
    title: str
    parameters: Mapping[str, Any]
    connections: tuple[str, ...]


def _cannot(schedule: Schedule, error: RbkernelError) -> str:
    return f"the schedule {schedule.name} cannot run {schedule.runbook}: {error}"


def _connections(runbook: Runbook, values: Mapping[str, object]) -> tuple[str, ...]:
    """Return the connections that a run with these parameters uses."""
    defaults = {name: one.default for name, one in runbook.parameters.items()}
    named = connections.named(runbook.front_matter.connections, {**defaults, **values}, runbook.id)
    return tuple(dict.fromkeys(named.values()))
