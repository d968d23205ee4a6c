"""Resuming the paused replay of a real standby, pausing it again, and when it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rbkernel import actions
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import executor, replay, undo
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Server
from tests.support.approvals import Room, made_room, refusal
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.servers import Servers, servers
from tests.support.waiting import until

RULE = 'action = "resume_replay"\napprovers = 1\nwatch_s = 2.0\n'


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("pair") / "home") as made:
        made.add_standby()
        yield made


@pytest.fixture
def room(tmp_path: Path, pair: Servers, monkeypatch: pytest.MonkeyPatch) -> Room:
    return made_room(tmp_path, pair, monkeypatch, rules=(RULE,), database="standby")


def on_standby(pair: Servers, sql: str) -> Any:
    with pair.access.connect("postgres", "standby") as raw:
        return raw.execute(sql.encode()).fetchall()[0][0]


def paused(pair: Servers) -> bool:
    return bool(on_standby(pair, "SELECT pg_get_wal_replay_pause_state() = 'paused'"))


def pause(pair: Servers) -> None:
    on_standby(pair, "SELECT pg_wal_replay_pause()")
    until(lambda: paused(pair))


def write(pair: Servers) -> None:
    """Write WAL, and wait until the standby has received it."""
    with pair.access.connect("postgres") as raw:
        raw.execute(b"SELECT pg_create_restore_point('x')")
        lsn = raw.execute(b"SELECT pg_switch_wal()").fetchall()[0][0]
    until(lambda: on_standby(pair, f"SELECT pg_last_wal_receive_lsn() >= '{lsn}'"))


def restart(pair: Servers, name: Server) -> None:
    processes.stop_server(pair.access.home, name)
    pair.cluster.start(name)
    pair.cluster.wait(name)


def proposed(room: Room, number: int) -> str:
    return room.propose(actions.resume_replay("orders"), other_run(number))


def states(room: Room) -> list[str]:
    return [one.recorded for one in incident.look(room.root, INCIDENT).actions]


def test_replay_is_resumed_and_paused_again(room: Room, pair: Servers) -> None:
    plan = proposed(room, 1)
    assert "replay is not paused" in refusal(lambda: room.approve(plan))
    pause(pair)
    write(pair)
    ok = room.approve(plan, "bob")
    at = on_standby(pair, "SELECT pg_last_wal_replay_lsn()::text")
    assert ok.facts["targets"] == [{"replayed": at, "resume": True}]
    done = room.execute(plan, ok)
    assert (done.recorded, paused(pair)) == (ActionState.VERIFIED, False), done.result
    assert on_standby(pair, f"SELECT pg_last_wal_replay_lsn() > '{at}'")
    back = undo.find(room.root, plan).plan
    done = room.execute(back, room.approve(back, "bob"))
    assert (done.recorded, done.result.split(",")[0]) == (ActionState.VERIFIED, "replay is paused")
    assert paused(pair)
    assert states(room) == [ActionState.UNDONE, ActionState.VERIFIED]


def test_replay_that_went_on_is_not_resumed(
    room: Room, pair: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither if it is seen before, nor if it happens after the last look."""

    def moved() -> None:
        write(pair)
        on_standby(pair, "SELECT pg_wal_replay_resume()")
        until(
            lambda: on_standby(pair, "SELECT pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn()")
        )
        pause(pair)

    pause(pair)
    plan = proposed(room, 1)
    ok = room.approve(plan, "bob")
    moved()
    assert "replay was paused at" in refusal(lambda: room.execute(plan, ok))
    ok = room.approve(plan, "bob")
    begin = executor._begin

    def late(*given: Any) -> Any:
        moved()
        return begin(*given)

    monkeypatch.setattr(executor, "_begin", late)
    done = room.execute(plan, ok)
    assert (done.recorded, paused(pair)) == (ActionState.FAILED, True)
    assert "nothing was changed" in done.result


def test_a_pause_because_of_a_setting_is_not_resumed(
    room: Room, pair: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming would shut the standby down; the statement knows this, too."""
    on_standby(pair, "SELECT pg_wal_replay_resume()")
    with pair.access.connect("postgres") as raw:
        raw.execute(b"ALTER SYSTEM SET max_connections = 470")
    restart(pair, "primary")
    until(lambda: paused(pair))
    plan = proposed(room, 1)
    assert "would shut the standby down" in refusal(lambda: room.approve(plan))
    look: Callable[..., Any] = replay._look
    monkeypatch.setattr(replay, "_look", lambda *given: {**look(*given), "within_record": False})
    done = room.execute(plan, room.approve(plan, "bob"))
    assert done.recorded is ActionState.FAILED
    assert "nothing was changed" in done.result
    assert paused(pair)


def test_the_role_needs_the_functions(room: Room, pair: Servers) -> None:
    room.configure(RULE, action_role="rb_nobody")
    plan = proposed(room, 1)
    assert "TO rb_nobody, on the primary" in refusal(lambda: room.approve(plan))


def test_a_standby_that_stops_at_a_target_is_refused(room: Room, pair: Servers) -> None:
    """Also before it has reached the target."""
    with pair.access.connect("postgres", "standby") as raw:
        raw.execute(b"ALTER SYSTEM SET max_connections = 470")
        raw.execute(b"ALTER SYSTEM SET recovery_target_name = 'never'")
    restart(pair, "standby")
    pause(pair)
    plan = proposed(room, 1)
    why = refusal(lambda: room.approve(plan))
    assert "may promote the standby: it has a recovery target (recovery_target_name)" in why
