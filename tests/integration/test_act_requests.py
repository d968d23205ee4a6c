"""Approved HTTP requests to a real server on this machine: sent once, and what it answers."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from rbkernel import actions
from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import approval, executor, undo, wording
from rbkernel.execution.ledger import now
from tests.support.approvals import refusal
from tests.support.certificates import issued
from tests.support.command_room import CommandRoom, Flags, command_room, flags
from tests.support.journal_builder import other_run

FLAG = """
[actions.requests.flag]
method = "PUT"
url = "URL/api/{flag}"
json = {state = "{state}"}
headers = {Authorization = {env = "FLAG_TOKEN", prefix = "Bearer "}}
preview = {url = "URL/api/{flag}", pointer = "/state"}
verify = {url = "URL/api/{flag}", pointer = "/state", equals = "{state}"}
undo = {name = "flag", values = {state = "on"}}
values = {flag = {pattern = "[a-z2/.%; -]+"}, state = ["on", "off"]}
timeout_s = 5.0
"""
CANARY = "canary-0a1b2c3d4e5f"


@pytest.fixture
def server() -> Iterator[Flags]:
    with flags() as made:
        yield made


@pytest.fixture
def room(tmp_path: Path, server: Flags, monkeypatch: pytest.MonkeyPatch) -> CommandRoom:
    monkeypatch.setenv("FLAG_TOKEN", CANARY)
    made = command_room(tmp_path, monkeypatch)
    made.allow(FLAG.replace("URL", server.url), "request:flag", watch_s=0.2)
    return made


def turn(room: CommandRoom, state: str = "off", number: int = 1, flag: str = "new") -> str:
    return room.propose(actions.request("flag", flag=flag, state=state), other_run(number))


def changes(server: Flags) -> list[tuple[str, str, str]]:
    return [one for one in server.seen if one[0] == "PUT"]


def test_a_flag_is_turned_off_and_back(room: CommandRoom, server: Flags) -> None:
    plan = turn(room)
    asked = approval.request(room.ledger, plan, room.key("ann"))
    assert asked.facts["foretold"]["before"] == ['"on"']
    assert changes(server) == []
    ok = approval.approve(room.ledger, plan, asked.digest, room.key("bob"))
    done = room.execute(plan, ok)
    assert done.recorded is ActionState.VERIFIED
    assert done.result == f'status 200; /state of {server.url}/api/new is "off"'
    assert server.states == {"new": "off"}
    assert "it is executed once" in refusal(lambda: room.execute(plan, ok))
    assert changes(server) == [("PUT", "/api/new", f"Bearer {CANARY}")]
    inverse = undo.find(room.root, plan).plan
    assert room.execute(inverse, room.approve(inverse, "bob")).recorded is ActionState.VERIFIED
    assert server.states == {"new": "on"}
    text = "\n".join(wording.shown_lines(approval.show(room.ledger, plan), now()))
    assert "${FLAG_TOKEN}" in ok.facts["statement"]
    assert f"target    PUT {server.url}/api/new" in text
    # the server has repeated the token in its answer
    assert "[redacted:" in "".join(done.output)
    assert CANARY not in room.record + text


@pytest.mark.parametrize(
    ("status", "ignores", "state", "words"),
    [
        (403, True, ActionState.FAILED, "status 403"),
        (302, True, ActionState.FAILED, "status 302"),
        # many servers answer so after a success
        (303, False, ActionState.INDETERMINATE, 'is "off"'),
        (200, True, ActionState.FAILED, "status 200; after 0.2 s, /state of"),
        (500, True, ActionState.INDETERMINATE, "status 500"),
        (504, False, ActionState.INDETERMINATE, 'is "off"'),
    ],
)
def test_what_the_server_answers(
    room: CommandRoom, server: Flags, status: int, ignores: bool, state: ActionState, words: str
) -> None:
    server.answer, server.ignores = status, ignores
    plan = turn(room)
    done = room.execute(plan, room.approve(plan, "bob"))
    assert done.recorded is state
    assert words in done.result
    assert CANARY not in room.record
    assert len(changes(server)) == 1
    assert not [path for _, path, _ in server.seen if "elsewhere" in path]


def test_no_answer_is_indeterminate_and_nothing_is_sent_again(
    room: CommandRoom, server: Flags
) -> None:
    room.allow(FLAG.replace("URL", server.url).replace("5.0", "2.0"), "request:flag", watch_s=0.2)
    server.silent.clear()
    plan = turn(room)
    ok = room.approve(plan, "bob")
    done = room.execute(plan, ok)
    assert done.recorded is ActionState.INDETERMINATE
    assert "no answer within 2 s" in done.result
    assert 'is "off"' in done.result
    assert "it is indeterminate" in refusal(lambda: room.execute(plan, ok))
    assert len(changes(server)) == 1


def test_the_state_before_changed(room: CommandRoom, server: Flags) -> None:
    plan = turn(room)
    ok = room.approve(plan, "bob")
    server.states["new"] = "50 %"
    assert "the state before it changed" in refusal(lambda: room.execute(plan, ok))
    assert "'unknown' is not one of on, off" in refusal(
        lambda: room.approve(
            room.propose(
                actions.request("flag", flag="new", state="off"),
                other_run(3),
                title="Other",
                arguments={"name": "flag", "values": {"flag": "new", "state": "unknown"}},
            )
        )
    )
    assert changes(server) == []


def test_no_such_flag_and_no_server(room: CommandRoom, server: Flags) -> None:
    unknown = turn(room, flag="other")
    assert "the state before cannot be seen" in refusal(lambda: room.approve(unknown))
    plan = turn(room, number=2)
    room.allow(FLAG.replace("URL", "http://127.0.0.1:9").replace("preview", "#"), "request:flag")
    gone = turn(room, number=3)
    done = room.execute(gone, room.approve(gone, "bob"))
    assert done.recorded is ActionState.FAILED
    assert "nothing was sent" in done.result
    assert "it was proposed as" in refusal(lambda: room.approve(plan))


def test_a_value_is_one_segment_of_the_path(room: CommandRoom, server: Flags) -> None:
    lines = [one for one in FLAG.splitlines() if not one.startswith(("preview", "verify"))]
    text = "\n".join([*lines, 'verify = "status"']).replace("URL", server.url)
    room.allow(text, "request:flag")
    names = ["a/b", "a b", "a%2e", "a;b"]
    for number, name in enumerate(names):
        plan = turn(room, number=number, flag=name)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.VERIFIED
    paths = [path for _, path, _ in changes(server)]
    assert len(paths) == len(names)
    assert all(path.count("/") == 2 and ".." not in path.split("/") for path in paths)


def test_without_its_secret_nothing_is_sent(
    room: CommandRoom, server: Flags, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = turn(room)
    ok, begin = room.approve(plan, "bob"), executor._begin

    def late(*given: Any) -> Any:
        begun = begin(*given)
        monkeypatch.delenv("FLAG_TOKEN")
        return begun

    monkeypatch.setattr(executor, "_begin", late)
    done = room.execute(plan, ok)
    assert done.recorded is ActionState.FAILED
    assert "FLAG_TOKEN is not set: nothing was sent" in done.result
    assert changes(server) == []


def test_it_is_not_sent_too_late(room: CommandRoom, server: Flags) -> None:
    plan = turn(room)
    begun = executor.begin(room.ledger, plan, room.approve(plan, "bob").digest)
    late = dataclasses.replace(begun, until=now() - timedelta(seconds=1))
    done = executor.carry_out(room.ledger, late)
    assert done.recorded is ActionState.FAILED
    assert "it was too late: nothing was sent" in done.result
    assert changes(server) == []


def test_a_secret_of_a_command(room: CommandRoom, server: Flags) -> None:
    secret = "canary-of-a-vault-77"
    room.script("vault", f"echo {secret}")
    vault = f'{{command = ["{room.folder}/vault"], prefix = "Bearer "}}'
    text = FLAG.replace("URL", server.url)
    room.allow(text.replace('{env = "FLAG_TOKEN", prefix = "Bearer "}', vault), "request:flag")
    plan = turn(room)
    done = room.execute(plan, room.approve(plan, "bob"))
    assert done.recorded is ActionState.VERIFIED
    assert changes(server)[0][2] == f"Bearer {secret}"
    assert secret not in room.record


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "Https"])
def test_only_a_trusted_server_gets_the_secret(
    room: CommandRoom, tmp_path: Path, scheme: str
) -> None:
    authority = issued("authority", 30)
    cert, key = issued("flags", 30, authority, names=("127.0.0.1",)).write(tmp_path / "tls")
    (tmp_path / "ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with flags(context) as server:
        text = FLAG.replace("URL", server.url.replace("https", scheme))
        room.allow(text, "request:flag", watch_s=0.2)
        assert "TLS: certificate verify failed" in refusal(lambda: room.approve(turn(room)))
        # nothing looks before it is sent
        room.allow(text.replace("preview", "#"), "request:flag", watch_s=0.2)
        blind = turn(room, number=2)
        done = room.execute(blind, room.approve(blind, "bob"))
        assert "TLS: certificate verify failed: nothing was sent" in done.result
        assert server.seen == []
        room.allow(f'{text}ca = "{tmp_path}/ca.pem"\n', "request:flag", watch_s=0.2)
        plan = turn(room, number=3)
        done = room.execute(plan, room.approve(plan, "bob"))
        assert done.recorded is ActionState.VERIFIED
        assert server.states == {"new": "off"}


def test_the_secret_and_the_authority_are_those_of_the_preview(
    room: CommandRoom, server: Flags, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorities = [issued(name, 30).certificate.public_bytes(Encoding.PEM) for name in "ab"]
    file = tmp_path / "ca.pem"
    file.write_bytes(authorities[0])
    text = FLAG.replace("URL", server.url)
    room.allow(f'{text}ca = "{file}"\n', "request:flag", watch_s=0.2)
    plan = turn(room)
    ok = room.approve(plan, "bob")
    monkeypatch.setenv("FLAG_TOKEN", "canary-of-another-tenant")
    assert "the variable of a header has another value" in refusal(lambda: room.execute(plan, ok))
    monkeypatch.delenv("FLAG_TOKEN")
    assert "FLAG_TOKEN is not set here" in refusal(lambda: room.execute(plan, ok))
    monkeypatch.setenv("FLAG_TOKEN", CANARY)
    file.write_bytes(authorities[1])
    assert "(ca) has another value" in refusal(lambda: room.execute(plan, ok))
    assert changes(server) == []
    file.write_bytes(authorities[0])
    assert room.execute(plan, ok).recorded is ActionState.VERIFIED


@pytest.mark.parametrize("approvers", [0, 1])
def test_only_the_undo_of_what_people_approved_does_not_wait(
    room: CommandRoom, server: Flags, approvers: int
) -> None:
    room.configure(
        f'action = "request:flag"\napprovers = {approvers}\ncool_down_s = 599\nwatch_s = 0.2\n'
    )
    people = ["bob"] * approvers
    plan = turn(room)
    room.execute(plan, room.approve(plan, *people))
    inverse = undo.find(room.root, plan).plan
    ok = room.approve(inverse, *people)
    if approvers:
        assert room.execute(inverse, ok).recorded is ActionState.VERIFIED
    else:
        assert "request:flag was executed, with these or other values: wait 9 min" in refusal(
            lambda: room.execute(inverse, ok)
        )


@pytest.mark.parametrize("looks", [True, False])
def test_what_changes_nothing_has_no_undo(room: CommandRoom, server: Flags, looks: bool) -> None:
    """It would turn on what nobody has turned off."""
    text = FLAG.replace("URL", server.url)
    room.allow(text if looks else text.replace("preview", "#"), "request:flag", watch_s=0.2)
    server.states["new"] = "off"
    plan = turn(room)
    ok = room.approve(plan, "bob")
    assert "This is so already" in ok.facts["effect"]
    assert "undo" not in ok.facts
    server.states["new"] = "on"
    assert "changed since" in refusal(lambda: room.execute(plan, ok))
    server.states["new"] = "off"
    assert room.execute(plan, ok).recorded is ActionState.VERIFIED
    with pytest.raises(ActionRefused, match="it cannot be undone"):
        undo.find(room.root, plan)


def test_an_action_that_is_its_own_inverse_has_no_undo(room: CommandRoom, server: Flags) -> None:
    server.states["new"] = "off"
    plan = turn(room, "on")
    assert room.execute(plan, room.approve(plan, "bob")).recorded is ActionState.VERIFIED
    with pytest.raises(ActionRefused, match="it cannot be undone"):
        undo.find(room.root, plan)


def test_no_proxy_of_the_environment_gets_the_secret(
    room: CommandRoom, server: Flags, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flags() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        plan = turn(room)
        assert room.execute(plan, room.approve(plan, "bob")).recorded is ActionState.VERIFIED
        assert proxy.seen == []
        assert server.states == {"new": "off"}
