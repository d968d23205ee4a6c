"""Lay out a table as lines: one line for each row, and no id is ever cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size

from rbkernel.model import INCIDENT_ID, RUN_ID

_GAP = 2
# only longer cells are cut, and this much of them stays: half a date says nothing
_LEAST = 16


def table(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """Return a table as lines, the header first.

    Parameters
    ----------
    names
        The header.
    rows
        The cells, each one line of text.
    width
        The width of the terminal in characters; None for no limit. If the table is wider, empty
        columns are left out, then the last ones, and a last line says so; then the widest are cut.
        The first column, ids and short cells are always whole.

    >>> rows = [("INC-20261120-7f3a", "open", "Replay is paused on sandbox-standby", "")]
    >>> names = ("incident", "state", "title", "update")
    >>> print("\\n".join(table(names, rows, 44)))
    incident           state  title
    INC-20261120-7f3a  open   Replay is paused …
    >>> print("\\n".join(table(names, rows, 24)))
    incident           state
    INC-20261120-7f3a  open
    (left out: title; a wider terminal or --json shows them)
    """
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(names)]
    if width is None or _total(map(_widest, columns)) <= width:
        return _lines(columns, [_widest(one) for one in columns])
    # a column without a value says nothing
    columns = [one for at, one in enumerate(columns) if at == 0 or any(one[1:])]
    left_out: list[str] = []
    while _total(_least(columns)) > width and (last := _last(columns)):
        left_out.insert(0, columns.pop(last)[0])
    widths, least = list(map(_widest, columns)), _least(columns)
    cut = [at for at in range(1, len(columns)) if widths[at] > least[at]]
    while cut and _total(widths) > width:
        widths[max(cut, key=lambda at: widths[at])] -= 1
        cut = [at for at in cut if widths[at] > least[at]]
    lines = _lines(columns, widths)
    if left_out:
        lines.append(f"(left out: {', '.join(left_out)}; a wider terminal or --json shows them)")
    return lines


def _last(columns: Sequence[Sequence[str]]) -> int:
    """Return the place of the last column without ids; 0 if there is none but the first."""
    return max((at for at in range(1, len(columns)) if not _has_ids(columns[at])), default=0)


def _has_ids(column: Sequence[str]) -> bool:
    return any(INCIDENT_ID.fullmatch(cell) or RUN_ID.fullmatch(cell) for cell in column)


def _widest(column: Sequence[str]) -> int:
    return max(map(cell_len, column))


def _least(columns: Sequence[Sequence[str]]) -> list[int]:
    """Return the least width of each column; the first and those with ids are whole."""
    return [
        _widest(one) if at == 0 or _has_ids(one) else min(_widest(one), _LEAST)
        for at, one in enumerate(columns)
    ]


def _total(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + _GAP * (len(every) - 1)


def _lines(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    gap = " " * _GAP
    return [gap.join(map(_fitted, row, widths)).rstrip() for row in zip(*columns, strict=True)]


def _fitted(cell: str, width: int) -> str:
    cut = f"{set_cell_size(cell, width - 1)}…" if cell_len(cell) > width else cell
    return set_cell_size(cut, width)
