"""Executors that are killed at 200 points: nothing is executed twice, nothing is lost silently."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rbkernel import actions
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import approval, executor
from rbkernel.execution.ledger import now
from rbkernel.model import ActionPlan
from rbkernel.sources.postgres.connection.session import Session
from tests.integration.test_act_rows import (
    COUNTS,
    RULES,
    TABLE,
    flagged,
    frame,
    must_be_gone,
    run,
    table,
)
from tests.support.approvals import Room, lives, made_room, queue
from tests.support.command_room import command_room, flags
from tests.support.journal_builder import INCIDENT
from tests.support.kill_points import PARTS, executors
from tests.support.servers import Servers
from tests.support.waiting import until

__all__ = ["table"]
POINTS, GROUPS = 200, 8
RESTART = """
[actions.commands.restart]
argv = ["HERE/restart", "{service}"]
verify = ["/usr/bin/grep", "-qx", "{service}", "runs"]
working_directory = "HERE"
values = {service = {pattern = "job-[0-9]+"}}
"""
FLAG = """
[actions.requests.flag]
method = "PUT"
url = "URL/api/{flag}"
json = {state = "off"}
preview = {url = "URL/api/{flag}", pointer = "/state"}
verify = {url = "URL/api/{flag}", pointer = "/state", equals = "off"}
values = {flag = {pattern = "job-[0-9]+"}}
timeout_s = 5.0
"""
# a fixture by its name: commands and requests need no server
Asked = Callable[[str], Any]
ALONE = 'action = "{}"\napprovers = 0\nwatch_s = 0.1\n'


@dataclass
class Victims:
    """What the executions change: a plan for each number, and how often it was carried out."""

    room: Room
    plan: Callable[[int], ActionPlan]
    count: Callable[[int], int]


@contextmanager
def of_rows(folder: Path, asked: Asked, patch: pytest.MonkeyPatch) -> Iterator[Victims]:
    server: Servers = asked("table")
    run(server, f"ALTER TABLE {TABLE} ADD touched int DEFAULT 0")
    run(server, COUNTS)
    room = made_room(folder, server, patch, rules=RULES)
    before: dict[int, int] = {}

    def touched() -> int:
        must_be_gone(server)
        [one] = {str(one) for one in frame(server, "touched", "id")["touched"]}
        return int(one)

    def plan(number: int) -> ActionPlan:
        before[number] = touched()
        return flagged(server, note=f"changed {number}")

    yield Victims(room, plan, lambda number: touched() - before[number])


@contextmanager
def of_sessions(folder: Path, asked: Asked, patch: pytest.MonkeyPatch) -> Iterator[Victims]:
    server: Servers = asked("alone")
    diag: Session = asked("diag")
    room = made_room(folder, server, patch, rules=(ALONE.format("terminate_sessions"),))
    holders: dict[int, int] = {}

    def plan(number: int) -> ActionPlan:
        server.end_sessions()
        locks = queue(server, diag, f"job-{number}")
        holders[number] = locks.holder
        return locks.plan

    def count(number: int) -> int:
        must_be_gone(server)
        return int(not lives(server, holders[number]))

    yield Victims(room, plan, count)


@contextmanager
def of_commands(folder: Path, _: Asked, patch: pytest.MonkeyPatch) -> Iterator[Victims]:
    room = command_room(folder, patch)
    room.script("restart", 'echo "$1" >> runs')
    room.text = RESTART.replace("HERE", str(room.folder))
    room.configure(ALONE.format("run:restart"))
    yield Victims(
        room,
        lambda number: actions.run("restart", service=f"job-{number}"),
        lambda number: room.read("runs").splitlines().count(f"job-{number}"),
    )


@contextmanager
def of_requests(folder: Path, _: Asked, patch: pytest.MonkeyPatch) -> Iterator[Victims]:
    with flags() as server:
        room = command_room(folder, patch)
        room.text = FLAG.replace("URL", server.url)
        room.configure(ALONE.format("request:flag"))
        server.states |= {f"job-{number}": "on" for number in range(POINTS + 1)}
        yield Victims(
            room,
            lambda number: actions.request("flag", flag=f"job-{number}"),
            lambda number: [one[:2] for one in server.seen].count(("PUT", f"/api/job-{number}")),
        )


KINDS = {"rows": of_rows, "sessions": of_sessions, "commands": of_commands, "requests": of_requests}


@pytest.fixture
def victims(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Victims]:
    with KINDS[request.param](tmp_path, request.getfixturevalue, monkeypatch) as made:
        yield made


def _proposed(victims: Victims, number: int) -> tuple[str, ActionHistory]:
    # a longer record would need more lines of Python than the first one
    shutil.rmtree(victims.room.root, ignore_errors=True)
    incident.append(victims.room.root, INCIDENT, "opened", by="root", title="x", severity="P1")
    plan = victims.room.propose(victims.plan(number), f"20261120T040000Z-{number:06x}")
    return plan, approval.request(victims.room.ledger, plan)


def _executed(victims: Victims, number: int) -> bool:
    return victims.count(number) == 1


def _is_refused(room: Room, plan: str, history: ActionHistory) -> None:
    with pytest.raises(ActionRefused):
        room.execute(plan, history)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(GROUPS))
@pytest.mark.parametrize("victims", KINDS, indirect=True)
def test_it_is_executed_at_most_once_and_the_record_says_so(
    victims: Victims, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, told = victims.room, Counter[str]()
    with executors() as processes:
        plan, asked = _proposed(victims, POINTS)
        length = processes.execute(plan, asked.digest)
        assert victims.count(POINTS) == 1
        assert all(length.values()), length
        for number in range(first, POINTS, GROUPS):
            plan, asked = _proposed(victims, number)
            which, place = divmod(number * len(PARTS) / POINTS, 1)
            part = PARTS[int(which)]
            # closer to each other at the end, where the line is written or the commit is sent
            at = 1 + int(length[part] * (1 - (1 - place) ** 3))
            processes.execute(plan, asked.digest, part, at)
            [history] = [
                one
                for one in incident.look(room.root, INCIDENT).actions
                if one.digest == asked.digest
            ]
            later = now() + timedelta(minutes=5)
            state = history.state(later)
            told[f"{part}: {state}, {victims.count(number)} times"] += 1
            if state is ActionState.APPROVED:
                assert part in {"checks", "intent"}
                assert room.execute(plan, asked).recorded is ActionState.VERIFIED
                assert victims.count(number) == 1
                continue
            assert part != "checks"
            assert state in {ActionState.INDETERMINATE, ActionState.VERIFIED}
            _is_refused(room, plan, asked)
            with monkeypatch.context() as patch:
                patch.setattr(executor, "now", lambda at=later: at)
                _is_refused(room, plan, asked)
            if part == "outcome":  # a session that was signalled takes a moment to end
                until(partial(_executed, victims, number))
            assert victims.count(number) <= 1
    print(length, dict(sorted(told.items())))
