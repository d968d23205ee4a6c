"""A command on the page of its incident: read, approved with a passkey, and executed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rbkernel import actions
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import approval
from tests.integration.test_act_commands import CANARY, RESTART, room
from tests.integration.test_act_on_page import Phone, recorded, secret
from tests.support.authenticators import Authenticator
from tests.support.command_room import CommandRoom
from tests.support.journal_builder import other_run
from tests.support.page_server import serving
from tests.support.waiting import until

__all__ = ["room", "secret"]


def test_from_the_text_to_the_outcome(room: CommandRoom, secret: None) -> None:
    plan = room.propose(actions.run("restart", service="shop"), other_run(1))
    bob = room.passkey("bob", Authenticator())
    with serving(room.settings) as client:
        phone = Phone(client)
        assert f"{room.folder}/restart now shop" in phone.words
        asked = approval.request(room.ledger, plan, room.key("ann"))
        seen = phone.words
        assert "Dry run would restart shop" in seen
        assert "check shop` succeeds" in seen
        assert f"{room.folder}/stop shop" in seen
        assert phone.send("approve", answer=bob.approve(asked.digest)).status_code == 303
        assert room.read("runs") == ""
        assert phone.send("execute", name="bob").status_code == 303
        until(lambda: recorded(room, plan).recorded is ActionState.VERIFIED)
        assert room.read("runs") == "shop\n"
        assert "Output restarted shop with [redacted:" in phone.words
        assert CANARY not in client.get(phone.page).text


def test_one_person_previews_on_the_page(
    room: CommandRoom, secret: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.allow(RESTART, "run:stop")
    room.configure('action = "run:restart"\nproposer_may_approve = true\nwatch_s = 1.0\n')
    plan = room.propose(actions.run("restart", service="shop"), other_run(1))
    bob = room.passkey("bob", Authenticator())
    with serving(room.settings) as client:
        phone = Phone(client)
        assert phone.send("request").status_code == 303
        digest = recorded(room, plan).digest
        assert phone.send("approve", answer=bob.approve(digest)).status_code == 303
        room.script("restart", "echo evil > runs")
        answer = phone.send("execute", name="bob")
        assert answer.status_code == 409
        assert "changed since the preview" in answer.text
        assert room.read("runs") == ""
