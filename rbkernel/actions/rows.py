"""Write plans that set columns of chosen rows. Pure, as `plans`.

The arguments of such a plan are JSON values: ``table`` and the names of columns are SQL names, and
every value is a text, or None for NULL. ``key`` are the columns that identify a row; each of the
``rows`` has its ``key``, and the values of the changed columns ``before`` and ``after``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd

from rbkernel import amounts
from rbkernel.actions.plans import must_have, planned, rows_of
from rbkernel.arguments import checked
from rbkernel.checks.frames import Frame
from rbkernel.errors import ParameterError
from rbkernel.model import ActionPlan
from rbkernel.sources.postgres.connection.driver import quote_identifier, quote_literal


@checked
def set_flag(
    db: str,
    rows: Frame,
    values: Mapping[str, Any],
    *,
    table: str,
    key: str | Sequence[str] = "id",
    title: str = "",
    risk: str = "",
    verify: str = "",
) -> ActionPlan:
    """Plan to set columns of chosen rows: a flag, the stage of a migration, a mode.

    Parameters
    ----------
    db
        Connection name of the primary.
    rows
        The rows as they are now, with the columns of the key and those that change, such as the
        result of a query. If a row has other values by then, nothing is changed. Select a column
        whose values are no numbers, texts, times or truth values as text: ``"limits"::text``.
    values
        Column → its new value; None for NULL.
    table
        The SQL name of the table with its schema: ``shop.flags``.
    key
        The column, or columns, that identify a row.
    title, risk
        Texts for the person who decides.
    verify
        The diagnostic that shows whether the change worked.

    >>> flags = pd.DataFrame({"name": ["new-checkout"], "enabled": [True]})
    >>> print(set_flag("orders", flags, {"enabled": False}, table="shop.flags", key="name").sql)
    UPDATE shop.flags SET "enabled" = 'false'
    WHERE "name"::text = 'new-checkout' AND "enabled"::text IS NOT DISTINCT FROM 'true'
    RETURNING "name", "enabled";
    """
    keys = [key] if isinstance(key, str) else list(key)
    must_have("rows", rows, [*keys, *values], "rows with the key and the columns that change")
    if "." not in table or not keys or not values or set(keys) & set(values):
        raise ParameterError(
            "rb.actions.set_flag needs a table with its schema, a key, and columns to set that are"
            f" not of the key; these are {table!r}, {keys} and {list(values)}",
            next_step='pass table="SCHEMA.TABLE", key=… and values={column: value}',
        )
    after = {name: _text(name, value) for name, value in values.items()}
    arguments = {
        "table": table,
        "key": [quote_identifier(one) for one in keys],
        "rows": [
            {
                "key": [_text(name, one[name]) for name in keys],
                "before": {quote_identifier(name): _text(name, one[name]) for name in values},
                "after": {quote_identifier(name): value for name, value in after.items()},
            }
            for one in rows_of(rows, [*keys, *values])
        ],
    }
    shown = {name: "NULL" if value is None else value for name, value in after.items()}
    said = ", ".join(f"{name} to {value}" for name, value in shown.items())
    return planned(
        title=title or f"Set {said} in {amounts.count(len(rows), 'row')} of {table}",
        connection=db,
        sql=rows_sql(arguments),
        action="set_flag",
        arguments=arguments,
        targets=rows_of(rows, [*keys, *values]),
        undo=rows_sql(inverse(arguments)),
        risk=risk,
        verify=verify,
    )


def rows_sql(arguments: Mapping[str, Any]) -> str:
    """Return the SQL to copy, which sets columns of rows that still have their values."""
    return "\n".join(
        _update(arguments["table"], arguments["key"], one) for one in arguments["rows"]
    )


def inverse(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the change that restores the rows.

    >>> row = {"key": ["7"], "before": {"a": None}, "after": {"a": "x"}}
    >>> inverse({"table": "t", "key": ["id"], "rows": [row]})["rows"]
    [{'key': ['7'], 'before': {'a': 'x'}, 'after': {'a': None}}]
    """
    rows = [
        {"key": one["key"], "before": one["after"], "after": one["before"]}
        for one in arguments["rows"]
    ]
    return {"table": arguments["table"], "key": arguments["key"], "rows": rows}


def _update(table: str, key: Sequence[str], row: Mapping[str, Any]) -> str:
    sets = ", ".join(f"{name} = {quote_literal(value)}" for name, value in row["after"].items())
    chosen = [
        f"{name}::text = {quote_literal(value)}"
        for name, value in zip(key, row["key"], strict=True)
    ]
    chosen += [
        f"{name}::text IS NOT DISTINCT FROM {quote_literal(value)}"
        for name, value in row["before"].items()
    ]
    returned = ", ".join([*key, *row["after"]])
    return f"UPDATE {table} SET {sets}\nWHERE {' AND '.join(chosen)}\nRETURNING {returned};"


def _text(name: str, value: Any) -> str | None:
    r"""Return a value as PostgreSQL reads it; None for NULL.

    >>> _text("a", True), _text("a", b"\x00"), _text("a", pd.NaT), _text("a", Decimal("1.50"))
    ('true', '\\x00', None, '1.50')
    """
    value = value.item() if hasattr(value, "item") else value
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return rf"\x{value.hex()}"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, str | int | float | Decimal | UUID):
        return str(value)
    raise ParameterError(
        f"the column {name} has values of the type {type(value).__name__}, which have several texts"
        " in PostgreSQL",
        where="rb.actions.set_flag",
        next_step=f'select it as text: "{name}"::text AS "{name}"',
    )
