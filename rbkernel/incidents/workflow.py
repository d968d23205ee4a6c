"""Show incidents, open their records for writing, and close incidents.

Closing an incident takes these steps, in this order. Check that no kernel of the incident is alive.
Seal every open run. Check that the page and the archive can be made and written. Write the closing
line into the record and seal the record, in one step. Write the page and the archive. If writing
them fails after all, the incident is reopened. An interrupted close can be repeated: it continues
where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import bundle, incident, reading, runs
from rbkernel.evidence.incident import (
    AlertStatus,
    IncidentRecord,
    IncidentState,
    Line,
    RunHistory,
    RunState,
    instant,
)
from rbkernel.evidence.incident.seal import SealedRecord, seal_record
from rbkernel.evidence.questions import Asked, asked
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.evidence.timeline import Entry, timeline
from rbkernel.incidents.facts import MILDEST_REQUIRED, WRITTEN_WITHIN
from rbkernel.incidents.standing import Standing, standing
from rbkernel.model import INCIDENT_ID, Severity, Verdict
from rbkernel.redact import Redactor
from rbkernel.render.documents import writing
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.report import report_files
from rbkernel.render.documents.writing import Exported


@dataclass(frozen=True, kw_only=True)
class Incident:
    """An incident with its record and runs; in a list of incidents, other fields are empty.

    ``asked`` holds the questions of the newest runs, with the answers of the incident's record.
    ``continues`` maps the id of a run to the id of the run that it continues. ``merged`` are the
    records of the incidents that were merged into it. ``update_every_s`` is how often status
    updates are due while the incident is open; 0 if no runbook says.
    """

    record: IncidentRecord
    runs: tuple[RunEntry, ...]
    timeline: tuple[Entry, ...] = ()
    asked: tuple[Asked, ...] = ()
    continues: Mapping[str, str] = field(default_factory=dict)
    update_every_s: float = 0.0
    merged: tuple[IncidentRecord, ...] = ()

    @property
    def whole(self) -> IncidentRecord:
        """The record with the alerts and runs of what was merged into the incident."""
        return incident.whole(self.record, self.merged)

    @property
    def waiting(self) -> tuple[Asked, ...]:
        """The questions that need an answer and have none."""
        return tuple(one for one in self.asked if one.decision.is_waiting)

    @property
    def standing(self) -> Standing:
        """Where the incident stands; in a list, without its open questions."""
        return standing(self.whole, self.runs, len(self.waiting))

    @property
    def verdict(self) -> str:
        """The worst verdict of the newest runs; empty if no run has a verdict."""
        return self.standing.verdict or ""

    @property
    def title(self) -> str:
        """The title of the incident; without one, its first alert, or its first run."""
        alerts = [alert.name for alert in self.record.alerts]
        titles = [f"{run.runbook} {run.title}".strip() for run in self.runs]
        return self.record.title or next(iter([*alerts, *titles]), "")


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A closed incident: the files to attach, the seals, and caveats.

    ``closed_by`` and ``closed_at`` (UTC, ISO 8601) say who closed the incident and when. If
    ``was_closed``, they and the resolution are those of the earlier close. ``finished`` is true
    when this call completed a seal that an earlier call had begun.
    """

    incident: str
    attachment: Path
    archive: Path
    sealed_runs: tuple[str, ...]
    record: SealedRecord
    mind: tuple[str, ...]
    was_closed: bool
    closed_by: str
    closed_at: str
    finished: bool


def list_all(root: Path) -> list[Incident]:
    """Return all incidents, ordered by their start."""
    of_each: dict[str, list[RunEntry]] = {}
    for run in runs.list_runs(root):
        of_each.setdefault(run.incident, []).append(run)
    records = {record.id: record for record in incident.list_incidents(root)}
    unwritten = [name for name in of_each if name not in records and INCIDENT_ID.fullmatch(name)]
    records |= {name: incident.look(root, name) for name in unwritten}
    found = [
        replace(
            _of(record, [run for part in record.parts for run in of_each.get(part, ())]),
            merged=tuple(records[part] for part in record.merged_from if part in records),
        )
        for record in records.values()
    ]
    return sorted(found, key=lambda one: (instant(one.record.began.at), one.record.id))


