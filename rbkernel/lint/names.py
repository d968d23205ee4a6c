"""Check the names of a notebook with pyflakes, which reads all cells as one module.

A ``%%sql`` cell is replaced by Python that uses its ``:name`` values and assigns its target.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterator

from pyflakes import checker, messages

from rbkernel.lint.cells import Cell, Code
from rbkernel.lint.document import Document, sql_values

_IPYTHON = frozenset({"display", "get_ipython", "In", "Out", "_", "__", "___", "exit", "quit"})


def into(code: Code) -> str:
    """Return the variable that ``%%sql … --into NAME`` assigns; empty if there is none.

    Errors in that line are reported when the cell runs.
    """
    words = [word for word in code.arguments.split() if word != "--untried"]
    return words[2] if len(words) == 3 and words[1] == "--into" and words[2].isidentifier() else ""


def unassigned(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield cell, line and name of each variable that is used before it is assigned."""
    texts = [_python(code) for code in document.codes]
    starts, line = [], 1
    for text in texts:
        starts.append(line)
        line += text.count("\n") + 1
    try:
        module = ast.parse("\n".join(texts))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for message in checker.Checker(module, builtins=_IPYTHON).messages:
        if isinstance(message, messages.UndefinedName | messages.UndefinedLocal):
            index = bisect_right(starts, message.lineno) - 1
            cell = document.codes[index].cell
            yield cell, message.lineno - starts[index] + 1, str(message.message_args[0])


def used(document: Document) -> set[str]:
    """Return all variables that the notebook reads, in Python or in SQL."""
    found: set[str] = set()
    for code in document.codes:
        for node in ast.walk(code.tree) if code.tree else ():
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
        if code.magic:
            found.update(code.arguments.split())
            found.update(name for name, _ in sql_values(code.body))
    return found


def _python(code: Code) -> str:
    """Return Python code with the same variables as the cell, on the same lines."""
    if code.magic == "sql":
        return _of_sql(code)
    return code.python if code.tree else "\n" * code.cell.source.count("\n")


def _of_sql(code: Code) -> str:
    lines = [""] + [""] * (code.cell.source.count("\n"))
    for name, line in sql_values(code.body):
        lines[line] += f"{name}; "
    if name := into(code):
        lines[-1] += f"{name} = None"
    return "\n".join(lines)
