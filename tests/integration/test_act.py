"""Approved actions on a real server: exactly what was approved, once, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rbkernel import actions
from rbkernel.cli import acting, incident_text
from rbkernel.errors import ActionRefused, ConfigError, DatabaseError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import approval, document, executor, sessions
from rbkernel.execution import server as server_of
from rbkernel.execution.executor import carried_out
from rbkernel.execution.ledger import Ledger, now
from rbkernel.execution.outcome import Outcome
from rbkernel.incidents import workflow
from rbkernel.model import ActionPlan
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Server
from rbkernel.sources.postgres import remedy
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import diagnose
from tests.support.approvals import (
    TWO_PEOPLE,
    InOneRoom,
    Queue,
    Room,
    go_on,
    lives,
    made_room,
    queue,
    refusal,
    terminate,
)
from tests.support.command import run_command
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.kernels import kernel
from tests.support.servers import ROW, Servers, servers
from tests.support.waiting import until


@pytest.fixture
def room(tmp_path: Path, alone: Servers, monkeypatch: pytest.MonkeyPatch) -> Room:
    return made_room(tmp_path, alone, monkeypatch)


@pytest.fixture
def locks(alone: Servers, diag: Session) -> Queue:
    return queue(alone, diag)


@pytest.fixture
def plan(room: Room, locks: Queue) -> str:
    return room.propose(locks.plan, other_run(1))


def ending_frame(
    server: Servers, pids: Sequence[int], database: Server = "primary"
) -> pd.DataFrame:
    """What identifies some sessions."""
    with server.access.connect("postgres", database) as raw:
        rows = raw.execute(
            b"SELECT pid, backend_start, query_start FROM pg_stat_activity WHERE pid = ANY (%s)",
            [list(pids)],
        ).fetchall()
    return pd.DataFrame(rows, columns=["pid", "backend_start", "query_start"])


def ending(server: Servers, pids: Sequence[int], database: Server = "primary") -> ActionPlan:
    """The plan that terminates some sessions."""
    return actions.terminate_sessions("orders", ending_frame(server, pids, database))


def proven_by_ssh_keygen(evidence: Path, folder: Path) -> None:
    """As docs/how-to/act.md says it: the record, ssh-keygen and sha256sum, no rbkernel."""
    lines = (evidence / "incident.jsonl").read_text().splitlines()
    said = [one for one in map(json.loads, lines) if one["kind"] == "action"]
    [preview] = [one for one in said if one["state"] == "previewed"]
    [approved] = [one for one in said if one["state"] == "approved"]
    (folder / "document").write_text(preview["document"])
    digest = hashlib.sha256((folder / "document").read_bytes()).hexdigest()
    assert digest == approved["digest"]
    (folder / "sig").write_text(approved["signature"])
    (folder / "signers").write_text(approved["signers"])
    at = approved["at"][:19].translate(str.maketrans("", "", "-:T"))
    command = ["ssh-keygen", "-Y", "verify", "-n", "rbkernel-action-approval", "-I", "bob"]
    files = ["-f", f"{folder}/signers", "-s", f"{folder}/sig", "-O", f"verify-time={at}"]
    told = subprocess.run(
        [*command, *files],
        input=(folder / "document").read_bytes(),
        capture_output=True,
        check=False,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )
    assert told.returncode == 0, told.stderr
    wrong = subprocess.run(
        [*command, *files], input=b"x", capture_output=True, check=False, env={"TZ": "UTC"}
    )
    assert wrong.returncode


class TestTerminate:
    def test_two_people_end_the_blocker(
        self, room: Room, locks: Queue, plan: str, alone: Servers, tmp_path: Path
    ) -> None:
        bystander = alone.start("bystander", "BEGIN", "SELECT 1")
        asked = approval.request(room.ledger, plan, room.key("ann"))
        [target] = asked.facts["targets"]
        assert target["pid"] == locks.holder
        assert target["writes"]
        assert {one["pid"] for one in asked.facts["foretold"]["freed"]} == set(locks.waiters)
        why = refusal(lambda: approval.approve(room.ledger, plan, asked.digest, room.key("ann")))
        assert "ann asked for the approval" in why
        assert "0 of 1 approvals" in refusal(lambda: room.execute(plan, asked))
        ok = approval.approve(room.ledger, plan, asked.digest[:16], room.key("bob"))
        assert lives(alone, locks.holder)
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.VERIFIED
        assert done.result == "1 of 1 done, 2 of 2 sessions no longer wait"
        assert not lives(alone, locks.holder)
        assert all(lives(alone, pid) for pid in (bystander, *locks.waiters))
        proven_by_ssh_keygen(room.root / INCIDENT, tmp_path)
        self._is_shown(room)
        assert "it is executed once" in refusal(lambda: room.execute(plan, ok))
        assert "has ended" in refusal(lambda: approval.request(room.ledger, plan, room.key("ann")))

    def _is_shown(self, room: Room) -> None:
        found = workflow.look(room.root, INCIDENT)
        told = [one.what for one in found.timeline if one.kind == "action"]
        assert [one.split()[1].rstrip(":") for one in told] == [
            "previewed",
            "approved",
            "executing",
            "verified",
        ]
        assert "with the SSH key SHA256:" in told[1]
        assert "the approval is a convenience" in told[2]
        assert "2 of 2 sessions no longer wait" in told[3]
        text = "\n".join(incident_text.incident_lines(found, None))
        assert "action verified: Terminate 1 session" in text

    def test_a_session_is_terminated_although_its_query_runs(
        self, room: Room, alone: Servers
    ) -> None:
        pid = alone.send("report", "SELECT pg_sleep(60)")
        plan = room.propose(ending(alone, [pid]), other_run(2))
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.VERIFIED
        assert not lives(alone, pid)


class TestCancel:
    def test_the_query_ends_and_its_session_stays(
        self, room: Room, alone: Servers, diag: Session
    ) -> None:
        room.configure(TWO_PEOPLE, 'action = "cancel_queries"\napprovers = 0\nwatch_s = 1.0\n')
        room.approvers.unlink()
        holder = alone.send("report", "SELECT pg_sleep(60)", "BEGIN", ROW)
        locked = alone.send("web", ROW)
        until(lambda: diagnose(diag).first is not None)
        planned = actions.cancel_queries("orders", diagnose(diag))
        plan = room.propose(planned, other_run(3))
        done = room.execute(plan, approval.request(room.ledger, plan))
        assert done.recorded is ActionState.VERIFIED
        assert lives(alone, holder)
        assert lives(alone, locked)
        assert done.approvals == ()


class TestChanged:
    """What changes on the server after the preview: approval and execution say why not."""

    @pytest.fixture
    def both(self, room: Room, locks: Queue, plan: str) -> Callable[[], tuple[str, str]]:
        """An approved plan, and one that is only previewed; later, why neither goes on."""
        approved = room.approve(plan, "bob")
        other = room.propose(locks.plan, other_run(2), title="Terminate it")
        asked = room.approve(other)
        key = room.key("bob")

        def why() -> tuple[str, str]:
            return (
                refusal(lambda: room.execute(plan, approved)),
                refusal(lambda: approval.approve(room.ledger, other, asked.digest, key)),
            )

        return why

    def test_nobody_waits_any_more_and_then_the_target_ends(
        self, both: Any, locks: Queue, alone: Servers
    ) -> None:
        terminate(alone, locks.waiters)
        for why in both():
            assert "no session waits for the targets any more" in why
        assert lives(alone, locks.holder)
        terminate(alone, [locks.holder])
        for why in both():
            assert f"pid {locks.holder} has ended" in why


@pytest.fixture(scope="class")
def still(server: Servers, diag: Session) -> Iterator[Queue]:
    """A queue for all tests of a class: none of them may end one of its sessions."""
    made = queue(server, diag)
    yield made
    assert lives(server, made.holder)
    server.end_sessions()


class TestRefused(InOneRoom):
    """What changes elsewhere: nothing is executed, and the reason is told."""

    def test_the_pid_was_reused(
        self, room: Room, plan: str, still: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok, look = room.approve(plan, "bob"), sessions._look

        def other(*given: Any) -> Any:
            return {
                pid: {**one, "backend_start": "2026-11-20T03:02:11+00:00"}
                for pid, one in look(*given).items()
            }

        monkeypatch.setattr(sessions, "_look", other)
        assert f"pid {still.holder} is another session now" in refusal(
            lambda: room.execute(plan, ok)
        )

    def test_the_target_went_on(self, room: Room, plan: str, still: Queue, server: Servers) -> None:
        ok = room.approve(plan, "bob")
        other = room.propose(still.plan, other_run(2), title="Terminate it")
        asked = room.approve(other)
        go_on(server, still.holder)
        for why in (
            refusal(lambda: room.execute(plan, ok)),
            refusal(lambda: approval.approve(room.ledger, other, asked.digest, room.key("bob"))),
        ):
            assert f"pid {still.holder} went on since the preview" in why

    @pytest.fixture
    def late(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
        """Say what happens after the last look before the execution."""

        def given(change: Callable[[], object]) -> None:
            begin = executor._begin
            monkeypatch.setattr(executor, "_begin", lambda *all_: change() or begin(*all_))

        return given

    def test_it_went_on_after_the_last_look(
        self, room: Room, plan: str, still: Queue, server: Servers, late: Any
    ) -> None:
        """The statement that signals checks, too."""
        ok = room.approve(plan, "bob")
        late(lambda: go_on(server, still.holder))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert "nothing was signalled" in done.result

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("backend_starts", ["2026-11-20T03:02:11+00:00"]),
            ("xact_starts", ["2026-11-20T03:02:11+00:00"]),
            ("xact_starts", [None]),
            ("query_starts", ["2026-11-20T03:02:11+00:00"]),
            ("states", ["active"]),
            ("xids", [False]),
            ("system_identifier", "1"),
            ("system_identifier", None),
            ("started_at", "2026-11-20T03:02:11+00:00"),
            ("database", "postgres"),
            ("standby", True),
        ],
    )
    def test_the_statement_checks_each_value(
        self,
        room: Room,
        plan: str,
        still: Queue,
        server: Servers,
        late: Any,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        value: Any,
    ) -> None:
        ok, values = room.approve(plan, "bob"), sessions._values

        def other(*given: Any) -> Any:
            return {**values(*given), name: value}

        late(lambda: monkeypatch.setattr(sessions, "_values", other))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert "nothing was signalled" in done.result
        assert lives(server, still.holder)

    def test_a_process_that_was_stopped_does_nothing_later(
        self, room: Room, plan: str, still: Queue, server: Servers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the server's clock it is an hour later than when the process looked."""
        ok, clock = room.approve(plan, "bob"), server_of.clock
        monkeypatch.setattr(server_of, "clock", lambda one: clock(one) - timedelta(hours=1))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert "it was too late: nothing was signalled" in done.result
        assert lives(server, still.holder)

    def test_a_session_of_a_superuser(
        self, room: Room, server: Servers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with server.access.connect("postgres") as raw:
            raw.execute(b"BEGIN")
            pid = raw.info.backend_pid
            plan = room.propose(ending(server, [pid]), other_run(6))
            assert "is a session of a superuser" in refusal(lambda: room.approve(plan))
            look = sessions._look

            def hidden(*given: Any) -> Any:
                return {one: {**row, "superuser": False} for one, row in look(*given).items()}

            monkeypatch.setattr(sessions, "_look", hidden)
            done = room.execute(plan, room.approve(plan, "bob"))
            assert done.recorded is ActionState.FAILED
            assert "nothing was signalled" in done.result
            assert lives(server, pid)

    def test_the_role_for_actions(self, room: Room, plan: str) -> None:
        ok = room.approve(plan, "bob")
        room.configure(TWO_PEOPLE, action_role="postgres")
        assert "it changed since its preview: role" in refusal(lambda: room.execute(plan, ok))
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.FAILED
        assert "the role for actions is a superuser" in done.result

    def test_the_effect_is_not_sought_on_another_server(
        self, room: Room, plan: str, late: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok, identify = room.approve(plan, "bob"), server_of.identify

        def elsewhere(one: Any) -> Any:
            return {**identify(one), "system_identifier": "1"}

        harmless = sessions.SIGNAL.replace("pg_catalog.pg_terminate_backend(f.pid)", "true")

        def change() -> None:
            monkeypatch.setattr(sessions, "SIGNAL", harmless)
            monkeypatch.setattr(server_of, "identify", elsewhere)

        late(change)
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.INDETERMINATE
        assert "another cluster" in done.result

    def test_a_session_that_survives_is_a_failure(
        self, room: Room, plan: str, still: Queue, late: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok = room.approve(plan, "bob")
        harmless = sessions.SIGNAL.replace("pg_catalog.pg_terminate_backend(f.pid)", "true")
        late(lambda: monkeypatch.setattr(sessions, "SIGNAL", harmless))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert f"still there: pid {still.holder}" in done.result

    def test_a_statement_that_nobody_approved(
        self, room: Room, plan: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok = room.approve(plan, "bob")
        monkeypatch.setattr(sessions, "SIGNAL", f"{sessions.SIGNAL} -- another")
        assert "the statement is not the approved one" in refusal(lambda: room.execute(plan, ok))

    def test_another_server(self, room: Room, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ok, identify = room.approve(plan, "bob"), server_of.identify
        for change, words in (
            ({"system_identifier": "1"}, "another cluster"),
            ({"standby": True}, "a failover"),
            ({"started_at": "2026-01-01"}, "was restarted"),
            ({"database": "postgres"}, "another database"),
        ):
            monkeypatch.setattr(server_of, "identify", lambda one, c=change: {**identify(one), **c})
            assert words in refusal(lambda: room.execute(plan, ok))

    def test_the_plan_expired(self, room: Room, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ok = room.approve(plan, "bob")
        monkeypatch.setattr(executor, "now", lambda: now() + timedelta(minutes=11))
        assert "expired" in refusal(lambda: room.execute(plan, ok))

    def test_bytes_of_the_record_were_edited(self, room: Room, plan: str) -> None:
        ok = room.approve(plan, "bob")
        path = room.root / INCIDENT / "incident.jsonl"
        before = path.read_text()
        edited = before.replace("uncommitted work is lost", "nothing is lost")
        assert edited != before
        path.write_text(edited)
        assert "was altered" in refusal(lambda: room.execute(plan, ok))
        # the signature of the request is none of an approval
        lines = [json.loads(one) for one in before.splitlines()]
        asked = next(one for one in lines if one.get("state") == "previewed")
        for signature in (asked["signature"], "", "nonsense"):
            forged = [
                {**one, "signature": signature} if one.get("state") == "approved" else one
                for one in lines
            ]
            path.write_text("".join(json.dumps(one) + "\n" for one in forged))
            assert "the signature of bob is not valid" in refusal(lambda: room.execute(plan, ok))

    @pytest.mark.parametrize("step", ["approve", "execute"])
    def test_an_answer_counts_although_another_run_is_silent_about_its_question(
        self, room: Room, still: Queue, step: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[str, Any] = {
            "question": "What now?",
            "identity": "q",
            "rests_on": "s",
            "recommended": "",
        }
        asked |= {"options": ["terminate it"]}
        plan = room.propose(still.plan, other_run(1), answers=asked)
        names = ("bob",) if step == "execute" else ()
        history = room.approve(plan, *names)

        def do() -> object:
            if step == "execute":
                return room.execute(plan, history)
            return approval.approve(room.ledger, plan, history.digest, room.key("bob"))

        room.propose(still.plan, other_run(2), answers={})
        assert "its question was altered" in refusal(do)
        # the run is silent only after the last look: what people approved still says it
        monkeypatch.setattr(Ledger, "void", lambda *_: "")
        said: dict[str, Any] = {"identity": "q", "choice": "wait", "rests_on": "other"}
        incident.append(room.root, INCIDENT, "decided", by="ann", **said)
        assert "answered with 'wait' by ann" in refusal(do)

    def test_the_notebook_was_edited(self, room: Room, plan: str, still: Queue) -> None:
        ok = room.approve(plan, "bob")
        room.propose(still.plan, other_run(9), risk="None.")
        assert "the plan in the runbook was altered: risk" in refusal(
            lambda: room.execute(plan, ok)
        )
        # the id of another text is none
        room.propose(still.plan, other_run(14), title="Something else", id=plan)
        assert approval.show(room.ledger, plan).proposal.title == still.plan.title
        other = room.propose(still.plan, other_run(10), sql="DROP TABLE orders")
        assert "the SQL that it shows is not the SQL of its targets" in refusal(
            lambda: room.approve(other)
        )
        room.propose(still.plan, other_run(11), arguments={"terminate": [{"pid": "x"}]})
        assert "its targets cannot be read" in refusal(lambda: room.approve(plan))
        room.configure(TWO_PEOPLE, TWO_PEOPLE.replace("terminate_sessions", "cancel_queries"))
        room.propose(still.plan, other_run(12), action="cancel_queries")
        assert "would terminate sessions" in refusal(lambda: room.approve(plan))
        room.propose(still.plan, other_run(13), state="not chosen")
        assert "“not chosen”" in refusal(lambda: room.approve(plan))

    def test_a_stranger_and_a_removed_approver(self, room: Room, plan: str) -> None:
        asked = approval.request(room.ledger, plan, room.key("ann"))
        why = refusal(lambda: approval.approve(room.ledger, plan, asked.digest, room.key("eve")))
        assert "does not belong to exactly one approver" in why
        ok = approval.approve(room.ledger, plan, asked.digest, room.key("bob"))
        room.approvers.write_text(room.approvers.read_text().splitlines()[0] + "\n")
        assert "the signature of bob is not valid" in refusal(lambda: room.execute(plan, ok))

    def test_without_a_rule_or_a_role(self, room: Room, plan: str) -> None:
        room.configure('action = "cancel_queries"\n')
        assert "no rule allows terminate_sessions" in refusal(lambda: room.approve(plan))
        room.configure(TWO_PEOPLE + 'severities = ["P3"]\n')
        assert "severity P1" in refusal(lambda: room.approve(plan))
        room.configure(TWO_PEOPLE, action_role="")
        with pytest.raises(ConfigError, match="no role for actions is configured"):
            room.approve(plan)

    def test_too_many_targets(self, room: Room, still: Queue) -> None:
        rows = [
            {"pid": one.pid, "backend_start": one.backend_start}
            for one in still.diagnosis.situation.clients
            if one.pid in {still.holder, *still.waiters}
        ]
        plan = actions.terminate_sessions("orders", pd.DataFrame(rows))
        three = room.propose(plan, other_run(5))
        assert "the policy allows 1 target, and these are 3" in refusal(lambda: room.approve(three))

    def test_too_soon(self, room: Room, plan: str) -> None:
        room.configure(f"{TWO_PEOPLE}cool_down_s = 60.0\n")
        ok = room.approve(plan, "bob")
        _executed_elsewhere(room, ok)
        assert "the same action was executed on this connection: wait" in refusal(
            lambda: room.execute(plan, ok)
        )

    def test_a_damaged_record(self, room: Room, plan: str) -> None:
        """The damaged line may have been the intent of an execution."""
        ok = room.approve(plan, "bob")
        with (room.root / INCIDENT / "incident.jsonl").open("a") as record:
            record.write('{"kind": "action", "state": "executing"\n')
        for step in (
            lambda: room.execute(plan, ok),
            lambda: approval.reject(room.ledger, plan, "no"),
        ):
            assert "is damaged: line 4" in refusal(step)

    def test_an_approval_in_the_record_of_another_incident(self, room: Room, plan: str) -> None:
        ok = room.approve(plan, "bob")
        other = INCIDENT[:-1] + "b"
        (room.root / other).mkdir()
        record = room.root / INCIDENT / "incident.jsonl"
        (room.root / other / "incident.jsonl").write_bytes(record.read_bytes())
        approval.reject(room.ledger, plan, "no")
        assert "rejected (no)" in refusal(lambda: room.execute(plan, ok))
        for copied in incident.look(room.root, other).actions:
            assert copied.state(now()) is ActionState.APPROVED  # but it counts in no incident

    def test_a_forged_approval_does_not_block(self, room: Room, plan: str) -> None:
        asked = room.approve(plan)
        said: dict[str, Any] = {"plan": plan, "title": "x", "digest": asked.digest}
        forged = {**said, "state": ActionState.APPROVED, "key": "k", "signature": "s"}
        incident.append(*(room.root, INCIDENT, "action"), by="bob", **forged)
        assert "is not valid" in refusal(lambda: room.execute(plan, asked))
        again = room.approve(plan, "bob")
        assert (again.digest != asked.digest, again.recorded) == (True, ActionState.APPROVED)

    def test_more_targets_than_the_policy_allows_now(
        self, room: Room, still: Queue, server: Servers
    ) -> None:
        three = f"{TWO_PEOPLE}most_targets = 3\n"
        room.configure(three)
        pids = [still.holder, *still.waiters]
        plan = room.propose(ending(server, pids), other_run(5))
        ok = room.approve(plan, "bob")
        room.configure(TWO_PEOPLE)
        assert "the policy changed" in refusal(lambda: room.execute(plan, ok))
        room.configure(three)
        assert room.approve(plan).digest == ok.digest

    def test_rejected(self, room: Room, plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
        ok = room.approve(plan, "bob")
        approval.reject(room.ledger, plan, "it is nearly done")
        assert "rejected (it is nearly done)" in refusal(lambda: room.execute(plan, ok))
        assert "it is rejected" in refusal(lambda: approval.reject(room.ledger, plan, "again"))
        assert "must propose it again" in refusal(lambda: room.approve(plan))
        # nobody gets a new preview without asking for one
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
        assert refusal(lambda: acting._asked(room.ledger, plan, "Execute?")) == "it is rejected"

    def test_the_name_of_the_person_is_that_of_the_account(
        self, room: Room, plan: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOGNAME", "bob")
        room.approve(plan, "bob")
        rejected = approval.reject(room.ledger, plan, "no")
        assert rejected.lines[-1].by == pwd.getpwuid(os.geteuid()).pw_name


class TestCommits:
    def test_a_commit_that_waits_for_a_standby_is_not_cancelled(
        self, room: Room, alone: Servers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Neither by the preview, nor if it begins to wait only after the preview."""
        rule = TWO_PEOPLE.replace("terminate_sessions", "cancel_queries")
        room.configure(rule)
        with alone.access.connect("postgres") as raw:

            def configured(names: bytes) -> None:
                raw.execute(b"ALTER SYSTEM SET synchronous_standby_names = " + names)
                raw.execute(b"SELECT pg_reload_conf()")

            def waits() -> bool:
                found = raw.execute(
                    b"SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid]
                ).fetchall()
                return [one[0] for one in found] == ["SyncRep"]

            configured(b"'nobody'")
            try:
                until(
                    lambda: (
                        raw.execute(b"SHOW synchronous_standby_names").fetchall()[0][0] == "nobody"
                    )
                )
                pid = alone.send("writer", ROW)
                until(waits)
                frame = ending_frame(alone, [pid])
                plan = room.propose(actions.cancel_queries("orders", frame), other_run(4))
                assert "its commit waits for a standby" in refusal(lambda: room.approve(plan))
                monkeypatch.setattr(remedy, "forbidden", lambda _: "")
                done = room.execute(plan, room.approve(plan, "bob"))
                assert done.recorded is ActionState.FAILED
                assert "nothing was signalled" in done.result
                assert waits()
            finally:
                configured(b"''")


@pytest.mark.slow
def test_a_real_failover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standby is promoted: as the server of its own connection, and in the primary's place."""
    with servers(tmp_path / "home") as made:
        made.add_standby()
        names: tuple[Server, ...] = ("primary", "standby")
        known = {}
        for name in names:
            session = made.access.connect("shop_app", name)
            made.sessions.append(session)
            (tmp_path / name).mkdir()
            room = made_room(tmp_path / name, made, monkeypatch, database=name)
            plan = room.propose(ending(made, [session.info.backend_pid], name), other_run(1))
            known[name] = room, plan, room.approve(plan, "bob")
        processes.stop_server(made.access.home, "primary")
        with made.access.connect("postgres", "standby") as raw:
            raw.execute(b"SELECT pg_promote()")
        was_primary = known["primary"][0]
        was_primary.database = "standby"  # as an address that moves to the new primary
        was_primary.configure(*was_primary.rules)
        words = {"standby": "a failover", "primary": "leads to another server"}
        for name, (room, plan, ok) in known.items():
            monkeypatch.setenv("RBKERNEL_CONFIG", str(room.file))
            why = refusal(lambda room=room, plan=plan, ok=ok: room.execute(plan, ok))  # type: ignore[misc]  # bound now
            assert words[name] in why
            assert ok.facts["server"]["standby"] is (name == "standby")
        survivor = made.sessions[names.index("standby")]
        assert survivor.execute(b"SELECT 1").fetchone() == (1,)
        for session in made.sessions:
            session.close()


def _executed_elsewhere(room: Room, ok: ActionHistory) -> None:
    """The same action on the same connection, in another incident, a moment ago."""
    other = INCIDENT[:-1] + "b"
    text = ok.document.replace(INCIDENT, other)  # a line counts only where its document says
    said: dict[str, Any] = {"plan": "p", "title": "x", "digest": document.digest(text)}
    for state in (ActionState.PREVIEWED, ActionState.APPROVED, ActionState.EXECUTING):
        incident.append(
            *(room.root, other, "action"),
            by="bob",
            **said,
            state=state,
            document=text,
            key="k",
            until=now(),
        )


class TestOnce:
    def test_of_two_at_once_one_executes(
        self, room: Room, plan: str, locks: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ok = room.approve(plan, "bob")
        sent: list[int] = []
        send = server_of.send

        def counted(raw: Any, statement: str, *given: Any) -> Any:
            sent.extend([1] * (statement == sessions.SIGNAL))
            return send(raw, statement, *given)

        monkeypatch.setattr(server_of, "send", counted)
        ready, begin = Barrier(4), executor._begin

        def together(*given: Any) -> Any:
            ready.wait(20)
            return begin(*given)

        monkeypatch.setattr(executor, "_begin", together)

        def one(_: int) -> ActionHistory | str:
            try:
                return executor.execute(room.ledger, plan, ok.digest)
            except ActionRefused as error:
                return error.what

        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(one, range(4)))
        assert len(sent) == 1
        assert sum(isinstance(one, ActionHistory) for one in told) == 1
        assert all("it is executing" in one for one in told if isinstance(one, str))


class TestOutcome:
    def test_an_effect_that_cannot_be_seen_is_indeterminate(self) -> None:
        def fail(what: str) -> Any:
            raise DatabaseError(what)

        seen = Outcome(state=ActionState.VERIFIED, result="1 of 1 done")
        assert carried_out(dict, lambda _: fail("down")).state is ActionState.INDETERMINATE
        assert carried_out(lambda: fail("lost"), lambda _: seen).state is ActionState.INDETERMINATE
        assert carried_out(lambda: fail("lost"), lambda _: seen).result == "lost; 1 of 1 done"
        # a statement without an answer may still be on its way
        none = Outcome(state=ActionState.FAILED, result="still there: pid 7")
        assert carried_out(lambda: fail("lost"), lambda _: none).state is ActionState.INDETERMINATE


_KILLED = """
import os, signal, sys
from rbkernel.execution import approval, executor, server, sessions
from rbkernel.execution.ledger import Ledger
from rbkernel.redact import Redactor
from rbkernel import config

def killed(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def then(module, name):
    was = getattr(module, name)
    setattr(module, name, lambda *given: (was(*given), killed()))

plan, digest, point = sys.argv[1:]
if point == "before the intent":
    executor._begin = killed
elif point == "after the intent":
    then(executor, "_begin")
elif point == "after the signal":
    send = server.send

    def signalled(raw, statement, *given):
        rows = send(raw, statement, *given)
        if statement == sessions.SIGNAL:
            killed()
        return rows

    server.send = signalled
executor.execute(Ledger(config.load(), Redactor()), plan, digest)
"""


class TestKilled:
    @pytest.mark.parametrize(
        ("point", "begun", "ended"),
        [
            pytest.param("before the intent", False, False, marks=pytest.mark.soak),
            ("after the intent", True, False),
            pytest.param("after the signal", True, True, marks=pytest.mark.soak),
        ],
    )
    def test_it_is_never_executed_again(
        self,
        room: Room,
        plan: str,
        locks: Queue,
        alone: Servers,
        point: str,
        begun: bool,
        ended: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ok = room.approve(plan, "bob")
        command = [sys.executable, "-c", _KILLED, plan, ok.digest, point]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        until(lambda: lives(alone, locks.holder) is not ended)
        if not begun:
            assert room.execute(plan, ok).recorded is ActionState.VERIFIED
            return
        with pytest.raises(ActionRefused):
            room.execute(plan, ok)
        [history] = incident.look(room.root, INCIDENT).actions
        assert history.state(now()) is ActionState.EXECUTING
        later = now() + timedelta(minutes=5)
        assert history.state(later) is ActionState.INDETERMINATE
        monkeypatch.setattr(executor, "now", lambda: later)
        with pytest.raises(ActionRefused) as caught:
            room.execute(plan, ok)
        assert ended or "nothing is tried again" in caught.value.what
        assert lives(alone, locks.holder) is not ended


def told(*arguments: str, code: int = 0) -> Any:
    done = run_command(*arguments)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr


def test_from_a_headless_run_to_its_end_by_commands(
    room: Room, locks: Queue, alone: Servers
) -> None:
    run = ("run", "RUN-007", "-p", "db=orders", "--incident", INCIDENT)
    assert told(*run, "--json", code=1)["verdict"] == "warning"
    [plan] = [one for one in told("action", "list", "--json") if one["action"]]
    assert (plan["action"], plan["state"]) == ("terminate_sessions", "proposed")
    shown = told("action", "show", plan["plan"])
    assert f"terminate pid {locks.holder} refund-job (shop_app): idle in transaction" in shown
    assert "uncommitted work is lost" in shown
    keys = {name: str(room.key(name)) for name in ("ann", "bob")}
    asked = told("action", "request", plan["plan"], "--key", keys["ann"], "--json")
    seen = (plan["plan"], "--digest", asked["digest"][:16])
    assert "ann asked" in told("action", "approve", *seen, "--key", keys["ann"], code=3)
    assert "nobody can be asked here" in told("action", "approve", plan["plan"], code=3)
    told("action", "approve", *seen, "--key", keys["bob"])
    assert "approved" in told("action", "list")
    done = told("action", "execute", *seen)
    assert "verified: 1 of 1 done, 2 of 2 sessions no longer wait" in done
    assert not lives(alone, locks.holder)
    assert "it is executed once" in told("action", "execute", *seen, code=3)
    alone.end_sessions()
    assert told("why", "orders").startswith("OK no cause found")
    listed = told("incident", "show", INCIDENT)
    assert "Terminate 1 session: verified; approved by bob; 1 of 1 done" in listed


@pytest.mark.usefixtures("each_start")
def test_a_kernel_does_not_get_the_password(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    text = room.file.read_text()
    place = text.index("passfile", text.index(".action]"))
    without = text[:place] + 'password_env = "OF_ACTIONS"\n' + text[text.index("[actions]") :]
    room.file.write_text(without)
    monkeypatch.setenv("OF_ACTIONS", "s3cret")
    with kernel() as started:
        look = "import os; print(os.environ.get('OF_ACTIONS'), os.environ['RBKERNEL_CONFIG'])"
        assert started.run(look).text.startswith("None /")
        whole = "print(b'OF_ACTIONS' in open('/proc/self/environ', 'rb').read())"
        assert started.run(whole).text == "False\n"
