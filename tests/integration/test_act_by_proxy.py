"""Actions approved by people whom a proxy names: who counts, who does not, and what is recorded."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import approval, executor, named_person
from rbkernel.gateway import links
from tests.integration.test_act import still
from tests.integration.test_act_on_page import PAGE, Phone
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
from tests.support.login_proxy import PEER, SECRET, login_proxy, person
from tests.support.page_server import serving
from tests.support.servers import Servers
from tests.support.waiting import until
from tests.unit.test_page_forms import HERE, words
from tests.unit.test_page_forms import SECRET as LINKS

__all__ = ["still"]
BY_PROXY = f'{TWO_PEOPLE}identities = ["ssh", "passkey", "proxy"]\n'
TWO_OF_ALL = BY_PROXY.replace("approvers = 1", "approvers = 2\nproposer_may_approve = true")
PROXY = f'[pages.proxy]\naddresses = ["{PEER}"]\nsecret_env = "PROXY"\n'


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKS", LINKS.decode())
    monkeypatch.setenv("PROXY", SECRET)


def configure(room: Room, rule: str, more: str = PROXY) -> None:
    room.configure(rule)
    text = room.file.read_text()
    room.file.write_text(text.replace("[queue]", f"{more}[queue]"))


class People:
    """The pages behind a proxy, and a browser for each person."""

    def __init__(self, room: Room, stack: ExitStack) -> None:
        self._room, self._stack = room, stack
        self.direct = stack.enter_context(serving(room.settings))
        self._address = stack.enter_context(login_proxy(str(self.direct.base_url).rstrip("/")))

    def phone(self, user: str = "") -> Phone:
        return Phone(self._stack.enter_context(person(self._address, user)))

    def directly(self) -> Phone:
        return Phone(self.direct)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def clicked(phone: Phone) -> httpx.Response:
    """Approve on a page that offers no button for it."""
    fields = phone.fields("reject")
    return phone.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)


def recorded(room: Room, plan: str) -> ActionHistory:
    return [one for one in incident.look(room.root, INCIDENT).actions if one.plan == plan][-1]


def test_two_people_from_the_preview_to_the_outcome(
    tmp_path: Any, alone: Servers, diag: Any, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    room = made_room(tmp_path, alone, monkeypatch)
    configure(room, BY_PROXY)
    locks = queue(alone, diag)
    plan = room.propose(locks.plan, other_run(1))
    people = People(room, stack)
    ann, bob = people.phone("ann"), people.phone("bob")
    assert ann.send("request").status_code == 303
    asked = recorded(room, plan)
    assert asked.facts["requested_by"] == "ann"
    assert "the word of a proxy is enough" in bob.words
    assert "Not here: ann asked for the approval" in ann.words
    assert "Approve as" not in ann.words
    own = clicked(ann)
    assert (own.status_code, "ann asked for the approval" in words(own)) == (409, True)
    assert "Approve as bob" in bob.words
    assert bob.send("approve-by-name").status_code == 303
    shown = bob.words
    assert f"the proxy at {PEER} said bob; not signed" in shown
    assert lives(alone, locks.holder)
    assert bob.send("execute").status_code == 303
    until(lambda: recorded(room, plan).recorded is ActionState.VERIFIED)
    assert not lives(alone, locks.holder)
    done = recorded(room, plan)
    assert [(one.by, one.key) for one in done.approvals] == [
        ("bob", f"the proxy at {PEER} said bob; not signed")
    ]
    assert done.approvals[0].signature.startswith("not signed: the proxy at")
    assert done.lines[2].by == f"bob (said by the proxy at {PEER})"
    assert SECRET not in (room.root / INCIDENT / "incident.jsonl").read_text()


class TestRefused(InOneRoom):
    """On one server for all: nothing is executed, and the page says why."""

    @pytest.fixture
    def people(self, room: Room, plan: str, stack: ExitStack) -> People:
        configure(room, TWO_OF_ALL)
        return People(room, stack)

    def refused(self, sent: httpx.Response, why: str) -> None:
        assert sent.status_code == 409
        assert why in words(sent)

    def test_one_person_counts_once(self, room: Room, plan: str, people: People) -> None:
        ann, bob, again = people.phone("ann"), people.phone("bob"), people.phone("bob")
        assert bob.send("request").status_code == 303
        digest = recorded(room, plan).digest
        assert bob.send("approve-by-name").status_code == 303
        assert "Not here: bob has approved it already" in again.words
        self.refused(clicked(again), "bob has approved it already")
        by_key = refusal(lambda: approval.approve(room.ledger, plan, digest, room.key("bob")))
        assert "bob has approved it already" in by_key
        device = room.passkey("bob", Authenticator(counts=False))
        sent = again.send("approve", answer=device.approve(digest))
        self.refused(sent, "bob has approved it already")
        assert "1 of 2 approvals" in refusal(lambda: executor.begin(room.ledger, plan, digest))
        assert ann.send("approve-by-name").status_code == 303
        assert [one.by for one in recorded(room, plan).approvals] == ["bob", "ann"]
        assert recorded(room, plan).recorded is ActionState.APPROVED

    def test_who_is_no_approver(self, room: Room, plan: str, people: People) -> None:
        approval.request(room.ledger, plan)
        for name in ("eve", "dan"):  # eve has a key, and no line
            phone = people.phone(name)
            assert "Approve as" not in phone.words
            fields = {**phone.fields("reject"), "name": "bob"}
            sent = phone.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)
            self.refused(sent, f"{name} has no line without options")
        # two names with one key are not two people
        [line] = [one for one in room.approvers.read_text().splitlines() if one.startswith("bob")]
        with room.approvers.open("a") as file:
            file.write(line.replace("bob", "dan", 1) + "\n")
        for name in ("bob", "dan"):
            phone = people.phone(name)
            sent = phone.client.post(
                f"{PAGE}/approve-by-name", data=phone.fields("reject"), headers=HERE
            )
            self.refused(sent, "another name has the same key")
        assert recorded(room, plan).approvals == ()

    def test_without_a_name(self, room: Room, plan: str, people: People) -> None:
        approval.request(room.ledger, plan)
        for phone in (people.phone(), people.directly()):
            assert "the proxy names nobody" in phone.words or "Approve with passkey" in phone.words
            assert "Approve as" not in phone.words
            fields = {**phone.fields("reject"), "name": "bob"}
            sent = phone.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)
            self.refused(sent, "nothing says who you are")
            forged = {**HERE, "X-Forwarded-User": "bob"}
            if phone.client is people.direct:
                sent = phone.client.post(f"{PAGE}/approve-by-name", data=fields, headers=forged)
                assert sent.status_code == 403
        assert recorded(room, plan).approvals == ()

    def test_only_a_form_of_the_page(self, room: Room, plan: str, people: People) -> None:
        approval.request(room.ledger, plan)
        ann, bob = people.phone("ann"), people.phone("bob")
        fields = bob.fields("approve-by-name")
        url = f"{PAGE}/approve-by-name"
        assert bob.client.get(url, params=fields).status_code == 405
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            assert bob.client.post(url, data=fields, headers=headers).status_code == 403
        elsewhere = {"Origin": "https://evil.example"}
        assert bob.client.post(url, data=fields, headers=elsewhere).status_code == 403
        of_ann = {**fields, "_xsrf": ann.fields("approve-by-name")["_xsrf"]}
        assert bob.client.post(url, data=of_ann, headers=HERE).status_code == 403
        # what a holder of the same link can compute from pages without a name
        grant = links.Grant(what=INCIDENT, expires=0)
        known = {**fields, "_xsrf": links.form_token(grant, INCIDENT, LINKS)}
        assert bob.client.post(url, data=known, headers=HERE).status_code == 403
        stale = {**fields, "digest": "0" * 64}
        self.refused(bob.client.post(url, data=stale, headers=HERE), "has the digest")
        assert recorded(room, plan).approvals == ()
        assert bob.client.post(url, data=fields, headers=HERE).status_code == 303

    def test_a_rule_without_it(self, room: Room, plan: str, people: People) -> None:
        approval.request(room.ledger, plan)
        fields = people.phone("bob").fields("approve-by-name")
        configure(room, TWO_OF_ALL.replace(', "proxy"', ""))
        approval.request(room.ledger, plan)
        bob = people.phone("bob")
        assert "Approve as bob" not in bob.words
        sent = bob.client.post(
            f"{PAGE}/approve-by-name",
            data={**fields, "digest": recorded(room, plan).digest},
            headers=HERE,
        )
        self.refused(sent, "the policy takes approvals by ssh or passkey, not by proxy")

    def test_a_rule_with_it_alone(self, room: Room, plan: str, people: People) -> None:
        configure(room, TWO_OF_ALL.replace('"ssh", "passkey", "proxy"', '"proxy"'))
        asked = approval.request(room.ledger, plan)
        why = refusal(lambda: approval.approve(room.ledger, plan, asked.digest, room.key("bob")))
        assert "the policy takes approvals by proxy, not by ssh" in why
        bob = room.passkey("bob", Authenticator())
        phone = people.phone("ann")
        assert "Approve with passkey" not in phone.words
        fields = {**phone.fields("approve-by-name"), "answer": bob.approve(asked.digest)}
        sent = phone.client.post(f"{PAGE}/approve", data=fields, headers=HERE)
        self.refused(sent, "the policy takes approvals by proxy, not by passkey")
        assert phone.send("approve-by-name").status_code == 303

    def test_the_policy_changed_after_the_approvals(
        self, room: Room, plan: str, people: People
    ) -> None:
        asked = approval.request(room.ledger, plan)
        for name in ("ann", "bob"):
            assert people.phone(name).send("approve-by-name").status_code == 303
        configure(room, TWO_OF_ALL.replace(', "proxy"', ""))
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert "the policy changed since its preview" in why

    @pytest.mark.parametrize("change", ["secret", "removed", "jupyter", "no proxy"])
    def test_what_changed_after_the_approvals(
        self, room: Room, plan: str, people: People, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        asked = approval.request(room.ledger, plan)
        for name in ("ann", "bob"):
            assert people.phone(name).send("approve-by-name").status_code == 303
        if change == "secret":
            monkeypatch.setenv("PROXY", SECRET[::-1])
        elif change == "removed":
            text = room.approvers.read_text()
            room.approvers.write_text(text.replace("bob ", "rob "))
        elif change == "jupyter":
            jupyter = f'[pages]\njupyter_url = "{room.url}/user/ann"\n'
            room.file.write_text(room.file.read_text().replace("[pages]\n", jupyter))
        else:
            monkeypatch.delenv("PROXY")
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert "is not valid" in why
        assert recorded(room, plan).recorded is ActionState.APPROVED

    def test_a_kernel_cannot_write_an_approval(self, room: Room, plan: str, people: People) -> None:
        """A kernel can write the record: each line that it adds or alters is refused."""
        asked = approval.request(room.ledger, plan)
        assert people.phone("bob").send("approve-by-name").status_code == 303
        record = room.root / INCIDENT / "incident.jsonl"
        whole = record.read_text()
        [of_bob] = [
            one for one in map(json.loads, whole.splitlines()) if one.get("state") == "approved"
        ]
        as_ann = json.loads(json.dumps(of_bob).replace("bob", "ann"))
        no_code = {**as_ann, "signature": as_ann["signature"].rpartition("code: ")[0]}
        for forged in (as_ann, no_code, {**as_ann, "signature": "not signed: ann"}):
            record.write_text(f"{whole}{json.dumps(forged)}\n")
            assert recorded(room, plan).recorded is ActionState.APPROVED
            why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
            assert "the approval of ann is not valid" in why
        # an approval that is moved to another time would be valid for longer
        moved = whole.replace(of_bob["at"], asked.approve_by.isoformat())
        record.write_text(moved)
        why = refusal(lambda: approval.approve(room.ledger, plan, asked.digest, room.key("ann")))
        assert "at another time than the record says" in why

    def test_a_kernel_that_could_ask_in_another_name(
        self, room: Room, still: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who asks by the word of a proxy counts only where kernels cannot say it, too."""
        configure(room, BY_PROXY)
        plan = room.propose(still.plan, other_run(3), host=socket.gethostname(), title="Here")
        ann = named_person.Person(name="ann", address=PEER)
        asked = approval.request(room.ledger, plan, person=ann)
        approval.approve(room.ledger, plan, asked.digest, room.key("bob"))
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert "kernels run here as the OS user" in why

    def test_where_kernels_could_say_any_name(
        self, room: Room, still: Queue, plan: str, stack: ExitStack
    ) -> None:
        room.kernels = 2
        configure(room, TWO_OF_ALL)
        asked = approval.request(room.ledger, plan)
        bob = People(room, stack).phone("bob")
        assert "kernels run here as the OS user" in bob.words
        fields = {**bob.fields("reject"), "digest": asked.digest}
        for step in ("request", "approve-by-name", "execute"):
            sent = bob.client.post(f"{PAGE}/{step}", data=fields, headers=HERE)
            self.refused(sent, "kernels run here as the OS user")

    def test_jupyter_at_the_same_origin(self, room: Room, plan: str, stack: ExitStack) -> None:
        configure(room, TWO_OF_ALL)
        jupyter = f'[pages]\njupyter_url = "{room.url}/user/ann"\n'
        room.file.write_text(room.file.read_text().replace("[pages]\n", jupyter))
        approval.request(room.ledger, plan)
        bob = People(room, stack).phone("bob")
        assert "JupyterLab has the same origin" in bob.words
        fields = bob.fields("reject")
        sent = bob.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)
        self.refused(sent, "JupyterLab has the same origin")

    def test_the_target_went_on(
        self, room: Room, plan: str, still: Queue, server: Servers, people: People
    ) -> None:
        approval.request(room.ledger, plan)
        bob = people.phone("bob")
        fields = bob.fields("approve-by-name")
        go_on(server, still.holder)
        sent = bob.client.post(f"{PAGE}/approve-by-name", data=fields, headers=HERE)
        self.refused(sent, f"pid {still.holder} went on since the preview")
        assert recorded(room, plan).approvals == ()
