"""The guard: accept a single SQL statement that only reads; refuse everything else. Pure.

Two parsers must agree: rbkernel's lexer, which knows PostgreSQL's quoting exactly, and sqlglot,
which knows the grammar. sqlglot gets only a skeleton of the text without literals and comments, so
the two cannot disagree on where a string ends. The checks run in this order: characters,
statement, words, functions.

The guard prevents accidents and injection. It is no security boundary against a role that may
create functions, views or operators on the server. The security boundary is a restricted role
(`rbkernel grant`) in a read-only transaction.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from rbkernel.errors import QueryError
from rbkernel.sql import lexer

if TYPE_CHECKING:
    from sqlglot import exp


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMENTS = frozenset({"comment", "line_comment"})
_STRINGS = frozenset({"string", "escape_string", "dollar"})
_PROPOSE = "use a SELECT; propose changes with rb.act"
_ALLOW = "if the function only reads, add it to allow_functions of the connection in rbkernel.toml"
_QUERIES = frozenset({"select", "with", "values", "table"})
_WRITES = frozenset({"insert", "update", "delete", "merge", "into"})
_LOCKS = frozenset({"update", "share", "no", "key"})
_EXPLAIN_EXECUTES = frozenset({"analyze", "analyse", "serialize", "timing"})
_EXPLAIN_OPTIONS = _words("""
    verbose costs settings generic_plan buffers wal memory summary format
    on off true false text json yaml
""")
# Words before a parenthesis that call no function, or only a built-in one. TREAT is
# missing on purpose: TREAT(x AS f) calls the function f.
_SYNTAX = _words("""
    all and any array as asymmetric between bit by case char character coalesce columns cube
    current_time current_timestamp dec decimal distinct else except exists filter float for from
    greatest grouping having ilike in int intersect interval is join lateral least like limit
    localtime localtimestamp materialized not nullif numeric offset on only or over passing
    precision returning rollup row select sets similar some symmetric then time timestamp
    timestamptz timetz to union using values varbit varchar varying when where with zone
    bernoulli system group within cast collation extract normalize overlay position substring trim
    json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value
    xmlagg xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi
    xmlroot xmlserialize xmltable
""")
# A larger result is not useful in an incident, and may exhaust the server's memory.
_LARGEST_SERIES = 10_000_000
_JOINS_WITHOUT_CONDITION = 3


class _Token(NamedTuple):
    """A token of SQL text; ``glued`` is true if no blank or comment precedes it."""

    kind: str
    text: str
    glued: bool

    @property
    def word(self) -> str:
        """The token as a lower-case word; empty for quoted tokens and punctuation."""
        return self.text.lower() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The token as an identifier, folded as in PostgreSQL; empty for other tokens."""
        if self.kind == "identifier":
            return self.text[1:-1].replace('""', '"')
        return self.word


@lru_cache(maxsize=512)
def check(sql: str, allow_functions: tuple[str, ...] = ()) -> None:
    """Refuse SQL unless it is a single statement that only reads.

    Parameters
    ----------
    sql
        A statement, possibly with ``:name`` values.
    allow_functions
        Further allowed functions; with their schema, if the query names the schema.

    Raises
    ------
    QueryError
        The statement is refused; the message says why and what to do.
    SqlTextError
        A literal, quoted identifier or comment is not terminated.

    >>> check("SELECT count(*) FROM orders WHERE status = :status")
    >>> check("SELECT evil(1)", allow_functions=("evil",))
    """
    where = lexer.first_line(sql)
    tokens = _one_statement(list(_read(sql, where)), where)
    if tokens[0].word == "show":
        _check_show(tokens, where)
        return
    if tokens[0].word == "explain":
        tokens = _explained(tokens, where)
    _check_words(tokens, where)
    tree = _parse(tokens, where)
    _check_tree(tree, where)
    _check_calls(tokens, tree, frozenset(allow_functions), where)
    _check_size(tree, where)


