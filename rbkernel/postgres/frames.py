"""Rows of the driver → DataFrame, by the server's own types.

Integers stay integers although there are NULLs, and a numeric keeps its digits: a figure in the
evidence is the figure in the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

# PostgreSQL's type OIDs (src/include/catalog/pg_type.dat), fixed for built-in types
_INTEGERS = {20, 21, 23, 26}
_FLOATS = {700, 701}
_BOOLEAN = 16
_TIMESTAMPS = {1114: False, 1184: True}
_INTERVAL = 1186


def to_frame(rows: Sequence[Sequence[Any]], description: Sequence[Any]) -> pd.DataFrame:
    """Build a frame of len(rows) × len(description), one column a described column."""
    columns = [_column([row[i] for row in rows], d[1]) for i, d in enumerate(description)]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = pd.Index(_unique([d[0] for d in description]))
    return frame


def _unique(names: list[str]) -> list[str]:
    """Number the names that come again, as in a join of two tables with the same column.

    >>> _unique(["id", "sum", "id", "id"])
    ['id', 'sum', 'id_2', 'id_3']
    """
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def _column(values: list[Any], oid: int) -> pd.Series[Any]:
    if oid in _INTEGERS:
        return pd.Series(values, dtype="Int64")
    if oid in _FLOATS:
        return pd.Series(values, dtype="float64")
    if oid == _BOOLEAN:
        return pd.Series(values, dtype="boolean")
    if oid in _TIMESTAMPS:
        return pd.Series(pd.to_datetime(pd.Series(values, dtype=object), utc=_TIMESTAMPS[oid]))
    if oid == _INTERVAL:
        return pd.Series(pd.to_timedelta(pd.Series(values, dtype=object)))
    return pd.Series(values, dtype=object)
