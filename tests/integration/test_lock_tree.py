"""Lock trees whose truth the test itself has made: each names exactly the real roots."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rbkernel.model import Verdict
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import ROW, Servers, ask, servers, verdicts
from tests.support.waiting import until


class TestLockTree:
    @pytest.fixture
    def tree(self, diag: Session) -> Callable[[int], Any]:
        def ask_tree(waiting: int) -> Any:
            until(lambda: int(ask(diag, "locks/blocking")["waiting"].sum()) == waiting)
            return ask(diag, "locks/blocking").set_index("pid")

        return ask_tree

    def test_empty_when_nobody_waits(self, diag: Session, alone: Servers) -> None:
        alone.start("holder", "BEGIN", ROW)
        frame = ask(diag, "locks/blocking")
        assert frame.empty
        assert set(verdicts("locks/blocking", frame).values()) == {Verdict.OK}

    def test_ddl_queue_behind_an_idle_transaction(self, alone: Servers, tree: Any) -> None:
        idle = alone.start("reporting", "BEGIN", "SELECT count(*) FROM orders")
        ddl = alone.send("migration", "ALTER TABLE orders ADD COLUMN note text")
        tree(1)
        readers = [alone.send("web", "SELECT 1 FROM orders LIMIT 1") for _ in range(3)]
        found = tree(4)
        assert sorted(found.index) == sorted([idle, ddl, *readers])
        assert found.loc[idle, ["root", "depth", "waits", "state"]].tolist() == [
            idle,
            0,
            4,
            "idle in transaction",
        ]
        assert found.loc[ddl, ["root", "depth", "waits", "blocked_by"]].tolist() == [
            idle,
            1,
            3,
            str(idle),
        ]
        assert found.loc[ddl, ["relation", "mode"]].tolist() == [
            "public.orders",
            "AccessExclusiveLock",
        ]
        for reader in readers:
            assert found.loc[reader, ["root", "depth", "waits"]].tolist() == [idle, 2, 0]
            assert found.loc[reader, ["blocked_by", "roots"]].tolist() == [str(ddl), str(idle)]

    def test_advisory_lock_and_not_one_of_another_number(self, alone: Servers, tree: Any) -> None:
        holder = alone.start("cron", "SELECT pg_advisory_lock(7)")
        alone.start("innocent", "SELECT pg_advisory_lock(8)")
        waiter = alone.send("cron", "SELECT pg_advisory_lock(7)")
        found = tree(1)
        assert sorted(found.index) == sorted([holder, waiter])
        assert found.loc[waiter, ["root", "locktype"]].tolist() == [holder, "advisory"]

    def test_innocent_holder_of_a_weak_lock_is_not_accused(self, alone: Servers, tree: Any) -> None:
        culprit = alone.start("batch", "BEGIN", ROW)
        alone.start("innocent", "BEGIN", "SELECT count(*) FROM orders")
        waiter = alone.send("web", ROW)
        found = tree(1)
        assert sorted(found.index) == sorted([culprit, waiter])
        assert found.loc[waiter, ["root", "relation"]].tolist() == [culprit, "public.orders"]

    def test_prepared_transaction_is_named(self, alone: Servers, tree: Any, diag: Session) -> None:
        alone.start("bank", "BEGIN", ROW, "PREPARE TRANSACTION 'culprit'")
        alone.start(
            "bank", "BEGIN", "DELETE FROM reconciliation_diffs", "PREPARE TRANSACTION 'innocent'"
        )
        waiter = alone.send("web", ROW)
        found = tree(1)
        assert sorted(found.index) == sorted([0, waiter])
        assert found.loc[0, ["root", "waits", "state", "query"]].tolist() == [
            0,
            1,
            "prepared",
            "culprit",
        ]
        assert found.loc[waiter, ["root", "roots"]].tolist() == [0, "0"]
        listed = ask(diag, "locks/prepared").set_index("gid")
        assert sorted(listed.index) == ["culprit", "innocent"]
        assert listed["locks"].min() >= 1

    def test_prepared_ddl_is_told_from_a_prepared_read(self, alone: Servers, tree: Any) -> None:
        alone.start(
            "bank", "BEGIN", "LOCK TABLE orders IN SHARE MODE", "PREPARE TRANSACTION 'strong'"
        )
        alone.start("bank", "BEGIN", "SELECT count(*) FROM orders", "PREPARE TRANSACTION 'weak'")
        waiter = alone.send("web", ROW)
        found = tree(1)
        assert found.loc[waiter, "root"] == 0
        assert found.loc[0, "query"] == "strong"

    def test_parallel_worker_that_waits_is_its_leader(self, alone: Servers, tree: Any) -> None:
        alone.start(
            "setup",
            """CREATE OR REPLACE FUNCTION peek(bigint) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE
               AS 'BEGIN PERFORM 1 FROM reconciliation_diffs LIMIT 1; RETURN $1; END'""",
        )
        holder = alone.start("migration", "BEGIN", "LOCK TABLE reconciliation_diffs")
        leader = alone.send(
            "report",
            "SELECT count(*) FROM orders WHERE peek(id) = 1",
            *("SET parallel_setup_cost = 0", "SET parallel_tuple_cost = 0"),
            *("SET min_parallel_table_scan_size = 0", "SET parallel_leader_participation = off"),
        )
        found = tree(1)
        workers = alone.connect("look", role="postgres").execute(
            "SELECT count(*) FROM pg_stat_activity WHERE leader_pid = %s"
            " AND wait_event_type = 'Lock'",
            [leader],
        )
        assert workers.fetchall()[0][0] >= 1, "no worker was waiting: the test has lost its case"
        assert sorted(found.index) == sorted([holder, leader])
        assert found.loc[leader, ["root", "depth"]].tolist() == [holder, 1]

    def test_two_roots_are_both_named(self, alone: Servers, tree: Any) -> None:
        first = alone.start("a", "BEGIN", "SELECT count(*) FROM orders")
        second = alone.start("b", "BEGIN", "SELECT count(*) FROM orders")
        ddl = alone.send("migration", "LOCK TABLE orders", "BEGIN")
        tree(1)
        reader = alone.send("web", "SELECT 1 FROM orders LIMIT 1")
        found = tree(2)
        both = ", ".join(map(str, sorted([first, second])))
        assert found.loc[reader, "roots"] == found.loc[ddl, "roots"] == both
        assert sorted(found[found["depth"] == 0].index) == sorted([first, second])
        assert found.loc[[first, second], "waits"].tolist() == [2, 2]

    def test_blocker_in_another_database(self, alone: Servers, tree: Any) -> None:
        lock = "LOCK TABLE pg_shdescription IN ACCESS EXCLUSIVE MODE"
        blocker = alone.start("admin", "BEGIN", lock, role="postgres", dbname="postgres")
        waiter = alone.send("web", "SELECT count(*) FROM pg_shdescription")
        found = tree(1)
        assert found.loc[waiter, ["root", "relation"]].tolist() == [
            blocker,
            "pg_catalog.pg_shdescription",
        ]
        assert found.loc[blocker, "database"] == "postgres"

    def test_deadlock_ends_and_has_no_root(self, alone: Servers, tree: Any) -> None:
        other = "LOCK TABLE orders_legacy"
        left = alone.connect("left")
        right = alone.connect("right")
        left.execute("BEGIN; LOCK TABLE orders")
        right.execute("BEGIN; LOCK TABLE orders_legacy")
        left.pgconn.send_query(other.encode())
        right.pgconn.send_query(b"LOCK TABLE orders")
        found = tree(2)
        assert found["root"].isna().all()
        assert found["depth"].isna().all()
        assert found["waits"].tolist() == [1, 1]

    @pytest.mark.parametrize(
        "statements",
        [
            ["LOCK TABLE orders"],
            [ROW],
            [
                "LOCK TABLE orders IN SHARE MODE",
                "LOCK TABLE orders IN EXCLUSIVE MODE",
                "LOCK TABLE orders",
            ],
        ],
        ids=["exclusive", "row", "mixed"],
    )
    def test_queue_of_200(self, alone: Servers, tree: Any, statements: list[str]) -> None:
        root = alone.start("root", "BEGIN", ROW)
        for number in range(200):
            alone.send(f"w{number}", statements[number % len(statements)], "BEGIN")
        found = tree(200)
        assert found[found["depth"] == 0].index.tolist() == [root]
        assert set(found["root"]) == {root}
        assert set(found["roots"]) == {str(root)}
        assert found.loc[root, "waits"] == 200
        assert found["depth"].max() <= 2
        # what the tree says of each session is what a closure of all its blockers says
        assert behind(alone) == found[found["waiting"]]["waits"].to_dict()

    def test_verdicts(self, alone: Servers, tree: Any) -> None:
        alone.start("root", "BEGIN", ROW)
        for _ in range(5):
            alone.send("web", ROW, "BEGIN")
        frame = tree(5).reset_index()
        assert verdicts("locks/blocking", frame) == {"Longest wait for a lock": Verdict.OK}


class TestOldestSupported:
    """The same on PostgreSQL 15, where Debian has it."""

    def test_ddl_queue_and_prepared_transaction(self, tmp_path: Path) -> None:
        programs = "/usr/lib/postgresql/15/bin"
        if not os.access(f"{programs}/initdb", os.X_OK):
            pytest.skip(f"PostgreSQL 15 is not installed in {programs}")
        with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
            patch.setenv("RBKERNEL_PG_BIN", programs)
            old = stack.enter_context(servers(tmp_path / "home"))
            session = old.diagnostic_session()
            stack.callback(session.close)
            stack.callback(old.end_sessions)
            old.start("bank", "BEGIN", ROW, "PREPARE TRANSACTION 'culprit'")
            writer = old.send("web", ROW)
            idle = old.start("reporting", "BEGIN", "SELECT count(*) FROM orders_legacy")
            ddl = old.send("migration", "ALTER TABLE orders_legacy ADD COLUMN note text")
            until(lambda: int(ask(session, "locks/blocking")["waiting"].sum()) == 2)
            reader = old.send("web", "SELECT 1 FROM orders_legacy LIMIT 1")
            until(lambda: int(ask(session, "locks/blocking")["waiting"].sum()) == 3)
            found = ask(session, "locks/blocking").set_index("pid")
            assert found["root"].to_dict() == {0: 0, writer: 0, idle: idle, ddl: idle, reader: idle}
            assert found.loc[0, "query"] == "culprit"
            assert session.server.version_num // 10000 == 15


def behind(of: Servers) -> dict[int, int]:
    """Count whom each waiter holds up, the slow way: follow every edge of every waiter."""
    with of.access.connect("postgres") as raw:
        rows = raw.execute(
            "SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ).fetchall()
    blockers = dict(rows)
    found = dict.fromkeys(blockers, 0)
    for pid in blockers:
        seen: set[int] = set()
        todo = list(blockers[pid])
        while todo:
            blocker = todo.pop()
            if blocker not in seen:
                seen.add(blocker)
                todo += blockers.get(blocker, [])
        for blocker in seen - {pid}:
            if blocker in found:
                found[blocker] += 1
    return found
