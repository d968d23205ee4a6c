"""One person approves alone what needs more people: where it counts, and where it is seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rbkernel.cli import main
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionState
from rbkernel.evidence.timeline import timeline
from rbkernel.execution import approval, executor
from rbkernel.gateway.notify.events import due
from rbkernel.gateway.notify.messages import Words
from rbkernel.gateway.notify.watch import OnDisk
from rbkernel.incidents import postmortem
from rbkernel.incidents.statistics import gather, statistics_of
from rbkernel.render.documents import page, report
from tests.integration.test_act import still
from tests.integration.test_act_by_proxy import PROXY, People, recorded, secrets
from tests.integration.test_act_on_page import PAGE
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
)
from tests.support.authenticators import Authenticator
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.servers import Servers
from tests.unit.test_page_forms import HERE, words

__all__ = ["secrets", "still"]
WHY = "nobody else answers the phone"
TWO = TWO_PEOPLE.replace("approvers = 1", "approvers = 2")
BY_ANY = f'{TWO}identities = ["ssh", "passkey", "proxy"]\n'


def configure(room: Room, rule: str, *, allowed: bool = True) -> None:
    room.configure(rule)
    text = room.file.read_text().replace("[queue]", f"{PROXY}[queue]")
    room.file.write_text(text.replace("one_user", "break_glass = true\none_user" * allowed, 1))
    if not allowed:
        room.file.write_text(text)


def command(*words: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rbkernel", "action", *words])
        with pytest.raises(SystemExit) as caught:
            main()
    return int(caught.value.code or 0)


def test_one_person_executes_alone_and_everybody_sees_it(
    tmp_path: Path, alone: Servers, diag: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    room = made_room(tmp_path, alone, monkeypatch)
    configure(room, BY_ANY)
    locks = queue(alone, diag)
    plan = room.propose(locks.plan, other_run(1))
    asked = room.approve(plan)  # ann asks
    ann = ["--digest", asked.digest, "--key", str(room.key("ann")), "--break-glass"]
    assert command("execute", plan, *ann, "too short") == 3
    assert "at least 10 characters" in capsys.readouterr().err
    assert lives(alone, locks.holder)
    assert command("execute", plan, *ann, f" {WHY} ") == 0
    assert not lives(alone, locks.holder)
    assert f"ann approved alone: {WHY}" in capsys.readouterr().out
    assert command("execute", plan, *ann, WHY) == 3  # once
    done = recorded(room, plan)
    assert done.recorded is ActionState.VERIFIED
    assert [(one.by, one.break_glass) for one in done.approvals] == [("ann", WHY)]
    proven_by_ssh(room, tmp_path)
    seen_everywhere(room, tmp_path)


def proven_by_ssh(room: Room, folder: Path) -> None:
    """The signature covers the reason: with another one, ssh-keygen refuses it."""
    history = recorded(room, recorded_plan(room))
    [one] = history.approvals
    (folder / "signature").write_text(one.signature)
    (folder / "signers").write_text(one.signers)
    at = datetime.fromisoformat(one.at).astimezone(UTC).strftime("%Y%m%d%H%M%SZ")
    command = [
        *("ssh-keygen", "-Y", "verify", "-n", "rbkernel-action-break-glass", "-I", "ann"),
        *("-f", str(folder / "signers"), "-s", str(folder / "signature")),
        *("-O", f"verify-time={at}"),
    ]
    for reason, right in ((WHY, True), ("another reason", False)):
        text = f"{history.document}break-glass: {reason}\n"
        told = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        assert (told.returncode == 0) is right


def recorded_plan(room: Room) -> str:
    return incident.look(room.root, INCIDENT).actions[-1].plan


def seen_everywhere(room: Room, folder: Path) -> None:
    record = incident.look(room.root, INCIDENT)
    said = [entry.what for entry in timeline(record, [])]
    assert any(f"approved alone (break-glass: {WHY})" in one for one in said)
    made = postmortem.make(room.root, INCIDENT, folder / "postmortem.ipynb")
    assert WHY in made.page.read_text()
    assert "approved alone by ann" in made.page.read_text()
    assert WHY in page.render(report.build(room.root, INCIDENT)).decode()
    began = datetime.fromisoformat(record.began.at)
    found = statistics_of(gather(room.root, began, datetime.now(UTC), ()))
    assert found.total.broken_glass == 1
    events = due(record, OnDisk(room.settings), known=(), now=datetime.now(UTC)).events
    [event] = [one for one in events if one.kind == "break-glass"]
    assert event.severity.value == "critical"
    message = Words(None, room.url).message([event])
    assert message.title.startswith("Break-glass: ann approved alone: Terminate")
    assert WHY in message.body
    assert "2 approvers, not the person who asked, had to approve" in message.body
    again = due(record, OnDisk(room.settings), known=(event.key,), now=datetime.now(UTC)).events
    assert not [one for one in again if one.kind == "break-glass"]


class TestRefused(InOneRoom):
    """On one server for all: what does not count, and what is checked all the same."""

    @pytest.fixture
    def stack(self) -> Iterator[ExitStack]:
        with ExitStack() as made:
            yield made

    @pytest.fixture
    def people(self, room: Room, plan: str, stack: ExitStack) -> People:
        configure(room, BY_ANY)
        return People(room, stack)

    def refused(self, sent: httpx.Response, why: str) -> None:
        assert sent.status_code == 409
        assert why in words(sent)

    def test_on_the_page(self, room: Room, plan: str, people: People) -> None:
        asked = room.approve(plan)
        bob = people.phone("bob")
        assert "Break glass: approve alone" in bob.words
        fields = {**bob.fields("reject"), "digest": asked.digest}
        for reason in ("", "too short"):
            sent = bob.client.post(
                f"{PAGE}/approve-by-name", data={**fields, "reason": reason}, headers=HERE
            )
            self.refused(sent, "at least 10 characters")
        # a link without an identity breaks nothing
        link = people.directly()
        sent = link.client.post(
            f"{PAGE}/approve-by-name",
            data={**link.fields("reject"), "reason": WHY, "name": "bob"},
            headers=HERE,
        )
        self.refused(sent, "nothing says who you are")
        sent = link.client.post(
            f"{PAGE}/approve", data={**link.fields("reject"), "reason": WHY}, headers=HERE
        )
        self.refused(sent, "no passkey signed")
        assert recorded(room, plan).approvals == ()
        sent = bob.client.post(
            f"{PAGE}/approve-by-name", data={**fields, "reason": WHY}, headers=HERE
        )
        assert sent.status_code == 303
        shown = bob.words
        assert f"break-glass bob approved alone: {WHY}" in shown
        assert bob.fields("execute")["digest"] == asked.digest

    def test_with_a_passkey(self, room: Room, plan: str, people: People) -> None:
        asked = room.approve(plan)
        device = room.passkey("bob", Authenticator())
        phone = people.directly()
        fields = {**phone.fields("reject"), "reason": WHY}
        url = f"{PAGE}/approve"
        for answer in (
            device.approve(asked.digest),
            device.break_glass(asked.digest, "another reason"),
            device.break_glass("0" * 64, WHY),
        ):
            sent = phone.client.post(url, data={**fields, "answer": answer}, headers=HERE)
            self.refused(sent, "challenge")
        # nor is the signature of one a usual approval
        alone = device.break_glass(asked.digest, WHY)
        usual = {**phone.fields("reject"), "answer": alone}
        self.refused(phone.client.post(url, data=usual, headers=HERE), "challenge")
        alone = device.break_glass(asked.digest, WHY)
        sent = phone.client.post(url, data={**fields, "answer": alone}, headers=HERE)
        assert sent.status_code == 303
        assert recorded(room, plan).recorded is ActionState.APPROVED
        assert not room.ledger.unproven(
            recorded(room, plan), room.ledger.rule(room.ledger.find(plan))
        )

    @pytest.mark.parametrize("forbidden", ["by default", "by the rule", "nobody is needed"])
    def test_not_allowed(self, room: Room, plan: str, stack: ExitStack, forbidden: str) -> None:
        rule = {
            "by default": BY_ANY,
            "by the rule": f"{BY_ANY}break_glass = false\n",
            "nobody is needed": f"{TWO_PEOPLE}proposer_may_approve = true\n",
        }[forbidden]
        configure(room, rule, allowed=forbidden != "by default")
        asked = (
            approval.request(room.ledger, plan)
            if forbidden == "nobody is needed"
            else room.approve(plan)
        )
        why = refusal(
            lambda: approval.approve(room.ledger, plan, asked.digest, room.key("bob"), reason=WHY)
        )
        assert "the policy allows nobody to approve it alone" in why
        assert "Break glass" not in People(room, stack).phone("bob").words
        assert recorded(room, plan).approvals == ()

    def test_a_kernel_cannot_break_it(self, room: Room, plan: str, people: People) -> None:
        """A usual approval, altered in the record so that it looks as if the glass was broken."""
        asked = room.approve(plan, "bob")
        record = room.root / INCIDENT / "incident.jsonl"
        whole = record.read_text()
        [of_bob] = [one for one in whole.splitlines() if '"approved"' in one]
        forged = json.dumps({**json.loads(of_bob), "break_glass": WHY})
        record.write_text(whole.replace(of_bob, forged))
        assert recorded(room, plan).recorded is ActionState.APPROVED
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert "the signature of bob is not valid" in why

    @pytest.mark.parametrize("who", ["ssh", "proxy"])
    def test_another_reason_is_not_valid(
        self, room: Room, plan: str, people: People, who: str
    ) -> None:
        asked = room.approve(plan)
        if who == "ssh":
            approval.approve(room.ledger, plan, asked.digest, room.key("bob"), reason=WHY)
        else:
            phone = people.phone("bob")
            fields = {**phone.fields("reject"), "reason": WHY}
            sent = phone.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)
            assert sent.status_code == 303
        record = room.root / INCIDENT / "incident.jsonl"
        record.write_text(record.read_text().replace(WHY, "the chief said that it is fine"))
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert re.search("of bob is not valid", why)

    def test_everything_else_is_checked(
        self, room: Room, plan: str, still: Queue, server: Servers, people: People
    ) -> None:
        asked = room.approve(plan)
        eve = "this key does not belong to exactly one approver"
        for name, why in (("eve", eve),):
            with pytest.raises(ActionRefused, match=why):
                approval.approve(room.ledger, plan, asked.digest, room.key(name), reason=WHY)
        approval.approve(room.ledger, plan, asked.digest, room.key("bob"), reason=WHY)
        go_on(server, still.holder)
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert f"pid {still.holder} went on since the preview" in why
        assert recorded(room, plan).recorded is ActionState.APPROVED

    def test_a_secret_in_the_reason(self, room: Room, plan: str, people: People) -> None:
        asked = room.approve(plan)
        secret = "the password is postgres://shop:hunter2-Tr0ub4dor@db1/shop"
        why = refusal(
            lambda: approval.approve(
                room.ledger, plan, asked.digest, room.key("bob"), reason=secret
            )
        )
        assert "the reason contains a secret" in why
        assert recorded(room, plan).approvals == ()
