"""What the evidence says about an incident, such as its title and start, for postmortems. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from rbkernel.evidence.incident import Answers, DoneByHand, IncidentRecord, Moment, instant
from rbkernel.evidence.reading import Record
from rbkernel.evidence.runs import RunEntry
from rbkernel.evidence.timeline import Entry
from rbkernel.model import Severity, Verdict

# the seeds' runbooks: "any P0/P1 triggers a postmortem within 24h", "meeting within 48 hours"
WRITTEN_WITHIN = timedelta(hours=24)
MEETING_WITHIN = timedelta(hours=48)
#: The mildest severity that requires a postmortem: P1.
MILDEST_REQUIRED = Severity.HIGH


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the evidence says about an incident at the time when the postmortem is made."""

    record: IncidentRecord
    runs: Sequence[Record]
    timeline: Sequence[Entry]
    made_at: datetime
    answers: Answers = field(default_factory=Answers)
    done: Mapping[str, DoneByHand] = field(default_factory=dict)
    entries: Sequence[RunEntry] = ()

    @property
    def title(self) -> str:
        """The incident's title; without one, its alerts, or the runbooks that found something."""
        alerts = dict.fromkeys(alert.name for alert in self.record.alerts)
        wrong = (run for run in self.runs if run.run and run.verdict is not Verdict.OK)
        titles = dict.fromkeys(run.run.title for run in wrong if run.run)
        return self.record.title or ", ".join(alerts) or ", ".join(titles)

    @property
    def began(self) -> Moment:
        """The earliest time on record for the incident; empty if there is none."""
        starts = [
            Moment(at=run.run.started_at, source=f"run {run.run_id}")
            for run in self.runs
            if run.run and run.run.started_at
        ]
        known = [one for one in (self.record.began, *starts) if one.at]
        return min(known, key=lambda one: instant(one.at), default=self.record.began)

    @property
    def ended(self) -> Moment | None:
        """The end of the incident; None if it is not on record, or is before the start."""
        resolved = self.record.resolved
        backwards = resolved is not None and instant(resolved.at) < instant(self.began.at)
        return None if backwards else resolved

    @property
    def severity(self) -> Severity | None:
        """The severity on rbkernel's own scale; None if it is not on record."""
        try:
            return Severity.parse(self.record.severity)
        except ValueError:
            return None

    @property
    def deadline_from(self) -> Moment | None:
        """The time from which deadlines count: the incident's end, else when it was closed."""
        closed = Moment(at=self.record.closed_at, source="it was closed")
        return self.ended or (closed if closed.at else None)

    def due(self, within: timedelta) -> datetime | None:
        """Return the deadline that is this long after `deadline_from`; None if that is unknown."""
        start = self.deadline_from
        return instant(start.at).astimezone(UTC) + within if start else None
