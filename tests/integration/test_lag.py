"""Replication lag whose truth the test itself has made: right within half a second, or unknown."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pandas as pd
import pytest

from rbkernel import strictjson
from rbkernel.model import Verdict
from rbkernel.sandbox.access import STANDBY_NAME
from rbkernel.sources.postgres import diagnostics, stored
from rbkernel.sources.postgres.diagnosis import judged
from tests.integration.chain import Chain
from tests.support.servers import ROW, cascade, servers, verdicts
from tests.support.waiting import until

TOLERANCE_S = 0.5


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with ExitStack() as stack:
        made = stack.enter_context(servers(tmp_path_factory.mktemp("chain") / "home"))
        made.add_standby()
        far = stack.enter_context(cascade(made))
        chain = Chain(made, far)
        stack.callback(chain.close)
        yield chain


class TestLag:
    """One chain, primary → standby → cascade, and a subscription from `shop` to `copy`."""

    def test_idle_primary_with_paused_replay_misses_nothing(self, chain: Chain) -> None:
        chain.settle()
        with chain.paused("standby"):
            time.sleep(0.5)
            # a lone record of the server's own may read too high for about a second
            until(lambda: abs(chain.seen_by_primary() - chain.truth()) < TOLERANCE_S, timeout_s=3)
            told = chain.ask("standby", "replication/standby").iloc[0]
            assert told["paused"]
            assert pd.isna(told["stalled_s"]) or told["stalled_s"] == pytest.approx(
                chain.truth(), abs=TOLERANCE_S
            )

    def test_one_commit_after_idling_while_paused(self, chain: Chain) -> None:
        chain.settle()
        with chain.paused("standby"):
            chain.write()
            for _ in range(4):
                time.sleep(0.8)
                assert chain.seen_by_primary() == pytest.approx(chain.truth(), abs=TOLERANCE_S)
            chain.settle()
            told = chain.ask("standby", "replication/standby").iloc[0]["stalled_s"]
            assert pd.isna(told) or told == pytest.approx(chain.truth(), abs=TOLERANCE_S)

    def test_feedback_lowers_the_figure_by_one_interval_at_the_most(self, chain: Chain) -> None:
        with chain.setting("standby", "hot_standby_feedback", "on"):
            chain.settle()
            with chain.paused("standby"):
                chain.write()
                for _ in range(4):
                    time.sleep(0.7)
                    truth = chain.truth()
                    assert truth - 1 - TOLERANCE_S < chain.seen_by_primary() < truth + TOLERANCE_S

    def test_paused_under_traffic(self, chain: Chain) -> None:
        with chain.traffic(), chain.paused("standby") as since:
            for _ in range(4):
                time.sleep(0.8)
                truth = time.monotonic() - since
                assert chain.seen_by_primary() == pytest.approx(truth, abs=TOLERANCE_S)
                told = chain.ask("standby", "replication/standby").iloc[0]
                assert told["stalled_s"] == pytest.approx(time.monotonic() - since, abs=TOLERANCE_S)

    def test_a_stored_look_at_it_is_judged_alike(self, chain: Chain) -> None:
        with chain.paused("standby"):
            _, seen = chain.both("primary", "standby")
        assert seen.first is not None
        assert seen.first.headline.startswith("Replay is paused on ")
        kept = strictjson.loads(strictjson.dumps(stored.to_json(seen.situation)))
        assert judged(stored.from_json(kept)).causes == seen.causes

    def test_receiver_down(self, chain: Chain) -> None:
        with chain.traffic(), chain.cut("standby") as since:
            time.sleep(2)
            frame = chain.ask("primary", "replication/lag", standby=STANDBY_NAME)
            assert frame["connected"].tolist() == [False]
            told = chain.ask("standby", "replication/standby")
            assert not told["receiving"].iloc[0]
            truth = time.monotonic() - since
            assert told["stalled_s"].iloc[0] == pytest.approx(truth, abs=TOLERANCE_S)
            found = verdicts("replication/standby", told)
            assert found["WAL receiver"] == Verdict.CRITICAL

    def test_cascade_paused(self, chain: Chain) -> None:
        with chain.traffic(), chain.paused("cascade") as since:
            time.sleep(2.5)
            truth = time.monotonic() - since
            row = chain.ask("standby", "replication/downstream").set_index("receiver")
            assert row.loc["cascade", "replay_lag_s"] == pytest.approx(truth, abs=TOLERANCE_S)
            assert row.loc["cascade", "not_replayed_bytes"] > 0
            told = chain.ask("cascade", "replication/standby", cascaded=1).iloc[0]
            assert told["stalled_s"] == pytest.approx(time.monotonic() - since, abs=TOLERANCE_S)
            assert chain.seen_by_primary() == pytest.approx(0, abs=TOLERANCE_S)

    def test_cascade_behind_a_standby_that_is_cut_off_does_not_know(self, chain: Chain) -> None:
        with chain.traffic(), chain.cut("standby"):
            time.sleep(3)
            told = chain.ask("cascade", "replication/standby", cascaded=1)
            assert told["receiving"].iloc[0]
            assert told["stalled_s"].isna().all()
            found = verdicts("replication/standby", told)
            assert found["Replay progress"] == Verdict.UNKNOWN

    def test_cascade_behind_a_standby_that_is_cut_off_is_behind_the_primary(
        self, chain: Chain
    ) -> None:
        with chain.traffic(), chain.cut("standby") as since:
            time.sleep(3)
            _, there = chain.both("primary", "cascade")
            truth = time.monotonic() - since
            [cause] = there.causes
            assert cause.verdict is Verdict.WARNING
            told = re.match(r".* is up to (\d+) s behind .*primary", cause.headline)
            assert told
            assert truth - 2 < float(told[1]) < truth + 1

    def test_one_long_transaction_after_a_quiet_time_is_no_lag(self, chain: Chain) -> None:
        chain.settle()
        time.sleep(1.5)
        with chain.long_transaction():
            for _ in range(5):
                told = chain.ask("standby", "replication/standby").iloc[0]
                assert told["stalled_s"] == 0
            assert [seen.causes for seen in chain.both("primary", "standby")] == [(), ()]

    def test_healthy_chain_is_up_to_date(self, chain: Chain) -> None:
        with chain.traffic():
            time.sleep(1)
            for name, server in (("primary", "lag"), ("standby", "standby")):
                frame = chain.ask(name, f"replication/{server}")
                assert set(verdicts(f"replication/{server}", frame).values()) == {Verdict.OK}

    def test_logical_apply_that_is_blocked(self, chain: Chain) -> None:
        with chain.subscription(), chain.traffic():
            until(lambda: chain.published()["lag_s"] < TOLERANCE_S)
            with chain.table_locked() as since:
                time.sleep(2.5)
                truth = time.monotonic() - since
                row = chain.published()
                assert row["active"]
                assert row["lag_s"] == pytest.approx(truth, abs=TOLERANCE_S)
                subscribed = chain.ask("primary", "replication/subscriber")
                assert subscribed["blocked"].tolist() == [True]
                assert subscribed["blocked_s"].iloc[0] == pytest.approx(
                    time.monotonic() - since, abs=TOLERANCE_S
                )
                found = verdicts("replication/subscriber", subscribed)
                assert found["Subscriptions waiting for a lock"] == Verdict.WARNING

    def test_logical_apply_that_is_blocked_after_idling(self, chain: Chain) -> None:
        with chain.subscription():
            time.sleep(2)
            with chain.table_locked():
                written = chain.write()
                time.sleep(2)
                lag_s = chain.published()["lag_s"]
                truth = time.monotonic() - written
                assert pd.isna(lag_s) or lag_s == pytest.approx(truth, abs=TOLERANCE_S)

    def test_logical_worker_that_is_gone(self, chain: Chain) -> None:
        with chain.subscription():
            chain.copy("ALTER SUBSCRIPTION copy DISABLE")
            until(lambda: not chain.published()["active"])
            frame = chain.ask("primary", "replication/publisher")
            found = verdicts("replication/publisher", frame)
            assert found["Logical slots without a reader"] == Verdict.CRITICAL

    def test_errors_while_applying_that_were_mended_are_history(self, chain: Chain) -> None:
        def failing() -> Any:
            frame = chain.ask("primary", "replication/subscriber")
            found = verdicts("replication/subscriber", frame)["Errors while applying"]
            return frame.iloc[0]["apply_errors"], found

        with chain.subscription():
            chain.copy(
                "ALTER TABLE orders ADD CHECK (status <> 'lost')",
            )
            chain.write("UPDATE orders SET status = 'lost' WHERE id = 100004")
            until(lambda: failing()[0] > 0, "an error while applying")
            until(lambda: failing()[1] is Verdict.CRITICAL, "the finding")
            name, title = "replication/apply_errors", "Errors while applying, now"

            def now() -> Verdict:
                return verdicts(name, chain.ask("primary", name, every_s=2))[title]

            until(lambda: now() is Verdict.CRITICAL, "an error between two looks")
            chain.copy("ALTER TABLE orders DROP CONSTRAINT orders_status_check")
            until(lambda: failing()[1] is Verdict.OK, "the end of the errors")
            assert failing()[0] > 0
            assert now() is Verdict.OK


class TestSynchronous:
    @pytest.mark.parametrize(
        ("names", "state"), [(f'FIRST 1 ("{STANDBY_NAME}", x)', "sync"), ("ANY 1 (*)", "quorum")]
    )
    def test_a_standby_that_confirms_is_told_by_postgresql(
        self, chain: Chain, names: str, state: str
    ) -> None:
        name = "replication/synchronous"
        with chain.setting("primary", "synchronous_standby_names", names):
            until(lambda: STANDBY_NAME in chain.ask("primary", name)["standby"].tolist())
            frame = chain.ask("primary", name).set_index("standby")
            row = frame.loc[STANDBY_NAME]
            assert row[["state", "sync_state", "confirming"]].tolist() == ["streaming", state, 1]
            chain.write()
            assert set(verdicts(name, chain.ask("primary", name)).values()) == {Verdict.OK}

    def test_commits_that_wait_for_replay(self, chain: Chain) -> None:
        name = "replication/synchronous"
        missing, waits = (rule.title for rule in diagnostics.get(name).rules)
        with (
            chain.setting("primary", "synchronous_standby_names", f'"{STANDBY_NAME}"'),
            chain.administer("primary") as raw,
        ):
            until(lambda: bool(chain.ask("primary", name)["confirming"].iloc[0]))
            with chain.paused("standby"):
                raw.execute("SET synchronous_commit = remote_apply")
                raw.pgconn.send_query(ROW.encode())
                until(lambda: chain.ask("primary", name)["waiting_s"].max() > 1, "it waits")
                found = verdicts(name, chain.ask("primary", name))
                assert found[missing] is Verdict.OK
                assert found[waits] in {Verdict.WARNING, Verdict.CRITICAL}
            while raw.pgconn.get_result():
                pass  # the commit returns
            assert chain.ask("primary", name)["waiting"].sum() == 0


_SLEEPS = """SELECT count(*) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND backend_xmin IS NOT NULL"""


class TestConflicts:
    def test_a_query_of_a_runbook_that_replay_cancels_is_run_again(self, chain: Chain) -> None:
        counted = "SELECT sum(confl_snapshot) FROM pg_stat_database_conflicts"
        with (
            chain.setting("standby", "max_standby_streaming_delay", "10ms"),
            chain.administer("standby") as raw,
            chain.administer("primary") as primary,
            ThreadPoolExecutor() as threads,
        ):
            [(before,)] = raw.execute(counted).fetchall()
            asked = threads.submit(chain.query, "standby", "SELECT 7 AS n FROM pg_sleep(1.5)")
            until(lambda: raw.execute(_SLEEPS).fetchall() == [(1,)], "the query runs")
            chain.write()
            primary.execute("VACUUM orders")
            assert asked.result()["n"].tolist() == [7]
            until(lambda: raw.execute(counted).fetchall() != [(before,)], "it was cancelled")

    def test_a_reader_that_replay_cancels(
        self, chain: Chain, meanwhile: Callable[[Callable[[], object]], None]
    ) -> None:
        name = "replication/conflicts"
        counted = "SELECT sum(confl_snapshot) FROM pg_stat_database_conflicts"
        with (
            chain.setting("standby", "max_standby_streaming_delay", "10ms"),
            chain.administer("standby") as reader,
            chain.administer("standby") as raw,
            chain.administer("primary") as primary,
        ):
            [(before,)] = raw.execute(counted).fetchall()
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM orders")

            def cancelled() -> bool:
                chain.write()
                primary.execute("VACUUM orders")
                return bool(raw.execute(counted).fetchall() != [(before,)])

            meanwhile(lambda: until(cancelled, "a reader is cancelled"))
            frame = chain.ask("standby", name)
            with pytest.raises(reader.Error, match="conflict with recovery"):
                reader.execute("SELECT 1")
        assert frame[["database", "kind", "cancelled"]].to_numpy().tolist() == [
            ["shop", "snapshot", 1]
        ]
        assert frame["avoidable"].all()
        assert verdicts(name, frame) == {
            "Queries cancelled since vacuum removed rows, now": Verdict.WARNING,
            "Queries cancelled by recovery, now": Verdict.OK,
        }
        meanwhile(lambda: None)
        frame = chain.ask("standby", name)
        assert frame["cancelled_before"].tolist() == [before + 1]
        # by default, replay waits for 30 s: so short a look proves nothing
        assert verdicts(name, frame) == {
            "Queries cancelled since vacuum removed rows, now": Verdict.UNKNOWN,
            "Queries cancelled by recovery, now": Verdict.OK,
        }
