"""Pure: what must be known of an incident before what its runs found is believed.

A run may have looked elsewhere than it was meant to, or have ended after the incident was closed:
then the page that was attached lacks it. And in a storm, alerts join the run of another one.
"""

from __future__ import annotations

from rbkernel.evidence.incident import IncidentRecord, RunHistory, instant
from rbkernel.model import Verdict


def minds(record: IncidentRecord) -> tuple[str, ...]:
    """Return it all, each once."""
    told = (of_run(record, run) for run in record.runs)
    return tuple(dict.fromkeys(filter(None, [of_storm(record), *told])))


def of_run(record: IncidentRecord, run: RunHistory) -> str:
    """Return what is to be known of one run; usually nothing."""
    late = run in too_late(record)
    lacks = (
        f"{record.id} was closed before {run.runbook} {run.run_id} ended, so the page that was"
        f" attached lacks it; `rbkernel incident close {record.id}` makes page and archive again"
    )
    return "; ".join(filter(None, [run.mind, lacks if late else ""]))


def judged(record: IncidentRecord, found: Verdict) -> Verdict:
    """Return what is known when that is what its runs found: ok of something else means nothing."""
    elsewhere = of_storm(record) or any(run.mind for run in record.runs)
    return Verdict.UNKNOWN if elsewhere and found is Verdict.OK else found


def of_storm(record: IncidentRecord) -> str:
    """Return how many alerts have nothing to do with the incident but that they came in a storm."""
    joined = {line.text("fingerprint") for line in record.lines if line.text("outcome") == "storm"}
    if not joined:
        return ""
    alerts = "1 alert" if len(joined) == 1 else f"{len(joined)} alerts"
    return (
        f"{alerts} of it came in a storm of alerts that no runbook is made for:"
        " nothing was run for them alone"
    )


def too_late(record: IncidentRecord) -> tuple[RunHistory, ...]:
    """Return the runs that ended after a closed incident was closed, or exported again.

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