def look(root: Path, name: str) -> Incident:
    """Return an incident with its timeline.

    Raises
    ------
    EvidenceError
        There is no such incident.
    """
    record = incident.look(root, name)
    entries = runs.of_incident(root, name)
    if not record.lines and not record.damaged and not entries:
        raise EvidenceError(
            f"there is no incident {name}",
            where=str(root),
            next_step="`rbkernel incident list` shows all incidents, `rbkernel incident"
            " open` opens one, RBKERNEL_EVIDENCE names the evidence folder",
        )
    read = [(run, reading.read(run.folder)) for run in entries if run.is_readable]
    journals = [journal for _, journal in read]
    found = _of(record, entries)
    return replace(
        found,
        timeline=timeline(found.record, journals),
        continues={
            run.run_id: journal.run.continues
            for run, journal in read
            if journal.run and journal.run.continues
        },
        asked=asked(journals, incident.answers(root, name)),
        merged=tuple(incident.look(root, part) for part in record.merged_from),
    )


def look_to_write(root: Path, name: str) -> Incident:
    """Return an incident to whose record lines may be added; else raise an error.

    Raises
    ------
    EvidenceError
        There is no such incident, or its record differs from its seal.
    """
    found = look(root, name)
    incident.must_be_proven(root, found.record)
    return found


def close(
    settings: Settings,
    name: str,
    *,
    by: str,
    folder: Path,
    resolution: str = "",
    redactor: Redactor | None = None,
    anyway: bool = False,
) -> Closed:
    """Seal the open runs of an incident, close the incident, and export it.

    Parameters
    ----------
    settings
        The configuration: evidence folder, key, signers.
    name
        The incident's id.
    by
        The person who closes the incident.
    folder
        The folder for the page and the archive; outside the evidence folder.
    resolution
        How it was resolved.
    redactor
        Removes secrets from the resolution.
    anyway
        Whether to close the incident although runs have not finished.

    Raises
    ------
    EvidenceError
        There is no such incident; one of its kernels is alive; a run has not finished or cannot be
        sealed; the record cannot be sealed; or the page or archive cannot be written. The incident
        then stays open.
    """
    root = settings.evidence_root
    found = look_to_write(root, name)
    _refuse_living(found)
    to_come = _to_come(found)
    if not anyway:
        _refuse_to_come(name, to_come)
    exports = {to: writing.target(root, name, to, folder) for to in (Format.HTML, Format.ZIP)}
    sealed_runs = _seal_runs(settings, found)
    _try_out(root, name, exports)
    _close_parts(settings, found.record, by)
    finished = look(root, name).record.unfinished is not None
    lacks = {"lacks": [run.run_id for run in to_come]} if to_come else {}
    closing = incident.closing(by, redactor, resolution=resolution, **lacks)
    sealed = seal_record(root, name, key=settings.signing_key, closing=closing)
    ending = _ending(incident.read(root, name))
    page, archive = _attachments(settings, name, exports, by=by, reopen=sealed.closes)
    dropped = [] if sealed.closes else _dropped(name, resolution, ending)
    return Closed(
        incident=name,
        attachment=page.path,
        archive=archive.path,
        sealed_runs=sealed_runs,
        record=sealed,
        mind=(*dropped, *_left(found), *_postmortem(found.record), *page.remarks, *archive.remarks),
        was_closed=not sealed.closes,
        closed_by=ending.by,
        closed_at=ending.at,
        finished=finished,
    )


def _postmortem(record: IncidentRecord) -> Iterator[str]:
    """Yield that a postmortem is required, if the severity of the incident requires one."""
    if Severity.place(record.severity) <= Severity.place(MILDEST_REQUIRED):
        hours = WRITTEN_WITHIN // timedelta(hours=1)
        yield (
            f"a postmortem is required for {record.severity}, within {hours} h:"
            f" `rbkernel postmortem {record.id}`"
        )


def _try_out(root: Path, name: str, exports: Mapping[Format, Path]) -> None:
    """Check, before an incident is closed, that its page and archive can be made and written."""
    try:
        writing.try_out(root, name, tuple(exports.values()))
    except EvidenceError as error:
        raise _not_closed(name, error) from error


def _attachments(
    settings: Settings, name: str, exports: Mapping[Format, Path], *, by: str, reopen: bool
) -> tuple[Exported, Exported]:
    """Write the page and archive of a closed incident; if that fails, reopen the incident."""
    root = settings.evidence_root
    try:
        page, archive = (
            writing.export(root, name, to, path, signers=settings.allowed_signers)
            for to, path in exports.items()
        )
        return page, archive
    except EvidenceError as error:
        if reopen:
            why = f"page and archive could not be written: {error.what}"
            incident.append(root, name, "reopened", by=by, why=why)
        raise _not_closed(name, error) from error


