"""Split SQL text into tokens without a server; find its parameters and its kind. Pure.

The lexer knows PostgreSQL's literals (plain, ``E''``, dollar-quoted), quoted identifiers, nested
comments and casts, so that a colon inside any of them is not taken as a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rbkernel.errors import SqlTextError

_TOKEN = re.compile(
    r"""
      (?P<line_comment>--[^\r\n]*)
    | (?P<open_comment>/\*)
    | (?P<escape_string>[eE]'(?:[^'\\]|\\.|'')*+')
    | (?P<string>'(?:[^']|'')*+')
    | (?P<identifier>"(?:[^"]|"")*+")
    | (?P<dollar>\$(?P<tag>[A-Za-z_\u0080-\uffff]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<cast>::)
    | (?P<slice>:=)
    | (?P<parameter>:(?P<name>[A-Za-z_]\w*))
    | (?P<unterminated>[eE]?'|"|\$(?:[A-Za-z_\u0080-\uffff]\w*)?\$)
    | (?P<word>[A-Za-z_\u0080-\uffff][\w$]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_CURSOR_QUERIES = frozenset({"select", "with", "values", "table"})


@lru_cache(maxsize=64)
def tokens(sql: str) -> tuple[tuple[str, str], ...]:
    """Split SQL text into (kind, text) pairs whose texts together are exactly the SQL.

    Raises
    ------
    SqlTextError
        A literal, quoted identifier or comment is not terminated.

    >>> [text for kind, text in tokens("SELECT ':a', :b::int") if kind == "parameter"]
    [':b']
    """
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None  # `other` matches anything
        kind = match.lastgroup or "other"
        end = match.end()
        if kind == "open_comment":
            kind, end = "comment", _end_of_comment(sql, position)
        if kind == "unterminated":
            raise _unterminated(sql, position, "quoted text")
        found.append((kind, sql[position:end]))
        position = end
    return tuple(found)


def parameters(sql: str) -> list[str]:
    """Return the names of the ``:name`` values in SQL, in order of appearance, without duplicates.

    >>> parameters("SELECT :a, ':no', $$ :no $$, x::int, :b, :a -- :no")
    ['a', 'b']
    """
    names = (text[1:] for kind, text in tokens(sql) if kind == "parameter")
    return list(dict.fromkeys(names))


def to_sqlalchemy(sql: str) -> str:
    r"""Escape every colon that is not part of a parameter, as `sqlalchemy.text` requires.

    >>> print(to_sqlalchemy("SELECT ':x', :v::int"))
    SELECT '\:x', :v\:\:int
    """
    return "".join(
        text if kind == "parameter" else text.replace(":", "\\:") for kind, text in tokens(sql)
    )


def to_driver(sql: str) -> str:
    """Convert ``:name`` parameters to the driver's form.

    >>> to_driver("SELECT :v::int % 5, ':x'")
    "SELECT %(v)s::int %% 5, ':x'"
    """
    return "".join(
        f"%({text[1:]})s" if kind == "parameter" else text.replace("%", "%%")
        for kind, text in tokens(sql)
    )


def bind(sql: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the SQL text uses, by parameter name.

    Raises
    ------
    SqlTextError
        A ``:name`` has no value, or a value has a character that PostgreSQL text cannot contain.

    >>> bind("SELECT :a", {"a": 1, "b": 2})
    {'a': 1}
    """
    _must_be_text("the SQL", sql)
    names = parameters(sql)
    missing = [name for name in names if name not in values]
    if missing:
        raise SqlTextError(
            f"no value for :{missing[0]}",
            where=first_line(sql),
            next_step=f"assign a variable {missing[0]} in an earlier cell, or pass it as a keyword",
        )
    for name in names:
        _must_be_text(f"the value of :{name}", values[name])
    return {name: values[name] for name in names}


def is_blank(sql: str) -> bool:
    """Tell whether the text contains only comments, blanks and semicolons.

    >>> is_blank("-- later\\n ; /* x */"), is_blank("TABLE orders")
    (True, False)
    """
    comments = {"comment", "line_comment"}
    return not any(kind not in comments and text.strip(" \t\r\n\f;") for kind, text in tokens(sql))


def is_cursor_query(sql: str) -> bool:
    """Tell whether the text is a query that a server-side cursor can run.

    >>> is_cursor_query("/* x */ (SELECT 1)"), is_cursor_query("SHOW server_version")
    (True, False)
    """
    return next(
        (text.lower() in _CURSOR_QUERIES for kind, text in tokens(sql) if kind == "word"), False
    )


def first_line(sql: str) -> str:
    """Return the first non-blank line, cut to 60 characters, as a name for the text."""
    line = next((line.strip() for line in sql.splitlines() if line.strip()), "")
    return line if len(line) <= 60 else line[:59] + "…"


def _end_of_comment(sql: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise _unterminated(sql, start, "comment")


def _must_be_text(what: str, value: object) -> None:
    """Refuse text that no PostgreSQL encoding can represent: half of a surrogate pair, and NUL."""
    if isinstance(value, list | tuple):
        for one in value:
            _must_be_text(what, one)
    found = _NO_TEXT.search(value) if isinstance(value, str) else None
    if found:
        without = (
            "replace('\\0', '')" if found[0] == "\0" else "encode('utf-8', 'replace').decode()"
        )
        raise SqlTextError(
            f"{what} holds the character U+{ord(found[0]):04X}, which PostgreSQL cannot hold"
            f" (at character {found.start() + 1})",
            next_step=f"remove this character, for example with text.{without}",
        )


def _unterminated(sql: str, position: int, what: str) -> SqlTextError:
    line = sql.count("\n", 0, position) + 1
    return SqlTextError(
        f"a {what} that begins in line {line} does not end",
        where=first_line(sql),
        next_step="close it",
    )
