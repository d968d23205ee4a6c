"""Convert the answer that a document expects of a query to calls of `rb.check`. Pure.

A figure is checked only if the query certainly returns it: in its only column, or in the column
that the document names. A limit with a unit is checked only if the column's unit is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rbkernel.importer import calls, queries
from rbkernel.importer.stated.expectation import Expectation
from rbkernel.runbook.quantities import Threshold, converted, needs_unit

# columns of PostgreSQL that are intervals, and expressions that give one; a check reads them as s
_INTERVALS = re.compile(r"^(?:replay_lag|write_lag|flush_lag)$")
# what certainly gives a boolean
_BOOLEAN = re.compile(
    r"^\s*(?:pg_is_in_recovery|pg_is_wal_replay_paused|bool_and|bool_or|every|exists|not|has_\w+_privilege"
    r"|pg_has_role)\b|[^-<>]\s*[<>=]=?\s*[^<>]|\bis (?:not )?(?:null|true|false)\b|::bool",
    re.IGNORECASE,
)
_TRUE, _FALSE = frozenset({"t", "true"}), frozenset({"f", "false"})
_ROWS = frozenset({"row", "rows"})
_SUFFIXES = {"s": "s", "sec": "s", "secs": "s", "seconds": "s", "ms": "ms", "min": "min"}
_SUFFIXES |= {"minutes": "min", "bytes": "B", "kb": "kB", "mb": "MB", "gb": "GB", "pct": "%"}
_SUFFIXES |= {"percent": "%"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """A limit for a value in the answer to a query.

    ``column`` is the column of the value; empty if the number of rows is the value. ``least`` is
    true if the smallest of several values counts, ``mild`` for a limit that is a warning.
    """

    column: str
    limit: float
    below: bool = False
    at_limit: bool = False
    unit: str = ""
    mild: bool = False
    least: bool = False


def of(sql: str, expected: Expectation) -> list[Check]:
    """Return the checks of a query; none if it is not certain that the query returns the figures.

    >>> from rbkernel.importer.stated import expectations
    >>> [one] = of("SELECT count(*) AS stuck FROM outbox", expectations.read(["expected: 0"]))
    >>> one.column, one.limit, one.below
    ('stuck', 0.0, False)
    >>> of("SELECT * FROM outbox", expectations.read(["expected: 0"]))
    []
    """
    if expected.no_rows or expected.empty:
        return _none(_without_comments(sql))
    if expected.answers in _TRUE | _FALSE:
        return _boolean(_without_comments(sql), true=expected.answers in _TRUE)
    found = [_check(sql, column, limit) for column, limit in expected.limits]
    mild = [_check(sql, column, limit) for column, limit in expected.warnings]
    if not all((*found, *mild)):
        return []
    return [*filter(None, found), *(replace(one, mild=True) for one in mild if one)]


def _none(sql: str) -> list[Check]:
    """Return the check that a query finds nothing.

    It checks that there is no row. An aggregate always returns one row; so for ``count(…)`` it
    checks that the count is 0, and for another aggregate there is no check.
    """
    what = queries.what_is_selected(sql)
    if not what and queries.AGGREGATE.search(sql):
        return []  # it is unknown whether the aggregate makes the last row
    if queries.has_rows(sql):
        return [Check(column="", limit=0)]
    counts = re.match(r"count\s*\(", what, re.IGNORECASE)
    column = queries.column_of(sql)
    return [Check(column=column, limit=0)] if counts and column else []


def _boolean(sql: str, *, true: bool) -> list[Check]:
    """Return the check of a column that is certainly boolean; none for other columns."""
    what, column = queries.what_is_selected(sql), queries.column_of(sql)
    if not column or not _BOOLEAN.search(what):
        return []
    if true:
        return [Check(column=column, limit=1, below=True, least=queries.has_rows(sql))]
    return [Check(column=column, limit=0)]


def _check(sql: str, named: str, limit: Threshold) -> Check | None:
    bare = _without_comments(sql)
    column = queries.column_of(bare)
    if named and named != column:
        what = re.sub(r"\([^()]*\)", "", queries.what_is_selected(sql))
        alone = rf"(?:^|,|\bas\s|\.)\s*{re.escape(named)}\s*(?:,|$)"
        column = named if re.search(alone, what.strip(), re.IGNORECASE) else ""
    if not column or (limit.unit in _ROWS and not _counts_rows(bare)):
        return None
    unit = _unit(column, bare)
    if not limit.unit:
        return Check(
            column=column,
            limit=limit.value,
            below=limit.below,
            at_limit=limit.inclusive,
            unit=unit,
            least=limit.below and queries.has_rows(bare),
        )
    value = converted(limit.value, limit.unit, unit) if unit else None
    if value is None and (unit or needs_unit(limit.unit)):
        return None
    return Check(
        column=column,
        limit=limit.value if value is None else value,
        below=limit.below,
        at_limit=limit.inclusive,
        unit=unit,
        least=limit.below and queries.has_rows(bare),
    )


def _counts_rows(sql: str) -> bool:
    """Tell whether the only row of an answer is a count, so that "5 rows" may mean its figure."""
    what = "" if queries.has_rows(sql) else queries.what_is_selected(sql)
    return re.match(r"count\s*\(", what, re.IGNORECASE) is not None


def _without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", sql, flags=re.DOTALL).strip()


def _unit(column: str, sql: str) -> str:
    """Return the unit of a column; empty if it is unknown."""
    if _INTERVALS.match(column) and "pg_stat_replication" in sql:
        return "s"
    if re.search(rf"\bage\s*\(.*\bas\s+{re.escape(column)}\b", sql, re.IGNORECASE | re.DOTALL):
        return "s"
    stem, _, suffix = column.rpartition("_")
    return _SUFFIXES.get(suffix, "") if stem else ""


def _aggregate(check: Check) -> str:
    """Return the argument ``agg`` as source; empty for the default, the largest value."""
    if not check.column:
        return calls.quoted("rows")
    return calls.quoted("min") if check.least else ""


def calls_of(checks: Sequence[Check], title: str, frame: str) -> str:
    """Return the `rb.check` calls as source; a figure with two limits has two calls."""
    return "\n".join(
        calls.call(
            "rb.check",
            calls.quoted(title + (", warning" if check.mild else ", at least" if number else "")),
            frame,
            *([calls.quoted(check.column)] if check.column else []),
            agg=_aggregate(check),
            **{"warn" if check.mild else "critical": f"{check.limit:.15g}"},
            below="True" if check.below else "",
            at_limit="True" if check.at_limit else "",
            unit=calls.quoted(check.unit) if check.unit else "",
        )
        for number, check in enumerate(checks)
    )
