"""RB3: code that runs from top to bottom without an error."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rbkernel.lint import names
from rbkernel.lint.document import Document
from rbkernel.lint.expressions import dotted
from rbkernel.lint.rule import Found, Level, in_cell, rule

LONGEST_CELL = 25
LONGEST_FUNCTION = 8
_ENDINGS = frozenset({"exit", "quit", "sys.exit", "os._exit"})


@rule("RB301", "name-before-assignment", Level.ERROR, "complete")
def undefined(document: Document) -> Iterator[Found]:
    """A name is used before an earlier cell has assigned it.

    This includes the `:name` values of `%%sql`. `%%sql --into` counts as an assignment.

    Why: the cell worked for its author, whose kernel still knew the name; in a new kernel it fails.

    Instead: assign the name in an earlier cell, or move the cell.
    """
    for cell, line, name in names.unassigned(document):
        yield in_cell(
            cell,
            line,
            f"{name} is used before a value is assigned to it",
            "assign the value in an earlier cell",
        )


@rule("RB302", "not-python", Level.ERROR, "complete")
def syntax(document: Document) -> Iterator[Found]:
    """A code cell is not valid Python.

    Why: the run stops at this cell.

    Instead: correct the line, or move the text into a Markdown cell as a code block.
    """
    for code in document.codes:
        if code.error:
            line, said = code.error
            yield in_cell(code.cell, line, f"invalid Python: {said}", "correct that line")


@rule("RB303", "long-cell", Level.WARNING, "actionable")
def long_cell(document: Document) -> Iterator[Found]:
    """A code cell is longer than 25 lines.

    Why: nobody reads a long cell during an incident, and one error stops the whole cell.

    Instead: split the cell, or put the code into a library that the runbook imports.
    """
    for code in document.codes:
        count = len([line for _, line in code.cell.lines if line.strip()])
        if count > LONGEST_CELL:
            message = f"the cell has {count} lines of code"
            yield in_cell(code.cell, 1, message, f"split it into cells of {LONGEST_CELL} or less")


@rule("RB304", "pasted-library", Level.WARNING, "maintained")
def pasted(document: Document) -> Iterator[Found]:
    """A cell defines a class, or a function of more than a few lines.

    Why: a fix to code that is copied into notebooks never reaches all of them.

    Instead: move the code into a package that the team installs, and import it.
    """
    for cell, node in document.nodes(ast.stmt):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if isinstance(node, ast.ClassDef) or length > LONGEST_FUNCTION:
            message = f"{node.name} is a class, or a long function: that is library code"
            yield in_cell(cell, node.lineno, message, "move it into a package, and import it")


@rule("RB315", "waits-or-ends", Level.ERROR, "complete")
def waits(document: Document) -> Iterator[Found]:
    """A cell asks for input, ends the kernel, or never ends.

    Why: headless, nobody answers `input()`; papermill treats `sys.exit()` as success; `while True`
    holds the run for ever.

    Instead: ask with `rb.decide`, which parks the question if nobody can answer; report what is
    wrong as a finding; query n times with `rb.sample`.
    """
    for cell, call in document.nodes(ast.Call):
        if (said := dotted(call.func)) == "input":
            yield in_cell(cell, call.lineno, "input() waits for ever", "ask with rb.decide")
        elif said in _ENDINGS:
            yield in_cell(cell, call.lineno, f"{said}() ends the kernel", _FINDING)
    for cell, raised in document.nodes(ast.Raise):
        kind = raised.exc.func if isinstance(raised.exc, ast.Call) else raised.exc
        if kind is not None and dotted(kind) in {"SystemExit", "KeyboardInterrupt"}:
            yield in_cell(cell, raised.lineno, "the cell ends the kernel", _FINDING)
    for cell, loop in document.nodes(ast.While):
        if _endless(loop):
            yield in_cell(
                cell,
                loop.lineno,
                "this loop may never end",
                "use rb.sample, which takes a fixed number of samples",
            )


_FINDING = "report the problem with rb.check instead"


@rule("RB316", "error-swallowed", Level.WARNING, "verifiable")
def swallowed(document: Document) -> Iterator[Found]:
    """A cell catches errors of every kind and ignores them.

    Why: a check that failed to run looks as if its result were ok.

    Instead: let the error raise. A server that does not answer already gives `unknown`.
    """
    for cell, node in document.nodes(ast.ExceptHandler):
        broad = node.type is None or dotted(node.type) in {"Exception", "BaseException"}
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            yield in_cell(
                cell,
                node.lineno,
                "errors of every kind are caught here",
                "let the error raise, or catch one kind",
            )


def _endless(node: ast.While) -> bool:
    always = isinstance(node.test, ast.Constant) and bool(node.test.value)
    return always and not any(isinstance(n, ast.Break | ast.Return) for n in ast.walk(node))
