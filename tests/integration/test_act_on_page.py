"""Actions on a page: approved with a passkey, executed once, and refused with the reason."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bs4 import BeautifulSoup

from rbkernel.config.pages import Pages
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState, append
from rbkernel.execution import approval, executor, passkey_signing
from rbkernel.execution.document import Preview
from rbkernel.execution.ledger import Ledger, now
from rbkernel.execution.proposal import Proposal
from rbkernel.gateway import links
from rbkernel.gateway.web import action_forms
from tests.integration.test_act import still
from tests.support.approvals import (
    ONE_PERSON,
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
from tests.support.authenticators import ORIGIN, Authenticator
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.page_gateway import gateway
from tests.support.page_server import serving
from tests.support.servers import Servers
from tests.support.waiting import until
from tests.unit.test_page_forms import HERE, SECRET, words

__all__ = ["still"]
REPOSITORY = Path(__file__).parents[2]
PAGE = f"/rbkernel/incidents/{INCIDENT}"
NOBODY = TWO_PEOPLE.replace("approvers = 1", "approvers = 0")


class Phone:
    """A browser that opened the link to an incident, with a passkey or without."""

    def __init__(self, client: httpx.Client, what: str = INCIDENT, page: str = PAGE) -> None:
        self.client, self.page = client, page
        token = links.sign(what, 4_000_000_000, SECRET)
        assert client.get(f"{page}?link={token}").status_code == 303

    def fields(self, step: str) -> dict[str, str]:
        """The hidden fields of the form of a step, as the page has them now."""
        html = BeautifulSoup(self.client.get(self.page).text, "html.parser")
        [found] = html.select(f"form[action='{self.page}/{step}']")
        return {str(one["name"]): str(one.get("value", "")) for one in found.select("input")}

    def send(self, step: str, **fields: str) -> httpx.Response:
        data = {**self.fields(step), **fields}
        return self.client.post(f"{self.page}/{step}", data=data, headers=HERE)

    @property
    def words(self) -> str:
        return words(self.client.get(self.page))


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKS", SECRET.decode())


def recorded(room: Room, plan: str) -> ActionHistory:
    found = [one for one in incident.look(room.root, INCIDENT).actions if one.plan == plan]
    return found[-1]


def test_from_the_preview_to_the_outcome(
    tmp_path: Path, alone: Servers, diag: Any, monkeypatch: pytest.MonkeyPatch, secret: None
) -> None:
    room = made_room(tmp_path, alone, monkeypatch)
    locks = queue(alone, diag)
    plan = room.propose(locks.plan, other_run(1))
    bob = room.passkey("bob", Authenticator())
    with serving(room.settings) as client:
        phone = Phone(client)
        assert "so the person who asks signs the preview" in phone.words
        asked = approval.request(room.ledger, plan, room.key("ann"))
        seen = phone.words
        assert f"terminate pid {locks.holder} refund-job" in seen
        assert re.search("2 sessions, [12] at once", seen)
        assert "1 approval, not by ann, who asked" in seen
        assert asked.digest[:16] in seen
        assert "Execute" not in seen
        answer = bob.approve(asked.digest)
        assert phone.send("approve", answer=answer).status_code == 303
        assert "Approved by bob" in phone.words
        assert lives(alone, locks.holder)
        tap = phone.fields("execute")

        def execute(_: int) -> int:
            sent = client.post(f"{PAGE}/execute", data={**tap, "name": "bob"}, headers=HERE)
            return sent.status_code

        with ThreadPoolExecutor(4) as taps:
            codes = sorted(taps.map(execute, range(4)))
        assert codes == [303, 409, 409, 409]
        until(lambda: recorded(room, plan).recorded is ActionState.VERIFIED)
        assert "1 of 1 done, 2 of 2 sessions no longer wait" in phone.words
        assert execute(0) == 409
    assert not lives(alone, locks.holder)
    assert all(lives(alone, pid) for pid in locks.waiters)
    done = recorded(room, plan)
    assert done.facts["requested_by"] == "ann"
    assert [one.by for one in done.approvals] == ["bob"]
    steps = [(one.text("state"), one.by, one.text("origin")) for one in done.lines[1:3]]
    assert steps == [
        ("approved", "bob", "page"),
        ("executing", "bob (holder of a link)", "page"),
    ]
    assert steps[1][0] == "executing"
    assert done.lines[2].text("boundary").startswith("not known: the run has the same user id")
    proven_by_openssl(room, tmp_path)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_serve_ends_while_it_executes(
    tmp_path: Path,
    alone: Servers,
    diag: Any,
    monkeypatch: pytest.MonkeyPatch,
    secret: None,
    ending: int,
) -> None:
    watch_s = 3.0 if ending == signal.SIGTERM else 100.0
    rule = TWO_PEOPLE.replace("watch_s = 1.0", f"watch_s = {watch_s}")
    room = made_room(tmp_path, alone, monkeypatch, rules=(rule,))
    plan = room.propose(queue(alone, diag).plan, other_run(1))
    bob, asked = room.passkey("bob", Authenticator()), room.approve(plan)
    approval.approve_with_passkey(room.ledger, plan, asked.digest, bob.approve(asked.digest))
    with (
        gateway(tmp_path, room.root, configuration=room.file, ending=ending) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        assert Phone(client).send("execute").status_code == 303
    done = recorded(room, plan)
    if ending == signal.SIGTERM:
        assert done.recorded is ActionState.VERIFIED
    else:
        assert done.recorded is ActionState.EXECUTING
        assert done.state(now() + timedelta(hours=1)) is ActionState.INDETERMINATE
        assert "executing" in refusal(lambda: executor.begin(room.ledger, plan, asked.digest))


def proven_by_openssl(room: Room, folder: Path, origin: str = ORIGIN) -> None:
    """Run the commands of docs/how-to/act.md, and see that they notice a change."""
    text = (REPOSITORY / "docs/how-to/act.md").read_text()
    [commands] = re.findall(r"with a passkey:\n\n```sh\n(.*?)```", text, re.DOTALL)
    record = (room.root / INCIDENT / "incident.jsonl").read_text()

    def said(lines: str) -> str:
        place = folder / "proof"
        place.mkdir(exist_ok=True)
        (place / "incident.jsonl").write_text(lines)
        script = ["bash", "-c", commands]
        told = subprocess.run(script, cwd=place, capture_output=True, text=True, check=False)
        return told.stdout + told.stderr

    right = said(record)
    assert "Verified OK" in right
    assert "of this document" in right
    assert f'"origin":"{origin}"' in right
    assert re.search(r"\b05\b", right)  # a person was present, and was verified
    other = "\n".join(
        one.replace("refund-job", "another-job") if '"previewed"' in one else one
        for one in record.splitlines()
    )
    assert "of this document" not in said(other)
    changed = []
    for one in map(json.loads, record.splitlines()):
        if one.get("state") == "approved":
            made = json.loads(one["signature"])
            made["client_data"] = made["client_data"][:-8] + "AAAAAAA="
            one["signature"] = json.dumps(made)
        changed.append(json.dumps(one))
    assert "Verified OK" not in said("\n".join(changed))


class TestRefused(InOneRoom):
    """On one server for all: nothing is executed, and the page says why."""

    @pytest.fixture
    def bob(self, room: Room) -> Authenticator:
        return room.passkey("bob", Authenticator())

    @pytest.fixture
    def client(self, room: Room, secret: None) -> Iterator[httpx.Client]:
        with serving(room.settings) as client:
            yield client

    @pytest.fixture
    def phone(self, client: httpx.Client) -> Phone:
        return Phone(client)

    def refused(self, sent: httpx.Response, why: str) -> None:
        assert sent.status_code == 409
        assert why in words(sent)

    def test_a_link_is_no_approval(self, room: Room, plan: str, phone: Phone) -> None:
        room.approve(plan)
        self.refused(phone.send("approve"), "no passkey signed")
        fields = phone.fields("approve")
        sent = phone.client.post(f"{PAGE}/execute", data=fields, headers=HERE)
        self.refused(sent, "0 of 1 approvals")
        for step in ("request", "approve", "execute", "reject"):
            assert phone.client.get(f"{PAGE}/{step}", params=fields).status_code == 405
        assert recorded(room, plan).approvals == ()

    def test_whose_passkey_it_is(
        self, room: Room, plan: str, phone: Phone, bob: Authenticator
    ) -> None:
        asked = room.approve(plan)
        ann = room.passkey("ann", Authenticator())
        own = phone.send("approve", answer=ann.approve(asked.digest))
        self.refused(own, "ann asked for the approval")
        unknown = phone.send("approve", answer=Authenticator().approve(asked.digest))
        self.refused(unknown, "this passkey is not registered")
        room.approvers.write_text(room.approvers.read_text().replace("bob ", "rob "))
        self.refused(phone.send("approve", answer=bob.approve(asked.digest)), "bob has no line")

    def test_of_another_document_or_of_before(
        self, room: Room, plan: str, still: Queue, phone: Phone, bob: Authenticator
    ) -> None:
        asked = room.approve(plan)
        fields = phone.fields("approve")
        first = bob.approve(asked.digest)
        approval.reject(room.ledger, plan, "not now")
        late = phone.client.post(f"{PAGE}/approve", data={**fields, "answer": first}, headers=HERE)
        self.refused(late, "it is rejected")
        other = room.propose(still.plan, other_run(2), title="Terminate it")
        again = room.approve(other)
        assert again.digest != asked.digest
        # the list of runs may be a second old
        until(lambda: "Approve with passkey" in phone.words)
        replayed = {**phone.fields("approve"), "answer": first}
        sent = phone.client.post(f"{PAGE}/approve", data=replayed, headers=HERE)
        self.refused(sent, "challenge")
        # what was seen before is not what would be approved now
        stale = {**replayed, "digest": asked.digest, "answer": bob.approve(asked.digest)}
        sent = phone.client.post(f"{PAGE}/approve", data=stale, headers=HERE)
        self.refused(sent, "the recorded preview has the digest")

    def test_expired(
        self,
        room: Room,
        plan: str,
        phone: Phone,
        bob: Authenticator,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked = room.approve(plan)
        fields = {**phone.fields("approve"), "answer": bob.approve(asked.digest)}
        with monkeypatch.context() as later:
            later.setattr(approval, "now", lambda: now() + timedelta(hours=1))
            sent = phone.client.post(f"{PAGE}/approve", data=fields, headers=HERE)
            self.refused(sent, "it is expired")
        assert phone.client.post(f"{PAGE}/approve", data=fields, headers=HERE).status_code == 303
        fields = phone.fields("execute")
        monkeypatch.setattr(executor, "now", lambda: now() + timedelta(hours=1))
        sent = phone.client.post(f"{PAGE}/execute", data=fields, headers=HERE)
        self.refused(sent, "it is expired")

    @pytest.mark.parametrize("change", ["removed", "moved", "another key", "another name"])
    def test_the_passkey_changed_after_the_approval(
        self, room: Room, plan: str, phone: Phone, bob: Authenticator, change: str
    ) -> None:
        asked = room.approve(plan)
        assert phone.send("approve", answer=bob.approve(asked.digest)).status_code == 303
        file = passkey_signing.file_of(room.settings)
        if change == "removed":
            file.remove("bob")
        elif change == "moved":
            room.url = "https://runbooks.example.org"
            room.configure(TWO_PEOPLE)
        elif change == "another key":
            secret = passkey_signing.invite(room.settings, "bob", timedelta(minutes=5), now())
            other = Authenticator(id=b"x" * 20).register(secret)
            made = passkey_signing.register(room.settings, secret, other, now())
            text = file.path.read_text()
            old = file.read().passkeys[0].public_key
            file.path.write_text(text.replace(old, made.public_key))
        else:
            file.path.write_text(file.path.read_text().replace('"bob"', '"ann"'))
        why = refusal(lambda: executor.begin(room.ledger, plan, asked.digest))
        assert "the approval of bob is not valid" in why
        if change != "moved":  # the server keeps its address
            shown = phone.words
            assert "the approval of bob is not valid" in shown
            assert "Execute" not in shown
        assert recorded(room, plan).recorded is ActionState.APPROVED

    def test_the_link_of_another_incident(
        self, room: Room, plan: str, still: Queue, client: httpx.Client, bob: Authenticator
    ) -> None:
        asked = room.approve(plan)
        other, run_id = "INC-20261120-bbbb", other_run(9)
        append(room.root, other, "opened", by="root", title="Other", severity="P1")
        room.propose(still.plan, run_id, incident=other, id="another", title="Another")
        phone = Phone(client, other, f"/rbkernel/incidents/{other}")
        fields = {"plan": plan, "digest": asked.digest, "answer": bob.approve(asked.digest)}
        for what, page in ((other, phone.page), (run_id, f"/rbkernel/runs/{run_id}")):
            grant = links.Grant(what=other, expires=0)
            fields["_xsrf"] = links.form_token(grant, what, SECRET)
            for step in ("request", "approve", "execute", "reject"):
                sent = client.post(f"{page}/{step}", data=fields, headers=HERE)
                self.refused(sent, "this action is not proposed here any more")
            assert client.get(page).status_code == 200
        assert recorded(room, plan).recorded is ActionState.PREVIEWED

    @pytest.mark.parametrize("place", ["this process", "this host"])
    def test_where_kernels_could_forge_passkeys(
        self, room: Room, still: Queue, bob: Authenticator, secret: None, place: str
    ) -> None:
        here = socket.gethostname()
        plan = room.propose(still.plan, other_run(1), host=here if place == "this host" else "h")
        room.kernels = 2 if place == "this process" else 0
        room.configure(TWO_PEOPLE)
        asked = room.approve(plan)
        with serving(room.settings) as client:
            phone = Phone(client)
            assert "kernels run here as the OS user" in phone.words
            assert "Approve with passkey" not in phone.words
            fields = {**phone.fields("reject"), "answer": bob.approve(asked.digest)}
            for step in ("request", "approve", "execute"):
                sent = client.post(f"{PAGE}/{step}", data=fields, headers=HERE)
                self.refused(sent, "kernels run here as the OS user")
            room.one_user = True
            room.configure(TWO_PEOPLE)
            assert "Boundary: none: kernels run as the OS user" in phone.words
            sent = phone.send("approve", answer=bob.approve(asked.digest))
            assert sent.status_code == 303
            assert "Execute" in phone.words
            room.one_user = False
            room.configure(TWO_PEOPLE)
            sent = client.post(f"{PAGE}/execute", data=fields, headers=HERE)
            self.refused(sent, "kernels run here as the OS user")

    def test_open_pages_have_no_button(self, room: Room, plan: str) -> None:
        room.approve(plan)
        pages = Pages(open_on_loopback=True)
        with serving(room.settings.model_copy(update={"pages": pages})) as client:
            page = client.get(PAGE)
        assert "approve and execute by command" in words(page)
        for step in ("request", "approve", "execute", "reject"):
            assert f"{PAGE}/{step}" not in page.text

    def test_the_database_is_asked_last(
        self, room: Room, plan: str, phone: Phone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = room.approve(plan)
        ann = room.passkey("ann", Authenticator())

        def is_asked(*_: object) -> Preview:
            raise AssertionError("the database was asked")

        monkeypatch.setattr(Ledger, "preview", is_asked)
        for answer, why in (
            ("x", "not accepted"),
            (Authenticator().approve(asked.digest), "not registered"),
            (ann.approve(asked.digest), "ann asked for the approval"),
        ):
            self.refused(phone.send("approve", answer=answer), why)
        fields = phone.fields("approve")
        sent = phone.client.post(f"{PAGE}/request", data=fields, headers=HERE)
        self.refused(sent, "the person who asks must sign")

    def test_a_database_that_hangs_delays_nothing_else(
        self, room: Room, plan: str, phone: Phone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room.configure(ONE_PERSON)
        approval.request(room.ledger, plan)
        fields, real = phone.fields("request"), Ledger.preview
        looks, goes_on = threading.Event(), threading.Event()

        def hangs(ledger: Ledger, found: Proposal, **_: Any) -> Preview:
            looks.set()
            assert goes_on.wait(60)
            return real(ledger, found)

        monkeypatch.setattr(Ledger, "preview", hangs)
        monkeypatch.setattr(action_forms, "_WAIT_S", 60.0)

        def ask(_: int) -> httpx.Response:
            return phone.client.post(f"{PAGE}/request", data=fields, headers=HERE)

        with ThreadPoolExecutor(4) as people:
            sent = [people.submit(ask, number) for number in range(4)]
            assert looks.wait(60)
            until(lambda: any(one.done() for one in sent))
            [busy] = [one.result() for one in sent if one.done()]
            self.refused(busy, "other steps of actions look at orders")
            assert phone.send("reject", note="no").status_code == 303
            goes_on.set()
        assert recorded(room, plan).recorded is ActionState.REJECTED

    def test_what_changes_during_the_look_counts(
        self,
        room: Room,
        plan: str,
        phone: Phone,
        bob: Authenticator,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked, real = room.approve(plan), Ledger.preview

        def changes(ledger: Ledger, found: Proposal) -> Preview:
            room.configure(f"{TWO_PEOPLE}most_targets = 2\n")
            return real(ledger, found)

        with monkeypatch.context() as slow:
            slow.setattr(Ledger, "preview", changes)
            sent = phone.send("approve", answer=bob.approve(asked.digest))
            self.refused(sent, "changed in this moment")
            room.configure(TWO_PEOPLE)
        assert phone.send("approve", answer=bob.approve(asked.digest)).status_code == 303
        monkeypatch.setattr(Ledger, "preview", changes)
        self.refused(phone.send("execute"), "changed in this moment")
        assert recorded(room, plan).recorded is ActionState.APPROVED

    def test_two_approvals_are_of_two_people(self, room: Room, plan: str, phone: Phone) -> None:
        room.configure(ONE_PERSON.replace("approvers = 1", "approvers = 2"))
        bob = room.passkey("bob", Authenticator(counts=False))
        ann = room.passkey("ann", Authenticator())
        asked = room.approve(plan)
        answer = bob.approve(asked.digest)
        assert phone.send("approve", answer=answer).status_code == 303
        assert "1 of 2 approvals" in phone.words
        assert "registered" in phone.words
        # a synchronized passkey has no counter: the record knows a repeated signature
        for again in (answer, bob.approve(asked.digest)):
            self.refused(phone.send("approve", answer=again), "bob has approved it already")
        by_key = refusal(lambda: approval.approve(room.ledger, plan, asked.digest, room.key("bob")))
        assert "bob has approved it already" in by_key
        assert "Execute" not in phone.words
        assert phone.send("approve", answer=ann.approve(asked.digest)).status_code == 303
        assert "2 of 2 approvals" in phone.words
        assert phone.fields("execute")["digest"] == asked.digest

    def test_without_approvals_only_by_command(self, room: Room, plan: str, phone: Phone) -> None:
        room.configure(NOBODY)
        asked = approval.request(room.ledger, plan)
        assert "only `rbkernel action execute" in phone.words
        fields = {**phone.fields("reject"), "digest": asked.digest}
        sent = phone.client.post(f"{PAGE}/execute", data=fields, headers=HERE)
        self.refused(sent, "nobody approved it")

    @pytest.mark.parametrize("of", [INCIDENT, other_run(1)])
    def test_one_person_previews_approves_and_rejects_on_the_page(
        self,
        room: Room,
        plan: str,
        still: Queue,
        server: Servers,
        client: httpx.Client,
        bob: Authenticator,
        of: str,
    ) -> None:
        room.configure(ONE_PERSON)
        page = PAGE if of == INCIDENT else f"/rbkernel/runs/{of}"
        phone = Phone(client, of, page)
        assert phone.send("request").status_code == 303
        asked = recorded(room, plan)
        assert asked.lines[0].by == "holder of a link"
        assert phone.send("request").status_code == 303
        assert recorded(room, plan).digest == asked.digest
        go_on(server, still.holder)
        sent = phone.send("approve", answer=bob.approve(asked.digest))
        self.refused(sent, f"pid {still.holder} went on since the preview")
        assert phone.send("request").status_code == 303
        before, asked = asked, recorded(room, plan)
        assert asked.digest != before.digest
        assert phone.send("approve", answer=bob.approve(asked.digest)).status_code == 303
        sent = phone.send("reject", note="the job ends by itself", name="ann")
        assert sent.status_code == 303
        assert recorded(room, plan).lines[-1].by == "ann (holder of a link)"
        shown = phone.words
        assert "rejected" in shown
        assert "the job ends by itself" in shown
        assert "Execute" not in shown

    def test_what_is_not_configured_is_explained(
        self, room: Room, plan: str, phone: Phone, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room.approve(plan)
        text = room.file.read_text()
        for old, new, why in (
            (f'passkeys = "{room.folder}/passkeys"\n', "", "no file of passkeys is configured"),
            ("[[actions.rules]]", "[[actions.rule]]", "rbkernel.toml"),
            ("[connections.orders.action]", "[connections.more]", "no role for actions"),
            (TWO_PEOPLE, 'action = "cancel_queries"\n', "no rule allows terminate_sessions"),
        ):
            assert old in text
            room.file.write_text(text.replace(old, new))
            shown = phone.words
            assert why in shown
            assert "Approve with passkey" not in shown
        room.file.write_text(text)
        assert "Approve with passkey" in phone.words
        other = room.folder / "other.toml"
        other.write_text(text)
        monkeypatch.setenv("RBKERNEL_CONFIG", str(other))
        assert "the configuration is now" in phone.words
        assert "Approve with passkey" not in phone.words

    def test_an_altered_record_is_not_shown_as_a_preview(
        self, room: Room, plan: str, phone: Phone
    ) -> None:
        room.approve(plan)
        record = room.root / INCIDENT / "incident.jsonl"
        record.write_text(record.read_text().replace("refund-job", "harmless"))
        shown = phone.words
        assert "its document in the record was altered" in shown
        assert "Approve with passkey" not in shown
        assert "terminate pid" not in shown

    def test_an_address_without_passkeys(self, room: Room, plan: str, secret: None) -> None:
        room.url = "http://127.0.0.1:8790"
        room.configure(TWO_PEOPLE)
        room.approve(plan)
        with serving(room.settings) as client:
            shown = Phone(client).words
        assert "passkeys need https and a host name" in shown
        assert "set [gateway] url" in shown
        assert "Approve with passkey" not in shown

    def test_the_target_went_on(
        self,
        room: Room,
        plan: str,
        still: Queue,
        server: Servers,
        phone: Phone,
        bob: Authenticator,
    ) -> None:
        asked = room.approve(plan)
        go_on(server, still.holder)
        sent = phone.send("approve", answer=bob.approve(asked.digest))
        self.refused(sent, f"pid {still.holder} went on since the preview")
        assert recorded(room, plan).approvals == ()
