"""Compare the cells of a notebook with the journal of its run, one by one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rbkernel import amounts
from rbkernel.evidence import matching
from rbkernel.evidence.attest.result import (
    ATTESTED,
    EDITED,
    MOVED,
    NEVER_RAN,
    OUTPUT_ADDED,
    OUTPUT_MISSING,
    REMOVED,
    SAVED_EARLY,
    CellCheck,
    Verification,
)
from rbkernel.evidence.attest.texts import Texts
from rbkernel.evidence.normal import missing_and_added, same_outputs
from rbkernel.evidence.notebook import first_difference, first_line
from rbkernel.evidence.reading import (
    DONE,
    FAILED,
    INTERRUPTED,
    NOT_RUN,
    CellRun,
    Record,
    snapshot_of,
)
from rbkernel.evidence.rebuild import CODE_CELLS_ONLY, INJECTED, parse_snapshot, tags
from rbkernel.model import RUN_ID

if TYPE_CHECKING:
    from nbformat import NotebookNode

GUESSED = (
    "partial: it is unknown which file was run, so the document in the catalogue was stored"
    " instead; only code cells that ran were compared, not Markdown text, the order of the cells,"
    " or cells"
    " that did not run"
)

RUN_MIMETYPE = "application/vnd.rbkernel.run+json"
_ENDED = {FAILED: "failed", INTERRUPTED: "was interrupted"}


def verify_notebook(notebook: NotebookNode, record: Record, snapshot: bytes | None) -> Verification:
    """Compare a notebook, cell by cell, with the record of its run.

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
    texts = Texts(document, guessed=guessed)
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
    """Return the id of the run that produced this notebook; None if the notebook holds no run id.

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
    """Tell whether the snapshot may be of another file: it was found only by the runbook's id."""
    snapshots = record.of_kind("snapshot")
    return bool(snapshots) and snapshots[-1].data.get("found") == "catalogue"


def _check_order(checks: Iterable[CellCheck], moved: Mapping[int, int]) -> list[CellCheck]:
    checked = []
    for cell in checks:
        if cell.index is not None and cell.index in moved:
            place = f"in the document that was run, it is cell {moved[cell.index] + 1}"
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
            detail = "and it is not in the document that was run"
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
            return (
                (OUTPUT_ADDED, "an empty cell cannot have output")
                if cell.outputs
                else (ATTESTED, "")
            )
        shown = "but it shows output" if cell.outputs else ""
        return NEVER_RAN, shown or _claimed_status(cell, NOT_RUN)
    if cell.source != run.code:
        return EDITED, f"{first_difference(cell.source, run.code)} in the code that ran"
    if same_outputs(cell.outputs, run.outputs):
        claimed = _claimed_status(cell, run.status) or _claimed_count(cell, run)
        if claimed:
            return EDITED, claimed
        return ATTESTED, "" if run.status == DONE else f"the cell {_ENDED[run.status]}"
    missing, added = missing_and_added(cell.outputs, run.outputs)
    if missing and not added:
        state = OUTPUT_MISSING if run.status == DONE else SAVED_EARLY
        return state, f"{len(missing)} of the outputs that the journal contains"
    if added and not missing:
        return (
            OUTPUT_ADDED,
            f"{amounts.count(len(added), 'output')} that the journal does not contain",
        )
    if not added:
        return EDITED, "its outputs are not in the order in which they were recorded"
    difference = first_difference(_shown(added[0]), _shown(missing[0]))
    return EDITED, f"its output differs from the journal, {difference}".removesuffix(", ")


def _shown(output: Mapping[str, Any]) -> str:
    """Return the readable text of a cell output; the output must be in normal form."""
    data = output.get("data", {})
    return str(output.get("text") or output.get("evalue") or data.get("text/plain", ""))


def _claimed_status(cell: NotebookNode, status: str) -> str:
    """Return an error text if the cell's rbkernel metadata differs from this status; else empty."""
    recorded = cell.metadata.get("rbkernel")
    claimed = recorded.get("status", status) if isinstance(recorded, Mapping) else status
    return (
        "" if claimed == status else f"its metadata says {claimed}, but the journal says {status}"
    )


def _papermills_claim(cell: NotebookNode, status: str) -> str:
    """Describe papermill's wrong status of a failed cell: papermill misses a kernel's death."""
    claim = cell.metadata.get("papermill")
    claimed = claim.get("status") if isinstance(claim, Mapping) else None
    wrong = claimed in ("completed", DONE) and status != DONE and cell.source.strip()
    return f"papermill recorded {claimed}" if wrong else ""


def _claimed_count(cell: NotebookNode, run: CellRun) -> str:
    if run.execution_count is None or cell.execution_count in (None, run.execution_count):
        return ""  # papermill and JupyterLab lose the count of a cell whose kernel died
    return f"the journal has the execution count {run.execution_count}"


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
            detail="the journal records that this cell ran",
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
            detail="this cell never ran, but is in the document that was run",
        )
        for cell in matching.candidates(document)
        if cell.source not in known
        and (cell.cell_id is None or cell.cell_id not in ids)
        and INJECTED not in tags(document.cells[cell.index])  # papermill puts its own there
    ]
