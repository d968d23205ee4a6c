"""How fast a figure grows, and when it reaches a limit if that goes on. Pure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

# values of a series below which no line is drawn through them
_FEWEST = 4
# the part of a range that is also looked at alone: its last sixth
_RECENT = 6
_HOUR_S = 3600.0


def trends(frame: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Return the growth of each series, by straight lines through its values (least squares).

    Parameters
    ----------
    frame
        Rows × (series, sampled_at, value, labels), as `rb.promql` returns them for a range.
    limit
        The value at which something is full.

    Returns
    -------
    pandas.DataFrame
        A row for each series × (series, the labels, value: the latest, per_h: growth in an hour,
        left_h: h until the limit; infinite if it does not grow, 0 beyond the limit). The growth is
        the faster one of the whole range and of its last sixth, so that a slow hour, or a fall in
        it, does not hide what grows now. ``per_h`` and ``left_h`` are missing for series with
        fewer than 4 values.

    >>> at = pd.date_range("2026-12-01", periods=5, freq="h", tz="UTC")
    >>> rising = pd.DataFrame({"series": "a", "sampled_at": at, "value": [0.5, 0.6, 0.7, 0.8, 0.9]})
    >>> trends(rising, 1.0)[["value", "per_h", "left_h"]].round(3).to_numpy().tolist()
    [[0.9, 0.1, 1.0]]
    >>> trends(rising, math.inf)["left_h"].tolist()
    [inf]
    """
    labels = [name for name in frame.columns if name not in {"sampled_at", "value"}]
    rows = [
        {**of_it.iloc[-1][labels], **_line(of_it, limit)}
        for _, of_it in frame.groupby("series", sort=False)
    ]
    return pd.DataFrame(rows, columns=[*labels, "value", "per_h", "left_h"])


def _line(rows: pd.DataFrame, limit: float) -> dict[str, float]:
    known = rows.dropna(subset=["value"])
    latest = float(known["value"].iloc[-1]) if len(known) else math.nan
    if len(known) < _FEWEST:
        return {"value": latest, "per_h": math.nan, "left_h": math.nan}
    hours = (known["sampled_at"] - known["sampled_at"].iloc[0]).dt.total_seconds() / _HOUR_S
    values = known["value"].astype(float)
    recent = max(_FEWEST, len(known) // _RECENT)
    per_h = max(_slope(hours.tail(last), values.tail(last)) for last in (len(known), recent))
    grows = per_h > 0 and not math.isclose(per_h, 0, abs_tol=1e-9 * abs(limit))
    left_h = max(0.0, (limit - latest) / per_h) if grows else math.inf
    return {"value": latest, "per_h": per_h, "left_h": 0.0 if latest >= limit else left_h}


def _slope(hours: pd.Series[float], values: pd.Series[float]) -> float:
    return float(np.polyfit(hours, values, 1)[0])
