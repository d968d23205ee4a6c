"""The cells of one notebook as they are made: text, code, and what the front matter holds. Pure.

Ordering: cells come in the order of the source. Text joins the text before it; calls of one block
share a cell while it is short.
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
    """The cells of one notebook, its front matter, and what they need.

    ``label`` is what the line above says of the next command, such as ``**Verification:**``.
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
        """Add text; it joins a Markdown cell before it, but for a heading that opens a section."""
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
        """Add a call; it joins the last cell of the same block where ``joins`` is true."""
        last = self.cells[-1] if self.cells else None
        if joins and last and last in went.cells and last.takes(source):
            last.source += f"\n{source}"
            last.act = last.act or act
        else:
            last = Cell(kind="code", source=source, line=block.start + 1, act=act)
            self.cells.append(last)
            went.cells.append(last)
        went.executable()

    def say(self, went: Went, name: str, value: Any) -> None:
        """Bind a value; of a list that is refused as a whole, each item that is not."""
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
        """Make a call that looks at all of a field, where the source speaks of it first."""
        if call not in self._called:
            self._called.add(call)
            self.code(block, went, call)

    def remark(self, block: Block, went: Went, lines: Iterable[str]) -> None:
        """Add the comments of a fence as text."""
        self.text(block, went, as_remark(lines))

    def connection(self, went: Went, target: str) -> str:
        """Return the parameter that carries a target's connection."""
        name = self.connections.of(target)
        if name != "db":
            went.notes.append(f"{target}: the parameter {name} names its connection")
        return name

    def declare(self, found: Iterable[Hole]) -> list[Hole]:
        """Declare the parameters of placeholders."""
        known = list(found)
        for hole in known:
            if hole.parameter:
                self.parameters.setdefault(hole.parameter, hole)
        return known
