"""Compare a notebook with the journal of its run, cell by cell. Pure.

The source and output of each code cell are compared with the cell's last run. Markdown cells, raw
cells and the order of all cells are compared with the snapshot. Metadata is not compared, except
the status that rbkernel itself wrote. A snapshot that was found in the catalogue by the runbook's
id may not be the file that ran: differences from it are shown, but do not fail the verification.
Whether the files themselves were changed since the seal is checked by `rbkernel.evidence.verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbformat import NotebookNode

from rbkernel.evidence import matching
from rbkernel.evidence.normal import missing_and_added, same_outputs
from rbkernel.evidence.notebook import first_difference, first_line, label, lasting_id
from rbkernel.evidence.reading import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOT_RUN,
    CellRun,
    Record,
    snapshot_of,
)
from rbkernel.evidence.rebuild import (
    CODE_CELLS_ONLY,
    INJECTED,
    PAPERMILL_ERROR,
    parse_snapshot,
    tags,
)
from rbkernel.evidence.unreadable import Unreadable
from rbkernel.model import RUN_ID

ATTESTED = "attested"
EDITED = "edited after the run"
NEVER_RAN = "never ran"
OUTPUT_MISSING = "output missing"
OUTPUT_ADDED = "output added"
REMOVED = "removed from the notebook"
MOVED = "moved"
DIFFERS = "differs from the catalogue's document"

GUESSED = (
    "partial: nobody named the file that ran; the document kept is the catalogue's, so the text,"
    " the order and the cells that never ran are not known"
)

_NOT_IN_DOCUMENT = "not in the document that was run"
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

    ``index`` counts from 0 and is None for a missing cell. ``ok`` is true in three cases: the
    journal attests the cell; the cell never ran and shows no output; or the cell differs from a
    snapshot that may not be the document that ran. ``corrects`` is a wrong claim that papermill
    itself wrote about the cell; it is not reported as a change.
    """

    index: int | None
    id: str | None
    first_line: str
    state: str
    detail: str = ""
    ok: bool = False
    corrects: str = ""

    @property
    def label(self) -> str:
        """The name of the cell in messages; cells count from 1."""
        return label(self.index, self.id, self.first_line)

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        corrects = f" ({self.corrects})" if self.corrects else ""
        return f"{self.label}: {self.state}{detail}{corrects}"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of comparing all cells of a notebook with its journal.

    ``partial`` names the parts that could not be compared; it is empty if all were compared.
    ``unreadable`` holds the lines of the journal that cannot be read, in whole or in part.
    """

    run_id: str
    cells: tuple[CellCheck, ...]
    partial: str = ""
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the journal attests everything in the notebook, and no line of it is lost."""
        lost = any(one.lost for one in self.unreadable)
        return not lost and all(cell.ok for cell in self.cells)

    @property
    def problems(self) -> tuple[CellCheck, ...]:
        """Return the cells that differ from the journal."""
        return tuple(cell for cell in self.cells if not cell.ok)

    @property
    def count(self) -> str:
        """The number of attested cells out of all present cells, in words."""
        there = [cell for cell in self.cells if cell.index is not None]
        attested = sum(cell.state == ATTESTED for cell in there)
        return f"{attested} of {len(there)} cells attested"


def verify_notebook(notebook: NotebookNode, record: Record, snapshot: bytes | None) -> Verification:
    """Compare a notebook with the record of its run.

    Parameters
    ----------
    notebook
        The notebook as saved by JupyterLab or papermill, or as rebuilt.
    record
        The record that was read from the journal of its run.
    snapshot
        The bytes of the document when `rb.start` ran. Without them, only code cells are
        compared, and the result says so.
    """
    document = parse_snapshot(snapshot)
    guessed = _is_guess(record)
    held = None if guessed else document  # the document that is known to be the one that ran
    runs = matching.identified(record.cells, held)
    cells = matching.candidates(notebook)
    places = matching.place_edited(cells, runs, matching.place(cells, runs))
    last = {index: run for index, run in zip(places, runs, strict=True) if index is not None}
    texts = _Texts(document, guessed=guessed)
    checks = [
        _check_code(index, cell, last.get(index), held)
        if cell.cell_type == "code"
        else texts.check(index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" or document
    ]
    if held:
        checks = _check_order(checks, matching.moved(notebook, held))
    checks += _removed_runs(runs, places)
    checks += _removed_unrun(notebook, runs, held) if held else []
    checks += texts.left()
    partial = GUESSED if guessed else ""
    return Verification(
        run_id=record.run_id,
        cells=tuple(checks),
        partial=partial if document else f"partial: {CODE_CELLS_ONLY}",
        unreadable=record.unreadable,
    )


def if_attested(notebook: NotebookNode, record: Record) -> NotebookNode | None:
    """Return the notebook if the journal attests everything in it, else None."""
    return notebook if verify_notebook(notebook, record, snapshot_of(record)).ok else None


def run_id_of(notebook: NotebookNode) -> str | None:
    """Return the id of the run that a notebook shows.

    `rb.start` writes the id into its output. The engine writes it into the metadata, for runs
    that end before `rb.start`.
    """
    own = notebook.metadata.get("rbkernel")
    recorded = str(own.get("run_id", "")) if isinstance(own, Mapping) else ""
    found = recorded if RUN_ID.fullmatch(recorded) else None
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {}).get(RUN_MIMETYPE)
            if isinstance(data, Mapping) and RUN_ID.fullmatch(str(data.get("id"))):
                found = str(data["id"])
    return found


