"""Causes against truth that the test has made: culprit, victims, step, and what the step frees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from psycopg import sql

from rbkernel.errors import DatabaseError
from rbkernel.model import Verdict
from rbkernel.sources.postgres import blocking, causes
from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import diagnose
from rbkernel.sources.postgres.remedy import Remedy
from rbkernel.sources.postgres.situation import Doing, Situation, look, look_once, settled
from tests.support.servers import ROW, Servers
from tests.support.waiting import until

Waiting = Callable[[int], Situation]


@pytest.fixture
def waiting(diag: Session) -> Waiting:
    """Look until so many sessions wait for a lock, all of them for long enough to count."""

    def ask(number: int) -> Situation:
        seen: list[Situation] = []

        def all_wait() -> bool:
            seen.append(settled(look_once(diag)))
            blocked = [one for one in seen[-1].backends if one.blocked_by]
            return len(blocked) == number and not seen[-1].passing

        until(all_wait, f"{number} sessions wait")
        return seen[-1]

    return ask


def only(situation: Situation) -> Cause:
    [cause] = causes.find(situation)
    return cause


def carry_out(of: Servers, remedy: Remedy) -> None:
    """Do what was recommended, as an administrator would."""
    with of.access.connect("postgres") as raw:
        for target in remedy.cancelled:
            raw.execute(b"SELECT pg_cancel_backend(%s)", [target.pid])
        for target in remedy.terminated:
            raw.execute(b"SELECT pg_terminate_backend(%s)", [target.pid])


def still_waiting(diag: Session, pids: set[int]) -> set[int]:
    situation = look_once(diag)
    return {one.pid for one in situation.backends if one.locktype and one.pid in pids}


class TestLocks:
    def test_hot_row_behind_an_idle_transaction(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        root = alone.start("refund-job", "BEGIN", ROW)
        victims = {alone.send("web", ROW) for _ in range(12)}
        cause = only(waiting(12))
        assert cause.headline.startswith(f"refund-job (pid {root}, idle in transaction for ")
        assert cause.headline.endswith("blocks 12 sessions")
        assert cause.remedy is not None
        assert [target.pid for target in cause.remedy.targets] == [root]
        assert cause.remedy.verb == "terminate"
        assert (len(cause.remedy.freed.at_once), len(cause.remedy.freed.later)) == (1, 11)
        carry_out(alone, cause.remedy)
        until(lambda: not still_waiting(diag, victims), "all are freed, for each commits")

    def test_waiters_whose_transactions_stay_open(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        alone.start("refund-job", "BEGIN", ROW)
        victims = {alone.send("web", ROW, "BEGIN") for _ in range(5)}
        remedy = only(waiting(5)).remedy
        assert remedy is not None
        carry_out(alone, remedy)
        until(lambda: len(still_waiting(diag, victims)) == 4, "one is freed")
        assert still_waiting(diag, victims) == victims - remedy.freed.at_once

    def test_select_for_update_is_no_ddl(self, alone: Servers, waiting: Waiting) -> None:
        root = alone.start("holder", "BEGIN", ROW)
        for _ in range(8):
            alone.send("web", "SELECT 1 FROM orders WHERE id = 100004 FOR UPDATE")
        cause = only(waiting(8))
        assert cause.remedy is not None
        assert [target.pid for target in cause.remedy.targets] == [root]

    def test_ddl_with_readers_behind_it(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        idle = alone.start("reporting", "BEGIN", "SELECT count(*) FROM orders")
        ddl = alone.send("migration", "ALTER TABLE orders ADD COLUMN note text")
        waiting(1)
        readers = {alone.send("web", "SELECT 1 FROM orders LIMIT 1") for _ in range(4)}
        cause = only(waiting(5))
        assert cause.headline.startswith(f"reporting (pid {idle}, idle in transaction")
        assert f"migration (pid {ddl}) waits for AccessExclusiveLock" in cause.mechanism
        remedy = cause.remedy
        assert remedy is not None
        assert (remedy.verb, [target.pid for target in remedy.targets]) == ("cancel", [ddl])
        assert remedy.freed.at_once == readers
        carry_out(alone, remedy)
        until(lambda: not still_waiting(diag, readers), "the readers go on")

    def test_ddl_at_the_tail_frees_nobody(self, alone: Servers, waiting: Waiting) -> None:
        root = alone.start("batch", "BEGIN", ROW)
        for _ in range(4):
            alone.send("web", ROW)
        waiting(4)
        alone.send("migration", "ALTER TABLE orders ADD COLUMN note text")
        remedy = only(waiting(5)).remedy
        assert remedy is not None
        assert [target.pid for target in remedy.targets] == [root]
        assert remedy.left == 0

    def test_create_index_can_be_cancelled(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        index = alone.start("deploy", "BEGIN", "CREATE INDEX ON orders (status)")
        victims = {alone.send("web", ROW) for _ in range(3)}
        remedy = only(waiting(3)).remedy
        assert remedy is not None
        assert [target.pid for target in remedy.targets] == [index]
        assert remedy.freed.at_once == victims

    def test_two_readers_before_an_alter_are_ended_together_or_the_alter_is_cancelled(
        self, alone: Servers, waiting: Waiting
    ) -> None:
        first = alone.start("a", "BEGIN", "SELECT count(*) FROM orders")
        second = alone.start("b", "BEGIN", "SELECT count(*) FROM orders")
        alone.send("migration", "ALTER TABLE orders ADD COLUMN note text")
        situation = waiting(1)
        [tree] = blocking.trees(situation)
        assert tree.freed([first]).all == frozenset()
        assert len(tree.freed([first, second]).at_once) == 1

    def test_root_of_unknown_state_is_not_touched(self, alone: Servers, waiting: Waiting) -> None:
        root = alone.start("secretive", "SET track_activities = off", "BEGIN", ROW, role="postgres")
        for _ in range(3):
            alone.send("web", ROW)
        cause = only(waiting(3))
        assert f"secretive (pid {root}, state unknown, track_activities is off)" in cause.headline
        assert cause.remedy is None
        assert "its state is not known" in cause.next_step

    def test_prepared_transaction_is_explained_and_not_proposed(
        self, alone: Servers, waiting: Waiting
    ) -> None:
        alone.start("bank", "BEGIN", ROW, "PREPARE TRANSACTION 'culprit'")
        for _ in range(3):
            alone.send("web", ROW)
        cause = only(waiting(3))
        assert cause.headline.startswith("the prepared transaction culprit (of shop_app, prepared")
        assert cause.remedy is None
        assert "ROLLBACK PREPARED" in cause.next_step

    def test_two_trees_are_two_causes_the_larger_first(
        self, alone: Servers, waiting: Waiting
    ) -> None:
        small = alone.start("small", "BEGIN", "LOCK TABLE orders_legacy")
        large = alone.start("large", "BEGIN", ROW)
        for _ in range(3):
            alone.send("web", "SELECT 1 FROM orders_legacy LIMIT 1")
        for _ in range(7):
            alone.send("web", ROW)
        found = causes.find(waiting(10))
        assert [cause.culprits[0].pid for cause in found] == [large, small]

    def test_healthy_has_no_cause(self, alone: Servers, diag: Session) -> None:
        alone.start("holder", "BEGIN", ROW)
        assert causes.find(look(diag)) == []

    def test_deferrable_transaction_waits_for_the_serializable_ones(
        self, alone: Servers, waiting: Waiting
    ) -> None:
        writer = alone.start("books", "BEGIN ISOLATION LEVEL SERIALIZABLE", ROW)
        alone.send("report", "SELECT 1", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE")
        [waiter] = [one for one in waiting(1).backends if one.blocked_by]
        assert waiter.blocked_by == (writer,)
        assert waiter.doing is Doing.SAFE_SNAPSHOT

    def test_second_holder_of_a_shared_row_is_seen(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        share = "SELECT 1 FROM orders WHERE id = 100004 FOR SHARE"
        holders = [alone.start(name, "BEGIN", share) for name in ("first", "second")]
        victims = {alone.send("web", ROW) for _ in range(3)}
        waiting(3)
        [cause] = diagnose(diag).causes
        assert sorted(culprit.pid for culprit in cause.culprits) == sorted(holders)
        assert cause.remedy is not None
        assert sorted(target.pid for target in cause.remedy.targets) == sorted(holders)
        assert cause.remedy.sure
        carry_out(alone, cause.remedy)
        until(lambda: not still_waiting(diag, victims), "all are freed")

    def test_row_that_cannot_be_read_makes_the_foretold_number_unsure(
        self, alone: Servers, waiting: Waiting, diag: Session
    ) -> None:
        alone.start("setup", "CREATE TABLE IF NOT EXISTS hidden (id int)")
        alone.start(
            "setup", "REVOKE SELECT ON hidden FROM rb_diag", "INSERT INTO hidden VALUES (1)"
        )
        alone.start("refund-job", "BEGIN", "UPDATE hidden SET id = 2")
        for _ in range(3):
            alone.send("web", "UPDATE hidden SET id = 3")
        waiting(3)
        [cause] = diagnose(diag).causes
        assert cause.remedy is not None
        assert not cause.remedy.sure
        assert "fewer if other sessions also hold the row" in cause.next_step


class TestOtherCauses:
    def test_commits_that_wait_for_an_absent_standby_are_never_cancelled(
        self, alone: Servers, diag: Session
    ) -> None:
        with synchronous_standby(alone, "absent"):
            for _ in range(3):
                alone.send("web", "UPDATE orders SET updated_at = now() WHERE id = 100004")
                alone.send("web", "INSERT INTO reconciliation_diffs (module) VALUES ('none')")
            found: list[Cause] = []

            def seen() -> bool:
                found[:] = causes.find(look(diag))
                return any("synchronous standby" in cause.headline for cause in found)

            until(seen, "the commits have waited for long")
        [cause] = [one for one in found if one.verdict is Verdict.CRITICAL]
        assert "for the synchronous standby (absent), which is not connected" in cause.headline
        assert cause.remedies == ()
        assert any("cancelling the commits" in why for why in cause.ruled_out)

    def test_no_slot_is_left_for_our_own_connection(self, alone: Servers) -> None:
        with suppress(DatabaseError):
            while True:
                alone.connect("web")
        # without pg_use_reserved_connections, which the diagnostic role has
        connection = alone.access.connection("shop_app", "primary")
        [cause] = diagnose(Session(connection, application_name="test")).causes
        assert cause.verdict is Verdict.CRITICAL
        assert cause.headline.startswith("No connection slot is left on ")
        assert "as a superuser" in cause.next_step

    def test_role_limit(self, alone: Servers, diag: Session) -> None:
        alone.start("admin", "ALTER ROLE shop_app CONNECTION LIMIT 3", role="postgres")
        try:
            for number in range(3):
                alone.start(f"web-{number}", "SELECT 1")
            [cause] = causes.find(look(diag))
        finally:
            alone.start("admin", "ALTER ROLE shop_app CONNECTION LIMIT -1", role="postgres")
        assert "The connection limit of the role shop_app (3 of 3) is reached" in cause.headline
        assert cause.verdict is Verdict.CRITICAL


@contextmanager
def synchronous_standby(of: Servers, name: str) -> Iterator[None]:
    """Make commits wait for a standby of that name, while the block runs."""
    set_names = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
    with of.access.connect("postgres") as raw:
        try:
            raw.execute(set_names.format(sql.Literal(name)))
            raw.execute(b"SELECT pg_reload_conf()")
            yield
        finally:
            raw.execute(set_names.format(sql.Literal("")))
            raw.execute(b"SELECT pg_reload_conf()")
