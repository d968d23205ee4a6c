"""The page of an incident, with its alerts, runs, record and downloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rbkernel.errors import EvidenceError
from rbkernel.evidence.incident import CONTINUED, Line
from rbkernel.evidence.runs import LIVE, SEALED, RunEntry
from rbkernel.evidence.timeline import words
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.web import actions
from rbkernel.gateway.web.forms import Form
from rbkernel.gateway.web.overview import IncidentLine
from rbkernel.gateway.web.progress import Progress
from rbkernel.gateway.web.site import Answer, Request, Site

_ALERTS_SHOWN = 50
_LINES_SHOWN = 200
_LIVE_REFRESH_S, _REFRESH_S = 2, 10


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """One run in the page of an incident; ``progress`` is set only while the run is live."""

    entry: RunEntry
    progress: Progress | None


def show(site: Site, request: Request) -> Answer:
    """Return the page of an incident.

    Raises
    ------
    EvidenceError
        There is no such incident, or its evidence cannot be read.
    """
    incident = request.what
    record = site.cache.record(incident)
    parts = record.parts if record else (incident,)
    entries = [entry for entry in site.cache.entries() if entry.incident in parts]
    if record is None and not entries:
        raise EvidenceError(
            f"there is no incident {incident}",
            next_step="the console lists all incidents",
        )
    live = any(entry.state == LIVE for entry in entries)
    asked_here = site.cache.asked(entries, incident)
    lines = record.lines if record else ()
    acts = actions.cards(site, entries, incident, request.person)
    return site.render(
        "incident.html.j2",
        acts=acts,
        incident=incident,
        record=record,
        runs=[_line(site, entry) for entry in reversed(entries)],
        jobs=_not_started(site, incident),
        waiting=[one for one in asked_here if one.decision.is_waiting],
        decided=[one for one in asked_here if one.decision.choice],
        not_continued=_not_continued(lines),
        silenced=record.silenced if record and record.is_silenced(datetime.now(UTC)) else None,
        acknowledged=record and site.cache.remaining(record.id).acknowledged,
        form=Form.of(site, request, f"incidents/{incident}", record),
        summary=IncidentLine(id=incident, runs=tuple(entries), record=record),
        alerts=(record.alerts if record else ())[:_ALERTS_SHOWN],
        lines=tuple(reversed(lines[-_LINES_SHOWN:])),
        sealed=any(entry.state == SEALED for entry in entries),
        refresh_s=_LIVE_REFRESH_S if live or acts.is_executing else _REFRESH_S,
    )


def _line(site: Site, entry: RunEntry) -> RunLine:
    try:
        progress = site.cache.progress(entry) if entry.state == LIVE else None
    except EvidenceError:
        progress = None
    return RunLine(entry=entry, progress=progress)


def _not_continued(lines: Sequence[Line]) -> str:
    """Return why the last run that was answered is not continued; empty if it is."""
    last = next((line for line in reversed(lines) if line.kind == CONTINUED), None)
    return words(last) if last and last.text("refused") else ""


def _not_started(site: Site, incident: str) -> list[Job]:
    return site.store.jobs(states=Job.NOT_STARTED, incident=incident) if site.store else []
