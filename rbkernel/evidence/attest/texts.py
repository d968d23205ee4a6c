"""Compare the Markdown and raw cells of a notebook with the snapshot of the document. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rbkernel.evidence.attest.result import ATTESTED, DIFFERS, EDITED, REMOVED, CellCheck
from rbkernel.evidence.notebook import first_difference, first_line, lasting_id
from rbkernel.evidence.rebuild import PAPERMILL_ERROR, tags

if TYPE_CHECKING:
    from nbformat import NotebookNode

_NOT_IN_DOCUMENT = "this cell is not in the document that was run"
_PAPERMILL_MARK = re.compile(
    r'<span (id="papermill-error-cell" )?style="[\w:; #,.\-\']*">'
    r"(Execution using papermill encountered an exception here and stopped:"
    r"|An Exception was encountered at '<a href=\"#papermill-error-cell\">In \[\w+\]</a>'\.)"
    r"</span>"
)


class Texts:
    """The snapshot's Markdown and raw cells, each to be paired with one cell of the notebook."""

    def __init__(self, document: NotebookNode | None, *, guessed: bool) -> None:
        self._guessed = guessed
        cells = document.cells if document else []
        self._cells: list[NotebookNode] = [cell for cell in cells if cell.cell_type != "code"]

    def check(self, index: int, cell: NotebookNode) -> CellCheck:
        """Compare a notebook cell with the matching snapshot cell, which is not used again."""
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
        """Return the snapshot's cells that have matched no cell of the notebook."""
        return [
            CellCheck(
                index=None,
                id=lasting_id(cell),
                first_line=first_line(cell.source),
                state=DIFFERS if self._guessed else REMOVED,
                detail="only the document has this cell"
                if self._guessed
                else "the document that was run has this cell",
                ok=self._guessed,
            )
            for cell in self._cells
            if cell.source.strip()
        ]

    def _state(self, cell: NotebookNode) -> tuple[str, str, bool]:
        if PAPERMILL_ERROR in tags(cell) and _PAPERMILL_MARK.fullmatch(cell.source):
            return ATTESTED, "inserted by papermill above the cell that failed", True
        same = self._take(cell)
        if same is None and not cell.source.strip():
            return ATTESTED, "", True
        if same is None:
            return self._differing(
                "the document has no such cell" if self._guessed else _NOT_IN_DOCUMENT
            )
        if cell.source != same.source:
            return self._differing(first_difference(cell.source, same.source))
        if cell.cell_type != same.cell_type:
            return self._differing(f"this was a {same.cell_type} cell in the document")
        return ATTESTED, "", True

    def _differing(self, detail: str) -> tuple[str, str, bool]:
        return DIFFERS if self._guessed else EDITED, detail, self._guessed

    def _take(self, cell: NotebookNode) -> NotebookNode | None:
        """Return and use up the snapshot's cell that matches this cell by id, else by source."""
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
