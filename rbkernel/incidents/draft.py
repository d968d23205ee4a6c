"""Build the notebook of a postmortem from its template, and merge a later draft into it. Pure.

A cell belongs to rbkernel as long as it holds the text that rbkernel wrote; the notebook's metadata
keep the SHA-256 of that text. Once a human changes or deletes a cell, rbkernel leaves the cell as
it is.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nbformat import NotebookNode

from rbkernel.displaytext import one_line
from rbkernel.evidence import notebook as documents
from rbkernel.incidents.chapters import chapters, moment
from rbkernel.incidents.facts import Known
from rbkernel.runbook import catalogue, frontmatter_text
from rbkernel.runbook.catalogue import POSTMORTEM, Runbook
from rbkernel.runbook.placeholders import PLACEHOLDER

# the position of a chapter that the template lacks: the cell that it follows
_BEHIND = {
    "impact-told": "impact",
    "findings": "cause-data",
    "left-open": "actions",
    "made": "share",
}
# this cell holds the time of the draft: on its own, a new time is no change
_MADE = "made"
# lint rules that apply only to runbooks, not to a postmortem
_OF_RUNBOOKS = frozenset({"validation"})


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """A postmortem's notebook with a later draft merged into it.

    ``outdated`` names the chapters that people edited and for which the record has changed since.
    """

    notebook: NotebookNode
    outdated: tuple[str, ...]


def draft(form: Runbook, known: Known) -> NotebookNode:
    """Fill the template of a postmortem with the known facts; return the notebook.

    Parameters
    ----------
    form
        The template of a postmortem.
    known
        The facts that the evidence holds about the incident.
    """
    notebook = catalogue.parse(form.document)
    notebook.cells = [cell for cell in notebook.cells if cell.id not in _OF_RUNBOOKS]
    cells = {cell.id: cell for cell in notebook.cells}
    cells["front-matter"].source = _front_matter(cells["front-matter"].source, known)
    cells["parameters"].source = _parameters(cells["parameters"].source, known)
    cells["start"].source = cells["start"].source.replace(form.id, POSTMORTEM)
    for name, text in chapters(known):
        if name not in cells:
            place = notebook.cells.index(cells[_BEHIND[name]]) + 1
            cells[name] = _markdown(name)
            notebook.cells.insert(place, cells[name])
        cells[name].source = text
    written = {cell.id: _digest(cell) for cell in notebook.cells}
    origin = {"incident": known.record.id, "written": written}
    notebook.metadata["rbkernel"] = documents.node(origin)
    return notebook


def incident_of(notebook: NotebookNode) -> str:
    """Return the incident id of a postmortem notebook; empty for any other notebook."""
    own = notebook.metadata.get("rbkernel")
    origin = own if isinstance(own, Mapping) and isinstance(own.get("written"), Mapping) else {}
    return str(origin.get("incident", ""))


def refresh(old: NotebookNode, later: NotebookNode) -> Refreshed:
    """Merge a later draft into a postmortem that people may have edited.

    Parameters
    ----------
    old
        The notebook as it is now.
    later
        A new draft for the same incident.
    """
    notebook = copy.deepcopy(old)
    written = dict(notebook.metadata["rbkernel"]["written"])
    there = {cell.id: cell for cell in notebook.cells}
    outdated = []
    before = ""
    unchanged = _without_made(later) == {name: written.get(name) for name in _without_made(later)}
    for fresh in later.cells:
        mine = there.get(fresh.id)
        if fresh.id == _MADE and unchanged:
            continue
        if mine is None and fresh.id not in written:
            mine = there[fresh.id] = copy.deepcopy(fresh)
            notebook.cells.insert(_place(notebook, before), mine)
            written[fresh.id] = _digest(fresh)
        elif mine is not None and _digest(mine) == written.get(fresh.id):
            _replace(mine, fresh)
            written[fresh.id] = _digest(fresh)
        elif mine is not None and _digest(fresh) != written.get(fresh.id):
            outdated.append(documents.first_line(mine.source).lstrip("# "))
        before = fresh.id if mine is not None else before
    notebook.metadata["rbkernel"]["written"] = documents.node(written)
    return Refreshed(notebook=notebook, outdated=tuple(outdated))


def _without_made(later: NotebookNode) -> dict[str, str]:
    return {cell.id: _digest(cell) for cell in later.cells if cell.id != _MADE}


def to_write(notebook: NotebookNode) -> list[str]:
    """Return a postmortem's placeholders that a human still has to fill in, in order."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [found["hint"] for found in PLACEHOLDER.finditer(text)]


def _front_matter(source: str, known: Known) -> str:
    fields = {"id": POSTMORTEM}
    if known.title:
        fields["title"] = f"Postmortem: {one_line(known.title)}"
    if known.severity:
        fields["severity"] = known.record.severity
    return frontmatter_text.edit(source, fields)


def _parameters(source: str, known: Known) -> str:
    times = {"began": known.began.at, "resolved": known.ended.at if known.ended else ""}
    values = {"incident": known.record.id}
    values |= {name: moment(at)[:19].replace(" ", "T") for name, at in times.items() if at}
    for name, value in values.items():
        source = re.sub(rf'(?m)^({name}: str = )"[^"\n]*"', rf'\g<1>"{value}"', source)
    return source


def _markdown(name: str) -> NotebookNode:
    return documents.node({"cell_type": "markdown", "id": name, "metadata": {}, "source": ""})


def _digest(cell: NotebookNode) -> str:
    return hashlib.sha256(cell.source.strip().encode(errors="replace")).hexdigest()


def _place(notebook: NotebookNode, before: str) -> int:
    """Return the index at which to insert a new chapter: after its predecessor in the draft."""
    places = [index for index, cell in enumerate(notebook.cells) if cell.id == before]
    return places[0] + 1 if places else len(notebook.cells)


def _replace(mine: NotebookNode, fresh: NotebookNode) -> None:
    if mine.source == fresh.source:
        return  # with the outputs of its last execution
    mine.source = fresh.source
    if mine.cell_type == "code":
        mine.outputs, mine.execution_count = [], None
