"""The diagnostics library against situations whose truth the test itself has made.

Lock trees and replication lag have modules of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pandas as pd
import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.postgres import diagnostics, overview, rules
from rbkernel.postgres.session import Provenance, Session
from tests.integration.servers import ROW, Servers, ask, verdicts
from tests.waiting import until


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
        if (figure := declared.figure) is not None:
            assert {figure.x, figure.y, figure.by} - {""} <= set(declared.columns)
            assert figure.kind != "timeline" or "sampled_at" in declared.columns

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
            assert duplicate["duplicate_of"] == "public.t_lower"

    def test_sequence_of_a_narrow_column_and_one_that_may_not_be_read(
        self, alone: Servers, diag: Session
    ) -> None:
        raw = alone.connect("owner")
        with table(raw, "CREATE TABLE t (id int)"):
            raw.execute("CREATE SEQUENCE wide OWNED BY t.id")
            raw.execute("SELECT setval('wide', 2100000000)")
            frame = ask(diag, "storage/sequences")
            assert pd.isna(frame.set_index("sequence").loc["public.wide", "used_pct"])
            assert verdicts("storage/sequences", frame) == {
                "Sequences near their end": Verdict.UNKNOWN
            }
            raw.execute("GRANT SELECT ON wide TO rb_diag")
            frame = ask(diag, "storage/sequences")
            row = frame.set_index("sequence").loc["public.wide"]
            assert row["limit_value"] == 2147483647
            assert row["used_pct"] == pytest.approx(97.8, abs=0.1)
            # others are unreadable still, and cannot mend this
            assert verdicts("storage/sequences", frame) == {
                "Sequences near their end": Verdict.CRITICAL
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
            assert frame.loc[("writer", "pg_write_all_data"), "far_reaching"]
            assert verdicts("roles/audit", frame.reset_index()) == {
                "Superusers that can log in": Verdict.OK,
                "Logins with far-reaching powers": Verdict.WARNING,
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

    def test_archiving_that_fails(self, alone: Servers, diag: Session) -> None:
        frame = ask(diag, "archive/status")
        assert set(verdicts("archive/status", frame).values()) == {Verdict.OK}
        assert not frame["enabled"].iloc[0]


def test_a_standby_of_another_cluster_is_told_apart(shop: Settings, diag: Session) -> None:
    names = ("sandbox-primary", "sandbox-standby")
    primary, standby = (Session(shop.connection(n), application_name="test") for n in names)
    with closing(primary), closing(standby):
        assert overview.belongs(standby, primary)
        assert not overview.belongs(standby, diag)


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
            assert "no column created_at" in diagnostics.inapplicable(diag, "queue/depth")
            raw.execute("ALTER TABLE outbox_messages ADD created_at timestamptz")
            raw.execute("GRANT SELECT ON outbox_messages TO rb_diag")
            raw.execute(
                "INSERT INTO outbox_messages SELECT s, 'mail', now() - interval '10 min'"
                " FROM unnest(ARRAY['pending', 'pending', 'processing', 'sent']) s"
            )
            frame = ask(diag, "queue/depth")
            assert frame[["status", "messages"]].to_numpy().tolist() == [
                ["pending", 2],
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
