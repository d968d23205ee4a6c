"""Exact on every pair of tables that somebody thought of, and on those that nobody did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkernel.errors import QueryError
from rbkernel.reconciliation import Outcome, Question
from rbkernel.sources.postgres.connection.driver import quote_literal
from tests.support.places import Place, answer, found

CORPUS = Path(__file__).parents[1] / "corpora/reconcile_pairs.sql"
KEYS = {7: ("k",), 8: ("a", "b"), 9: ("Id",), 24: ("k", "t"), 28: ("%(id)s",)}
WAYS = ("one server", "two servers", "two servers that hash otherwise")
Expected = Mapping[Any, tuple[str, set[str]]]

_V = ("changed", {"v"})
_MISSING: tuple[str, set[str]] = ("missing", set())
_EXTRA: tuple[str, set[str]] = ("extra", set())
_NEW_YEAR = "2026-01-01 00:00:00+00"
EXPECTED: dict[int, Expected] = {
    1: {1: _V},
    2: {1: ("changed", {"a", "b"}), 2: ("changed", {"a", "b"})},
    3: dict.fromkeys(range(1, 6), _V),
    4: {2: ("changed", {"n"}), 4: ("changed", {"d"}), 5: ("changed", {"d"})},
    5: {1: ("changed", {"t"}), 3: ("changed", {"u"})},
    6: {
        2: ("changed", {"j"}), 3: ("changed", {"a"}), 4: ("changed", {"b"}), 6: ("changed", {"x"}),
    },
    7: {"A": _MISSING, "z ": _EXTRA},
    8: {("1", "2"): _V, ("2", "1"): _MISSING},
    9: {2: ("changed", {'Weird " name'})},
    10: {},
    11: {-(2**63): _EXTRA, 2**63 - 1: _EXTRA},
    13: {1: _V, 2: _V},
    15: {1: _V, 2: _V, 3: _V},
    16: {
        1: ("changed", {"t"}), 2: ("changed", {"t"}), 3: ("changed", {"t"}), 4: ("changed", {"d"}),
        5: ("changed", {"z"}),
    },
    17: dict.fromkeys((1, 2, 3, 5), ("changed", {"n"})),
    18: dict.fromkeys((1, 3, 4), ("changed", {"j"})),
    19: dict.fromkeys((2, 3), ("changed", {"i"})),
    20: {2: _V, 3: ("changed", {"c"})},
    21: {
        1: ("changed", {"a"}), 2: ("changed", {"a"}), 4: ("changed", {"n"}), 5: ("changed", {"p"}),
    },
    22: dict.fromkeys((1, 2, 3, 4), ("changed", {"a", "b"})),
    23: {3: _MISSING, 70000: _EXTRA},
    24: {("a\tb", _NEW_YEAR): _V, ("\\N", _NEW_YEAR): _MISSING, ("", _NEW_YEAR): _EXTRA},
    25: {1: ("changed", {"v", "w"}), 2: _MISSING, 3: _EXTRA},
    26: {
        1: ("changed", {"b"}), 2: ("changed", {"i"}), 3: ("changed", {"r"}), 4: ("changed", {"e"}),
    },
    27: {2: _V, 30: _MISSING},
    28: {2: _EXTRA, 3: _MISSING, 4: ("changed", {"100%s"})},
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(_places: tuple[Place, Place]) -> Iterator[tuple[Place, Place]]:
    for each in _places:
        each.clear()
        each.run(CORPUS.read_text(encoding="utf-8"))
    yield _places
    for each in _places:
        each.drop()


def sides(both: tuple[Place, Place], way: str) -> tuple[Place, Place, bool]:
    one, two = both
    return one, one if way == WAYS[0] else two, way == WAYS[2]


def pair(number: int, **fields: Any) -> Question:
    key = KEYS.get(number, ("id",))
    source, target = f"pairs.legacy_{number}", f"pairs.current_{number}"
    return Question(source=source, target=target, key=key, **fields)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", EXPECTED)
def test_pair(pairs: tuple[Place, Place], number: int, way: str) -> None:
    one, other, portable = sides(pairs, way)
    outcome = answer(one, other, pair(number), portable=portable)
    expected = {
        key if isinstance(key, tuple) else (str(key),): told
        for key, told in EXPECTED[number].items()
    }
    assert found(outcome) == expected
    assert outcome.same is not bool(expected)


@pytest.mark.parametrize("way", WAYS)
class TestPairsWithWords:
    def test_duplicates_are_named(self, pairs: tuple[Place, Place], way: str) -> None:
        one, other, portable = sides(pairs, way)
        with pytest.raises(QueryError, match=r"key id does not identify a row: 1 \(2 rows\)"):
            answer(one, other, pair(12), portable=portable)

    def test_types_that_differ_are_told_once(self, pairs: tuple[Place, Place], way: str) -> None:
        one, other, portable = sides(pairs, way)
        outcome = answer(one, other, pair(14), portable=portable)
        assert found(outcome) == {(): ("type", {"v: integer / text"})}
        assert not outcome.same

    def test_a_declared_mapping_compares_them(self, pairs: tuple[Place, Place], way: str) -> None:
        one, other, portable = sides(pairs, way)
        outcome = answer(one, other, pair(14, mapping={"v": "v"}), portable=portable)
        assert outcome.same
        assert outcome.compared == ("id", "v")

    def test_what_is_on_one_side_is_told(self, pairs: tuple[Place, Place], way: str) -> None:
        one, other, portable = sides(pairs, way)
        outcome = answer(one, other, pair(9), portable=portable)
        assert outcome.notes == (
            "columns not compared, because only pairs.current_9 has them: extra",
        )

    def test_a_column_that_the_target_lacks_is_a_difference(
        self, pairs: tuple[Place, Place], way: str
    ) -> None:
        one, other, portable = sides(pairs, way)
        for each in pairs:
            each.run(
                "DROP TABLE IF EXISTS wide, narrow;"
                "CREATE TABLE wide (id int PRIMARY KEY, v int, email text);"
                "CREATE TABLE narrow (id int PRIMARY KEY, v int, w int);"
                "INSERT INTO wide VALUES (1, 1, 'a@example.org'); INSERT INTO narrow VALUES (1, 1)"
            )

        def asked(**fields: Any) -> Outcome:
            question = Question(source="pairs.wide", target="pairs.narrow", **fields)
            return answer(one, other, question, portable=portable)

        outcome = asked()
        assert found(outcome) == {(): ("column", {"email"})}
        assert not outcome.same
        assert asked(ignore=("email",)).same
        assert asked(columns=("v",)).same
        # what took its place is no counterpart
        claimed = asked(mapping={"email": "v"}, ignore=("v",))
        assert found(claimed)[("1",)] == ("changed", {"email"})
        with pytest.raises(QueryError, match="no column 'nothing'"):
            asked(ignore=("nothing",))

    def test_a_name_of_the_catalogue_is_the_same_under_another_search_path(
        self, pairs: tuple[Place, Place], way: str
    ) -> None:
        one, other, portable = sides(pairs, way)
        for each in pairs:
            each.run(
                "DROP TABLE IF EXISTS legacy_reg, current_reg;"
                "CREATE TABLE legacy_reg (id int PRIMARY KEY, c regclass, t regtype);"
                "CREATE TABLE current_reg (LIKE legacy_reg INCLUDING ALL);"
                "INSERT INTO legacy_reg VALUES (1, 'legacy_1', 'legacy_1'), (2, 'legacy_1', 'int');"
                "INSERT INTO current_reg VALUES (1, 'legacy_1', 'legacy_1'),"
                " (2, 'legacy_2', 'int')"
            )
        other.raw.execute(b"ALTER ROLE rb_diag SET search_path = pairs")
        try:
            question = Question(source="pairs.legacy_reg", target="pairs.current_reg")
            outcome = answer(one, other, question, portable=portable)
            assert found(outcome) == {("2",): ("changed", {"c"})}
        finally:
            other.raw.execute(b"ALTER ROLE rb_diag RESET search_path")

    def test_text_comparison_is_told(self, pairs: tuple[Place, Place], way: str) -> None:
        one, other, portable = sides(pairs, way)
        outcome = answer(one, other, pair(6), portable=portable)
        assert outcome.notes == ("columns compared as text: x (json)",)


# Literals of each type; those in one tuple are one value.
POOLS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "smallint": [("0",), ("1",), ("-1",), ("32767",), ("-32768",)],
    "integer": [("0",), ("1",), ("-1",), ("2147483647",), ("-2147483648",)],
    "bigint": [("0",), ("1",), ("-1",), ("4294967296",), ("-4294967297",), (str(2**63 - 1),),
               (str(-(2**63)),), ("5",), ("21474836480",)],
    "numeric": [("0", "0.00", "-0"), ("1", "1.0", "1.000"), ("-1", "-1.00"), ("NaN",),
                ("Infinity",), ("-Infinity",), ("1e-30",), ("12345678901234567890.5",),
                ("100", "1e2")],
    "numeric(12,2)": [("0", "0.00"), ("1", "1.00"), ("-1",), ("NaN",), ("9999999999.99",)],
    "double precision": [("0", "-0"), ("NaN",), ("Infinity",), ("-Infinity",), ("0.1",),
                         ("0.10000000000000002",), ("5e-324",), ("-1",)],
    "real": [("0", "-0"), ("NaN",), ("1",), ("1.0000001",), ("-1",)],
    "boolean": [("t", "true"), ("f", "false")],
    "text": [("",), (" ",), ("a",), ("A",), ("a ",), ("<null>",), ("NULL",), ("\\N",), ("a|b",),
             ("ä",), ("a\u0308",), ("tab\there",), ("line\nbreak",), ("back\\slash",), ("%s",)],
    "varchar(10)": [("",), ("a",), ("a ",), ("ß",), ("ss",)],
    "char(4)": [("a", "a ", "a   "), ("b",), ("",), ("ä",)],
    "bytea": [("\\x",), ("\\x00",), ("\\x0000",), ("\\xff",)],
    "uuid": [("00000000-0000-0000-0000-000000000001",),
             ("ffffffff-ffff-ffff-ffff-ffffffffffff", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF")],
    "date": [("2026-01-01",), ("2026-01-02",), ("infinity",), ("-infinity",), ("0044-03-15 BC",)],
    "timestamp": [("2000-01-01 00:00:00.000005",), ("2000-01-01 01:11:34.9673",), ("infinity",),
                  ("-infinity",), ("2026-03-29 02:30:00",)],
    "timestamptz": [("2026-01-01 00:00+00", "2026-01-01 02:00+02"), ("infinity",), ("-infinity",),
                    ("2026-01-01 00:00:00.000001+00",)],
    "time": [("00:00",), ("01:11:34.967296",), ("24:00",)],
    "timetz": [("10:00+00",), ("11:00+01",), ("10:00+01",)],
    "interval": [("1 day", "24 hours"), ("1 month", "30 days"), ("-1 day",), ("1 microsecond",)],
    "jsonb": [('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'), ('{"a": 1.0}', '{"a": 1.00}', '{"a": 1}'),
              ('{"a": -1}',), ("null",), ("[]",), ("{}",), ('"1"',), ("1",)],
    "json": [('{"a": 1}',), ('{"a":1}',), ("null",)],
    "integer[]": [("{}",), ("{NULL}",), ("{1}",), ("{1,NULL}",), ("{{1}}",), ("[0:0]={1}",)],
    "text[]": [('{"NULL"}',), ("{NULL}",), ('{"a,b"}',), ("{a,b}",), ('{""}',), ("{}",)],
    "numeric[]": [("{1.0}", "{1.00}", "{1}"), ("{-1}",)],
    "int4range": [("empty",), ("[1,2]", "[1,3)"), ("(,)",)],
    "inet": [("10.0.0.1", "10.0.0.1/32"), ("10.0.0.1/24",), ("::1",)],
    "bit(3)": [("000",), ("101",)],
}  # fmt: skip
KEY_TYPES = (
    "integer",
    "bigint",
    "text",
    "uuid",
    "numeric",
    "timestamptz",
    "char(4)",
    "date",
    "bytea",
)
Cell = tuple[int, int] | None
Row = tuple[Cell, ...]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], int, dict[Any, Row], dict[Any, Row]]:
    """Types (the key's first), how many are the key, and the rows of both sides by key."""
    keys = draw(st.lists(st.sampled_from(KEY_TYPES), min_size=1, max_size=2))
    columns = draw(st.lists(st.sampled_from(sorted(POOLS)), min_size=1, max_size=6))
    key = st.tuples(*(st.integers(0, len(POOLS[name]) - 1) for name in keys))
    row = st.tuples(*(st.none() | _cell(name) for name in columns))
    source = draw(st.dictionaries(key, row, max_size=6))
    target = dict(source)
    for changed in draw(st.lists(key, max_size=4)):
        target[changed] = draw(row)
    for removed in draw(st.lists(key, max_size=2)):
        target.pop(removed, None)
    # the same values, written otherwise
    again = {k: tuple(draw(_spelled(n, c)) for n, c in zip(columns, v, strict=True))
             for k, v in target.items()}  # fmt: skip
    return [*keys, *columns], len(keys), source, again


def _cell(name: str) -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(0, len(POOLS[name]) - 1).flatmap(
        lambda value: st.tuples(st.just(value), st.integers(0, len(POOLS[name][value]) - 1))
    )


def _spelled(name: str, cell: Cell) -> st.SearchStrategy[Cell]:
    if cell is None:
        return st.none()
    return st.integers(0, len(POOLS[name][cell[0]]) - 1).map(lambda n: (cell[0], n))


def oracle(
    width: int, names: Sequence[str], source: Mapping[Any, Row], target: Mapping[Any, Row]
) -> set[tuple[str, frozenset[str]]]:
    """Row by row, value by value: what differs, by the classes that the pools declare."""
    told = set()
    for key in source.keys() | target.keys():
        label = repr(key)
        if key not in target or key not in source:
            told.add((f"{label} {'missing' if key in source else 'extra'}", frozenset[str]()))
            continue
        unlike = frozenset(
            f"c{i}"
            for i, (a, b) in enumerate(zip(source[key], target[key], strict=True), width)
            if (a and a[0]) != (b and b[0]) or (a is None) != (b is None)
        )
        if unlike:
            told.add((f"{label} changed", unlike))
    return told


def create(
    where: Place, name: str, types: Sequence[str], width: int, rows: Mapping[Any, Row]
) -> None:
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
    key = ", ".join(f"c{i}" for i in range(width))
    where.run(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns}, PRIMARY KEY ({key}));")
    for identity, row in rows.items():
        cells = [(value, 0) for value in identity] + list(row)
        literals = [
            "NULL" if cell is None else quote_literal(POOLS[kind][cell[0]][cell[1]])
            for kind, cell in zip(types, cells, strict=True)
        ]
        where.run(f"INSERT INTO {name} VALUES ({', '.join(literals)});")


