"""Incidents as people work with them: look, write down, close.

Closing, in this order: no kernel of it lives; every open run is sealed; the record is told that
it is closed, and sealed, in one step; page and archive are written. Whoever is interrupted can
close again, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import bundle, incident, reading, runs
from rbkernel.evidence.export import writing
from rbkernel.evidence.export.formats import Format
from rbkernel.evidence.export.report import report_files
from rbkernel.evidence.incident import IncidentRecord, Line, instant
from rbkernel.evidence.incident.seal import SealedRecord, seal_record
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.evidence.timeline import Entry, timeline
from rbkernel.model import INCIDENT_ID, Decision, Verdict
from rbkernel.redact import Redactor


@dataclass(frozen=True, kw_only=True)
class Incident:
    """An incident with its runs; all but these two is empty in a list.

    ``waiting`` are the questions that the newest run of each runbook left to a human;
    ``continues`` maps a run's id to that of the run that it goes on from.
    """

    record: IncidentRecord
    runs: tuple[RunEntry, ...]
    timeline: tuple[Entry, ...] = ()
    waiting: tuple[tuple[RunEntry, Decision], ...] = ()
    continues: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What the newest run of each runbook found, the worst of it; empty without a run."""
        newest = {run.runbook: run.verdict for run in self.runs}
        return Verdict.worst(newest.values()).value if newest else ""

    @property
    def title(self) -> str:
        """Its title, else its first alert, else what was run."""
        alerts = [alert.name for alert in self.record.alerts]
        titles = [f"{run.runbook} {run.title}".strip() for run in self.runs]
        return self.record.title or next(iter([*alerts, *titles]), "")


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A closed incident: what to attach, what is sealed, what to mind.

    ``closed_by`` is who closed it, at ``closed_at`` (UTC, ISO 8601): another one where
    ``was_closed``, and then the resolution is that one's, too. ``finished`` is true when a seal
    that had begun before was brought to its end.
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
    """Return all incidents, in the order in which they began."""
    of_each: dict[str, list[RunEntry]] = {}
    for run in runs.list_runs(root):
        of_each.setdefault(run.incident, []).append(run)
    records = {record.id: record for record in incident.list_incidents(root)}
    unwritten = [name for name in of_each if name not in records and INCIDENT_ID.fullmatch(name)]
    records |= {name: incident.look(root, name) for name in unwritten}
    found = [_of(record, of_each.get(name, ())) for name, record in records.items()]
    return sorted(found, key=lambda one: (instant(one.record.began.at), one.record.id))


def look(root: Path, name: str) -> Incident:
    """Return an incident with its timeline.

    Raises
    ------
    EvidenceError
        There is no such incident.
    """
    record = incident.look(root, name)
    entries = [run for run in runs.list_runs(root) if run.incident == name]
    if not record.lines and not record.damaged and not entries:
        raise EvidenceError(
            f"there is no incident {name}",
            where=str(root),
            next_step="`rbkernel incident list` shows the incidents there are, `rbkernel incident"
            " open` begins one, RBKERNEL_EVIDENCE says which evidence folder is read",
        )
    read = [(run, reading.read(run.folder)) for run in entries if not run.problem]
    newest = {run.runbook: (run, journal) for run, journal in read}
    found = _of(record, entries)
    return replace(
        found,
        timeline=timeline(found.record, [journal for _, journal in read]),
        continues={
            run.run_id: journal.run.continues
            for run, journal in read
            if journal.run and journal.run.continues
        },
        waiting=tuple(
            (run, decision)
            for run, journal in newest.values()
            for decision in journal.decisions
            if decision.state in {"open", "parked"}
        ),
    )


def look_to_write(root: Path, name: str) -> Incident:
    """Return an incident to add to; one whose record is not as it was sealed takes nothing more.

    Raises
    ------
    EvidenceError
        There is no such incident, or its record is not as it was sealed.
    """
    found = look(root, name)
    if not found.record.is_proven:
        wrong = next(str(damage) for damage in found.record.damaged if not damage.number)
        raise EvidenceError(
            f"nothing is added to {name}: {wrong}",
            where=str(root / name),
            next_step=f"`rbkernel evidence verify {name}` says what is wrong; restore the record"
            " from a copy or an exported archive, or note it in a new incident",
        )
    return found


