"""Does a notebook say what the journal says? Cell by cell, pure.

What is compared: the source and the output of each code cell with its last run, and Markdown and
raw cells with the snapshot. Metadata is not, except the status that rbkernel itself put there.
Whether the files are the sealed ones is `rbkernel.evidence.verify`'s question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode

from rbkernel.evidence import matching
from rbkernel.evidence.normal import missing_and_added, same_outputs
from rbkernel.evidence.notebook import first_line, label, lasting_id
from rbkernel.evidence.reading import DONE, FAILED, INTERRUPTED, NOT_RUN, CellRun, Record
from rbkernel.evidence.rebuild import (
    CODE_CELLS_ONLY,
    INJECTED,
    PAPERMILL_ERROR,
    parse_snapshot,
    tags,
)
from rbkernel.model import RUN_ID

ATTESTED = "attested"
EDITED = "edited after the run"
NEVER_RAN = "never ran"
OUTPUT_MISSING = "output missing"
OUTPUT_ADDED = "output added"
REMOVED = "removed from the notebook"

RUN_MIMETYPE = "application/vnd.rbkernel.run+json"
_ENDED = {FAILED: "failed", INTERRUPTED: "was interrupted"}
_PAPERMILL_MARK = re.compile(
    r'<span (id="papermill-error-cell" )?style="[\w:; #,.\-\']*">'
    r"(Execution using papermill encountered an exception here and stopped:"
    r"|An Exception was encountered at '<a href=\"#papermill-error-cell\">In \[\w+\]</a>'\.)"
    r"</span>"
)


@dataclass(frozen=True, kw_only=True)
class CellCheck:
    """What the journal says of one cell of the notebook.

    ``index`` counts from 0 and is None for a cell that is no longer there. ``ok`` is true for an
    attested cell and for one of the document that never ran and does not look as if it had.
    """

    index: int | None
    id: str | None
    first_line: str
    state: str
    detail: str = ""
    ok: bool = False

    @property
    def label(self) -> str:
        """How to name the cell to a person; cells count from 1."""
        return (
            f"a removed cell: {self.first_line}"
            if self.index is None
            else label(self.index, self.first_line)
        )


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All cells of a notebook; ``partial`` says what could not be compared, empty for nothing."""

    run_id: str
    cells: tuple[CellCheck, ...]
    partial: str = ""

    @property
    def ok(self) -> bool:
        """Whether the notebook claims nothing that the journal does not attest."""
        return all(cell.ok for cell in self.cells)

    @property
    def problems(self) -> tuple[CellCheck, ...]:
        """Return the cells that are not as the journal has them."""
        return tuple(cell for cell in self.cells if not cell.ok)


def verify_notebook(notebook: NotebookNode, record: Record, snapshot: bytes | None) -> Verification:
    """Compare a notebook with the record of its run.

    Parameters
    ----------
    notebook
        The notebook as saved by JupyterLab or papermill, or as rebuilt.
    record
        What the journal of its run tells.
    snapshot
        The bytes of the document as `rb.start` found it; without them only code cells are
        compared, and the result says so.
    """
    document = parse_snapshot(snapshot)
    runs = matching.identified(record.cells, document)
    cells = matching.candidates(notebook)
    places = matching.place_edited(cells, runs, matching.place(cells, runs))
    last = {index: run for index, run in zip(places, runs, strict=True) if index is not None}
    texts = _Texts(document)
    checks = [
        _check_code(index, cell, last.get(index), document)
        if cell.cell_type == "code"
        else texts.check(index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" or document
    ]
    checks += _removed_runs(runs, places)
    checks += _removed_unrun(notebook, runs, document) if document else []
    checks += texts.left()
    return Verification(
        run_id=record.run_id,
        cells=tuple(checks),
        partial="" if document else f"partial: {CODE_CELLS_ONLY}",
    )


def run_id_of(notebook: NotebookNode) -> str | None:
    """Return the id of the run that a notebook shows: `rb.start` left it in its output."""
    found = None
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {}).get(RUN_MIMETYPE)
            if isinstance(data, Mapping) and RUN_ID.fullmatch(str(data.get("id"))):
                found = str(data["id"])
    return found


def _check_code(
    index: int, cell: NotebookNode, run: CellRun | None, document: NotebookNode | None
) -> CellCheck:
    state, detail = _code_state(cell, run)
    ok = state == ATTESTED
    if state == NEVER_RAN and not detail:
        if document is not None and not _in_document(cell, document):
            detail = "not in the document that was run, either"
        ok = not detail
    return CellCheck(
        index=index,
        id=cell.id,
        first_line=first_line(cell.source),
        state=state,
        detail=detail,
        ok=ok,
    )