def told(
    where: Place, types: Sequence[str], width: int, outcome: Any
) -> set[tuple[str, frozenset[str]]]:
    """The differences, with each key as its place in the pools."""
    result = set()
    for one in outcome.differences:
        place = tuple(
            next(
                n for n, spellings in enumerate(POOLS[kind]) if _is(where, kind, spellings[0], text)
            )
            for kind, text in zip(types[:width], one.key, strict=True)
        )
        result.add((f"{place!r} {one.kind}", frozenset(one.columns)))
    return result


def _is(where: Place, kind: str, one: str, other: str) -> bool:
    a, b = quote_literal(one), quote_literal(other)
    same = (
        f'{a}::{kind}::text COLLATE "C" = {b}::{kind}::text'
        if "char" in kind or kind == "text"
        else f"{a}::{kind} = {b}::{kind}"
    )
    return bool(where.rows(f"SELECT {same}")[0][0])


def check_against_the_oracle(both: tuple[Place, Place], drawn: Any) -> None:
    types, width, source, target = drawn
    names = [f"c{i}" for i in range(len(types))]
    question = Question(source="pairs.s", target="pairs.t", key=tuple(names[:width]))
    one, two = both
    create(one, "s", types, width, source)
    for where in both:
        create(where, "t", types, width, target)
    expected = oracle(width, names, source, target)
    for way in WAYS:
        here, there, portable = sides((one, two), way)
        outcome = answer(here, there, question, portable=portable)
        assert told(one, types, width, outcome) == expected, way


COMMON = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@given(drawn=tables())
@settings(max_examples=40, **COMMON)  # type: ignore[arg-type]  # settings of different types
def test_any_tables(places: tuple[Place, Place], drawn: Any) -> None:
    check_against_the_oracle(places, drawn)


@pytest.mark.soak
@given(drawn=tables())
@settings(max_examples=600, **COMMON)  # type: ignore[arg-type]
def test_any_tables_for_long(places: tuple[Place, Place], drawn: Any) -> None:
    check_against_the_oracle(places, drawn)
