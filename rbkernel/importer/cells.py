"""A cell in the making, and where a block of the source went."""

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
    """A cell in the making; ``act`` is the option of the decision that its plans wait for."""

    kind: Literal["markdown", "code"]
    source: str
    line: int
    opens: bool = False
    act: str = ""
    id: str = ""

    def takes(self, source: str) -> bool:
        """Tell whether more code fits into this cell: a long one is not read."""
        plain = self.kind == "code" and not self.source.startswith("%%")
        return plain and (self.source + source).count("\n") + 2 <= _LINES


@dataclass
class Went:
    """Where a block went so far."""

    fate: Fate = "text"
    into: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def executable(self) -> None:
        """Something of it can be done."""
        if self.fate != "evaluated":
            self.fate = "executable"

    def evaluated(self) -> None:
        """A program judges what it states."""
        self.fate = "evaluated"

    def bound(self, name: str) -> None:
        """The front matter holds something of it."""
        self.into.append(name)
        if self.fate == "text":
            self.fate = "front matter"


def as_fence(block: Block) -> str:
    """Write a fence that closes, however the source closed it."""
    content = plain_lines(block.content).rstrip("\n")
    longest = max((len(mark) for mark in re.findall(r"`{3,}", content)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{block.info}\n{content}\n{mark}"


def plain_lines(text: str) -> str:
    """Return a text with the line ends that notebooks have."""
    return re.sub(r"\r\n?", "\n", text)


def unfolded(text: str) -> str:
    """Return HTML without one half of a fold.

    The other half lies in another cell, so what is folded away could not be opened.

    >>> unfolded("<details>\\n<summary>How</summary>")
    '\\n**How**'
    """
    if text.lower().count("<details") == text.lower().count("</details"):
        return text
    text = re.sub(r"</?details[^>]*>", "", text, flags=re.IGNORECASE)
    return re.sub(r"<summary[^>]*>(.*?)</summary>", r"**\1**", text, flags=re.IGNORECASE)


def with_breaks(text: str) -> str:
    """Return a paragraph that keeps its lines when it is shown."""
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
    """Write down where a block went; to be asked when the cells have their ids."""
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
    """Return what a checklist asks for: nested as it is, with its code, each once.

    A tick of the source is said, and is none of this run: there everybody begins with open boxes.
    """
    found = []
    for text, ticked, level in block.tasks:
        words = plaintext.plain(text, code=True)
        item = f"{words} (ticked in the source)" if ticked else words
        found.append("↳ " * level + item if words else "")
    return list(dict.fromkeys(filter(None, found)))
