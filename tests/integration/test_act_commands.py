"""Approved commands as real processes: exactly what was approved, once, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rbkernel import actions
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import approval, document, executor, undo, wording
from rbkernel.execution.configured import commands, process
from rbkernel.execution.ledger import Ledger, now
from rbkernel.model import ActionPlan
from rbkernel.redact import Redactor
from tests.support.approvals import refusal
from tests.support.command_room import CommandRoom, command_room
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.waiting import until

RESTART = """
[actions.commands.restart]
argv = ["HERE/restart", "now", "{service}"]
dry_run = ["HERE/restart", "dry", "{service}"]
verify = ["HERE/check", "{service}"]
undo = "stop"
working_directory = "HERE"
environment = ["DEPLOY_TOKEN"]
values = {service = {pattern = "[a-z./;$()`' -]+"}}
timeout_s = 20.0

[actions.commands.stop]
argv = ["HERE/stop", "{service}"]
verify = "exit code"
working_directory = "HERE"
values = {service = ["shop"]}
"""
ALONE = """
[actions.commands.on]
argv = ["HERE/do", "on"]
verify = "exit code"
working_directory = "HERE"
undo = "off"

[actions.commands.off]
argv = ["HERE/do", "off"]
verify = "exit code"
working_directory = "HERE"
undo = "on"

