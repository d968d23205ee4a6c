"""RUN-001, 005, 010 and 011 on real faults: what they conclude, recommend and change."""

from __future__ import annotations

import os
import subprocess

import pytest

from rbkernel.config import Settings
from rbkernel.model import Verdict
from rbkernel.runbook.placeholders import PLACEHOLDER
from rbkernel.sandbox import binaries, control, processes
from rbkernel.sandbox.faults import outbox, waiting
from rbkernel.sandbox.grading import asking
from rbkernel.sandbox.grading.truths import TASKS
from rbkernel.sandbox.home import Home
from tests.support.runbooks import administer, look
from tests.support.waiting import until

_STREAMS = b"SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'"
pytestmark = pytest.mark.usefixtures("evidence")


def start_command(server: str = "primary") -> str:
    """The command that starts a server of the sandbox, in place of systemctl."""
    home = Home.configured()
    prefix = "unshare --user --map-user=65534 " if os.geteuid() == 0 else ""
    program = binaries.find().program("pg_ctl")
    return f"{prefix}{program} -D {home.data(server)} -l {home.log(server)} -w start"


def on_its_host(command: str) -> None:
    """Run a command of a plan, as a person on the server's host does."""
    environment = processes.environment()
    command = command.replace("sudo ", "")
    subprocess.run(["sh", "-c", command], check=True, env=environment, stdout=subprocess.DEVNULL)


class TestStagedTrouble:
    """Faults that consist of sessions and settings, from the scenarios."""

    def test_the_limit_of_a_role_is_raised(self, shop: Settings) -> None:
        # a second role at its limit, which is meant, and comes first by its name
        administer("ALTER ROLE rb_action CONNECTION LIMIT 1")
        with control.connect_as("rb_action"), asking.created(TASKS["role-limit"], 1):
            found = look("RUN-001", shop)
            assert "connection limit of the role shop_app" in found.headline
            assert found.recommended == "raise the limit of the role or database"
            raised = found.sql("Raise the connection limit of shop_app")
            administer(PLACEHOLDER.sub("30", raised))
            after = look("RUN-001", shop)
            assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")
        administer("ALTER ROLE rb_action CONNECTION LIMIT -1")

    def test_a_standby_that_is_down_is_started(self, shop: Settings) -> None:
        with asking.created(TASKS["standby-down"], 1):
            data = Home.configured().data("standby")
            command = start_command("standby")
            found = look("RUN-005", shop, start_command=command, data_directory=str(data))
            assert found.headline.startswith("sandbox-standby does not answer: nothing listens")
            assert found.recommended == "start the standby, if it is stopped"
            plan = found.plan("Start sandbox-standby")
            assert "two primaries accept writes" in plan["risk"]
            signal = data / "standby.signal"
            signal.rename(data / "moved")
            on_its_host(plan["command"])  # not a standby: an old primary, after a failover
            assert not (data / "postmaster.pid").exists()
            (data / "moved").rename(signal)
            on_its_host(plan["command"])
            with control.connect_as("postgres") as raw:
                waiting.until(raw, _STREAMS, what="the standby streams again")
            after = look("RUN-005", shop)
            assert after.recommended == "wait"


