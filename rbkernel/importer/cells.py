"""A notebook cell during the import, and the record of where each source block went."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from rbkernel.importer.reading import plaintext
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.report import Entry, Fate

# lint asks for cells that are no longer
_LINES = 25


@dataclass
class Cell:
    """A cell of the notebook that the import is building.

    ``act`` is the option of the decision that a human must choose before the cell's `rb.act` calls
    propose their changes; empty if the cell has no such call.
    """

    kind: Literal["markdown", "code"]
    source: str
    line: int
    opens: bool = False
    act: str = ""
    id: str = ""

    def takes(self, source: str) -> bool:
        """Tell whether more code fits into this code cell without making it too long."""
        plain = self.kind == "code" and not self.source.startswith("%%")
        return plain and (self.source + source).count("\n") + 2 <= _LINES


@dataclass
class Went:
    """Where a source block went so far: its cells and front matter fields, and the reasons."""

    fate: Fate = "text"
    into: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def executable(self) -> None:
        """Record that the notebook has an executable cell for this block."""
        if self.fate != "evaluated":
            self.fate = "executable"

    def evaluated(self) -> None:
        """Record that a program evaluates what this block states."""
        self.fate = "evaluated"

    def bound(self, name: str) -> None:
        """Record that a front matter field holds content of this block."""
        self.into.append(name)
        if self.fate == "text":
            self.fate = "front matter"


def as_fence(block: Block) -> str:
    """Return a block as a fence that is closed correctly, even if the source does not close it."""
    content = plain_lines(block.content).rstrip("\n")
    longest = max((len(mark) for mark in re.findall(r"`{3,}", content)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{block.info}\n{content}\n{mark}"


def plain_lines(text: str) -> str:
    """Return a text with the line ends of notebooks (LF)."""
    return re.sub(r"\r\n?", "\n", text)


def unfolded(text: str) -> str:
    """Return HTML without the opening or closing tag of a fold if the matching tag is missing.

    The matching tag is in another cell, so a reader could not unfold the text.

    >>> unfolded("<details>\\n<summary>How</summary>")
    '\\n**How**'
    """
    if text.lower().count("<details") == text.lower().count("</details"):
        return text
    text = re.sub(r"</?details[^>]*>", "", text, flags=re.IGNORECASE)
    return re.sub(r"<summary[^>]*>(.*?)</summary>", r"**\1**", text, flags=re.IGNORECASE)


def with_breaks(text: str) -> str:
    """Return a paragraph with hard line breaks, so that rendering keeps its lines separate."""
    return re.sub(r"(?<=\S)[ \t]*(?=\r?\n\s*\S)", "  ", text)


def remark(lines: Iterable[str]) -> str:
    """Return the comments of a shell fence as Markdown: a sentence, or a fence for several lines.

    >>> remark(["Look first", ""]), remark(["Expected", "{}"])
    ('Look first', '```text\\nExpected\\n{}\\n```')
    """
    filled = [line for line in lines if line.strip()]
    if len(filled) > 1 and not any(line.startswith(("`", "‹")) for line in filled):
        return "\n".join(["```text", *filled, "```"])
    return "\n\n".join(filled)


def entry(block: Block, went: Went) -> Entry:
    """Return the report's entry for a block; call this after the cells have got their ids."""
    ids = (cell.id for cell in went.cells if cell.id)
    return Entry(
        first=block.start + 1,
        last=block.end,
        kind=block.kind,
        fate=went.fate,
        into=tuple(dict.fromkeys([*ids, *went.into])),
        reason="; ".join(dict.fromkeys(went.reasons)),
        note="; ".join(dict.fromkeys(went.notes)),
        text=block.text,
        secrets=block.secrets,
    )


def tasks(block: Block) -> list[str]:
    """Return the items of a checklist without duplicates: nesting and code spans are kept.

    An item that is ticked in the source is marked as such, but each run begins with unticked items.
    """
    found = []
    for text, ticked, level in block.tasks:
        words = plaintext.plain(text, code=True)
        item = f"{words} (ticked in the source)" if ticked else words
        found.append("↳ " * level + item if words else "")
    return list(dict.fromkeys(filter(None, found)))
