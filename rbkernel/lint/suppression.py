"""Read suppressions: comments such as ``rbkernel: ignore RB303 because …`` in a cell.

Pure. A suppression applies to its cell. A suppression in the front matter's cell also applies to
problems of the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document

_SAID = re.compile(
    r"(?:\#|<!--)[^\n]*?\brbkernel:\s*ignore\s+(?P<codes>[A-Z]{2}\d{3}(?:[,\s]+[A-Z]{2}\d{3})*)"
    r"(?:[,\s]+because\s+(?P<reason>(?:(?!-->)[^\n])*\S))?"
)


@dataclass(frozen=True)
class Suppression:
    """A comment that suppresses rules."""

    line: int
    codes: tuple[str, ...]
    reason: str


def read(source: str) -> list[Suppression]:
    """Return the suppressions in the source of a cell.

    >>> read("# rbkernel: ignore RB303, RB304 because the table is long\\nx = 1")
    [Suppression(line=1, codes=('RB303', 'RB304'), reason='the table is long')]
    >>> read("words\\n<!-- rbkernel: ignore RB204 -->")
    [Suppression(line=2, codes=('RB204',), reason='')]
    """
    return [
        Suppression(
            source.count("\n", 0, found.start()) + 1,
            tuple(re.findall(r"[A-Z]{2}\d{3}", found["codes"])),
            (found["reason"] or "").strip(),
        )
        for found in _SAID.finditer(source)
    ]


def of(document: Document) -> Iterator[tuple[Cell, Suppression]]:
    """Yield all suppressions of a document with their cells."""
    for cell in document.cells:
        if "rbkernel:" in cell.source:
            for said in read(cell.source):
                yield cell, said


def suppressed(document: Document) -> set[tuple[int, str]]:
    """Return the suppressed (cell, code) pairs; cell 0 is the whole file."""
    found = {(cell.number, code) for cell, said in of(document) for code in said.codes}
    return found | {(0, code) for number, code in found if number == 1}
