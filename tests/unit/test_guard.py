"""The guard: hostile statements are refused with a reason, ordinary ones pass. No server."""

from __future__ import annotations

import ast
import contextlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbkernel.config import Connection
from rbkernel.errors import QueryError, SqlTextError
from rbkernel.sources import postgres
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sql import guard, lexer
from tests.support.sql_corpora import ANALYST, DECOYS, OURS, SHARED

HOSTILE = [sql for sql in SHARED + OURS if sql not in DECOYS]


def refusal(sql: str, *allowed: str) -> QueryError:
    with pytest.raises(QueryError, match="refused: ") as refused:
        guard.check(sql, allowed)
    return refused.value


class TestCorpora:
    def test_ours_are_as_many_again(self) -> None:
        assert len(OURS) >= len(SHARED)
        assert not set(OURS) & set(SHARED)
        assert len(ANALYST) >= 50

    @pytest.mark.parametrize("sql", HOSTILE)
    def test_hostile_is_refused_with_a_reason_and_a_next_step(self, sql: str) -> None:
        error = refusal(sql)
        assert error.where
        assert error.next_step

    def test_what_can_be_read_is_not_refused_for_being_unreadable(self) -> None:
        unread = [sql for sql in HOSTILE if "cannot parse" in refusal(sql).what]
        assert unread == ["SELECT operator(1), 1 OPERATOR(pg_catalog.+) 2"]

    @pytest.mark.parametrize("sql", [*ANALYST, *sorted(DECOYS)])
    def test_ordinary_passes(self, sql: str) -> None:
        guard.check(sql)

    @pytest.mark.parametrize("name", diagnostics.names())
    def test_every_diagnostic_passes_in_every_variant(self, name: str) -> None:
        diagnostic = diagnostics.get(name)
        for sql in (diagnostic.sql, *diagnostic.variants.values()):
            guard.check(diagnostic.shown(sql))


def _queries() -> Iterator[tuple[str, str]]:
    """Every text of ours that is sent to a server: of the diagnostics, and in the modules."""
    for name in diagnostics.names():
        diagnostic = diagnostics.get(name)
        yield from ((name, sql) for sql in (diagnostic.sql, *diagnostic.variants.values()))
    for file in Path(postgres.__path__[0]).glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = _text(node)
            if re.match(r"\s*(SELECT|WITH)\b", text):
                yield file.name, text


