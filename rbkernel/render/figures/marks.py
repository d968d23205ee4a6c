"""Draw marks at positions in a range, a row of marks per kind. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbkernel.render.figures import scales, shapes
from rbkernel.render.figures.palette import SERIES
from rbkernel.render.figures.scales import Axis
from rbkernel.render.figures.shapes import SMALL, WIDTH

#: so many rows of marks are drawn
MOST = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """Marks of one kind, at their positions."""

    name: str
    positions: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Rows of marks from ``low`` to ``high``; ``ends`` are the words at both ends of the axis."""

    title: str
    words: str
    rows: Sequence[Row]
    low: float
    high: float
    ends: tuple[str, str]
    rest: str = ""


def draw(figure: Marks) -> str:
    """Return the picture of rows of marks as SVG."""
    drawn, top = shapes.headline(figure.title)
    across = Axis(low=figure.low, high=figure.high, start=14, end=WIDTH - 14)
    y = top + 4
    for index, row in enumerate(figure.rows):
        drawn += _row(row, index, y, across)
        y += 42
    drawn += [
        shapes.text(12, y + 10, shapes.cut(figure.ends[0], 220, SMALL), size=SMALL, tone="faint"),
        shapes.text(
            WIDTH - 12, y + 10, shapes.cut(figure.ends[1], 220, SMALL), size=SMALL,
            anchor="end", tone="faint",
        ),
    ]  # fmt: skip
    rest, height = shapes.notes(figure.rest, y + 14)
    return shapes.picture(
        [*drawn, *rest], height=y + 22 + height, title=figure.title, words=figure.words
    )


def _row(row: Row, index: int, y: float, across: Axis) -> Iterator[str]:
    known = scales.finite(row.positions)
    tone = SERIES[index % len(SERIES)]
    counted = f"{len(row.positions):,}"
    room = WIDTH - 40 - shapes.width_of(counted)
    yield shapes.text(12, y + 12, shapes.cut(row.name, room))
    yield shapes.text(WIDTH - 12, y + 12, counted, anchor="end", bold=True)
    yield shapes.rect(12, y + 17, WIDTH - 24, 16, "shade")
    # marks closer than a pixel are one
    for x in sorted({round(across.place(one)) for one in known}):
        yield shapes.rect(x - 1, y + 17, 2, 16, tone)
