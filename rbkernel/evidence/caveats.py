"""Caveats of an incident: reasons not to rely on the findings of its runs alone. Pure.

A run may have used another connection than intended. A run may have ended after the incident was
closed, so that the exported page lacks it. In an alert storm, alerts are attached to the run of
another alert.
"""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel import amounts
from rbkernel.evidence.incident import (
    AlertOutcome,
    AlertStatus,
    IncidentRecord,
    Line,
    RunHistory,
    RunState,
    instant,
)
from rbkernel.evidence.timeline import alert_name
from rbkernel.model import Verdict


def caveats_of(record: IncidentRecord) -> tuple[str, ...]:
    """Return all caveats of an incident, without duplicates."""
    runs = (of_run(record, run) for run in record.runs)
    return tuple(dict.fromkeys(filter(None, [*of_alerts(record), of_storm(record), *runs])))


def of_alerts(record: IncidentRecord) -> tuple[str, ...]:
    """Say of which alerts no runbook ran, or another one than intended, without duplicates."""
    lines = (one for one in unhandled(record) if one.text("outcome") != AlertOutcome.STARTED)
    return tuple(dict.fromkeys(map(_of_alert, lines)))


def unhandled(record: IncidentRecord) -> Iterator[Line]:
    """Yield the lines of firing alerts for which no runbook ran, or not the intended runbook.

    >>> from rbkernel.evidence.incident import tell
    >>> said = {"status": "firing", "labels": {"alertname": "Disk"}, "outcome": "no run"}
    >>> line = Line(number=1, kind="alert", at="", by="", data={**said, "why": "no connection"})
    >>> caveats_of(tell([line]))
    ('alert Disk: no runbook ran: no connection',)
    """
    for line in record.lines:
        fires = line.kind == "alert" and line.text("status") == AlertStatus.FIRING
        if fires and line.text("why") and line.text("outcome") != AlertOutcome.BY_RULE:
            yield line


def _of_alert(line: Line) -> str:
    nothing_ran = line.text("outcome") == AlertOutcome.NO_RUN
    done = "no runbook ran" if nothing_ran else "another runbook ran instead"
    return f"alert {alert_name(line)}: {done}: {line.text('why')}"


def of_run(record: IncidentRecord, run: RunHistory) -> str:
    """Return the caveats of one run as a text; empty if it has none."""
    late = run in too_late(record)
    lacks = (
        f"{record.id} was closed before {run.runbook} {run.run_id} ended, so the exported"
        f" report lacks it; `rbkernel incident close {record.id}` exports it again"
    )
    ended_early = run.state == RunState.ENDED and not run.verdict and run.why
    not_run = f"{run.runbook} {run.run_id} did not run: {run.why}" if ended_early else ""
    return "; ".join(filter(None, [not_run, run.mind, lacks if late else ""]))


def judged(record: IncidentRecord, found: Verdict) -> Verdict:
    """Return the verdict found by an incident's runs; with some caveats, ok becomes unknown.

    These are: a run was not as intended, an alert is unhandled, or alerts came in a storm.
    """
    elsewhere = of_storm(record) or any(unhandled(record)) or any(r.mind for r in record.runs)
    return Verdict.UNKNOWN if elsewhere and found is Verdict.OK else found


def of_storm(record: IncidentRecord) -> str:
    """Say how many alerts were added only because of an alert storm; empty if none were."""
    joined = {
        line.text("fingerprint")
        for line in record.lines
        if line.text("outcome") == AlertOutcome.STORM
    }
    if not joined:
        return ""
    alerts = amounts.count(len(joined), "alert")
    return (
        f"{alerts} without a runbook came in a storm and {'was' if len(joined) == 1 else 'were'}"
        " grouped here"
    )


def too_late(record: IncidentRecord) -> tuple[RunHistory, ...]:
    """Return the runs that ended after the incident was closed and last sealed.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> def said(kind, minute, **data):
    ...     at = f"2026-11-20T03:{minute:02}:00+00:00"
    ...     return Line(number=1, kind=kind, at=at, by="", data=data)
    >>> lines = [said("closed", 1), said("run", 2, run_id="r", state="ended")]
    >>> [run.run_id for run in too_late(tell(lines))]
    ['r']
    >>> too_late(tell([*lines, said("sealed", 3, record="x")]))
    ()
    """
    if not record.closed_at:
        return ()
    seals = (one.at for one in record.lines if one.kind == "sealed" and one.data.get("record"))
    closed = max(map(instant, (record.closed_at, *seals)))
    return tuple(run for run in record.runs if run.ended_at and instant(run.ended_at) > closed)
