"""Read tables of checks: a command or query in each row, and beside it what is right. Pure.

A column is understood by its header: "OK if", "Expected" and others say what is right, "Alarm when"
and others what is wrong. A table without a column of commands or queries has no checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rbkernel.importer import tables
from rbkernel.importer.reading import plaintext, spans, statements
from rbkernel.importer.stated import expectations
from rbkernel.importer.stated.expectation import Expectation

_CODE = re.compile(r"(`+)(?P<code>.+?)\1")
_SAYS_RIGHT = re.compile(
    r"expect|health|\bok\b|\bpass|should|normal|good|target|result|answer|success|criteri|right|want",
    re.IGNORECASE,
)
_SAYS_WRONG = re.compile(
    r"alarm|alert|bad|crit|fail|problem|wrong|unhealthy|page|trouble|red", re.IGNORECASE
)
_COUNTS = re.compile(r"(?:#|nr?\.?|no\.?|step|id|)$", re.IGNORECASE)
_NOTHING = frozenset({"", "-", "–", "—", "n/a", "any", "tbd"})


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command or a query in a table, what it is about, and the answer that the table expects.

    ``words`` are the words of the table about the answer; empty if it says nothing.
    """

    title: str
    code: str
    expected: Expectation
    words: str


def rows(text: str) -> list[Row]:
    """Return the checks in a table; empty if it has no commands or queries.

    >>> found = rows("|Check|Query|OK if|\\n|-|-|-|\\n|Carts|`SELECT count(*) FROM c`|0|")
    >>> [(one.title, one.code, len(one.expected.limits)) for one in found]
    [('Carts', 'SELECT count(*) FROM c', 1)]
    """
    header, *body = tables.cells(text) or [[]]
    body = [row for row in body if len(row) == len(header)]
    at = next((n for n in range(len(header)) if any(_code(row[n]) for row in body)), None)
    if at is None:
        return []
    others = [n for n in range(len(header)) if n != at]
    right = _column(header, others, _SAYS_RIGHT.search)
    wrong = _column(header, others, lambda name: _SAYS_WRONG.search(name) and right != [name])
    names = [n for n in others if header[n] not in (*right, *wrong) and not _counts(header[n])]
    return [_row(row, header, at, names[:1], right, wrong) for row in body if _code(row[at])]


def _row(
    row: Sequence[str],
    header: Sequence[str],
    at: int,
    names: Sequence[int],
    right: Sequence[str],
    wrong: Sequence[str],
) -> Row:
    said = [plaintext.plain(row[header.index(name)], code=True) for name in right]
    bad = [plaintext.plain(row[header.index(name)], code=True) for name in wrong]
    said, bad = ([one for one in some if one.lower() not in _NOTHING] for some in (said, bad))
    expected = expectations.read([f"expected: {one}" for one in said])
    if not expected:
        expected = expectations.read([f"alert if {one}" for one in bad])
    title = plaintext.plain(row[names[0]]) if names else ""
    return Row(title=title, code=_code(row[at]), expected=expected, words="; ".join([*said, *bad]))


def _column(
    header: Sequence[str], among: Sequence[int], fits: Callable[[str], object]
) -> list[str]:
    return [header[n] for n in among if fits(plaintext.plain(header[n]))][:1]


def _counts(name: str) -> bool:
    return _COUNTS.match(plaintext.plain(name).strip()) is not None


def _speaks(code: str) -> bool:
    return spans.is_command(code) or spans.is_surely_one(code) or statements.is_sql(code)


def _code(cell: str) -> str:
    """Return the only command or query in a cell; empty if there is none."""
    found = [one["code"].strip() for one in _CODE.finditer(cell)]
    bare = cell.strip()
    known = [one for one in found if _speaks(one)]
    if not found and statements.is_sql(bare):
        known = [bare]
    return known[0] if len(known) == 1 else ""
