"""What RUN-004 says about statements of a migration, against what PostgreSQL does with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sql.ddl import effects, locked
from rbkernel.sql.ddl_partitions import on_partitioned
from tests.support.servers import Servers, ask
from tests.support.waiting import until

_VALID = b"SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass"


@pytest.fixture
def parted(alone: Servers) -> Iterator[RawConnection]:
    """The owner of a table `t` with the partitions `t1` and `t2`, and of a table `plain`."""
    raw = alone.connect("owner")
    raw.execute("CREATE TABLE t (id int NOT NULL, a int) PARTITION BY RANGE (id)")
    raw.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (2)")
    raw.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (2) TO (3)")
    raw.execute("CREATE TABLE plain (id int PRIMARY KEY, a int)")
    yield raw
    alone.end_sessions()
    with alone.access.connect("shop_app") as owner:
        owner.execute("DROP TABLE t, plain CASCADE")


def is_valid(raw: RawConnection, index: str) -> bool:
    row = raw.execute(_VALID, [index]).fetchone()
    assert row
    return bool(row[0])


class TestPartitions:
    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE INDEX CONCURRENTLY t_a ON t (a)",
            "CREATE UNIQUE INDEX CONCURRENTLY t_a ON t (id)",
            "DROP INDEX CONCURRENTLY t_old",
            "ALTER TABLE t ADD CONSTRAINT t_u UNIQUE USING INDEX t_old",
        ],
    )
    def test_what_is_said_to_be_refused_is(self, parted: RawConnection, sql: str) -> None:
        parted.execute("CREATE UNIQUE INDEX t_old ON t (id)")
        [found] = effects(sql)
        assert on_partitioned(found).refused
        assert not found.refused
        with pytest.raises(parted.Error, match="partitioned"):
            parted.execute(sql.encode())

    def test_an_index_is_built_on_each_partition_and_attached(self, parted: RawConnection) -> None:
        [said] = map(on_partitioned, effects("CREATE INDEX t_a ON t (a)"))
        assert said.heavy
        assert re.search("ON ONLY .*on each partition .*ATTACH PARTITION", said.safer)
        only = "CREATE INDEX t_a ON ONLY t (a)"
        assert [on_partitioned(one).heavy for one in effects(only)] == [False]
        assert [one.heavy for one in effects(only)] == [True]  # of a plain table, it builds all
        parted.execute(only.encode())
        for part in ("t1", "t2"):
            assert not is_valid(parted, "t_a")
            parted.execute(f"CREATE INDEX CONCURRENTLY {part}_a ON {part} (a)".encode())
            attach = f"ALTER INDEX t_a ATTACH PARTITION {part}_a"
            assert [one.heavy for one in effects(attach)] == [False]
            parted.execute(attach.encode())
        assert is_valid(parted, "t_a")

    def test_a_constraint_is_added_to_each_partition_and_attached(
        self, parted: RawConnection
    ) -> None:
        [said] = map(on_partitioned, effects("ALTER TABLE t ADD CONSTRAINT t_u UNIQUE (id)"))
        assert said.heavy
        assert re.search("ONLY .*USING INDEX on each|ONLY .*on each .*USING INDEX", said.safer)
        only = "ALTER TABLE ONLY t ADD CONSTRAINT t_u UNIQUE (id)"
        assert [on_partitioned(one).heavy for one in effects(only)] == [False]
        parted.execute(only.encode())
        for part in ("t1", "t2"):
            assert not is_valid(parted, "t_u")
            name = f"{part}_u"
            parted.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {part} (id)".encode())
            parted.execute(f"ALTER TABLE {part} ADD UNIQUE USING INDEX {name}".encode())
            parted.execute(f"ALTER INDEX t_u ATTACH PARTITION {name}".encode())
        assert is_valid(parted, "t_u")

    def test_a_foreign_key_is_validated_on_each_partition_and_taken_over(
        self, parted: RawConnection
    ) -> None:
        [said] = map(
            on_partitioned,
            effects("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES plain"),
        )
        assert "on each partition" in said.safer
        for part in ("t1", "t2"):
            key = f"ALTER TABLE {part} ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES plain NOT VALID"
            parted.execute(key.encode())
            parted.execute(f"ALTER TABLE {part} VALIDATE CONSTRAINT f".encode())
        parted.execute("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES plain")
        keys = parted.execute(
            "SELECT count(*), count(*) FILTER (WHERE conparentid = 0) FROM pg_constraint"
            " WHERE conname = 'f' AND contype = 'f' AND conrelid::regclass::text ~ '^t[12]?$'"
        ).fetchone()
        assert keys == (3, 1)

    def test_the_diagnostic_knows_them(self, parted: RawConnection, diag: Session) -> None:
        parted.execute("CREATE INDEX t_a ON t (a)")
        found = ask(diag, "migration/targets", tables="t, t_a, t1, plain").set_index("relation")
        assert found["partitioned"].to_dict() == {
            "plain": False, "t": True, "t1": False, "t_a": True,
        }  # fmt: skip


LOCKED = "INSERT INTO plain VALUES (1, 1); COMMIT; BEGIN; SELECT id FROM plain FOR UPDATE"
READ, WRITE = "SELECT count(*) FROM plain", "INSERT INTO plain VALUES (1, 1)"


@pytest.mark.parametrize(
    ("held", "statement", "waits"),
    [
        (READ, "CREATE INDEX plain_a ON plain (a)", False),
        (READ, "ALTER TABLE t1 ADD FOREIGN KEY (a) REFERENCES plain NOT VALID", False),
        (READ, "ALTER TABLE plain ADD COLUMN b int", True),
        (f"{READ} FOR SHARE".replace("count(*)", "id"), "CREATE INDEX plain_a ON plain (a)", False),
        (WRITE, "CREATE INDEX plain_a ON plain (a)", True),
        (WRITE, "ALTER TABLE t1 ADD FOREIGN KEY (a) REFERENCES plain NOT VALID", True),
        (WRITE, "ALTER TABLE plain ALTER a SET STATISTICS 50", False),
        (LOCKED, "UPDATE plain SET a = 2", True),
        (LOCKED, "DELETE FROM plain WHERE id = 1", True),
        (READ, "UPDATE plain SET a = 2", False),
    ],
)
def test_only_transactions_in_the_way_count(
    alone: Servers, diag: Session, parted: RawConnection, held: str, statement: str, waits: bool
) -> None:
    holder = alone.connect("holder")
    holder.execute("BEGIN")
    for one in held.split(";"):
        holder.execute(one.encode())
    said = locked(effects(statement))
    found = ask(
        diag, "migration/targets", tables=", ".join(said), blocks="; ".join(said.values())
    ).set_index("relation")
    assert found.loc["plain", "users"] == 1
    assert (found.loc["plain", "oldest_s"] > 0) == waits
    parted.execute("SET lock_timeout = '100ms'")
    if waits:
        with pytest.raises(parted.Error, match="lock timeout"):
            parted.execute(statement.encode())
    else:
        parted.execute(statement.encode())


@pytest.mark.parametrize(
    ("held", "statement"),
    [
        (WRITE, "CREATE INDEX CONCURRENTLY plain_a ON plain (a)"),
        (READ, "DROP INDEX CONCURRENTLY plain_b"),
        ("SELECT 1 FROM t", "CREATE INDEX CONCURRENTLY plain_a ON plain (a)"),
    ],
)
def test_concurrently_waits_for_all_with_nobody_behind_it(
    alone: Servers, diag: Session, parted: RawConnection, held: str, statement: str
) -> None:
    parted.execute("CREATE INDEX plain_b ON plain (a)")
    said = locked(effects(statement))
    tables = {"tables": ", ".join(said), "blocks": "; ".join(said.values())}
    assert ask(diag, "migration/targets", **tables)["patient_s"].tolist() == [0]
    holder = alone.connect("holder")
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    for one in held.split(";"):
        holder.execute(one.encode())
    [row] = ask(diag, "migration/targets", **tables)[["oldest_s", "patient_s"]].to_numpy()
    assert row[0] == 0
    assert row[1] > 0
    parted.execute("SET statement_timeout = '300ms'")
    with pytest.raises(parted.Error, match="statement timeout"):
        parted.execute(statement.encode())


def test_what_nobody_said_about_counts_as_the_strongest_lock(
    alone: Servers, diag: Session, parted: RawConnection
) -> None:
    alone.start("holder", "BEGIN", READ)
    for blocks in ("", "not known"):
        found = ask(diag, "migration/targets", tables="plain", blocks=blocks)
        assert found["oldest_s"].iloc[0] > 0


def test_a_vacuum_hides_nothing_that_was_left_behind(
    alone: Servers, diag: Session, parted: RawConnection
) -> None:
    parted.execute("INSERT INTO plain SELECT n, n % 3 FROM generate_series(1, 100000) n")
    with pytest.raises(parted.Error, match="duplicat"):
        parted.execute("CREATE UNIQUE INDEX CONCURRENTLY plain_a ON plain (a)")
    slow = ("SET vacuum_cost_delay = '100ms'", "SET vacuum_cost_limit = 1")
    alone.send("dba", "VACUUM (FREEZE) plain", *slow)
    runs = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'plain'::regclass"
    until(lambda: parted.execute(runs).fetchone() == (1,), "VACUUM runs")
    left = ask(diag, "migration/leftovers").set_index("object")
    assert not left.loc["public.plain_a", "building"]
    listed = ask(diag, "storage/indexes").query("problem == 'invalid'")["index"]
    assert "public.plain_a" in set(listed)
    assert parted.execute(runs).fetchone() == (1,), "VACUUM ran all the time"
