"""Values that Python cannot hold, of every type that PostgreSQL has: shown as text, with a note.

Nothing here may fail the whole answer, neither when it is read nor when it is shown or judged.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.checks.rule import Rule
from rbkernel.model import Verdict
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.triage import query
from tests.support.servers import Servers

# type → texts of values; each is read alone, beside NULL, in arrays and in a record
VALUES = {
    "bool": ["true"],
    "bytea": ["\\xff00"],
    '"char"': ["a", "\\377"],
    "name": ["n"],
    "int2": ["1"],
    "int4": ["-1"],
    "int8": ["9223372036854775807"],
    "int2vector": ["1 2"],
    "oidvector": ["1 2"],
    "oid": ["4294967295"],
    "text": ["\u00e9\u6f22", ""],
    "varchar": ["v"],
    "bpchar": ["a "],
    "json": ['{"a": [1, null, 1e999]}', "[" * 3000 + "]" * 3000, "1" * 5000],
    "jsonb": ['{"a": 1}', "1" * 5000],
    "jsonpath": ["$.a"],
    "point": ["(1,2)"],
    "lseg": ["[(1,2),(3,4)]"],
    "path": ["((1,2),(3,4))"],
    "box": ["(1,2),(3,4)"],
    "polygon": ["((1,2),(3,4))"],
    "line": ["{1,2,3}"],
    "circle": ["<(1,2),3>"],
    "float4": ["1.5", "nan", "infinity"],
    "float8": ["1.5", "nan", "-infinity"],
    "numeric": ["1.10", "NaN", "Infinity", "-Infinity", "1e131071"],
    "money": ["1.50", "-92233720368547758.08"],
    "date": ["2020-01-01", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"],
    "time": ["12:00:00.000001", "24:00"],
    "timetz": ["12:00+15:59", "24:00+00"],
    "timestamp": ["2020-01-01", "infinity", "0044-03-15 BC", "294276-12-31 23:59:59"],
    "timestamptz": ["2020-01-01", "-infinity", "0001-01-01 00:00:00+14", "294276-12-31 00:00+00"],
    "interval": ["1 day 2:3:4.5", "1 mon", "178000000 years", "1000000000 days"],
    "inet": ["::1/64", "10.0.0.1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit": ["1"],
    "varbit": ["101"],
    "uuid": ["00000000-0000-0000-0000-000000000000"],
    "tid": ["(0,1)"],
    "xid": ["1"],
    "xid8": ["1"],
    "cid": ["1"],
    "pg_lsn": ["0/1"],
    "pg_snapshot": ["1:1:"],
    "txid_snapshot": ["1:1:"],
    "tsvector": ["a b"],
    "tsquery": ["a & b"],
    "refcursor": ["c"],
    "aclitem": ["postgres=r/postgres"],
    "regproc": ["now"],
    "regprocedure": ["now()"],
    "regoper": ["|/"],
    "regoperator": ["=(int4,int4)"],
    "regclass": ["pg_class"],
    "regtype": ["int4"],
    "regrole": ["postgres"],
    "regnamespace": ["pg_catalog"],
    "regconfig": ["simple"],
    "regdictionary": ["simple"],
    "regcollation": ['"C"'],
    "int4range": ["[1,2)", "empty"],
    "int8range": ["[1,2)"],
    "numrange": ["[1,Infinity]", "(,)"],
    "daterange": ["[2020-01-01,infinity)", "[0044-03-15 BC,)"],
    "tsrange": ["[-infinity,infinity]"],
    "tstzrange": ["[2020-01-01,infinity)"],
    "int4multirange": ["{[1,2),[5,6)}"],
    "int8multirange": ["{[1,2)}"],
    "nummultirange": ["{[1,2)}"],
    "datemultirange": ["{[2020-01-01,infinity)}"],
    "tsmultirange": ["{[2020-01-01,infinity)}"],
    "tstzmultirange": ["{[2020-01-01,infinity)}"],
    "odd.label": ["a"],
    "odd.day": ["infinity"],
    "odd.days": ["[2020-01-01,infinity)"],
    "odd.row": ['(infinity,"0044-03-15 00:00:00+00 BC","1 mon",\u00e9)'],
}
# of the server itself: nobody writes values of them
_INTERNAL = ("pg_", "gtsvector", "xml")
_TYPES = """
CREATE SCHEMA odd;
GRANT USAGE ON SCHEMA odd TO rb_diag;
CREATE TYPE odd.label AS ENUM ('a', 'b');
CREATE DOMAIN odd.day AS date;
CREATE TYPE odd.days AS RANGE (subtype = date);
CREATE TYPE odd.row AS (d date, t timestamptz, i interval, x text);
"""


@pytest.fixture(scope="module", autouse=True)
def _types(server: Servers) -> Any:
    with server.access.connect("postgres") as raw:
        raw.execute(_TYPES.encode())
        yield
        raw.execute(b"DROP SCHEMA odd CASCADE")


def test_no_type_is_left_out(server: Servers) -> None:
    with server.access.connect("postgres") as raw:
        found = raw.execute(
            b"SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace"
            b" AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A'"
        ).fetchall()
    names = {name.strip('"') for name in VALUES}
    left = [name for (name,) in found if name not in names and not name.startswith(_INTERNAL)]
    assert left == []


@pytest.mark.parametrize("name", VALUES)
def test_every_value_is_read_shown_and_judged(diag: Session, name: str) -> None:
    for text in VALUES[name]:
        value = f"'{text}'::{name}"
        for sql in (
            f"SELECT {value} AS v",
            f"VALUES ({value}), (NULL)",
            f"SELECT ARRAY[{value}, NULL] AS v",
            f"SELECT ROW({value}, 1) AS v",
        ):
            frame = diag.query(sql)
            assert query._table(frame)
            assert frame.to_string()
            assert rules.apply(Rule(title="v", column=frame.columns[0], warn=1e9), frame).actual


def read(session: Session, expression: str) -> tuple[Any, tuple[str, ...]]:
    frame = session.query(f"SELECT {expression} AS v")
    told = provenance(frame)
    assert told
    return frame["v"][0], told.notes


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("'infinity'::timestamptz", "infinity"),
        ("'-infinity'::date", "-infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'0044-03-15 00:00+00 BC'::timestamptz", "0044-03-15 00:00:00+00 BC"),
        ("'10000-01-01'::timestamp", "10000-01-01 00:00:00"),
        ("'24:00'::time", "24:00:00"),
        ("'24:00+00'::timetz", "24:00:00+00"),
    ],
)
def test_a_time_that_python_cannot_hold_is_text(diag: Session, expression: str, shown: str) -> None:
    found, notes = read(diag, expression)
    assert found == shown
    assert type(found) is str
    assert notes == ("v: a date or time that Python cannot hold is shown as text",)


def test_the_other_values_of_the_column_stay_what_they_are(diag: Session) -> None:
    frame = diag.query("VALUES (now()), ('infinity'::timestamptz), (NULL)")
    now, infinite, missing = frame.iloc[:, 0]
    assert isinstance(now, pd.Timestamp)
    assert str(now.tz) == "UTC"
    assert (infinite, missing) == ("infinity", None)


@pytest.mark.parametrize(
    "expression", ["'[2020-01-01,infinity)'::daterange", "'{2020-01-01,infinity}'::date[]"]
)
def test_a_part_of_a_value_is_noted(diag: Session, expression: str) -> None:
    found, notes = read(diag, expression)
    assert "infinity" in str(found)
    assert notes


class TestIntervals:
    @pytest.mark.parametrize("text", ["1 mon", "1 year", "-1 mon", "1 year 2 mons 3 days"])
    def test_a_month_has_no_length(self, diag: Session, text: str) -> None:
        found, notes = read(diag, f"'{text}'::interval")
        assert found == text.replace("-1 mon", "-1 mons")
        assert notes == (
            "v: a month or year has no fixed length in seconds, so the interval is shown as text",
        )

    def test_a_check_is_in_seconds(self, diag: Session) -> None:
        frame = diag.query("SELECT '00:01:30.5'::interval AS v")
        found = rules.apply(Rule(title="age", column="v", unit="s", warn=60), frame)
        assert (found.verdict, found.value) == (Verdict.WARNING, 90.5)

    def test_a_check_says_what_is_no_number(self, diag: Session) -> None:
        frame = diag.query("VALUES ('1 mon'::interval), ('10 s'), (NULL)")
        found = rules.apply(Rule(title="age", column="column1", warn=60), frame)
        assert found.verdict is Verdict.UNKNOWN
        assert (
            found.actual
            == "column1 has no value in 1 of 3 rows, and is not a number in 1, such as '1 mon'"
        )


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_a_numeric_that_is_no_finite_number(diag: Session, text: str) -> None:
    frame = diag.query(f"SELECT '{text}'::numeric AS v, '{text}'::float8 AS f")
    both = [rules.apply(Rule(title="v", column=name, warn=1), frame) for name in ("v", "f")]
    expected = {"NaN": Verdict.UNKNOWN, "Infinity": Verdict.WARNING, "-Infinity": Verdict.OK}
    assert {found.verdict for found in both} == {expected[text]}
    assert str(frame["v"][0]) == text