def close(
    settings: Settings,
    name: str,
    *,
    by: str,
    folder: Path,
    resolution: str = "",
    redactor: Redactor | None = None,
) -> Closed:
    """Seal what is open of an incident, say that it is closed, and export it.

    Parameters
    ----------
    settings
        Evidence folder, key, signers.
    name
        The incident.
    by
        Who closes it.
    folder
        Where page and archive go; outside of the evidence folder.
    resolution
        How it was resolved.
    redactor
        Takes secrets out of that.

    Raises
    ------
    EvidenceError
        There is no such incident; a kernel of it still lives, or a run cannot be sealed (it
        stays open then); the record cannot be sealed (it is not closed then); page or archive
        cannot be written (it is closed then).
    """
    root = settings.evidence_root
    found = look_to_write(root, name)
    _refuse_living(found)
    exports = {to: writing.target(root, name, to, folder) for to in (Format.HTML, Format.ZIP)}
    sealed_runs = _seal_runs(settings, found)
    finished = look(root, name).record.unfinished is not None
    closing = incident.closing(by, redactor, resolution=resolution)
    sealed = seal_record(root, name, key=settings.signing_key, closing=closing)
    ending = _ending(incident.read(root, name))
    page, archive = (
        writing.export(root, name, to, path, signers=settings.allowed_signers)
        for to, path in exports.items()
    )
    dropped = [] if sealed.closes else _dropped(name, resolution, ending)
    return Closed(
        incident=name,
        attachment=page.path,
        archive=archive.path,
        sealed_runs=sealed_runs,
        record=sealed,
        mind=(*dropped, *_left(found), *page.remarks, *archive.remarks),
        was_closed=not sealed.closes,
        closed_by=ending.by,
        closed_at=ending.at,
        finished=finished,
    )


def _of(record: IncidentRecord, entries: Sequence[RunEntry]) -> Incident:
    """Put record and runs together; an incident that only its runs tell of began with them."""
    if not record.lines and entries:
        record = replace(record, opened_at=min(run.started_at for run in entries))
    return Incident(record=record, runs=tuple(entries))


def _ending(record: IncidentRecord) -> Line:
    return next(line for line in reversed(record.lines) if line.kind == "closed")


def _dropped(name: str, resolution: str, ending: Line) -> list[str]:
    """Say so where a resolution is not the one that an incident was closed with before."""
    if not resolution or ending.text("resolution") == resolution:
        return []
    other = "your resolution is not on record: it was closed with another one"
    return [f"{other}; `rbkernel incident note {name} …` adds yours"]


def _refuse_living(found: Incident) -> None:
    living = [run for run in found.runs if run.state == LIVE]
    if living:
        named = ", ".join(f"{run.run_id} ({run.runbook})" for run in living)
        raise EvidenceError(
            f"{found.record.id} is not closed: a kernel of it still lives, so its record is not"
            " finished",
            where=f"run {named}",
            next_step="end it (in JupyterLab: Kernel > Shut Down Kernel), then close again",
        )


def _seal_runs(settings: Settings, found: Incident) -> tuple[str, ...]:
    """Seal the runs that are still open; return their ids."""
    still_open = tuple(run.run_id for run in found.runs if run.state != runs.SEALED)
    for run_id in still_open:
        bundle.seal(settings.evidence_root, run_id, key=settings.signing_key, report=report_files)
    return still_open


def _left(found: Incident) -> list[str]:
    """Return what is not over although the incident is closed."""
    firing = [f"alert {a.name} still fires" for a in found.record.alerts if a.status == "firing"]
    waiting = [
        f"nobody has answered “{decision.question}” ({run.runbook} {run.run_id})"
        for run, decision in found.waiting
    ]
    damaged = [f"incident.jsonl: {damage}" for damage in found.record.damaged]
    unread = [f"run {run.run_id}: {run.problem}" for run in found.runs if run.problem]
    return [*firing, *waiting, *damaged, *unread]
