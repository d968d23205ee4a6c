"""Prepare a notebook for lint: numbered cells and lines, code as trees, Markdown as blocks.

Pure except for `read`. Cells, and lines within a cell, count from 1. Each part is parsed at its
first use, because most rules need only some parts.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from rbkernel.errors import RunbookError, SqlTextError
from rbkernel.lint.cells import Cell, Code, taken_apart
from rbkernel.lint.expressions import dotted, is_built, literal
from rbkernel.lint.markdown import Block, Prose, blocks
from rbkernel.runbook import catalogue, frontmatter, parameters
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_text import Problem as FieldProblem
from rbkernel.runbook.parameters import Parameter
from rbkernel.sql import lexer

_Node = TypeVar("_Node", bound=ast.AST)
# JSON may contain half of a surrogate pair, which UTF-8 cannot encode
_HALF_CHARACTER = re.compile(rb"\\u[dD][89abAB]")
_STEP = re.compile(
    r"(?:step|schritt|étape|paso|passo|stap)\s+(?P<number>\d+)\s*[:.)–-]?\s*(?P<title>.*)",
    re.IGNORECASE,
)
# headings that belong to a step although they have the step's level
_PART = re.compile(
    r"(?:commands?|success criteria|expected|verif|if (?:it|this|that|not)|goal|notes?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Call:
    """A call of an `rb` function: ``rb.query`` is ``query``, ``rb.figure.of`` is ``figure.of``."""

    name: str
    node: ast.Call
    cell: Cell

    @property
    def line(self) -> int:
        """The line of the call within its cell."""
        return self.node.lineno

    def keyword(self, name: str) -> ast.expr | None:
        """The value of a keyword argument, or None."""
        return next((word.value for word in self.node.keywords if word.arg == name), None)


@dataclass(frozen=True)
class Statement:
    """SQL that a runbook sends to a database; its text is None if it is built at run time."""

    cell: Cell
    line: int
    text: str | None
    given: frozenset[str] | None
    built: bool = False


@dataclass(frozen=True)
class Step:
    """A heading `Step N`, and everything up to the next heading of its level."""

    number: int
    title: str
    cell: Cell
    line: int
    blocks: tuple[tuple[Cell, Block], ...]
    codes: tuple[Code, ...]

    @property
    def prose(self) -> list[tuple[Cell, Prose]]:
        """The step's lines of text; subheadings count as text."""
        return [(cell, line) for cell, block in self.blocks for line in block.prose]