def _is_guess(record: Record) -> bool:
    """Tell whether the document was found in the catalogue by the runbook's id."""
    snapshots = record.of_kind("snapshot")
    return bool(snapshots) and snapshots[-1].data.get("found") == "catalogue"


def _check_order(checks: Iterable[CellCheck], moved: Mapping[int, int]) -> list[CellCheck]:
    checked = []
    for cell in checks:
        if cell.index is not None and cell.index in moved:
            place = f"it is cell {moved[cell.index] + 1} of the document"
            state = MOVED if cell.ok else cell.state
            detail = place if cell.ok else f"{cell.detail}; {MOVED}: {place}".removeprefix("; ")
            cell = replace(cell, state=state, detail=detail, ok=False)
        checked.append(cell)
    return checked


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
        corrects=_papermills_claim(cell, run.status if run else NOT_RUN),
    )


def _code_state(cell: NotebookNode, run: CellRun | None) -> tuple[str, str]:
    if run is None or run.status == NOT_RUN:
        if not cell.source.strip():
            return (OUTPUT_ADDED, "an empty cell has none") if cell.outputs else (ATTESTED, "")
        shown = "but it shows output" if cell.outputs else ""
        return NEVER_RAN, shown or _claimed_status(cell, NOT_RUN)
    if cell.source != run.code:
        return EDITED, f"{first_difference(cell.source, run.code)} in what ran"
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
    if not added:
        return EDITED, "its outputs were reordered"
    difference = first_difference(_shown(added[0]), _shown(missing[0]))
    return EDITED, f"its output is not the recorded one, {difference}".removesuffix(", ")


def _shown(output: Mapping[str, Any]) -> str:
    """Return the readable text of an output in normal form."""
    data = output.get("data", {})
    return str(output.get("text") or output.get("evalue") or data.get("text/plain", ""))


def _claimed_status(cell: NotebookNode, status: str) -> str:
    """Return an error text if rbkernel's metadata claims a wrong status; else empty."""
    recorded = cell.metadata.get("rbkernel")
    claimed = recorded.get("status", status) if isinstance(recorded, Mapping) else status
    return "" if claimed == status else f"its metadata says {claimed}, the journal {status}"


def _papermills_claim(cell: NotebookNode, status: str) -> str:
    """Return papermill's wrong status for a cell that failed: it does not notice a dead kernel."""
    claim = cell.metadata.get("papermill")
    claimed = claim.get("status") if isinstance(claim, Mapping) else None
    wrong = claimed in ("completed", DONE) and status != DONE and cell.source.strip()
    return f"papermill says {claimed}" if wrong else ""


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
    """Return the document's code cells that did not run and are missing from the notebook."""
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
    """The Markdown and raw cells of the snapshot; each is paired with one notebook cell."""

    def __init__(self, document: NotebookNode | None, *, guessed: bool) -> None:
        self._guessed = guessed
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
                state=DIFFERS if self._guessed else REMOVED,
                detail="only that has it" if self._guessed else "the document that was run has it",
                ok=self._guessed,
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
            return self._differing("not in that" if self._guessed else _NOT_IN_DOCUMENT)
        if cell.source != same.source:
            return self._differing(first_difference(cell.source, same.source))
        if cell.cell_type != same.cell_type:
            return self._differing(f"it was a {same.cell_type} cell")
        return ATTESTED, "", True

    def _differing(self, detail: str) -> tuple[str, str, bool]:
        return DIFFERS if self._guessed else EDITED, detail, self._guessed

    def _take(self, cell: NotebookNode) -> NotebookNode | None:
        """Return the snapshot's cell that matches this cell by id, else by source."""
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
