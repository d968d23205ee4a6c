"""Match each cell execution in a journal with a cell of the document. Pure.

JupyterLab sends a cell's id with the request, papermill does not. An execution therefore belongs to
the cell with the same id; else to the next cell with the same source; else, as a second execution,
to an earlier cell with the same source; else to no cell (it was injected, edited or removed).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rbkernel.evidence.notebook import code_cells, lasting_id
from rbkernel.evidence.reading import CellRun

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A code cell of a document; ``cell_id`` is None if the document gives the cell no id."""

    index: int
    cell_id: str | None
    source: str


def candidates(notebook: NotebookNode) -> list[Candidate]:
    """Return the notebook's code cells, with which executed cells can be matched."""
    return [
        Candidate(index=index, cell_id=lasting_id(cell), source=cell.source)
        for index, cell in code_cells(notebook)
    ]


def place(cells: Sequence[Candidate], runs: Sequence[CellRun]) -> list[int | None]:
    """Return for each executed cell the index of the matching document cell; None if none matches.

    >>> cells = [Candidate(index=0, cell_id="a", source="x = 1"),
    ...          Candidate(index=2, cell_id="b", source="x")]
    >>> def ran(code, cell_id=None):
    ...     return CellRun(msg_id="", code=code, cell_id=cell_id, status="done",
    ...                    execution_count=1, started_at="", ended_at="", outputs=())
    >>> place(cells, [ran("x = 1"), ran("x = 5"), ran("x"), ran("x"), ran("x + 1", "b")])
    [0, None, 2, 2, 2]
    """
    by_id = {cell.cell_id: cell.index for cell in cells if cell.cell_id}
    places: list[int | None] = []
    cursor = 0  # papermill runs in the document's order: search first after the last match
    for run in runs:
        if run.cell_id in by_id:
            places.append(by_id[run.cell_id])
            continue
        order = [*range(cursor, len(cells)), *reversed(range(cursor))]
        found = next((at for at in order if _same_source(cells[at], run)), None)
        places.append(None if found is None else cells[found].index)
        if found is not None and found >= cursor:
            cursor = found + 1
    return places


def _same_source(cell: Candidate, run: CellRun) -> bool:
    return cell.source == run.code and _can_be(cell, run)


def _can_be(cell: Candidate, run: CellRun) -> bool:
    """Tell whether an executed cell may match a cell by source: at least one of them has no id."""
    return not cell.cell_id or not run.cell_id


def place_edited(
    cells: Sequence[Candidate], runs: Sequence[CellRun], places: Sequence[int | None]
) -> list[int | None]:
    """Match the remaining executions by position: their cells were probably edited afterwards.

    Returns ``places``, in which an execution without a match may now have one. If an execution
    lies between two matched executions, its cell lies between their two cells. No cell has the
    source that was executed, so the first unmatched cell between them is taken.
    """
    filled = list(places)
    taken = {index for index in places if index is not None}
    for at, run in enumerate(runs):
        if filled[at] is not None:
            continue
        before = max((index for index in filled[:at] if index is not None), default=-1)
        after = min(
            (index for index in places[at + 1 :] if index is not None and index > before),
            default=None,
        )
        free = [
            cell.index
            for cell in cells
            if cell.index not in taken
            and cell.index > before
            and (after is None or cell.index < after)
            and _can_be(cell, run)
        ]
        if free:
            filled[at] = free[0]
            taken.add(free[0])
    return filled


def identified(runs: Sequence[CellRun], document: NotebookNode | None) -> tuple[CellRun, ...]:
    """Return the executed cells; those without an id get the id of the matching document cell."""
    if document is None:
        return tuple(runs)
    cells = candidates(document)
    ids = {cell.index: cell.cell_id for cell in cells}
    return tuple(
        run if run.cell_id or index is None else replace(run, cell_id=ids[index])
        for run, index in zip(runs, place(cells, runs), strict=True)
    )


def moved(notebook: NotebookNode, document: NotebookNode) -> dict[int, int]:
    """Return the cells that were moved: their indexes in the notebook and in the document.

    The result is as small as possible. Blank cells, and cells that only one of the two
    notebooks has, are ignored.
    """
    known = _places_in(notebook, document)
    indexes, there = list(known), list(known.values())
    return {indexes[at]: there[at] for at in out_of_order(there)}


def _places_in(notebook: NotebookNode, document: NotebookNode) -> dict[int, int]:
    """Pair the cells of two notebooks by their ids; pair the rest by their source, in order."""
    ids = {lasting_id(cell): index for index, cell in enumerate(document.cells)}
    ids.pop(None, None)
    filled = {index: cell for index, cell in enumerate(notebook.cells) if cell.source.strip()}
    places = {i: ids[lasting_id(cell)] for i, cell in filled.items() if lasting_id(cell) in ids}
    taken = set(places.values())
    alike: dict[tuple[str, str], deque[int]] = defaultdict(deque)
    for index, cell in enumerate(document.cells):
        if index not in taken:
            alike[cell.cell_type, cell.source].append(index)
    for index, cell in filled.items():
        same = alike[cell.cell_type, cell.source]
        if index not in places and same:
            places[index] = same.popleft()
    return dict(sorted(places.items()))


def out_of_order(numbers: Sequence[int]) -> list[int]:
    """Return the positions of numbers outside a longest increasing subsequence.

    >>> out_of_order([0, 3, 1, 2, 4]), out_of_order([2, 0, 1]), out_of_order([])
    ([1], [0], [])
    """
    tops: list[int] = []  # lowest last number of a rising subsequence of each length
    ends: list[int] = []  # its position
    before: list[int | None] = []
    for at, number in enumerate(numbers):
        length = bisect_left(tops, number)
        tops[length : length + 1], ends[length : length + 1] = [number], [at]
        before.append(ends[length - 1] if length else None)
    kept = set()
    last = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return [at for at in range(len(numbers)) if at not in kept]
