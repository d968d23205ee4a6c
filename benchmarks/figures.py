"""Measure a figure of `rb.figure` against the same one by plotly's classes, in pairs.

``python -m benchmarks.figures`` prints ms and kB of each figure; plotly's is made as its users do,
with its default template.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pandas as pd
import plotly.express as px
import plotly.io as pio
from rich import print as show
from rich.table import Table

from rbkernel.render import figure

TURNS = 30


def frames() -> dict[str, pd.DataFrame]:
    """Return samples of one, 7 and 3,000 series."""
    at = pd.date_range("2026-11-20", periods=60, freq="min", tz="UTC")
    return {
        str(count): pd.DataFrame(
            [
                (f"q{n}", moment, float(n))
                for n in range(count)
                for moment in at[: 60 if count < 9 else 3]
            ],
            columns=["name", "at", "value"],
        )
        for count in (1, 7, 3000)
    }


def own(frame: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Return the bundle of `rb.figure`."""
    drawn = (
        figure.timeline(frame, "value", x="at", by="name", warn=2, critical=5, unit="s")
        if kind == "lines"
        else figure.bars(frame, "value", "name", limit=100)
    )
    return drawn._repr_mimebundle_()


def plotlys(frame: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Return the JSON of plotly.express."""
    made = (
        px.line(frame, x="at", y="value", color="name")
        if kind == "lines"
        else px.bar(frame, x="value", y="name", orientation="h")
    )
    return {"plotly": json.loads(pio.to_json(made, validate=False))}


def measured(make: Callable[[], dict[str, Any]]) -> tuple[float, float]:
    """Return the ms that one figure takes, and the kB of its bundle."""
    begun = time.perf_counter()
    bundle = make()
    took_ms = 1000 * (time.perf_counter() - begun)
    size = sum(len(one if isinstance(one, str) else json.dumps(one)) for one in bundle.values())
    return took_ms, size / 1024


def main() -> None:
    """Print a table of medians; the turns of both alternate."""
    table = Table("figure", "series", "rb.figure", "", "plotly.express", "")
    for kind in ("lines", "bars"):
        for count, frame in frames().items():
            turns = TURNS if int(count) < 100 else 3
            ours, theirs = [], []
            for _ in range(turns):
                ours.append(measured(lambda: own(frame, kind)))  # noqa: B023 - called at once
                theirs.append(measured(lambda: plotlys(frame, kind)))  # noqa: B023 - the same
            cells = [
                f"{median(values):.1f} {unit}"
                for made in (ours, theirs)
                for values, unit in zip(zip(*made, strict=True), ("ms", "kB"), strict=True)
            ]
            table.add_row(kind, count, *cells)
    show(table)


if __name__ == "__main__":
    main()
