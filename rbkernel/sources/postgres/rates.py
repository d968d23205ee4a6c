"""Compute growth and rates from two samples of counters. Pure.

A counter of PostgreSQL is a total since its last reset. Two samples give the present rate.

No rate is computed if a counter was reset, or if the second answer came from another server. A row
that did not exist in the first sample has grown from zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from pandas.errors import UndefinedVariableError

from rbkernel.checks.answer import Provenance, provenance
from rbkernel.checks.rules import numbers
from rbkernel.errors import DatabaseError
from rbkernel.sources.postgres.twice import Twice


def between(first: pd.DataFrame, second: pd.DataFrame, twice: Twice) -> pd.DataFrame:
    """Return how counters changed between two answers of the same query.

    Parameters
    ----------
    first, second
        Frames of the same query with a `Provenance`, with one row per key; ``sampled_at`` is the
        server's clock.
    twice
        Which columns are counters, and the columns derived from them.

    Returns
    -------
    pandas.DataFrame
        The rows of the second sample, with its columns and the derived ones. Growth and rates are
        NaN if a counter was reset.

    Raises
    ------
    DatabaseError
        The answers came from two servers, or the rows of the two samples cannot be matched.

    >>> source = Provenance(name="", connection="db", server="one", role="", sql="", values={},
    ...                     at="", duration_s=0.0, rows=2, cut_by="")
    >>> def look(second, deadlocks):
    ...     at = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(seconds=second)
    ...     frame = pd.DataFrame({"database": ["shop", "copy"], "deadlocks": deadlocks})
    ...     frame.attrs["rbkernel"] = source
    ...     return frame.assign(sampled_at=at)
    >>> twice = Twice(every_s=5, key=("database",), counters=("deadlocks",))
    >>> found = between(look(0, [4, 9]), look(5, [5, 2]), twice)  # the second row was reset
    >>> found[["deadlocks_before", "deadlocks", "deadlocks_per_s"]].to_numpy().tolist()
    [[4.0, 1.0, 0.2], [9.0, nan, nan]]
    """
    source = _both(first, second)
    before, frame = (_by_key(one, twice, source) for one in (first, second))
    new = ~frame.index.isin(before.index)
    before = before.reindex(frame.index)
    reset = _reset(before, frame, twice) & ~new
    window_s = _seconds(first, second)
    frame["window_s"] = pd.Series(window_s, index=frame.index, dtype="Float64")
    for column in (*twice.counters, *twice.gauges):
        counts = column in twice.counters
        was, value = _exact(before[column]), _exact(frame[column])
        was = was.mask(new, 0) if counts else was
        change = (value - was).mask(reset)
        frame[f"{column}_before"] = was
        frame[f"{column}_per_s"] = change / frame["window_s"]
        frame[column] = change if counts else value
    frame = _made(frame.reset_index(drop=True), twice)
    passed = f", {window_s:.1f} s apart" if window_s is not None else ""
    notes = [*source.notes, f"two samples{passed}"]
    if many := int(reset.sum()):
        notes.append(
            f"{many} row{'s' * (many > 1)} unknown: the counters were reset between the two samples"
        )
    frame.attrs["rbkernel"] = replace(source, rows=len(frame), notes=tuple(notes))
    return frame


def _both(first: pd.DataFrame, second: pd.DataFrame) -> Provenance:
    """Return one provenance for both answers; raise if two servers answered."""
    one, two = provenance(first), provenance(second)
    assert one is not None
    assert two is not None
    if one.server != two.server:
        raise DatabaseError(
            f"two servers answered: first {one.server}, then {two.server}",
            where=f"connection {two.connection}",
            next_step="run it again if there was a failover; else use a connection that leads to"
            " only one server",
        )
    duration_s = round(one.duration_s + two.duration_s, 4)
    return replace(two, duration_s=duration_s, cut_by=two.cut_by or one.cut_by)


def _by_key(frame: pd.DataFrame, twice: Twice, source: Provenance) -> pd.DataFrame:
    """Return the rows of a frame with the key as index, and with every declared column."""
    counted = (*twice.key, *twice.counters, *twice.gauges, *twice.since)
    # a column policy may have dropped some columns
    missing = [column for column in counted if column not in frame]
    frame = frame.reindex(columns=[*frame.columns, *missing])
    unclear = frame.duplicated(list(twice.key)).any() if twice.key else len(frame) > 1
    if unclear:
        raise DatabaseError(
            f"the rows of the two samples cannot be matched by {', '.join(twice.key)}",
            where=f"connection {source.connection}",
            next_step="hash these columns instead of masking or dropping them: [redaction] columns"
            " in rbkernel.toml",
        )
    return frame.set_index(list(twice.key), drop=False) if twice.key else frame


def _seconds(first: pd.DataFrame, second: pd.DataFrame) -> float | None:
    """Return the seconds between two samples by the server's clock; None if unknown."""
    if first.empty or second.empty:
        return None
    passed = (second["sampled_at"].max() - first["sampled_at"].max()).total_seconds()
    return float(passed) if passed > 0 else None  # the clock may have been set back


def _reset(before: pd.DataFrame, now: pd.DataFrame, twice: Twice) -> pd.Series[bool]:
    """Return a mask of the rows whose counters were reset since the first sample."""
    found = pd.Series(False, index=now.index)
    for column in twice.counters:
        found |= (_exact(now[column]) < _exact(before[column])).fillna(False).astype(bool)
    for column in twice.since:
        known = now[column].notna() | before[column].notna()
        found |= known & (now[column] != before[column])
    return found


def _exact(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of numbers in a type that distinguishes unknown (NA) from 0 / 0 (NaN)."""
    return column if str(column.dtype) == "Int64" else numbers(column).astype("Float64")


def _made(frame: pd.DataFrame, twice: Twice) -> pd.DataFrame:
    """Add the derived columns to a frame, and return the rows to keep, sorted."""
    for column, expression in twice.made.items():
        frame[column] = _evaluated(frame, expression)
    if twice.keep:
        frame = frame[_evaluated(frame, twice.keep).fillna(True).astype(bool)]
    if twice.worst_first:
        frame = frame.sort_values(twice.worst_first, ascending=False, kind="stable")
    floats = [name for name in frame if str(frame[name].dtype) == "Float64"]
    return frame.astype(dict.fromkeys(floats, "float64")).reset_index(drop=True)


def _evaluated(frame: pd.DataFrame, expression: str) -> pd.Series[Any]:
    try:
        found: Any = frame.eval(expression, engine="python")
    except UndefinedVariableError:  # a column policy has dropped a column of the expression
        found = None
    return pd.Series(found, index=frame.index)
