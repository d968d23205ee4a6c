"""The same figures for plotly.js, as JupyterLab shows them: plain data, without importing plotly.

plotly's classes took 30 to 60 ms a figure, and 7 kB of it was their default template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rbkernel.render.figures import palette, scales, shapes
from rbkernel.render.figures.bars import Bars
from rbkernel.render.figures.lines import Lines
from rbkernel.render.figures.marks import Marks
from rbkernel.render.figures.palette import COLOURS, SERIES

_HEIGHT_PX, _LONGEST, _TITLE_PX = 340, 28, 620
_DASHES, _SYMBOLS = ("solid", "dash"), ("circle", "square", "diamond", "triangle-up")


def of_lines(figure: Lines) -> dict[str, Any]:
    """Return series over time as data and layout for plotly.js."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(line.values) <= 100 else "lines",
            "name": line.name,
            "x": [_moment(at) for at in line.at],
            "y": _known(line.values),
            "line": {"color": _colour(index), "dash": _DASHES[index // len(SERIES) % 2]},
            "marker": {"symbol": _SYMBOLS[index % len(_SYMBOLS)]},
            "cliponaxis": False,
        }
        for index, line in enumerate(figure.lines)
    ]
    levels = [one for one in figure.thresholds if math.isfinite(one.value)]
    words = [(f"{one.word} {scales.written(one.value, figure.unit)}", one) for one in levels]
    layout = _layout(figure.title) | {
        "shapes": [_line("y", one.value, COLOURS[one.tone][0]) for one in levels],
        "annotations": [_beside("y", one.value, said) for said, one in words],
        "xaxis": {"nticks": 4, "tickangle": 0},
        "yaxis": {"rangemode": "tozero", "title": {"text": figure.unit}},
        "showlegend": [line.name for line in figure.lines] != [""],
    }
    return {"data": traces, "layout": layout}


def of_bars(figure: Bars) -> dict[str, Any]:
    """Return bars as data and layout for plotly.js."""
    parts = list(dict.fromkeys(name for bar in figure.bars for name in bar.parts))
    tones = palette.of_parts(parts)
    names = [bar.name for bar in figure.bars]
    traces = []
    for part in parts:
        bars = [bar for bar in figure.bars if part in bar.parts]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": part,
                "x": _known([bar.parts[part] for bar in bars]),
                "y": [bar.name for bar in bars],
                "marker": {"color": COLOURS[tones[part]][0]},
            }
        )
    axis: dict[str, Any] = {"exponentformat": "none", "title": {"text": figure.unit}}
    if figure.whole:
        totals = scales.finite(bar.total for bar in figure.bars)
        axis["range"] = [0, max([figure.whole, *totals])]
    layout = _layout(figure.title) | {
        "barmode": "relative",
        "xaxis": axis,
        "yaxis": {
            "categoryorder": "array",
            "categoryarray": names[::-1],
            "tickvals": names,
            "ticktext": [_short(name) for name in names],
            "type": "category",
            "automargin": True,
        },
        "showlegend": len(parts) > 1,
    }
    if figure.limit is not None and math.isfinite(figure.limit):
        said = f"{figure.limit_word} {scales.written(figure.limit, figure.unit)}"
        layout["shapes"] = [_line("x", figure.limit, COLOURS["critical"][0])]
        layout["annotations"] = [_beside("x", figure.limit, said)]
    return {"data": traces, "layout": layout}


def of_marks(figure: Marks) -> dict[str, Any]:
    """Return rows of marks as data and layout for plotly.js."""
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": row.name,
            "x": _known(row.positions),
            "y": [row.name] * len(row.positions),
            "marker": {"color": _colour(index), "size": 9, "symbol": "line-ns-open"},
        }
        for index, row in enumerate(figure.rows)
    ]
    layout = _layout(figure.title) | {
        "xaxis": {"range": [figure.low, figure.high]},
        "yaxis": {"type": "category", "automargin": True},
        "showlegend": False,
    }
    return {"data": traces, "layout": layout}


def _layout(title: str) -> dict[str, Any]:
    lines = shapes.wrap(title, _TITLE_PX, shapes.TITLE)
    return {
        "title": {"text": "<br>".join(lines), "font": {"size": shapes.TITLE}},
        "height": _HEIGHT_PX,
        "margin": {"l": 60, "r": 20, "t": 30 + 20 * len(lines), "b": 45},
        "paper_bgcolor": COLOURS["paper"][0],
        "plot_bgcolor": COLOURS["shade"][0],
        "font": {"color": COLOURS["ink"][0]},
        "legend": {"orientation": "h", "y": -0.2},
        "annotations": [],
        "shapes": [],
    }


def _line(axis: str, value: float, colour: str) -> Mapping[str, Any]:
    """Return a line over the whole figure at a value of an axis."""
    other = "x" if axis == "y" else "y"
    return {
        "type": "line",
        f"{axis}0": value,
        f"{axis}1": value,
        f"{other}0": 0,
        f"{other}1": 1,
        f"{other}ref": f"{other} domain",
        "line": {"color": colour, "dash": "dash"},
    }


def _beside(axis: str, value: float, words: str) -> Mapping[str, Any]:
    other = "x" if axis == "y" else "y"
    anchor = {"yanchor": "bottom", "xanchor": "right"} if axis == "y" else {"yanchor": "bottom"}
    place = {axis: value, other: 1, f"{other}ref": f"{other} domain"}
    return {**place, **anchor, "text": words, "showarrow": False}


def _moment(at: float) -> str | float | None:
    """Return a time as plotly.js reads it, in UTC; numbers before 1971 are no times."""
    if not math.isfinite(at):
        return None
    return datetime.fromtimestamp(at, UTC).isoformat() if at > 31_536_000 else at


def _known(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _colour(index: int) -> str:
    return COLOURS[SERIES[index % len(SERIES)]][0]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
