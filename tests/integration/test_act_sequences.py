"""Generated sequences of steps on real actions: nothing is executed that people did not approve.

Real are the record, the codes of the proxy that names the people, the servers and the programs. The
clock is the one that goes wrong on purpose. What must hold is told from a log of the steps, and
not from the record.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rbkernel import actions
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.evidence.incident import text as incident_text
from rbkernel.execution import approval, executor, ledger
from rbkernel.execution.named_person import Person
from rbkernel.model import ActionPlan
from tests.integration.test_act import ending
from tests.integration.test_act_killed import FLAG, RESTART, Asked
from tests.integration.test_act_rows import COUNTS, TABLE, flagged, frame, run, table
from tests.support.approvals import Room, go_on, lives, made_room
from tests.support.command_room import command_room, flags
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.login_proxy import PEER, SECRET
from tests.support.servers import Servers
from tests.support.waiting import until
from tests.unit.test_page_forms import SECRET as LINKS

__all__ = ["table"]
# sequences of each kind: 10,000 in all
NUMBERS = {"rows": 2_000, "sessions": 1_000, "commands": 3_500, "requests": 3_500}
GROUPS = 20
PROXY = f'[pages.proxy]\naddresses = ["{PEER}"]\nsecret_env = "PROXY"\n'
RULE = """
action = "{}"
approvers = {}
identities = ["proxy"]
approve_within_min = 30.0
execute_within_min = 10.0
watch_s = 0.05
"""


@dataclass
class Target:
    """What an action changes: somebody else changes it, too, and each execution is counted."""

    plan: ActionPlan
    change: Callable[[], None]
    count: Callable[[], int]


@dataclass
class Seen:
    """What really happened to one preview."""

    asked_by: str
    at: datetime
    place: int
    approvers: int
    approvals: dict[str, datetime] = field(default_factory=dict)
    over: bool = False


@dataclass
class Play:
    """People, a kernel that lies, and an executor, which take steps in any order."""

    room: Room
    rule: str
    stage: Callable[[int], Target]
    sequence: int
    pick: random.Random
    patch: pytest.MonkeyPatch
    told: Counter[str]
    now: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=12))
    approvers: int = 2
    number: int = 0
    runs: int = 0
    changed: int = 0
    plan: str = ""
    seen: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for module in (ledger, approval, executor):
            self.patch.setattr(module, "now", lambda: self.now)
        self.patch.setattr(incident_text, "now", lambda: self.now.isoformat())
        self.configure(self.approvers)
        self.target = self.stage(self.sequence)
        incident.append(self.room.root, INCIDENT, "opened", by="root", title="x", severity="P1")
        self.propose()

    def configure(self, approvers: int) -> None:
        self.approvers = approvers
        self.room.configure(RULE.format(self.rule, approvers))
        text = self.room.file.read_text()
        self.room.file.write_text(text.replace("[queue]", f"{PROXY}[queue]"))

    def propose(self, **changed: Any) -> None:
        self.runs += 1
        self.plan = self.room.propose(self.target.plan, other_run(self.runs), **changed)

    @property
    def digest(self) -> str:
        """Of one of the previews, mostly of the newest; something else if there is none."""
        known = list(self.seen)
        if not known:
            return "0" * 64
        return known[-1] if self.pick.random() < 0.8 else self.pick.choice(known)

    def step(self) -> None:
        self.number += 1
        steps = (
            *(self.ask, self.approve, self.approve, self.execute, self.execute, self.wait),
            *(self.reject, self.forge, self.replay, self.alter, self.edit_plan),
            *(self.somebody_changes_it, self.another_policy),
        )
        self.pick.choice(steps)()

    def person(self) -> Person:
        return Person(name=self.pick.choice(["ann", "bob", "cleo", "eve"]), address=PEER)

    def ask(self, name: str = "") -> None:
        who = Person(name=name, address=PEER) if name else self.person()
        with suppress(ActionRefused):
            asked = approval.request(self.room.ledger, self.plan, person=who)
            found = Seen(who.name, self.now, self.number, self.approvers)
            self.seen.setdefault(asked.digest, found)

    def approve(self, name: str = "") -> None:
        who, digest = Person(name=name, address=PEER) if name else self.person(), self.digest
        with suppress(ActionRefused):
            approval.approve_by_name(self.room.ledger, self.plan, digest, who)
            self.seen[digest].approvals[who.name] = self.now

    def execute(self) -> None:
        digest, before, why = self.digest, self.target.count(), ""
        try:
            done = executor.execute(self.room.ledger, self.plan, digest)
        except ActionRefused as error:
            why = error.what
        if not why:  # a session that was signalled takes a moment to end
            with suppress(AssertionError):
                until(lambda: self.target.count() > before, timeout_s=2)
        executed = self.target.count() - before
        assert executed in {0, 1}, "executed twice"
        if why:
            assert not executed, f"refused, and executed: {why}"
            return
        self.told[str(done.recorded)] += 1
        if executed:
            self.must_be_allowed(self.seen[digest])
            self.seen[digest].over = True

    def must_be_allowed(self, seen: Seen) -> None:
        assert not seen.over, "executed already, rejected, or its bytes were edited"
        assert seen.place >= self.changed, "stale"
        assert seen.asked_by not in seen.approvals, "approved by the person who asked"
        assert self.approvers == seen.approvers, "the policy changed"
        assert len(seen.approvals) >= self.approvers, "not approved"
        times = sorted(seen.approvals.values())
        assert times[self.approvers - 1] <= seen.at + timedelta(minutes=30), "approved too late"
        last = times[self.approvers - 1]
        assert self.now <= last + timedelta(minutes=10), "executed too late"

    def wait(self) -> None:
        self.now += timedelta(minutes=self.pick.choice([1, 5, 11, 31]))

    def reject(self) -> None:
        with suppress(ActionRefused):
            rejected = approval.reject(self.room.ledger, self.plan, "no")
            self.seen[rejected.digest].over = True

    def somebody_changes_it(self) -> None:
        self.target.change()
        self.changed = self.number

    def another_policy(self) -> None:
        self.configure(3 - self.approvers)

    def edit_plan(self) -> None:
        """The notebook shows another plan under the same id, and then perhaps the old one again."""
        self.propose(id=self.plan, risk=f"none {self.number}")
        if self.pick.random() < 0.5:
            self.propose()
        else:
            self.changed = self.number

    def _lines(self) -> list[dict[str, Any]]:
        text = (self.room.root / INCIDENT / "incident.jsonl").read_text()
        return [one for one in map(json.loads, text.splitlines()) if one["kind"] == "action"]

    def _append(self, one: dict[str, Any]) -> None:
        fields = {k: v for k, v in one.items() if k not in {"seq", "at", "kind", "by", "v"}}
        incident.append(self.room.root, INCIDENT, "action", by=one["by"], **fields)

    def forge(self) -> None:
        """Write that somebody else approved, with the code of an approval that exists, if any."""
        approved = [one for one in self._lines() if one["state"] == "approved"]
        if approved:
            one, name = self.pick.choice(approved), self.person().name
            said = json.dumps({**one, "digest": self.digest}).replace(one["by"], name)
            self._append(json.loads(said))

    def replay(self) -> None:
        """Write a line of the record again, perhaps of another preview."""
        if lines := self._lines():
            one = self.pick.choice(lines)
            other = {"digest": self.digest} if self.pick.random() < 0.3 else {}
            self._append({**one, **other})
            if one["state"] in {"rejected", "previewed"} and not other:
                self.told["replayed"] += 1

    def alter(self) -> None:
        """Edit bytes of a document in the record."""
        digest, record = self.digest, self.room.root / INCIDENT / "incident.jsonl"
        documents = {one.digest: one for one in incident.look(self.room.root, INCIDENT).actions}
        if history := documents.get(digest):
            nonce = str(history.facts.get("nonce"))
            record.write_text(record.read_text().replace(nonce, f"{nonce[1:]}g"))
            self.seen[digest].over = True


@contextmanager
def of_rows(folder: Path, asked: Asked, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    server: Servers = asked("table")
    run(server, f"ALTER TABLE {TABLE} ADD touched int DEFAULT 0, ADD other int")
    run(server, COUNTS.replace("NEW.touched", "IF NEW.note <> OLD.note THEN NEW.touched", 1)
        .replace("+ 1;", "+ 1; END IF;", 1))  # fmt: skip

    def target(number: int) -> Target:
        return Target(
            flagged(server, "id = 2", note=f"changed {number}"),
            lambda: run(server, f"UPDATE {TABLE} SET other = 1 WHERE id = 2"),
            lambda: int(str(frame(server, "touched", "id", where="id = 2")["touched"].item())),
        )

    yield made_room(folder, server, patch), "set_flag", target


@contextmanager
def of_sessions(folder: Path, asked: Asked, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    server: Servers = asked("alone")

    def target(number: int) -> Target:
        server.end_sessions()
        pid = server.start(f"job-{number}", "BEGIN", "SELECT 1")

        def change() -> None:
            if lives(server, pid):
                go_on(server, pid)

        return Target(ending(server, [pid]), change, lambda: int(not lives(server, pid)))

    yield made_room(folder, server, patch), "terminate_sessions", target


@contextmanager
def of_commands(folder: Path, _: Asked, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    room = command_room(folder, patch)
    program = room.script("restart", 'echo "$1" >> runs')
    room.text = RESTART.replace("HERE", str(room.folder))

    def target(number: int) -> Target:
        name = f"job-{number}"
        (room.folder / "runs").unlink(missing_ok=True)

        def change() -> None:
            program.write_text(f"{program.read_text()}# changed\n")

        plan = actions.run("restart", service=name)
        return Target(plan, change, lambda: room.read("runs").splitlines().count(name))

    yield room, "run:restart", target


@contextmanager
def of_requests(folder: Path, _: Asked, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with flags() as server:
        room = command_room(folder, patch)
        room.text = FLAG.replace("URL", server.url)

        def target(number: int) -> Target:
            name = f"job-{number}"
            server.states[name] = "on"
            server.seen.clear()

            def change() -> None:
                server.states[name] += "!"

            plan = actions.request("flag", flag=name)
            return Target(plan, change, lambda: [one[0] for one in server.seen].count("PUT"))

        yield room, "request:flag", target


Stage = tuple[Room, str, Callable[[int], Target]]
STAGES = {
    "rows": of_rows,
    "sessions": of_sessions,
    "commands": of_commands,
    "requests": of_requests,
}


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setenv("LINKS", LINKS.decode())
    monkeypatch.setenv("PROXY", SECRET)
    # nobody cuts the power here
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with STAGES[request.param](tmp_path, request.getfixturevalue, monkeypatch) as made:
        room = made[0]
        key = room.key("eve").with_suffix(".pub").read_text().split()
        room.approvers.write_text(f"{room.approvers.read_text()}cleo {key[0]} {key[1]}\n")
        yield made


def _play(stage: Stage, number: int, patch: pytest.MonkeyPatch, told: Counter[str]) -> None:
    room, rule, target = stage
    shutil.rmtree(room.root, ignore_errors=True)
    pick = random.Random(number)
    play = Play(room, rule, target, number, pick, patch, told)
    for _ in range(pick.randrange(3)):
        play.step()
    by_two: tuple[Callable[[], None], ...] = (
        *(lambda: play.ask("ann"), lambda: play.approve("bob"), lambda: play.approve("cleo")),
        play.execute,
    )
    for step in by_two[: pick.randrange(5)]:
        play.number += 1
        step()
        if pick.random() < 0.2:
            play.step()
    for _ in range(pick.randrange(8)):
        play.step()


def _all(stage: Stage, numbers: range, patch: pytest.MonkeyPatch) -> None:
    told = Counter[str]()
    for number in numbers:
        with patch.context() as context:
            try:
                _play(stage, number, context, told)
            except Exception as error:
                error.add_note(f"sequence {number}")
                raise
    assert told["verified"]
    print(len(numbers), dict(sorted(told.items())))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["commands", "requests"], indirect=True)
def test_some_sequences(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    _all(stage, range(40), monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("stage", STAGES, indirect=True)
def test_ten_thousand_sequences(
    stage: Stage, group: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = str(request.node.callspec.params["stage"])
    _all(stage, range(group, NUMBERS[which], GROUPS), monkeypatch)
