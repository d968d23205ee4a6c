"""Combine the lines of an incident's record into an `IncidentRecord`. Pure.

Nothing is guessed: a field that no line gives is empty, and each time names its source. Lines may
come late, twice or out of order: an alert may be resolved before it fires, and a run may end
before its start is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge

from rbkernel.evidence.incident.actions import ActionHistory, actions_of
from rbkernel.evidence.incident.decisions import ASKED_AGAIN, DECIDED
from rbkernel.evidence.incident.histories import SEALS, AlertHistory, RunHistory, alerts_of, runs_of
from rbkernel.evidence.incident.line import CONTINUED, SEALING, Damage, Line, instant, shown
from rbkernel.evidence.incident.states import INCIDENT_TRANSITIONS, IncidentState
from rbkernel.evidence.incident.text import RBKERNEL
from rbkernel.model import Severity, Verdict

# the line which says that a maintenance window silences the incident
SILENCED = "silenced"
# the source of an incident that a schedule opened for its run
SCHEDULE = "schedule"
# kinds of lines that do not open an incident by themselves: they belong to its runs
OF_RUNS = frozenset({"run", *SEALS, "notified", SILENCED, DECIDED, ASKED_AGAIN, CONTINUED})
# kinds of lines that contain a severity
SEVERE = frozenset({"opened", "alert", "merged"})
STATUSES = ("Investigating", "Identified", "Monitoring", "Resolved")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time (UTC, ISO 8601), and a text that names the source of that time."""

    at: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Note:
    """A note that a person wrote."""

    at: str
    by: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StatusUpdate:
    """A status update that was sent; fields that were not given are empty."""

    at: str
    by: str
    status: str
    impact: str = ""
    action: str = ""
    eta: str = ""


