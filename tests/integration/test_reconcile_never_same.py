"""What looks the same and is not, or cannot be known: never "same"."""

from __future__ import annotations

from typing import Any

import pytest

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.reconciliation import Question, comparison, join, verdict
from rbkernel.reconciliation import layout as layouts
from tests.support.places import Place, answer, found

Q = Question(source="pairs.s", target="pairs.t")
TWO = "CREATE TABLE {0} (id int PRIMARY KEY, v text); INSERT INTO {0} VALUES (1, 'a'), (2, 'b');"


@pytest.fixture(params=[1, 2], ids=["one server", "two servers"])
def both(request: pytest.FixtureRequest, places: tuple[Place, Place]) -> tuple[Place, Place]:
    return places[0], places[request.param - 1]


def question(**fields: Any) -> Question:
    return Question(source="pairs.s", target="pairs.t", **fields)


class TestRowSecurity:
    HIDING = (
        TWO
        + """
        ALTER TABLE {0} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY first_only ON {0} TO rb_diag USING (id = 1);
    """
    )

    def test_rows_that_are_hidden(self, both: tuple[Place, Place]) -> None:
        both[0].run(TWO.format("s"))
        both[1].run(self.HIDING.format("t"))
        with pytest.raises(DatabaseError, match="row security hides rows of ") as caught:
            answer(*both, Q)
        assert "create a view" in caught.value.next_step
        both[1].run("CREATE VIEW all_of_t AS SELECT * FROM t")
        assert answer(*both, Question(source="pairs.s", target="pairs.all_of_t")).same

    def test_rows_that_are_hidden_below_a_view(self, both: tuple[Place, Place]) -> None:
        both[0].run(TWO.format("s"))
        both[1].run(self.HIDING.format("below"))
        both[1].run("CREATE VIEW t WITH (security_invoker) AS SELECT * FROM below")
        with pytest.raises(DatabaseError, match="row-level security policy"):
            answer(*both, Q)


class TestInheritance:
    CHILD = "CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 'a');"

    def test_a_child_repeats_a_key(self, both: tuple[Place, Place]) -> None:
        both[0].run(TWO.format("s"))
        both[1].run(TWO.format("t") + self.CHILD)
        with pytest.raises(QueryError, match=r"does not identify a row: 1 \(2 rows\)"):
            answer(*both, Q)

    def test_a_child_that_repeats_none(self, both: tuple[Place, Place]) -> None:
        both[0].run(TWO.format("s") + "INSERT INTO s VALUES (3, 'c')")
        both[1].run(TWO.format("t") + self.CHILD + "UPDATE child SET id = 3, v = 'c'")
        assert answer(*both, Q).same

    @pytest.mark.parametrize("more", ["", "INSERT INTO s_child VALUES (2, 'b')"])
    def test_a_key_that_came_twice_after_its_check(
        self, both: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, more: str
    ) -> None:
        """As many rows on both sides, or not: the search itself tells."""
        monkeypatch.setattr(layouts, "check_key", lambda *_: None)
        both[0].run(f"{TWO.format('s')} CREATE TABLE s_child () INHERITS (s); {more}")
        both[1].run(TWO.format("t") + self.CHILD)
        with pytest.raises(QueryError, match="does not identify a row"):
            answer(*both, Q)

    def test_counts_that_differ_are_never_the_same(
        self, both: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Should everything before ever miss a row, the counts tell."""
        monkeypatch.setattr(verdict, "examine", lambda *_: iter([]))
        monkeypatch.setattr(join, "_differences", lambda *_: iter([]))
        both[0].run(TWO.format("s"))
        both[1].run(TWO.format("t") + "DELETE FROM t WHERE id = 1")
        with pytest.raises(DatabaseError, match=r"incomplete.* 2 rows in the source, 1 row in"):
            answer(*both, Q)

    def test_partitions_prove_their_key(
        self, both: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both[0].run(TWO.format("s"))
        both[1].run("""
            CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
            CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (2);
            CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (2) TO (9);
            INSERT INTO t VALUES (1, 'a'), (2, 'b');
        """)
        seen: list[Any] = []
        begin = comparison._begin
        monkeypatch.setattr(comparison, "_begin", lambda *a: seen.append(a[1]) or begin(*a))  # type: ignore[func-returns-value]
        assert answer(*both, Q).same
        assert frozenset({"id"}) in seen[0].target.unique


class TestTextInsideOtherTypes:
    """Text is compared byte by byte wherever it stands; a collation or citext is not asked."""

    SOFT = "CREATE COLLATION soft (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"  # noqa: E501  # fmt: skip
    CASES = (
        ('text[] COLLATE pairs.soft', "ARRAY['a']", "ARRAY['A']"),
        ("pairs.words", "'[a,b]'", "'[A,b]'"),
        ("pairs.many_words", "'{[a,b]}'", "'{[A,b]}'"),
        ("pairs.pair", "ROW('a', 1)", "ROW('A', 1)"),
        ("pairs.pair[]", "ARRAY[ROW('a', 1)::pairs.pair]", "ARRAY[ROW('A', 1)::pairs.pair]"),
    )  # fmt: skip
    TYPES = (
        SOFT
        + """
        CREATE TYPE words AS RANGE
            (subtype = text, collation = soft, multirange_type_name = many_words);
        CREATE TYPE pair AS (name text COLLATE soft, n int);
    """
    )

    def test_it_is_compared_byte_by_byte(self, places: tuple[Place, Place]) -> None:
        """On one server, which could compare by its own rules; the second place has ICU."""
        one = places[1]
        one.run(self.TYPES)
        columns = ", ".join(f"c{i} {kind}" for i, (kind, _, _) in enumerate(self.CASES))
        for name, side in (("s", 1), ("t", 2)):
            values = ", ".join(case[side] for case in self.CASES)
            one.run(f"CREATE TABLE {name} (id int PRIMARY KEY, {columns});"
                    f"INSERT INTO {name} VALUES (1, {values});")  # fmt: skip
        names = {f"c{i}" for i in range(len(self.CASES))}
        assert found(answer(one, one, Q)) == {("1",): ("changed", names)}

    def test_citext_inside_an_array(self, places: tuple[Place, Place]) -> None:
        one = places[0]
        one.run("""
            CREATE EXTENSION citext SCHEMA pairs;
            CREATE TABLE s (id int PRIMARY KEY, v citext[]); INSERT INTO s VALUES (1, '{a}');
            CREATE TABLE t (id int PRIMARY KEY, v citext[]); INSERT INTO t VALUES (1, '{A}');
        """)
        assert found(answer(one, one, Q)) == {("1",): ("changed", {"v"})}
