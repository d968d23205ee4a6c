"""Convert answers to DataFrames, by the types of the server's columns.

Integers stay integers even with NULLs, and a numeric keeps its digits: a figure in the
evidence is the figure in the database.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator

from rbkernel.checks import values
from rbkernel.checks.answer import BOOLEAN, FLOATS, INTEGERS, INTERVAL, TIMESTAMPS, Answer, failed
from rbkernel.checks.assessed import Assessed
from rbkernel.errors import RbkernelError


def _frame_of(given: Any) -> Any:
    return given.frame if isinstance(given, Assessed) else given


# the types that functions accept as a frame: a frame, or the result of `rb.assess`
Frame = Annotated[pd.DataFrame, BeforeValidator(_frame_of)]


def to_frame(answer: Answer) -> pd.DataFrame:
    """Build a frame of rows × columns, with the answer's `Provenance` in ``attrs["rbkernel"]``.

    The notes of the provenance name the columns with values shown as text, and why.
    """
    names = _unique([column.name for column in answer.columns])
    taken = [
        _taken([row[place] for row in answer.rows], column.oid)
        for place, column in enumerate(answer.columns)
    ]
    frame = pd.concat([column for column, _ in taken], axis=1) if taken else pd.DataFrame()
    frame.columns = pd.Index(names)
    notes = (f"{name}: {why}" for name, (_, whys) in zip(names, taken, strict=True) for why in whys)
    frame.attrs["rbkernel"] = replace(
        answer.provenance,
        notes=(*answer.provenance.notes, *notes),
        missing={**missing(frame, answer.rows), **answer.provenance.missing},
    )
    return frame


def failed_frame(
    columns: Sequence[str], error: RbkernelError, *, name: str, connection: str, sql: str
) -> pd.DataFrame:
    """Return an empty frame (0 × columns) for a failed query, with the reason in its provenance."""
    return to_frame(failed(columns, error, name=name, connection=connection, sql=sql))


def missing(frame: pd.DataFrame, rows: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Return what the missing values of float columns with NaN are: ``NaN`` or ``NULL or NaN``.

    pandas shows a NULL as NaN, too, but findings distinguish the two. Columns in which only NULL is
    missing are left out.

    >>> rows = [(1.0, float("nan")), (None, 2.0)]
    >>> missing(pd.DataFrame(rows, columns=["a", "b"]), rows)
    {'b': 'NaN'}
    """
    found = {}
    for place, (name, dtype) in enumerate(frame.dtypes.items()):
        if dtype == "float64" and frame.iloc[:, place].hasnans:
            values = (row[place] for row in rows)
            nulls = [value is None for value in values if value is None or math.isnan(value)]
            if not all(nulls):
                found[str(name)] = "NULL or NaN" if any(nulls) else "NaN"
    return found


def _unique(names: list[str]) -> list[str]:
    """Add numbers to repeated column names, as in a join of two tables with the same column.

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
    """Return a column, and the reasons why some of its values are shown as text."""
    if not (whys := values.notes(items)):
        return _column(items, oid), []
    items = [values.plain(item) for item in items]
    if oid in TIMESTAMPS or oid == INTERVAL:
        # texts and times in one column: each value stays unchanged
        items = [_as_pandas(item, oid) for item in items]
    return pd.Series(items, dtype=object), whys


def _as_pandas(item: Any, oid: int) -> Any:
    return item if item is None or isinstance(item, str) else _column([item], oid)[0]


def _column(items: list[Any], oid: int) -> pd.Series[Any]:
    if oid in INTEGERS:
        return pd.Series(items, dtype="Int64")
    if oid in FLOATS:
        return pd.Series(items, dtype="float64")
    if oid == BOOLEAN:
        return pd.Series(items, dtype="boolean")
    if oid in TIMESTAMPS:
        return pd.Series(pd.to_datetime(pd.Series(items, dtype=object), utc=TIMESTAMPS[oid]))
    if oid == INTERVAL:
        return pd.Series(pd.to_timedelta(pd.Series(items, dtype=object)))
    return pd.Series(items, dtype=object)
