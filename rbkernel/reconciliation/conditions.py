"""Check and prepare the conditions that select the rows to compare: a human's SQL, the time
window.
"""

from __future__ import annotations

from collections.abc import Iterator

from rbkernel.errors import NothingCompared, QueryError
from rbkernel.reconciliation import layout as layouts
from rbkernel.reconciliation.layout import Layout
from rbkernel.reconciliation.question import Question
from rbkernel.reconciliation.snapshot import Reader, Readers
from rbkernel.reconciliation.tables import Table
from rbkernel.sql import lexer

_VOLATILE = """
SELECT DISTINCT p.proname::text FROM pg_proc p
WHERE p.provolatile = 'v' AND p.proname = ANY(%(names)s::text[]) ORDER BY 1
"""


def read(question: Question, layout: Layout, both: Readers, since: str) -> tuple[str, str]:
    """Return the conditions on the rows of source and target, ready for psycopg.

    Raises
    ------
    QueryError
        A condition is not valid SQL for a server, or may select different rows each time.
    """
    of_target = question.target_where or question.where
    windows = layouts.windows(question, layout, since)
    wheres = [f"(\n{where}\n)" if where else "" for where in (question.where, of_target)]
    first, second = (
        " AND ".join(filter(None, (where.replace("%", "%%"), window)))
        for where, window in zip(wheres, windows, strict=True)
    )
    both.both(
        lambda reader: _check(reader, layout.source, first, question.where),
        lambda reader: _check(reader, layout.target, second, of_target),
    )
    return first, second


def nothing_compared(question: Question) -> NothingCompared:
    """Return the error that the conditions select no row on either side."""
    asked = [name for name, given in (("where", question.where), ("window", question.window_s))
             if given]  # fmt: skip
    return NothingCompared(
        f"nothing was compared: the {' and the '.join(asked)} matched no row on either side",
        where=f"{question.target} against {question.source}",
        next_step="widen it, or omit it to compare the whole tables",
    )


def calls(condition: str) -> list[str]:
    """Return the names of possible function calls in SQL, in lower case unless quoted.

    >>> calls("v < random () AND pg_catalog.\\"F\\"(1) > 0 -- g(1)")
    ['random', 'F']
    """
    return list(_calls(condition))


def _calls(condition: str) -> Iterator[str]:
    before = ("", "")
    for kind, text in lexer.tokens(condition):
        if not text.strip() or "comment" in kind:
            continue
        if text == "(" and before[0] in {"word", "identifier"}:
            quoted = before[0] == "identifier"
            yield before[1][1:-1].replace('""', '"') if quoted else before[1].lower()
        before = kind, text


def _check(reader: Reader, of: Table, condition: str, written: str) -> None:
    if not condition:
        return
    try:
        reader.rows(f"EXPLAIN SELECT FROM {of.sql} t WHERE {condition}")
    except QueryError as error:
        step = "correct the condition"
        if "FROM-clause" in error.what:
            step = "write columns without the table's name: id, not orders.id"
        raise QueryError(error.what, where=error.where, next_step=step) from error
    volatile = [name for (name,) in reader.rows(_VOLATILE, {"names": calls(written)})]
    if volatile:
        raise QueryError(
            f"the condition calls {', '.join(volatile)}, which may return another value for each"
            " row: it would not select the same rows on both sides",
            where=f"connection {reader.name}",
            next_step="write the value itself, or use now()",
        )
