"""Rebuild the notebook of a run from its snapshot and its journal.

The Markdown cells, the order and the cells that never ran come from the snapshot; everything else
comes from the journal. A cell that did not run has no output, even if the document on disk still
had old output.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rbkernel.errors import EvidenceError
from rbkernel.evidence import matching
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import DONE, FAILED, INTERRUPTED, NOT_RUN, CellRun, Record

if TYPE_CHECKING:
    from nbformat import NotebookNode

CODE_CELLS_ONLY = "code cells only"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
INJECTED, PARAMETERS = "injected-parameters", "parameters"
PAPERMILL_ERROR = "papermill-error-cell-tag"

# metadata of an earlier execution of the document
_OF_AN_EARLIER_RUN = ("papermill", "execution", "rbkernel")
# in papermill's metadata: whether a cell ended with an exception
_EXCEPTION = {DONE: False, FAILED: True, INTERRUPTED: True, NOT_RUN: None}


def rebuild(record: Record, snapshot: bytes | None) -> NotebookNode:
    """Rebuild the notebook of a run from its journal and the snapshot of its document.

    Parameters
    ----------
    record
        The record that was read from the journal.
    snapshot
        The bytes of the document when `rb.start` ran. If None, or if the bytes are no notebook,
        the result has only the code cells that ran.

    Returns
    -------
    A valid notebook. The key ``rbkernel`` in its metadata, and in the metadata of each code cell,
    describes the execution.
    """
    document = parse_snapshot(snapshot)
    built = _blank(document)
    shown = _place_all(built, record.cells)
    for index, cell in enumerate(built.cells):
        if cell.cell_type == "code":
            _show(cell, shown.get(index, []))
    built.metadata["rbkernel"] = _facts(record, document is None)
    if record.widgets:
        state = {"version_major": 2, "version_minor": 0, "state": copy.deepcopy(record.widgets)}
        built.metadata["widgets"] = documents.node({WIDGET_STATE: state})
    import nbformat

    nbformat.validate(built)
    return built


def annotate(notebook: NotebookNode, record: Record) -> NotebookNode:
    """Return papermill's notebook with its cell statuses corrected from the journal.

    papermill knows less than the journal, so its statuses of cells and notebook are corrected.
    ``metadata.rbkernel`` is added to each code cell.
    """
    rebuilt = copy.deepcopy(notebook)
    places = matching.place(matching.candidates(rebuilt), record.cells)
    shown = _grouped(record.cells, places)
    reached = True
    for index, cell in enumerate(rebuilt.cells):
        if cell.cell_type == "code" and cell.source.strip():
            status = _set_status(cell, shown.get(index, []))
            reached = reached and status == DONE
        elif not reached and "papermill" in cell.metadata:
            _correct_papermill(cell, NOT_RUN)
    if "papermill" in rebuilt.metadata:
        troubled = any(run.status in (FAILED, INTERRUPTED) for run in record.cells)
        rebuilt.metadata.papermill["exception"] = True if troubled or not record.complete else None
    rebuilt.metadata["rbkernel"] = {"run_id": record.run_id, "partial": not record.complete}
    return rebuilt


def parse_snapshot(snapshot: bytes | None) -> NotebookNode | None:
    """Return the document that was run; None if there is no readable snapshot."""
    if snapshot is None:
        return None
    try:
        document = documents.parse(snapshot, where="the snapshot of the document")
    except EvidenceError:
        return None
    # papermill removes its own marks of an earlier failure before it runs a document
    document.cells = [cell for cell in document.cells if PAPERMILL_ERROR not in tags(cell)]
    return document


def tags(cell: NotebookNode) -> Sequence[str]:
    """Return the tags of a cell."""
    found = cell.metadata.get("tags")
    return found if isinstance(found, list) else ()


def _blank(document: NotebookNode | None) -> NotebookNode:
    """Return a copy of the document without outputs and other traces of earlier executions."""
    if document is None:
        kernelspec = {"name": "rbkernel", "display_name": "rbkernel", "language": "python"}
        return documents.node(
            {
                "nbformat": 4,
                "nbformat_minor": 5,
                "metadata": {"kernelspec": kernelspec},
                "cells": [],
            }
        )
    blank = copy.deepcopy(document)
    for key in (*_OF_AN_EARLIER_RUN, "widgets"):
        blank.metadata.pop(key, None)
    for cell in blank.cells:
        for key in _OF_AN_EARLIER_RUN:
            cell.metadata.pop(key, None)
    return blank


def _place_all(built: NotebookNode, runs: Sequence[CellRun]) -> dict[int, list[CellRun]]:
    """Insert executed cells that the document lacks; return the executions of each cell."""
    places = matching.place(matching.candidates(built), runs)
    added: dict[int, list[tuple[NotebookNode, list[CellRun]]]] = defaultdict(list)
    mine: dict[str, tuple[int, list[CellRun]]] = {}  # added cells by id or source
    known = _grouped(runs, places)
    taken = {cell.id for cell in built.cells}
    after = -1
    for run, index in zip(runs, places, strict=True):
        key = run.cell_id or run.code
        if index is not None:
            after = index
        elif key in mine:
            mine[key][1].append(run)
        elif (old := _replaced_injection(built, run)) is not None:
            known[old], after = [run], old
        else:
            after = _after_parameters(built, run, after)
            cell = _new_cell(run, taken)
            mine[key] = (after, [run])
            added[after].append((cell, mine[key][1]))
    return _insert(built, added, known)


def _insert(
    built: NotebookNode,
    added: dict[int, list[tuple[NotebookNode, list[CellRun]]]],
    known: dict[int, list[CellRun]],
) -> dict[int, list[CellRun]]:
    cells: list[NotebookNode] = []
    shown: dict[int, list[CellRun]] = {}
    for old in range(-1, len(built.cells)):
        if old >= 0:
            shown[len(cells)] = known.get(old, [])
            cells.append(built.cells[old])
        for cell, runs in added.get(old, ()):
            shown[len(cells)] = runs
            cells.append(cell)
    built.cells = cells
    return shown


def _new_cell(run: CellRun, taken: set[str]) -> NotebookNode:
    return documents.node(
        {
            "cell_type": "code",
            "id": documents.free_id(run.cell_id, taken),
            "metadata": {"tags": [INJECTED]} if is_injected(run) else {},
            "source": run.code,
            "execution_count": None,
            "outputs": [],
        }
    )


def is_injected(run: CellRun) -> bool:
    """Tell whether an executed cell is the parameters cell that papermill injected."""
    return run.cell_id is None and run.code.startswith("# Parameters\n")


def _replaced_injection(built: NotebookNode, run: CellRun) -> int | None:
    """Return the index of the older injected cell that this injected cell replaces, or None."""
    return _tagged(built, INJECTED) if is_injected(run) else None


def _after_parameters(built: NotebookNode, run: CellRun, after: int) -> int:
    """Return the index of the cell after which a missing executed cell is to be inserted.

    papermill injects its cell after the parameters cell. An empty parameters cell is not
    executed, so the order of the executions cannot give this position.
    """
    tagged = _tagged(built, PARAMETERS) if is_injected(run) else None
    return after if tagged is None else tagged


def _tagged(built: NotebookNode, tag: str) -> int | None:
    return next((index for index, cell in enumerate(built.cells) if tag in tags(cell)), None)


def _grouped(runs: Iterable[CellRun], places: Iterable[int | None]) -> dict[int, list[CellRun]]:
    grouped: dict[int, list[CellRun]] = defaultdict(list)
    for run, index in zip(runs, places, strict=True):
        if index is not None:
            grouped[index].append(run)
    return grouped


def _show(cell: NotebookNode, runs: Sequence[CellRun]) -> None:
    """Set a cell's source, outputs and count to those of its last execution."""
    last = runs[-1] if runs else None
    cell.outputs = [documents.node(one) for one in last.outputs] if last else []
    cell.execution_count = last.execution_count if last else None
    if last:
        cell.source = last.code
    _set_status(cell, runs)


def _set_status(cell: NotebookNode, runs: Sequence[CellRun]) -> str:
    last = runs[-1] if runs else None
    facts: dict[str, Any] = {"status": last.status if last else NOT_RUN}
    if last and last.status != NOT_RUN:
        facts |= {"started_at": last.started_at, "ended_at": last.ended_at}
    if len(runs) > 1:
        facts["runs"] = len(runs)
    cell.metadata["rbkernel"] = documents.node(facts)
    if "papermill" in cell.metadata:
        _correct_papermill(cell, facts["status"])
    return str(facts["status"])


def _correct_papermill(cell: NotebookNode, status: str) -> None:
    cell.metadata.papermill["status"] = status
    cell.metadata.papermill["exception"] = _EXCEPTION[status]


def _facts(record: Record, code_cells_only: bool) -> NotebookNode:
    facts: dict[str, Any] = {
        "run_id": record.run_id,
        "rebuilt": True,
        "partial": code_cells_only or not record.complete,
    }
    if code_cells_only:
        facts["note"] = f"partial: {CODE_CELLS_ONLY}"
    return documents.node(facts)