class Document:
    """A notebook for lint; the rules in `rbkernel.lint.file` report problems of the file itself."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self.path = path
        self.raw = raw
        try:
            with warnings.catch_warnings():
                # missing or duplicate ids are replaced, and RB009 reports them
                warnings.simplefilter("ignore")
                self.notebook = catalogue.parse(raw)
            if _HALF_CHARACTER.search(raw):
                json.dumps(self.notebook, ensure_ascii=False).encode()
        except ValueError as error:
            half = isinstance(error, UnicodeEncodeError)
            raise RunbookError(
                "the notebook contains half of a surrogate pair (an incomplete character)"
                if half
                else str(error),
                where=str(path),
                next_step="open the notebook in JupyterLab, or restore it from version control",
            ) from error
        self.cells = [Cell(n, node) for n, node in enumerate(self.notebook.cells, 1)]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a notebook file for lint.

        Raises
        ------
        RunbookError
            The file cannot be read, or is not a notebook.
        """
        try:
            return cls(path, path.read_bytes())
        except OSError as error:
            raise RunbookError(
                f"the runbook cannot be read: {error.strerror}",
                where=str(path),
                next_step="check the path and its permissions",
            ) from error

    @cached_property
    def text(self) -> str:
        """The sources of all cells as one text, for a fast search."""
        return "\n".join(cell.source for cell in self.cells)

    @cached_property
    def examined(self) -> tuple[FrontMatter | None, list[FieldProblem]]:
        """The front matter of the notebook, and the problems in it."""
        return frontmatter.examine(self.notebook)

    @property
    def front(self) -> FrontMatter | None:
        """The front matter; None if it is missing or invalid."""
        return self.examined[0]

    @cached_property
    def is_template(self) -> bool:
        """Whether the document is a template to fill in, even if its front matter is invalid."""
        said = self.cells[0].source if self.cells else ""
        return re.search(r"^id:\s*TEMPLATE", said, re.MULTILINE) is not None

    def field_line(self, name: str) -> int:
        """Return the line of a front matter field in the first cell; 1 if the field is missing."""
        return self.cells[0].line_of(rf"^{re.escape(name.split('.')[0])}\s*:") if self.cells else 1

    @cached_property
    def codes(self) -> list[Code]:
        """The parsed code cells."""
        return [taken_apart(cell) for cell in self.cells if cell.kind == "code"]

    @cached_property
    def _nodes(self) -> dict[type[ast.AST], list[tuple[Cell, Any]]]:
        found: dict[type[ast.AST], list[tuple[Cell, Any]]] = {}
        for code in self.codes:
            for node in ast.walk(code.tree) if code.tree else ():
                found.setdefault(type(node), []).append((code.cell, node))
        return found

    def nodes(self, kind: type[_Node]) -> Iterator[tuple[Cell, _Node]]:
        """Yield all syntax tree nodes of a type in the code cells, each with its cell."""
        for type_, nodes in self._nodes.items():
            if issubclass(type_, kind):
                yield from nodes

    @cached_property
    def blocks(self) -> list[tuple[Cell, Block]]:
        """The Markdown blocks of all cells, in order, each with its cell."""
        texts = (cell for cell in self.cells if cell.kind == "markdown")
        return [(cell, block) for cell in texts for block in blocks(cell.source)]

    @cached_property
    def calls(self) -> list[Call]:
        """All calls of `rb` functions, in order."""
        found = [
            Call(name.partition(".")[2], node, cell)
            for cell, node in self.nodes(ast.Call)
            if (name := dotted(node.func)).startswith(("rb.", "rbkernel."))
        ]
        return sorted(found, key=lambda c: (c.cell.number, c.line, c.node.col_offset))

    def called(self, *names: str) -> list[Call]:
        """Return the calls of the `rb` functions with these names, in order."""
        return [call for call in self.calls if call.name in names]

    @cached_property
    def parameter_cells(self) -> list[Cell]:
        """The cells tagged `parameters`."""
        return [cell for cell in self.cells if "parameters" in cell.tags]

    @cached_property
    def declared(self) -> tuple[dict[str, Parameter], RunbookError | None]:
        """The declared parameters by name, and the error if the declaration is invalid."""
        if len(self.parameter_cells) != 1:
            return {}, None
        try:
            return parameters.declared(self.notebook, ""), None
        except RunbookError as error:
            return {}, error

    @cached_property
    def imported(self) -> dict[str, str]:
        """The full name of each imported name: `sp` → `subprocess`, `run` → `subprocess.run`."""
        found: dict[str, str] = {}
        for _, node in self.nodes(ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        for _, origin in self.nodes(ast.ImportFrom):
            for alias in origin.names:
                found[alias.asname or alias.name] = f"{origin.module}.{alias.name}"
        return found

    @cached_property
    def assigned(self) -> dict[str, list[ast.expr]]:
        """The assigned expressions of each name."""
        found: dict[str, list[ast.expr]] = {}
        for _, node in self.nodes(ast.stmt):
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        for _, added in self.nodes(ast.AugAssign):
            if isinstance(added.target, ast.Name):
                # `sql += part` is text built at run time, whatever its first value
                built = ast.BinOp(ast.Name("_"), added.op, added.value)
                found.setdefault(added.target.id, []).append(built)
        return found

    def values(self, node: ast.expr) -> list[ast.expr]:
        """Return the possible values of an expression: itself, or what is assigned to its name."""
        return self.assigned.get(node.id, []) if isinstance(node, ast.Name) else [node]

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of the runbook, in order."""
        return list(_steps(self))


def statements(document: Document) -> Iterator[Statement]:
    """Yield the SQL of ``%%sql`` cells and of ``rb.query``, without names of diagnostics."""
    for code in document.codes:
        if code.magic == "sql":
            yield Statement(code.cell, 2, code.body, None)
    for call in document.called("query"):
        what = call.node.args[0] if call.node.args else call.keyword("what")
        open_ended = any(word.arg is None for word in call.node.keywords)
        given = frozenset(word.arg for word in call.node.keywords if word.arg)
        for value in document.values(what) if what is not None else ():
            text = literal(value)
            if text is None and not is_built(value):
                continue
            if text is None or len(text.split()) > 1:
                line = getattr(what, "lineno", call.line)
                keywords = None if open_ended else given
                yield Statement(call.cell, line, text, keywords, built=text is None)


def sql_values(sql: str) -> list[tuple[str, int]]:
    """Return the ``:name`` values in SQL with their lines; none if a quotation is not closed.

    >>> sql_values("SELECT ':a'\\nWHERE b = :b")
    [('b', 2)]
    """
    try:
        tokens = lexer.tokens(sql)
    except SqlTextError:
        return []
    found, line = [], 1
    for kind, text in tokens:
        if kind == "parameter":
            found.append((text[1:], line))
        line += text.count("\n")
    return found


def _steps(document: Document) -> Iterator[Step]:
    headings = [
        (cell, block, found)
        for cell, block in document.blocks
        if block.kind == "heading" and (found := _STEP.match(block.text))
    ]
    for cell, block, found in headings:
        after = [
            other
            for other in document.blocks
            if (other[0].number, other[1].line) > (cell.number, block.line)
        ]
        end = next((other for other in after if _ends(block, other[1])), None)
        last = (end[0].number, end[1].line) if end else (len(document.cells) + 1, 0)
        inside = tuple(o for o in after if (o[0].number, o[1].line) < last)
        codes = tuple(c for c in document.codes if cell.number < c.cell.number < last[0])
        yield Step(int(found["number"]), found["title"], cell, block.line, inside, codes)


def _ends(step: Block, other: Block) -> bool:
    """Tell whether a heading ends the step that an earlier heading began."""
    if other.kind != "heading" or other.level > step.level:
        return False
    return other.level < step.level or _PART.match(other.text) is None