[actions.commands.clear]
argv = ["HERE/do", "clear"]
verify = "exit code"
working_directory = "HERE"
"""
PROGRAM = """\
if [ "$1" = dry ]; then echo "would restart $2"; exit; fi
echo "$2" >> runs
echo "restarted $2 with $DEPLOY_TOKEN and ${HIDDEN:-no more}"
"""
CANARY = "canary-9f8e7d6c5b4a"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandRoom:
    monkeypatch.setenv("DEPLOY_TOKEN", CANARY)
    monkeypatch.setenv("HIDDEN", "seen")
    made = command_room(tmp_path, monkeypatch)
    made.script("restart", PROGRAM)
    made.script("check", 'grep -qx "$1" runs')
    made.script("stop", 'rm runs && echo "stopped $1"')
    made.allow(RESTART, "run:restart", "run:stop")
    return made


def restart(room: CommandRoom, number: int = 1, service: str = "shop", **changed: Any) -> str:
    return room.propose(actions.run("restart", service=service), other_run(number), **changed)


class TestLifecycle:
    def test_two_people_restart_a_service(self, room: CommandRoom) -> None:
        plan = restart(room)
        asked = approval.request(room.ledger, plan, room.key("ann"))
        facts = asked.facts
        assert facts["statement"] == f"cd {room.folder} && {room.folder}/restart now shop"
        assert facts["values"][0]["argv"] == [f"{room.folder}/restart", "now", "shop"]
        assert facts["foretold"]["dry_run"] == ["would restart shop"]
        assert facts["server"]["folder"] == str(room.folder)
        assert room.read("runs") == ""
        assert "0 of 1 approvals" in refusal(lambda: room.execute(plan, asked))
        ok = approval.approve(room.ledger, plan, asked.digest, room.key("bob"))
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.VERIFIED
        assert done.result == f"exit code 0; `{room.folder}/check shop` succeeds"
        assert room.read("runs") == "shop\n"
        assert "it is executed once" in refusal(lambda: room.execute(plan, ok))
        assert room.read("runs") == "shop\n"
        [line] = done.output
        assert line.startswith("restarted shop with [redacted:")
        assert line.endswith("and no more")
        assert CANARY not in room.record

    def test_it_is_shown_in_full(self, room: CommandRoom) -> None:
        plan = restart(room)
        text = "\n".join(wording.shown_lines(approval.show(room.ledger, plan), now()))
        assert f"target    cd {room.folder} && {room.folder}/restart now shop" in text
        assert "dry run   would restart shop" in text
        assert "check shop` succeeds" in text
        assert f"undo      cd {room.folder} && {room.folder}/stop shop" in text
        assert f"programs  {room.folder}/restart, SHA-256 " in text
        room.execute(plan, room.approve(plan, "bob"))
        text = "\n".join(wording.shown_lines(approval.show(room.ledger, plan), now()))
        assert "state     verified: exit code 0" in text
        assert "output    restarted shop with [redacted:" in text

    def test_it_is_undone_by_an_action_of_its_own(self, room: CommandRoom) -> None:
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        inverse = undo.find(room.root, plan).plan
        asked = room.approve(inverse)
        assert asked.facts["undoes"] == done.digest
        assert asked.facts["statement"] == f"cd {room.folder} && {room.folder}/stop shop"
        assert "0 of 1 approvals" in refusal(lambda: room.execute(inverse, asked))
        back = room.execute(inverse, room.approve(inverse, "bob"))
        assert back.recorded is ActionState.VERIFIED
        assert room.read("runs") == ""
        states = {one.digest: one.recorded for one in incident.look(room.root, INCIDENT).actions}
        assert states[done.digest] is ActionState.UNDONE
        assert "what it undoes is undone" in refusal(lambda: room.approve(inverse))

    def test_an_undo_follows_the_rules_and_the_order(self, room: CommandRoom) -> None:
        plan, later = restart(room), restart(room, 2, title="Restart it again")
        room.execute(plan, room.approve(plan, "bob"))
        inverse = undo.find(room.root, plan).plan
        other = restart(room, 3, service="cart")
        room.execute(other, room.approve(other, "bob"))
        ok = room.approve(inverse, "bob")
        room.execute(later, room.approve(later, "bob"))
        assert "undo first what changed the same later" in refusal(
            lambda: room.execute(inverse, ok)
        )
        last = undo.find(room.root, later).plan
        room.allow(RESTART, "run:restart")
        assert "no rule allows run:stop" in refusal(lambda: room.approve(last))
        room.allow(RESTART.replace('"HERE/stop", "{s', '"HERE/stop", "-f", "{s'), "run:stop")
        assert "it was proposed as" in refusal(lambda: room.approve(last))
        # service cart is not allowed in the inverse
        with pytest.raises(ActionRefused, match="it cannot be undone"):
            undo.find(room.root, other)

    def test_what_only_has_no_values_is_not_the_same(self, room: CommandRoom) -> None:
        """A cache that is cleared later is in nobody's way; a time-out is told, and blocks not."""
        room.script("do", 'echo "$1" >> runs')
        room.allow(ALONE, *(f"run:{name}" for name in ("on", "off", "clear")))
        on = room.propose(actions.run("on"), other_run(1))
        room.execute(on, room.approve(on, "bob"))
        clear = room.propose(actions.run("clear"), other_run(2))
        room.execute(clear, room.approve(clear, "bob"))
        inverse = undo.find(room.root, on)
        assert inverse.risk == ""
        ok = room.approve(inverse.plan, "bob")
        room.script("do", 'echo "$1" >> runs; kill -9 $$')
        off = room.propose(actions.run("off"), other_run(3))
        lost = room.execute(off, room.approve(off, "bob"))
        assert lost.recorded is ActionState.INDETERMINATE
        room.script("do", 'echo "$1" >> runs')
        assert "altered: risk" in refusal(lambda: room.execute(inverse.plan, ok))
        asked = room.approve(inverse.plan, "bob")
        assert f"have no undo: Run off (plan {off}, indeterminate)" in asked.facts["risk"]
        assert room.execute(inverse.plan, asked).recorded is ActionState.VERIFIED
        assert room.read("runs").split() == ["on", "clear", "off", "off"]

    def test_what_failed_after_it_was_run_counts_and_can_be_undone(self, room: CommandRoom) -> None:
        room.allow(ALONE, *(f"run:{name}" for name in ("on", "off")))
        room.script("do", 'echo "$1" >> runs')
        on = room.propose(actions.run("on"), other_run(1))
        room.execute(on, room.approve(on, "bob"))
        first = undo.find(room.root, on).plan
        room.script("do", 'echo "$1" >> runs; exit 3')
        off = room.propose(actions.run("off"), other_run(2))
        failed = room.execute(off, room.approve(off, "bob"))
        assert failed.recorded is ActionState.FAILED
        assert "undo first what changed the same later: Run off" in refusal(
            lambda: room.approve(first)
        )
        room.script("do", 'echo "$1" >> runs')
        back = undo.find(room.root, off).plan
        assert room.execute(back, room.approve(back, "bob")).recorded is ActionState.VERIFIED
        states = {one.digest: one.recorded for one in incident.look(room.root, INCIDENT).actions}
        assert states[failed.digest] is ActionState.UNDONE
        assert room.execute(first, room.approve(first, "bob")).recorded is ActionState.VERIFIED

    def test_what_was_not_run_has_no_undo(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = restart(room)
        begun = executor.begin(room.ledger, plan, room.approve(plan, "bob").digest)
        late = dataclasses.replace(begun, until=now() - timedelta(seconds=1))
        assert executor.carry_out(room.ledger, late).recorded is ActionState.FAILED
        with pytest.raises(ActionRefused, match="it is failed, and not verified"):
            undo.find(room.root, plan)

    def test_without_a_rule(self, room: CommandRoom) -> None:
        room.allow(RESTART, "run:stop")
        plan = restart(room)
        assert "no rule allows run:restart" in refusal(lambda: room.approve(plan))


class TestFailed:
    @pytest.mark.parametrize(
        ("program", "result"),
        [
            ("echo one; echo two >&2; exit 3", "exit code 3: two"),
            ("exit 0", "did not succeed within 0.2 s: exit code 1"),
            ("kill -9 $$", "ended by SIGKILL; it may have done a part of its work"),
        ],
    )
    def test_what_it_says(self, room: CommandRoom, program: str, result: str) -> None:
        room.script("restart", f'if [ "$1" = dry ]; then exit; fi\n{program}')
        room.script("check", 'test -e runs && grep -qx "$1" runs')
        room.allow(RESTART, "run:restart", watch_s=0.2)
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        interrupted = "SIGKILL" in result
        assert done.recorded is (ActionState.INDETERMINATE if interrupted else ActionState.FAILED)
        assert result in done.result

    @pytest.mark.parametrize(
        ("check", "state"),
        [
            ("exec sleep 300", ActionState.INDETERMINATE),
            ("kill -9 $$", ActionState.INDETERMINATE),
            ("exit 1", ActionState.FAILED),
            ("sleep 1.3", ActionState.VERIFIED),
        ],
    )
    def test_a_check_without_an_answer_is_no_failure(
        self, room: CommandRoom, check: str, state: ActionState
    ) -> None:
        """A look that waits for the effect gets its own time-out, also beyond `watch_s`."""
        room.script("check", check)
        text = RESTART.replace("timeout_s = 20.0", "timeout_s = 3.0")
        room.allow(text, "run:restart", watch_s=0.2)
        plan = restart(room)
        assert room.execute(plan, room.approve(plan, "bob")).recorded is state

    def test_a_failure_with_the_effect_must_be_looked_at(self, room: CommandRoom) -> None:
        room.script("restart", 'test "$1" = dry || { echo "$2" >> runs; exit 3; }')
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.INDETERMINATE
        assert done.result.startswith("exit code 3; `")
        # now `verify` succeeds before the command: it shows nothing
        again = restart(room, 2)
        asked = room.approve(again, "bob")
        text = "\n".join(wording.shown_lines(approval.show(room.ledger, again), now()))
        assert "`verify` succeeds already" in text
        assert room.execute(again, asked).recorded is ActionState.FAILED
        room.script("restart", 'test "$1" = dry || echo "$2" >> runs')
        third = restart(room, 3)
        done = room.execute(third, room.approve(third, "bob"))
        assert done.recorded is ActionState.VERIFIED
        assert done.result.endswith("succeeds, as it did before the action")

    def test_a_failed_dry_run_refuses(self, room: CommandRoom) -> None:
        room.script("restart", "echo no such service; exit 1")
        plan = restart(room)
        why = refusal(lambda: room.approve(plan))
        assert "its dry run failed: exit code 1: no such service" in why
        assert incident.look(room.root, INCIDENT).actions == ()

    def test_at_its_time_out_the_whole_group_is_killed(self, room: CommandRoom) -> None:
        room.script(
            "restart",
            'if [ "$1" = dry ]; then exit; fi\ntrap "" TERM\n'
            '(trap "" TERM; echo $BASHPID > /dev/null; exec sleep 300) &\necho $! > child\nwait',
        )
        room.allow(RESTART.replace("timeout_s = 20.0", "timeout_s = 0.5"), "run:restart")
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.INDETERMINATE
        assert "stopped at its time-out; it may have done a part of its work" in done.result
        child = int(room.read("child"))
        until(lambda: not _lives(child))
        assert "it is indeterminate" in refusal(lambda: room.execute(plan, done))

    def test_an_output_of_100_mb(self, room: CommandRoom) -> None:
        room.script(
            "restart",
            'if [ "$1" = dry ]; then exit; fi\nyes 0123456789abcde | head -c 100000000\n'
            'echo\necho "$2" >> runs; echo the end',
        )
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.VERIFIED
        assert done.output[-1] == "the end"
        assert len(done.output) == 20
        assert len(room.record) < 100_000

    def test_a_secret_is_not_cut_in_two(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kept part of the output begins in the middle of the secret."""
        monkeypatch.setattr(process, "_KEPT", len(CANARY) // 2 + 1)
        room.script("restart", 'test "$1" = dry || { echo "$2" >> runs; echo "$DEPLOY_TOKEN"; }')
        plan = restart(room)
        room.execute(plan, room.approve(plan, "bob"))
        assert CANARY[-6:] not in room.record

    def test_it_has_a_session_of_its_own_and_no_input(self, room: CommandRoom) -> None:
        room.script(
            "restart",
            'test "$1" = dry || { echo "$2" >> runs; cut -d " " -f 1,6 /proc/$$/stat; cat; }',
        )
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        [line] = done.output
        pid, session = line.split()
        assert pid == session

    def test_a_process_in_the_background_stays(self, room: CommandRoom) -> None:
        room.script(
            "restart",
            'if [ "$1" = dry ]; then exit; fi\n'
            'sleep 300 > /dev/null 2>&1 &\necho $! > child\necho "$2" >> runs',
        )
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.VERIFIED
        child = int(room.read("child"))
        assert _lives(child)
        os.kill(child, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


OTHERWISE = [
    ("timeout_s = 20.0", "timeout_s = 21.0", "its configuration changed"),
    ('"HERE/restart", "now"', '"HERE/restart", "later"', "it was proposed as"),
    ('verify = ["HERE/check", "{service}"]', 'verify = "exit code"', "its configuration"),
    ('environment = ["DEPLOY_TOKEN"]', "", "its configuration changed"),
    ('environment = ["DEPLOY_TOKEN"]', 'environment = ["NO_SUCH"]', "is not set here"),
    ('undo = "stop"', "", "its configuration changed"),
    ('pattern = "[a-z./;$()`\' -]+"', 'pattern = "cart"', "does not match the pattern"),
]


class TestChanged:
    """What changes after the preview or the approval: nothing is run, and the reason is told."""

    @pytest.fixture
    def both(self, room: CommandRoom) -> Callable[[], tuple[str, str]]:
        """An approved plan, and one that is only previewed; later, why neither goes on."""
        plan, other = restart(room), restart(room, 2, title="Restart it")
        ok, asked = room.approve(plan, "bob"), room.approve(other)

        def why() -> tuple[str, str]:
            return (
                refusal(lambda: room.execute(plan, ok)),
                refusal(
                    lambda: approval.approve(room.ledger, other, asked.digest, room.key("bob"))
                ),
            )

        return why

    def test_the_program(self, room: CommandRoom, both: Any) -> None:
        room.script("restart", f"{PROGRAM}# another line")
        assert all("the program" in why and "changed since the preview" in why for why in both())
        (room.folder / "restart").unlink()
        assert all("there is no program" in why for why in both())
        assert room.read("runs") == ""

    def test_the_program_that_verifies(self, room: CommandRoom, both: Any) -> None:
        room.script("check", "exit 0")
        assert all("check changed since the preview" in why for why in both())

    def test_the_configuration(self, room: CommandRoom, both: Any) -> None:
        for old, new, words in OTHERWISE:
            assert old in RESTART
            room.allow(RESTART.replace(old, new), "run:restart", "run:stop")
            for why in both():
                assert words in why, (old, new)
        room.allow(RESTART.replace("restart]", "other]"), "run:stop")
        assert all("no rule allows run:restart" in why for why in both())
        assert room.read("runs") == ""

    def test_the_host_and_the_user(
        self, both: Any, monkeypatch: pytest.MonkeyPatch, room: CommandRoom
    ) -> None:
        monkeypatch.setattr(commands, "here", lambda: {"host": "other", "user": "root"})
        assert all("on another host, as another user" in why for why in both())

    def test_the_value_of_a_variable(
        self, room: CommandRoom, both: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The shell of the person who asks, and the service that executes, may be two worlds."""
        monkeypatch.setenv("DEPLOY_TOKEN", "canary-of-production")
        assert all("a variable of `environment` has another value here" in why for why in both())
        assert room.read("runs") == ""
        assert CANARY not in room.record

    def test_in_the_last_moment(self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch) -> None:
        plan = restart(room)
        ok, begin = room.approve(plan, "bob"), executor._begin

        def late(*given: Any) -> Any:
            begun = begin(*given)
            room.script("restart", "echo evil > runs")
            return begun

        monkeypatch.setattr(executor, "_begin", late)
        done = room.execute(plan, ok)
        assert done.recorded is ActionState.FAILED
        assert "a program changed in the last moment: nothing was run" in done.result
        assert room.read("runs") == ""

    def test_the_configuration_in_the_last_moment(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = restart(room)
        ok = room.approve(plan, "bob")
        ledger = Ledger(room.settings, Redactor(), read=lambda: room.settings)
        void = Ledger.void

        def late(*given: Any) -> str:
            said = void(*given)
            room.allow(RESTART.replace("20.0", "21.0"), "run:restart")
            return said

        monkeypatch.setattr(Ledger, "void", late)
        assert "changed in this moment" in refusal(
            lambda: executor.execute(ledger, plan, ok.digest)
        )
        assert room.read("runs") == ""

    def test_a_process_that_was_stopped_runs_nothing_later(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = restart(room)
        ok = room.approve(plan, "bob")
        begun = executor.begin(room.ledger, plan, ok.digest)
        late = dataclasses.replace(begun, until=now() - timedelta(seconds=1))
        done = executor.carry_out(room.ledger, late)
        assert "it was too late: nothing was run" in done.result
        assert room.read("runs") == ""

    def test_the_document_and_the_time(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = restart(room)
        ok = room.approve(plan, "bob")
        record = room.root / INCIDENT / "incident.jsonl"
        whole = record.read_text()
        record.write_text(whole.replace("restart now shop", "restart now cart"))
        assert "altered" in refusal(lambda: room.execute(plan, ok))
        record.write_text(whole)
        later = now() + timedelta(hours=1)
        monkeypatch.setattr("rbkernel.execution.executor.now", lambda: later)
        assert "expired" in refusal(lambda: room.execute(plan, ok))
        assert room.read("runs") == ""

    def test_a_dry_run_is_repeated_if_this_is_configured(self, room: CommandRoom) -> None:
        room.script("restart", f'echo "$1" >> looks\ncat state\n{PROGRAM}')
        (room.folder / "state").write_text("3 pods\n")
        plan = restart(room)
        room.execute(plan, room.approve(plan, "bob"))
        assert room.read("looks").split() == ["dry", "now"]
        room.allow(RESTART.replace("timeout_s", "recheck = true\ntimeout_s"), "run:restart")
        again = restart(room, 3, title="Again")
        ok = room.approve(again, "bob")
        (room.folder / "state").write_text("0 pods\n")
        assert "its dry run prints something else" in refusal(lambda: room.execute(again, ok))


FORGED: list[tuple[dict[str, Any], str]] = [
    ({"command": "true"}, "it was proposed as 'true', and here restart is"),
    ({"arguments": {"name": "restart", "values": {"service": "cart"}}}, "was proposed as"),
    ({"arguments": {}}, "the value service is missing"),
    ({"arguments": {"values": "x"}}, "the value service is missing"),
    ({"action": "run:stop"}, "it was proposed as"),
    ({"action": "run:reboot"}, "no rule allows run:reboot"),
    ({"action": "run"}, "no rule allows run"),
    ({"action": "run:restart:x"}, "no rule allows run:restart:x"),
    ({"sql": "SELECT 1"}, "it was proposed as"),
]


class TestHostile:
    def test_what_a_shell_would_read_is_one_argument(self, room: CommandRoom) -> None:
        values = ["; touch evil", "$(touch evil)", "`touch evil`", "a' b", "../../etc", "a b"]
        for number, value in enumerate(values):
            plan = restart(room, number, service=value)
            done = room.execute(plan, room.approve(plan, "bob"))
            assert done.recorded is ActionState.VERIFIED
        assert room.read("runs").splitlines() == values
        assert not (room.folder / "evil").exists()

    def test_a_kernel_that_forges_a_value(self, room: CommandRoom) -> None:
        good = actions.run("restart", service="shop")
        values = ["-rf", "a\nb", "a\0b", "sh\u043ep", "x" * 201, "UPPER", None, 3, {"a": 1}]
        for number, value in enumerate(values):
            arguments = {"name": "restart", "values": {"service": value}}
            forged = dataclasses.replace(good, arguments=arguments)
            plan = room.propose(forged, other_run(number), title=f"Restart {number}")
            assert "service" in refusal(partial(room.approve, plan)), value

    def test_a_kernel_that_forges_a_plan(self, room: CommandRoom) -> None:
        good = actions.run("restart", service="shop")
        for number, (changed, words) in enumerate(FORGED):
            fields = {"title": f"Restart {number}", **changed}
            plan = room.propose(good, other_run(number), **fields)
            assert words in refusal(partial(room.approve, plan)), changed
        assert room.read("runs") == ""

    def test_a_kernel_with_a_configuration_of_its_own(
        self, room: CommandRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = tmp_path / "own.toml"
        own.write_text('[actions.commands.evil]\nargv = ["rm", "-rf", "/"]\nverify = "exit code"\n')
        monkeypatch.setenv("RBKERNEL_CONFIG", str(own))
        evil = actions.run("evil")
        monkeypatch.setenv("RBKERNEL_CONFIG", str(room.file))
        plan = room.propose(evil, other_run(1))
        assert "no rule allows run:evil" in refusal(lambda: room.approve(plan))

    def test_a_secret_in_the_text_is_refused(self, room: CommandRoom) -> None:
        room.allow(RESTART.replace('"now"', f'"--token={CANARY}"'), "run:restart", "run:stop")
        plan = restart(room)
        why = refusal(lambda: room.approve(plan))
        assert "what looks like a secret" in why or "no plan" in why

    @pytest.mark.parametrize(
        ("changed", "states", "words"),
        [
            ({"approvers": 0}, {"approved"}, "nobody has approved what it undoes"),
            ({}, set(), "the signature of bob is not valid"),
        ],
    )
    def test_an_undo_of_what_nobody_approved(
        self, room: CommandRoom, changed: dict[str, Any], states: set[str], words: str
    ) -> None:
        """A kernel writes that an action was executed, with a document of its own."""
        plan = restart(room)
        done = room.execute(plan, room.approve(plan, "bob"))
        text = document.canonical({**done.facts, **changed, "title": "Turn the flag"})
        record = room.root / INCIDENT / "incident.jsonl"
        with record.open("a") as file:
            for one in done.lines:
                if one.text("state") in states:
                    continue
                said = {**one.data, "digest": document.digest(text)}
                said |= {"document": text} if "document" in said else {}
                file.write(
                    json.dumps({"kind": "action", "at": one.at, "by": one.by, **said}) + "\n"
                )
        [forged] = [one for one in undo.proposals(room.root) if one.title == "Undo: Turn the flag"]
        assert words in refusal(lambda: room.approve(forged.plan))

    def test_what_is_to_copy_is_never_executed(self, room: CommandRoom) -> None:
        plan: ActionPlan = actions.run("other", service="shop", otherwise="touch {service}")
        known = room.propose(plan, other_run(1))
        assert "are not executed by rbkernel" in refusal(lambda: room.approve(known))


class TestOnce:
    def test_an_executor_that_is_killed(self, room: CommandRoom) -> None:
        room.script(
            "restart",
            'if [ "$1" = dry ]; then exit; fi\necho "$2" >> runs\necho $$ > pid\nexec sleep 300',
        )
        plan = restart(room)
        ok = room.approve(plan, "bob")
        command = [sys.executable, "-m", "rbkernel", "action", "execute", plan]
        with subprocess.Popen([*command, "--digest", ok.digest]) as process_:
            until(lambda: room.read("pid").endswith("\n"))
            process_.kill()
        try:
            assert "it is executing" in refusal(lambda: room.execute(plan, ok))
            [history] = incident.look(room.root, INCIDENT).actions
            later = now() + timedelta(hours=1)
            assert history.state(later) is ActionState.INDETERMINATE
            assert room.read("runs") == "shop\n"
        finally:
            os.kill(int(room.read("pid")), signal.SIGKILL)

    def test_a_person_who_interrupts_stops_the_command(
        self, room: CommandRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room.script(
            "restart", 'test "$1" = dry || { echo $$ > pid; echo "$2" >> runs; exec sleep 300; }'
        )
        plan = restart(room)
        ok = room.approve(plan, "bob")

        def interrupted(*_: object) -> None:
            until(lambda: room.read("pid").endswith("\n"))
            raise KeyboardInterrupt

        wait = subprocess.Popen.wait
        monkeypatch.setattr(
            subprocess.Popen,
            "wait",
            lambda self, timeout=None: interrupted() if timeout == 20.0 else wait(self, timeout),
        )
        with pytest.raises(KeyboardInterrupt):
            room.execute(plan, ok)
        until(lambda: not _lives(int(room.read("pid"))))
        with pytest.raises(ActionRefused):
            room.execute(plan, ok)
