"""The runbooks for routine and recovery on real faults: what they recommend, and its effect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.evidence import incident as records
from rbkernel.evidence.manifest import Head
from rbkernel.model import Verdict
from rbkernel.sandbox import control
from rbkernel.sandbox.access import Access, Server
from rbkernel.sandbox.faults import audit
from rbkernel.sandbox.faults.scenarios import SCENARIOS
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver
from tests.support.runbooks import administer, look

_HAS = b"SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_NO_WORKER = b"""
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')"""
_CUT = b"SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"

pytestmark = pytest.mark.usefixtures("evidence")


def ago(**amount: float) -> str:
    return (datetime.now(UTC) - timedelta(**amount)).isoformat()


def on_an_earlier_day(sealed: Path, days: int) -> None:
    """Copy the journal of a sealed run, as if the run had been sealed some days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    root, run_id = sealed.parent.parent, f"{at:%Y%m%dT%H%M%SZ}-{days:06x}"
    incident = f"INC-{at:%Y%m%d}-{days:04x}"
    folder = root / incident / f"0001-RUN-016-{run_id}"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes((sealed / "journal.jsonl").read_bytes())
    records.append(root, incident, "opened", by="rbkernel", source=records.SCHEDULE)
    when = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    head = Head(sha256="ab" * 32, incident=incident, generation=1, at=when, run_id=run_id)
    with (root / "HEADS").open("a") as file:
        file.write(head.line)


class TestDailyCheck:
    def test_healthy_with_a_backup_of_the_night(self, shop: Settings) -> None:
        found = look("RUN-016", shop, backup_at=ago(hours=5))
        assert found.outcome.verdict is Verdict.OK
        assert found.recommended == "wait until tomorrow"
        titles = {"Sessions at this hour", "Commits at this hour"}
        assert not titles & {one.title for one in found.outcome.record.findings}
        measured = {
            str(event.data["name"]).split()[1]: event.data["value"]
            for event in found.outcome.record.of_kind("measured")
        }
        for day in range(1, 8):
            on_an_earlier_day(found.outcome.folder, day)
        again = look("RUN-016", shop, backup_at=ago(hours=5))
        sessions, commits = map(again.finding, sorted(titles, reverse=True))
        assert sessions.expected.startswith(f"at most 2 × {measured['sessions']:.3g}, or 20")
        assert commits.value is not None
        assert commits.value > 0

    def test_a_missed_backup(self, shop: Settings) -> None:
        found = look("RUN-016", shop, backup_at=ago(hours=27))
        assert found.outcome.verdict is Verdict.WARNING
        assert found.recommended == "see about the backup"
        weekly: dict[str, Any] = {"backup_warn_h": 170.0, "backup_critical_h": 340.0}
        found = look("RUN-016", shop, backup_at=ago(hours=100), **weekly)
        assert (found.outcome.verdict, found.recommended) == (Verdict.OK, "wait until tomorrow")

    def test_a_fault_comes_before_a_backup_of_which_nobody_knows(self, shop: Settings) -> None:
        found = look("RUN-016", shop, "slot-unread")
        assert found.recommended == "RUN-018"
        assert found.finding("Age of the newest backup").verdict is Verdict.UNKNOWN


class TestAuthorizationAudit:
    def test_an_account_that_tries_everything_is_named(self, shop: Settings) -> None:
        found = look("RUN-027", shop, "audit-probing")
        assert found.recommended == "lock the account"
        assert found.truth["user"] in found.finding("Users who try what they may not do").cause
        assert found.command("Lock the account").endswith(found.truth["user"])
        assert found.finding("Rise of refusals").verdict is Verdict.WARNING

    def test_users_who_lost_an_action_are_victims(self, shop: Settings) -> None:
        found = look("RUN-027", shop, "audit-withdrawn")
        assert found.recommended == "restore the permission"
        assert audit.WITHDRAWN in found.finding("Actions refused to everybody").cause
        assert found.finding("Users who try what they may not do").verdict is Verdict.OK
        assert "clerk" not in found.command("Lock the account")

    def test_a_login_loses_its_power_and_an_ordinary_log_is_ok(self, shop: Settings) -> None:
        control.inject("audit-withdrawn")
        administer(f"DELETE FROM {audit.TABLE} WHERE NOT granted AND user_id LIKE 'clerk-%'")
        administer("CREATE ROLE admin LOGIN CREATEROLE; CREATE ROLE aa_files LOGIN")
        # the first by its name has other powers; another one has it through a group
        administer(
            "CREATE ROLE files; GRANT pg_read_server_files TO files; GRANT files TO aa_files"
        )
        found = look("RUN-027", shop, "login-too-powerful")
        assert found.recommended == "revoke the privilege"
        administer(found.sql("Revoke pg_execute_server_program from shop_report"))
        group = look("RUN-027", shop)
        plan = group.plan("Revoke it in the group: aa_files (pg_read_server_files) through files")
        assert plan["sql"] == ""
        administer("DROP ROLE aa_files, files, admin")
        after = look("RUN-027", shop)
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_without_an_audit_log_nothing_is_known(self, shop: Settings) -> None:
        found = look("RUN-027", shop)
        assert (found.outcome.verdict, found.recommended) == (Verdict.UNKNOWN, "escalate")


class TestBackupAndRestore:
    def test_a_damaged_page_stops_the_writes(self, shop: Settings) -> None:
        found = look("RUN-021", shop, "page-damaged", backup_at=ago(hours=30))
        assert found.recommended == "stop writes"
        assert found.finding("Damaged pages").verdict is Verdict.CRITICAL
        administer(found.sql("Make new sessions of shop read-only"))
        with (
            control.connect_as("shop_app") as raw,
            pytest.raises(driver.RawConnection.Error, match="read-only transaction"),
        ):
            raw.execute(b"CREATE TABLE more (n int)")

    def test_a_backup_that_is_too_old(self, shop: Settings) -> None:
        found = look("RUN-021", shop, backup_at=ago(hours=30))
        assert found.recommended == "take a backup"
        lost = found.finding("What a restore would lose")
        assert lost.verdict is Verdict.WARNING
        assert lost.value == pytest.approx(30, abs=0.1)

    def test_a_backup_of_which_nobody_knows(self, shop: Settings) -> None:
        found = look("RUN-021", shop, restored_at=ago(days=3))
        assert (found.outcome.verdict, found.recommended) == (
            Verdict.UNKNOWN,
            "ask the backup tool",
        )

    def test_healthy(self, shop: Settings) -> None:
        found = look("RUN-021", shop, backup_at=ago(hours=5), restored_at=ago(days=3))
        assert (found.outcome.verdict, found.recommended) == (Verdict.OK, "wait")


@pytest.fixture
def stage(shop: Settings) -> Iterator[Stage]:
    """Servers to stop and to promote; they are as before afterwards."""
    status = control.status()
    assert status.primary_port
    assert status.standby_port
    access = Access(
        home=Home.configured(), primary_port=status.primary_port, standby_port=status.standby_port
    )
    with Stage(access) as made:
        yield made


def end_of_wal(server: Server = "primary") -> str:
    with control.connect_as("postgres", server) as raw:
        row = raw.execute(b"SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row
    return str(row[0])


class TestFailover:
    def test_a_primary_that_answers_is_kept(self, shop: Settings) -> None:
        assert look("RUN-030", shop).recommended == "wait"
        # not even with a person who says that it is fenced
        found = look("RUN-030", shop, "receiver-down", fenced=True)
        assert found.recommended == "keep the primary"
        lost = found.finding("WAL that a promotion would lose")
        assert lost.value is not None
        assert lost.value >= found.truth["burst_bytes"]

    def test_two_primaries(self, shop: Settings, stage: Stage) -> None:
        SCENARIOS["two-primaries"].inject(stage)
        found = look("RUN-030", shop, fenced=True)
        assert found.recommended == "stop writes on one primary"
        administer(found.sql("Make new transactions"))
        administer("SELECT pg_reload_conf()")
        read_only = b"SELECT current_setting('default_transaction_read_only') = 'on'"
        stage.until(read_only, what="new transactions are read-only")
        stage.on_heal(lambda: stage.administer("SELECT pg_reload_conf()"))
        stage.on_heal(lambda: stage.administer("ALTER SYSTEM RESET default_transaction_read_only"))
        with (
            control.connect_as("shop_app") as raw,
            pytest.raises(driver.RawConnection.Error, match="read-only transaction"),
        ):
            raw.execute(b"CREATE TABLE more (n int)")

    def test_a_promotion_needs_a_fence_and_a_known_loss(self, shop: Settings, stage: Stage) -> None:
        stage.stop_traffic()
        stage.setting("autovacuum", "off")  # else it may write after the end has been read
        stage.until(_NO_WORKER, what="autovacuum has ended")
        stage.on_heal(stage.rebuild_standby)
        stage.on_heal(lambda: stage.bring_back("primary"))
        end = end_of_wal()
        stage.until(_HAS, [end], what="all has arrived", server="standby")
        stage.stop("primary")
        stage.until(_CUT, what="the receiver ends", server="standby")
        assert look("RUN-030", shop, end_lsn=end).recommended == "fence the old primary"
        unknown = look("RUN-030", shop, fenced=True)
        assert unknown.recommended == "find out what would be lost"
        late = f"0/{int(end.partition('/')[2], 16) + 5_000_000:X}"
        lossy = look("RUN-030", shop, fenced=True, end_lsn=late)
        assert lossy.recommended == "escalate"
        lost = lossy.finding("WAL that a promotion would lose").value
        assert lost == pytest.approx(5_000_000, abs=20_000)
        before = look("RUN-030", shop, fenced=True, end_lsn=late, stopped_at=ago(days=1))
        assert before.recommended == "find out what would be lost"
        sound = look("RUN-030", shop, fenced=True, end_lsn=end)
        assert sound.recommended == "promote the standby"
        assert sound.finding("Commits that a promotion would lose").value == 0
        stage.administer(sound.sql("Promote sandbox-standby"), server="standby")
        assert look("RUN-030", shop, end_lsn=end).recommended == "fence the old primary"
        after = look("RUN-030", shop, fenced=True, end_lsn=end)
        assert after.recommended == "point the applications to the new primary"
