"""The page of an incident: its cause and open question first, then all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rbkernel.errors import EvidenceError
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import CONTINUED, Known, Line, tell, whole
from rbkernel.evidence.runs import LIVE, SEALED, RunEntry
from rbkernel.evidence.timeline import timeline, words
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.web import actions
from rbkernel.gateway.web.alerts import grouped
from rbkernel.gateway.web.forms import Form
from rbkernel.gateway.web.progress import Progress
from rbkernel.gateway.web.site import Answer, Request, Site
from rbkernel.gateway.web.timeline import stretches
from rbkernel.incidents.cause import Cause, cause
from rbkernel.incidents.standing import standing
from rbkernel.render.documents.blocks import Figure, Image
from rbkernel.render.documents.wording import Plan

_ENTRIES_SHOWN = 200
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
    about = record or tell((), incident=incident)
    every = whole(about, filter(None, map(site.cache.record, about.merged_from)))
    known = site.cache.decided(incident)
    asked_here = site.cache.asked(entries, incident)
    waiting = [one for one in asked_here if one.decision.is_waiting]
    acts = actions.cards(site, entries, incident, request.person)
    found = cause(every, entries, site.cache.found(entries))
    told = timeline(about, site.cache.journals(entries))
    live = any(entry.state == LIVE for entry in entries)
    return site.render(
        "incident.html.j2",
        incident=incident,
        record=record,
        standing=standing(every, entries, len(waiting)),
        cause=found,
        picture=_picture(site, found),
        caveats=caveats.caveats_of(every),
        acts=acts,
        plans=_plans(site, found, acts, known),
        runs=[_line(site, entry) for entry in reversed(entries)],
        jobs=_not_started(site, incident),
        waiting=waiting,
        decided=[one for one in asked_here if one.decision.choice],
        not_continued=_not_continued(about.lines),
        silenced=about.silenced if about.is_silenced(datetime.now(UTC)) else None,
        acknowledged=site.cache.remaining(incident).acknowledged,
        form=Form.of(site, request, f"incidents/{incident}", record),
        alerts=grouped(every.alerts),
        stretches=stretches(told[-_ENTRIES_SHOWN:]),
        earlier=max(0, len(told) - _ENTRIES_SHOWN),
        sealed=any(entry.state == SEALED for entry in entries),
        refresh_s=_LIVE_REFRESH_S if live or acts.is_executing else _REFRESH_S,
    )


def _picture(site: Site, found: Cause) -> Figure | Image | None:
    """Return the figure of the run that shows the cause; None if there is none."""
    try:
        return site.cache.picture(found.run_id, found.finding) if found.finding else None
    except EvidenceError:
        return None


def _plans(site: Site, found: Cause, acts: actions.Cards, known: Known) -> list[Plan]:
    """Return the plans of the run that found the cause, which only people can carry out."""
    try:
        plans = site.cache.plans(found.run_id, known) if found.run_id else ()
    except EvidenceError:
        return []
    by_rbkernel = {card.plan for card in acts.cards}
    return [one for one in plans if one.text and one.id not in by_rbkernel]


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
