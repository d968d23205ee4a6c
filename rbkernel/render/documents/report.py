"""Build the report of a run, or of an incident with all its runs, from the evidence folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError

from rbkernel import amounts
from rbkernel.displaytext import visible
from rbkernel.errors import EvidenceError
from rbkernel.evidence import caveats, content, incident, manifest, runs, seals
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.content import ReportFiles
from rbkernel.evidence.incident import AlertHistory, IncidentRecord, Known
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.reading import Record, read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.evidence.timeline import Entry, timeline
from rbkernel.model import INCIDENT_ID, RUN_ID
from rbkernel.render.documents import figures, page
from rbkernel.render.documents.blocks import Html, Reader
from rbkernel.render.documents.contents import Section, section
from rbkernel.render.documents.page import Report
from rbkernel.render.documents.wording import clock, lasted

NAME = "report.html"
# limits, so that many alerts do not push the findings off the first screen
_MOST_ALERTS = 12
_MOST_IMPACTS = 6
# errors from values of a wrong type or form
_UNFIT = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
_UNSEALED = "this evidence is not sealed yet, so nothing proves that it is unchanged"
_AT_SEAL = "made when the run was sealed"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One run in the evidence folder; ``head`` is its newest seal, None if there is no seal."""

    record: Record
    executed: bytes
    head: Head | None


def report_files(record: Record, executed: bytes) -> ReportFiles:
    """Return the files of one run's report: the page, and CSV files of tables it cuts.

    The reports of an incident share the file with plotly.js, which is most of a report's size.

    Parameters
    ----------
    record
        The contents of the run's journal.
    executed
        The run's notebook.

    Raises
    ------
    EvidenceError
        The notebook or the journal contains values of a wrong type or form.
    """
    with fit_for_a_report(record.run_id):
        one_run = section(record, executed, Reader(), seal=[("Report", _AT_SEAL)])
        made = _of_run(one_run)
        shared = {figures.shared_plotly_name(): figures.shared_plotly} if made.figures else {}
        library = "".join(f"../{name}" for name in shared)
        own = {NAME: page.render(made, library=library), **csv_files(made)}
        return ReportFiles(own=own, shared=shared)


def csv_files(report: Report) -> dict[str, bytes]:
    """Return the complete tables as CSV, by file name, if the report shows only a part of them."""
    blocks = (block for one in report.sections for block in one.blocks)
    found = [table for block in blocks if isinstance(block, Html) for table in block.tables]
    found += [plan.targets for one in report.sections for plan in one.plans]
    return {table.name: table.csv for table in found if table.name}


def sources(root: Path, what: str) -> list[Source]:
    """Return the run, or all runs of the incident, in the order in which they started.

    Raises
    ------
    EvidenceError
        There is no such run or incident, or its evidence cannot be read.
    """
    heads = {head.run_id: head for head in seals.read_heads(root)}
    if RUN_ID.fullmatch(what):
        return [_source(runs.find(root, what), heads)]
    if not INCIDENT_ID.fullmatch(what):
        raise EvidenceError(
            f"{what!r} is neither an incident id nor a run id",
            next_step="`rbkernel evidence list` shows the ids of incidents and runs",
        )
    of_it = [run for run in runs.of_incident(root, what) if run.is_readable]
    if not of_it and not (root / what / manifest.INCIDENT).is_file():
        raise EvidenceError(
            f"there is no record and no run of {what}",
            where=str(root),
            next_step="`rbkernel evidence list` lists all runs; RBKERNEL_EVIDENCE sets"
            " the evidence folder",
        )
    return [_source(run.folder, heads) for run in of_it]


def build(root: Path, what: str) -> Report:
    """Return the report of a run or an incident.

    Raises
    ------
    EvidenceError
        There is no such run or incident, or its evidence cannot be read.
    """
    reader, found = Reader(), sources(root, what)
    known = _known(root, what, found)
    sections = tuple(
        section(
            one.record,
            one.executed,
            reader,
            anchor=f"run-{n}",
            seal=_seal(one),
            known=known,
        )
        for n, one in enumerate(found, 1)
    )
    if not INCIDENT_ID.fullmatch(what):
        return _of_run(sections[0])
    record = incident.look(root, what)
    return _of_incident(record, sections, timeline(record, [one.record for one in found]))


