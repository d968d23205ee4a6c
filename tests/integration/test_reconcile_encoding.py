"""No two values share their pieces, nor their text; a search for values that do, made by somebody
who knows how PostgreSQL hashes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkernel.reconciliation.encoding import AS_TEXT, Rule, Type, hashed, of_type, rule
from tests.support.places import Place

LONG = st.integers(-(2**63), 2**63 - 1)
HIGH = st.integers(-(2**31), 2**31 - 1)
COMMON = {
    "deadline": None,
    "derandomize": True,
    "max_examples": 25,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


def folded(value: int) -> int:
    """What hashint8 hashes of an int8 (src/backend/access/hash/hashfunc.c)."""
    low, high = value & 0xFFFFFFFF, (value >> 32) & 0xFFFFFFFF
    return low ^ (high if value >= 0 else high ^ 0xFFFFFFFF)


def partner(value: int, high: int) -> int:
    """Another int8 with the same fold."""
    unsigned = high & 0xFFFFFFFF
    low = folded(value) ^ (unsigned if high >= 0 else unsigned ^ 0xFFFFFFFF)
    return int(struct.unpack("q", struct.pack("Q", unsigned << 32 | low))[0])


def hashes(where: Place, kind: str, texts: Sequence[str], *, plain: bool = False) -> list[int]:
    """Hash values as a comparison does; `plain` as PostgreSQL's own hash does."""
    found = rule(Type(name=kind, shown=kind), Type(name=kind, shown=kind))
    assert found
    version = where.raw.info.server_version
    told = hashed([("v", found)], "42", bytea=version >= 180000)
    if plain:
        told = "hash_record_extended(ROW(v), 42)"
    rows = where.raw.execute(
        f"SELECT {told}"
        f" FROM unnest(%s::text[]) WITH ORDINALITY u (x, n), LATERAL (SELECT x::{kind} AS v) w"
        " ORDER BY n".encode(),
        [list(texts)],
    )
    return [value for (value,) in rows.fetchall()]


def expect_all_apart(where: Place, kind: str, values: Iterable[str]) -> None:
    texts = sorted(set(values))
    found = hashes(where, kind, texts)
    assert len(set(found)) == len(texts)


def test_the_partner_is_one(places: tuple[Place, Place]) -> None:
    """Without this the search below would prove nothing."""
    one, other = hashes(places[0], "int8", ["7", str(partner(7, -9))], plain=True)
    assert one == other


@given(values=st.lists(LONG, min_size=1, max_size=20), highs=st.lists(HIGH, min_size=1))
@settings(**COMMON)  # type: ignore[arg-type]  # settings of different types
def test_integers(places: tuple[Place, Place], values: list[int], highs: list[int]) -> None:
    partners = [partner(value, high) for value in values for high in highs]
    expect_all_apart(places[0], "int8", map(str, [*values, *partners]))


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
@given(
    values=st.lists(st.integers(-(2**54), 2**54), min_size=1, max_size=20),
    highs=st.lists(st.integers(-(2**22), 2**22), min_size=1),
)
@settings(**COMMON)  # type: ignore[arg-type]
def test_times(places: tuple[Place, Place], kind: str, values: list[int], highs: list[int]) -> None:
    partners = [partner(value, high) for value in values for high in highs]
    moments = (datetime(2000, 1, 1) + timedelta(microseconds=v) for v in [*values, *partners])  # noqa: DTZ001
    expect_all_apart(
        places[0],
        kind,
        (f"{moment.isoformat()}Z"[: -1 if kind == "timestamp" else None] for moment in moments),
    )


@given(values=st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=6), max_size=30))
@settings(**COMMON)  # type: ignore[arg-type]
def test_numerics(places: tuple[Place, Place], values: list[Decimal]) -> None:
    signed = {v.copy_abs().normalize() for v in values} | {
        -v.copy_abs().normalize() for v in values
    }
    texts = {format(v or Decimal(0), "f") for v in signed}
    expect_all_apart(places[0], "numeric", [*texts, "NaN", "Infinity", "-Infinity"])
    shorter, longer = hashes(places[0], "numeric", ["1.5", "1.500"])
    assert shorter == longer


@given(values=st.lists(st.floats(), max_size=30))
@settings(**COMMON)  # type: ignore[arg-type]
def test_floats(places: tuple[Place, Place], values: list[float]) -> None:
    # one zero, one NaN
    expect_all_apart(places[0], "float8", {repr(v if v == v and v else abs(v)) for v in values})
    zero, minus = hashes(places[0], "float8", ["0", "-0"])
    assert zero == minus


@given(values=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"))))
@settings(**COMMON)  # type: ignore[arg-type]
def test_texts(places: tuple[Place, Place], values: list[str]) -> None:
    for each in places:
        expect_all_apart(each, "text", values)


@given(
    values=st.lists(
        st.tuples(*[st.sampled_from(["NULL", "''", "'a'", "'b'"])] * 3), unique=True, min_size=2
    )
)
@settings(**COMMON)  # type: ignore[arg-type]
def test_places_and_nulls_count(places: tuple[Place, Place], values: list[Sequence[str]]) -> None:
    _expect_rows_apart(places[0], "text", AS_TEXT, values)


@pytest.mark.parametrize("kind", ["numeric", "float8", "int8"])
def test_values_do_not_change_places(places: tuple[Place, Place], kind: str) -> None:
    """Also where PostgreSQL's hash of the one value is the seed itself, or next to it."""
    some = ["0", "1", "10000", "-1", "NULL"] + ["'NaN'"] * (kind != "int8")
    rows = [(one, other, third) for one in some for other in some for third in some]
    _expect_rows_apart(places[0], kind, of_type(kind), rows)


def _expect_rows_apart(where: Place, kind: str, found: Rule, rows: Sequence[Sequence[str]]) -> None:
    told = hashed([(name, found) for name in "abc"], "7", bytea=True)
    listed = ", ".join(f"({', '.join(f'{value}::{kind}' for value in row)})" for row in rows)
    [(count,)] = where.rows(f"SELECT count(DISTINCT {told}) FROM (VALUES {listed}) v (a, b, c)")
    assert count == len(rows)


def test_bytes_hash_alike_with_and_without_a_function_for_them(
    places: tuple[Place, Place],
) -> None:
    values = [("'\\x00ff'::bytea", of_type("bytea")), ("now()", of_type("timestamptz"))]
    one, other = (hashed(values, "9", bytea=bytea) for bytea in (True, False))
    assert one != other
    assert places[0].rows(f"SELECT {one} = {other}") == [(True,)]