def _code_state(cell: NotebookNode, run: CellRun | None) -> tuple[str, str]:
    if run is None or run.status == NOT_RUN:
        if not cell.source.strip():
            return (OUTPUT_ADDED, "an empty cell has none") if cell.outputs else (ATTESTED, "")
        shown = "yet it shows output" if cell.outputs else ""
        return NEVER_RAN, shown or _claimed_status(cell, NOT_RUN)
    if cell.source != run.code:
        return EDITED, f"what ran begins with: {first_line(run.code)}"
    if same_outputs(cell.outputs, run.outputs):
        claimed = _claimed_status(cell, run.status) or _claimed_count(cell, run)
        if claimed:
            return EDITED, claimed
        return ATTESTED, "" if run.status == DONE else f"the cell {_ENDED[run.status]}"
    missing, added = missing_and_added(cell.outputs, run.outputs)
    if missing and not added:
        return OUTPUT_MISSING, f"{len(missing)} of the recorded outputs"
    if added and not missing:
        return OUTPUT_ADDED, f"{len(added)} that the journal does not have"
    return EDITED, "its output is not the recorded one" if added else "its outputs were reordered"


def _claimed_status(cell: NotebookNode, status: str) -> str:
    """Return what is wrong about the status that our own metadata claims."""
    told = cell.metadata.get("rbkernel")
    claimed = told.get("status", status) if isinstance(told, Mapping) else status
    return "" if claimed == status else f"its metadata says {claimed}, the journal {status}"


def _claimed_count(cell: NotebookNode, run: CellRun) -> str:
    if run.execution_count is None or cell.execution_count in (None, run.execution_count):
        return ""  # papermill and JupyterLab lose the count of a cell whose kernel died
    return f"its execution count was {run.execution_count}"


def _in_document(cell: NotebookNode, document: NotebookNode) -> bool:
    return any(
        other.cell_type == "code" and other.source == cell.source for other in document.cells
    )


def _removed_runs(runs: Sequence[CellRun], places: Iterable[int | None]) -> list[CellCheck]:
    gone = {
        run.cell_id or run.code: run
        for run, index in zip(runs, places, strict=True)
        if index is None and run.status != NOT_RUN
    }
    return [
        CellCheck(
            index=None,
            id=run.cell_id,
            first_line=first_line(run.code),
            state=REMOVED,
            detail="the journal has its run",
        )
        for run in gone.values()
    ]


def _removed_unrun(
    notebook: NotebookNode, runs: Sequence[CellRun], document: NotebookNode
) -> list[CellCheck]:
    """Return the code cells of the document that neither ran nor are in the notebook."""
    there = matching.candidates(notebook)
    known = {cell.source for cell in there} | {run.code for run in runs}
    ids = {cell.cell_id for cell in there} | {run.cell_id for run in runs}
    return [
        CellCheck(
            index=None,
            id=cell.cell_id,
            first_line=first_line(cell.source),
            state=REMOVED,
            detail="it never ran; the document that was run has it",
        )
        for cell in matching.candidates(document)
        if cell.source not in known
        and (cell.cell_id is None or cell.cell_id not in ids)
        and INJECTED not in tags(document.cells[cell.index])  # papermill puts its own there
    ]


class _Texts:
    """The Markdown and raw cells of the snapshot, each taken by one cell of the notebook."""

    def __init__(self, document: NotebookNode | None) -> None:
        cells = document.cells if document else []
        self._cells: list[NotebookNode] = [cell for cell in cells if cell.cell_type != "code"]

    def check(self, index: int, cell: NotebookNode) -> CellCheck:
        state, detail, ok = self._state(cell)
        return CellCheck(
            index=index,
            id=cell.id,
            first_line=first_line(cell.source),
            state=state,
            detail=detail,
            ok=ok,
        )

    def left(self) -> list[CellCheck]:
        return [
            CellCheck(
                index=None,
                id=lasting_id(cell),
                first_line=first_line(cell.source),
                state=REMOVED,
                detail="the document that was run has it",
            )
            for cell in self._cells
            if cell.source.strip()
        ]

    def _state(self, cell: NotebookNode) -> tuple[str, str, bool]:
        if PAPERMILL_ERROR in tags(cell) and _PAPERMILL_MARK.fullmatch(cell.source):
            return ATTESTED, "papermill's mark of the cell that failed", True
        same = self._take(cell)
        if same is None and not cell.source.strip():
            return ATTESTED, "", True
        if same is None:
            return EDITED, "not in the document that was run", False
        if (same.source, same.cell_type) != (cell.source, cell.cell_type):
            return EDITED, f"it began with: {first_line(same.source)}", False
        return ATTESTED, "", True

    def _take(self, cell: NotebookNode) -> NotebookNode | None:
        """Return the cell of the snapshot that this one is: by id, else by source."""
        for alike in (_same_id, _same_source):
            found = next((other for other in self._cells if alike(cell, other)), None)
            if found is not None:
                self._cells = [other for other in self._cells if other is not found]
                return found
        return None


def _same_id(cell: NotebookNode, other: NotebookNode) -> bool:
    return lasting_id(cell) is not None and lasting_id(cell) == lasting_id(other)


def _same_source(cell: NotebookNode, other: NotebookNode) -> bool:
    return bool(cell.source == other.source and cell.cell_type == other.cell_type)
