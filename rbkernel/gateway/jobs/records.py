"""The store's rows as immutable values: alerts, jobs, attempts, deliveries, workers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from rbkernel.evidence.incident import AlertOutcome, AlertStatus, is_possible
from rbkernel.gateway.jobs.alert import Alert
from rbkernel.gateway.jobs.states import JOB_TRANSITIONS, AlertState, JobState
from rbkernel.model import RUN_ID
from rbkernel.run.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class StoredAlert:
    """An alert in the store, with its processing state and what was done about it."""

    number: int
    alert: Alert
    received_at: datetime
    last_seen_at: datetime
    seen: int
    state: AlertState
    outcome: AlertOutcome
    incident: str
    problem: str

    @property
    def identity(self) -> str:
        """A hash that is the same in all repetitions of the alert's message."""
        return self.alert.identity

    @property
    def began_at(self) -> datetime:
        """When the alert began; the time of receipt if the sender's time is impossible."""
        at = self.alert.starts_at
        return at if is_possible(at, self.received_at) else self.received_at

    @property
    def fires(self) -> bool:
        """Whether the alert is firing, not resolved."""
        return self.alert.status == AlertStatus.FIRING


@dataclass(frozen=True, kw_only=True)
class Job:
    """A runbook to execute, in one or more attempts.

    ``why`` holds the reason for the job, followed by caveats, if any. ``priority`` is from 1
    (critical) to 4 (low). ``source`` is ``alert``, ``schedule``, or the run that the job continues,
    and the basis of the continuation. ``verdict`` and ``head`` (the hash of the seal) are those of
    the last sealed attempt.
    """

    NOT_STARTED: ClassVar[tuple[JobState, ...]] = (JobState.WAITING, JobState.QUEUED)
    LIVE: ClassVar[tuple[JobState, ...]] = (*NOT_STARTED, JobState.RUNNING)
    ENDED: ClassVar[tuple[JobState, ...]] = JOB_TRANSITIONS.final

    id: str
    runbook: str
    parameters: Mapping[str, Any]
    key: tuple[str, ...]
    incident: str
    source: str
    priority: int
    connections: tuple[str, ...]
    why: tuple[str, ...]
    state: JobState
    attempt: int
    created_at: datetime
    not_before: datetime | None
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    run_id: str
    worker: str
    verdict: str
    failure: str
    head: str

    @property
    def continues(self) -> tuple[str, str] | None:
        """The id of the run that the job continues, and on which basis; None if it does not."""
        run_id, _, basis = self.source.partition(" ")
        return (run_id, basis) if RUN_ID.fullmatch(run_id) else None

    @property
    def mind(self) -> str:
        """Caveats about how far the job's findings can be trusted; usually empty."""
        return "; ".join(self.why[1:])

    @property
    def duration_s(self) -> float | None:
        """The duration of the last attempt, in seconds; None before it has ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One execution of a job: a separate run with separate evidence."""

    job: str
    number: int
    run_id: str
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    verdict: str
    failure: str


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """An unreadable delivery of an authenticated sender."""

    SHOWN_BYTES: ClassVar[int] = 2_000

    number: int
    source: str
    received_at: datetime
    reason: str
    size_bytes: int
    beginning: bytes


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that takes jobs: `rbkernel serve` or `rbkernel worker`.

    ``place`` identifies the host and container in which the process id ``process`` is valid.
    ``silent_s`` is the time since the last heartbeat, in seconds.
    """

    id: str
    host: str
    place: str
    process: str
    kernels: int
    started_at: datetime
    silent_s: float


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Counts of rows in the store, by state; and ages in seconds, None without such a row."""

    alerts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    oldest_alert_s: float | None = None
    oldest_job_s: float | None = None

    @property
    def waiting(self) -> int:
        """The number of jobs that have not started, whether waiting or queued."""
        return sum(self.jobs.get(state, 0) for state in Job.NOT_STARTED)

    @property
    def running(self) -> int:
        """The number of running jobs; each uses a kernel."""
        return self.jobs.get(JobState.RUNNING, 0)


def at(seconds: float | None) -> datetime | None:
    """Convert a time from the store (seconds since 1970) to a `datetime`; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def stored_alert_of(row: Any) -> StoredAlert:
    """Convert a row of the table of alerts to a value."""
    return StoredAlert(
        number=row.number,
        alert=Alert.from_json(json.loads(row.alert)),
        received_at=_at(row.received_at),
        last_seen_at=_at(row.last_seen_at),
        state=AlertState(row.state),
        outcome=AlertOutcome(row.outcome),
        **{name: getattr(row, name) for name in ("seen", "incident", "problem")},
    )


def job_of(row: Any) -> Job:
    """Convert a row of the table of jobs to a value."""
    texts = ("id", "runbook", "incident", "source", "run_id", "worker", "verdict")
    return Job(
        **{name: getattr(row, name) for name in (*texts, "failure", "head", "priority", "attempt")},
        state=JobState(row.state),
        created_at=_at(row.created_at),
        queued_at=at(row.queued_at),
        started_at=at(row.started_at),
        ended_at=at(row.ended_at),
        not_before=at(row.not_before or None),
        parameters=json.loads(row.parameters),
        key=tuple(json.loads(row.key)),
        connections=tuple(json.loads(row.connections)),
        why=tuple(json.loads(row.why)),
    )


def attempt_of(row: Any) -> Attempt:
    """Convert a row of the table of attempts to a value."""
    texts = ("job", "number", "run_id", "worker", "verdict", "failure")
    return Attempt(
        **{name: getattr(row, name) for name in texts},
        outcome=Outcome(row.outcome),
        started_at=_at(row.started_at),
        ended_at=at(row.ended_at),
    )


def quarantined_of(row: Any) -> Quarantined:
    """Convert a row of the table of unreadable deliveries to a value."""
    return Quarantined(
        number=row.number,
        source=row.source,
        received_at=_at(row.received_at),
        reason=row.reason,
        size_bytes=row.size_bytes,
        beginning=bytes(row.beginning),
    )


def worker_of(row: Any) -> Worker:
    """Convert a row of the table of workers to a value."""
    texts = ("id", "host", "place", "process", "kernels")
    return Worker(
        **{name: getattr(row, name) for name in texts},
        started_at=_at(row.started_at),
        silent_s=max(0.0, row.silent_s),
    )
