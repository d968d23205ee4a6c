"""Fix problems that need no decision of the author (`lint --fix`). Pure, safe and idempotent.

All other source, comments and the order of other cells are unchanged. Problems that are suppressed
or whose rule is off are not fixed.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping

import nbformat
from nbformat import NotebookNode

from rbkernel import amounts
from rbkernel.lint import file, suppression
from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.lint.expressions import dotted
from rbkernel.lint.rule import RULES, Level
from rbkernel.runbook import frontmatter_text

_KERNELSPEC = {"display_name": "rbkernel (recorded)", "language": "python", "name": file.KERNEL}
_ROUNDS = 5


def fix(document: Document, levels: Mapping[str, Level]) -> tuple[Document, list[str]]:
    """Apply all corrections to a document that need no decision of the author.

    Returns
    -------
    tuple
        The corrected document (the same object if nothing changed), and the list of changes.
    """
    done: list[str] = []
    for _ in range(_ROUNDS):  # a newly tagged cell may then need to be moved
        mended, said = _once(document, levels)
        done += said
        if not said:
            break
        document = mended
    return document, done


def _once(document: Document, levels: Mapping[str, Level]) -> tuple[Document, list[str]]:
    notebook = copy.deepcopy(document.notebook)
    silenced = suppression.suppressed(document)
    done: list[str] = []
    for code, mend in _MENDERS.items():
        off = levels.get(code, RULES[code].level) is Level.OFF
        if not off and (0, code) not in silenced:
            kept = {cell for cell, silent in silenced if silent == code}
            done += mend(document, notebook, kept)
    raw = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    return Document(document.path, raw) if done else document, done


def _outputs(document: Document, notebook: NotebookNode, kept: set[int]) -> list[str]:
    count = 0
    for cell in document.cells:
        node = notebook.cells[cell.number - 1]
        if cell.kind == "code" and cell.number not in kept:
            count += bool(node.outputs or node.execution_count is not None)
            node.outputs, node.execution_count = [], None
    return [f"removed the outputs of {amounts.count(count, 'cell')}"] if count else []


def _leftovers(document: Document, notebook: NotebookNode, _kept: set[int]) -> list[str]:
    injected = [cell for cell in document.cells if "injected-parameters" in cell.tags]
    done = [f"removed cell {cell.number}, the values of an earlier run" for cell in injected]
    for cell in reversed(injected):
        del notebook.cells[cell.number - 1]
    if "papermill" in notebook.metadata:
        done.append("removed the metadata of an earlier run")
        for holder in [notebook, *notebook.cells]:
            holder.metadata.pop("papermill", None)
    return done


def _kernel(document: Document, notebook: NotebookNode, _kept: set[int]) -> list[str]:
    named = document.notebook.metadata.get("kernelspec", {})
    other = str(named.get("language") or "python").lower() != "python"
    if other or named.get("name", "") == file.KERNEL:
        return []
    notebook.metadata["kernelspec"] = dict(_KERNELSPEC)
    return ["set the kernel to rbkernel (recorded)"]


def _tag(document: Document, notebook: NotebookNode, _kept: set[int]) -> list[str]:
    """Tag the cell before `rb.start` that only declares parameters, if there is exactly one."""
    started = document.called("start")
    last = started[0].cell.number if started else len(document.cells) + 1
    meant = [
        code.cell
        for code in document.codes
        if code.cell.number < last and code.tree and _declares(code.tree)
    ]
    if document.parameter_cells or len(meant) != 1:
        return []
    metadata = notebook.cells[meant[0].number - 1].metadata
    metadata["tags"] = [*metadata.get("tags", ()), "parameters"]
    return [f"tagged cell {meant[0].number} `parameters`"]


def _declares(tree: ast.Module) -> bool:
    def scalar(node: ast.stmt) -> bool:
        return isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)

    return bool(tree.body) and all(map(scalar, tree.body))


def _ids(document: Document, _notebook: NotebookNode, kept: set[int]) -> list[str]:
    """Report the ids that cells got when the document was read."""
    anew = [found.cell for found in file.cell_ids(document) if found.cell not in kept]
    return [f"gave an id to cell {', '.join(map(str, anew))}"] if anew else []


def _order(document: Document, notebook: NotebookNode, _kept: set[int]) -> list[str]:
    if len(notebook.cells) != len(document.cells):
        return []  # a cell was just removed: wait for the next round
    first = document.cells[0].number if document.cells else 0
    misplaced = file.misplaced_front_matter(document)
    if len(misplaced) == 1 and frontmatter_text.of(document.notebook) is None:
        return [_move(notebook, misplaced[0], first, "front matter")]
    before = file.parameters_too_late(document)
    if before is None or len(document.parameter_cells) != 1:
        return []
    cell = document.parameter_cells[0]
    return [_move(notebook, cell, before.number, "parameters")] if _movable(document, cell) else []


def _movable(document: Document, cell: Cell) -> bool:
    """Tell whether the parameters cell can move up: no earlier code assigns a parameter."""
    declared = {
        dotted(node.target)
        for code in document.codes
        if code.cell.number == cell.number and code.tree and _declares(code.tree)
        for node in code.tree.body
        if isinstance(node, ast.AnnAssign)
    }
    given = {
        node.id
        for place, node in document.nodes(ast.Name)
        if place.number < cell.number and isinstance(node.ctx, ast.Store)
    }
    return bool(declared) and not declared & given


def _move(notebook: NotebookNode, cell: Cell, to: int, what: str) -> str:
    notebook.cells.insert(to - 1, notebook.cells.pop(cell.number - 1))
    return f"moved the {what} from cell {cell.number} to cell {to}"


_MENDERS: dict[str, Callable[[Document, NotebookNode, set[int]], list[str]]] = {
    "RB003": _outputs,
    "RB007": _kernel,
    "RB305": _tag,
    "RB006": _leftovers,
    "RB009": _ids,
    "RB008": _order,
}
