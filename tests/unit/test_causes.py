"""Causes from situations that are written down: who is named, how bad it is, what may be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from rbkernel.config import Connection
from rbkernel.model import Verdict, explained, leading
from rbkernel.sources.postgres import causes, diagnosis
from rbkernel.sources.postgres.causes import Cause, pair
from rbkernel.sources.postgres.causes.cause import without_symptoms
from rbkernel.sources.postgres.connection import troubles
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.connection.troubles import DOWN, Trouble
from rbkernel.sources.postgres.diagnosis import Diagnosis, judged
from rbkernel.sources.postgres.situation import Backend, Measured, Prepared, Situation, settled


def situation(*backends: Backend, **fields: Any) -> Situation:
    return Situation(connection="db", at="", backends=backends, usable=50, **fields)


def only(seen: Situation) -> Cause:
    [cause] = causes.find(seen)
    return cause


class TestServerThatWasNotSeen:
    @pytest.mark.parametrize("trouble", sorted(DOWN))
    def test_nobody_is_served(self, trouble: str) -> None:
        cause = only(situation(reason="why", trouble=trouble))
        assert cause.headline == "db does not answer: why"
        assert cause.verdict is Verdict.CRITICAL
        assert {"RUN-001", "RUN-005", "RUN-007"} <= set(cause.explains)

    @pytest.mark.parametrize(
        "trouble", [Trouble.CREDENTIALS_WRONG, Trouble.ROLE_FULL, Trouble.NO_TLS, Trouble.FORBIDDEN]
    )
    def test_what_is_ours_tells_nothing_of_the_server(self, trouble: str) -> None:
        cause = only(situation(reason="why", trouble=trouble))
        assert cause.verdict is Verdict.UNKNOWN
        assert cause.explains == ()
        # RUN-010 says how to repair a connection; a privilege that is missing is nobody's runbook
        assert cause.opens == ("" if trouble == Trouble.FORBIDDEN else "RUN-010")

    @pytest.mark.parametrize(
        ("trouble", "said"),
        [
            (Trouble.SLOTS_FULL, "No connection slot is left on db"),
            (Trouble.DATABASE_FULL, "The connection limit of the database of db is reached"),
        ],
    )
    def test_a_limit_refuses_our_own_connection(self, trouble: str, said: str) -> None:
        cause = only(situation(reason="why", trouble=trouble))
        assert cause.headline == f"{said}: why"
        assert (cause.verdict, cause.opens) == (Verdict.CRITICAL, "RUN-001")


class TestStandbyThatIsDown:
    """The runbook that is about the pair says what to do; that it is not connected is a symptom."""

    LATE = Cause(
        headline="standby is not connected to db",
        mechanism="",
        verdict=Verdict.CRITICAL,
        opens="RUN-005",
        explains=("RUN-005",),
    )

    @pytest.mark.parametrize(
        ("trouble", "option"),
        [
            (Trouble.NOT_LISTENING, "start"),
            (Trouble.HOST_SILENT, "check"),
            (Trouble.STARTING, "wait"),
        ],
    )
    def test_it_is_started_if_it_is_stopped(self, trouble: str, option: str) -> None:
        queue = replace(self.LATE, headline="a queue", explains=("RUN-007", "RUN-005"))
        found = causes.find(situation(trouble=trouble, reason="why"))
        left, [down] = pair.lost([self.LATE, queue], found)
        assert left == (queue,)
        assert (down.opens, down.option) == ("RUN-005", option)
        assert "RUN-001" not in down.explains


class TestLockThatBlocksAllLogins:
    """A session of a standby cannot take it: replay holds what a session of the primary took."""

    @staticmethod
    def both(
        monkeypatch: pytest.MonkeyPatch, there: Trouble, *, configured: bool = True
    ) -> tuple[Diagnosis, Diagnosis]:
        seen = {
            "one": diagnosis.unanswered("one", troubles.error(Trouble.CATALOGUE_LOCKED)),
            "two": diagnosis.unanswered("two", troubles.error(there)),
        }
        monkeypatch.setattr(
            diagnosis, "diagnose", lambda session, **_: seen[session.connection.name]
        )
        one = Connection(name="one", standby="two" if configured else "")
        return diagnosis.both(
            Session(one, application_name="test"),
            Session(Connection(name="two"), application_name="test"),
        )

    def test_the_standby_is_explained_by_its_primary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here, there = self.both(monkeypatch, Trouble.CATALOGUE_LOCKED)
        [root], [symptom] = diagnosis.findings(here), diagnosis.findings(there)
        assert root.is_cause
        assert symptom.critical  # nobody can log in there either
        kept = explained(symptom, symptom.opens, [root, symptom])
        assert kept.explained_by == root.headline
        assert leading([root, kept]) == [root]
        assert kept.next_step == "end the transaction on one: its end is replayed, too"

    @pytest.mark.parametrize(
        ("there", "configured"),
        [(Trouble.CATALOGUE_LOCKED, False), (Trouble.NOT_LISTENING, True)],
    )
    def test_what_is_not_known_to_be_replayed_is_a_cause_of_its_own(
        self, monkeypatch: pytest.MonkeyPatch, there: Trouble, configured: bool
    ) -> None:
        _, standby = self.both(monkeypatch, there, configured=configured)
        [found] = diagnosis.findings(standby)
        assert found.is_cause
        assert found.headline == f"two does not answer: {there}"


class TestLimitOfARole:
    @pytest.mark.parametrize(("stuck", "option"), [(12, ""), (3, "raise")])
    def test_it_is_not_raised_for_sessions_that_are_stuck(self, stuck: int, option: str) -> None:
        backends = tuple(
            Backend(
                pid=pid,
                username="shop_app",
                state="idle in transaction" if pid < stuck else "active",
            )
            for pid in range(20)
        )
        seen = situation(*backends, used=20, limited_roles=("shop_app (20 of 20)",))
        [limit] = [one for one in causes.find(seen) if "limit of the role" in one.headline]
        assert limit.option == option
        assert ("stuck" in limit.next_step) is (option == "")

    @pytest.mark.parametrize(("used", "option"), [(20, "raise"), (45, "")])
    def test_it_is_raised_only_if_the_server_has_slots_to_spare(
        self, used: int, option: str
    ) -> None:
        found = causes.find(situation(used=used, limited_roles=("shop_app",)))
        [limit] = [one for one in found if "shop_app" in one.headline]
        assert limit.option == option


REPLAY = Backend(pid=9, backend_type="startup", wait_event="RecoveryConflictSnapshot")


class TestReplayThatWaits:
    def test_the_reader_with_the_oldest_snapshot_is_named(self) -> None:
        idle: dict[str, Any] = {"state": "idle in transaction", "state_s": 20.0}
        old = Backend(pid=1, application="analyst", xmin_age=900, **idle)
        young = Backend(pid=2, application="web", xmin_age=3, state="active", query_s=1.0)
        bystander = Backend(pid=3, application="pool", state="idle", state_s=900.0)
        cause = only(situation(REPLAY, young, old, bystander, standby=True))
        assert [culprit.pid for culprit in cause.culprits] == [1]
        assert cause.remedy is not None
        assert (cause.remedy.verb, [one.pid for one in cause.remedy.targets]) == ("terminate", [1])
        assert "replay" in cause.headline

    def test_a_backup_is_not_ended(self) -> None:
        dump = Backend(pid=1, application="pg_dump", xmin_age=900, state="active", query_s=20.0)
        assert only(situation(REPLAY, dump, standby=True)).remedies == ()

    def test_of_two_who_may_have_the_page_in_use_none_is_ended(self) -> None:
        replay = Backend(
            pid=9, backend_type="startup", wait_type="BufferPin", wait_event="BufferPin"
        )
        idle: dict[str, Any] = {"state": "idle in transaction", "transaction_s": 20.0}
        readers = [Backend(pid=pid, application=f"app-{pid}", xmin_age=5, **idle) for pid in (1, 2)]
        both = only(situation(replay, *readers, standby=True))
        assert {culprit.pid for culprit in both.culprits} == {1, 2}
        assert " or " in both.headline
        assert both.remedies == ()
        alone = only(situation(replay, readers[0], standby=True))
        assert alone.remedy is not None
        assert [one.pid for one in alone.remedy.targets] == [1]

    def test_a_tablespace_is_dropped_when_all_transactions_have_ended(self) -> None:
        replay = Backend(pid=9, backend_type="startup", wait_event="RecoveryConflictTablespace")
        idle: dict[str, Any] = {"state": "idle in transaction"}
        young = Backend(pid=1, application="web", transaction_s=3.0, **idle)
        old = Backend(pid=2, application="analyst", transaction_s=30.0, **idle)
        pool = Backend(pid=3, application="pool", state="idle")
        cause = only(situation(replay, young, old, pool, standby=True))
        assert cause.headline.startswith("analyst (pid 2")
        assert cause.headline.endswith("the oldest of 2 open transactions")

    def test_readers_are_left_alone_where_replay_does_not_wait(self) -> None:
        reader = Backend(pid=1, application="analyst", xmin_age=9, state="active", query_s=20.0)
        assert causes.find(situation(reader, standby=True)) == []

    def test_a_transaction_that_has_just_begun_holds_up_nothing(self) -> None:
        for transaction_s, found in ((0.2, []), (1.2, ["report"])):
            reader = Backend(
                pid=1, application="report", xmin_age=9, state="active", transaction_s=transaction_s
            )
            seen = causes.find(situation(REPLAY, reader, standby=True))
            assert [one.culprits[0].application for one in seen] == found

    def test_a_lock_that_replay_holds_is_the_primarys(self) -> None:
        replay = Backend(pid=9, backend_type="startup")
        lock: dict[str, Any] = {
            "locktype": "relation",
            "mode": "AccessShareLock",
            "wait_s": 9.0,
            "state": "active",
        }
        readers = [Backend(pid=pid, blocked_by=(9,), **lock) for pid in (1, 2, 3)]
        cause = only(situation(replay, *readers, standby=True))
        assert cause.headline.startswith("A transaction of the primary, whose lock is held")
        assert cause.remedies == ()
        assert "on the primary" in cause.next_step

    @pytest.mark.parametrize("reader_waits", [False, True])
    @pytest.mark.parametrize(
        ("limit_s", "verdict", "verb", "option"),
        [
            (None, Verdict.CRITICAL, "cancel", ""),
            (600.0, Verdict.CRITICAL, "cancel", ""),
            (30.0, Verdict.WARNING, None, "wait"),
        ],
    )
    def test_nobody_is_cancelled_whom_replay_cancels_soon(
        self,
        limit_s: float | None,
        verdict: Verdict,
        verb: str | None,
        option: str,
        reader_waits: bool,
    ) -> None:
        reader = Backend(
            pid=1, application="report", xmin_age=9, state="active", query_s=20.0, transaction_s=20
        )
        replay = waiter(9, 1, backend_type="startup", locktype="relation", wait_s=40.0, state=None)
        others = (replay,) if reader_waits else (REPLAY,)
        cause = only(situation(*others, reader, standby=True, replay_waits_s=limit_s))
        assert cause.culprits == (reader,)
        assert (cause.remedy and cause.remedy.verb, cause.option) == (verb, option)
        assert reader_waits or cause.verdict is verdict
        assert ("by itself, after 30 s" in cause.next_step) == (option == "wait")


class TestDelayOnPurpose:
    @pytest.mark.parametrize(
        ("also", "said"),
        [
            ("paused", "Replay is paused"),
            ("receiving", "receives no WAL"),
            ("stalled_s", "Replay on db has stalled"),
        ],
    )
    def test_it_is_no_cause_and_hides_none(self, also: str, said: str) -> None:
        delay = Measured(
            column="apply_delay_s", title="", verdict=Verdict.WARNING, actual="", value=600.0
        )
        assert causes.find(situation(standby=True, replication=(delay,))) == []
        wrong = replace(delay, column=also, verdict=Verdict.CRITICAL)
        assert said in only(situation(standby=True, replication=(delay, wrong))).headline

    @pytest.mark.parametrize(
        ("lag_s", "delay_s", "delaying", "late"),
        [
            (9000.0, 600.0, False, True),  # on the way, hours of WAL are stuck
            (620.0, 600.0, False, False),
            (630.0, 600.0, False, True),
            (9000.0, 600.0, True, False),  # the primary has written nothing for hours
            (20.0, 0.0, False, True),
        ],
    )
    def test_only_lag_beyond_it_counts(
        self, lag_s: float, delay_s: float, delaying: bool, late: bool
    ) -> None:
        told = Measured(
            column="replay_lag_s", title="", verdict=Verdict.CRITICAL, actual="", value=lag_s
        )
        cause = only(situation(replication=(told,), standby_name="standby"))
        one = pair.Member(connection="one", standby=False, position=5000)
        other = pair.Member(
            connection="two",
            standby=True,
            position=3000,
            newest_commit_s=lag_s,
            apply_delay_s=delay_s,
            delaying=delaying,
        )
        assert (without_symptoms([cause], [cause], other.meant_s) == [cause]) == late
        assert bool([*pair.behind(one, other)]) == late


class TestOpenTransactions:
    DUMP = Backend(
        pid=1,
        application="pg_dump",
        state="idle in transaction",
        state_s=900.0,
        xmin_age=50,
    )

    def test_the_leader_of_a_parallel_backup_is_not_forgotten(self) -> None:
        worker = replace(self.DUMP, pid=2, state="active", state_s=5.0, query_s=5.0)
        assert causes.find(situation(self.DUMP, worker)) == []

    def test_a_backup_that_does_nothing_is_not_to_be_ended(self) -> None:
        cause = only(situation(self.DUMP))
        assert cause.culprits == (self.DUMP,)
        assert cause.next_step.endswith("do not end a running backup")

    def test_who_blocks_somebody_comes_first(self) -> None:
        console = Backend(
            pid=9, application="console", state="idle in transaction", state_s=70.0, xmin_age=5
        )
        alone = only(situation(console))
        assert (alone.verdict, alone.mechanism) == (
            Verdict.CRITICAL,
            "the snapshot of the transaction keeps VACUUM from removing dead rows",
        )
        first, second = causes.find(situation(console, ROOT, waiter(2, 1)))
        assert first.culprits == (ROOT,)
        assert (second.culprits, second.verdict) == ((console,), Verdict.WARNING)


class TestPreparedTransactions:
    def test_one_that_is_left_open_is_named(self) -> None:
        late = Prepared(name="payout", owner="bank", prepared_s=40.0)
        cause = only(situation(prepared=(late,)))
        assert "payout (of bank) has been left open for 40 s" in cause.headline
        assert cause.verdict is Verdict.WARNING

    def test_one_that_has_just_been_prepared_is_well(self) -> None:
        assert causes.find(situation(prepared=(Prepared(name="a", owner="b", prepared_s=5),))) == []


class TestReplication:
    @staticmethod
    def found(column: str, value: float, verdict: str = "critical") -> Measured:
        return Measured(column=column, title="t", verdict=verdict, actual="a", value=value)

    def test_a_standby_that_is_gone_comes_before_its_lag(self) -> None:
        told = (self.found("replay_lag_s", 40), self.found("connected", 0))
        cause = only(situation(replication=told, standby_name="standby"))
        assert cause.headline == "standby is not connected to db"
        assert cause.option == "bring"
        assert cause.late_s is None

    def test_two_primaries_open_the_failover(self) -> None:
        one = pair.Member(connection="one", standby=False, system_identifier="7", started_at=1)
        [cause] = pair.roles(one, replace(one, connection="two", started_at=2))
        assert (cause.verdict, cause.opens) == (Verdict.CRITICAL, "RUN-030")
        assert "RUN-005" in cause.explains

    def test_a_paused_replay_is_resumed(self) -> None:
        told = (self.found("paused", 1), self.found("stalled_s", 40))
        cause = only(situation(replication=told, standby=True))
        assert (cause.option, cause.late_s) == ("resume", None)

    def test_an_old_commit_alone_is_a_burst_until_it_is_critical(self) -> None:
        burst = (self.found("stalled_s", 3, "warning"),)
        assert causes.find(situation(replication=burst, standby=True)) == []


ROOT = Backend(
    pid=1,
    application="refund-job",
    state="idle in transaction",
    state_s=40.0,
    has_xid=True,
    writes=True,
    query_start=datetime(2026, 11, 20, 3, 1, tzinfo=UTC),
)


def waiter(pid: int, *blockers: int, **fields: Any) -> Backend:
    given = {"application": "shop", "state": "active", "locktype": "tuple", "wait_s": 9.0}
    return Backend(pid=pid, blocked_by=blockers, **{**given, **fields})


class TestQueuesForALock:
    def test_clients_that_give_up_and_wait_again_are_victims_all_the_same(self) -> None:
        """With a lock_timeout of 0.5 s no wait is old, and each look shows another order."""
        first = [waiter(pid, 1, *range(2, pid), wait_s=0.3) for pid in range(2, 12)]
        later = [waiter(pid, 1, *range(pid + 1, 12), wait_s=0.2) for pid in range(2, 12)]
        seen = settled(situation(ROOT, *first), situation(ROOT, *later))
        cause = only(seen)
        assert cause.headline.startswith("refund-job (pid 1, ")
        assert cause.victims.count == 10
        assert cause.remedy is not None
        assert [target.pid for target in cause.remedy.targets] == [1]

    def test_who_waits_is_never_a_culprit(self) -> None:
        """In one statement a waiter may show without its blocker."""
        gone = waiter(2, locktype="transactionid", wait_s=8.0)
        cause = only(situation(gone, *(waiter(pid, 2) for pid in range(3, 9))))
        assert cause.verdict is Verdict.UNKNOWN
        assert (cause.culprits, cause.remedies) == ((), ())
        assert "was not seen" in cause.headline

    def test_a_concurrent_build_that_waits_costs_nobody_a_transaction(self) -> None:
        build = waiter(
            2, 1, locktype="virtualxid", wait_s=90.0, query="CREATE INDEX CONCURRENTLY i ON t (x)"
        )
        cause = only(situation(ROOT, build))
        assert cause.verdict is Verdict.WARNING
        assert cause.remedies == ()
        assert "CREATE INDEX CONCURRENTLY" in cause.mechanism
        assert cause.next_step.startswith("Wait")

    def test_what_an_advisory_lock_guards_is_not_known(self) -> None:
        leader = Backend(pid=1, application="scheduler", state="idle", state_s=50.0)
        queue = [waiter(pid, 1, *range(2, pid), locktype="advisory") for pid in range(2, 7)]
        cause = only(situation(leader, *queue))
        assert cause.remedy is not None
        assert "ask its owner first" in cause.remedy.loss
        assert "when the sessions ahead release the lock" in cause.remedy.effect

    def test_replay_is_named_where_it_waits(self) -> None:
        replay = waiter(9, 1, backend_type="startup", locktype="relation", state=None)
        cause = only(situation(ROOT, replay, waiter(3, 9), waiter(4, 9), standby=True))
        assert cause.headline.endswith("holds up replay on db and blocks 2 sessions behind it")

    def test_nobody_is_to_blame_for_a_queue_that_moves(self) -> None:
        head = Backend(pid=1, application="web", state="active", transaction_s=0.2, has_xid=True)
        queue = [waiter(pid, 1, application="web") for pid in range(2, 8)]
        cause = only(situation(head, *queue))
        assert cause.headline == "6 sessions wait in turn for the same lock, for up to 9 s (web 6)"
        assert (cause.culprits, cause.remedies) == ((), ())

    def test_the_head_of_a_queue_has_waited_for_its_turn_itself(self) -> None:
        """Its transaction is as old as its own wait; who is next has waited for it for a moment."""
        head = Backend(pid=1, application="web", state="active", transaction_s=8.0, has_xid=True)
        first = waiter(2, 1, application="web", locktype="transactionid", wait_s=0.1)
        queue = [waiter(pid, 2, application="web", wait_s=7.5) for pid in range(3, 8)]
        assert only(situation(head, first, *queue)).culprits == ()
        rests = replace(head, state="idle in transaction", state_s=7.9)
        assert only(situation(rests, first, *queue)).culprits == (rests,)

    def test_a_queue_that_moves_fast_is_no_cause(self) -> None:
        head = Backend(pid=1, application="web", state="active", transaction_s=0.2, has_xid=True)
        queue = [waiter(pid, 1, application="web", wait_s=1.5) for pid in range(2, 8)]
        assert causes.find(situation(head, *queue)) == []

    def test_two_requests_that_others_queue_behind_are_cancelled_together(self) -> None:
        table: dict[str, Any] = {"locktype": "relation", "relation": "public.t"}
        dump = Backend(pid=1, application="pg_dump", state="active", query_s=60.0)
        alters = [waiter(2, 1, mode="AccessExclusiveLock", **table)]
        readers = [waiter(pid, 2, mode="AccessShareLock", **table) for pid in (3, 4)]
        alters.append(waiter(5, 1, 2, 3, 4, mode="AccessExclusiveLock", **table))
        readers += [waiter(pid, 2, 5, mode="AccessShareLock", **table) for pid in (6, 7)]
        remedy = only(situation(dump, *alters, *readers)).remedy
        assert remedy is not None
        assert {one.pid for one in remedy.cancelled} == {2, 5}
        assert remedy.freed.all == {3, 4, 6, 7}
        assert remedy.left == 0

    def test_a_copy_that_gets_nothing_from_its_client_is_terminated(self) -> None:
        stalled = replace(ROOT, state="active", wait_type="Client", wait_event="ClientRead")
        remedy = only(situation(stalled, waiter(2, 1), waiter(3, 1))).remedy
        assert remedy is not None
        assert remedy.verb == "terminate"

    def test_a_follower_that_waits_for_its_leader_is_no_emergency(self) -> None:
        leader = Backend(pid=1, application="scheduler-1", state="idle", state_s=4000.0)
        follower = waiter(2, 1, locktype="advisory", wait_s=4000.0)
        assert only(situation(leader, follower)).verdict is Verdict.WARNING

    def test_locks_that_fill_the_pool_together_explain_that_it_is_full(self) -> None:
        roots = [replace(ROOT, pid=pid, application=f"batch-{pid}") for pid in (1, 2)]
        queues = [waiter(10 * root.pid + n, root.pid) for root in roots for n in range(5)]
        found = causes.find(situation(*roots, *queues, used=12))
        assert [cause.explains for cause in found] == [("RUN-007", "RUN-001")] * 2

    def test_who_waits_briefly_is_not_said_to_hold_the_slots(self) -> None:
        waits = [waiter(pid, application="web", wait_s=0.2) for pid in range(2, 48)]
        cause = only(situation(*waits, used=46))
        assert cause.headline == (
            "46 sessions wait for a lock, each for less than a second, and hold 92 % of the slots"
            " (web 46)"
        )
        assert cause.culprits == ()


class TestChangesThatAreHeldUp:
    @staticmethod
    def held_up(verdict: Verdict, *explains: str, standby: bool = False) -> bool:
        cause = Cause(headline="it", mechanism="", verdict=verdict, explains=explains)
        return Diagnosis(situation=situation(standby=standby), causes=(cause,)).holds_up_changes

    @pytest.mark.parametrize("explains", [("RUN-007",), ("RUN-001",), ("RUN-005", "RUN-018")])
    def test_by_locks_slots_and_a_second_primary(self, explains: tuple[str, ...]) -> None:
        assert self.held_up(Verdict.WARNING, *explains)

    def test_by_replication_on_the_standby_and_not_on_its_primary(self) -> None:
        assert self.held_up(Verdict.CRITICAL, "RUN-005", standby=True)
        assert not self.held_up(Verdict.CRITICAL, "RUN-005")

    def test_not_by_what_is_not_known(self) -> None:
        assert not self.held_up(Verdict.UNKNOWN)
        assert not Diagnosis(situation=situation(), causes=()).holds_up_changes


class TestWaitsWithoutALock:
    """Waits that `pg_blocking_pids` knows nothing of."""

    IDLE: ClassVar[dict[str, Any]] = {"state": "idle in transaction", "state_s": 20.0}
    VACUUM = Backend(
        pid=9,
        application="nightly",
        state="active",
        query_s=90.0,
        wait_type="BufferPin",
        wait_event="BufferPin",
        relation="public.ledger",
        wait_s=20.0,
    )
    DDL = Backend(
        pid=10,
        state="active",
        locktype="relation",
        mode="AccessExclusiveLock",
        wait_s=8.0,
        blocked_by=(9,),
    )

    def test_the_only_session_that_uses_the_table_is_named_and_vacuum_is_a_victim(self) -> None:
        cursor = Backend(pid=1, application="exporter", xmin_age=4, **self.IDLE)
        cause = only(situation(cursor, replace(self.VACUUM, blocked_by=(1,)), self.DDL))
        assert [culprit.pid for culprit in cause.culprits] == [1]
        assert cause.victims.count == 2
        assert "the only session that uses it" in cause.mechanism
        assert cause.remedy is not None
        assert cause.remedy.sentence.startswith("Terminate exporter (pid 1): frees 1 session")

    def test_of_two_that_use_the_table_none_is_ended_and_vacuum_may_be_cancelled(self) -> None:
        cursors = [Backend(pid=pid, application=f"app-{pid}", **self.IDLE) for pid in (1, 2)]
        vacuum = replace(self.VACUUM, blocked_by=(1, 2))
        cause = only(situation(*cursors, vacuum))
        assert "app-1 (pid 1, idle in transaction for 20 s) or app-2" in cause.headline
        assert cause.remedies == ()
        queued = only(situation(*cursors, vacuum, self.DDL))
        assert queued.remedy is not None
        assert [one.pid for one in queued.remedy.targets] == [9]
        assert queued.remedy.verb == "cancel"

    def test_a_deferrable_transaction_has_time(self) -> None:
        writer = Backend(pid=1, application="books", has_xid=True, writes=True, **self.IDLE)
        report = Backend(
            pid=2,
            application="report",
            state="active",
            wait_type="IPC",
            wait_event="SafeSnapshot",
            wait_s=300.0,
            blocked_by=(1,),
        )
        cause = only(situation(writer, report))
        assert cause.verdict is Verdict.WARNING
        assert cause.remedies == ()
        assert "report (pid 2) is SERIALIZABLE READ ONLY DEFERRABLE" in cause.mechanism
        assert cause.next_step.startswith("Wait: it continues by itself")


class TestTheLeastForEach:
    def test_a_query_is_cancelled_and_a_session_at_rest_is_terminated(self) -> None:
        rests = Backend(pid=1, application="console", state="idle in transaction", state_s=20.0)
        runs = Backend(pid=2, application="report", state="active", query_s=20.0)
        waits = Backend(
            pid=3, locktype="relation", mode="AccessExclusiveLock", wait_s=9.0, blocked_by=(1, 2)
        )
        remedy = only(situation(rests, runs, waits)).remedy
        assert remedy is not None
        assert remedy.verb == "terminate"
        assert [one.pid for one in remedy.terminated] == [1]
        assert [one.pid for one in remedy.cancelled] == [2]
        assert remedy.freed.at_once == {3}

    def test_an_advisory_lock_may_outlive_the_query(self) -> None:
        runs = Backend(pid=2, application="job", state="active", query_s=20.0)
        waits = Backend(pid=3, locktype="advisory", wait_s=9.0, blocked_by=(2,))
        remedy = only(situation(runs, waits)).remedy
        assert remedy is not None
        assert (remedy.verb, remedy.cancelled) == ("terminate", ())


class TestALockThatIsReplayed:
    LOCK = "AccessExclusiveLock on public.orders"
    HOLDER = Backend(
        pid=1,
        application="maintenance",
        state="idle in transaction",
        state_s=90.0,
        has_xid=True,
        strong_lock=LOCK,
    )

    def both(self, *here: Backend) -> tuple[Diagnosis, Diagnosis]:
        lock: dict[str, Any] = {"locktype": "relation", "relation": "public.orders", "wait_s": 9.0}
        readers = (Backend(pid=pid, blocked_by=(9,), state="active", **lock) for pid in (5, 6))
        replay = Backend(pid=9, backend_type="startup")
        primary = replace(situation(*here), connection="one")
        standby = replace(situation(replay, *readers, standby=True), connection="two")
        return diagnosis.with_replayed_locks(judged(primary), judged(standby))

    def test_its_holder_is_the_cause_and_nothing_else_is_told_of_it(self) -> None:
        here, there = self.both(self.HOLDER)
        assert there.causes == ()
        [cause] = here.causes
        assert cause.headline == (
            "maintenance (pid 1, idle in transaction for 1 min 30 s) blocks 2 sessions of two"
        )
        assert cause.remedy is not None
        assert cause.remedy.freed.at_once == {5, 6}
        assert cause.next_step.startswith("On one: Terminate maintenance (pid 1)")

    def test_it_is_one_with_what_its_holder_blocks_on_the_primary(self) -> None:
        waits = Backend(pid=2, locktype="relation", wait_s=9.0, blocked_by=(1,), state="active")
        here, there = self.both(self.HOLDER, waits)
        assert there.causes == ()
        [cause] = here.causes
        assert cause.headline.endswith("blocks 1 session, and 2 sessions of two")

    def test_others_that_leave_transactions_open_are_told_all_the_same(self) -> None:
        other = replace(self.HOLDER, pid=3, strong_lock=None)
        here, _ = self.both(self.HOLDER, other)
        assert [one.culprits[0].pid for one in here.causes] == [1, 3]

    def test_one_of_two_is_not_known(self) -> None:
        there = [replace(self.HOLDER, pid=pid, strong_lock=self.LOCK + "s") for pid in (3, 4)]
        assert [one.culprits[0].pid for one in self.both(*there)[1].causes] == [9]