class TestServerDown:
    def test_a_stopped_server_is_started(self, shop: Settings) -> None:
        found = look("RUN-010", shop, "server-stopped", start_command=start_command())
        assert found.outcome.verdict is Verdict.CRITICAL
        assert found.headline.startswith("sandbox-primary does not answer: nothing listens")
        assert found.recommended == "start the server, if its host says that it is stopped"
        on_its_host(found.command("Start sandbox-primary"))
        control.heal("server-stopped")
        after = look("RUN-010", shop)
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_a_server_in_recovery_is_left_alone(self, shop: Settings) -> None:
        found = look("RUN-010", shop, "server-recovering")
        assert found.outcome.verdict is Verdict.CRITICAL
        assert (
            "starting, stopping or in recovery" in found.finding("Cause on sandbox-primary").cause
        )
        assert found.recommended == "let it finish starting or stopping"
        # as if the injection had been killed between stop and start
        processes.stop_server(Home.configured(), "primary")
        assert control.heal("server-recovering") == ["server-recovering"]

    def test_a_changed_password_says_nothing_about_the_server(self, shop: Settings) -> None:
        found = look("RUN-010", shop, "password-changed")
        assert found.outcome.verdict is Verdict.UNKNOWN
        assert "password" in found.headline
        assert (found.recommended or "").startswith("repair the connection")

    def test_an_old_primary_is_not_started_next_to_a_promoted_standby(self, shop: Settings) -> None:
        control.inject("server-stopped")
        with control.connect_as("postgres", "standby") as raw:
            raw.execute(b"SELECT pg_promote()")
        try:
            found = look("RUN-010", shop)
        finally:
            control.down()  # its standby is a primary of its own now
        assert found.finding("Standby is still a standby").verdict is Verdict.CRITICAL
        assert found.recommended == "do not start it: use the promoted standby"


class TestOutbox:
    def test_a_rejected_message_is_set_to_failed_and_the_next_ones_go_on(
        self, shop: Settings
    ) -> None:
        found = look("RUN-011", shop, fault=outbox.REJECTED, table=outbox.TABLE, every_s=1)
        assert found.outcome.verdict is not Verdict.OK
        assert found.finding("Destinations without a delivery").which == outbox.SICK
        assert found.recommended == "set the rejected messages to failed"
        plan = found.plan("Set 1 message to failed")
        assert [one["error"] for one in plan["targets"]] == [outbox.REJECTION]
        administer(found.sql("Set 1 message to failed"), role="rb_action")
        after = look("RUN-011", shop, table=outbox.TABLE, every_s=1)
        assert (after.outcome.verdict, after.recommended) == (Verdict.OK, "wait")

    def test_a_receiver_that_is_down_is_no_fault_of_a_message(self, shop: Settings) -> None:
        found = look("RUN-011", shop, fault=outbox.RECEIVER, table=outbox.TABLE, every_s=1)
        assert found.recommended == "ask the owner of the receiver"
        assert found.finding("Messages that their receiver rejects").verdict is Verdict.OK

    def test_a_relay_that_is_down_is_restarted(self, shop: Settings) -> None:
        found = look("RUN-011", shop, fault=outbox.DEAD, table=outbox.TABLE, every_s=1)
        stands = found.finding("Destinations without a delivery")
        assert (stands.value, found.recommended) == (3, "restart the relay")
        home = Home.configured()
        processes.launch_module("relay", home, outbox.DEAD, log=home.log(outbox.RELAY))
        with control.connect_as("postgres") as raw:
            delivered = f"SELECT 1 FROM {outbox.TABLE} WHERE status = 'delivered' LIMIT 1".encode()
            until(lambda: bool(raw.execute(delivered).fetchall()), "the relay delivers")
        assert look("RUN-011", shop, table=outbox.TABLE, every_s=1).recommended == "wait"

    def test_a_relay_that_waits_for_a_session_is_a_victim(self, shop: Settings) -> None:
        found = look("RUN-011", shop, fault=outbox.LOCKED, table=outbox.TABLE, every_s=1)
        assert found.headline.startswith(outbox.HOLDER)
        assert found.recommended == "resolve the cause first"
        assert found.finding("Cause on sandbox-primary").opens == "RUN-007"

    def test_a_backlog_that_is_being_delivered_needs_time(self, shop: Settings) -> None:
        found = look("RUN-011", shop, fault=outbox.BURST, table=outbox.TABLE, every_s=1)
        assert found.finding("Undelivered messages").verdict is Verdict.WARNING
        assert found.recommended == "wait"

    def test_a_database_without_an_outbox_is_unknown(self, shop: Settings) -> None:
        found = look("RUN-011", shop, every_s=1)
        assert (found.outcome.verdict, found.recommended) == (Verdict.UNKNOWN, "escalate")
