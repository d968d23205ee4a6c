"""Draw where in a range things are: `rb.figure.strip` and `rb.figure.differences`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.columns import must_have
from rbkernel.checks.frames import Frame
from rbkernel.checks.rules import numbers
from rbkernel.config.quantities import Measured
from rbkernel.reconciliation.outcome import OF_COLUMNS
from rbkernel.render.figures import interactive, marks, scales
from rbkernel.render.picture import Picture, moments, nothing, others


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
        Columns: position, which may be a time, and the name of the row of marks.
    low, high
        Ends of the range, so that clusters are visible.
    title
        Words above the figure.
    """
    must_have("rb.figure.strip", frame, x=x, by=by)
    if (empty := nothing(title or x, frame, x)) is not None:
        return empty
    timed = pd.api.types.is_datetime64_any_dtype(frame[x])
    positions = pd.Series(moments(frame[x]) if timed else numbers(frame[x]), index=frame.index)
    ends = (low, high) if low is not None and high is not None else (math.nan, math.nan)
    return _marks(
        frame.assign(_at=positions), by, x, title or x, ends, scales.clock if timed else _number
    )


def _marks(
    frame: pd.DataFrame,
    by: str,
    x: str,
    title: str,
    ends: tuple[float, float],
    words: Callable[[float], str],
    note: str = "",
) -> Picture:
    """Draw the positions of the column ``_at``; ``words`` writes a position as text.

    ``note`` is more to say below the marks.
    """
    rows = [
        marks.Row(name=str(name), positions=[float(one) for one in found["_at"]])
        for name, found in frame.groupby(by, dropna=False, sort=True)
    ]
    rows.sort(key=lambda row: -len(row.positions))
    known = scales.finite(frame["_at"])
    low, high = ends if all(map(math.isfinite, ends)) else scales.span(known, zero=False)
    parts = [
        f"{len(row.positions)} {row.name} from {words(min(found))} to {words(max(found))}"
        for row in rows
        if (found := scales.finite(row.positions))
    ]
    figure = marks.Marks(
        title=f"{title}: {', '.join(f'{len(row.positions):,} {row.name}' for row in rows[:3])}",
        words=f"{title}: {'; '.join(parts[: marks.MOST])}",
        rows=rows[: marks.MOST],
        low=low,
        high=high,
        ends=(f"{x} {words(low)}", words(high)),
        rest=others([row.name for row in rows[marks.MOST :]]) or note,
    )
    return Picture(marks.draw(figure), figure.words, interactive.of_marks(figure))


def _number(value: float) -> str:
    return f"{value:g}"


@checked
def differences(frame: Frame, *, title: str = "Where the rows differ") -> Picture:
    """Draw where in the key range the differing rows are, and say which columns differ.

    Parameters
    ----------
    frame
        Rows of `rb.reconcile`. Keys that are not numbers are placed by rank.
    title
        Words above the figure.
    """
    named = {name: name for name in ("key", "kind", "columns")}
    must_have("rb.figure.differences", frame, **named)
    rows = frame[~frame["kind"].isin(OF_COLUMNS)]
    if (empty := nothing(title, rows, "key")) is not None:
        return empty
    keys = pd.to_numeric(rows["key"], errors="coerce").astype("float64")
    numeric = bool(keys.notna().all())
    ranked = sorted(map(str, rows["key"]))
    places = {key: float(place) for place, key in enumerate(ranked)}
    at = keys if numeric else rows["key"].astype(str).map(places)
    ends = frame.attrs.get("key_range", (None, None)) if numeric else (None, None)
    low, high = (math.nan if one is None else float(one) for one in ends)
    columns = rows.loc[rows["kind"] == "changed", "columns"].str.split(", ").explode()
    counts = columns.value_counts().head(10)
    differ = [f"{name} differs in {count}" for name, count in counts.items()]
    drawn = _marks(
        rows.assign(_at=at), "kind", "key", title, (low, high),
        _number if numeric else lambda place: ranked[round(place)],
        "; ".join(differ),
    )  # fmt: skip
    return Picture(drawn.svg, "; ".join([drawn.caption, *differ]), drawn.interactive)
