"""Split a notebook into cells, and parse code cells into magics, Python and commands. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

_CELL_MAGIC = re.compile(r"%%(\w+)[ \t]*([^\n]*)\n?")
_LINE_MAGIC = re.compile(r"^(?P<indent>\s*)(?:\w+\s*=\s*)?(?P<sign>[%!])(?P<text>[^=].*)$")
_CONTINUED = re.compile(r"^(\s*(?:\w+\s*=\s*)?[%!](?:[^\n]*\\\n)+[^\n]*)", re.MULTILINE)
_PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun"})
_SHELL_MAGICS = frozenset({"bash", "sh", "script", "system", "sx", "zsh"})


@dataclass(frozen=True)
class Cell:
    """One cell; `number` counts from 1."""

    number: int
    node: NotebookNode

    @property
    def id(self) -> str:
        """The cell's id; empty in notebooks of a format without ids."""
        return str(self.node.get("id", ""))

    @property
    def kind(self) -> str:
        """The cell's kind: code, markdown or raw."""
        return str(self.node.cell_type)

    @property
    def source(self) -> str:
        """The text of the cell."""
        return str(self.node.source)

    @property
    def tags(self) -> tuple[str, ...]:
        """The cell's tags."""
        return tuple(self.node.metadata.get("tags", ()))

    def line_of(self, pattern: str) -> int:
        """Return the number of the first line in the cell that matches; 1 if no line matches."""
        return next((n for n, line in self.lines if re.search(pattern, line)), 1)

    @property
    def lines(self) -> Iterator[tuple[int, str]]:
        """The cell's lines with their numbers."""
        return enumerate(self.source.splitlines(), 1)


@dataclass(frozen=True)
class Code:
    """A parsed code cell: its magic, its Python and its shell commands.

    The Python has no magics; each statement stays on its line.
    """

    cell: Cell
    magic: str
    arguments: str
    body: str
    python: str
    tree: ast.Module | None
    error: tuple[int, str] | None
    shell: tuple[tuple[int, str], ...]


def taken_apart(cell: Cell) -> Code:
    """Parse a code cell; if it is not valid Python, the result has an error instead of a tree."""
    magic, arguments, body = "", "", cell.source
    if found := _CELL_MAGIC.match(cell.source):
        magic, arguments, body = found[1], found[2], cell.source[found.end() :]
    if magic and magic not in _PYTHON_MAGICS:
        shell = ((2, body),) if magic in _SHELL_MAGICS else ()
        return Code(cell, magic, arguments, body, "", None, None, shell)
    text = f"\n{body}" if magic else body
    tree, error = _parse(text)
    commands: tuple[tuple[int, str], ...] = ()
    if error:
        text, commands = _without_magics(text)
        tree, error = _parse(text)
    return Code(cell, magic, arguments, body, text, tree, error, commands)


def _parse(text: str) -> tuple[ast.Module | None, tuple[int, str] | None]:
    try:
        return ast.parse(text), None
    except SyntaxError as error:
        return None, (error.lineno or 1, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        # NULs, and code nested too deeply for the parser's stack
        return None, (1, str(error) or "the code is nested too deep")


def _without_magics(text: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Replace IPython's `%magic` and `!command` by `pass`; return the text and the commands.

    >>> _without_magics("x = 1\\n!ls -l\\nfiles = !ls")
    ('x = 1\\npass\\nfiles = None', ((2, 'ls -l'), (3, 'ls')))
    >>> _without_magics("!ls " + chr(92) + "\\n-l")[1]
    ((1, 'ls   -l'),)
    """
    text = _CONTINUED.sub(
        lambda found: found[1].replace("\\\n", "  ") + "\n" * found[1].count("\n"), text
    )
    lines, shell = [], []
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE_MAGIC.match(line)
        if found is None:
            lines.append(re.sub(r"(\w)\?{1,2}$", r"\1", line))
            continue
        if found["sign"] == "!" or re.match(r"(?:sx|system)\b", found["text"]):
            shell.append((number, re.sub(r"^(?:!|sx\b|system\b)\s*", "", found["text"])))
        before = line[: found.start("sign")]
        lines.append(f"{before}None" if before.strip() else f"{found['indent']}pass")
    return "\n".join(lines), tuple(shell)
