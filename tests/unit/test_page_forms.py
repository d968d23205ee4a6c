"""What people may change on a page, and what nobody can make them change."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from bs4 import BeautifulSoup
from jupyter_server.auth import User

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.config.pages import Pages
from rbkernel.evidence import bundle, incident
from rbkernel.evidence.incident import append
from rbkernel.evidence.incident.seal import seal_record
from rbkernel.gateway import links
from rbkernel.gateway.web.extension import Form as JupyterForm
from rbkernel.gateway.web.extension import Nothing, rules
from rbkernel.gateway.web.site import Site
from tests.support.journal_builder import INCIDENT, RUN_ID, other_run, whole_run
from tests.support.page_server import opened, serving
from tests.unit.test_decisions import IDENTITY, again, answer, parked, proposed

pytestmark = pytest.mark.slow

SECRET = b"0123456789abcdef0123456789abcdef"
RUN, THE_INCIDENT = f"/rbkernel/runs/{RUN_ID}", f"/rbkernel/incidents/{INCIDENT}"
OTHER = "INC-20261120-bbbb"
HERE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def waiting(evidence: Path) -> Path:
    """Two incidents, each with a sealed run that waits for an answer."""
    parked(evidence)
    bundle.seal(evidence, RUN_ID)
    parked(evidence, other_run(1), incident=OTHER)
    bundle.seal(evidence, other_run(1))
    append(evidence, INCIDENT, "note", by="ann", text="seen")
    return evidence


@pytest.fixture
def linked(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A browser at pages that need a link; it has none yet."""
    monkeypatch.setenv("LINKS", SECRET.decode())
    with serving(Settings(pages=Pages(link_secret_env="LINKS"))) as client:
        yield client


@pytest.fixture
def pages_open(waiting: Path) -> Iterator[httpx.Client]:
    with serving(opened()) as client:
        yield client


def follow(client: httpx.Client, what: str, path: str) -> None:
    """Open a link, as from a notification."""
    token = links.sign(what, int(time.time() + 60), SECRET)
    assert client.get(f"{path}?link={token}").status_code == 303


def form(client: httpx.Client, path: str, action: str) -> dict[str, str]:
    """Return the hidden fields of a form of a page."""
    page = BeautifulSoup(client.get(path).text, "html.parser")
    [found] = page.select(f"form[action='{path}/{action}']")
    return {str(one["name"]): str(one["value"]) for one in found.select("input[type=hidden]")}


