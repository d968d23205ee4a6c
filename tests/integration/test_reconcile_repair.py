"""The repair makes the tables equal, and its inverse brings back what was there, to the byte."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from rbkernel.reconciliation import Question, repair
from rbkernel.reconciliation.repair import Repair
from tests.integration.test_reconcile_pairs import EXPECTED, pair
from tests.support.places import Place, answer

CORPUS = Path(__file__).parents[1] / "corpora/reconcile_pairs.sql"


def written(one: Place, other: Place, question: Question) -> Repair:
    outcome = answer(one, other, question)
    with closing(one.session()) as source, closing(other.session()) as target:
        target = source if one is other else target
        return repair.write(source, target, question, outcome.standing)


def content(where: Place, table: str) -> list[tuple[str]]:
    """Every row as text, settings being what they are, and all digits with it."""
    where.raw.execute(b"SET extra_float_digits = 1; SET TimeZone = 'UTC'")
    return where.rows(f'SELECT x::text FROM {table} x ORDER BY x::text COLLATE "C"')


@pytest.fixture
def pairs(places: tuple[Place, Place]) -> tuple[Place, Place]:
    for each in places:
        each.run(CORPUS.read_text(encoding="utf-8"))
    return places


@pytest.mark.parametrize("servers", [1, 2])
def test_every_pair_is_made_equal_and_brought_back(
    pairs: tuple[Place, Place], servers: int
) -> None:
    one, other = pairs[0], pairs[servers - 1]
    for number in EXPECTED:
        before = content(other, f"current_{number}")
        script = written(one, other, pair(number))
        assert script.rows == len(EXPECTED[number]), number
        other.raw.execute(script.sql.encode())
        assert answer(one, other, pair(number)).same, number
        other.raw.execute(script.inverse.encode())
        assert content(other, f"current_{number}") == before, number


def test_a_row_that_moved_on_stops_all_of_it(pairs: tuple[Place, Place]) -> None:
    one, other = pairs
    script = written(one, other, pair(3))
    other.run("UPDATE current_3 SET v = 'other' WHERE id = 5")
    before = content(other, "current_3")
    with pytest.raises(
        psycopg.errors.RaiseException,
        match=r"current_3 \(id = 5\) has changed since it was compared",
    ):
        other.raw.execute(script.sql.encode())
    other.raw.execute(b"ROLLBACK")
    assert content(other, "current_3") == before


def test_what_only_the_target_has_comes_back(places: tuple[Place, Place]) -> None:
    one, other = places
    one.run("CREATE TABLE s (id int PRIMARY KEY, v text)")
    other.run("""
        CREATE TABLE t (id int PRIMARY KEY, v text, note text DEFAULT 'new', n numeric);
        INSERT INTO t VALUES (1, '$rb$', 'kept', 1.500);
    """)
    before = content(other, "t")
    script = written(one, other, Question(source="pairs.s", target="pairs.t"))
    assert "left to their defaults: note, n" in script.sql
    other.raw.execute(script.sql.encode())
    assert content(other, "t") == []
    other.raw.execute(script.inverse.encode())
    assert content(other, "t") == before


def test_triggers_and_foreign_keys_are_named(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run("""
        CREATE TABLE s (id int PRIMARY KEY, v int); INSERT INTO s VALUES (1, 1);
        CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 2);
        CREATE TABLE u (id int CONSTRAINT belongs REFERENCES t);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER watch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();
    """)
    script = written(one, one, Question(source="pairs.s", target="pairs.t"))
    heading = [line for line in script.sql.splitlines() if line.startswith("--")]
    assert any("triggers will fire" in line and "watch" in line for line in heading)
    assert any("foreign keys" in line and "belongs" in line for line in heading)


def test_a_trigger_with_its_own_mind_stops_all_of_it(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run("""
        CREATE TABLE s (id int PRIMARY KEY, v int); INSERT INTO s VALUES (1, 1), (2, 2), (3, 3);
        CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 9), (2, 2);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := 77; RETURN NEW; END';
    """)  # noqa: E501
    for event, row in (("UPDATE", "id = 1"), ("INSERT", "id = 3")):
        one.run(f"CREATE TRIGGER own BEFORE {event} ON t FOR EACH ROW EXECUTE FUNCTION f()")
        script = written(one, one, Question(source="pairs.s", target="pairs.t"))
        message = rf"trigger or rule has changed .*{row}"
        with pytest.raises(psycopg.errors.RaiseException, match=message):
            one.raw.execute(script.sql.encode())
        one.raw.execute(b"ROLLBACK")
        assert one.rows("SELECT id, v FROM t ORDER BY 1") == [(1, 9), (2, 2)]
        one.run("DROP TRIGGER own ON t")


SWAPPED = """
    CREATE TABLE s (id int PRIMARY KEY, v int); INSERT INTO s VALUES (1, 10), (2, 20);
    CREATE TABLE t (id int PRIMARY KEY, v int UNIQUE {0}); INSERT INTO t VALUES (1, 20), (2, 10);
