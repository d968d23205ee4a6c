"""The cells of a notebook while an import builds them, with its front matter. Pure.

Cells have the order of the source. Consecutive texts share a cell; calls of one block share a cell
while it is short.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from rbkernel.importer import titles
from rbkernel.importer.cells import Cell, Went, plain_lines
from rbkernel.importer.cells import remark as as_remark
from rbkernel.importer.fields import Fields
from rbkernel.importer.reading import psql
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.reading.holes import Hole

# asks whether SQL only reads: empty when it does, else the reason
Refuses = Callable[[str], str]


class Page:
    """The cells of a notebook, its front matter, its parameters and its connections.

    ``label`` is the label of the next command, from the line above it, such as
    ``**Verification:**``.
    """

    def __init__(self, front_matter: Fields, refuses: Refuses) -> None:
        self.fields = front_matter
        self.refuses = refuses
        self.cells: list[Cell] = []
        self.parameters: dict[str, Hole] = {}
        self.options: list[str] = []
        self.connections = psql.Connections()
        self.titles = titles.Titles()
        self.label = ""
        self._called: set[str] = set()

    def text(
        self, block: Block, went: Went, text: str | None = None, *, opens: bool = False
    ) -> None:
        """Add text; it joins a Markdown cell directly before it, unless it opens a section."""
        source = textwrap.dedent(plain_lines(block.text if text is None else text)).strip("\n")
        if not source.strip():
            return
        last = self.cells[-1] if self.cells else None
        if last and last.kind == "markdown" and not opens:
            last.source += f"\n\n{source}"
        else:
            last = Cell(kind="markdown", source=source, line=block.start + 1, opens=opens)
            self.cells.append(last)
        if last not in went.cells:
            went.cells.append(last)

    def code(
        self, block: Block, went: Went, source: str, *, joins: bool = False, act: str = ""
    ) -> None:
        """Add a call; if ``joins`` is true, it joins the last cell of the same block."""
        last = self.cells[-1] if self.cells else None
        # an action joins no cell that reads: the decision stands between them
        fits = joins and last is not None and bool(not act or last.act)
        if fits and last and last in went.cells and last.takes(source):
            last.source += f"\n{source}"
            last.act = last.act or act
        else:
            last = Cell(kind="code", source=source, line=block.start + 1, act=act)
            self.cells.append(last)
            went.cells.append(last)
        went.executable()

    def say(self, went: Went, name: str, value: Any) -> None:
        """Set a field; if a list is refused as a whole, its valid items are set one by one."""
        if value in ("", [], None):
            return
        reason = self.fields.say(name, value)
        if reason and isinstance(value, list) and len(value) > 1:
            refused = [one for item in value if (one := self.fields.say(name, [item]))]
            if len(refused) < len(value):
                went.bound(name)
            went.reasons += refused
        elif reason:
            went.reasons += [] if reason.endswith("is set already") else [reason]
        else:
            went.bound(name)

    def once(self, block: Block, went: Went, call: str) -> None:
        """Add a call once per notebook, at the first block that needs it."""
        if call not in self._called:
            self._called.add(call)
            self.code(block, went, call)

    def remark(self, block: Block, went: Went, lines: Iterable[str]) -> None:
        """Add the comments of a fence as text."""
        self.text(block, went, as_remark(lines))

    def connection(self, went: Went, target: str) -> str:
        """Return the parameter that names the connection to a target."""
        name = self.connections.of(target)
        if name != "db":
            went.notes.append(f"{target}: the parameter {name} names its connection")
        return name

    def declare(self, found: Iterable[Hole]) -> list[Hole]:
        """Declare parameters for placeholders, and return the placeholders."""
        known = list(found)
        for hole in known:
            if hole.parameter:
                self.parameters.setdefault(hole.parameter, hole)
        return known