def _text(node: ast.AST) -> str:
    """A literal, or what is literal of an f-string."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
    return ""


def test_our_own_sql_can_be_sent_in_every_encoding() -> None:
    """A character beyond ASCII, in a comment too, has no bytes in a SQL_ASCII database."""
    found = list(_queries())
    assert len(found) > 50
    assert [(place, sql) for place, sql in found if not sql.isascii()] == []


@pytest.mark.parametrize("module", ["doctor.py", "overview.py", "relations.py"])
def test_our_own_sql_passes_the_guard_which_does_not_read_it_when_it_is_sent(module: str) -> None:
    found = [sql for place, sql in _queries() if place == module]
    assert found
    for sql in found:
        guard.check(sql)


class TestReasons:
    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("DELETE FROM orders", "DELETE is not a query"),
            ("SELECT 1; SELECT 2", "more than one statement"),
            ("WITH d AS (DELETE FROM a RETURNING 1) SELECT 1", "DELETE changes rows"),
            ("SELECT * INTO b FROM a", "INTO creates a table"),
            ("SELECT 1 FROM a FOR UPDATE", "FOR UPDATE locks rows"),
            ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE executes"),
            ("SELECT pg_sleep(1)", "keeps the connection busy"),
            ("SELECT mine()", r"mine\(\) may have side effects"),
            ("SELECT treat(1 AS mine)", r"treat\(\) may have side effects"),
            ("SELECT repeat('x', 100000000)", "too long"),
            ("SELECT U&'x'", "U& literals"),
            ("", "no statement"),
            ("-- nothing", "no statement"),
            ("SELEC 1", "SELEC is not a query"),
            ("SELECT * FROM", "cannot parse the statement"),
        ],
    )
    def test_says_why(self, sql: str, reason: str) -> None:
        assert re.search(reason, refusal(sql).what)

    @pytest.mark.parametrize("sql", ["SELECT 'x", "SELECT /* x", 'SELECT "x'])
    def test_what_does_not_end_is_an_error_of_the_text(self, sql: str) -> None:
        with pytest.raises(SqlTextError, match="does not end"):
            guard.check(sql)

    def test_so_deep_that_no_reader_gets_to_the_end(self) -> None:
        assert "cannot parse" in refusal("SELECT " + "(" * 5000 + "1" + ")" * 5000).what


class TestFunctions:
    def test_unknown_ones_pass_once_the_connection_names_them(self) -> None:
        sql = "SELECT shop.total(id), other(1) FROM orders"
        assert "shop.total() may" in refusal(sql, "other", "total").what
        assert "other() may" in refusal(sql, "shop.total").what
        guard.check(sql, ("shop.total", "other"))

    def test_a_connection_hands_its_list_to_the_guard(self) -> None:
        connection = Connection(name="x", port=1, host="127.0.0.1", allow_functions=("total",))
        session = Session(connection, application_name="test")
        with pytest.raises(QueryError, match=r"totals\(\) may have side effects"):
            session.query("SELECT total(1), totals(1)")

    def test_quoted_keywords_are_functions(self) -> None:
        assert '"any"' not in refusal('SELECT "any"(1)').what
        guard.check("SELECT 1 = any(ARRAY[1])")

    def test_an_alias_excuses_only_itself(self) -> None:
        guard.check("SELECT * FROM generate_series(1, 3) AS evil(x)")
        assert "evil()" in refusal("SELECT evil(x) FROM generate_series(1, 3) AS evil(x)").what

    def test_the_list_holds_names_only(self) -> None:
        names = guard.known_functions()
        assert 700 < len(names) < 1200
        assert all(re.fullmatch(r"[a-z_0-9]+", name) for name in names)

    @pytest.mark.parametrize(
        "pattern",
        ["advisory", "^lo_", "terminate", "cancel_back", "_reset(_s|$)", "^pg_replication_slot",
         "^(next|set|curr|last)val$", "set_config", "dblink", "_to_xml", "^pg_read", "promote",
         "sleep"],
    )  # fmt: skip
    def test_the_list_holds_nothing_of_this_kind(self, pattern: str) -> None:
        assert [name for name in guard.known_functions() if re.search(pattern, name)] == []


class TestDisguise:
    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(HOSTILE), st.integers())
    def test_case_blanks_and_comments_change_nothing(self, sql: str, seed: int) -> None:
        with pytest.raises((QueryError, SqlTextError)):
            guard.check(disguised(sql, random.Random(seed)))

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(ANALYST), st.sampled_from(HOSTILE))
    def test_a_hostile_statement_may_not_follow_an_ordinary_one(self, sql: str, evil: str) -> None:
        with pytest.raises((QueryError, SqlTextError)):
            guard.check(f"{sql}\n;{evil}")

    @settings(max_examples=300, deadline=None)
    @given(st.text(alphabet="SELCT 1'\"$a/*-;\\\r\n(),.:&uE", max_size=40))
    def test_any_text_is_passed_or_refused_and_never_crashes(self, text: str) -> None:
        with contextlib.suppress(QueryError, SqlTextError):
            guard.check(text)


def disguised(sql: str, chance: random.Random) -> str:
    """The same statement to PostgreSQL, written differently."""
    parts = []
    before = ""
    for kind, text in lexer.tokens(sql):
        if kind == "word":
            text = "".join(chance.choice((c.lower(), c.upper())) for c in text)
        # not between what belongs together, such as the characters of a number or of <=
        if kind == "word" and before == "blank":
            parts.append(chance.choice(("", "/* ; */", "--'\n", "\t\n", "/* /* */ */")))
        parts.append(text)
        before = "blank" if not text.strip() else kind
    return "".join(parts)
