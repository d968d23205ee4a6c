"""Draw how quantities change over time: a line per series, thresholds, and the last values. Pure.

Samples of a few seconds make no curve: then each series is a bar of its last value, with what it
was at the first sample beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from rbkernel.render.figures import scales, shapes
from rbkernel.render.figures.palette import SERIES
from rbkernel.render.figures.scales import Axis
from rbkernel.render.figures.shapes import NORMAL, SMALL, WIDTH

#: so many series are drawn; `leading` names others
MOST = 12
_BRIEF_S = 15
_LEFT, _RIGHT, _PLOT = 64, 14, 170
_DASHES = ("", "6 3")
_ANCHOR = {True: "start", False: "end"}
_MOST_POINTS = 400
_FEW_POINTS = 30


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A value to compare with; ``word`` is a severity of `palette`, or what the limit is."""

    value: float
    word: str

    @property
    def tone(self) -> str:
        """The colour's name."""
        return (
            self.word
            if self.word in {"warning", "critical"}
            else "critical"
            if self.word == "limit"
            else "open"
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series: its name, its times in s since 1970, and its values, NaN where there is none."""

    name: str
    at: Sequence[float]
    values: Sequence[float]

    @property
    def first(self) -> float:
        """The first known value, else NaN."""
        return next((one for one in self.values if math.isfinite(one)), math.nan)

    @property
    def last(self) -> float:
        """The value at the last moment; NaN if it is not known then."""
        return self.values[-1] if self.values else math.nan


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Series over time with a unit; ``rest`` names series that are not drawn.

    ``since`` is the moment of a change, in s since 1970, and ``event`` is what changed.
    """

    title: str
    words: str
    unit: str
    lines: Sequence[Line]
    thresholds: Sequence[Threshold] = ()
    rest: str = ""
    since: float | None = None
    event: str = ""

    @property
    def times(self) -> list[float]:
        """All moments that have a place on the axis, with that of the change."""
        known = [at for line in self.lines for at in scales.finite(line.at)]
        return known if self.since is None or not known else [*known, self.since]


def to_the_end(lines: Sequence[Line]) -> list[Line]:
    """Return the lines; one that ended two steps before the newest moment is NaN there.

    >>> long, ended = [0, 1, 2, 3, 4, 5], [0, 1]
    >>> lines = [Line(name="", at=at, values=[7.0] * len(at)) for at in (long, ended)]
    >>> [line.last for line in to_the_end(lines)]
    [7.0, nan]
    """
    ends = [max(scales.finite(line.at), default=math.nan) for line in lines]
    newest = max(scales.finite(ends), default=math.nan)
    steps = (median(b - a for a, b in pairwise(line.at)) for line in lines if len(line.at) > 1)
    late = 2 * max(scales.finite(steps), default=_BRIEF_S / 2)
    return [
        replace(line, at=[*line.at, newest], values=[*line.values, math.nan])
        if newest - end > late
        else line
        for line, end in zip(lines, ends, strict=True)
    ]


def draw(figure: Lines) -> str:
    """Return the picture of series over time as SVG."""
    drawn, top = shapes.headline(figure.title)
    times = figure.times
    if not times or max(times) - min(times) <= _BRIEF_S:
        parts, top = _brief(figure, top)
    else:
        parts, top = _curves(figure, top, times)
    rest, height = shapes.notes(figure.rest, top)
    return shapes.picture(
        [*drawn, *parts, *rest], height=top + height + 8, title=figure.title, words=figure.words
    )


def _curves(figure: Lines, top: float, times: Sequence[float]) -> tuple[list[str], float]:
    values = [value for line in figure.lines for value in line.values]
    shown = [one.value for one in figure.thresholds if math.isfinite(one.value)]
    low, high = scales.span([*values, *_near(shown, values)])
    down = Axis(low=low, high=high, start=top + 10 + _PLOT, end=top + 10)
    across = Axis(low=min(times), high=max(times), start=_LEFT, end=WIDTH - _RIGHT)
    parts = [*_grid(figure, down, across)]
    for index, line in enumerate(figure.lines):
        parts += _curve(line, index, across, down)
    parts += _levels(figure, down)
    if figure.since is not None:
        parts += _grown(figure, across, down)
        parts += _moment(figure.since, figure.event, across, down)
    legend, height = _legend(figure, top + _PLOT + 46)
    return [*parts, *legend], top + _PLOT + 46 + height


def _near(thresholds: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the thresholds that do not make the curves flat: up to three times the largest."""
    largest = max(map(abs, scales.finite(values)), default=0.0)
    return [one for one in thresholds if not largest or abs(one) <= 3 * largest]


def _grid(figure: Lines, down: Axis, across: Axis) -> Iterator[str]:
    yield shapes.rect(_LEFT, down.end, WIDTH - _LEFT - _RIGHT, down.start - down.end, "shade")
    for value in scales.ticks(down.low, down.high, figure.unit):
        y = down.place(value)
        yield shapes.path([(_LEFT, y), (WIDTH - _RIGHT, y)], "edge")
        short = scales.written(value, figure.unit if len(figure.unit) <= 5 else "")
        label = shapes.cut(short, _LEFT - 10, SMALL)
        yield shapes.text(_LEFT - 6, y + 4, label, size=SMALL, anchor="end", tone="faint")
    ends = WIDTH - _RIGHT
    found = scales.time_ticks(across.low, across.high)
    for at, label in found:
        x = across.place(at)
        half = shapes.width_of(label, SMALL) / 2
        yield shapes.path([(x, down.start), (x, down.start + 4)], "wire")
        middle = min(max(x, _LEFT + half), ends - half)
        yield shapes.text(middle, down.start + 17, label, size=SMALL, anchor="middle", tone="faint")
    yield shapes.text(10, down.start + 17, "UTC", size=SMALL, tone="faint")


def _curve(line: Line, index: int, across: Axis, down: Axis) -> Iterator[str]:
    tone, dash = SERIES[index % len(SERIES)], _DASHES[index // len(SERIES) % len(_DASHES)]
    points = [
        (across.place(at), down.place(value)) if math.isfinite(value) else None
        for at, value in zip(line.at, line.values, strict=True)
        if math.isfinite(at)
    ]
    known = [point for point in points if point]
    for part in _unbroken(points):
        if len(part) > 1:
            yield shapes.path(thinned(part), tone, dash=dash, thick=2)
        elif len(known) > _FEW_POINTS:
            yield shapes.mark(*part[0], index, tone, size=2.5)
    for x, y in known if len(known) <= _FEW_POINTS else known[-1:]:
        yield shapes.mark(x, y, index, tone)


def _unbroken(
    points: Sequence[tuple[float, float] | None],
) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a line between missing values."""
    part: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            part.append(point)
        elif part:
            yield part
            part = []


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return few points that draw the same line: the lowest and the highest of each stretch.

    >>> len(thinned([(x / 100, x % 7) for x in range(40_000)])) <= 800
    True
    """
    if len(points) <= 2 * _MOST_POINTS:
        return list(points)
    size = math.ceil(len(points) / _MOST_POINTS)
    kept: list[tuple[float, float]] = []
    for at in range(0, len(points), size):
        stretch = points[at : at + size]
        ends = {min(stretch, key=lambda one: one[1]), max(stretch, key=lambda one: one[1])}
        kept += sorted(ends)
    return kept


def _levels(figure: Lines, down: Axis) -> Iterator[str]:
    """Yield the thresholds; one beyond the axis is written at its end, with an arrow."""
    taken: list[float] = []
    for one in figure.thresholds:
        if not math.isfinite(one.value):
            continue
        beyond = "↑ " if one.value > down.high else "↓ " if one.value < down.low else ""
        y = down.place(one.value)
        if not beyond:
            yield shapes.path([(_LEFT, y), (WIDTH - _RIGHT, y)], one.tone, dash="7 4", thick=1.5)
        label = f"{beyond}{one.word} {scales.written(one.value, figure.unit)}"
        base = y - 4 if y > down.end + 16 else y + 14
        while any(abs(base - other) < 14 for other in taken):
            base += 14
        taken.append(base)
        yield shapes.label(
            WIDTH - _RIGHT - 4, base, label, ground="shade", anchor="end", tone=_legible(one.tone)
        )


def _legible(tone: str) -> str:
    """Return the colour of a text about a threshold; that of warnings is too pale for text."""
    return "ink" if tone == "warning" else tone


def _grown(figure: Lines, across: Axis, down: Axis) -> Iterator[str]:
    """Yield how the worst line grew from 0, which follows from the moment of the change."""
    index, line = max(enumerate(figure.lines), key=lambda one: _or_lowest(one[1].last))
    begin = next((at for at, one in zip(line.at, line.values, strict=True) if one == line.first), 0)
    start = (across.place(figure.since or begin), down.place(0))
    end = (across.place(begin), down.place(line.first))
    yield shapes.path([start, end], SERIES[index % len(SERIES)], dash="2 4", thick=2)


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _moment(since: float, event: str, across: Axis, down: Axis) -> Iterator[str]:
    x = across.place(since)
    yield shapes.path([(x, down.start), (x, down.end)], "ink", dash="2 3", thick=1.5)
    label = shapes.cut(
        f"{event} {scales.since(since, across.high)}", WIDTH - _LEFT - _RIGHT - 8, SMALL
    )
    right = x + 8 + shapes.width_of(label, SMALL) < WIDTH - _RIGHT
    y = down.end + 16
    yield shapes.label(x + (8 if right else -8), y, label, ground="shade", anchor=_ANCHOR[right])


def _legend(figure: Lines, top: float) -> tuple[list[str], float]:
    """Return the names of the series with their marks and last values, in one or two columns."""
    if [line.name for line in figure.lines] == [""]:
        return [], 0
    columns = 2 if len(figure.lines) > 3 else 1
    room = (WIDTH - 20) / columns
    parts = []
    for index, line in enumerate(figure.lines):
        x, y = 10 + room * (index % columns), top + 18 * (index // columns)
        tone, dash = SERIES[index % len(SERIES)], _DASHES[index // len(SERIES) % len(_DASHES)]
        value = scales.written(line.last, figure.unit)
        left = room - 44 - shapes.width_of(value, SMALL)
        parts += [
            shapes.path([(x, y), (x + 22, y)], tone, dash=dash, thick=2),
            shapes.mark(x + 11, y, index, tone),
            shapes.text(x + 28, y + 4, shapes.cut(line.name, left, SMALL), size=SMALL),
            shapes.text(x + room - 8, y + 4, value, size=SMALL, anchor="end", tone="faint"),
        ]
    return parts, 18.0 * math.ceil(len(figure.lines) / columns)


def _brief(figure: Lines, top: float) -> tuple[list[str], float]:
    """Draw the last values as bars against the thresholds, for samples of a few seconds."""
    lasts = [line.last for line in figure.lines]
    levels = [one for one in figure.thresholds if math.isfinite(one.value)]
    low, high = scales.span([*lasts, *(one.value for one in levels)])
    across = Axis(low=low, high=high, start=12, end=WIDTH - 90)
    parts, texts = [], []
    y = top + 6
    begun = y
    for index, line in enumerate(figure.lines):
        tone = judged(line.last, levels) or SERIES[index % len(SERIES)]
        if line.name:
            name = shapes.cut(line.name, WIDTH - 24)
            texts.append(shapes.label(12, y + 12, name, ground="paper", size=NORMAL))
            y += 18
        zero, end = across.place(0), across.place(line.last if math.isfinite(line.last) else 0)
        parts.append(shapes.rect(min(zero, end), y, max(2, abs(end - zero)), 16, tone))
        value = scales.written(line.last, figure.unit)
        place = max(zero, end) + 6
        texts.append(shapes.label(place, y + 13, value, ground="paper", size=NORMAL, bold=True))
        y += 18
        if (change := _change(line, figure.unit)) and line.first != line.last:
            texts.append(shapes.label(12, y + 12, change, ground="paper", tone="faint"))
            y += 16
        y += 8
    for one in levels:
        x = across.place(one.value)
        parts.append(shapes.path([(x, begun), (x, y)], one.tone, dash="7 4", thick=1.5))
    words, height = _levels_below(levels, figure.unit, across, y)
    if figure.event and figure.since is not None:
        said = f"{figure.event} {scales.since(figure.since, max(figure.times))} UTC"
        parts.append(shapes.text(12, y + height + 14, said, size=SMALL))
        height += 20
    return [*parts, *texts, *words], y + height


def _levels_below(
    levels: Sequence[Threshold], unit: str, across: Axis, top: float
) -> tuple[list[str], float]:
    parts = []
    for at, one in enumerate(levels):
        label = f"{one.word} {scales.written(one.value, unit)}"
        half = shapes.width_of(label, SMALL) / 2
        middle = min(max(across.place(one.value), 10 + half), WIDTH - 10 - half)
        parts.append(
            shapes.text(
                middle, top + 12 + 15 * at, label, size=SMALL, anchor="middle",
                tone=_legible(one.tone),
            )
        )  # fmt: skip
    return parts, 15.0 * len(levels) + (4 if levels else 0)


def judged(value: float, levels: Sequence[Threshold]) -> str:
    """Return the severity that a value has by the thresholds; empty without any.

    >>> two = [Threshold(value=2, word="warning"), Threshold(value=15, word="critical")]
    >>> [judged(value, two) for value in (1, 3, 31)], judged(1, list(reversed(two)))
    (['ok', 'warning', 'critical'], 'ok')
    """
    known = {one.word: one.value for one in levels if one.tone == one.word}
    if not known or not math.isfinite(value):
        return ""
    below = known.get("critical", math.inf) < known.get("warning", -math.inf)
    for word in ("critical", "warning"):
        if word in known and (value < known[word] if below else value > known[word]):
            return word
    return "ok"


def _change(line: Line, unit: str) -> str:
    known = scales.finite(line.at)
    if len(known) < 2:
        return ""
    took = scales.written(round(max(known) - min(known), 1), "s")
    return f"{scales.written(line.first, unit)} before, {took} earlier"
