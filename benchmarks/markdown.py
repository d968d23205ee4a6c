"""Tables of the pages that benchmarks write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Return a text that stays in its cell.

    >>> _cell("a | b")
    'a \\\\| b'
    """
    return " ".join(text.split()).replace("|", "\\|")
