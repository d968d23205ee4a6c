"""Draw coverage as a heat map: the share of alerts with a runbook, by rule group and severity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from rbkernel.errors import RbkernelError
from rbkernel.runbook.alerts import AlertSeverity
from rbkernel.runbook.coverage.comparison import Row

# Okabe and Ito's palette, safe for common colour vision deficiencies; 0 %, 50 %, 100 %
_SCALE = [[0.0, "#d55e00"], [0.5, "#f0e442"], [1.0, "#009e73"]]
# alerts of severity info need no runbook, so their fields have a neutral colour
_NEUTRAL = [[0.0, "#e6e6e6"], [1.0, "#e6e6e6"]]
_ROW_PX, _MARGIN_PX = 34, 150


def heat_map(rows: Sequence[Row]) -> go.Figure:
    """Draw the coverage as a heat map; a field without alerts is empty."""
    groups = list(dict.fromkeys(row.alert.group for row in rows))
    judged = _fields(rows, groups, [AlertSeverity.CRITICAL, AlertSeverity.WARNING], _SCALE)
    informing = _fields(rows, groups, [AlertSeverity.INFO], _NEUTRAL)
    judged.colorbar = {"title": {"text": "have a runbook", "side": "right"}, "tickformat": ".0%"}
    informing.showscale = False
    wanting = [row for row in rows if row.needed]
    covered = sum(row.covered for row in wanting)
    return go.Figure([judged, informing]).update_layout(
        title=f"{covered} of {len(wanting)} alerts that need a runbook have one",
        xaxis={"side": "top", "title": "severity (info needs none)", "showgrid": False},
        yaxis={
            "autorange": "reversed",
            "title": "group of rules",
            "automargin": True,
            "showgrid": False,
        },
        template="plotly_white",
        width=820,
        height=_MARGIN_PX + _ROW_PX * max(3, len(groups)),
        margin={"t": 110, "b": 30},
    )


def _fields(
    rows: Sequence[Row], groups: list[str], severities: list[AlertSeverity], scale: list[list[Any]]
) -> go.Heatmap:
    # each trace has a field for every severity, so that plotly aligns the traces
    chosen = [row for row in rows if row.alert.severity in severities]
    fields = [
        [
            [row for row in chosen if (row.alert.group, row.alert.severity) == (group, level)]
            for level in AlertSeverity
        ]
        for group in groups
    ]
    return go.Heatmap(
        z=[[_share(field) for field in line] for line in fields],
        x=[level.value for level in AlertSeverity],
        y=groups,
        text=[[_words(field) for field in line] for line in fields],
        customdata=[[_without(field) for field in line] for line in fields],
        texttemplate="%{text}",
        hovertemplate="%{y}, %{x}: %{text}<br>without a runbook: %{customdata}<extra></extra>",
        colorscale=scale,
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
    )


def write(figure: go.Figure, path: Path) -> None:
    """Write the figure as an HTML page that needs no network, or as a PNG picture.

    Raises
    ------
    RbkernelError
        The name ends neither in .html nor in .png, or this host cannot create pictures.
    """
    if path.suffix == ".html":
        figure.write_html(path, include_plotlyjs=True, config={"showSendToCloud": False})
        return
    if path.suffix != ".png":
        raise RbkernelError(
            "the figure is written as .html or .png",
            where=str(path),
            next_step="give the file one of these endings",
        )
    try:
        figure.write_image(path, scale=2)
    except (ImportError, ValueError, RuntimeError) as error:
        raise RbkernelError(
            f"a picture cannot be made here: {str(error).strip().splitlines()[0]}",
            where=str(path),
            next_step="write .html; or pip install 'rbkernel[png]', and have Chromium",
        ) from error


def _share(rows: Sequence[Row]) -> float | None:
    return sum(row.covered for row in rows) / len(rows) if rows else None


def _words(rows: Sequence[Row]) -> str:
    return f"{sum(row.covered for row in rows)} of {len(rows)}" if rows else ""


def _without(rows: Sequence[Row]) -> str:
    return ", ".join(row.alert.name for row in rows if not row.covered) or "none"
