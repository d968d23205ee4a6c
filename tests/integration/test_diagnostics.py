"""The diagnostics library against situations whose truth the test itself has made.

Lock trees and replication lag have modules of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pandas as pd
import pytest

from rbkernel.checks import rules
from rbkernel.checks.answer import Provenance, provenance
from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.sources.postgres import diagnostics, overview, remedy
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import ROW, Servers, ask, verdicts
from tests.support.waiting import until


class TestHeaders:
    """What a header promises, it must be able to keep; no server needed."""

    @pytest.mark.parametrize("name", diagnostics.names())
    def test_rules_and_figure_speak_of_declared_columns(self, name: str) -> None:
        declared = diagnostics.get(name)
        assert declared.purpose
        # a look at the whole server is judged by its causes
        assert declared.rules or name.startswith("situation/")
        for rule in declared.rules:
            named = {rule.column, rule.by, rule.each, *rule.where} - {""}
            assert named <= set(declared.columns), rule.title
            assert rule.cause, rule.title
            assert rule.next_step, rule.title
            assert re.fullmatch(r"RUN-\d{3}", rule.opens), rule.title
            # the rows that are named must be those that are wrong, not all that were looked at
            assert not rule.each or rule.agg == "rows" or "depth" in rule.where, rule.title
            assert rule.source, rule.title  # a threshold states where it comes from
        if (figure := declared.figure) is not None:
            assert {figure.x, figure.y, figure.by} - {""} <= set(declared.columns)
            assert figure.kind != "timeline" or "sampled_at" in declared.columns

    @pytest.mark.parametrize("name", diagnostics.names())
    def test_a_limit_in_the_sql_is_told(self, name: str) -> None:
        declared = diagnostics.get(name)
        for sql in (declared.sql, *declared.variants.values()):
            limits = re.findall(r"\bLIMIT\s+(?!1\b)(\S+.*)", sql)
            if declared.batch:
                assert limits == ["CAST(:batch AS int)"]
            elif limits:
                assert "of_all" in sql

    def test_a_null_makes_unknown_unless_the_rest_is_bad_enough(self) -> None:
        rule = diagnostics.get("storage/sequences").rules[0]
        columns = diagnostics.get("storage/sequences").columns
        for known, verdict in ((10.0, Verdict.UNKNOWN), (99.0, Verdict.CRITICAL)):
            frame = pd.DataFrame({"used_pct": [None, known], "cycles": [False, False]})
            frame = frame.reindex(columns=list(columns))
            frame.attrs["rbkernel"] = Provenance(
                name="", connection="", server="", role="", sql="", values={}, at="",
                duration_s=0, rows=2, cut_by="",
            )  # fmt: skip
            assert rules.apply(rule, frame).verdict == verdict


class TestActivity:
    def test_long_query_with_workers_folded_in(self, alone: Servers, diag: Session) -> None:
        leader = alone.send(
            "report",
            "SELECT count(*) FROM orders a, orders b WHERE a.amount_cents + b.amount_cents < 0",
            *("SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0"),
            *("SET min_parallel_table_scan_size = 0", "SET enable_hashjoin = off"),
        )
        until(lambda: not ask(diag, "activity/long_queries", older_than_s=0.3).empty)
        found = ask(diag, "activity/long_queries", older_than_s=0.3)
        assert found["pid"].tolist() == [leader]
        assert found["workers"].tolist()[0] >= 1

    def test_idle_transaction_has_an_age_and_an_xid(self, alone: Servers, diag: Session) -> None:
        writer = alone.start("batch", "BEGIN", ROW)
        time.sleep(0.6)
        found = ask(diag, "activity/transactions", older_than_s=0.5).set_index("pid").loc[writer]
        assert found["idle"]
        assert 0.5 < found["state_s"] < 5
        assert found["xid"] is not None
        groups = ask(diag, "activity/sessions_by")
        row = groups[groups["application"] == "batch"].iloc[0]
        assert row[["state", "sessions", "waiting"]].tolist() == ["idle in transaction", 1, 0]

    def test_a_reader_is_named_among_what_holds_vacuum_back(
        self, alone: Servers, diag: Session
    ) -> None:
        alone.start("report", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM orders")
        alone.start("bank", "BEGIN", ROW, "PREPARE TRANSACTION 'left behind'")
        writer = alone.connect("writer")
        for _ in range(50):
            writer.execute("UPDATE orders SET updated_at = now() WHERE id = 100008")
        found = ask(diag, "vacuum/xmin").set_index("holder")
        assert found.loc["report", "kind"] == "session"
        assert found.loc["report", "xmin_age"] >= 50
        assert found.loc["left behind", "kind"] == "prepared transaction"


class TestConnections:
    def test_who_waits_and_who_is_at_work_is_not_stuck(self, alone: Servers, diag: Session) -> None:
        alone.start("refund-job", "BEGIN", ROW)
        for _ in range(6):
            alone.send("web", ROW)
        for _ in range(6):
            alone.start("pg_dump", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1")
            alone.send("rbkernel/RUN-000/other", "SELECT pg_sleep(60)")
        alone.start(
            "dba",
            "CREATE FUNCTION slowly(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS"
            " 'BEGIN PERFORM pg_sleep(1); RETURN $1; END'",
        )
        alone.start(
            "dba", "CREATE TABLE slow AS SELECT 1::bigint AS id FROM generate_series(1, 60)"
        )
        alone.send("dba", "CREATE INDEX slow_id ON slow (slowly(id))")
        kinds = {
            "refund-job": "idle in transaction",
            "web": "waiting for a lock",
            "pg_dump": "backup",
            "rbkernel/RUN-000/other": "rbkernel",
            "dba": "maintenance",
        }
        try:
            until(lambda: kinds == told(ask(diag, "connections/sessions", stuck_after_s=0.2)))
            stuck = ask(diag, "connections/sessions", stuck_after_s=0.2)
            [rule] = diagnostics.get("connections/sessions").rules
            assert rules.apply(rule, stuck).value == 1
            holders = ask(diag, "connections/holders", stuck_after_s=0.2)
            assert kinds.items() <= told(holders[holders["state"] != "idle"]).items()
            for rule in diagnostics.get("connections/holders").rules:
                assert rules.apply(rule, holders).verdict is Verdict.OK
        finally:
            alone.end_sessions()
            alone.start("dba", "DROP TABLE slow", "DROP FUNCTION slowly")

    def test_what_is_a_backup_is_said_in_one_way(self) -> None:
        for name in ("connections/sessions", "connections/holders"):
            assert f"~* '{remedy._BACKUP.pattern}'" in diagnostics.get(name).sql


def told(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["application"], frame["state"], strict=True))


class TestStorage:
    def test_problems_of_indexes(self, alone: Servers, diag: Session) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int PRIMARY KEY, a int, b text)"):
            raw.execute("INSERT INTO t SELECT n, n % 3, n::text FROM generate_series(1, 9) n")
            raw.execute("CREATE UNIQUE INDEX t_unique ON t (a) WHERE a > 5")
            raw.execute("CREATE INDEX t_lower ON t (lower(b))")
            raw.execute("CREATE  INDEX  t_lower_again ON  t  ( lower( b ) )")
            raw.execute("CREATE INDEX t_desc ON t (a DESC)")
            raw.execute("CREATE INDEX t_asc ON t (a)")
            with pytest.raises(raw.Error, match="duplicat"):
                raw.execute("CREATE UNIQUE INDEX CONCURRENTLY t_broken ON t (a)")
            found = ask(diag, "storage/indexes")
            found = found[found["relation"] == "public.t"]
            problems = set(zip(found["problem"], found["index"], strict=True))
            assert problems == {
                ("invalid", "public.t_broken"),
                ("duplicate", "public.t_lower_again"),
                ("unused", "public.t_lower"),
                ("unused", "public.t_desc"),
                ("unused", "public.t_asc"),
            }
            duplicate = found.set_index("index").loc["public.t_lower_again"]
            assert duplicate["other"] == "public.t_lower"

    def test_redundant_indexes_and_those_that_only_look_so(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int PRIMARY KEY, a int, b text, c int)"):
            for index in (
                "id ON t (id)",
                *(
                    "a ON t (a)",
                    "ab ON t (a, b)",
                    "a_desc ON t (a DESC)",
                    "a_hash ON t USING hash (a)",
                ),
                *("a_some ON t (a) WHERE c > 3", "ac_some ON t (a, c) WHERE c > 4"),
                *("b ON t (b)", "b_pattern ON t (b text_pattern_ops)"),
                *("lower ON t (lower(b))", "lower_c ON t (lower(b), c)"),
                *("upper ON t (upper(b))", "c_upper ON t (c, upper(b))"),
                *("c ON t (c) INCLUDE (a)", "c_b ON t (c, b)"),
            ):
                raw.execute(f"CREATE INDEX t_{index}".encode())
            raw.execute("CREATE UNIQUE INDEX t_unique ON t (b, a)")
            found = ask(diag, "storage/indexes")
            found = found[(found["relation"] == "public.t") & (found["problem"] == "redundant")]
            assert dict(zip(found["index"], found["other"], strict=True)) == {
                "public.t_id": "public.t_pkey",
                "public.t_a": "public.t_ab",
                "public.t_b": "public.t_unique",
                "public.t_lower": "public.t_lower_c",
            }

    def test_a_duplicate_that_something_needs_is_not_listed(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, UNIQUE (id))"):
            raw.execute("CREATE UNIQUE INDEX t_first ON t (a)")
            raw.execute("CREATE UNIQUE INDEX t_identity ON t (a)")
            raw.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_identity")
            raw.execute("CREATE TABLE p (id int) PARTITION BY RANGE (id)")
            raw.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (2)")
            raw.execute("CREATE INDEX p_one ON p (id); CREATE INDEX p_two ON p (id)")
            found = ask(diag, "storage/indexes")
            raw.execute("DROP TABLE p")
        found = found[found["problem"] == "duplicate"]
        found = found[found["relation"].isin(["public.t", "public.p", "public.p1"])]
        assert dict(zip(found["index"], found["other"], strict=True)) == {
            "public.t_first": "public.t_identity"
        }

    def test_what_is_invalid_is_not_left_over_while_somebody_works_on_its_table(
        self, alone: Servers, diag: Session
    ) -> None:
        raw, other = alone.connect("owner"), alone.connect("owner")
        raw.execute("SET lock_timeout = '5s'")  # a failure must not wait for ever
        with table(raw, "CREATE TABLE t (a int)"):
            raw.execute("INSERT INTO t VALUES (1), (1)")
            with pytest.raises(raw.Error, match="duplicat"):
                raw.execute("CREATE UNIQUE INDEX CONCURRENTLY t_broken ON t (a)")
            for busy in (True, False):
                if busy:
                    other.execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
                left = ask(diag, "migration/leftovers").set_index("object")
                assert left.loc["public.t_broken", "building"] == busy
                listed = ask(diag, "storage/indexes").query("problem == 'invalid'")["index"]
                assert ("public.t_broken" in set(listed)) != busy
                scans = diag.look(diagnostics.get("storage/scans").sql).set_index("relation")
                assert scans.loc["public.t", "half_built"] == (0 if busy else 1)
                other.execute("ROLLBACK")
            assert scans.loc["public.t", "invalid_indexes"] == "public.t_broken"

    def test_a_partition_that_is_being_detached(self, alone: Servers, diag: Session) -> None:
        raw, other, reader = (alone.connect("owner") for _ in range(3))
        raw.execute("SET lock_timeout = '5s'")  # a failure must not wait for ever
        with table(raw, "CREATE TABLE t (id int) PARTITION BY RANGE (id)"):
            raw.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (2)")
            reader.execute("BEGIN; SELECT count(*) FROM t")
            other.pgconn.send_query(b"ALTER TABLE t DETACH PARTITION t1 CONCURRENTLY")
            until(lambda: len(ask(diag, "migration/leftovers").query("object == 'public.t1'")) == 1)
            building = ask(diag, "migration/leftovers").set_index("object")["building"]
            assert building["public.t1"]
            other.pgconn.get_cancel().cancel()
            other.pgconn.get_result()
            building = ask(diag, "migration/leftovers").set_index("object")["building"]
            assert not building["public.t1"]
            reader.execute("ROLLBACK")
            raw.execute("ALTER TABLE t DETACH PARTITION t1 FINALIZE; DROP TABLE t1")

    def test_an_index_that_some_partitions_lack(self, alone: Servers, diag: Session) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int) PARTITION BY RANGE (id)"):
            raw.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (1) TO (2)")
            raw.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (2) TO (3)")
            raw.execute("CREATE INDEX t_id ON ONLY t (id)")
            raw.execute("CREATE INDEX t1_id ON t1 (id); ALTER INDEX t_id ATTACH PARTITION t1_id")
            title = "Incomplete indexes of partitioned tables"
            frame = ask(diag, "storage/indexes")
            row = frame.set_index("index").loc["public.t_id"]
            assert row[["problem", "other"]].tolist() == ["incomplete", "public.t2"]
            assert verdicts("storage/indexes", frame)[title] == Verdict.WARNING
            raw.execute("CREATE INDEX t2_id ON t2 (id); ALTER INDEX t_id ATTACH PARTITION t2_id")
            assert verdicts("storage/indexes", ask(diag, "storage/indexes"))[title] == Verdict.OK

    def test_an_invalid_index_among_more_than_are_listed(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (a int, b int)"):
            raw.execute("INSERT INTO t VALUES (1), (1)")
            raw.execute(
                "DO $$ BEGIN FOR n IN 1..600 LOOP"
                " EXECUTE format('CREATE INDEX t_%s ON t (b)', n); END LOOP; END $$"
            )
            frame = ask(diag, "storage/indexes")
            told = provenance(frame)
            assert told is not None
            assert "500 of " in told.cut_by
            found = verdicts("storage/indexes", frame)
            assert found["Invalid indexes"] == Verdict.OK  # they would come first
            assert found["Unused indexes"] == Verdict.UNKNOWN
            with pytest.raises(raw.Error, match="duplicat"):
                raw.execute("CREATE UNIQUE INDEX CONCURRENTLY t_broken ON t (a)")
            found = verdicts("storage/indexes", ask(diag, "storage/indexes"))
            assert found["Invalid indexes"] == found["Duplicate indexes"] == Verdict.WARNING

    def test_one_sequence_of_many_is_near_its_end(self, alone: Servers, diag: Session) -> None:
        raw, admin = alone.connect("owner"), alone.connect("admin", role="postgres")
        raw.execute("CREATE SCHEMA many")
        try:
            raw.execute(
                "DO $$ BEGIN FOR n IN 1..1200 LOOP"
                " EXECUTE format('CREATE SEQUENCE many.s%s', n); END LOOP; END $$"
            )
            admin.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, many TO rb_diag")
            raw.execute("SELECT setval('many.s1190', 9223372036854775806)")
            frame = ask(diag, "storage/sequences")
            assert frame["sequence"].iloc[0] == "many.s1190"
            assert (frame["sequence"].str.startswith("many.")).sum() == 1200
            assert verdicts("storage/sequences", frame) == {
                "Sequence values used": Verdict.CRITICAL
            }
            few = diag.connection.model_copy(update={"row_cap": 600})
            with closing(Session(few, application_name="test")) as capped:
                found = ask(capped, "storage/sequences")
                assert verdicts("storage/sequences", found) == {
                    "Sequence values used": Verdict.UNKNOWN
                }
        finally:
            raw.execute("DROP SCHEMA many CASCADE")

    def test_a_sequence_is_as_narrow_as_the_columns_that_it_fills(
        self, alone: Servers, diag: Session
    ) -> None:
        raw, admin = alone.connect("owner"), alone.connect("admin", role="postgres")
        raw.execute("CREATE DOMAIN number AS int; CREATE DOMAIN small AS number")
        raw.execute("CREATE SEQUENCE a; CREATE SEQUENCE b; CREATE SEQUENCE c INCREMENT -1")
        raw.execute("CREATE SEQUENCE e; CREATE SEQUENCE f CYCLE; CREATE SEQUENCE g")
        with table(
            raw,
            "CREATE TABLE t (a int DEFAULT nextval('a'), b small DEFAULT nextval('b'),"
            " c int DEFAULT nextval('c'), d int GENERATED ALWAYS AS IDENTITY,"
            " e numeric(6, 2) DEFAULT nextval('e'), f smallint DEFAULT nextval('f'),"
            " g bigint DEFAULT nextval('g'))",
        ):
            near = {"a": 2147483000, "b": 2147483000, "c": -2147483000, "e": 9990, "f": 32767}
            for name, value in {**near, "t_d_seq": 2147483000, "g": 2147483000}.items():
                raw.execute(f"SELECT setval('{name}', {value})".encode())
            admin.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO rb_diag")
            frame = ask(diag, "storage/sequences").set_index("sequence")
            for name in (*near, "t_d_seq"):
                assert frame.loc[f"public.{name}", "used_pct"] > 99, name
            assert frame.loc["public.g", "used_pct"] < 1
            assert frame.loc["public.b", "fills"] == "public.t.b"
            assert not frame.loc["public.f", "cycles"]  # the column is full before
        raw.execute("DROP SEQUENCE IF EXISTS a, b, c, e, f, g; DROP DOMAIN number CASCADE")

    def test_sequence_of_a_narrow_column_and_one_that_may_not_be_read(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int)"):
            raw.execute("CREATE SEQUENCE wide OWNED BY t.id")
            raw.execute("SELECT setval('wide', 2100000000)")
            frame = ask(diag, "storage/sequences")
            assert pd.isna(frame.set_index("sequence").loc["public.wide", "used_pct"])
            assert verdicts("storage/sequences", frame) == {"Sequence values used": Verdict.UNKNOWN}
            raw.execute("GRANT SELECT ON wide TO rb_diag")
            frame = ask(diag, "storage/sequences")
            row = frame.set_index("sequence").loc["public.wide"]
            assert row["limit_value"] == 2147483647
            assert row["used_pct"] == pytest.approx(97.8, abs=0.1)
            # others are unreadable still, and cannot mend this
            assert verdicts("storage/sequences", frame) == {
                "Sequence values used": Verdict.CRITICAL
            }

    def test_bloat_of_a_table_that_was_emptied(self, alone: Servers, diag: Session) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int, pad text)"):
            raw.execute("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n")
            raw.execute("GRANT SELECT ON t TO rb_diag; ANALYZE t")
            before = ask(diag, "storage/bloat").set_index("relation").loc["public.t"]
            assert before["bloat_pct"] < 15
            raw.execute("DELETE FROM t WHERE id % 5 <> 0 OR id > 19990")
            raw.execute("VACUUM ANALYZE t")
            after = ask(diag, "storage/bloat").set_index("relation").loc["public.t"]
            assert after["bloat_pct"] == pytest.approx(80, abs=12)


@contextmanager
def table(raw: Any, create: str) -> Iterator[None]:
    raw.execute(create)
    try:
        yield
    finally:
        raw.execute("DROP TABLE t CASCADE")


class TestVacuum:
    def test_dead_rows_count_by_the_tables_own_trigger(self, alone: Servers, diag: Session) -> None:
        raw = alone.connect("owner")
        # by hand only, so that nobody vacuums while this looks; the trigger is the same
        with table(raw, "CREATE TABLE t (id int) WITH (autovacuum_enabled = false)"):
            raw.execute("INSERT INTO t SELECT generate_series(1, 20000)")
            raw.execute("SELECT pg_stat_force_next_flush()")  # else it would be added afterwards
            raw.execute("VACUUM ANALYZE t")
            raw.execute("DELETE FROM t WHERE id <= 2600")  # 13 %; due at 50 + 20 %

            def seen() -> Any:
                frame = ask(diag, "vacuum/tables")
                return frame[frame["relation"] == "public.t"].iloc[0]

            def judged() -> dict[str, Verdict]:
                frame = ask(diag, "vacuum/tables")
                only = frame[frame["relation"] == "public.t"]
                only.attrs = frame.attrs
                return verdicts("vacuum/tables", only)

            raw.execute("SELECT pg_stat_force_next_flush()")
            until(lambda: seen()["dead"] == 2600)
            row = seen()
            assert row["dead_pct"] == pytest.approx(13)
            assert row["vacuum_due_at"] == pytest.approx(4050)
            assert row["analyze_due_at"] == pytest.approx(2050)
            early = (
                "ALTER TABLE t SET (autovacuum_vacuum_scale_factor = 1e-2,"
                " autovacuum_vacuum_threshold = 10, autovacuum_analyze_scale_factor = 0.01)"
            )
            with naptime(alone, "1s"):
                until(lambda: bool(seen()["vacuum_had_time"] and seen()["analyze_had_time"]))
                assert judged()["Dead rows"] == judged()["Stale statistics"] == Verdict.OK
                # the same rows are many for a table that is to be vacuumed early
                raw.execute(early.encode())
                assert judged()["Dead rows"] == judged()["Stale statistics"] == Verdict.WARNING
            # it was vacuumed a moment ago, so it may be that nobody could come by yet
            with naptime(alone, "1d"):
                until(lambda: not seen()["vacuum_had_time"])
                assert judged()["Dead rows"] == Verdict.OK
            assert judged()["Tables with autovacuum off"] == Verdict.WARNING

    def test_half_of_the_transaction_ids_are_a_warning(self) -> None:
        declared = {rule.title: rule for rule in diagnostics.get("vacuum/wraparound").rules}
        for title in ("Oldest transaction ID", "Oldest multixact ID"):
            for age, verdict in ((1.0e9, Verdict.OK), (1.01e9, Verdict.WARNING)):
                rule = declared[title]
                assert rules.judge(age, warn=rule.warn, critical=rule.critical) is verdict


@contextmanager
def naptime(alone: Servers, value: str) -> Iterator[None]:
    admin = alone.connect("admin", role="postgres")
    admin.execute(f"ALTER SYSTEM SET autovacuum_naptime = '{value}'")
    admin.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
        admin.execute("SELECT pg_reload_conf()")


def pretended(session: Session, name: str, values: dict[str, Any], **parts: str) -> pd.DataFrame:
    """The answer of a diagnostic, of which some parts are replaced by what a test knows."""
    sql = diagnostics.get(name).sql
    for part, known in parts.items():
        assert part in sql
        sql = sql.replace(part, known)
    return session.query(sql, values)


class TestWhatAFailoverLoses:
    @pytest.mark.parametrize(
        ("newest", "stopped_at", "end", "lost_s"),
        [
            ("'2026-11-30 02:00Z'", "2026-11-30T02:00:09Z", "0/3000000", 9),
            ("NULL", "", "0/3000000", None),  # the standby was restarted
            ("NULL", "2026-11-30T02:00:09Z", "0/3000000", None),
            ("'2026-11-30 02:00Z'", "2026-11-30T01:59:00Z", "0/3000000", None),
            ("NULL", "", "0/2000000", 0),  # all is here
        ],
    )
    def test_seconds(
        self, diag: Session, newest: str, stopped_at: str, end: str, lost_s: float | None
    ) -> None:
        parts = {
            "pg_last_wal_receive_lsn()": "NULL",
            "pg_last_wal_replay_lsn()": "CAST('0/2000000' AS pg_lsn)",
            "pg_last_xact_replay_timestamp()": f"CAST({newest} AS timestamptz)",
            "pg_is_wal_replay_paused()": "false",
        }
        values = {"end_lsn": end, "stopped_at": stopped_at, "lives": 0}
        frame = pretended(diag, "replication/promotion", values, **parts)
        verdict = verdicts("replication/promotion", frame)["Commits that a promotion would lose"]
        if lost_s is None:
            assert frame["lost_bytes"].iloc[0] == 0x1000000
            assert verdict is Verdict.UNKNOWN
        else:
            assert frame["lost_s"].iloc[0] == lost_s
            assert verdict is (Verdict.WARNING if lost_s else Verdict.OK)


@pytest.mark.parametrize(
    ("age", "now", "earlier"),
    [
        ("1 hour", Verdict.CRITICAL, Verdict.OK),
        # the count never falls, also when the page was repaired
        ("1 year", Verdict.OK, Verdict.WARNING),
    ],
)
def test_damage_of_a_shared_catalogue_is_counted(
    diag: Session, age: str, now: Verdict, earlier: Verdict
) -> None:
    view = "pg_stat_database"
    counts = "blks_hit, blks_read, temp_bytes, deadlocks, xact_commit, xact_rollback, conflicts"
    damaged = f"(SELECT datname, {counts}, stats_reset, CASE WHEN datid = 0 THEN 2 END"
    parts = {
        f"FROM {view}": f"FROM {damaged} AS checksum_failures,"
        f" CASE WHEN datid = 0 THEN now() - interval '{age}' END AS checksum_last_failure"
        f" FROM {view}) d"
    }
    frame = pretended(diag, "io/cache", {}, **parts)
    found = verdicts("io/cache", frame)
    assert (found["Damaged pages"], found["Pages that were damaged earlier"]) == (now, earlier)
    assert "(shared catalogues)" in frame["database"].tolist()
    assert "(shared catalogues)" not in ask(diag, "io/cache")["database"].tolist()


class TestConfiguration:
    def test_dangers_are_those_that_are_there(self, diag: Session) -> None:
        frame = ask(diag, "settings/notable").set_index("setting")
        dangers = frame[frame["danger"] != ""]["danger"].to_dict()
        assert dangers == {
            "fsync": "data",
            "full_page_writes": "data",
            "idle_in_transaction_session_timeout": "service",
        }
        # our own session has set a time-out for itself
        assert frame.loc["statement_timeout", "value"] == "0 ms"
        # and another at login, which hides the server's
        assert frame.loc["lock_timeout", "value"] is None

    def test_a_setting_of_our_role_is_not_taken_for_the_servers(
        self, alone: Servers, diag: Session
    ) -> None:
        admin = alone.connect("admin", role="postgres")
        admin.execute("ALTER ROLE rb_diag SET idle_in_transaction_session_timeout = '60s'")
        try:
            with closing(alone.diagnostic_session()) as session:
                frame = ask(session, "settings/notable")
                row = frame.set_index("setting").loc["idle_in_transaction_session_timeout"]
                assert row["value"] is None
                title = "Settings that endanger the service"
                assert verdicts("settings/notable", frame)[title] == Verdict.UNKNOWN
        finally:
            admin.execute("ALTER ROLE rb_diag RESET idle_in_transaction_session_timeout")

    def test_powers_of_roles(self, alone: Servers, diag: Session) -> None:
        admin = alone.connect("admin", role="postgres")
        admin.execute("CREATE ROLE files IN ROLE pg_write_server_files")
        admin.execute("CREATE ROLE loader LOGIN IN ROLE files VALID UNTIL '2031-01-01'")
        admin.execute("CREATE ROLE writer LOGIN NOINHERIT IN ROLE pg_write_all_data")
        try:
            frame = ask(diag, "roles/audit").set_index(["role", "power"])
            row = frame.loc[("loader", "pg_write_server_files")]
            assert row["through"] == "files"
            assert row["far_reaching"]
            assert ("loader", "no expiry") not in frame.index
            assert row["reaches_host"]
            assert frame.loc[("writer", "pg_write_all_data"), "far_reaching"]
            assert not frame.loc[("writer", "pg_write_all_data"), "reaches_host"]
            assert verdicts("roles/audit", frame.reset_index()) == {
                "Superusers that can log in": Verdict.OK,
                "Logins that reach the server's host": Verdict.WARNING,
                "Logins with far-reaching privileges": Verdict.WARNING,
            }
        finally:
            admin.execute("DROP ROLE loader, writer, files")

    def test_limit_of_a_database(self, alone: Servers, diag: Session) -> None:
        admin = alone.connect("admin", role="postgres", dbname="postgres")
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'"
        [(used,)] = admin.execute(sessions).fetchall()  # other tests keep some, too
        limit = used + 3
        admin.execute(f"ALTER DATABASE shop CONNECTION LIMIT {limit}")
        try:
            for _ in range(3):
                alone.connect("web")
            row = ask(diag, "connections/databases").set_index("database").loc["shop"]
            assert row["connection_limit"] == row["usable"] == limit
            assert row["used_pct"] >= 100
        finally:
            admin.execute("ALTER DATABASE shop CONNECTION LIMIT -1")

    def test_archiving_that_fails_since_the_start(self, alone: Servers, diag: Session) -> None:
        admin = alone.connect("admin", role="postgres")

        def seen(command: str, *, failing: bool) -> tuple[dict[str, Verdict], Any]:
            admin.execute(f"ALTER SYSTEM SET archive_command = '{command}'".encode())
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("SELECT pg_logical_emit_message(true, '', 'something'); CHECKPOINT")
            admin.execute("SELECT pg_switch_wal()")
            until(lambda: bool(ask(diag, "archive/status")["failing"].iloc[0]) is failing)
            found = verdicts("archive/status", ask(diag, "archive/status"))
            backup = ask(diag, "backup/age")
            return {**found, **verdicts("backup/age", backup)}, backup.iloc[0]

        try:
            found, _ = seen("true", failing=False)
            assert found["WAL archiving"] == Verdict.OK
            assert found["WAL archiving for point-in-time recovery"] == Verdict.OK
            admin.execute("SELECT pg_stat_reset_shared('archiver')")
            found, backup = seen("false", failing=True)
            assert pd.isna(backup["last_archived_s"])
            assert backup["unarchived_s"] > 0
            for title in ("WAL archiving", "WAL archiving for point-in-time recovery"):
                assert found[title] == Verdict.CRITICAL
            found, _ = seen("true", failing=False)
            assert found["WAL archiving for point-in-time recovery"] == Verdict.OK
            admin.execute("ALTER SYSTEM SET archive_command = ''")
            admin.execute("SELECT pg_reload_conf()")
            until(lambda: not ask(diag, "archive/status")["configured"].iloc[0])
            found = verdicts("archive/status", ask(diag, "archive/status"))
            assert found["Archive command"] == Verdict.CRITICAL
        finally:
            admin.execute("ALTER SYSTEM RESET archive_command")
            admin.execute("SELECT pg_reload_conf()")


def test_a_standby_of_another_cluster_is_told_apart(shop: Settings, diag: Session) -> None:
    names = ("sandbox-primary", "sandbox-standby")
    primary, standby = (Session(shop.connection(n), application_name="test") for n in names)
    with closing(primary), closing(standby):
        assert overview.belongs(standby, primary)
        assert not overview.belongs(standby, diag)


# errors that say that the message is at fault, and errors that may be the receiver's
OF_MESSAGE = (
    'HTTP 422: field "postal_code" is missing',
    "400 Client Error: Bad Request for url: /orders",
    "HTTP/1.1 409 Conflict",
    "Request failed with status code 413",
    "Response status code does not indicate success: 415",
    "INVALID_ARGUMENT: amount is negative",
    "validation failed: email",
    "malformed JSON at line 1",
    "schema mismatch in version 3",
    "missing required field: sku",
    "RecordTooLargeException: 2097152 bytes",
    "payload too large",
    "duplicate key value violates unique constraint",
)
OF_RECEIVER = (
    "",
    "connect to billing: connection refused",
    "HTTP 401: invalid token",
    "403 Forbidden",
    "status code 404",
    "HTTP/1.1 407 Proxy Authentication Required",
    "401 Unauthorized: malformed header",
    "invalid_client: the API key has expired",
    "SSL: CERTIFICATE_VERIFY_FAILED",
    "TLS handshake failed: invalid record",
    "PKIX path validation failed",
    "x509: certificate is not yet valid",
    "connection closed by peer: invalid frame",
    "write: broken pipe",
    "unexpected EOF",
    "no route to host",
    "network is down",
    "quota exceeded: request too large",
    "rate limit reached",
    "HTTP 429",
    "500 Internal Server Error",
    "502 Bad Gateway: invalid response from upstream",
    "HTTP 503: schema registry unavailable",
    "no answer after 400 ms",
    "permission denied for schema billing",
    "something went wrong",
)
OUTBOX = """INSERT INTO shop_outbox
(destination, attempts, last_error, payload, created_at, updated_at)
SELECT {destination}, {attempts}, {error}, '{{}}', now() - interval '{age}', now() FROM {rows}"""


@pytest.fixture
def shop_outbox(alone: Servers) -> Iterator[RawConnection]:
    raw = alone.connect("admin", role="postgres")
    yield raw
    raw.execute("TRUNCATE shop_outbox")


def test_only_an_error_of_the_message_itself_is_a_rejection(
    shop_outbox: RawConnection, diag: Session
) -> None:
    for whose, errors in (("message", OF_MESSAGE), ("receiver", OF_RECEIVER)):
        fills = {"destination": f"'{whose} ' || n", "attempts": 5, "error": "error"}
        rows = "unnest(%s::text[]) WITH ORDINALITY t (error, n)"
        fill = OUTBOX.format(**fills, age="5 min", rows=rows)
        shop_outbox.execute(fill.encode(), [list(errors)])
    frame = ask(diag, "queue/stuck", table="shop_outbox")
    assert len(frame) == len(OF_MESSAGE) + len(OF_RECEIVER)
    at_fault = frame["destination"].str.startswith("message")
    wrong = frame[frame["rejected"].ne(at_fault) | frame["unsent"].eq(at_fault)]
    assert wrong["error"].tolist() == []


def test_new_messages_do_not_hide_that_others_are_delivered(
    shop_outbox: RawConnection,
    diag: Session,
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    fills = {"destination": "'mail'", "attempts": 0, "error": "NULL"}
    old, new = (
        OUTBOX.format(**fills, age=age, rows="generate_series(1, 3)") for age in ("5 min", "0 s")
    )
    # the oldest message never leaves
    newest = "(SELECT max(id) FROM shop_outbox)"
    deliver = f"UPDATE shop_outbox SET status = 'delivered' WHERE id = {newest}"
    shop_outbox.execute(old.encode())
    meanwhile(lambda: shop_outbox.execute(f"{deliver}; {new}".encode()))
    assert ask(diag, "queue/delivery", table="shop_outbox", every_s=1)["stands"].tolist() == [False]
    shop_outbox.execute("UPDATE shop_outbox SET created_at = created_at - interval '5 min'")
    meanwhile(lambda: shop_outbox.execute(new.encode()))
    assert ask(diag, "queue/delivery", table="shop_outbox", every_s=1)["stands"].tolist() == [True]


class TestApplicationTables:
    def test_without_the_table_it_is_not_applicable(self, diag: Session) -> None:
        assert "no table outbox_messages" in diagnostics.inapplicable(diag, "queue/depth")
        assert diagnostics.inapplicable(diag, "reconciliation/open") == ""
        frame = diagnostics.run(diag, "queue/depth")
        assert set(verdicts("queue/depth", frame).values()) == {Verdict.UNKNOWN}

    def test_queue_is_counted_and_a_stranger_of_the_same_name_is_not_read(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        raw.execute("CREATE TABLE outbox_messages (status text, destination text)")
        try:
            reason = diagnostics.inapplicable(diag, "queue/depth")
            assert "public.outbox_messages has no column for created_at" in reason
            told = provenance(diagnostics.run(diag, "queue/depth"))
            assert told is not None
            assert "created_at_column=" in told.next_step
            raw.execute("ALTER TABLE outbox_messages ADD created_at timestamptz")
            raw.execute("GRANT SELECT ON outbox_messages TO rb_diag")
            raw.execute(
                "INSERT INTO outbox_messages SELECT s, 'mail', now() - interval '10 min'"
                " FROM unnest(ARRAY['pending', 'Pending', 'processing', 'sent']) s"
            )
            frame = ask(diag, "queue/depth")
            assert frame[["status", "messages"]].to_numpy().tolist() == [
                ["Pending", 1],
                ["pending", 1],
                ["processing", 1],
            ]
            assert verdicts("queue/depth", frame)["Oldest undelivered message"] == Verdict.WARNING
        finally:
            raw.execute("DROP TABLE outbox_messages")

    def test_open_differences(self, alone: Servers, diag: Session) -> None:
        frame = ask(diag, "reconciliation/open")
        assert set(verdicts("reconciliation/open", frame).values()) == {Verdict.OK}
        raw = alone.connect("owner")
        raw.execute(
            "INSERT INTO reconciliation_diffs (module, entity, entity_id, kind, detected_at)"
            " VALUES ('orders', 'order', 1, 'missing', now() - interval '2 days')"
        )
        frame = ask(diag, "reconciliation/open")
        assert frame[["module", "kind", "differences"]].to_numpy().tolist() == [
            ["orders", "missing", 1]
        ]
        assert verdicts("reconciliation/open", frame) == {
            "Open differences": Verdict.WARNING,
            "Oldest open difference": Verdict.CRITICAL,
        }
        raw.execute("DELETE FROM reconciliation_diffs WHERE entity_id = 1")
