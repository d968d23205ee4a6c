"""Format a runbook as text of 80 columns, to read in a terminal before it is opened. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rbkernel.runbook import digest
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.digest import Table

WIDTH = 80
_LABEL = 18
# fields shown as one line each, above the sections
_BRIEF = (
    "service",
    "on_call",
    "response_time",
    "slo",
    "last_tested",
    "testing_schedule",
    "drill_result",
    "linked_ids",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A heading of the document, and the text below the heading."""

    heading: str
    text: str


def steps(runbook: Runbook) -> list[Step]:
    """Return the sections of the document, in order; the level 1 heading is not a section."""
    found: list[Step] = []
    for text in runbook.prose:
        for part in re.split(r"(?m)^(?=##+ )", text):
            heading, _, body = part.partition("\n")
            if heading.startswith("##"):
                found.append(Step(heading=heading.lstrip("# ").strip(), text=body.strip()))
    return found


def text(runbook: Runbook) -> str:
    """Return a runbook as plain text, with lines of at most 80 columns."""
    front = runbook.front_matter
    lines = [
        f"{front.id}: {front.title}",
        "=" * min(WIDTH, len(front.id) + 2 + len(front.title)),
        "",
    ]
    lines += [*_wrapped(front.summary), ""]
    about = {
        "severity": front.severity,
        "category": front.category or "",
        "owner": front.owner,
        **{name.replace("_", " "): digest.words(getattr(front, name)) for name in _BRIEF},
        "placeholders": f"{len(runbook.placeholders)} to fill in" if runbook.placeholders else "",
        "notebook": str(runbook.path),
    }
    lines += [line for name, value in about.items() if value for line in _pair(name, value)]
    brief = {name.replace("_", " ") for name in _BRIEF}
    for table in (one for one in digest.tables(front) if one.heading not in brief):
        lines += ["", table.heading.upper(), *_rows(table)]
    lines += [
        "",
        "STEPS",
        *(line for one in steps(runbook) for line in _wrapped(one.heading, "- ")),
    ]
    lines += ["", "PARAMETERS", *_parameters(runbook)]
    return _printable("\n".join(lines))


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        if not table.names:
            yield from _wrapped(row[0], "- ")
        elif not any(table.names):
            yield from _pair(*row)
        else:
            filled = [(name, cell) for name, cell in zip(table.names, row, strict=True) if cell]
            first, *rest = filled or [("", "")]
            yield from _wrapped(first[1], "- ")
            for name, cell in rest:
                yield from _wrapped(f"{name}: {cell}", "  ")


def _pair(name: str, value: str) -> list[str]:
    return _wrapped(value, f"{name + ':':{_LABEL}} ")


def _parameters(runbook: Runbook) -> Iterator[str]:
    for one in runbook.parameters.values():
        yield from _wrapped(f"{one.name}: {one.annotation} = {one.default!r}", "- ")
        if one.help:
            yield from _wrapped(one.help, "    ")


def _wrapped(words: str, first: str = "") -> list[str]:
    """Wrap a text into lines of at most 80 columns; the first line gets a prefix.

    >>> _wrapped("a b", "- ")
    ['- a b']
    """
    return textwrap.wrap(
        " ".join(words.split()),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _printable(words: str) -> str:
    """Remove control characters, which could move a terminal's cursor.

    >>> _printable("a\\x1b[2Jb\\nc")
    'a[2Jb\\nc'
    """
    return "".join(char for char in words if char == "\n" or char.isprintable())
