"""One guarded connection on a real server: what it refuses, cuts, cancels and survives.

The queries run as the sandbox's owner of the tables, who may write: what is refused here is
refused by the session and not by missing privileges.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbkernel.checks.answer import provenance
from rbkernel.config import Connection, Settings
from rbkernel.errors import DatabaseError, QueryError, SqlTextError
from rbkernel.sandbox import access, control
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection.session import Session
from tests.support.patients import Unguarded

NAME = "rbkernel/RUN-005/test"


def connection(role: access.Role = "shop_app", **limits: Any) -> Connection:
    status = control.status()
    assert status.primary_port
    assert status.standby_port
    ways = access.Access(
        home=Home.configured(), primary_port=status.primary_port, standby_port=status.standby_port
    )
    return ways.connection(role, "primary").model_copy(update=limits)


@pytest.fixture
def session(shop: Settings) -> Iterator[Session]:
    opened = Unguarded(connection(), application_name=NAME)
    yield opened
    opened.close()


@contextlib.contextmanager
def limited(*, application_name: str = NAME, **limits: Any) -> Iterator[Session]:
    opened = Unguarded(connection(**limits), application_name=application_name)
    yield opened
    opened.close()


def backends(where: str) -> list[tuple[Any, ...]]:
    """What the server itself says of our sessions."""
    ours = f"SELECT pid, state, query FROM pg_stat_activity WHERE application_name = '{NAME}'"
    with control.connect_as("postgres") as raw:
        return list(raw.execute(f"{ours} AND {where}".encode()).fetchall())


def number_of_orders() -> int:
    with control.connect_as("postgres") as raw:
        row = raw.execute(b"SELECT count(*) FROM orders_legacy WHERE id <= 300000").fetchone()
    assert row
    return int(row[0])


CORPUS = Path(__file__).parents[1] / "corpora" / "hostile_sql.txt"
# one line makes a single value of 1 GB: rows are capped, their size is not
HOSTILE_SQL = [
    line.replace("\\n", "\n")
    for line in CORPUS.read_text().splitlines()
    if "1000000000" not in line
]


def state_of_the_server() -> Any:
    with control.connect_as("postgres") as raw:
        return raw.execute(b"""
