"""Pure: what the lines of an incident's record add up to.

Nothing is made up: what no line tells is empty, and a time comes with what it was taken from.
Lines may come late or twice, and in any order where a sender chose the order: an alert that
resolves before it fires, a run that ends before anybody heard of its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rbkernel.model import Severity

OPEN, CLOSED = "open", "closed"
# a line `sealed` whose seal is not there: it died, or has not ended yet
SEALING = "sealing"
# clocks of several hosts are never quite the same
AHEAD = timedelta(minutes=5)
# the lines that say how severe it is
SEVERE = frozenset({"opened", "alert", "merged"})
STATUSES = ("Investigating", "Identified", "Monitoring", "Resolved")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the record; ``number`` counts from 1, ``data`` is what else the line says.

    ``is_new`` is false for a line that was there when somebody said it again.
    """

    number: int
    kind: str
    at: str
    by: str
    data: Mapping[str, Any]
    is_new: bool = field(default=True, compare=False)

    def text(self, name: str) -> str:
        """Return a field as text; empty when it is missing.

        >>> Line(number=1, kind="note", at="", by="", data={"text": "x", "eta": None}).text("eta")
        ''
        """
        value = self.data.get(name)
        return "" if value is None else str(value)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A line that cannot be understood; number 0 is the whole record."""

    number: int
    what: str

    def __str__(self) -> str:
        return f"line {self.number} {self.what}" if self.number else f"the record {self.what}"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time (UTC, ISO 8601), and what it was taken from."""

    at: str
    source: str


