"""An approval on a phone, from the runbook to the ended session, in a real browser with a passkey.

The browser's authenticator is Chromium's virtual one; all else is real: the runbook's run, the
gateway, the database and `openssl`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from rbkernel.evidence import incident
from rbkernel.evidence.incident import IncidentRecord, IncidentState
from rbkernel.execution import boundary
from rbkernel.gateway import links
from rbkernel.incidents import workflow
from tests.integration.test_act_on_page import PAGE, proven_by_openssl
from tests.support.approvals import ONE_PERSON, Queue, Room, lives, made_room, queue
from tests.support.command import run_command
from tests.support.journal_builder import INCIDENT, other_run
from tests.support.page_gateway import gateway
from tests.support.servers import Servers, servers
from tests.support.waiting import until
from tests.unit.test_page_forms import SECRET

_TIMEOUT_MS = 60_000
# whether "Execute", which takes the place of another button by itself, is disabled at first
_NOTES_THE_BUTTON = """
new MutationObserver(() => {
  const button = document.querySelector("[data-settles]");
  if (button) window.cameDisabled ??= button.disabled;
}).observe(document.getElementById("main"), { childList: true, subtree: true });
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("servers") / "home") as made:
        yield made


@contextmanager
def phone(browser: Browser) -> Iterator[Page]:
    """A phone of 390 px, whose owner shows their finger whenever it asks."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(_TIMEOUT_MS)
    devices = context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield page
    context.close()


def told(*arguments: str, code: int = 0) -> str:
    done = run_command(*arguments)
    assert done.returncode == code, done.stderr
    return done.stdout


def register(page: Page, name: str) -> None:
    """Register a passkey, as the owner of the phone does with the invitation."""
    page.goto(told("action", "invite", name).strip())
    assert "#" not in page.url
    page.get_by_role("button", name="Register").click()
    expect(page.locator("#register")).to_contain_text(f"now approves as {name}")


def open_link(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGE}?link={links.sign(INCIDENT, 4_000_000_000, SECRET)}")
    expect(page.locator("#actions")).to_contain_text("previewed")


def test_two_people_end_the_blocker_from_a_phone(
    server: Servers, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://localhost:{port}"
    room = made_room(tmp_path, server, monkeypatch, url=url, one_user=True)
    monkeypatch.setenv("LINKS", SECRET.decode())
    session = server.diagnostic_session()
    locks = queue(server, session)
    session.close()
    told("run", "RUN-007", "-p", "db=orders", "--incident", INCIDENT, code=1)
    [plan] = [one for one in json.loads(told("action", "list", "--json")) if one["action"]]
    told("action", "request", plan["plan"], "--key", str(room.key("ann")))
    with gateway(tmp_path, room.root, configuration=room.file, port=port):
        with phone(browser) as page:
            register(page, "ann")
            open_link(page, url)
            page.get_by_role("button", name="Approve with passkey").click()
            expect(page.locator("main")).to_contain_text("ann asked for the approval")
        with phone(browser) as page:
            open_link(page, url)
            page.get_by_role("button", name="Approve with passkey").click()
            expect(page.locator("#actions")).to_contain_text("Not approved:")
            register(page, "bob")
            open_link(page, url)
            approves_and_executes(page, locks, tmp_path)
    assert not lives(server, locks.holder)
    assert all(lives(server, pid) for pid in locks.waiters)
    server.end_sessions()
    assert told("why", "orders").startswith("OK no cause found")
    [done] = incident.look(room.root, INCIDENT).actions
    assert (done.recorded, done.facts["requested_by"]) == ("verified", "ann")
    assert [one.by for one in done.approvals] == ["bob"]
    assert [one["pid"] for one in done.facts["targets"]] == [locks.holder]
    [begun] = [one for one in done.lines if one.text("state") == "executing"]
    assert begun.text("boundary") == boundary.NONE
    assert done.lines[-1].text("result") == "1 of 1 done, 2 of 2 sessions no longer wait"
    proven_by_openssl(room, tmp_path, url)


def approves_and_executes(page: Page, locks: Queue, folder: Path) -> None:
    """See the preview, approve it and execute it: two taps."""
    actions = page.locator("#actions")
    expect(actions).to_contain_text(f"terminate pid {locks.holder} refund-job")
    expect(actions).to_contain_text("uncommitted work is lost")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(actions).to_contain_text("so the approval is a convenience")
    page.screenshot(path=folder / "phone-preview.png", full_page=True)
    watching = page.context.new_page()
    watching.set_default_timeout(_TIMEOUT_MS)
    watching.goto(page.url)
    watching.evaluate(_NOTES_THE_BUTTON)
    button = page.get_by_role("button", name="Approve with passkey")
    place = button.bounding_box()
    assert place
    assert place["height"] >= 44
    button.click()
    expect(actions).to_contain_text("Approved by bob")
    page.screenshot(path=folder / "phone-approved.png", full_page=True)
    came = watching.get_by_role("button", name="Execute")
    expect(came).to_be_enabled(timeout=_TIMEOUT_MS)
    assert watching.evaluate("window.cameDisabled") is True
    watching.close()
    page.get_by_role("button", name="Execute").click()
    expect(actions).to_contain_text("1 of 1 done, 2 of 2 sessions no longer wait")
    expect(actions).to_contain_text("verified")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(actions.get_by_role("button")).to_have_count(0)
    page.screenshot(path=folder / "phone-verified.png", full_page=True)


def test_one_person_breaks_the_glass_on_a_phone(
    server: Servers, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person who asked approves alone: the reason that was typed is part of what is signed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, why = f"http://localhost:{port}", "nobody else answers – not even Zoë"
    room = made_room(tmp_path, server, monkeypatch, url=url, one_user=True)
    text = room.file.read_text()
    room.file.write_text(text.replace("one_user", "break_glass = true\none_user", 1))
    monkeypatch.setenv("LINKS", SECRET.decode())
    session = server.diagnostic_session()
    locks = queue(server, session)
    session.close()
    plan = room.propose(locks.plan, other_run(1))
    room.approve(plan)
    with gateway(tmp_path, room.root, configuration=room.file, port=port), phone(browser) as page:
        register(page, "ann")
        open_link(page, url)
        actions = page.locator("#actions")
        actions.get_by_text("Break glass: approve alone").click()
        actions.get_by_label("Why (recorded").fill(f"  {why} ")
        actions.get_by_role("button", name="Approve alone with passkey").click()
        expect(actions).to_contain_text(f"ann approved alone: {why}")
        expect(actions.locator(".badge.critical")).to_have_text("break-glass")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=tmp_path / "phone-break-glass.png", full_page=True)
        page.get_by_role("button", name="Execute").click()
        expect(actions).to_contain_text("verified")
    [done] = incident.look(room.root, INCIDENT).actions
    assert [(one.by, one.break_glass) for one in done.approvals] == [("ann", why)]
    assert not lives(server, locks.holder)
    server.end_sessions()


ROUTE = """
[grouping]
when_resolved = "close"
[[routes]]
alert = "*"
runbooks = ["RUN-007"]
parameters = {db = "orders"}
"""
ALERT = {"name": "Locks", "labels": {"service": "orders"}, "starts_at": "2026-11-20T03:02:00Z"}


def send(url: str, **more: str) -> None:
    assert httpx.post(f"{url}/alerts/generic", json={**ALERT, **more}).is_success


def incident_of(room: Room, alert: str) -> IncidentRecord | None:
    found = incident.list_incidents(room.root)
    return next((one for one in found if alert in [of.name for of in one.alerts]), None)


def test_one_person_from_the_alert_to_the_end_in_three_taps(
    server: Servers, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is typed, and nobody starts a run: the executed action answers the question."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://localhost:{port}"
    more: dict[str, Any] = {"rules": (ONE_PERSON,), "url": url, "one_user": True, "kernels": 1}
    room = made_room(tmp_path, server, monkeypatch, **more)
    room.file.write_text(room.file.read_text() + ROUTE)
    monkeypatch.setenv("LINKS", SECRET.decode())
    session = server.diagnostic_session()
    locks = queue(server, session)
    session.close()
    taps = []

    def tap(page: Page, name: str) -> None:
        taps.append(name)
        page.get_by_role("button", name=name).click()

    def ended(number: int) -> bool:
        found = incident_of(room, "Locks")
        return bool(found and sum(bool(run.sealed_at) for run in found.runs) == number)

    with (
        gateway(tmp_path, room.root, configuration=room.file, port=port) as _,
        phone(browser) as page,
    ):
        register(page, "bob")
        send(url)
        until(lambda: ended(1), "the runbook of the alert")
        record = incident_of(room, "Locks")
        assert record
        token = links.sign(record.id, 4_000_000_000, SECRET)
        page.goto(f"{url}/rbkernel/incidents/{record.id}?link={token}")
        expect(page.locator("#decisions")).to_contain_text("Waiting for a decision")
        tap(page, "Preview")
        actions = page.locator("#actions")
        expect(actions).to_contain_text(f"terminate pid {locks.holder} refund-job")
        expect(actions).to_contain_text("How should the queue be freed?")
        tap(page, "Approve with passkey")
        expect(actions).to_contain_text("Approved by bob")
        tap(page, "Execute")
        expect(actions).to_contain_text("verified")
        # the gateway looks again at once, and then nothing is left to decide
        expect(page.locator("main")).not_to_contain_text("Waiting for a decision")
        page.screenshot(path=tmp_path / "phone-done.png", full_page=True)
        until(lambda: ended(2), "the run that looks again")
        send(url, status="resolved", ends_at="2026-11-20T03:12:00Z")
        expect(page.locator("main")).to_contain_text("closed", timeout=_TIMEOUT_MS)
        page.screenshot(path=tmp_path / "phone-closed.png", full_page=True)
    assert taps == ["Preview", "Approve with passkey", "Execute"]
    record = incident.read(room.root, record.id)
    assert record.state is IncidentState.CLOSED
    first, second = record.runs
    assert (first.verdict != "ok", second.verdict) == (True, "ok")
    found = workflow.look(room.root, record.id)
    assert found.continues == {second.run_id: first.run_id}
    assert found.waiting == ()
    [done] = record.actions
    assert (done.recorded, done.who) == ("verified", "bob")
    assert not lives(server, locks.holder)
    server.end_sessions()
