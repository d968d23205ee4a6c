"""The runbooks for routine and recovery on real faults: what they recommend, and its effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.model import Finding, Verdict
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.sandbox import control
from rbkernel.sandbox.faults import audit
from rbkernel.sources.postgres.connection import driver

pytestmark = pytest.mark.usefixtures("evidence")


@dataclass(frozen=True)
class Found:
    """What a runbook said of a state of the sandbox."""

    truth: Mapping[str, Any]
    outcome: Outcome

    @property
    def recommended(self) -> str | None:
        [decision] = self.outcome.record.decisions
        return decision.recommended

    @property
    def reason(self) -> str:
        [decision] = self.outcome.record.decisions
        return decision.reason

    def finding(self, title: str) -> Finding:
        return next(one for one in self.outcome.record.findings if one.title == title)

    def plan(self, title: str, kind: str = "sql") -> str:
        plans = [event.data for event in self.outcome.record.of_kind("plan")]
        return next(str(plan[kind]) for plan in plans if plan["title"].startswith(title))


def look(runbook: str, settings: Settings, fault: str | None = None, **values: Any) -> Found:
    truth = control.inject(fault, 1).truth if fault else {}
    outcome = runner.run(runbook, values, settings)
    assert outcome.failure == ""
    return Found(truth, outcome)


def ago(**amount: float) -> str:
    return (datetime.now(UTC) - timedelta(**amount)).isoformat()


class TestDailyCheck:
    def test_healthy_with_a_backup_of_the_night(self, shop: Settings) -> None:
        found = look("RUN-016", shop, backup_at=ago(hours=5))
        assert found.outcome.verdict is Verdict.OK
        assert found.recommended == "wait until tomorrow"

    def test_a_missed_backup(self, shop: Settings) -> None:
        found = look("RUN-016", shop, backup_at=ago(hours=27))
        assert found.outcome.verdict is Verdict.WARNING
        assert found.recommended == "see about the backup"

    def test_a_fault_comes_before_a_backup_of_which_nobody_knows(self, shop: Settings) -> None:
        found = look("RUN-016", shop, "slot-unread")
        assert found.recommended == "RUN-018"
        assert found.finding("Age of the newest backup").verdict is Verdict.UNKNOWN


def administer(sql: str) -> None:
    with control.connect_as("postgres") as raw:
        raw.execute(sql.encode())


class TestAuthorizationAudit:
    def test_an_account_that_tries_everything_is_named(self, shop: Settings) -> None:
        found = look("RUN-027", shop, "audit-probing")
        assert found.recommended == "lock the account"
        assert found.truth["user"] in found.finding("Users who try what they may not do").cause
        assert found.plan("Lock the account", "command").endswith(found.truth["user"])
        assert found.finding("Rise of refusals").verdict is Verdict.WARNING

    def test_users_who_lost_an_action_are_victims(self, shop: Settings) -> None:
        found = look("RUN-027", shop, "audit-withdrawn")
        assert found.recommended == "restore the permission"
        assert audit.WITHDRAWN in found.finding("Actions refused to everybody").cause
        assert found.finding("Users who try what they may not do").verdict is Verdict.OK
        assert "clerk" not in found.plan("Lock the account", "command")

    def test_a_login_loses_its_power_and_an_ordinary_log_is_ok(self, shop: Settings) -> None:
        control.inject("audit-withdrawn")
        administer(f"DELETE FROM {audit.TABLE} WHERE action = '{audit.WITHDRAWN}'")
        found = look("RUN-027", shop, "login-too-powerful")
        assert found.recommended == "revoke the privilege"
        administer(found.plan("Revoke"))
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
        administer(found.plan("Make new sessions of shop read-only"))
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