@cache
def known_functions() -> frozenset[str]:
    """Return the names of read-only functions in any PostgreSQL version from 15 on."""
    text = (files("rbkernel.sql") / "read_only_functions.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(name for line in lines for name in line.split())


def calls_only_read(name: str) -> bool:
    """Tell whether a name before a parenthesis is SQL syntax, or a function that only reads.

    >>> calls_only_read("COUNT"), calls_only_read("IN"), calls_only_read("pg_promote")
    (True, True, False)
    """
    return name.lower() in known_functions() or name.lower() in _SYNTAX


def _refused(reason: str, where: str, next_step: str = _PROPOSE) -> QueryError:
    return QueryError(f"refused: {reason}", where=where, next_step=next_step)


def _read(sql: str, where: str) -> Iterator[_Token]:
    """Yield the SQL tokens without blanks and comments; refuse ambiguous text."""
    glued = False
    for kind, text in lexer.tokens(sql):
        quoted = kind in _STRINGS or kind == "identifier"
        # PostgreSQL ends a line comment at a carriage return
        if not quoted and re.search(r"\r(?!\n|\Z)|[\x00-\x08\x0b\x0e-\x1f\x7f]", text):
            raise _refused(
                "the statement contains a control character", where, "use plain line breaks"
            )
        if kind in _COMMENTS or text in " \t\r\n\f":
            glued = False
            continue
        if not quoted and not re.fullmatch(r"[\x00-\x7f]|:?[\w$]+|::|:=", text):
            raise _refused(
                f"the character {text[:1]!r} is not allowed outside quotes",
                where,
                "put the name in double quotes",
            )
        yield _Token(kind, text, glued)
        glued = True


def _one_statement(tokens: list[_Token], where: str) -> list[_Token]:
    while tokens and tokens[-1].text == ";":
        tokens = tokens[:-1]
    if not tokens:
        raise _refused("the text contains no statement", where)
    if any(token.text == ";" for token in tokens):
        raise QueryError(
            "refused: the text contains more than one statement",
            where=where,
            next_step="run each statement in a separate cell",
        )
    return tokens


def _check_show(tokens: Sequence[_Token], where: str) -> None:
    if len(tokens) == 1 or not all(token.name or token.text == "." for token in tokens):
        raise _refused(
            "only SHOW with the name of one setting is allowed",
            where,
            "write, for example, SHOW work_mem",
        )


def _explained(tokens: list[_Token], where: str) -> list[_Token]:
    """Return the statement that an EXPLAIN explains."""
    options, rest = [], tokens[1:]
    if rest and rest[0].text == "(" and (not rest[1:] or rest[1].word not in _QUERIES):
        end = next((i for i, token in enumerate(rest) if token.text == ")"), len(rest))
        options, rest = rest[1:end], rest[end + 1 :]
    while rest and rest[0].word in {"verbose", *_EXPLAIN_EXECUTES}:
        options, rest = [*options, rest[0]], rest[1:]
    for option in options:
        if option.word in _EXPLAIN_EXECUTES:
            raise _refused("EXPLAIN ANALYZE executes the statement", where, "use plain EXPLAIN")
        if option.word not in _EXPLAIN_OPTIONS and option.text != ",":
            raise _refused(f"unknown option {option.text} of EXPLAIN", where, "remove it")
    if not rest:
        raise _refused("EXPLAIN has no statement", where)
    return rest


def _check_words(tokens: Sequence[_Token], where: str) -> None:
    """Refuse words that write or lock anywhere in the text; `_check_tree` checks again."""
    if tokens[0].word not in _QUERIES and tokens[0].text != "(":
        raise _refused(f"{tokens[0].text.upper()[:30]} is not a query", where)
    nothing = _Token("", "", glued=False)
    for before, token, after in zip(
        [nothing, *tokens], tokens, [*tokens[1:], nothing], strict=False
    ):
        if token.word == "u" and after.text == "&" and after.glued:
            raise _refused(
                "U& literals are not allowed, because they hide characters",
                where,
                "write the characters themselves",
            )
        if token.kind in _STRINGS and after.kind in _STRINGS:
            # an E'' literal continues in the next literal, with its own rules for backslashes
            raise _refused("two adjacent literals are not allowed", where, "join them with ||")
        if token.word == "for" and after.word in _LOCKS:
            raise _refused(f"FOR {after.text.upper()} locks rows", where, "remove it")
        if token.word in _WRITES and before.text != ".":
            what = "creates a table" if token.word == "into" else "changes rows"
            quote = "use a SELECT; if this is the name of a column, put it in double quotes"
            raise _refused(f"{token.text.upper()} {what}", where, quote)


def _parse(tokens: Sequence[_Token], where: str) -> exp.Expr:
    # imported late: sqlglot is large, and not every kernel queries a database
    import sqlglot
    from sqlglot.errors import SqlglotError

    # sqlglot only warns about unknown statements; `_check_tree` refuses them
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        statements = sqlglot.parse(_skeleton(tokens), read="postgres")
    except (SqlglotError, RecursionError) as error:
        raise _not_understood(where) from error
    if len(statements) != 1 or statements[0] is None:
        raise _not_understood(where)
    return statements[0]


def _not_understood(where: str) -> QueryError:
    return _refused(
        "rbkernel cannot parse the statement, so it cannot tell whether it only reads",
        where,
        "check the syntax; if PostgreSQL accepts it, write it in a simpler way",
    )


def _skeleton(tokens: Sequence[_Token]) -> str:
    """Return the SQL statement with each literal and value replaced by a constant.

    >>> _skeleton(list(_read("TABLE a /* ; */ WHERE b <> ';' OR c::int=:d", "")))
    "SELECT * FROM a WHERE b <> '1' OR c::int=1"
    """
    text = ""
    for token in tokens:
        stand_in = {"parameter": "1", **dict.fromkeys(_STRINGS, "'1'")}.get(token.kind, token.text)
        text += stand_in if token.glued else f" {stand_in}"
    text = text.strip()
    return f"SELECT * FROM{text[5:]}" if tokens[0].word == "table" else text


def _check_tree(tree: exp.Expr, where: str) -> None:
    """Refuse a syntax tree that contains anything except queries."""
    from sqlglot import exp

    queries = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
    bodies = [tree, *(cte.this for cte in tree.find_all(exp.CTE))]
    others = tree.find(exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Set)
    if others is not None or not all(isinstance(body, queries) for body in bodies):
        raise _not_understood(where)


def _check_calls(
    tokens: Sequence[_Token], tree: exp.Expr, allowed: frozenset[str], where: str
) -> None:
    """Refuse calls of functions that are not known to only read.

    In PostgreSQL a call is a name before a parenthesis. An alias with columns looks the same.
    Therefore each name is accepted as often as sqlglot found an alias of that name.
    """
    from sqlglot import exp

    aliases = Counter(_folded(alias) for alias in tree.find_all(exp.TableAlias) if alias.columns)
    for name, calls in Counter(_calls(tokens)).items():
        known = name.removeprefix("pg_catalog.") in known_functions()
        if known or name in allowed or calls <= aliases[name]:
            continue
        if name.startswith("pg_sleep"):
            raise _refused(
                f"{name}() keeps the connection busy", where, "use time.sleep() in Python"
            )
        ours = name.startswith(("pg_", "lo_", "dblink"))
        raise _refused(f"{name}() may have side effects", where, _PROPOSE if ours else _ALLOW)


def _folded(alias: exp.TableAlias) -> str:
    return alias.name if alias.this.quoted else alias.name.lower()


def _calls(tokens: Sequence[_Token]) -> Iterator[str]:
    """Yield the names of called functions, with their schema if the query names it.

    >>> list(_calls(list(_read('SELECT a . "B"(c IN (1)), lower(d)', ""))))
    ['a.B', 'lower']
    """
    for i, token in enumerate(tokens[:-1]):
        if tokens[i + 1].text != "(" or not token.name:
            continue
        start = i
        while start > 1 and tokens[start - 1].text == "." and tokens[start - 2].name:
            start -= 2
        if start < i or token.word not in _SYNTAX:
            yield ".".join(part.name for part in tokens[start : i + 1 : 2])


def _check_size(tree: exp.Expr, where: str) -> None:
    """Refuse queries that may exhaust memory before the time-out or the row cap ends them."""
    from sqlglot import exp

    makers = (exp.GenerateSeries, exp.ExplodingGenerateSeries, exp.Repeat, exp.Pad)
    for maker in tree.find_all(*makers):
        sizes = [float(n.this) for n in maker.find_all(exp.Literal) if n.is_number]
        # for a series, its length counts
        size = max(sizes, default=0.0) - (min(sizes) if len(sizes) > 1 else 0.0)
        if size > _LARGEST_SERIES:
            raise _refused(
                f"a series or text of length {size:.0f} is too long", where, "use a shorter one"
            )
    names = {cte.alias for cte in tree.find_all(exp.CTE)}
    for select in tree.find_all(exp.Select):
        free = [join for join in select.args.get("joins") or () if _multiplies(join, names)]
        if len(free) >= _JOINS_WITHOUT_CONDITION and not select.args.get("where"):
            raise _refused(
                f"{len(free) + 1} tables are joined without a condition", where, "add a condition"
            )


def _multiplies(join: exp.Join, one_row: Collection[str]) -> bool:
    from sqlglot import exp

    conditions = ("on", "using", "method")
    table = join.this
    plain = isinstance(table, exp.Table) and isinstance(table.this, exp.Identifier)
    return plain and table.name not in one_row and not any(join.args.get(c) for c in conditions)
