"""Collect the history of each alert and each run from the lines of a record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel.evidence.incident.line import SEALING, Line, instant, sent_time
from rbkernel.evidence.incident.states import AlertStatus, RunState

SEALS = frozenset({"sealed", SEALING})
_ORDER: list[str] = list(RunState)


@dataclass(frozen=True, kw_only=True)
class AlertHistory:
    """All received messages of one alert; labels and annotations are the newest.

    ``last_firing_at`` is when it fired last. ``last_resolved_at`` is empty while the alert fires;
    ``fired`` counts its firing messages.
    """

    source: str
    fingerprint: str
    status: AlertStatus
    first_firing_at: str
    last_firing_at: str
    last_resolved_at: str
    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]
    url: str
    fired: int

    @property
    def name(self) -> str:
        """The alert's name as its sender gave it, else its fingerprint."""
        return str(self.labels.get("alertname") or self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """The history of one run in the record; ``state`` is the text of a `RunState`."""

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


def alerts_of(lines: Iterable[Line]) -> Iterable[AlertHistory]:
    """Return the history of each alert in a record, in the order of their first receipt."""
    by_alert: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.kind == "alert":
            by_alert.setdefault((line.text("source"), line.text("fingerprint")), []).append(line)
    return map(_alert, by_alert.values())


def runs_of(lines: Iterable[Line]) -> Iterable[RunHistory]:
    """Return the history of each run in a record, in the order of their first line.

    A run that was withdrawn, because it was not needed any more, has none.
    """
    by_run: dict[str, list[Line]] = {}
    for line in lines:
        if line.kind in {"run", *SEALS} and line.data.get("run_id"):
            by_run.setdefault(line.text("run_id"), []).append(line)
    return (
        _run(run_id, lines)
        for run_id, lines in by_run.items()
        if not any(line.text("state") == RunState.WITHDRAWN for line in lines)
    )


def _alert(lines: Sequence[Line]) -> AlertHistory:
    """Combine the lines of one alert into its history.

    >>> def line(status, starts_at, ends_at=None, at="2026-11-20T04:00:00Z"):
    ...     data = {"status": status, "starts_at": starts_at, "ends_at": ends_at}
    ...     return Line(number=1, kind="alert", at=at, by="", data=data)
    >>> first, second = "2026-11-20T03:00:00Z", "2026-11-20T03:30:00Z"
    >>> over = line("resolved", first, "2026-11-20T03:10:00Z")
    >>> _alert([over, line("firing", first)]).last_resolved_at
    '2026-11-20T03:10:00Z'
    >>> again = _alert([line("firing", first), over, line("firing", second)])
    >>> again.status.value, again.first_firing_at == first, again.last_resolved_at
    ('firing', True, '')
    >>> _alert([line("firing", second), line("resolved", first, "2026-11-20T03:40:00Z")]).status
    <AlertStatus.RESOLVED: 'resolved'>
    """
    starts = [sent_time(line, "starts_at") for line in lines]
    ends = {
        sent_time(line, "starts_at"): sent_time(line, "ends_at")
        for line in lines
        if line.text("status") == AlertStatus.RESOLVED
    }
    newest = lines[-1]
    latest = max(starts, key=instant)  # lines are in order of receipt
    # a sender may resolve an alert that fired again with the start of its first firing
    reported = [
        sent_time(line, "ends_at")
        for line in lines
        if line.text("status") == AlertStatus.RESOLVED and line.text("ends_at")
    ]
    resolved = any(instant(at) >= instant(latest) for at in (*ends, *reported))
    return AlertHistory(
        source=newest.text("source"),
        fingerprint=newest.text("fingerprint"),
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        first_firing_at=min(starts, key=instant),
        last_firing_at=latest,
        last_resolved_at=max(ends.values(), key=instant) if resolved else "",
        labels=_mapping(newest.data.get("labels")),
        annotations=_mapping(newest.data.get("annotations")),
        url=newest.text("url"),
        fired=sum(line.text("status") != AlertStatus.RESOLVED for line in lines),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _run(run_id: str, lines: Sequence[Line]) -> RunHistory:
    """Combine the lines of one run into its history, with the latest state; lines may be unordered.

    >>> lines = [Line(number=1, kind="run", at=at, by="", data={"state": state})
    ...          for at, state in (("2", "ended"), ("1", "started"))]
    >>> run = _run("r", lines)
    >>> run.state, run.started_at, run.ended_at
    ('ended', '1', '2')
    """
    at = {_state(line): line.at for line in lines}
    sealed = [line for line in lines if line.kind in SEALS]
    attempts = [line.data["attempt"] for line in lines if isinstance(line.data.get("attempt"), int)]

    def newest(name: str) -> str:
        return next((line.text(name) for line in reversed(lines) if line.data.get(name)), "")

    return RunHistory(
        run_id=run_id,
        state=max(at, key=lambda state: _ORDER.index(state) if state in _ORDER else -1),
        runbook=newest("runbook"),
        title=newest("title"),
        verdict=newest("verdict"),
        queued_at=at.get(RunState.QUEUED, ""),
        started_at=(sealed[-1].text("started_at") if sealed else "")
        or at.get(RunState.STARTED, ""),
        ended_at=at.get(RunState.ENDED, ""),
        sealed_at=at.get(RunState.SEALED, ""),
        attempt=attempts[-1] if attempts else None,
        **{name: newest(name) for name in ("why", "mind", "folder")},
    )


def _state(line: Line) -> str:
    if line.kind == SEALING:
        return RunState.ENDED  # a seal may begin once the run has ended
    return RunState.SEALED if line.kind == "sealed" else line.text("state")