SELECT (SELECT count(*) FROM orders_legacy WHERE id <= 300000),
       (SELECT count(*) FROM pg_class),
       (SELECT count(*) FROM pg_proc),
       (SELECT array_agg(rolname || rolsuper ORDER BY rolname) FROM pg_roles),
       (SELECT count(*) FROM pg_extension),
       (SELECT count(*) FROM pg_replication_slots),
       (SELECT count(*) FROM pg_largeobject_metadata),
       (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
       (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop-worker'),
       (SELECT array_agg(name || setting ORDER BY name) FROM pg_file_settings),
       (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database())
""").fetchone()


class TestReadOnly:
    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO reconciliation_diffs (module) VALUES ('x') RETURNING 1",
            "WITH d AS (DELETE FROM orders_legacy RETURNING *) SELECT count(*) FROM d",
            "CREATE TABLE evil AS SELECT 1 AS a",
            "SELECT nextval(pg_get_serial_sequence('reconciliation_diffs', 'id'))",
            "TRUNCATE orders_legacy",
            "SELECT * FROM orders_legacy LIMIT 1 FOR UPDATE",
        ],
    )
    def test_what_writes_is_refused(self, session: Session, sql: str) -> None:
        before = number_of_orders()
        with pytest.raises((DatabaseError, QueryError), match=r"read-only|data-modifying"):
            session.query(sql)
        assert number_of_orders() == before

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1; COMMIT; DELETE FROM orders_legacy WHERE id <= 300000",
            "COMMIT; DELETE FROM orders_legacy WHERE id <= 300000 RETURNING 1",
            "ROLLBACK; BEGIN READ WRITE; DELETE FROM orders_legacy RETURNING 1; COMMIT",
            "SET TRANSACTION READ WRITE; DELETE FROM orders_legacy; COMMIT; SELECT 1",
        ],
    )
    def test_no_second_statement_leaves_the_transaction(self, session: Session, sql: str) -> None:
        before = number_of_orders()
        with pytest.raises((DatabaseError, QueryError)):
            session.query(sql)
        assert number_of_orders() == before

    def test_the_corpus_leaves_everything_as_it_was(self, shop: Settings) -> None:
        """As the diagnostic role, whose privileges are the second wall."""
        before = state_of_the_server()
        session = Unguarded(connection("rb_diag"), application_name=NAME)
        answered = []
        for statement in HOSTILE_SQL:
            with contextlib.suppress(DatabaseError, QueryError, SqlTextError):
                session.query(statement, row_cap=100, timeout_s=0.3)
                answered.append(statement)
        assert session.query("SELECT 1 AS one")["one"].tolist() == [1]
        session.close()
        assert state_of_the_server() == before
        assert len(answered) < len(HOSTILE_SQL) / 2

    def test_limits_do_not_outlive_a_query(self, session: Session) -> None:
        [pid] = session.query("SELECT pg_backend_pid() AS pid")["pid"]
        assert backends("state = 'idle'") == [(pid, "idle", "ROLLBACK")]


class TestLimits:
    def test_statement_time_out(self, shop: Settings) -> None:
        with limited(statement_timeout_s=0.5) as session:
            started = time.monotonic()
            with pytest.raises(DatabaseError, match="statement timeout") as caught:
                session.query("SELECT pg_sleep(60)")
            assert time.monotonic() - started < 2
            assert "slow or blocked" in caught.value.next_step
            assert backends("state <> 'idle'") == []
            assert session.query("SELECT 1 AS one")["one"].tolist() == [1]

    def test_lock_time_out_on_a_locked_table(self, shop: Settings) -> None:
        with (
            limited(lock_timeout_s=0.3, statement_timeout_s=10.0) as session,
            control.connect_as("postgres", autocommit=False) as raw,
        ):
            assert session.server.version_num
            raw.execute(b"LOCK TABLE orders_legacy IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            with pytest.raises(DatabaseError, match="lock timeout") as caught:
                session.query("SELECT count(*) FROM orders_legacy")
            assert time.monotonic() - started < 2
        assert "lock" in caught.value.next_step

    def test_row_cap_cuts_and_says_so(self, session: Session) -> None:
        frame = session.query("SELECT generate_series(1, 1000000000)", row_cap=7)
        assert len(frame) == 7
        told = provenance(frame)
        assert told
        assert told.cut_by == "the row cap of 7"
        assert told.rows == 7

    def test_exactly_the_cap_is_not_cut(self, session: Session) -> None:
        told = provenance(session.query("SELECT * FROM generate_series(1, 7)", row_cap=7))
        assert told
        assert not told.cut_by

    def test_size_cap_cuts_wide_rows(self, session: Session) -> None:
        wide = "SELECT i, repeat('x', 1000000) AS wide FROM generate_series(1, 5000) i"
        tracemalloc.start()
        frame = session.query(wide)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        told = provenance(frame)
        assert told
        assert told.cut_by == "the size cap of 64 MB"
        assert 50 < len(frame) < 80
        assert peak_bytes < 200_000_000

    @pytest.mark.parametrize("rows", [0, 1, 2, 8, 9, 10, 73, 74, 600])
    def test_every_row_comes_whatever_the_batch(self, session: Session, rows: int) -> None:
        frame = session.query("SELECT i FROM generate_series(1, :rows) i", {"rows": rows})
        assert frame["i"].tolist() == list(range(1, rows + 1))

    def test_deadline_cancels_what_ignores_the_time_out(self, session: Session) -> None:
        assert session.server
        started = time.monotonic()
        with pytest.raises(DatabaseError, match="canceling statement due to user request"):
            session.query(
                "SELECT set_config('statement_timeout', '0', true), pg_sleep(0)"
                " UNION ALL SELECT 'x', pg_sleep(60)",
                timeout_s=0.5,
            )
        assert time.monotonic() - started < 5
        assert backends("state <> 'idle'") == []

    def test_frozen_backend_is_abandoned(self, session: Session) -> None:
        [pid] = session.query("SELECT pg_backend_pid() AS pid")["pid"]
        backend = psutil.Process(int(pid))
        backend.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(DatabaseError):
                session.query("SELECT 1", timeout_s=1)
            assert time.monotonic() - started < 8
        finally:
            backend.send_signal(signal.SIGCONT)
        [other] = session.query("SELECT pg_backend_pid() AS pid")["pid"]
        assert other != pid


class TestReconnect:
    def test_after_a_terminated_backend(self, session: Session) -> None:
        [pid] = session.query("SELECT pg_backend_pid() AS pid")["pid"]
        with control.connect_as("postgres") as raw:
            raw.execute(b"SELECT pg_terminate_backend(%s, 5000)", [int(pid)])
        answer = ask_again(session)
        assert answer["pid"].tolist() != [pid]

    def test_after_a_restart_of_the_server(self, session: Session) -> None:
        [pid] = session.query("SELECT pg_backend_pid() AS pid")["pid"]
        os.kill(int(pid), signal.SIGKILL)  # the postmaster then restarts all sessions
        assert ask_again(session)["pid"].tolist() != [pid]


def ask_again(session: Session) -> pd.DataFrame:
    """The first query may find the old connection cut; one of the next ones gets through."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return session.query("SELECT pg_backend_pid() AS pid")
        except DatabaseError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


HOSTILE = [
    "'; DROP TABLE orders; --",
    "\\'; DROP TABLE orders; --",
    "$$; $1 $tag$",
    ":other ::text %s %(x)s %%",
    '"quoted" \\" \n\t é 漢 🙂',
    "",
]


class TestValues:
    @pytest.mark.parametrize("value", HOSTILE)
    def test_hostile_text_comes_back_as_it_went(self, session: Session, value: str) -> None:
        frame = session.query("SELECT :v AS v, ':v' AS literal, '%s' AS percent", {"v": value})
        assert frame.iloc[0].tolist() == [value, ":v", "%s"]

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(value=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
    def test_any_text_comes_back(self, session: Session, value: str) -> None:
        frame = session.query("SELECT :v::text AS v", {"v": value})
        assert frame["v"].tolist() == [value]

    def test_nul_is_an_error_with_a_next_step(self, session: Session) -> None:
        with pytest.raises(SqlTextError) as caught:
            session.query("SELECT :v::text AS v", {"v": "a\0b"})
        assert caught.value.next_step

    def test_lists_are_arrays(self, session: Session) -> None:
        frame = session.query("SELECT 3 = ANY(:keys) AS there", {"keys": [1, 2, 3]})
        assert frame["there"].tolist() == [True]

    def test_a_value_that_is_missing_names_itself(self, session: Session) -> None:
        with pytest.raises(SqlTextError, match=":status"):
            session.query("SELECT :status")

    def test_wrong_sql_raises_and_the_session_goes_on(self, session: Session) -> None:
        with pytest.raises(QueryError, match="does not exist"):
            session.query("SELECT * FROM no_such_table")
        assert len(session.query("SELECT 1")) == 1

    def test_a_statement_without_rows_is_refused(self, session: Session) -> None:
        with pytest.raises(QueryError, match="returns no rows"):
            session.query("SET work_mem = '1MB'")


def one(session: Session, expression: str) -> Any:
    return session.query(f"SELECT {expression} AS v")["v"].iloc[0]


class TestTypes:
    def test_big_integers_keep_their_digits_beside_null(self, session: Session) -> None:
        frame = session.query("VALUES (9007199254740993::bigint), (NULL), (-9223372036854775808)")
        column = frame.iloc[:, 0]
        assert str(column.dtype) == "Int64"
        assert column[0] == 9007199254740993
        assert column[1] is pd.NA
        assert column[2] == -(2**63)

    def test_numeric_keeps_its_digits(self, session: Session) -> None:
        digits = "12345678901234567890.123456789012345678900"
        assert one(session, f"{digits}::numeric") == Decimal(digits)
        assert str(one(session, f"{digits}::numeric")) == digits
        assert one(session, "'NaN'::numeric").is_nan()

    def test_timestamptz_is_utc(self, session: Session) -> None:
        frame = session.query("VALUES ('2026-11-20 04:00:00.000001+01'::timestamptz), (NULL)")
        column = frame.iloc[:, 0]
        assert column[0] == datetime(2026, 11, 20, 3, 0, 0, 1, tzinfo=UTC)
        assert str(column[0].tz) == "UTC"
        assert column[1] is pd.NaT

    def test_timestamp_without_zone_stays_without(self, session: Session) -> None:
        assert one(session, "'2026-11-20 03:00'::timestamp").tz is None

    @pytest.mark.parametrize("year", [1, 1500, 2300, 9999])
    def test_far_times_are_right(self, session: Session, year: int) -> None:
        found = one(session, f"make_timestamptz({year}, 5, 6, 7, 8, 9.5, 'UTC')")
        assert found == datetime(year, 5, 6, 7, 8, 9, 500000, tzinfo=UTC)

    def test_null_booleans(self, session: Session) -> None:
        column = session.query("VALUES (true), (NULL), (false)").iloc[:, 0]
        assert str(column.dtype) == "boolean"
        assert column[1] is pd.NA
        assert column.dropna().tolist() == [True, False]

    def test_floats(self, session: Session) -> None:
        column = session.query("VALUES (1.5::float8), (NULL), ('infinity')").iloc[:, 0]
        assert column[0] == 1.5
        assert pd.isna(column[1])
        assert column[2] == float("inf")

    def test_intervals(self, session: Session) -> None:
        column = session.query("VALUES ('1 day 02:03:04.5'::interval), (NULL), ('-1 s')")
        values = column.iloc[:, 0]
        assert values[0] == pd.Timedelta(days=1, hours=2, minutes=3, seconds=4.5)
        assert values[1] is pd.NaT
        assert values[2] == pd.Timedelta(seconds=-1)
        assert one(session, "'146000 days'::interval").days == 146_000

    def test_json_arrays_bytes_and_unknown_types(self, session: Session) -> None:
        assert one(session, """'{"a": [1, null]}'::jsonb""") == {"a": [1, None]}
        assert one(session, "ARRAY[1, NULL, 3]") == [1, None, 3]
        assert bytes(one(session, r"'\x00ff'::bytea")) == b"\x00\xff"
        assert str(one(session, "'10.0.0.0/8'::cidr")) == "10.0.0.0/8"
        assert str(one(session, "'0/16B3748'::pg_lsn")) == "0/16B3748"
        assert str(one(session, "point(1, 2)")) == "(1,2)"
        assert str(one(session, "'[1,5)'::int4range")) == "[1, 5)"

    def test_all_null_and_no_rows_keep_their_columns(self, session: Session) -> None:
        nothing = session.query("SELECT 1::int AS a, now() AS b, true AS c, ''::text AS d LIMIT 0")
        assert list(nothing.columns) == ["a", "b", "c", "d"]
        assert len(nothing) == 0
        assert [str(nothing[column].dtype) for column in "ac"] == ["Int64", "boolean"]
        empty = session.query("SELECT NULL::int AS a, NULL::timestamptz AS b, NULL::interval AS c")
        assert empty.isna().all(axis=None)

    def test_duplicate_column_names_are_both_kept(self, session: Session) -> None:
        frame = session.query("SELECT 1 AS a, 'x' AS a")
        assert list(frame.columns) == ["a", "a_2"]
        assert frame.iloc[0].tolist() == [1, "x"]

    def test_no_columns_at_all(self, session: Session) -> None:
        frame = session.query("SELECT FROM generate_series(1, 3)")
        assert frame.shape[1] == 0
        told = provenance(frame)
        assert told
        assert told.rows == 3


def test_the_administrator_sees_who_we_are(session: Session) -> None:
    frame = session.query("SELECT current_setting('application_name') AS name")
    assert frame["name"].tolist() == [NAME]
    assert len(backends("true")) == 1


@pytest.mark.parametrize("name", ["x" * 100, "é" * 100])
def test_a_long_name_is_cut(shop: Settings, name: str) -> None:
    with limited(application_name=name) as session:
        [seen] = session.query("SELECT current_setting('application_name') AS name")["name"]
    # the server writes what is not ASCII as four characters a byte
    assert seen == (name[:63] if name.isascii() else r"\xc3\xa9" * 31)


def test_provenance_tells_where_a_frame_came_from(session: Session) -> None:
    assert session.server.role == "shop_app"
    told = provenance(session.query("SELECT :a AS a", {"a": 1}, name="ours"))
    assert told
    assert (told.name, told.role, told.values, told.rows) == ("ours", "shop_app", {"a": 1}, 1)
    assert "primary" in told.server
    assert told.sql == "SELECT :a AS a"
