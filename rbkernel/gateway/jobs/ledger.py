"""The jobs in the store, the workers, and every change of a job's state.

Ordering rules. A job changes its state only as `JOB_TRANSITIONS` allows. The worker that changes
``queued`` to ``running`` for the next attempt's number executes that attempt: only one worker can.
Only the running attempt ends the job, so a worker that was considered lost cannot end a job that
another worker has reclaimed. The column ``recorded`` is set to false by every change, until the
incident's record has that change.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from rbkernel.config.queue import Queue
from rbkernel.gateway.jobs.records import Job, job_of
from rbkernel.gateway.jobs.states import (
    JOB_TRANSITIONS,
    AlertState,
    JobState,
    move,
)
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.storage.tables import (
    alerts,
    attempts,
    job_alerts,
    jobs,
    quarantine,
    workers,
)
from rbkernel.model import Severity, Verdict, new_run_id
from rbkernel.run.outcome import ATTEMPT_TRANSITIONS, Ending, Outcome

_LOOK_AT_ONCE = 1_000
_FIRST_PAUSE_S, _LONGER = 2.0, 5.0  # the pause before the second attempt; its growth factor


@dataclass(frozen=True, kw_only=True)
class PendingAttempt:
    """An attempt at a job that may be put into the queue now."""

    job: str
    number: int
    priority: int

    @property
    def name(self) -> str:
        """The attempt's name in the queue, which is the same each time it is queued."""
        return f"{self.job}.{self.number}"


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A request for a run; `add` turns it into a job.

    ``seed`` determines the job's id. ``mind`` lists caveats about how the alert was routed.
    """

    seed: str
    runbook: str
    parameters: Mapping[str, Any]
    key: tuple[str, ...]
    connections: tuple[str, ...]
    severity: Severity
    incident: str
    source: str
    why: str
    mind: tuple[str, ...] = ()


class Ledger:
    """Manages the jobs and workers of a store; may be used by any thread.

    Every method may raise `StoreError`.
    """

    def __init__(self, store: Store, rules: Queue) -> None:
        self._store = store
        self._rules = rules

    # --- from the request to the queue

    def add(self, connection: Connection, order: JobRequest) -> tuple[str, bool]:
        """Add the job that a request asks for, within the caller's transaction of `Store.planning`.

        If a live job for the same runbook and key exists, no job is added. The live job then takes
        the highest priority among its requests.

        Returns
        -------
        tuple
            The id of the live job for its runbook and key, and whether it is a new one.
        """
        live = live_key(order.runbook, order.key)
        priority = list(Severity).index(order.severity) + 1
        known = connection.execute(sa.select(jobs.c.id).where(jobs.c.live == live)).scalar()
        if known:
            calmer = sa.update(jobs).where(jobs.c.id == known, jobs.c.priority > priority)
            connection.execute(calmer.values(priority=priority))
            return str(known), False
        id = hashlib.sha256(f"{order.seed} {live}".encode()).hexdigest()[:20]  # noqa: A001
        row = {
            **{name: getattr(order, name) for name in ("runbook", "incident", "source")},
            "id": id,
            "parameters": json.dumps(dict(order.parameters)),
            "key": json.dumps(order.key),
            "connections": json.dumps(order.connections),
            "why": json.dumps([order.why, *order.mind]),
            "live": live,
            "priority": priority,
            "state": JobState.WAITING,
            "run_id": new_run_id(),
            "created_at": time.time(),
            "recorded": False,
        }
        insert = self._store.insert(jobs).values(row)
        once = insert.on_conflict_do_nothing(index_elements=["id"]).returning(jobs.c.id)
        return id, connection.execute(once).scalar() is not None

    def attach(self, connection: Connection, job: str, identity: str) -> None:
        """Store that this alert started or joined a job."""
        row = {"job": job, "identity": identity}
        connection.execute(self._store.insert(job_alerts).values(row).on_conflict_do_nothing())

    def live_incidents(self, connection: Connection, lives: Collection[str]) -> set[str]:
        """Return the incidents of the live jobs (not ended yet) with these keys."""
        found = connection.execute(sa.select(jobs.c.incident).where(jobs.c.live.in_(lives)))
        return set(found.scalars())

    def own_incidents(
        self, connection: Connection, runbook: str, key: tuple[str, ...]
    ) -> list[str]:
        """Return the incidents that each have a live job for this runbook and key, newest first."""
        live = sa.select(jobs.c.incident, jobs.c.key).where(
            jobs.c.runbook == runbook, jobs.c.live.is_not(None)
        )
        found = connection.execute(live.order_by(jobs.c.created_at.desc()))
        return [row.incident for row in found if json.loads(row.key) == [*key, row.incident]]

    def promote(self) -> list[PendingAttempt]:
        """Mark waiting jobs as queued if their connections have room; return their attempts.

        The most urgent jobs come first.
        """
        waiting = (
            sa.select(jobs)
            .where(jobs.c.state == JobState.WAITING, jobs.c.not_before <= time.time())
            .order_by(jobs.c.priority, jobs.c.created_at)
            .limit(_LOOK_AT_ONCE)
        )
        if not self._store.read(waiting.limit(1)):
            return []  # the common case, which needs no write transaction
        with self._store.planning() as connection:
            active = sa.select(jobs.c.connections).where(
                jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING])
            )
            taken = Counter(
                name for names in connection.execute(active).scalars() for name in json.loads(names)
            )
            room = [
                row
                for row in connection.execute(waiting).all()
                if _take(taken, json.loads(row.connections), self._rules.per_connection)
            ]
            ids = [row.id for row in room]
            queued = move(jobs, JOB_TRANSITIONS, JobState.QUEUED).where(jobs.c.id.in_(ids))
            connection.execute(queued.values(queued_at=time.time()))
        return [_turn(row) for row in room]

    def queued_since(self, age_s: float) -> list[PendingAttempt]:
        """Return attempts that have been queued for this long, and may be lost from the queue."""
        wanted = sa.select(jobs).where(
            jobs.c.state == JobState.QUEUED, jobs.c.queued_at < time.time() - age_s
        )
        return [_turn(row) for row in self._store.read(wanted.limit(_LOOK_AT_ONCE))]

    # --- from the queue to the end

    def begin(self, job: str, number: int, worker: str) -> Job | None:
        """Claim a job for a worker's next attempt; return None if it can no longer be claimed."""
        now = time.time()
        with self._store.writing() as connection:
            taken = connection.execute(
                move(jobs, JOB_TRANSITIONS, JobState.RUNNING)
                .where(jobs.c.id == job, jobs.c.attempt == number - 1)
                .values(
                    attempt=number,
                    worker=worker,
                    started_at=now,
                    ended_at=None,
                    recorded=False,
                )
                .returning(*jobs.c)
            ).one_or_none()
            if taken is None:
                return None
            row = {"job": job, "number": number, "run_id": taken.run_id, "worker": worker}
            connection.execute(sa.insert(attempts).values({**row, "started_at": now}))
        return job_of(taken)

    def end(self, job: str, number: int, ending: Ending) -> JobState | None:
        """Store the outcome of an attempt; queue an interrupted job again, up to a limit.

        Returns
        -------
        JobState
            The job's new state; None when that attempt no longer runs, so that nothing changed.
        """
        outcome = ATTEMPT_TRANSITIONS.check(Outcome.RUNNING, ending.outcome)
        now, failure = time.time(), ending.failure
        with self._store.writing() as connection:
            connection.execute(
                sa.update(attempts)
                .where(attempts.c.job == job, attempts.c.number == number)
                .where(attempts.c.outcome == Outcome.RUNNING)
                .values(ended_at=now, outcome=outcome, failure=failure, verdict=ending.verdict)
            )
            state, changes = self._after(connection, job, ending, now)
            ended = connection.execute(
                move(jobs, JOB_TRANSITIONS, state)
                .where(jobs.c.id == job, jobs.c.attempt == number)
                .values(**changes, ended_at=now, failure=failure, recorded=False)
            )
        return state if ended.rowcount else None

    def _after(
        self, connection: Connection, job: str, ending: Ending, now: float
    ) -> tuple[JobState, dict[str, Any]]:
        """Return the state of a job after an attempt, and all other changes in the job's row."""
        last = {"live": None, "verdict": ending.verdict, "head": ending.head}
        if ending.outcome is Outcome.DONE:
            return JobState.DONE, last
        if ending.outcome in {Outcome.FAILED, Outcome.WITHDRAWN}:
            return JobState(ending.outcome.value), last
        counted = connection.execute(
            sa.select(sa.func.count()).where(
                attempts.c.job == job, attempts.c.outcome == Outcome.INTERRUPTED
            )
        ).scalar_one()
        if counted >= self._rules.attempts:
            # no verdict means unknown
            return JobState.GIVEN_UP, {**last, "verdict": ending.verdict or Verdict.UNKNOWN.value}
        pause_s = (
            0.0 if ending.outcome == Outcome.DRAINED else _FIRST_PAUSE_S * _LONGER ** (counted - 1)
        )
        return JobState.WAITING, {"not_before": now + pause_s, "run_id": new_run_id()}

    # --- workers

    def register(self, id: str, kernels: int, host: str, place: str, process: str) -> None:  # noqa: A002
        """Register a worker: a process that takes jobs from now on."""
        row = {"id": id, "kernels": kernels, "host": host, "place": place, "process": process}
        clock = self._store.clock
        with self._store.writing() as connection:
            insert = self._store.insert(workers).values(**row, started_at=clock, heartbeat_at=clock)
            connection.execute(
                insert.on_conflict_do_update(index_elements=["id"], set_={"heartbeat_at": clock})
            )

    def heartbeat(self, worker: str) -> set[tuple[str, int]] | None:
        """Store that a worker is alive; return the attempts that still belong to this worker.

        Return None if other workers have declared this worker dead.
        """
        with self._store.writing() as connection:
            alive = connection.execute(
                sa.update(workers)
                .where(workers.c.id == worker)
                .values(heartbeat_at=self._store.clock)
            )
            own = sa.select(jobs.c.id, jobs.c.attempt).where(
                jobs.c.worker == worker, jobs.c.state == JobState.RUNNING
            )
            mine = {(row.id, row.attempt) for row in connection.execute(own)}
        return mine if alive.rowcount else None

    def unregister(self, worker: str) -> None:
        """Remove a worker whose jobs have all ended."""
        with self._store.writing() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == worker))

    def reclaim(self, job: Job, worker: str) -> bool:
        """Give a lost worker's running job to another worker; return whether that worker got it."""
        with self._store.writing() as connection:
            taken = connection.execute(
                sa.update(jobs)
                .where(
                    jobs.c.id == job.id,
                    jobs.c.state == JobState.RUNNING,
                    jobs.c.attempt == job.attempt,
                    jobs.c.worker == job.worker,
                )
                .values(worker=worker)
            )
        return bool(taken.rowcount)

    def running(self) -> list[Job]:
        """Return the running jobs, including the jobs of lost workers."""
        wanted = sa.select(jobs).where(jobs.c.state == JobState.RUNNING)
        return [job_of(row) for row in self._store.read(wanted)]

    # --- entries that the incidents' records lack

    def unrecorded(self) -> list[Job]:
        """Return the jobs with a change that may be missing from their incident's record."""
        wanted = sa.select(jobs).where(jobs.c.recorded.is_(False)).order_by(jobs.c.created_at)
        return [job_of(row) for row in self._store.read(wanted.limit(_LOOK_AT_ONCE))]

    def mark_recorded(self, job: Job) -> None:
        """Store that the incident's record has every change of a job up to this state."""
        with self._store.writing() as connection:
            connection.execute(
                sa.update(jobs)
                .where(
                    jobs.c.id == job.id,
                    jobs.c.state == job.state,
                    jobs.c.attempt == job.attempt,
                )
                .values(recorded=True)
            )

    def all_well(self, incidents: Collection[str]) -> bool:
        """Return whether these incidents have no pending job, and their newest runs ended ok."""
        of_these = jobs.c.incident.in_(incidents), jobs.c.state != JobState.WITHDRAWN
        wanted = sa.select(jobs).where(*of_these).order_by(jobs.c.created_at)
        newest = {(row.runbook, row.key): row for row in self._store.read(wanted)}
        return all(
            one.state == JobState.DONE and one.verdict == Verdict.OK for one in newest.values()
        )

    def forget(self, before: float) -> int:
        """Delete jobs, alerts and quarantined deliveries from before a time; keep evidence."""
        ended = sa.select(jobs.c.id).where(jobs.c.ended_at < before, jobs.c.live.is_(None))
        old = alerts.c.last_seen_at < before, alerts.c.state == AlertState.DONE
        with self._store.writing() as connection:
            for table in (attempts, job_alerts):
                connection.execute(sa.delete(table).where(table.c.job.in_(ended)))
            gone = [
                sa.delete(jobs).where(jobs.c.id.in_(ended)),
                sa.delete(alerts).where(*old),
                sa.delete(quarantine).where(quarantine.c.received_at < before),
            ]
            return sum(connection.execute(statement).rowcount for statement in gone)


def live_key(runbook: str, key: Sequence[str]) -> str:
    """Return the key of a runbook's job, which only one live job at a time can have.

    >>> live_key("RUN-005", ["a", "b"]) == live_key("RUN-005", ["a b"])
    False
    """
    return hashlib.sha256(json.dumps([runbook, *key]).encode()).hexdigest()


def _take(taken: Counter[str], connections: list[str], limit: int) -> bool:
    """Reserve a slot at each of the connections, or at none; return whether slots were reserved.

    >>> taken = Counter(orders=1)
    >>> _take(taken, ["orders", "billing"], 2), _take(taken, ["orders"], 2), taken["billing"]
    (True, False, 1)
    """
    if any(taken[name] >= limit for name in connections):
        return False
    taken.update(connections)
    return True


def _turn(row: Any) -> PendingAttempt:
    return PendingAttempt(job=row.id, number=row.attempt + 1, priority=row.priority)