@dataclass(frozen=True, kw_only=True)
class IncidentRecord:
    """An incident, as read from its record.

    Damaged lines are listed in ``damaged``, and are otherwise ignored. Lines dated in the future
    are listed there, too, but are used like other lines.

    ``exports`` are the exported files that the closing line names. Only older records have them;
    the line was written before the export, so a file may not exist. ``merged_into`` is the incident
    that replaces this one; ``merged_from`` are the incidents that were merged into this one.
    """

    id: str
    title: str
    severity: str
    service: str
    group_key: str
    state: IncidentState
    opened_at: str
    closed_at: str
    resolution: str
    exports: tuple[str, ...]
    alerts: tuple[AlertHistory, ...]
    runs: tuple[RunHistory, ...]
    actions: tuple[ActionHistory, ...]
    notes: tuple[Note, ...]
    statuses: tuple[StatusUpdate, ...]
    merged_into: str
    merged_from: tuple[str, ...]
    lines: tuple[Line, ...]
    damaged: tuple[Damage, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The ids of this incident and of the incidents that were merged into it."""
        return (self.id, *self.merged_from)

    @property
    def acknowledged(self) -> Line | None:
        """The first line that acknowledges the incident since it was last reopened."""
        first: Line | None = None
        for line in self.lines:
            if line.kind in {"closed", "reopened"}:
                first = None
            elif line.kind == "acknowledged":
                first = first or line
        return first

    @property
    def silenced(self) -> Line | None:
        """The last line which says that a maintenance window silenced the incident."""
        return next((line for line in reversed(self.lines) if line.kind == SILENCED), None)

    @property
    def silent_until(self) -> datetime | None:
        """Until when a maintenance window silences or silenced the incident; None if never."""
        return instant(self.silenced.text("until")) if self.silenced else None

    def is_silenced(self, now: datetime) -> bool:
        """Tell whether the record says that this open incident is silenced now."""
        until = self.silent_until
        return until is not None and until > now and self.state is not IncidentState.CLOSED

    @property
    def is_proven(self) -> bool:
        """Whether a quick check finds that the record is unchanged since it was last sealed."""
        return all(damage.number for damage in self.damaged)

    @property
    def unfinished(self) -> Line | None:
        """The last seal's line, if that seal was begun but not completed; else None."""
        last = next((line for line in reversed(self.lines) if line.kind in SEALS), None)
        return last if last and last.kind == SEALING else None

    @property
    def began(self) -> Moment:
        """The start of the incident: the earliest of first alert, first run and opening."""
        firing = [Moment(at=a.first_firing_at, source=f"alert {a.name}") for a in self.alerts]
        started = [Moment(at=r.started_at, source=f"run {r.run_id}") for r in self.runs]
        opened = Moment(at=self.opened_at, source="opened")
        return min(
            (one for one in (*firing, *started, opened) if one.at), key=_when, default=opened
        )

    @property
    def resolved(self) -> Moment | None:
        """When all alerts were resolved; without alerts, when the status was set to Resolved.

        None if unknown. The time of closing is not used: it tells when the work was done, not when
        the problem ended.
        """
        if self.alerts:
            if not all(alert.last_resolved_at for alert in self.alerts):
                return None
            last = max(self.alerts, key=lambda alert: instant(alert.last_resolved_at))
            return Moment(at=last.last_resolved_at, source=f"alert {last.name} resolved")
        if self.statuses and self.statuses[-1].status == "Resolved":
            return Moment(at=self.statuses[-1].at, source="status Resolved")
        return None

    @property
    def duration(self) -> timedelta | None:
        """The time from `began` to `resolved`, in whole seconds; None if the end is unknown."""
        if self.resolved is None:
            return None
        return shown(self.resolved.at) - shown(self.began.at)


def tell(
    lines: Sequence[Line], incident: str = "", damaged: Sequence[Damage] = ()
) -> IncidentRecord:
    """Combine the lines of a record into the incident that they describe.

    >>> def said(kind, at, **data):
    ...     return Line(number=1, kind=kind, at=f"2026-11-20T03:{at}:00+00:00", by="ann", data=data)
    >>> record = tell([said("opened", "02", title="Lag"), said("closed", "40", resolution="ok")])
    >>> record.title, record.state.value, record.resolution, record.resolved
    ('Lag', 'closed', 'ok', None)
    >>> tell([*record.lines, said("reopened", "50", why="again")]).state
    <IncidentState.OPEN: 'open'>
    """
    opened = next((line for line in lines if line.kind == "opened"), None)
    runs = tuple(runs_of(lines))
    merged = [line for line in lines if line.kind == "merged"]
    into = next((line.text("into") for line in merged if line.data.get("into")), "")
    sources = tuple(line.text("from") for line in merged if line.data.get("from"))
    state, closed = _state(lines, runs, into)
    return IncidentRecord(
        id=incident,
        title=opened.text("title") if opened else "",
        severity=_severity(lines),
        service=opened.text("service") if opened else "",
        group_key=opened.text("group_key") if opened else "",
        state=state,
        opened_at=_opened_at(opened, lines, runs),
        closed_at=closed.at if closed else "",
        resolution=closed.text("resolution") if closed else "",
        exports=_names(closed.data.get("exports")) if closed else (),
        alerts=tuple(alerts_of(lines)),
        runs=runs,
        actions=_own(actions_of(lines), (incident, *sources)),
        notes=tuple(
            Note(at=line.at, by=line.by, text=line.text("text")) for line in _of("note", lines)
        ),
        statuses=tuple(map(_status, _of("status", lines))),
        merged_into=into,
        merged_from=sources,
        lines=tuple(lines),
        damaged=tuple(damaged),
    )


def whole(record: IncidentRecord, merged: Iterable[IncidentRecord]) -> IncidentRecord:
    """Return an incident's record with the alerts and runs of what was merged into it.

    Alerts and runs are in the record of the incident that they came to, and stay there. All else is
    that of the record.

    Parameters
    ----------
    record
        The record of the incident.
    merged
        The records of the incidents that were merged into it.
    """
    others = [[line for line in one.lines if _is_of_alert_or_run(line)] for one in merged]
    if not any(others):
        return record
    lines = tuple(merge(record.lines, *others, key=lambda line: instant(line.at)))
    return replace(record, lines=lines, alerts=tuple(alerts_of(lines)), runs=tuple(runs_of(lines)))


def _is_of_alert_or_run(line: Line) -> bool:
    return line.kind in {"alert", "run"} or (line.kind in SEALS and bool(line.data.get("run_id")))


def _own(actions: Iterable[ActionHistory], parts: Sequence[str]) -> tuple[ActionHistory, ...]:
    """Return the actions whose documents do not name another incident.

    So nobody can copy the lines of an action into another record.
    """
    return tuple(one for one in actions if one.facts.get("incident", parts[0]) in parts)


def _state(
    lines: Sequence[Line], runs: Sequence[RunHistory], into: str
) -> tuple[IncidentState, Line | None]:
    """Return an incident's state, and the line that closed the incident, if it is closed.

    Of two `closed` lines in a row, the later one counts.
    """
    unclosed = IncidentState.RUNS_ONLY if _well(lines, runs) else IncidentState.OPEN
    unclosed = IncidentState.MERGED if into else unclosed
    after = {"closed": IncidentState.CLOSED, "reopened": unclosed}
    state, closed = unclosed, None
    for line in lines:
        new = after.get(line.kind)
        if new and (new is state or INCIDENT_TRANSITIONS.allows(state, new)):
            state, closed = new, line if new is IncidentState.CLOSED else None
    return state, closed


def _well(lines: Sequence[Line], runs: Sequence[RunHistory]) -> bool:
    """Tell whether the record contains nothing but runs that ended ok.

    The first seal of a run writes an `opened` line without texts; that line does not count.
    """
    alone = all(line.kind in OF_RUNS or _is_bare_opening(line) for line in lines)
    return bool(runs) and alone and all(run.verdict == Verdict.OK for run in runs)


def _is_bare_opening(line: Line) -> bool:
    return line.kind == "opened" and line.by == RBKERNEL and not line.text("title")


def _when(moment: Moment) -> datetime:
    return instant(moment.at)


def _of(kind: str, lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.kind == kind]


def _opened_at(opened: Line | None, lines: Sequence[Line], runs: Sequence[RunHistory]) -> str:
    """Return when the incident was opened, or when its first run began, if that is earlier."""
    known = [run.started_at for run in runs] + ([opened.at] if opened else [])
    return min(filter(None, known), key=instant, default=lines[0].at if lines else "")


def _severity(lines: Iterable[Line]) -> str:
    """Return the highest severity of the `opened` line, the alerts and the merged incidents."""
    severities = (line.text("severity") for line in lines if line.kind in SEVERE)
    return min(severities, key=Severity.place, default="")


def _status(line: Line) -> StatusUpdate:
    said = {name: line.text(name) for name in ("status", "impact", "action", "eta")}
    return StatusUpdate(at=line.at, by=line.by, **said)


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
