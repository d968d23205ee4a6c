"""Draw a grid of judged fields as SVG: one row for each name, with a bar. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's palette, safe for common colour vision deficiencies; the sign says it, too
_FIELDS = {True: ("#009e73", "yes"), False: ("#d55e00", "no"), None: ("#e6e6e6", "unknown")}
_BAR = "#0969da"
_LEFT_PX, _BAR_PX, _FIELD_PX, _ROW_PX, _TOP_PX = 300, 160, 150, 30, 70
_LONGEST = 42


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a grid: its name, the number that its bar shows, and its fields.

    A field is whether a criterion is met, None if that is unknown, and the reason.
    """

    name: str
    number: int
    fields: Sequence[tuple[bool | None, str]]


def svg(title: str, counted: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a grid as SVG.

    Parameters
    ----------
    title
        The headline.
    counted
        What the bars count.
    columns
        The names of the fields of each row.
    rows
        The rows, from top to bottom.
    """
    left = _LEFT_PX + _BAR_PX + 50
    width, height = left + _FIELD_PX * len(columns), _TOP_PX + _ROW_PX * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(10, 24, title, 'font-weight="bold" font-size="15"'),
        _text(_LEFT_PX, 56, counted),
        *(_text(left + _FIELD_PX * at + 4, 56, name) for at, name in enumerate(columns)),
    ]
    most = max((row.number for row in rows), default=0) or 1
    for place, row in enumerate(rows):
        y = _TOP_PX + _ROW_PX * place
        bar = _BAR_PX * row.number / most
        name = row.name if len(row.name) <= _LONGEST else f"{row.name[: _LONGEST - 1]}…"
        parts += [
            _text(10, y + 18, name),
            f'<rect x="{_LEFT_PX}" y="{y + 4}" width="{bar:.0f}" height="18" fill="{_BAR}"/>',
            _text(round(_LEFT_PX + bar + 6), y + 18, f"{row.number}"),
        ]
        for at, (met, why) in enumerate(row.fields):
            x, (colour, word) = left + _FIELD_PX * at, _FIELDS[met]
            parts += [
                f"<g><title>{html.escape(why)}</title>",
                f'<rect x="{x}" y="{y + 2}" width="{_FIELD_PX - 6}" height="22" fill="{colour}"/>',
                _text(x + 8, y + 18, word),
                "</g>",
            ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: int, y: int, words: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="#1f2328" {more}>{html.escape(words)}</text>'
