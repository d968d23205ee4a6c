"""Create and update an incident's postmortem: a notebook that people edit, and its HTML page.

The notebook is never overwritten: new facts are merged into it, and people's edits stay. The page
is rendered from the notebook again each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident as incidents
from rbkernel.evidence import manifest, reading, runs, store
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.incident import tell
from rbkernel.evidence.timeline import timeline
from rbkernel.incidents.draft import draft, incident_of, refresh, to_write
from rbkernel.incidents.facts import MEETING_WITHIN, WRITTEN_WITHIN, Known
from rbkernel.render.documents import textpage
from rbkernel.render.documents.blocks import Reader, Text
from rbkernel.render.documents.textpage import Chapter
from rbkernel.render.documents.widgets import states
from rbkernel.runbook import scaffold
from rbkernel.runbook.catalogue import POSTMORTEM
from rbkernel.runbook.placeholders import PLACEHOLDER

NAME = "postmortem.ipynb"
# cells whose output is about the execution of the notebook itself
_OF_ITS_RUN = frozenset({"parameters", "start", "summary"})


@dataclass(frozen=True, kw_only=True)
class Postmortem:
    """A postmortem as it was written to disk, and what people still have to do.

    ``is_changed`` is false when the record had nothing new for the notebook. ``to_write`` lists the
    placeholders that a human still has to fill in. ``outdated`` names the chapters that people
    edited and for which the record has changed since. ``written_by`` and ``meeting_by`` are the
    deadlines for the text and for the meeting; None until the end of the incident is known.
    """

    notebook: Path
    page: Path
    is_new: bool
    is_changed: bool
    to_write: tuple[str, ...]
    outdated: tuple[str, ...]
    written_by: datetime | None
    meeting_by: datetime | None


def make(root: Path, incident: str, output: Path) -> Postmortem:
    """Create the postmortem of an incident, or update it from the incident's record.

    Parameters
    ----------
    root
        The evidence folder; it is not changed.
    incident
        The incident's id.
    output
        The path of the notebook; the page is beside it, with the suffix `.html`.

    Raises
    ------
    EvidenceError
        There is no such incident; the output is in the evidence folder, is an existing file other
        than this incident's postmortem, or cannot be written.
    """
    path, page = _paths(root, output)
    known = gather(root, incident, datetime.now(UTC))
    notebook = draft(scaffold.template("postmortem"), known)
    outdated: tuple[str, ...] = ()
    is_new = not path.exists()
    if not is_new:
        refreshed = refresh(_mine(path, incident), notebook)
        notebook, outdated = refreshed.notebook, refreshed.outdated
    rendered = render(notebook)
    is_changed = _write(path, documents.dump(notebook))
    _write(page, rendered)
    return Postmortem(
        notebook=path,
        page=page,
        is_new=is_new,
        is_changed=is_changed,
        to_write=tuple(to_write(notebook)),
        outdated=outdated,
        written_by=known.due(WRITTEN_WITHIN),
        meeting_by=known.due(MEETING_WITHIN),
    )


def questions_left(path: Path, incident: str) -> list[str]:
    """Return the questions that a postmortem still asks.

    Raises
    ------
    EvidenceError
        There is no such notebook, or it is not this incident's postmortem.
    """
    if not path.is_file():
        raise EvidenceError(
            "there is no postmortem yet",
            where=str(path),
            next_step=f"run `rbkernel postmortem {incident}`, or name its notebook with --notebook",
        )
    return to_write(_mine(path, incident))


def gather(root: Path, incident: str, made_at: datetime) -> Known:
    """Return the facts that the evidence holds about an incident.

    Raises
    ------
    EvidenceError
        There is no such incident, or one of its journals cannot be read.
    """
    entries = [entry for entry in runs.of_incident(root, incident) if entry.is_readable]
    journals = [reading.read(entry.folder) for entry in entries]
    journals = [run for run in journals if run.runbook != POSTMORTEM]
    if journals and not (root / incident / manifest.INCIDENT).exists():
        record = tell((), incident)  # no record yet: no run of the incident is sealed
    else:
        record = incidents.read(root, incident)
    known = incidents.known(root, incident)
    return Known(
        record=record,
        runs=journals,
        timeline=timeline(record, journals),
        made_at=made_at,
        answers=known.answers,
        done=known.done,
        entries=[entry for entry in entries if entry.run_id in {run.run_id for run in journals}],
    )


def render(notebook: NotebookNode) -> bytes:
    """Return the HTML page of a postmortem's notebook, including people's edits."""
    left = len(to_write(notebook))
    places = "1 place is" if left == 1 else f"{left} places are"
    title = next(_titles(notebook), "Postmortem")
    return textpage.render(
        PLACEHOLDER.sub(r"‹\g<hint>›", title),
        _chapters(notebook),
        mark=PLACEHOLDER,
        mind=f"Not finished: {places} marked for a human to fill in." if left else "",
        footer="People write a postmortem; the sealed evidence proves what the runs saw."
        " All times are UTC.",
    )


def _titles(notebook: NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            yield cell.source.splitlines()[0].removeprefix("# ")


def _chapters(notebook: NotebookNode) -> Iterator[Chapter]:
    widgets = states(notebook.metadata)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield Chapter(text=cell.source)
        elif cell.cell_type == "code" and cell.id not in _OF_ITS_RUN:
            for block in Reader().blocks(cell.outputs, widgets):
                if not (isinstance(block, Text) and block.label == "widget"):  # on the card
                    yield Chapter(text=block.text, plain=True)


def _paths(root: Path, output: Path) -> tuple[Path, Path]:
    path = output.absolute()
    page = path.with_suffix(".html")
    if path.suffix != ".ipynb":
        raise EvidenceError(
            "a postmortem is written as a notebook, but the file name does not end in .ipynb",
            where=str(path),
            next_step="name a file that ends in .ipynb with -o",
        )
    if path.resolve().is_relative_to(root.resolve()):
        raise EvidenceError(
            "a postmortem cannot be in the evidence folder, because people edit it",
            where=str(path),
            next_step="name a file elsewhere with -o",
        )
    if page.exists() and textpage.GENERATOR not in page.read_text(errors="replace")[:2000]:
        raise EvidenceError(
            "a file that rbkernel did not write is already at the path of the HTML page",
            where=str(page),
            next_step="move the existing file away, or name another notebook with -o",
        )
    return path, page


def _mine(path: Path, incident: str) -> NotebookNode:
    """Return an existing notebook; raise an error if it is not this incident's postmortem."""
    try:
        notebook = documents.parse(path.read_bytes(), where=str(path))
    except OSError as error:
        raise store.evidence_error(error, path) from error
    of = incident_of(notebook)
    if of != incident:
        raise EvidenceError(
            f"this is the postmortem of {of}"
            if of
            else "this notebook is not an rbkernel postmortem",
            where=str(path),
            next_step="name another file with -o: nothing was changed",
        )
    return notebook


def _write(path: Path, data: bytes) -> bool:
    """Write a file unless it already has this content; return whether it was written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() == data:
            return False  # rewriting would make an open editor report a change
    except OSError as error:
        raise store.evidence_error(error, path) from error
    store.write_atomically(path, data)
    return True