"""


def test_unique_values_that_were_swapped(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run(SWAPPED.format("DEFERRABLE"))
    question = Question(source="pairs.s", target="pairs.t")
    script = written(one, one, question)
    assert not script.obstacles
    one.raw.execute(script.sql.encode())
    assert answer(one, one, question).same


def test_unique_values_that_cannot_be_swapped_are_foretold(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run(SWAPPED.format(""))
    question = Question(source="pairs.s", target="pairs.t")
    script = written(one, one, question)
    [told] = script.obstacles
    assert "unique columns v" in told
    assert f"-- OBSTACLE: {told}" in script.sql
    one.run("UPDATE t SET v = id")
    assert not written(one, one, question).obstacles


def test_rules_are_foretold(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run(SWAPPED.format("DEFERRABLE"))
    one.run("CREATE RULE never AS ON UPDATE TO t DO INSTEAD NOTHING")
    [told] = written(one, one, Question(source="pairs.s", target="pairs.t")).obstacles
    assert "never" in told


def test_too_long_a_value_is_an_error_and_never_cut(places: tuple[Place, Place]) -> None:
    one = places[0]
    one.run("""
        CREATE TABLE s (id int PRIMARY KEY, v text); INSERT INTO s VALUES (1, 'long');
        CREATE TABLE t (id int PRIMARY KEY, v varchar(2)); INSERT INTO t VALUES (1, 'x');
    """)
    script = written(one, one, Question(source="pairs.s", target="pairs.t"))
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        one.raw.execute(script.sql.encode())
    one.raw.execute(b"ROLLBACK")
    assert one.rows("SELECT v FROM t") == [("x",)]


def test_a_name_of_the_catalogue_is_repaired_under_another_search_path(
    pairs: tuple[Place, Place],
) -> None:
    one, other = pairs
    for each in pairs:
        each.run(
            "CREATE TABLE legacy_reg (id int PRIMARY KEY, c regclass, v int);"
            "CREATE TABLE current_reg (LIKE legacy_reg INCLUDING ALL);"
            "INSERT INTO legacy_reg VALUES (1, 'legacy_1', 1), (2, 'legacy_1', 1);"
            "INSERT INTO current_reg VALUES (1, 'legacy_1', 2), (2, 'legacy_2', 1)"
        )
    question = Question(source="pairs.legacy_reg", target="pairs.current_reg")
    # the role that asks has a path of its own, which the script takes over
    other.raw.execute(b"ALTER ROLE rb_diag SET search_path = pairs")
    try:
        script = written(one, other, question)
        other.raw.execute(script.sql.encode())
        assert answer(one, other, question).same
        other.raw.execute(script.inverse.encode())
        assert len(answer(one, other, question).differences) == 2
    finally:
        other.raw.execute(b"ALTER ROLE rb_diag RESET search_path")


def test_a_sequence_that_the_repair_leaves_behind_is_told(pairs: tuple[Place, Place]) -> None:
    one, other = pairs
    for each in pairs:
        each.run(
            "CREATE TABLE legacy_seq (id int PRIMARY KEY, v int);"
            "CREATE TABLE current_seq (id serial PRIMARY KEY, v int);"
            "INSERT INTO legacy_seq SELECT n, n FROM generate_series(1, 7) n;"
            "INSERT INTO current_seq (v) SELECT generate_series(1, 5)"
        )
    question = Question(source="pairs.legacy_seq", target="pairs.current_seq")
    script = written(one, other, question)
    other.raw.execute(script.sql.encode())
    [advice] = [line for line in script.sql.splitlines() if "SELECT setval" in line]
    other.raw.execute(advice[advice.index("SELECT setval") :].encode())
    [(value,)] = other.rows("SELECT nextval('pairs.current_seq_id_seq')")
    assert value == 8
    # where only values change no sequence is concerned
    other.run("UPDATE current_seq SET v = 0 WHERE id = 1")
    assert "setval" not in written(one, other, question).sql
