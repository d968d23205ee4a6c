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
from rbkernel.sql.words import only_reads

_COLUMN = re.compile(r"\bas\s+\"?(?P<alias>[a-z_]\w*)\"?\s*$", re.IGNORECASE)
_FUNCTION = re.compile(r"(?P<name>[a-z_]\w*)\s*\(.*\)\s*$", re.IGNORECASE | re.DOTALL)
_SELECTED = re.compile(r"^\s*select\s+(?P<what>.+?)\s+from\b", re.IGNORECASE | re.DOTALL)
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
    return {**rest, "query": sql.rstrip().rstrip(";"), "column": column}


def column_of(sql: str) -> str:
    """Return the name of a query's only column; empty if it has several.

    >>> column_of("SELECT count(*) FROM outbox"), column_of("select a, b from t")
    ('count', '')
    >>> column_of("SELECT max(age(now(), t)) AS oldest_s FROM x"), column_of("DELETE FROM x")
    ('oldest_s', '')
    """
    selected = _SELECTED.match(sql)
    if selected is None or not only_reads(sql) or ";" in sql.strip().rstrip(";"):
        return ""
    what = selected["what"].strip()
    if _top_level_commas(what):
        return ""
    named = _COLUMN.search(what)
    if named:
        return named["alias"].lower()
    called = _FUNCTION.match(what)
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
