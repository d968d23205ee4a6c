"""Draw horizontal bars: parts by state or owner, and a limit to compare with. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rbkernel.render.figures import palette, scales, shapes
from rbkernel.render.figures.scales import Axis
from rbkernel.render.figures.shapes import NORMAL, SMALL, WIDTH

#: so many bars are drawn, and so many parts of bars have a colour of their own
MOST, MOST_PARTS = 12, 6
_OTHER = "others"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar: its name, and its parts by name; the name of an only part may be empty."""

    name: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """The sum of the parts that are known; NaN if none is."""
        known = scales.finite(self.parts.values())
        return math.fsum(known) if known else math.nan


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars with a unit; ``whole`` is the least end of the axis, and ``rest`` names other bars."""

    title: str
    words: str
    unit: str
    bars: Sequence[Bar]
    limit: float | None = None
    limit_word: str = "limit"
    whole: float = 0
    rest: str = ""


def draw(figure: Bars) -> str:
    """Return the picture of bars as SVG."""
    drawn, top = shapes.headline(figure.title)
    bars = [*map(_with_few_parts(figure.bars), figure.bars)]
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    tones = palette.of_parts(names)
    if _OTHER in tones:
        tones[_OTHER] = "unknown"
    reach = [figure.whole, *(_reach(bar) for bar in bars), *(_least(bar) for bar in bars)]
    limit = figure.limit if figure.limit is not None and math.isfinite(figure.limit) else None
    low, high = scales.span([*reach, *([] if limit is None else [limit])])
    longest = max(
        (shapes.width_of(scales.written(bar.total, figure.unit)) for bar in bars), default=0
    )
    across = Axis(low=low, high=high, start=12, end=WIDTH - 22 - min(120, longest))
    legend, height = _legend(names, tones, top) if len(names) > 1 else ([], 0.0)
    parts, begun = [*drawn, *legend], top + height
    y = begun + 6
    if limit is not None:
        parts += _limit(limit, figure, across, begun, y + 40 * len(bars))
    for bar in bars:
        parts += _bar(bar, y, across, tones, figure.unit)
        y += 40
    y += 18 if limit is not None else 0
    rest, height = shapes.notes(figure.rest, y - 4)
    return shapes.picture(
        [*parts, *rest], height=y + height + 4, title=figure.title, words=figure.words
    )


def _with_few_parts(bars: Sequence[Bar]) -> _Folded:
    """Return what joins the small parts of a bar, if all bars together have too many."""
    totals: dict[str, float] = {}
    for bar in bars:
        for name, value in bar.parts.items():
            totals[name] = totals.get(name, 0) + (abs(value) if math.isfinite(value) else 0)
    kept = sorted(totals, key=lambda name: -totals[name])
    if len(kept) > MOST_PARTS:
        kept = kept[: MOST_PARTS - 1]
    return _Folded(frozenset(kept))


@dataclass(frozen=True)
class _Folded:
    kept: frozenset[str]

    def __call__(self, bar: Bar) -> Bar:
        parts = {name: value for name, value in bar.parts.items() if name in self.kept}
        if left := scales.finite(v for name, v in bar.parts.items() if name not in self.kept):
            parts[_OTHER] = parts.get(_OTHER, 0) + math.fsum(left)
        return Bar(name=bar.name, parts=parts)


def _reach(bar: Bar) -> float:
    return math.fsum(value for value in scales.finite(bar.parts.values()) if value > 0)


def _least(bar: Bar) -> float:
    return math.fsum(value for value in scales.finite(bar.parts.values()) if value < 0)


def _bar(bar: Bar, y: float, across: Axis, tones: Mapping[str, str], unit: str) -> Iterator[str]:
    name = shapes.cut(bar.name or "(no name)", WIDTH - 24)
    yield shapes.label(12, y + 12, name, ground="paper", size=NORMAL)
    zero, right, left = across.place(0), 0.0, 0.0
    for name, value in bar.parts.items():
        if not math.isfinite(value) or value == 0:
            continue
        begins = right if value > 0 else left + value
        ends = begins + abs(value)
        right, left = (ends, left) if value > 0 else (right, begins)
        x, end = across.place(begins), across.place(ends)
        hint = f"{bar.name} {name}: {scales.written(value, unit)}"
        yield shapes.rect(x, y + 17, max(1.5, end - x - 1), 15, tones[name], hint=hint)
    place = max(zero, across.place(right))
    total = scales.written(bar.total, unit)
    yield shapes.label(place + 6, y + 29, total, ground="paper", size=NORMAL, bold=True)


def _limit(limit: float, figure: Bars, across: Axis, top: float, end: float) -> Iterator[str]:
    x = across.place(limit)
    yield shapes.path([(x, top + 4), (x, end)], "critical", dash="7 4", thick=1.5)
    label = f"{figure.limit_word} {scales.written(limit, figure.unit)}".strip()
    half = shapes.width_of(label, SMALL) / 2
    middle = min(max(x, 10 + half), WIDTH - 10 - half)
    yield shapes.text(middle, end + 12, label, size=SMALL, anchor="middle", tone="critical")


def _legend(names: Sequence[str], tones: Mapping[str, str], top: float) -> tuple[list[str], float]:
    """Return the names of the parts in the order of the segments, with their colours."""
    parts, x, y = [], 12.0, top + 4
    for name in names:
        label = shapes.cut(name or "(none)", 200, SMALL)
        width = 20 + shapes.width_of(label, SMALL) + 10
        if x > 12 and x + width > WIDTH - 10:
            x, y = 12.0, y + 18
        parts += [
            shapes.rect(x, y, 12, 12, tones[name], round_px=2),
            shapes.text(x + 17, y + 10, label, size=SMALL),
        ]
        x += width
    return parts, y + 18 - top
