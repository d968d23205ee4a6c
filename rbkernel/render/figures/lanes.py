"""Draw what happened in lanes over one axis of time: spans, and marks of moments. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rbkernel.render.figures import scales, shapes
from rbkernel.render.figures.scales import Axis
from rbkernel.render.figures.shapes import SMALL, WIDTH

_LEFT, _RIGHT, _LANE = 92, 14, 26


@dataclass(frozen=True, kw_only=True)
class Span:
    """From a moment to another, in s since 1970; a moment if ``end`` is None.

    ``tone`` is a colour of `palette`, and ``words`` say what it is.
    """

    begin: float
    words: str
    tone: str = "open"
    end: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A kind of event, and its events."""

    name: str
    spans: Sequence[Span]


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """Lanes over time; lanes without an event are left out."""

    title: str
    words: str
    lanes: Sequence[Lane]


def draw(lanes: Lanes) -> str:
    """Return the picture of lanes as SVG."""
    drawn, top = shapes.headline(lanes.title)
    shown = [lane for lane in lanes.lanes if lane.spans]
    ends = [at for lane in shown for one in lane.spans for at in (one.begin, one.end or one.begin)]
    low, high = scales.span(ends, zero=False)
    across = Axis(low=low, high=high, start=_LEFT + 6, end=WIDTH - _RIGHT - 6)
    end = top + 6 + _LANE * len(shown)
    for at, label in scales.time_ticks(low, high):
        x = across.place(at)
        half = shapes.width_of(label, SMALL) / 2
        drawn.append(shapes.path([(x, top + 4), (x, end)], "edge"))
        middle = min(x, WIDTH - 4 - half)
        drawn.append(
            shapes.text(middle, end + 14, label, size=SMALL, anchor="middle", tone="faint")
        )
    drawn.append(shapes.text(10, end + 14, "UTC", size=SMALL, tone="faint"))
    for index, lane in enumerate(shown):
        drawn += _lane(lane, index, top + 6 + _LANE * index, across)
    return shapes.picture(drawn, height=end + 22, title=lanes.title, words=lanes.words)


def _lane(lane: Lane, index: int, y: float, across: Axis) -> Iterator[str]:
    yield shapes.text(10, y + 16, shapes.cut(lane.name, _LEFT - 16), size=SMALL)
    yield shapes.path([(_LEFT, y + 12), (WIDTH - _RIGHT, y + 12)], "edge")
    taken: set[tuple[int, int, str]] = set()
    for one in lane.spans:
        x = across.place(one.begin)
        end = x if one.end is None else across.place(one.end)
        # thousands of events in one place are one mark
        if (key := (round(x), round(end), one.tone)) in taken:
            continue
        taken.add(key)
        if one.end is None:
            yield shapes.mark(x, y + 12, index, one.tone, size=5)
        else:
            yield shapes.rect(x, y + 5, max(3, end - x), 14, one.tone, round_px=3, hint=one.words)
