"""Which rows of two tables on one server differ, and keep on differing.

A full join compares every shared column with IS DISTINCT FROM. Rows in flight are no drift: each
suspect is looked at again after a delay, and only one that differs in the same way both times is
persistent. One that still differs, but whose values have moved on, is looked at once more.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

import pandas as pd

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.postgres.driver import quote_identifier, quote_literal
from rbkernel.postgres.session import Session, failed_frame

COLUMNS = ("key", "kind", "columns", "state")
_LOOKS = 3

_SHARED_COLUMNS = """
SELECT a.attname::text AS name
FROM pg_attribute a
JOIN pg_attribute b ON b.attname = a.attname
WHERE a.attrelid = CAST(:left AS regclass) AND b.attrelid = CAST(:right AS regclass)
  AND a.attnum > 0 AND b.attnum > 0 AND NOT a.attisdropped AND NOT b.attisdropped
ORDER BY a.attnum
"""
_ENDS = "SELECT min({key}) AS low, max({key}) AS high FROM {table}"


def compare(
    session: Session, left: str, right: str, *, key: str, recheck_after_s: float = 5.0
) -> pd.DataFrame:
    """Compare `right` with `left`, the source of truth.

    Parameters
    ----------
    session
        The connection to the server that holds both.
    left, right
        Table names, possibly qualified.
    key
        Column that identifies a row in both; it must not be NULL.
    recheck_after_s
        Seconds between two looks at a suspect: longer than a row is ever in flight.

    Returns
    -------
    pandas.DataFrame
        A row a suspect: ``key``; ``kind`` (missing, extra, changed: what is wrong in `right`);
        ``columns`` that differ; ``state``: ``persistent``, ``in flight`` (it had arrived at a
        later look) or ``unsettled`` (it still differed, but kept changing).
        ``attrs["compared"]`` holds the compared columns, ``attrs["key_range"]`` the smallest and
        largest key of `left`. Empty with a reason when the patient
        could not answer.

    Raises
    ------
    QueryError
        A table or the key does not exist.
    """
    try:
        return _compare(session, left, right, key, recheck_after_s)
    except DatabaseError as error:
        return failed_frame(
            COLUMNS,
            error,
            name=f"reconcile {left} with {right}",
            connection=session.connection.name,
            sql="",
        )


def _compare(session: Session, left: str, right: str, key: str, delay_s: float) -> pd.DataFrame:
    shared = list(
        session.query(_SHARED_COLUMNS, {"left": left, "right": right}, protect=False)["name"]
    )
    if key not in shared:
        raise QueryError(
            f"both tables need the key column {key!r}; they share {', '.join(shared) or 'none'}",
            where=f"{left}, {right}",
            next_step="name a column that identifies a row in both",
        )
    name = f"reconcile {left} with {right}"
    first = session.query(_statement(left, right, key, shared), name=name)
    suspects = first.assign(state="unsettled")
    for _ in range(_LOOKS - 1):
        if not (suspects["state"] == "unsettled").any():
            break
        time.sleep(delay_s)
        suspects = _look_again(session, suspects, _statement(left, right, key, shared, again=True))
    found = suspects.drop(columns="version")
    ends = session.query(_ENDS.format(key=quote_identifier(key), table=_table(left))).iloc[0]
    found.attrs = {**first.attrs, "compared": tuple(shared), "key_range": (ends.low, ends.high)}
    return found


def _look_again(session: Session, suspects: pd.DataFrame, statement: str) -> pd.DataFrame:
    unsettled = suspects["state"] == "unsettled"
    seen = session.query(statement, {"keys": suspects.loc[unsettled, "key"].tolist()})
    found = {row["key"]: row for row in seen.to_dict("records")}
    rows = [
        _settle(row, found.get(row["key"])) if row["state"] == "unsettled" else row
        for row in suspects.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=suspects.columns)


def _settle(row: dict[Hashable, Any], seen: dict[Hashable, Any] | None) -> dict[Hashable, Any]:
    """Say what a later look makes of a suspect.

    >>> _settle({"key": 1, "version": "a", "state": "unsettled"}, None)["state"]
    'in flight'
    """
    if seen is None:
        return {**row, "state": "in flight"}
    same = seen["version"] == row["version"]
    return {**seen, "state": "persistent" if same else "unsettled"}


def _statement(left: str, right: str, key: str, columns: list[str], *, again: bool = False) -> str:
    k = quote_identifier(key)
    compared = [quote_identifier(column) for column in columns if column != key]
    differs = [f"l.{c} IS DISTINCT FROM r.{c}" for c in compared]
    words = [quote_literal(column) for column in columns if column != key]
    names = ", ".join(f"CASE WHEN {d} THEN {c} END" for d, c in zip(differs, words, strict=True))
    only = f" WHERE {k} = ANY(:keys)" if again else ""
    return f"""
SELECT coalesce(l.{k}, r.{k}) AS key,
       CASE WHEN r.{k} IS NULL THEN 'missing' WHEN l.{k} IS NULL THEN 'extra' ELSE 'changed' END
           AS kind,
       CASE WHEN l.{k} IS NULL OR r.{k} IS NULL THEN ''
            ELSE concat_ws(', ', {names or "NULL"}) END AS columns,
       md5(concat(l, '|', r)) AS version
FROM (SELECT * FROM {_table(left)}{only}) l
FULL JOIN (SELECT * FROM {_table(right)}{only}) r ON l.{k} = r.{k}
WHERE {" OR ".join([f"l.{k} IS NULL", f"r.{k} IS NULL", *differs])}
ORDER BY 1
"""


def _table(name: str) -> str:
    return quote_identifier(*name.split("."))
