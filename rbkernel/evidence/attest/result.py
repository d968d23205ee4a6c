"""The results of comparing a notebook with its journal: one for each cell, and a total."""

from __future__ import annotations

from dataclasses import dataclass

from rbkernel.evidence.notebook import label
from rbkernel.evidence.unreadable import Unreadable

ATTESTED = "attested"
EDITED = "edited after the run"
NEVER_RAN = "never ran"
OUTPUT_MISSING = "output missing"
SAVED_EARLY = "saved before its last output"
OUTPUT_ADDED = "output added"
REMOVED = "removed from the notebook"
MOVED = "moved"
DIFFERS = "differs from the document in the catalogue"


@dataclass(frozen=True, kw_only=True)
class CellCheck:
    """The result of comparing one cell of the notebook with the journal.

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
        """The name of the cell in messages; the first cell is cell 1."""
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
        """Whether the journal attests everything in the notebook, and has no lost line."""
        lost = any(one.lost for one in self.unreadable)
        return not lost and all(cell.ok for cell in self.cells)

    @property
    def problems(self) -> tuple[CellCheck, ...]:
        """Return the cells that differ from the journal."""
        return tuple(cell for cell in self.cells if not cell.ok)

    @property
    def count(self) -> str:
        """A text that says how many of the notebook's cells the journal attests."""
        there = [cell for cell in self.cells if cell.index is not None]
        attested = sum(cell.state == ATTESTED for cell in there)
        return f"{attested} of {len(there)} cells attested"