@dataclass(frozen=True, kw_only=True)
class AlertHistory:
    """All that was heard of one alert; labels and annotations are the newest.

    ``last_resolved_at`` is empty while it fires.
    """

    source: str
    fingerprint: str
    status: str
    first_firing_at: str
    last_resolved_at: str
    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]
    url: str
    heard: int

    @property
    def name(self) -> str:
        """The alert's name as its sender has it, else its fingerprint."""
        return str(self.labels.get("alertname") or self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """All that the record says of one run; ``state`` is queued, started, ended or sealed."""

    run_id: str
    state: str
    runbook: str = ""
    title: str = ""
    verdict: str = ""
    queued_at: str = ""
    started_at: str = ""
    ended_at: str = ""
    sealed_at: str = ""
    attempt: int | None = None
    why: str = ""
    mind: str = ""
    folder: str = ""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What somebody wrote down."""

    at: str
    by: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StatusUpdate:
    """A status as it was told to others; what was not said is empty."""

    at: str
    by: str
    status: str
    impact: str = ""
    action: str = ""
    eta: str = ""


@dataclass(frozen=True, kw_only=True)
class IncidentRecord:
    """An incident as its record tells it.

    ``damaged`` lines are left out of all the rest, but for those from the future, which are told.

    ``exports`` are told by older records alone, before they were made.
    ``merged_into`` is the incident that goes on in its place, ``merged_from`` those that it took
    in.
    """

    id: str
    title: str
    severity: str
    service: str
    group_key: str
    state: str
    opened_at: str
    closed_at: str
    resolution: str
    exports: tuple[str, ...]
    alerts: tuple[AlertHistory, ...]
    runs: tuple[RunHistory, ...]
    notes: tuple[Note, ...]
    statuses: tuple[StatusUpdate, ...]
    merged_into: str
    merged_from: tuple[str, ...]
    lines: tuple[Line, ...]
    damaged: tuple[Damage, ...]

    @property
    def is_proven(self) -> bool:
        """Whether the record is, as far as a look tells, what its seals say that it was."""
        return all(damage.number for damage in self.damaged)

    @property
    def unfinished(self) -> Line | None:
        """The newest seal that was begun and is not there; None where a later one covers it."""
        last = next((line for line in reversed(self.lines) if line.kind in _SEALS), None)
        return last if last and last.kind == SEALING else None

    @property
    def began(self) -> Moment:
        """When it began: with the first alert, the first run or its opening, the earliest."""
        firing = [Moment(at=a.first_firing_at, source=f"alert {a.name}") for a in self.alerts]
        started = [Moment(at=r.started_at, source=f"run {r.run_id}") for r in self.runs]
        opened = Moment(at=self.opened_at, source="opened")
        return min(
            (one for one in (*firing, *started, opened) if one.at), key=_when, default=opened
        )

    @property
    def resolved(self) -> Moment | None:
        """When it was over: all alerts resolved, else a status Resolved; None when nobody knows.

        That it was closed says that the work was done, not when the trouble ended.
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
        """From `began` to `resolved`, as they are shown; None when the end is not known."""
        if self.resolved is None:
            return None
        return shown(self.resolved.at) - shown(self.began.at)


def tell(
    lines: Sequence[Line], incident: str = "", damaged: Sequence[Damage] = ()
) -> IncidentRecord:
    """Return what the lines of a record add up to.

    >>> def said(kind, at, **data):
    ...     return Line(number=1, kind=kind, at=f"2026-11-20T03:{at}:00+00:00", by="ann", data=data)
    >>> record = tell([said("opened", "02", title="Lag"), said("closed", "40", resolution="ok")])
    >>> record.title, record.state, record.resolution, record.resolved
    ('Lag', 'closed', 'ok', None)
    >>> tell([*record.lines, said("reopened", "50", why="again")]).state
    'open'
    """
    opened = next((line for line in lines if line.kind == "opened"), None)
    ending = next((line for line in reversed(lines) if line.kind in {"closed", "reopened"}), None)
    closed = ending if ending and ending.kind == "closed" else None
    runs = tuple(_runs(lines))
    merged = [line for line in lines if line.kind == "merged"]
    return IncidentRecord(
        id=incident,
        **{name: opened.text(name) if opened else "" for name in _OPENED},
        severity=_severity(lines),
        state=CLOSED if closed else OPEN,
        opened_at=_opened_at(opened, lines, runs),
        closed_at=closed.at if closed else "",
        resolution=closed.text("resolution") if closed else "",
        exports=_names(closed.data.get("exports")) if closed else (),
        alerts=tuple(_alerts(lines)),
        runs=runs,
        notes=tuple(
            Note(at=line.at, by=line.by, text=line.text("text")) for line in _of("note", lines)
        ),
        statuses=tuple(map(_status, _of("status", lines))),
        merged_into=next((line.text("into") for line in merged if line.data.get("into")), ""),
        merged_from=tuple(line.text("from") for line in merged if line.data.get("from")),
        lines=tuple(lines),
        damaged=tuple(damaged),
    )


def instant(at: str) -> datetime:
    """Return a time of the record as a moment; one that is none is the first of all.

    >>> instant("2026-11-20T04:02:00+01:00") == instant("2026-11-20T03:02:00Z")
    True
    >>> instant("soon") < instant("1970-01-01T00:00:00")
    True
    """
    try:
        told = datetime.fromisoformat(at)
    except ValueError:
        return _NEVER
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def shown(at: str) -> datetime:
    """Return a time as it is shown, to the second: what is shown must add up.

    >>> shown("2026-11-20T03:02:11.9+00:00") == instant("2026-11-20T03:02:11Z")
    True
    """
    return instant(at).replace(microsecond=0)


_OPENED = ("title", "service", "group_key")
_SEALS = frozenset({"sealed", SEALING})
_NEVER = datetime.min.replace(tzinfo=UTC)


def _when(moment: Moment) -> datetime:
    return instant(moment.at)


def _of(kind: str, lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if line.kind == kind]


def _opened_at(opened: Line | None, lines: Sequence[Line], runs: Sequence[RunHistory]) -> str:
    """Return when the incident came into being: a run may be older than the record of it."""
    known = [run.started_at for run in runs] + ([opened.at] if opened else [])
    return min(filter(None, known), key=instant, default=lines[0].at if lines else "")


def _severity(lines: Iterable[Line]) -> str:
    """Return the most severe of what opened it, its alerts and what it took in, in their words."""
    told = (line.text("severity") for line in lines if line.kind in SEVERE)
    return min(told, key=Severity.place, default="")


def _status(line: Line) -> StatusUpdate:
    said = {name: line.text(name) for name in ("status", "impact", "action", "eta")}
    return StatusUpdate(at=line.at, by=line.by, **said)


def _alerts(lines: Iterable[Line]) -> Iterable[AlertHistory]:
    """Gather what was heard of each alert, in the order in which each was first heard of."""
    heard: dict[tuple[str, str], list[Line]] = {}
    for line in _of("alert", lines):
        heard.setdefault((line.text("source"), line.text("fingerprint")), []).append(line)
    return map(_alert, heard.values())


def _alert(heard: Sequence[Line]) -> AlertHistory:
    """Add up the lines of one alert.

    >>> def line(status, starts_at, ends_at=None, at="2026-11-20T04:00:00Z"):
    ...     data = {"status": status, "starts_at": starts_at, "ends_at": ends_at}
    ...     return Line(number=1, kind="alert", at=at, by="", data=data)
    >>> first, second = "2026-11-20T03:00:00Z", "2026-11-20T03:30:00Z"
    >>> over = line("resolved", first, "2026-11-20T03:10:00Z")
    >>> _alert([over, line("firing", first)]).last_resolved_at
    '2026-11-20T03:10:00Z'
    >>> again = _alert([line("firing", first), over, line("firing", second)])
    >>> again.status, again.first_firing_at == first, again.last_resolved_at
    ('firing', True, '')
    """
    starts = [line.text("starts_at") or line.at for line in heard]
    ends = {
        line.text("starts_at") or line.at: line.text("ends_at") or line.at
        for line in heard
        if line.text("status") == "resolved"
    }
    newest = heard[-1]
    latest = max(starts, key=instant)  # the order of lines is the order of hearing
    resolved = any(instant(start) >= instant(latest) for start in ends)
    return AlertHistory(
        source=newest.text("source"),
        fingerprint=newest.text("fingerprint"),
        status="resolved" if resolved else "firing",
        first_firing_at=min(starts, key=instant),
        last_resolved_at=max(ends.values(), key=instant) if resolved else "",
        labels=_mapping(newest.data.get("labels")),
        annotations=_mapping(newest.data.get("annotations")),
        url=newest.text("url"),
        heard=len(heard),
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _runs(lines: Iterable[Line]) -> Iterable[RunHistory]:
    """Gather what is told of each run, in the order in which each was first told of."""
    told: dict[str, list[Line]] = {}
    for line in lines:
        if line.kind in {"run", *_SEALS} and line.data.get("run_id"):
            told.setdefault(line.text("run_id"), []).append(line)
    return (_run(run_id, lines) for run_id, lines in told.items())


def _run(run_id: str, told: Sequence[Line]) -> RunHistory:
    """Add up the lines of one run: the state is the furthest, whatever came last.

    >>> lines = [Line(number=1, kind="run", at=at, by="", data={"state": state})
    ...          for at, state in (("2", "ended"), ("1", "started"))]
    >>> run = _run("r", lines)
    >>> run.state, run.started_at, run.ended_at
    ('ended', '1', '2')
    """
    at = {_state(line): line.at for line in told}
    sealed = [line for line in told if line.kind in _SEALS]
    attempts = [line.data["attempt"] for line in told if isinstance(line.data.get("attempt"), int)]

    def newest(name: str) -> str:
        return next((line.text(name) for line in reversed(told) if line.data.get(name)), "")

    return RunHistory(
        run_id=run_id,
        state=max(at, key=lambda state: _STATES.index(state) if state in _STATES else -1),
        runbook=newest("runbook"),
        title=newest("title"),
        verdict=newest("verdict"),
        queued_at=at.get("queued", ""),
        started_at=(sealed[-1].text("started_at") if sealed else "") or at.get("started", ""),
        ended_at=at.get("ended", ""),
        sealed_at=at.get("sealed", ""),
        attempt=attempts[-1] if attempts else None,
        **{name: newest(name) for name in ("why", "mind", "folder")},
    )


_STATES = ("queued", "started", "ended", "sealed")


def _state(line: Line) -> str:
    if line.kind == SEALING:
        return "ended"  # that is when a seal may begin
    return "sealed" if line.kind == "sealed" else line.text("state")
