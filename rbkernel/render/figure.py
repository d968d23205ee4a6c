"""Draw results of diagnostics as plotly figures, each with a caption in words.

The caption is the plain text of the figure, for mail, diffs and screen readers. The MIME bundle is
made here, because plotly's own code imports nbformat's validators (about a second) and may embed
the whole of plotly.js.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.checks.rules import numbers
from rbkernel.config.quantities import Measured
from rbkernel.errors import ParameterError, UnknownName
from rbkernel.reconciliation.outcome import OF_COLUMNS
from rbkernel.sources.postgres import diagnostics
from rbkernel.spelling import did_you_mean

_WARN, _CRITICAL = "#c77700", "#b3261e"
# Okabe and Ito: distinguishable with every common colour vision deficiency
# so many bars, and so many characters of a name, are legible on a phone
_MOST_BARS, _LONGEST = 12, 28
# so many of the lines that are not drawn are named
_NAMED = 5
_PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"]


class Picture:
    """A plotly figure with its caption; Jupyter shows it if it is the last value of a cell."""

    def __init__(self, figure: go.Figure, caption: str) -> None:
        self.figure = figure
        self.caption = caption

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        drawn = json.loads(self.figure.to_json(validate=False))
        # not "responsive": plotly.js would then lose the height when the window changes
        config = {"displaylogo": False, "showSendToCloud": False}
        return {
            "application/vnd.plotly.v1+json": {**drawn, "config": config},
            "text/plain": self.caption,
        }


@checked
def of(frame: Frame, *, limit: Measured | None = None) -> Picture:
    """Draw a diagnostic's result as its header declares, with the thresholds.

    Parameters
    ----------
    frame
        The result of `rb.query` or `rb.sample`, or of `rb.promql`: lines for a range, bars for one
        moment. Like all functions of `rb.figure`, this one also accepts the result of `rb.assess`.
    limit
        As for `bars`: a line to compare with, also in the figure of `rb.promql`.

    Raises
    ------
    ParameterError
        The frame is not from a diagnostic, or its diagnostic declares no figure.
    """
    source = provenance(frame)
    if "series" in frame and "value" in frame:
        return _of_series(frame, limit)
    known = source is not None and source.name in diagnostics.names()
    declared = diagnostics.get(source.name) if source and known else None
    if declared is None or declared.figure is None:
        raise ParameterError(
            "this frame is not from a diagnostic that declares a figure",
            where="rb.figure.of",
            next_step="draw it with rb.figure.timeline, bars, strip or tree",
        )
    drawn = declared.figure
    if drawn.kind == "timeline":
        usual = {rule.column: (rule.warn, rule.critical) for rule in reversed(declared.rules)}
        # those of the call, if it had its own
        warn, critical = {**usual, **frame.attrs.get("limits", {})}.get(drawn.y, (None, None))
        return timeline(
            frame,
            drawn.y,
            by=drawn.by,
            warn=warn,
            critical=critical,
            unit=drawn.unit,
            title=drawn.title,
        )
    if drawn.kind == "bars":
        return bars(frame, drawn.x, drawn.y, by=drawn.by, limit=limit, title=drawn.title)
    return strip(frame, drawn.x, by=drawn.by, title=drawn.title)


def _of_series(frame: pd.DataFrame, limit: float | None) -> Picture:
    """Draw the result of `rb.promql` or `rb.logql`: lines over a range, bars of one moment."""
    source, unit = provenance(frame), str(frame.attrs.get("unit", ""))
    title = source.name if source else ""
    if source and source.step_s:
        return timeline(frame, "value", by="series", critical=limit, unit=unit, title=title)
    return bars(frame, "value", "series", limit=limit, title=title)


@checked
def timeline(
    frame: Frame,
    y: str,
    *,
    by: str = "",
    x: str = "sampled_at",
    warn: Measured | None = None,
    critical: Measured | None = None,
    unit: str = "",
    title: str = "",
) -> Picture:
    """Draw how a quantity changes over time, one line per value of `by`, with the thresholds.

    Of many lines, those with the largest values are drawn, or with the smallest if `critical` is
    below `warn`; the caption names others.

    Parameters
    ----------
    frame
        Rows of `rb.sample`.
    y, x, by
        Columns: quantity, time, and the name of the line.
    warn, critical
        Thresholds in the unit of `y`.
    unit, title
        Unit of the axis, and title above the figure.
    """
    must_have("rb.figure.timeline", frame, y=y, x=x, by=by)
    figure = _figure(title or y, unit or y)
    if (empty := _empty(figure, frame, y)) is not None:
        return empty
    lower = warn is not None and critical is not None and critical < warn
    frame, rest = _leading(frame, y, by, below=lower)
    groups = frame.groupby(by, dropna=False, sort=True) if by else [("", frame)]
    parts = []
    for number, (name, rows) in enumerate(groups):
        values = numbers(rows[y])
        colour = _PALETTE[number % len(_PALETTE)]
        figure.add_scatter(
            x=rows[x],
            y=values,
            name=str(name),
            mode="lines+markers",
            line={"color": colour},
            cliponaxis=False,  # a mark at 0 is on the axis
        )
        label = str(name) or y
        parts.append(f"{label}: {values.iloc[0]:.1f} to {values.iloc[-1]:.1f} {unit}".strip())
    for threshold, colour, word in ((warn, _WARN, "warning"), (critical, _CRITICAL, "critical")):
        if threshold is not None and pd.notna(threshold):
            line = {"color": colour, "dash": "dash"}
            figure.add_hline(threshold, line=line, annotation_text=word)
    figure.update_layout(showlegend=bool(by))
    figure.update_xaxes(nticks=4, tickangle=0)  # horizontal labels, also on a phone
    figure.update_yaxes(rangemode="tozero")
    return Picture(figure, f"{title or y}: {'; '.join(parts)}{rest}")


def _leading(frame: pd.DataFrame, y: str, by: str, *, below: bool) -> tuple[pd.DataFrame, str]:
    """Return the rows of the lines that are drawn, and a text that names the other lines."""
    if not by or frame[by].nunique(dropna=False) <= len(_PALETTE):
        return frame, ""
    groups = frame.assign(_y=numbers(frame[y])).groupby(by, dropna=False)["_y"]
    worst = groups.min() if below else groups.max()
    ranked = worst.sort_values(ascending=below, kind="stable").index
    left = [str(name) for name in ranked[len(_PALETTE) :]]
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    drawn = frame[frame[by].isin(ranked[: len(_PALETTE)])]
    side = "larger" if below else "smaller"
    return drawn, f"; not drawn, with {side} values: {', '.join(left[:_NAMED])}{more}"


@checked
def bars(
    frame: Frame,
    x: str,
    y: str,
    *,
    by: str = "",
    limit: Measured | None = None,
    title: str = "",
) -> Picture:
    """Draw a horizontal bar of length `x` for each `y`, stacked by `by`, with a limit to compare
    with. Only the longest bars are drawn, and long names are cut.

    Parameters
    ----------
    frame
        One row per part of a bar.
    x, y, by
        Columns: length, name of the bar, and name of the part. A length whose name ends in
        ``_pct`` is drawn on an axis that goes to 100.
    limit
        A line to compare with, such as the number of all slots.
    title
        Words above the figure.
    """
    must_have("rb.figure.bars", frame, x=x, y=y, by=by)
    figure = _figure(title or x, "", of=x if title else "")
    if (empty := _empty(figure, frame, x)) is not None:
        return empty
    totals = frame.assign(_total=numbers(frame[x])).groupby(y, dropna=False)["_total"].sum()
    largest = totals.sort_values(ascending=False, kind="stable").head(_MOST_BARS)
    frame = frame[frame[y].isin(largest.index)]
    groups = frame.groupby(by, dropna=False, sort=True) if by else [(x, frame)]
    for number, (name, rows) in enumerate(groups):
        figure.add_bar(
            x=numbers(rows[x]),
            y=rows[y].astype(str),
            name=str(name),
            orientation="h",
            marker={"color": _PALETTE[number % len(_PALETTE)]},
        )
    if limit is not None and pd.notna(limit):
        figure.add_vline(limit, line={"color": _CRITICAL, "dash": "dash"}, annotation_text="all")
    names = [str(name) for name in largest.index]
    figure.update_layout(barmode="stack", showlegend=bool(by))
    figure.update_xaxes(exponentformat="none")
    if x.endswith("_pct"):
        figure.update_xaxes(range=[0, max(100.0, float(largest.max()))])
    figure.update_yaxes(
        categoryorder="total ascending",
        tickvals=names,
        ticktext=[one if len(one) <= _LONGEST else f"{one[: _LONGEST - 1]}…" for one in names],
    )
    rest = f"the {len(names)} largest of {len(totals)}: " if len(totals) > len(names) else ""
    parts = (f"{name!s} {_short(total)}" for name, total in largest.head(5).items())
    return Picture(figure, f"{title or x}: {rest}{', '.join(parts)}")


def _short(figure: float) -> str:
    """Return a figure with three digits or more, without exponents.

    >>> [_short(one) for one in (35606.0, 6.21094, 0.04, 3.9e-05, 0.0)]
    ['35,606', '6.21', '0.04', '0', '0']
    """
    if abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.2f}".rstrip("0").rstrip(".")


@checked
def strip(
    frame: Frame,
    x: str,
    *,
    by: str,
    low: Measured | None = None,
    high: Measured | None = None,
    title: str = "",
) -> Picture:
    """Draw marks at positions in a range, one row of marks per value of `by`.

    Parameters
    ----------
    frame
        One row per mark.
    x, by
        Columns: position, and the name of the row of marks.
    low, high
        Ends of the range, so that clusters are visible.
    title
        Words above the figure.
    """
    must_have("rb.figure.strip", frame, x=x, by=by)
    figure = _figure(title or x, "")
    if (empty := _empty(figure, frame, x)) is not None:
        return empty
    parts = []
    for number, (name, rows) in enumerate(frame.groupby(by, dropna=False, sort=True)):
        positions = numbers(rows[x])
        marker = {"color": _PALETTE[number % len(_PALETTE)], "size": 9, "symbol": "line-ns-open"}
        figure.add_scatter(
            x=positions, y=[str(name)] * len(rows), name=str(name), mode="markers", marker=marker
        )
        parts.append(f"{len(rows)} {name} from {positions.min():g} to {positions.max():g}")
    if low is not None and high is not None and pd.notna(low) and pd.notna(high):
        figure.update_xaxes(range=[low, high])
    figure.update_layout(xaxis_title=x)
    return Picture(figure, f"{title or x}: {'; '.join(parts)}")


@checked
def differences(frame: Frame, *, title: str = "Where the rows differ") -> Picture:
    """Draw where in the key range the differing rows are, and which columns differ.

    Parameters
    ----------
    frame
        Rows of `rb.reconcile`. Keys that are not numbers are placed by rank.
    title
        Words above the figure.
    """
    named = {name: name for name in ("key", "kind", "columns")}
    must_have("rb.figure.differences", frame, **named)
    figure = _figure(title, "")
    frame = frame[~frame["kind"].isin(OF_COLUMNS)]
    if (empty := _empty(figure, frame, "key")) is not None:
        return empty
    keys = pd.to_numeric(frame["key"], errors="coerce")
    if numeric := bool(keys.notna().all()):
        placed = frame.assign(key=keys.astype("float64"))
    else:
        placed = frame.assign(key=frame["key"].astype(str)).sort_values("key")
    parts = []
    for number, (kind, rows) in enumerate(placed.groupby("kind", sort=True)):
        colour = _PALETTE[number % len(_PALETTE)]
        marker = {"color": colour, "size": 9, "symbol": "line-ns-open"}
        names = [str(kind)] * len(rows)
        figure.add_scatter(x=rows["key"], y=names, mode="markers", name=str(kind), marker=marker)
        first, last = rows["key"].min(), rows["key"].max()
        span = f"{first:g} to {last:g}" if numeric else f"{first} to {last}"
        parts.append(f"{len(rows)} {kind} from {span}")
    columns = frame.loc[frame["kind"] == "changed", "columns"].str.split(", ").explode()
    counts = columns.value_counts().head(10)
    figure.add_bar(
        x=counts.to_numpy(), y=[str(name) for name in counts.index], xaxis="x2", yaxis="y2",
        orientation="h", marker={"color": _PALETTE[5]}, showlegend=False,
    )  # fmt: skip
    low, high = frame.attrs.get("key_range", (None, None))
    if numeric and low is not None and high is not None:
        figure.update_xaxes(range=[low, high])
    upper = [0.5, 1] if len(counts) else [0, 1]
    figure.update_layout(
        yaxis={"domain": upper},
        xaxis={"title": "key", "anchor": "y"},
        xaxis2={"title": "changed rows, by column", "anchor": "y2", "dtick": _dtick(counts)},
        yaxis2={"domain": [0, 0.28], "autorange": "reversed", "automargin": True},
        showlegend=False,
    )
    parts += [f"{name} differs in {count}" for name, count in counts.items()]
    return Picture(figure, f"{title}: {'; '.join(parts)}")


def __getattr__(name: str) -> Any:
    kinds = ("of", "timeline", "bars", "strip", "differences", "tree")
    raise UnknownName(
        f"there is no rb.figure.{name}{did_you_mean(name, kinds)}",
        next_step=f"use {', '.join(kinds)}",
    )


def _dtick(counts: pd.Series[Any]) -> float | None:
    """Return the step between the ticks of an axis of counts: a whole number."""
    return 1 if len(counts) and counts.max() < 10 else None


@checked
def tree(
    frame: Frame,
    node: str,
    *,
    parent: str,
    label: str,
    by: str,
    title: str = "Who waits for whom",
    things: str = "sessions",
) -> Picture:
    """Draw a tree of who blocks whom: roots at the left, a line to each blocked node.

    Parameters
    ----------
    frame
        One row per node.
    node, parent
        Columns: the node's id, and the ids of its parents (text, separated by commas). A node
        whose parents are not in the frame is a root.
    label, by
        Columns: the text beside the id, and the colour of the mark.
    title
        Words above the figure.
    things
        The plural word for the nodes, such as "sessions".
    """
    must_have("rb.figure.tree", frame, node=node, parent=parent, label=label, by=by)
    figure = _figure(title, "")
    if (empty := _empty(figure, frame, node)) is not None:
        return empty
    ids = [str(value) for value in frame[node]]
    parents = {
        one: [p for p in str(parents or "").split(", ") if p in ids and p != one]
        for one, parents in zip(ids, frame[parent].fillna(""), strict=True)
    }
    places = _places(ids, parents)
    for one in ids:
        for above in parents[one]:
            (x0, y0), (x1, y1) = places[above], places[one]
            line = {"color": "#8c959f", "width": 1}
            figure.add_shape(type="line", x0=x0, y0=y0, x1=x1, y1=y1, line=line, layer="below")
    for number, (name, rows) in enumerate(frame.groupby(by, dropna=False, sort=True)):
        spots = [places[str(value)] for value in rows[node]]
        figure.add_scatter(
            x=[x for x, _ in spots],
            y=[y for _, y in spots],
            text=[f"{row[node]} {row[label]}" for _, row in rows.iterrows()],
            name=str(name),
            mode="markers+text",
            textposition="middle right",
            marker={"color": _PALETTE[number % len(_PALETTE)], "size": 12},
        )
    deepest = max(x for x, _ in places.values())
    plain = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_xaxes(range=[-0.2, deepest + 1], **plain)
    figure.update_yaxes(autorange="reversed", **plain)
    figure.update_layout(height=max(320, min(1200, 90 + 24 * len(ids))))
    roots = ", ".join(one for one in ids if not parents[one]) or "none (a cycle)"
    return Picture(figure, f"{title}: {len(ids)} {things}, at the root {roots}")


def _places(ids: list[str], parents: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    """Return a column and a row for each node of a tree: the column is the distance from a root.

    >>> _places(["1", "2", "3"], {"1": [], "2": ["1"], "3": ["2"]})
    {'1': (0, 0), '2': (1, 1), '3': (2, 2)}
    """
    places: dict[str, tuple[float, float]] = {}

    def put(one: str, depth: int) -> None:
        if one in places:
            return
        places[one] = (depth, len(places))
        for child in (child for child in ids if parents[child][:1] == [one]):
            put(child, depth + 1)

    for root in [one for one in ids if not parents[one]] or ids[:1]:
        put(root, 0)
    for left in ids:  # nodes of a cycle
        put(left, 0)
    return places


def _figure(title: str, y_title: str, *, of: str = "") -> go.Figure:
    """Return an empty figure; ``of`` names what the bars measure, where no legend covers it."""
    figure = go.Figure()
    measured = f"<br><span style='font-size:12px'>{escape(of)}</span>" if of else ""
    figure.update_layout(
        title={"text": f"{title}{measured}", "font": {"size": 15}},
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
    """Return a picture that says why there is nothing to draw; None if there is something."""
    if column in frame and frame[column].notna().any():
        return None
    source = provenance(frame)
    reason = source.reason if source and source.reason else "no rows"
    shown = reason if len(reason) <= 90 else reason[:89] + "…"
    figure.add_annotation(text=shown, showarrow=False, font={"size": 13})
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return Picture(figure, f"nothing to draw: {reason}")
