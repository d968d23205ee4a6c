"""Write alerts and jobs from the gateway's store into the records of their incidents.

Every entry is derived from the present state of the store, and an entry that the record already
holds is not written again. So after a crash another process writes all entries once more, and none
is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rbkernel import amounts
from rbkernel.config.queue import Grouping
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident import (
    SEALING,
    SILENCED,
    AlertStatus,
    IncidentState,
    Line,
    RunState,
    instant,
)
from rbkernel.evidence.incident.seal import seal_record
from rbkernel.gateway.jobs.grouping import service_name
from rbkernel.gateway.jobs.ledger import Ledger
from rbkernel.gateway.jobs.records import Attempt, Job, StoredAlert
from rbkernel.gateway.jobs.situation_capture import Ask
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.storage.tables import alerts, incidents
from rbkernel.model import Severity, Verdict
from rbkernel.redact import Redactor
from rbkernel.render.documents.wording import clock
from rbkernel.run.outcome import Outcome
from rbkernel.sources.postgres import stored
from rbkernel.sources.postgres.diagnosis import Diagnosis

BY = "rbkernel"
_RECORD = "incident.jsonl"
# the kinds of lines in an incident that consists only of a scheduled run
_OF_A_SCHEDULE = frozenset({"opened", "run", "sealed", SEALING, "notified", SILENCED})


class IncidentLog:
    """Writes incidents' records in one evidence folder.

    ``key`` signs records on closing. ``recorded`` is called after each line, and when a run has
    ended, which may have written lines itself.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        ledger: Ledger,
        rules: Grouping,
        *,
        key: Path | None = None,
        recorded: Callable[[], None],
    ) -> None:
        self._root = root
        self._store = store
        self._ledger = ledger
        self._rules = rules
        self._key = key
        self._recorded = recorded

    def closed_at(self, incident: str) -> datetime | None:
        """Return when an incident was closed; None while it is open."""
        if not self._has(incident, '"closed"'):
            return None  # the common case
        closed_at = records.read(self._root, incident).closed_at
        return instant(closed_at) if closed_at else None

    def record_alert(self, stored: StoredAlert, severity: Severity | None) -> None:
        """Write an alert into its incident's record; this may open or reopen the incident."""
        alert, incident = stored.alert, stored.incident
        jobs = self._store.jobs_for(alert.identity)
        how = {"severity": severity.value if severity else ""}
        if not (self._root / incident / _RECORD).is_file():
            self._open(stored, **how)
        if stored.fires and self.closed_at(incident):
            self._say(
                incident, "reopened", why=f"alert {alert.name or alert.fingerprint} is firing"
            )
        for other in self._merged_into(incident):
            self._merge(incident, other)
        processed = {
            **how,
            "identity": alert.identity,
            "outcome": stored.outcome,
            "runs": [job.run_id for job in jobs],
            "why": stored.problem,
        }
        self._say(incident, "alert", **alert.to_json(), **processed)

    def record_situation(self, ask: Ask, seen: Diagnosis, redactor: Redactor) -> None:
        """Write the situation of an alert's server into the record, or why it is unknown."""
        named = {pid for cause in seen.causes for pid in cause.named}
        self._say(
            ask.incident,
            "situation",
            redactor=redactor,
            connection=ask.connection,
            alert=ask.alert,
            received_at=ask.received_at,
            verdict=seen.verdict.value,
            causes=[cause.headline for cause in seen.causes],
            situation=stored.to_json(stored.condensed(seen.situation, named)),
        )

    def open_for_schedule(self, incident: str, title: str) -> None:
        """Create the record of the incident that a scheduled run gets."""
        said = {"title": title, "severity": Severity.LOW.value}
        self._say(incident, "opened", source=records.SCHEDULE, **said)

    def record_job(self, job: Job) -> None:
        """Write the state of a job and of each of its attempts into the incident's record."""
        attempts = self._store.attempts(job.id)
        why = job.why[0] if job.why else ""
        for attempt in attempts:
            self._tell_attempt(job, attempt, why)
            why = f"attempt {attempt.number} was {attempt.outcome}: {attempt.failure}"
        if job.state in Job.NOT_STARTED:
            self._say_run(job, job.run_id, RunState.QUEUED, job.attempt + 1, why=why)
        if job.state == JobState.GIVEN_UP:
            text = (
                f"{job.runbook} failed after {amounts.count(job.attempt, 'attempt')}: {job.failure}"
            )
            self._note_once(job.incident, text)
        if job.state in Job.ENDED and job.state != JobState.WITHDRAWN:
            self._weigh(job)
        self._ledger.mark_recorded(job)
        self._recorded()  # the run's process has sealed the run since the last line

    def record_verdict(self, job: Job, verdict: Verdict) -> None:
        """Write that a run has ended with a verdict, before its evidence is sealed."""
        self._say_run(
            *(job, job.run_id, RunState.ENDED, job.attempt), outcome=Outcome.DONE, verdict=verdict
        )

    def settle(self, incident: str) -> None:
        """If all alerts of an incident are resolved, note that once; close it if so configured.

        The incident stays open while a run is still to come, or if a run found something that a
        person must look at.
        """
        if not incident or self._still_fires(incident):
            return
        record = records.read(self._root, incident)
        if record.state == IncidentState.CLOSED or record.resolved is None:
            return
        text = f"all alerts are resolved, the last one at {clock(record.resolved.at)}"
        self._note_once(incident, text)
        if self._rules.when_resolved == "close" and self._ledger.all_well(record.parts):
            self._close(incident, text)

    def _weigh(self, job: Job) -> None:
        """Close a scheduled run's incident if the run was ok; reopen a closed incident if not ok.

        If the person who closed the incident chose not to wait for the run, the incident stays
        closed.
        """
        well = job.state == JobState.DONE and job.verdict == Verdict.OK
        if well and job.source == "schedule":
            self._close_for_schedule(job)
        closed = self.closed_at(job.incident)
        if well or closed is None or job.ended_at is None or job.ended_at < closed:
            return
        record = records.read(self._root, job.incident)
        ending = next(line for line in reversed(record.lines) if line.kind == "closed")
        if not ending.data.get("lacks"):
            found = job.verdict or job.state
            why = f"{job.runbook} {job.run_id} ended after the incident was closed: {found}"
            self._say(job.incident, "reopened", why=why)

    def _close_for_schedule(self, job: Job) -> None:
        """Close a scheduled run's incident, if its record has no lines about anything else."""
        record = records.read(self._root, job.incident)
        if not any(line.kind not in _OF_A_SCHEDULE for line in record.lines):
            self._close(job.incident, f"scheduled, and {job.runbook} ended ok")

    def _close(self, incident: str, resolution: str) -> None:
        """Close and seal the record of an incident, and of the incidents merged into it."""
        went_on = f"merged into {incident}, which was closed"
        parts = dict.fromkeys(records.read(self._root, incident).merged_from, went_on)
        for one, why in {**parts, incident: resolution}.items():
            closing = records.closing(BY, resolution=why)
            seal_record(self._root, one, key=self._key, closing=closing)

    def _open(self, stored: StoredAlert, severity: str) -> None:
        alert = stored.alert
        title = alert.annotations.get("summary") or alert.name or alert.fingerprint
        self._say(
            stored.incident,
            "opened",
            title=title,
            severity=severity,
            service=service_name(alert.labels, self._rules),
            group_key=alert.group_key,
        )

    def _merge(self, incident: str, other: str) -> None:
        """Write into both records that ``other`` was merged into ``incident``.

        The record of ``incident`` also gets the severity of ``other``.
        """
        if not self._has(other, f'"into": "{incident}"'):
            severity = records.read(self._root, other).severity
            self._say(incident, "merged", **{"from": other, "severity": severity})
            self._say(other, "merged", into=incident)

    def _tell_attempt(self, job: Job, attempt: Attempt, why: str) -> None:
        self._say_run(job, attempt.run_id, RunState.QUEUED, attempt.number, why=why)
        self._say_run(job, attempt.run_id, RunState.STARTED, attempt.number)
        if attempt.ended_at:
            withdrawn = attempt.outcome == Outcome.WITHDRAWN
            line = self._say_run(
                job,
                attempt.run_id,
                RunState.WITHDRAWN if withdrawn else RunState.ENDED,
                attempt.number,
                outcome=attempt.outcome,
                verdict=attempt.verdict,
                why=attempt.failure,
            )
            if attempt.failure and not line.is_new and not line.text("why"):
                # the verdict was recorded before the seal failed
                self._note_once(job.incident, f"run {attempt.run_id}: {attempt.failure}")

    def _say_run(self, job: Job, run_id: str, state: RunState, attempt: int, **said: str) -> Line:
        mind = {"mind": job.mind} if job.mind else {}
        return self._say(
            job.incident,
            "run",
            run_id=run_id,
            runbook=job.runbook,
            state=state,
            attempt=attempt,
            **mind,
            **said,
        )

    def _say(self, incident: str, kind: str, **said: Any) -> Line:
        line = records.append(self._root, incident, kind, by=BY, **said)
        self._recorded()
        return line

    def _has(self, incident: str, words: str) -> bool:
        """Return whether an incident's record contains this text, without parsing the record."""
        try:
            return words.encode() in (self._root / incident / _RECORD).read_bytes()
        except OSError:
            return False

    def _note_once(self, incident: str, text: str) -> None:
        def check(record: records.IncidentRecord) -> None:
            if any(note.text == text for note in record.notes):
                raise records.AlreadyRecorded

        with suppress(records.AlreadyRecorded):
            self._say(incident, "note", text=text, check=check)

    def _still_fires(self, incident: str) -> bool:
        """Return whether an alert of the incident or its merged parts is still firing."""
        parts = [incident, *self._merged_into(incident)]
        of_this = sa.select(alerts.c.thread).where(alerts.c.incident.in_(parts))
        firing = of_this.where(alerts.c.status == AlertStatus.FIRING)
        ended = sa.select(alerts.c.thread).where(alerts.c.status == AlertStatus.RESOLVED)
        return bool(self._store.read(firing.where(alerts.c.thread.not_in(ended)).limit(1)))

    def _merged_into(self, incident: str) -> list[str]:
        found = sa.select(incidents.c.id).where(incidents.c.merged_into == incident)
        return [row.id for row in self._store.read(found)]
