"""Figures that a person can read on a phone: few bars, legible names, the limits of the call."""

from __future__ import annotations

import pandas as pd

from rbkernel.checks.answer import Provenance
from rbkernel.render import figure
from rbkernel.sources.postgres import diagnostics


def test_only_the_longest_bars_are_drawn_with_names_that_fit() -> None:
    names = [f"{number:02} {'x' * 40}" for number in range(30)]
    drawn = figure.bars(
        pd.DataFrame({"name": names, "mb": range(30)}), "mb", "name", title="Tables"
    )
    [bar] = drawn.figure.data
    assert sorted(bar.y) == names[18:]
    assert max(map(len, drawn.figure.layout.yaxis.ticktext)) == 28
    assert all(text.endswith("…") for text in drawn.figure.layout.yaxis.ticktext)
    assert drawn.caption.startswith(f"Tables: the 12 largest of 30: {names[29]} 29, ")
    assert not drawn.figure.layout.showlegend


def test_a_share_is_drawn_as_a_part_of_the_whole() -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "used_pct": [3.9e-5, 2.0]})
    drawn = figure.bars(frame, "used_pct", "name", title="Used")
    assert drawn.figure.layout.xaxis.range == (0, 100)
    assert drawn.caption == "Used: b 2, a 0"


def test_a_timeline_shows_the_thresholds_of_the_call() -> None:
    name = "replication/lag"
    columns = diagnostics.get(name).columns
    at = pd.Timestamp("2026-11-20", tz="UTC")
    frame = pd.DataFrame({column: [None] for column in columns}).assign(
        replay_lag_s=5.0, sampled_at=at, standby="one"
    )
    frame.attrs["rbkernel"] = Provenance(
        name=name, connection="", server="", role="", sql="", values={}, at="",
        duration_s=0, rows=1, cut_by="",
    )  # fmt: skip
    drawn = [shape.y0 for shape in figure.of(frame).figure.layout.shapes]
    assert drawn == [2, 15]
    frame.attrs["limits"] = {"replay_lag_s": (602.0, 615.0)}
    assert [shape.y0 for shape in figure.of(frame).figure.layout.shapes] == [602.0, 615.0]