def send(
    client: httpx.Client,
    path: str,
    action: str,
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> httpx.Response:
    data = {**form(client, path, action), **more}
    return client.post(f"{path}/{action}", data=data, headers=headers or HERE)


def decided(root: Path, name: str = INCIDENT) -> Any:
    return incident.answers(root, name).to(IDENTITY)


def words(answer: httpx.Response) -> str:
    return " ".join(BeautifulSoup(answer.text, "html.parser").get_text(" ").split())


@pytest.mark.parametrize(
    ("what", "path"), [(INCIDENT, THE_INCIDENT), (RUN_ID, RUN), (INCIDENT, RUN)]
)
def test_a_holder_of_a_link_answers(
    linked: httpx.Client, waiting: Path, what: str, path: str
) -> None:
    follow(linked, what, path)
    assert "Waiting for a decision What now?" in words(linked.get(path))
    sent = send(linked, path, "decide", option="wait", name=" ann ", note="load falls")
    assert (sent.status_code, sent.headers["Location"]) == (303, f"{path}#decisions")
    found = decided(waiting)
    assert (found.choice, found.by, found.origin, found.note) == (
        "wait",
        "ann (holder of a link)",
        "page",
        "load falls",
    )
    shown = words(linked.get(path))
    assert "decided What now?" in shown
    assert "ann (holder of a link)" in shown
    assert decided(waiting, OTHER) is None


def test_a_second_answer_says_who_was_first(linked: httpx.Client, waiting: Path) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    late = form(linked, THE_INCIDENT, "decide")
    answer(waiting, by="bob")
    sent = linked.post(
        f"{THE_INCIDENT}/decide", data={**late, "option": "resume replay"}, headers=HERE
    )
    assert sent.status_code == 409
    assert re.search(r"answered \d+ s ago by bob \(page\): 'wait'", words(sent))
    assert f"{THE_INCIDENT}#decisions" in sent.text  # the way back
    assert decided(waiting).by == "bob"


def test_decide_again(linked: httpx.Client, waiting: Path) -> None:
    follow(linked, RUN_ID, RUN)
    answer(waiting, by="bob")
    assert send(linked, RUN, "ask-again").status_code == 303
    assert decided(waiting) is None
    assert send(linked, RUN, "decide", option="resume replay").status_code == 303
    assert decided(waiting).by == "holder of a link"


def test_acknowledge_and_note(linked: httpx.Client, waiting: Path) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    assert send(linked, THE_INCIDENT, "acknowledge", name="ann").status_code == 303
    assert send(linked, THE_INCIDENT, "note", note="replay is paused").status_code == 303
    lines = incident.read(waiting, INCIDENT).lines[-2:]
    assert [(one.kind, one.by, one.text("text"), one.text("origin")) for one in lines] == [
        ("acknowledged", "ann (holder of a link)", "", "page"),
        ("note", "holder of a link", "replay is paused", "page"),
    ]
    shown = words(linked.get(THE_INCIDENT))
    assert "Acknowledged" in shown
    assert "ann (holder of a link) is on it" in shown
    assert "note (on the page): replay is paused" in shown


def test_done_by_a_holder_of_a_link(linked: httpx.Client, waiting: Path) -> None:
    run_id = other_run(2)
    proposed(waiting, run_id).line("end")
    bundle.seal(waiting, run_id)
    path = f"/rbkernel/runs/{run_id}"
    follow(linked, run_id, path)
    sent = send(linked, path, "done", note="t, replay goes on", name="ann")
    assert sent.status_code == 303
    line = incident.read(waiting, INCIDENT).lines[-1]
    assert (line.kind, line.by, line.text("plan")) == ("done", "ann (holder of a link)", "p1")
    shown = words(linked.get(path))
    assert "done by a human Resume replay" in shown
    assert "t, replay goes on" in shown
    assert "I have run it" not in shown


# --- what is refused


def test_nothing_is_recorded_without_a_link(linked: httpx.Client, waiting: Path) -> None:
    before = (waiting / INCIDENT / "incident.jsonl").read_bytes()
    for action in ("decide", "ask-again", "acknowledge", "note", "done"):
        sent = linked.post(f"{THE_INCIDENT}/{action}", data={"note": "x"}, headers=HERE)
        assert sent.status_code == 403
    assert (waiting / INCIDENT / "incident.jsonl").read_bytes() == before


def test_a_link_answers_no_other_incident(linked: httpx.Client, waiting: Path) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    fields = {**form(linked, THE_INCIDENT, "decide"), "option": "wait"}
    for path in (f"/rbkernel/incidents/{OTHER}", f"/rbkernel/runs/{other_run(1)}"):
        assert linked.post(f"{path}/decide", data=fields, headers=HERE).status_code == 403
    assert decided(waiting, OTHER) is None


@pytest.mark.parametrize("token", ["", "x", "ä", "A" * 43])
def test_a_form_needs_the_token_of_its_page(
    linked: httpx.Client, waiting: Path, token: str
) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    sent = send(linked, THE_INCIDENT, "decide", option="wait", _xsrf=token)
    assert sent.status_code == 403
    assert "nothing was recorded" in words(sent)
    assert decided(waiting) is None


def test_the_token_of_another_page_or_link_is_none(linked: httpx.Client, waiting: Path) -> None:
    follow(linked, RUN_ID, RUN)
    of_run = form(linked, RUN, "decide")["_xsrf"]
    linked.cookies.clear()
    follow(linked, INCIDENT, THE_INCIDENT)
    fields = {**form(linked, THE_INCIDENT, "decide"), "option": "wait", "_xsrf": of_run}
    for path in (THE_INCIDENT, RUN):
        assert linked.post(f"{path}/decide", data=fields, headers=HERE).status_code == 403
    assert decided(waiting) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_site_changes_nothing(
    linked: httpx.Client, waiting: Path, headers: dict[str, str]
) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    sent = send(linked, THE_INCIDENT, "decide", headers, option="wait")
    assert sent.status_code == 403
    assert decided(waiting) is None


STEPS = ("request", "approve", "execute", "reject")


def take(
    client: httpx.Client, step: str, headers: Mapping[str, str], **more: str
) -> httpx.Response:
    """Send the form of a step of an action, which the page does not propose."""
    fields = {"plan": "p1", "digest": "9b" * 32, "answer": "{}", **more}
    data = {**form(client, THE_INCIDENT, "decide"), **fields}
    return client.post(f"{THE_INCIDENT}/{step}", data=data, headers=headers)


@pytest.mark.parametrize("step", STEPS)
def test_forms_of_actions_are_checked_as_all_others(
    linked: httpx.Client, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "load", Settings)
    follow(linked, INCIDENT, THE_INCIDENT)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        assert take(linked, step, headers).status_code == 403
    assert take(linked, step, HERE, _xsrf="A" * 43).status_code == 403
    right = take(linked, step, HERE)
    assert right.status_code == 409
    assert "not proposed here any more" in words(right)
    kept = form(linked, THE_INCIDENT, "decide")
    linked.cookies.clear()
    sent = linked.post(f"{THE_INCIDENT}/{step}", data={**kept, "plan": "p1"}, headers=HERE)
    assert sent.status_code == 403


def test_open_pages_take_no_step_of_an_action(pages_open: httpx.Client) -> None:
    """Every process of this machine can open them, and so can kernels."""
    for step in STEPS:
        assert take(pages_open, step, HERE).status_code == 405
    assert pages_open.post("/rbkernel/passkey", data={"invitation": "x"}).status_code == 405


def test_jupyter_takes_no_step_of_an_action(tmp_path: Path) -> None:
    site = Site(settings=Settings(), base="/rbkernel", in_jupyter=True)
    patterns = [re.compile(f"{one[0]}$") for one in rules(site, tmp_path) if one[1] is not Nothing]
    for page in (THE_INCIDENT, RUN):
        assert any(one.match(f"{page}/decide") for one in patterns)
        for step in STEPS:
            assert not [one for one in patterns if one.match(f"{page}/{step}")]
    assert not [one for one in patterns if one.match("/rbkernel/passkey")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_a_form_changes_anything(linked: httpx.Client, waiting: Path, method: str) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    query = {**form(linked, THE_INCIDENT, "decide"), "option": "wait"}
    for action in ("decide", "ask-again", "acknowledge", "note", "done"):
        sent = linked.request(method, f"{THE_INCIDENT}/{action}", params=query, headers=HERE)
        assert sent.status_code == 405
    # fields in the address count no more than none
    sent = linked.post(f"{THE_INCIDENT}/decide", params=query, headers=HERE)
    assert sent.status_code == 403
    assert decided(waiting) is None


def test_open_pages_take_forms_of_this_machine_only(
    pages_open: httpx.Client, waiting: Path
) -> None:
    elsewhere = {**HERE, "Host": "rbkernel.example"}
    assert send(pages_open, RUN, "decide", elsewhere, option="wait").status_code == 403
    assert send(pages_open, RUN, "decide", option="wait", _xsrf="").status_code == 403
    assert decided(waiting) is None
    assert send(pages_open, RUN, "decide", option="wait", name="ann").status_code == 303
    assert decided(waiting).by == "ann (user of this machine)"


@pytest.mark.parametrize(
    ("action", "fields", "said"),
    [
        ("decide", {"option": "reboot"}, "'reboot' is not one of the options"),
        ("decide", {"option": "wait", "identity": ""}, "not asked any more"),
        ("decide", {"option": "wait", "note": "x" * 2001}, "longer than 2000 characters"),
        ("note", {"note": " "}, "the note is empty"),
        ("note", {"note": "x" * 2001}, "longer than 2000 characters"),
    ],
)
def test_a_wrong_form_says_why(
    pages_open: httpx.Client, waiting: Path, action: str, fields: dict[str, Any], said: str
) -> None:
    before = (waiting / INCIDENT / "incident.jsonl").read_bytes()
    sent = send(pages_open, THE_INCIDENT, action, **fields)
    assert sent.status_code == 400
    assert said in words(sent)
    assert (waiting / INCIDENT / "incident.jsonl").read_bytes() == before


@pytest.mark.parametrize("action", ["note", "acknowledge", "decide"])
def test_an_unknown_incident_gets_no_record(
    linked: httpx.Client, waiting: Path, action: str
) -> None:
    follow(linked, links.EVERYTHING, "/rbkernel")
    grant = links.Grant(what=links.EVERYTHING, expires=0)
    fields = {"_xsrf": links.form_token(grant, "INC-nothing", SECRET), "note": "x"}
    sent = linked.post(f"/rbkernel/incidents/INC-nothing/{action}", data=fields, headers=HERE)
    assert sent.status_code == 400
    assert "INC-nothing" in words(sent)
    assert not (waiting / "INC-nothing").exists()


def test_a_newer_link_does_not_spoil_a_page_that_is_open(
    linked: httpx.Client, waiting: Path
) -> None:
    follow(linked, INCIDENT, THE_INCIDENT)
    typed = {**form(linked, THE_INCIDENT, "note"), "note": "replay is paused"}
    token = links.sign(INCIDENT, int(time.time() + 600), SECRET)
    assert linked.get(f"{THE_INCIDENT}?link={token}").status_code == 303
    assert linked.post(f"{THE_INCIDENT}/note", data=typed, headers=HERE).status_code == 303


def test_open_pages_refuse_the_name_of_a_proxy(pages_open: httpx.Client, waiting: Path) -> None:
    by_proxy = {**HERE, "Origin": "https://runbooks.example"}
    assert send(pages_open, RUN, "decide", by_proxy, option="wait").status_code == 403
    assert decided(waiting) is None


def test_a_page_from_before_another_situation_does_not_answer(
    pages_open: httpx.Client, waiting: Path
) -> None:
    stale = {**form(pages_open, THE_INCIDENT, "decide"), "option": "wait"}
    journal = whole_run(waiting, other_run(7))
    journal.event(
        "decision", id="d1", question="What now?", options=["resume replay", "wait"],
        state="parked", identity=IDENTITY, findings=[["Lag", "warning"]], rests_on="another",
    )  # fmt: skip
    sent = pages_open.post(f"{THE_INCIDENT}/decide", data=stale, headers=HERE)
    assert sent.status_code == 400
    assert "another situation" in words(sent)
    assert decided(waiting) is None


def test_notes_do_not_shut_out_answers(
    pages_open: httpx.Client, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbkernel.gateway.web.forms._MOST_LINES", 1)
    assert send(pages_open, THE_INCIDENT, "note", note="x").status_code == 303
    assert send(pages_open, THE_INCIDENT, "note", note="y").status_code == 400
    assert send(pages_open, THE_INCIDENT, "decide", option="wait").status_code == 303


def test_a_closed_incident_takes_nothing(pages_open: httpx.Client, waiting: Path) -> None:
    fields = {**form(pages_open, THE_INCIDENT, "decide"), "option": "wait"}
    seal_record(waiting, INCIDENT, closing=incident.closing("ann", resolution="over"))
    page = pages_open.get(THE_INCIDENT).text
    assert "<form" not in page
    assert "The incident is closed." in page
    sent = pages_open.post(f"{THE_INCIDENT}/decide", data=fields, headers=HERE)
    assert sent.status_code == 400
    assert "is closed, so nothing was recorded" in words(sent)
    assert decided(waiting) is None


def test_open_pages_take_no_form_through_a_proxy(pages_open: httpx.Client, waiting: Path) -> None:
    by_proxy = {**HERE, "X-Forwarded-For": "203.0.113.7"}
    assert send(pages_open, RUN, "decide", by_proxy, option="wait").status_code == 403
    assert decided(waiting) is None


def test_a_page_from_before_the_question_was_asked_again_does_not_answer_it(
    pages_open: httpx.Client, waiting: Path
) -> None:
    stale = {**form(pages_open, THE_INCIDENT, "decide"), "option": "wait"}
    again(waiting, answer(waiting, by="bob"))
    sent = pages_open.post(f"{THE_INCIDENT}/decide", data=stale, headers=HERE)
    assert sent.status_code == 400
    assert "asked again since you opened this page" in words(sent)
    assert decided(waiting) is None
    assert send(pages_open, THE_INCIDENT, "decide", option="wait").status_code == 303


def test_a_link_does_not_fill_the_record(
    pages_open: httpx.Client, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rbkernel.gateway.web.forms._MOST_LINES", 2)
    codes = [
        send(pages_open, THE_INCIDENT, "note", note=str(number)).status_code for number in range(4)
    ]
    assert codes == [303, 303, 400, 400]


def test_a_question_of_an_earlier_version_has_no_buttons(evidence: Path) -> None:
    journal = whole_run(evidence)
    journal.event("decision", id="d", question="What?", options=["a", "b"], state="parked")
    with serving(opened()) as client:
        page = client.get(RUN).text
    assert "answer it in a working copy" in page
    assert "/decide" not in page


@pytest.mark.parametrize(
    ("fields", "typed", "by"),
    [
        ({"username": "ann"}, "bob", "ann (Jupyter)"),
        ({"username": "x", "name": "Anonymous Callisto"}, "bob", "bob (Jupyter without accounts)"),
        # JupyterHub lets people choose the name that is shown
        (
            {"username": "ann", "name": "Anonymous Callisto", "hub_user": {"name": "ann"}},
            "bob",
            "ann (JupyterHub, on the server of dan)",
        ),
    ],
)
def test_who_answers_in_jupyter(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], typed: str, by: str
) -> None:
    monkeypatch.setenv("JUPYTERHUB_USER", "dan")
    hub = {name: fields[name] for name in ("hub_user",) if name in fields}
    user = User(**{name: one for name, one in fields.items() if name != "hub_user"})
    for name, value in hub.items():  # as JupyterHub's identity provider does
        setattr(user, name, value)
    handler = SimpleNamespace(current_user=user, get_body_argument=lambda *_: typed)
    assert JupyterForm._author(cast("JupyterForm", handler)) == by
