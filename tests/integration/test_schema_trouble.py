"""What a schema, its limits and its vacuum lack; each with a look-alike that is ok."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pandas as pd
import pytest

from rbkernel.model import Verdict
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers, ask, servers, verdicts
from tests.support.waiting import until

OK, WARNING, CRITICAL, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN


@contextmanager
def schema(of: Servers, name: str = "trouble") -> Iterator[RawConnection]:
    raw = of.connect("owner")
    raw.execute(f"CREATE SCHEMA {name}; SET search_path = {name}".encode())
    try:
        yield raw
    finally:
        of.end_sessions()  # they may hold locks
        with of.access.connect("shop_app") as owner:
            owner.execute(f"DROP SCHEMA {name} CASCADE".encode())


def in_trouble(frame: pd.DataFrame, column: str) -> list[str]:
    """The names in our schema, without it."""
    told = [str(name) for name in frame[column] if "trouble." in str(name)]
    return [re.sub(r"^trouble\.", "", name) for name in told]


class TestForeignKeys:
    def test_those_without_an_index_and_those_with_one(self, alone: Servers, diag: Session) -> None:
        with schema(alone) as raw:
            raw.execute(
                "CREATE TABLE customer (id int PRIMARY KEY, region int, UNIQUE (id, region));"
                "CREATE TABLE bare (id int CONSTRAINT bare_fk REFERENCES customer, pad text);"
                "CREATE TABLE indexed (id int CONSTRAINT indexed_fk REFERENCES customer);"
                "CREATE INDEX ON indexed (id);"
                # the other way round serves as well, a partial one or one that begins otherwise not
                "CREATE TABLE two (id int, region int, CONSTRAINT two_fk FOREIGN KEY (id, region)"
                " REFERENCES customer (id, region));"
                "CREATE INDEX ON two (region, id);"
                "CREATE TABLE partly (id int CONSTRAINT partly_fk REFERENCES customer, other int);"
                "CREATE INDEX ON partly (other, id); CREATE INDEX ON partly (id) WHERE other > 1;"
                "CREATE TABLE parts (id int CONSTRAINT parts_fk REFERENCES customer)"
                " PARTITION BY RANGE (id);"
                "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9)"
            )
            frame = ask(diag, "storage/foreign_keys")
            assert sorted(in_trouble(frame, "relation")) == ["bare", "part", "partly"]
            assert verdicts("storage/foreign_keys", frame) == {"Foreign keys without an index": OK}
            raw.execute("INSERT INTO customer VALUES (1)")
            raw.execute(
                "INSERT INTO bare SELECT 1, repeat('x', 1000) FROM generate_series(1, 12000) n"
            )
            raw.execute("ANALYZE bare")
            frame = ask(diag, "storage/foreign_keys")
            assert frame["constraint_name"].iloc[0] == "bare_fk"
            assert frame["fields"].iloc[0] == "id"
            assert verdicts("storage/foreign_keys", frame) == {
                "Foreign keys without an index": WARNING
            }


class TestPartitions:
    @pytest.mark.parametrize(
        ("bounds", "default", "expected"),
        [
            # days before and after today
            (((-1, 0), (0, 1), (1, 2), (2, 3)), False, (OK, OK)),
            (((-1, 0), (0, 1)), False, (WARNING, OK)),
            (((-2, -1), (-1, 0)), False, (WARNING, CRITICAL)),
            (((-2, -1), (-1, 0)), True, (WARNING, OK)),
            # an archive that nobody writes to
            (((-40, -30), (-70, -60)), False, (OK, OK)),
        ],
    )
    def test_of_a_table_by_day(
        self,
        alone: Servers,
        diag: Session,
        bounds: tuple[tuple[int, int], ...],
        default: bool,
        expected: tuple[Verdict, Verdict],
    ) -> None:
        with schema(alone) as raw:
            raw.execute("SET timezone = 'UTC'")
            raw.execute("CREATE TABLE events (at timestamptz) PARTITION BY RANGE (at)")
            for number, (start, end) in enumerate(bounds):
                raw.execute(
                    f"DO $$ BEGIN EXECUTE format('CREATE TABLE e{number} PARTITION OF events"
                    f" FOR VALUES FROM (%L) TO (%L)', current_date + {start},"
                    f" current_date + {end}); END $$".encode()
                )
            if default:
                raw.execute("CREATE TABLE others PARTITION OF events DEFAULT")
            frame = ask(diag, "storage/partitions")
            assert in_trouble(frame, "relation") == ["events"]
            assert tuple(verdicts("storage/partitions", frame).values()) == expected

    def test_others_are_not_judged(self, alone: Servers, diag: Session) -> None:
        with schema(alone) as raw:
            raw.execute(
                "CREATE TABLE by_id (id int) PARTITION BY RANGE (id);"
                "CREATE TABLE by_id_1 PARTITION OF by_id FOR VALUES FROM (1) TO (2);"
                "CREATE TABLE open_end (at date) PARTITION BY RANGE (at);"
                "CREATE TABLE open_end_1 PARTITION OF open_end FOR VALUES FROM ('2026-01-01')"
                " TO (MAXVALUE)"
            )
            assert in_trouble(ask(diag, "storage/partitions"), "relation") == []


class TestCollations:
    def test_an_index_that_was_built_with_another_version(
        self, alone: Servers, diag: Session
    ) -> None:
        admin = alone.connect("admin", role="postgres")
        versioned = admin.execute(
            "SELECT collname FROM pg_collation WHERE pg_collation_actual_version(oid) IS NOT NULL"
            " AND collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding())) LIMIT 1"
        ).fetchone()
        if versioned is None:
            pytest.skip("this PostgreSQL has no collation with a version")
        with schema(alone) as raw:
            raw.execute(f'CREATE TABLE t (a text COLLATE "{versioned[0]}")'.encode())
            raw.execute("CREATE INDEX ON t (a)")
            title = "Collation versions that changed"
            assert verdicts("storage/collations", ask(diag, "storage/collations"))[title] == OK
            named = f"WHERE collname = '{versioned[0]}'"
            admin.execute(f"UPDATE pg_collation SET collversion = '0.1' {named}".encode())
            try:
                frame = ask(diag, "storage/collations")
                row = frame.iloc[0]
                assert row["name"].endswith(versioned[0])
                assert row["differs"]
                assert row["indexes"] == 1
                assert verdicts("storage/collations", frame)[title] == WARNING
            finally:
                actual = "pg_collation_actual_version(oid)"
                admin.execute(f"UPDATE pg_collation SET collversion = {actual} {named}".encode())


class TestLimits:
    def test_a_role_that_is_near_its_own_limit(self, alone: Servers, diag: Session) -> None:
        admin = alone.connect("admin", role="postgres")
        for _ in range(3):
            alone.connect("web")
        [(used,)] = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app'"
        ).fetchall()
        admin.execute(f"ALTER ROLE shop_app CONNECTION LIMIT {used}".encode())
        try:
            frame = ask(diag, "connections/roles")
            assert frame.iloc[0]["role"] == "shop_app"
            assert verdicts("connections/roles", frame) == {"Connections by role": CRITICAL}
            admin.execute(f"ALTER ROLE shop_app CONNECTION LIMIT {used * 2}".encode())
            assert verdicts("connections/roles", ask(diag, "connections/roles")) == {
                "Connections by role": OK
            }
        finally:
            admin.execute("ALTER ROLE shop_app CONNECTION LIMIT -1")


class TestVacuumBehind:
    """Why a table has twice the dead rows that autovacuum waits for."""

    @pytest.fixture
    def table(self, alone: Servers) -> Iterator[RawConnection]:
        """A table that no autovacuum comes to by itself."""
        with alone.access.connect("postgres") as admin:
            admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1d'")
            admin.execute("SELECT pg_reload_conf()")
            try:
                with schema(alone) as raw:
                    raw.execute(
                        "CREATE TABLE t (id int) WITH (autovacuum_vacuum_threshold = 10,"
                        " autovacuum_vacuum_scale_factor = 0)"
                    )
                    raw.execute("INSERT INTO t SELECT generate_series(1, 1000)")
                    raw.execute("SELECT pg_stat_force_next_flush()")
                    yield raw
            finally:
                admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
                admin.execute("SELECT pg_reload_conf()")

    def kill_rows(self, raw: RawConnection) -> None:
        raw.execute("DELETE FROM t WHERE id <= 500")
        raw.execute("SELECT pg_stat_force_next_flush()")
        raw.execute("SELECT 1")

    def why(self, diag: Session, held_s: float = 0) -> Any:
        frame = ask(diag, "vacuum/behind", held_s=held_s)
        only = frame[frame["relation"] == "trouble.t"]
        only.attrs = frame.attrs
        wrong = [title for title, v in verdicts("vacuum/behind", only).items() if v is WARNING]
        return (only.iloc[0] if len(only) else None), wrong

    def test_because_nobody_came(self, table: RawConnection, diag: Session) -> None:
        assert self.why(diag) == (None, [])
        self.kill_rows(table)
        row, wrong = self.why(diag)
        assert row["why"] == "not come by"
        assert row["dead_of_due"] == pytest.approx(50)
        assert wrong == []  # it may be that nobody could come yet: see vacuum/tables
        table.execute("VACUUM t")
        assert self.why(diag) == (None, [])

    def test_because_it_is_switched_off(self, table: RawConnection, diag: Session) -> None:
        table.execute("ALTER TABLE t SET (autovacuum_enabled = off)")
        self.kill_rows(table)
        row, wrong = self.why(diag)
        assert row["detail"] == "autovacuum_enabled of the table"
        assert wrong == ["Overdue tables with autovacuum off"]

    def test_because_of_a_lock(self, alone: Servers, table: RawConnection, diag: Session) -> None:
        self.kill_rows(table)
        holder = alone.start("migration", "BEGIN", "LOCK TABLE trouble.t IN SHARE MODE")
        row, wrong = self.why(diag)
        assert row["pid"] == holder
        assert row["detail"] == f"migration (pid {holder})"
        assert wrong == ["Overdue tables blocked by a lock"]
        row, wrong = self.why(diag, held_s=60)
        assert (row["why"], wrong) == ("not come by", [])

    def test_because_an_old_snapshot_may_see_the_rows(
        self, alone: Servers, table: RawConnection, diag: Session
    ) -> None:
        reader = alone.start(
            "report", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM orders LIMIT 1"
        )
        self.kill_rows(table)
        table.execute("VACUUM t")
        row, wrong = self.why(diag)
        assert row["pid"] == reader
        assert "report" in row["detail"]
        assert wrong == ["Overdue tables held back from vacuum"]
        assert self.why(diag, held_s=60)[1] == []

    def test_because_its_vacuum_is_slowed(
        self, alone: Servers, table: RawConnection, diag: Session
    ) -> None:
        self.grow(table, "t")
        slowed = ("SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1")
        worker = alone.send("vacuum", "VACUUM trouble.t", *slowed)

        def seen() -> bool:
            frame = ask(diag, "vacuum/behind", slow_s=0.5).set_index("pid")
            told = verdicts("vacuum/behind", frame)["Overdue tables with a slow vacuum"]
            return told is WARNING and frame.loc[worker, "detail"].endswith("by its cost limit")

        until(seen, "the vacuum is slow")
        told = verdicts("vacuum/behind", ask(diag, "vacuum/behind"))
        assert told["Overdue tables with a slow vacuum"] is OK

    def test_because_all_workers_are_busy(
        self, alone: Servers, table: RawConnection, diag: Session
    ) -> None:
        """As many tables as there are workers and one more, and vacuums that take minutes."""
        settings = {
            "autovacuum_naptime": "1s",
            "autovacuum_vacuum_cost_delay": "100",
            "autovacuum_vacuum_cost_limit": "1",
        }
        title = "Overdue tables waiting for a worker"
        with alone.access.connect("postgres") as admin:
            [(workers,)] = admin.execute("SHOW autovacuum_max_workers").fetchall()
            names = [f"t{number}" for number in range(int(workers) + 1)]
            for name in names:
                table.execute(f"CREATE TABLE {name} (LIKE t)".encode())
                self.grow(table, name)
            assert verdicts("vacuum/behind", ask(diag, "vacuum/behind", held_s=0))[title] is OK
            try:
                for name, value in settings.items():
                    admin.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
                admin.execute("SELECT pg_reload_conf()")

                def seen() -> bool:
                    frame = ask(diag, "vacuum/behind", held_s=0.2)
                    return verdicts("vacuum/behind", frame)[title] is WARNING

                until(seen, "all workers are busy", timeout_s=60)
            finally:
                for name in settings:
                    admin.execute(f"ALTER SYSTEM RESET {name}".encode())
                admin.execute("SELECT pg_reload_conf()")

    def grow(self, raw: RawConnection, name: str) -> None:
        """Give a table so many pages with dead rows that a slowed vacuum takes minutes."""
        raw.execute(f"INSERT INTO {name} SELECT generate_series(1, 100000)".encode())
        raw.execute(f"DELETE FROM {name} WHERE id % 2 = 0".encode())
        raw.execute("SELECT pg_stat_force_next_flush()")
        raw.execute("SELECT 1")


def test_logical_slots_and_a_failover(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        servers(tmp_path_factory.mktemp("failover") / "home") as made,
        closing(made.diagnostic_session()) as session,
        made.access.connect("postgres") as admin,
    ):
        admin.execute("SELECT pg_create_logical_replication_slot('plain', 'pgoutput')")
        title = "Logical slots not kept in a failover"

        def seen() -> tuple[dict[str, bool], Verdict]:
            frame = ask(session, "replication/failover")
            rows = {row["slot"]: bool(row["survives"]) for _, row in frame.iterrows()}
            return rows, verdicts("replication/failover", frame)[title]

        assert seen() == ({"plain": False}, OK)  # there is nothing to fail over to
        admin.execute("SELECT pg_create_physical_replication_slot('standby')")
        assert seen() == ({"plain": False}, WARNING)
        admin.execute("SELECT pg_drop_replication_slot('plain')")
        if made.cluster.binaries.major >= 17:
            admin.execute(
                "SELECT pg_create_logical_replication_slot('kept', 'pgoutput', false, false, true)"
            )
            assert seen() == ({"kept": True}, OK)
            frame = ask(session, "replication/failover")
            assert verdicts("replication/failover", frame)[
                "Logical slots not held back for the standby"
            ] is (WARNING)
