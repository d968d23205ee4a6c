"""Find the changed cells of a sealed notebook: compare it with other files of the same run.

The module finds which cells of a changed notebook changed after the seal, and which cells of an
unchanged notebook were edited before the seal.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence import store
from rbkernel.evidence.attest import CellCheck, Verification, verify_notebook
from rbkernel.evidence.content import EXECUTED
from rbkernel.evidence.reading import read, snapshot_of

if TYPE_CHECKING:
    from nbformat import NotebookNode


def changed_cells(path: Path, intact: Collection[str]) -> list[tuple[str, str]] | None:
    """Return the cells that were changed in a sealed run's notebook after the seal.

    Parameters
    ----------
    path
        ``executed.ipynb`` or ``runbook.ipynb`` of a sealed run.
    intact
        The names of the run's files that are unchanged since the seal.

    Returns
    -------
    A list of (cell name, difference). The list is empty when only metadata or white space
    differs. The result is None when no intact file is left for the comparison.
    """
    executed = path.name == EXECUTED
    witness = store.JOURNAL if executed else EXECUTED
    if witness not in intact:
        return None
    try:
        notebook = documents.parse(path.read_bytes(), where=str(path))
    except (OSError, EvidenceError) as error:
        what = error.what if isinstance(error, EvidenceError) else str(error.strerror)
        return [("", f"was changed after the seal: {what}")]
    try:
        compare = _with_journal if executed else _with_executed
        return compare(notebook, path.parent)
    except (OSError, EvidenceError):
        return None  # sealed as it was, but never readable


def edited_before(folder: Path) -> list[tuple[str, str]]:
    """Return the cells that were edited before the seal: the run's journal does not attest them.

    Notebook and journal must be unchanged since the seal. Each entry is (cell name, difference).
    """
    path = folder / EXECUTED
    try:
        checked = _checked(documents.parse(path.read_bytes(), where=str(path)), folder)
    except (OSError, EvidenceError):
        return []  # sealed as it was, but never readable
    return [
        (cell.label, _words(cell, f"{cell.state}, before the seal")) for cell in checked.problems
    ]


def _with_journal(notebook: NotebookNode, folder: Path) -> list[tuple[str, str]]:
    checked = _checked(notebook, folder)
    return [(cell.label, _words(cell, cell.state)) for cell in checked.problems]


def _checked(notebook: NotebookNode, folder: Path) -> Verification:
    record = read(folder)
    return verify_notebook(notebook, record, snapshot_of(record))


def _words(cell: CellCheck, state: str) -> str:
    return f"{state}: {cell.detail}" if cell.detail else state


def _with_executed(document: NotebookNode, folder: Path) -> list[tuple[str, str]]:
    executed = documents.parse((folder / EXECUTED).read_bytes(), where=str(folder / EXECUTED))
    known = {(cell.cell_type, cell.source) for cell in executed.cells}
    return [
        (
            documents.label(index, cell.id, cell.source),
            f"differs from {EXECUTED}, which is unchanged",
        )
        for index, cell in enumerate(document.cells)
        if (cell.cell_type, cell.source) not in known and cell.source.strip()
    ]