def _not_closed(name: str, error: EvidenceError) -> EvidenceError:
    return EvidenceError(
        f"{name} is not closed, because its page and archive cannot be written: {error.what}",
        where=error.where,
        next_step=error.next_step,
    )


def _of(record: IncidentRecord, entries: Sequence[RunEntry]) -> Incident:
    """Combine an incident's record and its runs, ordered by their start.

    An incident without a record began with its first run.
    """
    entries = sorted(entries, key=lambda run: run.run_id)
    if not record.lines and entries:
        well = all(run.is_beginning or run.verdict is Verdict.OK for run in entries)
        began = min(run.started_at for run in entries)
        state = IncidentState.RUNS_ONLY if well else record.state
        record = replace(record, opened_at=began, state=state)
    every = runs.update_every_s(entries) if record.state == IncidentState.OPEN else 0.0
    return Incident(record=record, runs=tuple(entries), update_every_s=every)


def _ending(record: IncidentRecord) -> Line:
    return next(line for line in reversed(record.lines) if line.kind == "closed")


def _dropped(name: str, resolution: str, ending: Line) -> list[str]:
    """Return a caveat if this resolution is not recorded: the incident was closed earlier."""
    if not resolution or ending.text("resolution") == resolution:
        return []
    other = "your resolution was not recorded: the incident was closed with another one"
    return [f"{other}; `rbkernel incident note {name} …` adds yours"]


def _refuse_living(found: Incident) -> None:
    living = [run for run in found.runs if run.state == LIVE]
    if living:
        named = ", ".join(f"{run.run_id} ({run.runbook})" for run in living)
        raise EvidenceError(
            f"{found.record.id} is not closed: a kernel of one of its runs is still alive",
            where=f"run {named}",
            next_step="shut the kernel down (in JupyterLab: Kernel > Shut Down Kernel), then"
            " close again",
        )


def _seal_runs(settings: Settings, found: Incident) -> tuple[str, ...]:
    """Seal an incident's runs that are still open; return the ids of these runs."""
    still_open = tuple(run.run_id for run in found.runs if run.state != runs.SEALED)
    for run_id in still_open:
        bundle.seal(settings.evidence_root, run_id, key=settings.signing_key, report=report_files)
    return still_open


def _close_parts(settings: Settings, record: IncidentRecord, by: str) -> None:
    """Close the incidents that were merged into the incident that is about to be closed."""
    root = settings.evidence_root
    closing = incident.closing(by, resolution=f"merged into {record.id}, which was closed")
    for part in record.merged_from:
        if incident.look(root, part).state != IncidentState.CLOSED:
            seal_record(root, part, key=settings.signing_key, closing=closing)


def _to_come(found: Incident) -> list[RunHistory]:
    """Return an incident's runs that are queued, or whose kernel has not started."""
    there = {run.run_id for run in found.runs}
    begun = [run for run in found.record.runs if run.state == RunState.STARTED]
    queued = [run for run in found.record.runs if run.state == RunState.QUEUED]
    return [*queued, *(run for run in begun if run.run_id not in there)]


def _refuse_to_come(name: str, to_come: Sequence[RunHistory]) -> None:
    if to_come:
        named = ", ".join(f"{run.run_id} ({run.runbook}, {run.state})" for run in to_come)
        raise EvidenceError(
            f"{name} is not closed: one of its runs has not finished, and the report would lack it",
            where=f"run {named}",
            next_step="wait until the run has ended, then close again; or close now with --anyway",
        )


def _left(found: Incident) -> list[str]:
    """Return what is left open when an incident is closed, such as firing alerts, as texts."""
    firing = [
        f"alert {alert.name} is still firing"
        for alert in found.record.alerts
        if alert.status == AlertStatus.FIRING
    ]
    to_come = [f"{r.runbook} {r.run_id} has not finished" for r in _to_come(found)]
    waiting = [
        f"not answered: “{one.decision.question}” ({one.runbook} {one.run_id})"
        for one in found.waiting
    ]
    into = found.record.merged_into
    goes_on = [f"merged into {into}, which stays open"] if into else []
    damaged = [f"incident.jsonl: {damage}" for damage in found.record.damaged]
    unread = [f"run {run.run_id}: {run.problem}" for run in found.runs if run.problem]
    return [*goes_on, *firing, *to_come, *waiting, *damaged, *unread]