def _known(root: Path, what: str, found: Iterable[Source]) -> Known | None:
    """Return what the record of an incident, or of the incident of a run, says."""
    name = what if INCIDENT_ID.fullmatch(what) else next(one.record.incident for one in found)
    return incident.known(root, name) if INCIDENT_ID.fullmatch(name) else None


def _source(folder: Path, heads: Mapping[str, Head]) -> Source:
    record = read(folder)
    head = heads.get(record.run_id)
    sealed = folder / content.EXECUTED
    if head and sealed.is_file():
        return Source(record=record, executed=sealed.read_bytes(), head=head)
    return Source(
        record=record, executed=documents.dump(rebuild(record, snapshot_of(record))), head=None
    )


def _seal(source: Source) -> Iterator[tuple[str, str]]:
    head = source.head
    if head is None:
        yield "Seal", _UNSEALED
        return
    yield "Sealed", clock(head.at)
    yield "Seal", f"{head.sha256} ({head.incident}/{manifest.manifest_name(head.generation)})"


def _of_run(run_section: Section) -> Report:
    return Report(
        title=f"{run_section.runbook} {run_section.title}: {run_section.verdict.value.upper()}",
        subtitle=run_section.headline,
        recommended=run_section.recommended,
        sections=(run_section,),
        footer=_footer(run_section.incident),
    )


def _of_incident(
    record: IncidentRecord, run_sections: tuple[Section, ...], happened: Iterable[Entry]
) -> Report:
    return Report(
        title=f"Incident {record.id}" + (f": {visible(record.title)}" if record.title else ""),
        subtitle=f"{amounts.count(len(run_sections), 'run')}, as recorded in the evidence",
        sections=run_sections,
        incident=record.id,
        facts=tuple(_facts(record)),
        warnings=(
            *map(visible, caveats.caveats_of(record)),
            *(f"{record.id}/{manifest.INCIDENT}: {one}" for one in record.damaged),
        ),
        timeline=_timeline(happened),
        footer=_footer(record.id),
    )


def _footer(of: str) -> str:
    return (
        f"Made by rbkernel from the evidence of {of or 'a run'}. A report is a view;"
        " the sealed folder is the proof. All times are UTC."
    )


def _timeline(entries: Iterable[Entry]) -> tuple[tuple[str, str, str], ...]:
    """Return time, event and source of each line of the incident's timeline."""
    return tuple((clock(one.at), visible(one.what), visible(one.short_source)) for one in entries)


def _facts(record: IncidentRecord) -> Iterator[tuple[str, str]]:
    """Yield the known facts about the incident from its record, as names and values."""
    yield "Severity", visible(record.severity)
    yield "Service", visible(record.service)
    yield "State", record.state
    yield "Began", f"{clock(record.began.at)} ({visible(record.began.source)})"
    over = record.resolved
    yield "Resolved", f"{clock(over.at)} ({visible(over.source)})" if over else ""
    yield "Duration", lasted(record.duration) if record.duration is not None else ""
    yield "Closed", clock(record.closed_at)
    yield "Resolution", visible(record.resolution)
    for update in [one for one in record.statuses if one.impact][-_MOST_IMPACTS:]:
        yield (
            "Impact",
            visible(f"{update.impact} ({update.status}, {clock(update.at)}, {update.by})"),
        )
    for alert in sorted(record.alerts, key=lambda one: one.status)[:_MOST_ALERTS]:
        yield f"Alert {alert.status}", _alert(alert)
    if (others := len(record.alerts) - _MOST_ALERTS) > 0:
        yield "Alerts", f"and {others} more"


def _alert(alert: AlertHistory) -> str:
    labels = ", ".join(
        f"{name}={value}" for name, value in alert.labels.items() if name != "alertname"
    )
    until = f" to {clock(alert.last_resolved_at)}" if alert.last_resolved_at else ""
    named = f"{alert.name} ({labels})" if labels else alert.name
    return visible(f"{named}, {clock(alert.first_firing_at)}{until}")


@contextmanager
def fit_for_a_report(where: str) -> Iterator[None]:
    """Convert errors from unexpected contents of evidence to `EvidenceError`.

    Raises
    ------
    EvidenceError
        The evidence contains values of a wrong type or form.
    """
    try:
        yield
    except (*_UNFIT, TemplateError, OSError) as error:
        raise EvidenceError(
            f"the report cannot be made: {type(error).__name__}: {error}",
            where=where,
            next_step="`rbkernel evidence verify` says whether it was changed; `--to zip` exports"
            " it as it is",
        ) from error
