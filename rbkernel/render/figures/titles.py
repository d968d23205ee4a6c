"""Titles that state what a figure shows: the worst value, and the limit that it is beyond. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rbkernel.displaytext import short_line
from rbkernel.render.figures import scales
from rbkernel.render.figures.bars import Bar
from rbkernel.render.figures.lines import Line, Threshold

_LONGEST = 40
# s; a lag of replay that moved by more is not one that stands still
_STILL_S = 0.3


def of_lines(title: str, lines: Sequence[Line], levels: Sequence[Threshold], unit: str) -> str:
    """Return a title with the worst of the last values, and the threshold that it is beyond.

    >>> two = [Threshold(value=2, word="warning"), Threshold(value=15, word="critical")]
    >>> of_lines("Replay lag", [Line(name="replica-1", at=[1, 2], values=[9, 31])], two, "s")
    'Replay lag: replica-1 31 s, above critical 15 s'
    >>> of_lines("Replay lag", [Line(name="", at=[1], values=[0.2])], two, "s")
    'Replay lag: 0.2 s'
    """
    known = [line for line in lines if math.isfinite(line.last)]
    if not known:
        return f"{title}: unknown"
    values = {one.word: one.value for one in levels if math.isfinite(one.value)}
    below = values.get("critical", math.inf) < values.get("warning", -math.inf)
    worst = (min if below else max)(known, key=lambda line: line.last)
    said = f"{title}: {short_line(worst.name, _LONGEST)} {scales.written(worst.last, unit)}"
    said = said.replace(":  ", ": ")
    missing = len(lines) - len(known)
    rest = f"; {missing} of {len(lines)} unknown" if missing else ""
    for word in ("critical", "warning", "limit"):
        if word in values and (worst.last < values[word] if below else worst.last > values[word]):
            side = "below" if below else "above"
            return f"{said}, {side} {word} {scales.written(values[word], unit)}{rest}"
    return said + rest


def of_bars(title: str, bars: Sequence[Bar], unit: str, limit: float | None) -> str:
    """Return a title with the first of bars that is known, which is the worst.

    >>> of_bars("Sessions", [Bar(name="shop", parts={"": 92})], "", 97.0)
    'Sessions: shop 92, limit 97'
    """
    first = next((bar for bar in bars if not math.isnan(bar.total)), None)
    if first is None:
        return f"{title}: unknown"
    said = f"{title}: {short_line(first.name, _LONGEST)} {scales.written(first.total, unit)}"
    if limit is not None and math.isfinite(limit):
        said += f", limit {scales.written(limit, unit)}"
    missing = sum(math.isnan(bar.total) for bar in bars)
    return f"{said}; {missing} of {len(bars)} unknown" if missing else said


def still_since(line: Line) -> float | None:
    """Return since when a lag grows by a second each second, in s since 1970; None if it does not.

    Then nothing newer arrived between the first and the last sample.

    >>> still_since(Line(name="", at=[1000, 1002, 1004], values=[27, 29, 31]))
    973
    >>> still_since(Line(name="", at=[1000, 1004], values=[27, 27])) is None
    True
    """
    known = [
        (at, value) for at, value in zip(line.at, line.values, strict=True)
        if math.isfinite(at) and math.isfinite(value)
    ]  # fmt: skip
    if len(known) < 2 or known[-1][0] - known[0][0] < 1 or known[-1][1] <= known[-2][1]:
        return None
    begun = [at - value for at, value in known]
    most = min(0.1 * (known[-1][0] - known[0][0]), _STILL_S)
    return begun[-1] if max(begun) - min(begun) <= most else None
