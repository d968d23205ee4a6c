"""Find the document's own queries that measure its metrics. Pure.

A metric is measured by the document's own query, if it has one, not by a diagnostic of rbkernel.
The metric's name is before the query in its line, in the comment above it, or in its table row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rbkernel.importer import tables
from rbkernel.importer.reading import holes, languages, plaintext, statements
from rbkernel.importer.reading.blocks import Block
from rbkernel.runbook.quantities import threshold
from rbkernel.sql.words import only_reads

_COLUMN = re.compile(r"\bas\s+\"?(?P<alias>[a-z_]\w*)\"?\s*$", re.IGNORECASE)
# PostgreSQL names a column without an alias after its function or column, but not `extract`
_FUNCTION = re.compile(
    r"(?!extract\b|coalesce\b|case\b)(?P<name>[a-z_]\w*)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)(?:::\w+)?\s*$",
    re.IGNORECASE,
)
_PLAIN_COLUMN = re.compile(
    r"(?:distinct\s+)?(?:[a-z_]\w*\.)?(?P<name>[a-z_]\w*)(?:::\w+)?\s*$", re.IGNORECASE
)
_SELECTED = re.compile(
    r"^\s*select\s+(?P<what>.+?)(?:\s+from\b|\s*;?\s*\Z)", re.IGNORECASE | re.DOTALL
)
AGGREGATE = re.compile(
    r"\b(?:count|sum|max|min|avg|bool_and|bool_or|every|\w+_agg)\s*\((?![^)]*\)\s*over\b)",
    re.IGNORECASE,
)
_MEASURED_BY = ("diagnostic", "column", "agg", "unit")


def bound(
    metrics: Sequence[Mapping[str, Any]],
    blocks: Sequence[Block],
    refuses: Callable[[str], str],
) -> list[dict[str, Any]]:
    """Return the metrics, each with the document's own query for it if there is one."""
    found = dict(_named(blocks))
    return [_with_query(one, found, refuses) for one in metrics]


def _with_query(
    metric: Mapping[str, Any], found: Mapping[str, str], refuses: Callable[[str], str]
) -> dict[str, Any]:
    name = _plain(str(metric.get("name", "")))
    sql = str(metric.get("query", "")) or next(
        (query for said, query in found.items() if name and _speaks_of(said, name)), ""
    )
    column = column_of(sql)
    if not column or languages.dialect(sql) or holes.find(sql) or refuses(sql):
        return {key: value for key, value in metric.items() if key != "query"}
    rest = {key: value for key, value in metric.items() if key not in _MEASURED_BY}
    limit = threshold(metric.get("critical") or metric.get("warning"))
    # of several rows, the worst counts
    agg = {"agg": "min"} if limit and limit.below and has_rows(sql) else {}
    return {**rest, "query": sql.rstrip().rstrip(";"), "column": column, **agg}


def what_is_selected(sql: str) -> str:
    """Return what a query selects, up to the FROM outside all parentheses; empty if there is none.

    >>> what_is_selected("SELECT extract(epoch FROM now()) AS s FROM t")
    'extract(epoch FROM now()) AS s'
    """
    text = re.sub(r"^(?:\s|--[^\n]*\n|/\*.*?\*/)+", "", sql, flags=re.DOTALL)
    plain, inner = text, ""
    while plain != inner:
        inner = plain
        # parentheses, and what is between them, become letters
        plain = re.sub(r"\([^()]*\)", lambda found: "_" * len(found[0]), inner)
    selected = _SELECTED.match(plain)
    return text[selected.start("what") : selected.end("what")].strip() if selected else ""


def has_rows(sql: str) -> bool:
    """Tell whether a query may return several rows.

    >>> has_rows("SELECT free_pct FROM disks"), has_rows("SELECT min(free_pct) FROM disks")
    (True, False)
    """
    what = what_is_selected(sql)
    grouped = re.search(r"\bgroup\s+by\b", sql, re.IGNORECASE)
    return not what or bool(grouped) or not AGGREGATE.search(what)


def column_of(sql: str) -> str:
    """Return the name of a query's only column; empty if it has several.

    >>> column_of("SELECT count(*) FROM outbox"), column_of("select a, b from t")
    ('count', '')
    >>> column_of("SELECT max(age(now(), t)) AS oldest_s FROM x"), column_of("DELETE FROM x")
    ('oldest_s', '')
    >>> column_of("SELECT pg_is_in_recovery()"), column_of("SELECT s.deadlocks FROM s")
    ('pg_is_in_recovery', 'deadlocks')
    >>> column_of("SELECT max(a) - min(b) FROM t"), column_of("SELECT * FROM t")
    ('', '')
    """
    what = what_is_selected(sql)
    if not what or not only_reads(sql) or ";" in sql.strip().rstrip(";"):
        return ""
    if _top_level_commas(what):
        return ""
    named = _COLUMN.search(what)
    if named:
        return named["alias"].lower()
    called = _FUNCTION.match(what) or _PLAIN_COLUMN.match(what)
    return called["name"].lower() if called else ""


def _top_level_commas(text: str) -> bool:
    while (inner := re.sub(r"\([^()]*\)", "", text)) != text:
        text = inner
    return "," in text


def _named(blocks: Sequence[Block]) -> Iterator[tuple[str, str]]:
    """Yield the queries of the document as (words that name the query, query)."""
    for block in blocks:
        if block.kind in {"step", "paragraph", "list"}:
            for line in block.text.splitlines():
                before, _, rest = line.partition("`")
                sql = rest.partition("`")[0]
                if statements.is_sql(sql):
                    yield _plain(before), sql
        elif block.kind == "table":
            for row in tables.read(block.text).rows:
                sql = next((cell for cell in row if statements.is_sql(cell)), "")
                if sql:
                    yield _plain(row[0]), sql
        elif block.kind == "fence" and block.info in statements.LANGUAGES:
            above = block.path[-1] if block.path else ""
            for one in statements.split(block.content):
                comment = re.match(r"\s*--\s*([^\n]*)\n", one)
                bare = re.sub(r"^\s*(?:--[^\n]*\n\s*)+", "", one)
                yield _plain(comment[1] if comment else above), bare


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", plaintext.plain(text).lower()))


def _speaks_of(said: str, name: str) -> bool:
    """Tell whether the words before a query name this metric."""
    return said == name or (len(name.split()) > 1 and f" {name} " in f" {said} ")
