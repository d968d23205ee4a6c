"""Split the SQL of runbooks into statements, and convert its placeholders to ``:name`` values.

Pure. Another module, the guard, decides whether a statement only reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rbkernel.errors import SqlTextError
from rbkernel.importer.reading import holes
from rbkernel.importer.reading.holes import Hole
from rbkernel.sql import lexer

LANGUAGES = frozenset({"sql", "postgres", "postgresql", "psql", "pgsql", "plpgsql"})
_SQL = re.compile(
    r"""^\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:
      select\b\s | with\s+(?:recursive\s+)?\w+\s+as\s*\( | values\s*\( | table\s+\w+\s*;
    | update\s+\S+\s+set\b | delete\s+from\b | insert\s+into\b | merge\s+into\b | truncate\s+\w
    | (?:create|drop|alter)\s+(?:or\s+replace\s+)?(?:table|(?:unique\s+)?index|database|role|user
      |(?:materialized\s+)?view|extension|system|subscription|publication|sequence|function|type)\b
    | (?:grant|revoke)\s+.+\s+(?:to|from|on)\b | refresh\s+materialized\b | reindex\s+\w
    | explain\s+(?:\(|analyze|select|verbose) | call\s+\w+\s*\( | (?:VACUUM|ANALYZE|CHECKPOINT)\b
    | SHOW\s+\w | SET\s+\w+\s*(?:=|TO) | BEGIN\s*; | COMMIT\s*; | ROLLBACK\s*; | begin\s*;
    )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# a line such as \d orders
_OF_PSQL = re.compile(r"\s*\\\w")
# commands of psql that end a statement, as a semicolon does, and say how to show its rows
_SENT_BY_PSQL = re.compile(r"[ \t]*\\(?:gx?|gdesc|crosstabview)[ \t]*(?:;?[ \t]*$)", re.MULTILINE)
_LOUD_WORDS = frozenset({"vacuum", "analyze", "checkpoint", "show", "set", "commit", "rollback"})
_VALUE_AFTER = frozenset(["=", "<", ">", "+", "-", "*", "/", "%", "|"])
_VALUE_WORDS = frozenset(
    [
        "like",
        "ilike",
        "in",
        "limit",
        "offset",
        "between",
        "and",
        "or",
        "then",
        "else",
        "when",
        "any",
        "all",
    ]
)
_TYPES = frozenset({"interval", "date", "timestamp", "timestamptz", "time"})
_BLANK = frozenset({"comment", "line_comment"})


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement in its original form, and with its placeholders replaced by ``:name`` values.

    ``problem`` says why the statement cannot run as it is; empty if it can.
    """

    source: str
    sql: str
    holes: tuple[Hole, ...] = ()
    problem: str = ""


def is_sql(text: str) -> bool:
    """Tell whether a text begins like SQL, not like English or shell text.

    >>> [is_sql(text) for text in ("SELECT 1", "set -e", "update the page", "-- x\\nselect 1")]
    [True, False, False, True]
    """
    match = _SQL.match(text)
    if match is None:
        return False
    first = re.search(r"[A-Za-z]+", re.sub(r"--[^\n]*\n|/\*.*?\*/", "", text, flags=re.DOTALL))
    word = first[0] if first else ""
    # short words that English and shells use too count in capitals only
    return word.lower() not in _LOUD_WORDS or word.isupper()


def split(text: str) -> list[str]:
    """Split SQL at the semicolons that end statements; a transaction stays together.

    >>> split("SELECT ';'; -- next\\nSELECT 2")
    ["SELECT ';' -- next", 'SELECT 2']
    >>> split("SELECT 1 \\\\gx\\n-- more\\nSELECT 2;")
    ['SELECT 1', '-- more\\nSELECT 2']
    >>> split("BEGIN; DELETE FROM t; COMMIT;")
    ['BEGIN;\\nDELETE FROM t;\\nCOMMIT;']
    """
    found: list[str] = []
    text = _SENT_BY_PSQL.sub(";", text)
    for of_psql, run in groupby(text.splitlines(keepends=True), key=_is_of_psql):
        lines = list(run)
        found += [line.strip() for line in lines] if of_psql else _at_semicolons("".join(lines))
    return found


def _is_of_psql(line: str) -> bool:
    return _OF_PSQL.match(line) is not None


def _at_semicolons(text: str) -> list[str]:
    marks: dict[str, str] = {}
    parts, ended = [""], False
    try:
        for kind, piece in lexer.tokens(holes.with_marks(text, marks)):
            if (kind, piece) == ("other", ";"):
                parts.append("")
                ended = True
            elif ended and (comment := _ends_the_line(piece)):
                parts[-2] += f" {comment}"  # it is about the statement before it in the line
                parts[-1] += piece[piece.index(comment) + len(comment) :]
                ended = False
            else:
                parts[-1] += piece
                ended = ended and not piece.strip() and "\n" not in piece
    except SqlTextError:
        # a quote without an end makes only its own statement unreadable, not those around it
        parts = re.split(r";[ \t]*(?:\n|$)", text)
        return [part.strip() for part in parts if part.strip()]
    return _transactions([holes.without_marks(part, marks).strip() for part in parts])


def _with_semicolon(statement: str) -> str:
    """Return a statement with a semicolon added, on a new line if it ends with a comment."""
    return f"{statement}\n;" if "--" in statement.rpartition("\n")[2] else f"{statement};"


def _ends_the_line(piece: str) -> str:
    """Return the comment at the end of the statement's line, if there is one; else empty."""
    return piece.strip() if piece.lstrip(" \t").startswith("--") else ""


def _transactions(parts: Sequence[str]) -> list[str]:
    found: list[str] = []
    open_ = False
    for part in parts:
        if not _says_something(part):
            if part and found:
                found[-1] += f"\n{part}"
            elif part:
                found.append(part)
            continue
        word = part.split()[0].lower()
        if open_:
            found[-1] += f"\n{_with_semicolon(part)}"
            open_ = word not in {"commit", "rollback", "end"}
        else:
            open_ = word == "begin"
            found.append(_with_semicolon(part) if open_ else part)
    return found


def _says_something(text: str) -> bool:
    try:
        return any(kind not in _BLANK and token.strip() for kind, token in lexer.tokens(text))
    except SqlTextError:
        return True


def read(source: str) -> Statement:
    """Convert the placeholders of a statement to ``:name`` values.

    A placeholder inside a literal is joined to the literal with ``||``. A placeholder for an
    identifier, such as the name of a table, cannot be bound.

    >>> read("SELECT * FROM diffs WHERE module = '<module>' LIMIT [n rows]").sql
    'SELECT * FROM diffs WHERE module = :module LIMIT :n_rows'
    >>> read("UPDATE t SET note = 'by [name] at work'").sql
    "UPDATE t SET note = ('by ' || :name || ' at work')"
    >>> read("SELECT * FROM [table-name]").problem
    '[table-name] is a name, and names cannot be bound'
    """
    marks: dict[str, str] = {}
    marked = holes.with_marks(source, marks)
    found = {hole.text: hole for hole in holes.find(source)}
    try:
        tokens = lexer.tokens(marked)
    except SqlTextError as error:
        return Statement(source=source, sql=source, problem=error.what)
    binder = _Binder(marks, found)
    sql = binder.bind(tokens)
    if not sql.isascii() and (odd := _odd_character(tokens)):
        binder.problems.append(f"{odd} is outside quotes")
    return Statement(
        source=source,
        sql=holes.without_marks(sql, marks),
        holes=tuple(dict.fromkeys(binder.bound)),
        problem="; ".join(dict.fromkeys(binder.problems)),
    )


def _odd_character(tokens: Sequence[tuple[str, str]]) -> str:
    return next((t for kind, t in tokens if kind == "other" and t in "“”‘’…–"), "")


class _Binder:
    """Walks the tokens of a statement, and writes ``:name`` where a value is allowed."""

    def __init__(self, marks: dict[str, str], found: dict[str, Hole]) -> None:
        self._marks = marks
        self._holes = found
        self._pattern = re.compile("|".join(map(re.escape, marks)) or r"(?!)")
        self.bound: list[Hole] = []
        self.problems: list[str] = []

    def bind(self, tokens: Sequence[tuple[str, str]]) -> str:
        out: list[str] = []
        before = ""
        self._refuse_lists(tokens)
        for kind, token in tokens:
            if kind in _BLANK or not token.strip():
                out.append(token)
                continue
            if kind == "parameter":
                self.bound.append(Hole(text=token, parameter=token[1:], hint=token[1:]))
            if self._pattern.search(token):
                token = self._bound(kind, token, before, out)
            out.append(token)
            before = token.lower() if kind != "string" else "'"
        return "".join(out)

    def _refuse_lists(self, tokens: Sequence[tuple[str, str]]) -> None:
        """Refuse a placeholder that is the only item in ``IN (…)``: it may stand for a list."""
        words = [token.lower() for kind, token in tokens if kind not in _BLANK and token.strip()]
        for before, opens, inside, closes in zip(
            words, words[1:], words[2:], words[3:], strict=False
        ):
            lone = (before, opens, closes) == ("in", "(", ")")
            if lone and self._pattern.fullmatch(inside.strip("'")):
                self._keep(inside, "is a list, and lists cannot be bound here: use = ANY(…)")

    def _bound(self, kind: str, token: str, before: str, out: list[str]) -> str:
        if kind == "string":
            return self._literal(token, before, out)
        whole = self._pattern.fullmatch(token)
        value = before in _VALUE_AFTER or before in _VALUE_WORDS or before in {"(", ","}
        hole = self._holes.get(self._marks[token]) if whole and kind == "word" else None
        if hole is None or not hole.parameter or not value:
            self._keep(token, "is a name, and names cannot be bound")
            return token
        self.bound.append(hole)
        return f":{hole.parameter}"

    def _literal(self, token: str, before: str, out: list[str]) -> str:
        inside = token[1:-1]
        parts: list[str] = []
        position = 0
        for match in self._pattern.finditer(inside):
            hole = self._holes.get(self._marks[match[0]])
            if hole is None or not hole.parameter:
                self._keep(match[0], "would be a secret, and parameters are kept in plain text")
                return token
            parts += [f"'{text}'"] if (text := inside[position : match.start()]) else []
            parts.append(f":{hole.parameter}")
            self.bound.append(hole)
            position = match.end()
        parts += [f"'{inside[position:]}'"] if inside[position:] else []
        joined = parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"
        if before in _TYPES:
            while out and out[-1].strip().lower() != before:
                out.pop()
            out.pop()
            return f"CAST({joined} AS {before})"
        return joined

    def _keep(self, token: str, reason: str) -> None:
        for mark in self._pattern.findall(token):
            self.problems.append(f"{self._marks[mark]} {reason}")
