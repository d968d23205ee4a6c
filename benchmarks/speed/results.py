"""Measured times as text: a table of medians and ratios, and a figure. Pure."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BAR_PX, _LEFT_PX, _ROW_PX, _WIDTH_PX = 380, 330, 30, 800


@dataclass(frozen=True)
class Series:
    """The seconds of one thing that was measured several times, in the order of the turns."""

    name: str
    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """The 95th percentile, in seconds; the longest time if there are fewer than 20."""
        return sorted(self.seconds)[-1 - len(self.seconds) // 20]

    def ratio(self, base: Series) -> float:
        """Return the median of the ratios to another series, turn by turn.

        The two were measured one after the other, so a slow moment of the machine counts for both.

        >>> Series("a", [1.0, 4.0, 3.0]).ratio(Series("b", [2.0, 4.0, 6.0]))
        0.5
        """
        pairs = zip(self.seconds, base.seconds, strict=True)
        return statistics.median(own / other for own, other in pairs)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(table(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|---|
    | x | 1 |
    """
    lines = [f"| {' | '.join(line)} |" for line in (head, *rows)]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join(lines)


def of_series(series: Sequence[Series], bases: Sequence[Series]) -> str:
    """Return the table of series: median, 95th percentile, and the ratio to each base."""
    head = ["", "median s", "p95 s", "p95 / median", *(f"ratio to {base.name}" for base in bases)]
    rows = [
        [
            one.name,
            f"{one.median:.2f}",
            f"{one.p95:.2f}",
            f"{one.p95 / one.median:.1f}",
            *(f"{one.ratio(base):.2f}" for base in bases),
        ]
        for one in series
    ]
    return table(head, rows)


def figure(title: str, values: Mapping[str, float], unit: str) -> str:
    """Return a bar chart as SVG: one bar for each value."""
    longest = max(values.values())
    height = 50 + _ROW_PX * len(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {height}"',
        f' width="{_WIDTH_PX}" height="{height}" font-family="sans-serif" font-size="14">',
        f'<rect width="{_WIDTH_PX}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="24" font-weight="bold" fill="#1f2328">{html.escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y = 40 + _ROW_PX * number
        width = max(1.0, _BAR_PX * value / longest)
        colour = "#0969da" if name.startswith("rbkernel") else "#8c959f"
        label = f'y="{y + 16}" fill="#1f2328"'
        parts += [
            f'<text x="{_LEFT_PX - 10}" text-anchor="end" {label}>{html.escape(name)}</text>',
            f'<rect x="{_LEFT_PX}" y="{y}" width="{width:.0f}" height="22" fill="{colour}"/>',
            f'<text x="{_LEFT_PX + width + 6:.0f}" {label}>{value:.2f} {unit}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
