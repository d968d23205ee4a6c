"""Rows of the driver, within caps → DataFrame, by the server's own types.

Integers stay integers although there are NULLs, and a numeric keeps its digits: a figure in the
evidence is the figure in the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from sys import getsizeof
from typing import Any

import pandas as pd
from pandas.api.types import is_object_dtype, is_string_dtype
from sqlalchemy import CursorResult, Row

from rbkernel.postgres import values
from rbkernel.redact.columns import MASKED, Policy, Redaction, token

# PostgreSQL's type OIDs (src/include/catalog/pg_type.dat), fixed for built-in types
_INTEGERS = {20, 21, 23, 26}
_FLOATS = {700, 701}
_BOOLEAN = 16
_TIMESTAMPS = {1114: False, 1184: True}
_INTERVAL = 1186
# Each batch of rows is so many times larger than the one before, once their size is known.
_GROWTH = 8


def within_caps(
    result: CursorResult[Any], row_cap: int, size_cap_mb: int
) -> tuple[list[Row[Any]], str]:
    """Fetch in batches until a cap is reached, and name that cap.

    A batch is one round trip, and no larger than the sizes seen so far let expect: the whole stays
    near the cap, unless a few rows are far larger than those before them.
    """
    rows: list[Row[Any]] = []
    cap_bytes, held_bytes, batch = size_cap_mb * 1_000_000, 0, 1
    while True:
        fetched = result.fetchmany(batch)
        rows += fetched
        held_bytes += sum(getsizeof(value) for row in fetched for value in row)
        if len(rows) > row_cap:
            return rows[:row_cap], f"the row cap of {row_cap}"
        if held_bytes > cap_bytes:
            return rows, f"the size cap of {size_cap_mb} MB"
        if len(fetched) < batch:
            return rows, ""
        room = (cap_bytes - held_bytes) * len(rows) // (held_bytes or 1)
        batch = max(1, min(batch * _GROWTH, room, row_cap + 1 - len(rows)))


def to_frame(
    rows: Sequence[Sequence[Any]], description: Sequence[Any]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Build a frame of len(rows) × len(description), one column a described column.

    Returns
    -------
    frame, notes
        The notes say of which columns values are shown as text, and why.
    """
    names = _unique([d[0] for d in description])
    taken = [_taken([row[i] for row in rows], d[1]) for i, d in enumerate(description)]
    frame = pd.concat([column for column, _ in taken], axis=1) if taken else pd.DataFrame()
    frame.columns = pd.Index(names)
    told = [f"{name}: {why}" for name, (_, whys) in zip(names, taken, strict=True) for why in whys]
    return frame, tuple(told)


def protect(frame: pd.DataFrame, redaction: Redaction) -> dict[str, str]:
    """Apply the column policies to a frame, in place; NULL stays NULL.

    Returns
    -------
    dict
        The policies that were applied, by column.

    Raises
    ------
    ConfigError
        A column is to be hashed, and the key is not there.
    """
    applied = {}
    for column in list(frame.columns):
        policy = redaction.policy(column, text=_is_text(frame[column]))
        if policy is Policy.DROP:
            del frame[column]
        elif policy is Policy.MASK:
            frame[column] = _replaced(frame[column], lambda _: MASKED)
        elif policy is Policy.HASH:
            frame[column] = _replaced(frame[column], partial(token, key=redaction.key()))
        if policy is not Policy.KEEP:
            applied[str(column)] = policy.value
    return applied


def _is_text(column: pd.Series[Any]) -> bool:
    return is_object_dtype(column) or is_string_dtype(column)


def _replaced(column: pd.Series[Any], replacement: Callable[[Any], str]) -> pd.Series[Any]:
    items = [
        None if missing else replacement(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]
    return pd.Series(items, index=column.index, dtype=object)


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


def _taken(items: list[Any], oid: int) -> tuple[pd.Series[Any], list[str]]:
    """Return a column, and why some of its values are shown as text."""
    if not (whys := values.notes(items)):
        return _column(items, oid), []
    items = [values.plain(item) for item in items]
    if oid in _TIMESTAMPS or oid == _INTERVAL:
        # text stands beside times: each is kept as it is
        items = [_as_pandas(item, oid) for item in items]
    return pd.Series(items, dtype=object), whys


def _as_pandas(item: Any, oid: int) -> Any:
    return item if item is None or isinstance(item, str) else _column([item], oid)[0]


def _column(items: list[Any], oid: int) -> pd.Series[Any]:
    if oid in _INTEGERS:
        return pd.Series(items, dtype="Int64")
    if oid in _FLOATS:
        return pd.Series(items, dtype="float64")
    if oid == _BOOLEAN:
        return pd.Series(items, dtype="boolean")
    if oid in _TIMESTAMPS:
        return pd.Series(pd.to_datetime(pd.Series(items, dtype=object), utc=_TIMESTAMPS[oid]))
    if oid == _INTERVAL:
        return pd.Series(pd.to_timedelta(pd.Series(items, dtype=object)))
    return pd.Series(items, dtype=object)
