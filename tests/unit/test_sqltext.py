"""The lexer: texts survive it unchanged, and only real `:names` are values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from rbkernel.errors import SqlTextError
from rbkernel.sql import lexer

CORPUS = Path(__file__).parents[1] / "corpora" / "hostile_sql.txt"
HOSTILE = [line.replace("\\n", "\n") for line in CORPUS.read_text().splitlines()]
PIECES = [
    *("SELECT", " ", "\n", ":a", ":b_1", "::", ":=", ":", "'", "''", "E'", "\\", '"', "$$", "$t$"),
    *("--", "/*", "*/", ";", "%", "%s", "%(x)s", "x", "1", "é", "$1", "[1:2]", "(", ")", "\0"),
]


def round_trip(sql: str) -> None:
    try:
        found = lexer.tokens(sql)
    except SqlTextError:
        return  # refused as a whole
    assert "".join(part for _, part in found) == sql
    assert all(part for _, part in found)


@pytest.mark.parametrize("sql", HOSTILE)
def test_the_corpus_survives(sql: str) -> None:
    round_trip(sql)


@given(st.text())
def test_any_text_survives(sql: str) -> None:
    round_trip(sql)


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_mixture_of_sql_survives(sql: str) -> None:
    round_trip(sql)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a, :b, :a", ["a", "b"]),
        ("SELECT ':a'", []),
        ("SELECT 'it''s :a', :b", ["b"]),
        (r"SELECT E'\' :a', :b", ["b"]),
        (r"SELECT '\', :b", ["b"]),  # standard_conforming_strings
        ('SELECT ":a", :b', ["b"]),
        ("SELECT $$ :a $$, :b", ["b"]),
        ("SELECT $x$ $y$ :a $y$ $x$, :b", ["b"]),
        ("SELECT 1 -- :a\n, :b", ["b"]),
        ("SELECT /* :a /* :c */ :d */ :b", ["b"]),
        ("SELECT x::int, :b::text", ["b"]),
        ("SELECT a[1:2], :b", ["b"]),
        ("SELECT f(x := 1), :b", ["b"]),
        ("SELECT a$b$:c, d$b$", ["c"]),  # dollars inside a word quote nothing
        ("SELECT $1, :b", ["b"]),
        ("SELECT U&'\\0041:a', :b", ["b"]),
        ("SELECT :größe", ["größe"]),
    ],
)
def test_parameters(sql: str, names: list[str]) -> None:
    assert lexer.parameters(sql) == names


@pytest.mark.parametrize(
    "sql", ["SELECT 'a", 'SELECT "a', "SELECT $$a", "SELECT $t$ a $$", "SELECT /* /* */", r"E'\'"]
)
def test_what_does_not_end_is_an_error(sql: str) -> None:
    with pytest.raises(SqlTextError, match="does not end"):
        lexer.tokens(sql)


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_the_advice_takes_out_what_cannot_be_sent(value: str) -> None:
    with pytest.raises(SqlTextError) as caught:
        lexer.bind("SELECT :v", {"v": value})
    advice = caught.value.next_step.partition("for example with text.")[2]
    cleaned = eval(f"value.{advice}")  # our own words, as a reader would take them
    assert lexer.bind("SELECT :v", {"v": cleaned})["v"] in {"ab", "a?b"}


SAFE = [piece for piece in PIECES if piece not in {":a", ":b_1", ":", "%", "%s", "%(x)s", "\0"}]


@given(st.lists(st.sampled_from([*SAFE, " :a ", "(:b_1)", " :a::int ", "':a'"])).map("".join))
def test_sqlalchemy_gets_the_same_text_and_the_same_values(sql: str) -> None:
    try:
        names = lexer.parameters(sql)
    except SqlTextError:
        return
    compiled = text(lexer.to_sqlalchemy(sql)).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy
    assert set(compiled.params) == set(names)
    expected = "".join(
        f"%({part[1:]})s" if kind == "parameter" else part for kind, part in lexer.tokens(sql)
    )
    assert str(compiled) == expected


@pytest.mark.parametrize(
    ("sql", "cursor"),
    [
        ("select 1", True),
        ("-- why\nWITH x AS (SELECT 1) TABLE x", True),
        ("(VALUES (1))", True),
        ("SHOW all", False),
        ("EXPLAIN SELECT 1", False),
        ("", False),
    ],
)
def test_is_cursor_query(sql: str, cursor: bool) -> None:
    assert lexer.is_cursor_query(sql) is cursor


def test_bind_names_what_is_missing() -> None:
    with pytest.raises(SqlTextError, match=":b") as caught:
        lexer.bind("SELECT :a, :b", {"a": None})
    assert "b" in caught.value.next_step
