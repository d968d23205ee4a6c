"""Pictures that show the problem at a glance, as plotly figures with a caption in words.

The caption is the plain text beside the figure: what a mail, a diff and a screen reader show. The
bundle is made here, because plotly's own imports nbformat's validators (about a second) and may
embed the whole of plotly.js.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rbkernel.postgres.session import provenance

_WARN, _CRITICAL = "#c77700", "#b3261e"
# Okabe and Ito: distinguishable with every common colour vision deficiency
_PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"]


class Picture:
    """A plotly figure and its caption; the last expression of a cell shows it."""

    def __init__(self, figure: go.Figure, caption: str) -> None:
        self.figure = figure
        self.caption = caption

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        drawn = json.loads(self.figure.to_json(validate=False))
        # not "responsive": where the window changes it forgets the height, and JupyterLab has none
        config = {"displaylogo": False, "showSendToCloud": False}
        return {
            "application/vnd.plotly.v1+json": {**drawn, "config": config},
            "text/plain": self.caption,
        }


def timeline(
    frame: pd.DataFrame,
    y: str,
    *,
    by: str = "",
    x: str = "sampled_at",
    warn: float | None = None,
    critical: float | None = None,
    unit: str = "",
    title: str = "",
) -> Picture:
    """Draw a figure over time, a line for each value of `by`, with the thresholds.

    Parameters
    ----------
    frame
        Rows of `rb.sample`.
    y, x, by
        Columns: figure, time, and what names a line.
    warn, critical
        Thresholds in the unit of `y`.
    unit, title
        Words for the axis and above the figure.
    """
    figure = _figure(title or y, unit or y)
    if (empty := _empty(figure, frame, y)) is not None:
        return empty
    groups = frame.groupby(by, dropna=False, sort=True) if by else [("", frame)]
    told = []
    for number, (name, rows) in enumerate(groups):
        values = _floats(rows[y])
        colour = _PALETTE[number % len(_PALETTE)]
        figure.add_scatter(
            x=rows[x],
            y=values,
            name=str(name),
            mode="lines+markers",
            line={"color": colour},
            cliponaxis=False,  # a mark at 0 lies on the axis
        )
        label = str(name) or y
        told.append(f"{label}: {values.iloc[0]:.1f} to {values.iloc[-1]:.1f} {unit}".strip())
    for threshold, colour, word in ((warn, _WARN, "warning"), (critical, _CRITICAL, "critical")):
        if threshold is not None:
            line = {"color": colour, "dash": "dash"}
            figure.add_hline(threshold, line=line, annotation_text=word)
    figure.update_layout(showlegend=bool(by))
    figure.update_xaxes(nticks=4, tickangle=0)  # level, also on a phone
    figure.update_yaxes(rangemode="tozero")
    return Picture(figure, f"{title or y}: {'; '.join(told)}")


def bars(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: str = "",
    limit: float | None = None,
    title: str = "",
) -> Picture:
    """Draw horizontal bars of `x` for each `y`, stacked by `by`, with a limit to compare with.

    Parameters
    ----------
    frame
        A row a piece of a bar.
    x, y, by
        Columns: length, name of the bar, and what is stacked.
    limit
        A line to compare with, such as all slots there are.
    title
        Words above the figure.
    """
    figure = _figure(title or x, "")
    if (empty := _empty(figure, frame, x)) is not None:
        return empty
    groups = frame.groupby(by, dropna=False, sort=True) if by else [(x, frame)]
    for number, (name, rows) in enumerate(groups):
        figure.add_bar(
            x=_floats(rows[x]),
            y=rows[y].astype(str),
            name=str(name),
            orientation="h",
            marker={"color": _PALETTE[number % len(_PALETTE)]},
        )
    if limit is not None and pd.notna(limit):
        figure.add_vline(limit, line={"color": _CRITICAL, "dash": "dash"}, annotation_text="all")
    figure.update_layout(barmode="stack", xaxis_title=x)
    figure.update_yaxes(categoryorder="total ascending")
    totals = frame.assign(_total=_floats(frame[x])).groupby(y, dropna=False)["_total"].sum()
    largest = totals.sort_values(ascending=False).head(5)
    told = ", ".join(f"{name!s} {total:g}" for name, total in largest.items())
    return Picture(figure, f"{title or x}: {told}")


def strip(
    frame: pd.DataFrame,
    x: str,
    *,
    by: str,
    low: float | None = None,
    high: float | None = None,
    title: str = "",
) -> Picture:
    """Mark where along a range something lies, a row of marks for each value of `by`.

    Parameters
    ----------
    frame
        A row a mark.
    x, by
        Columns: position, and what names a row of marks.
    low, high
        Ends of the range, so that a cluster is seen as one.
    title
        Words above the figure.
    """
    figure = _figure(title or x, "")
    if (empty := _empty(figure, frame, x)) is not None:
        return empty
    told = []
    for number, (name, rows) in enumerate(frame.groupby(by, dropna=False, sort=True)):
        positions = _floats(rows[x])
        marker = {"color": _PALETTE[number % len(_PALETTE)], "size": 9, "symbol": "line-ns-open"}
        figure.add_scatter(
            x=positions, y=[str(name)] * len(rows), name=str(name), mode="markers", marker=marker
        )
        told.append(f"{len(rows)} {name} from {positions.min():g} to {positions.max():g}")
    if low is not None and high is not None:
        figure.update_xaxes(range=[low, high])
    figure.update_layout(xaxis_title=x)
    return Picture(figure, f"{title or x}: {'; '.join(told)}")


def _figure(title: str, y_title: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        yaxis_title=y_title,
        height=320,
        margin={"l": 60, "r": 20, "t": 45, "b": 45},
        paper_bgcolor="#ffffff",
        plot_bgcolor="#f6f8fa",
        font={"color": "#1f2328"},
        legend={"orientation": "h", "y": -0.2},
        showlegend=True,
    )
    return figure


def _empty(figure: go.Figure, frame: pd.DataFrame, column: str) -> Picture | None:
    """A picture that says why there is nothing to draw, or None when there is something."""
    if column in frame and frame[column].notna().any():
        return None
    told = provenance(frame)
    reason = told.reason if told and told.reason else "no rows"
    shown = reason if len(reason) <= 90 else reason[:89] + "…"
    figure.add_annotation(text=shown, showarrow=False, font={"size": 13})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return Picture(figure, f"nothing to draw: {reason}")


def _floats(values: pd.Series[Any]) -> pd.Series[float]:
    return pd.to_numeric(values.astype(object), errors="coerce").astype(float)
