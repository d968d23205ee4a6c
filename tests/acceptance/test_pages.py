"""The pages in a real browser: they follow a run, serve everybody, and run nothing of anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from rbkernel.evidence import bundle, incident
from rbkernel.gateway.jobs.storage.store import Store
from tests.acceptance.test_export import LIVE_NODES
from tests.support import cause_scenes, page_scenes
from tests.support.cause_scenes import LOCKS, LONG, POOL, REFUSED, REPLAY, RTL, SCENES, Scene
from tests.support.hostile_evidence import hostile_run, payloads
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal
from tests.support.lab import Desk, Lab
from tests.support.page_gateway import gateway
from tests.support.page_scenes import LIVE_RUN
from tests.support.waiting import until

CONSOLE, RUN = "/rbkernel", f"/rbkernel/runs/{RUN_ID}"
THE_INCIDENT = f"/rbkernel/incidents/{INCIDENT}"
_TIMEOUT_S = 60.0
# what the pages themselves are made of; the rest is what anybody wrote
OURS = (
    "head link, form[role=search], form[action^='/rbkernel/incidents/INC-'],"
    " form[action^='/rbkernel/runs/'], .copied > button"
)


@contextmanager
def shown(
    browser: Browser, url: str, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[tuple[Page, list[str]]]:
    """Open a page and wait until it is drawn; gather its errors, and what it asks others for."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page, problems = context.new_page(), []
    page.set_default_timeout(_TIMEOUT_S * 1000)

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    origin = "/".join(url.split("/")[:3])
    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((origin, "data:", "blob:")) else problems.append(asked.url)
        ),
    )
    page.goto(url)
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    yield page, problems
    context.close()


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway at rest, with a store that has seen a storm."""
    folder = tmp_path_factory.mktemp("rest")
    root = folder / "evidence"
    root.mkdir()
    page_scenes.at_rest(root)
    store = Store.open(f"sqlite:///{folder / 'store.sqlite'}")
    page_scenes.storm(root, store, incidents=12)
    store.close()
    with gateway(folder, root) as address:
        yield address


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose every text was written by somebody who wants to run a script."""
    folder = tmp_path_factory.mktemp("hostile")
    root = folder / "evidence"
    root.mkdir()
    told = payloads()
    hostile_run(root, told)
    store = Store.open(f"sqlite:///{folder / 'store.sqlite'}")
    labels = {text: text for text in told}
    for number, text in enumerate(told[:20]):
        alert = page_scenes.alert(number, labels={"alertname": text, **labels})
        fields = {**alert.to_json(), "annotations": labels, "url": text, "source": text}
        incident.append(root, INCIDENT, "alert", by=text, **fields, identity=alert.identity)
        store.quarantine(text, text.encode(), text)
    incident.append(root, INCIDENT, "note", by=" ".join(told), text="\n".join(told))
    incident.append(root, INCIDENT, "notified", by="x", whom="\n".join(told), how="\n".join(told))
    update: dict[str, Any] = dict.fromkeys(("impact", "action", "eta"), "\n".join(told))
    incident.append(root, INCIDENT, "status", by="x", status="\n".join(told), **update)
    incident.append(root, "INC-1", "opened", by="x", title="\n".join(told), service=told[0])
    store.receive(page_scenes.delivery(*(page_scenes.alert(1, labels={"a": t}) for t in told[:9])))
    store.close()
    with gateway(folder, root) as address:
        yield address


# --- it follows a run


def test_progress_moves_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    root = tmp_path / "evidence"
    root.mkdir()
    with gateway(tmp_path, root) as url, _watched(browser, url) as page:
        with page_scenes.live(root) as journal:
            page.goto(f"{url}/rbkernel/runs/{LIVE_RUN}")
            page.evaluate("window.notReloaded = true")
            _goes_on(page, journal)
            page.context.set_offline(True)
            expect(page.locator("#lost")).to_contain_text("Not up to date")
            page.context.set_offline(False)
            expect(page.locator("#lost")).to_be_empty()
            journal.line("end")
        expect(page.locator("main")).to_contain_text("Not sealed. This page shows its journal")
        bundle.seal(root, LIVE_RUN)
        expect(page.locator("main")).to_contain_text("verified now: unchanged")
        assert page.evaluate("window.notReloaded")


def _goes_on(page: Page, journal: Journal) -> None:
    """See how the page follows what the kernel does."""
    expect(page.locator("h1")).to_contain_text("running")
    expect(page.locator(".progress")).to_have_text("cell 3 of 4: Look")
    expect(page.locator("main")).to_contain_text("No check has run yet")
    journal.reply("m3")
    page_scenes.concluded(journal)
    expect(page.locator("h1")).to_contain_text("critical")
    expect(page.locator(".progress")).to_have_text("4 of 4 cells done")
    expect(page.locator(".live[data-drawn=yes]")).to_have_count(1)
    expect(page.get_by_role("button", name="Copy SQL")).to_be_visible()
    page.get_by_text("2 checks").click()
    page_scenes.show_figure(journal, "m4")
    expect(page.locator(".live[data-drawn=yes]")).to_have_count(2)
    assert page.get_by_text("WAL receiver: yes").is_visible()  # still unfolded


@contextmanager
def _watched(browser: Browser, url: str) -> Iterator[Page]:
    """Have a page, while the console in another follows the same run without a reload."""
    context = browser.new_context()
    page, console = context.new_page(), context.new_page()
    console.goto(url + CONSOLE)
    console.evaluate("window.notReloaded = true")
    expect(console.locator("h1")).to_have_text("Nothing is open")
    expect(console.locator("#live h2")).to_have_text("Nothing is running")
    yield page
    expect(console.locator("main")).to_contain_text("critical, sealed")
    expect(console.locator("h1")).to_have_text("1 open, critical, waiting for you")
    assert console.evaluate("window.notReloaded")
    context.close()


# --- it can be used


def test_sql_is_copied_with_the_keyboard(browser: Browser, rest: str) -> None:
    with shown(browser, rest + RUN) as (page, problems):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy SQL").focus()
        page.keyboard.press("Enter")
        # the button says so for a moment only
        copied = "navigator.clipboard.readText()"
        until(lambda: page.evaluate(copied) == page_scenes.SQL, "the SQL in the clipboard")
        assert not problems


def test_the_first_screen_of_a_phone_has_what_is_wrong_and_what_to_do(
    browser: Browser, rest: str
) -> None:
    with shown(browser, rest + RUN, width=390) as (page, problems):
        for text in ("Replay is paused", "find out who paused", "Waiting for a decision"):
            box = page.get_by_text(text).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 900
        assert not problems


def incident_page(scene: Scene) -> str:
    return f"/rbkernel/incidents/{scene.incident}"


@pytest.fixture(scope="module")
def causes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with five incidents, one of them with 60 alerts, and one with long names."""
    folder = tmp_path_factory.mktemp("causes")
    root = folder / "evidence"
    root.mkdir()
    for scene in (*SCENES, LONG):
        cause_scenes.play(root, scene)
    cause_scenes.storm(root, alerts=60)
    with gateway(folder, root) as address:
        yield address


@pytest.mark.parametrize("scene", SCENES, ids=[one.name for one in SCENES])
def test_a_phone_shows_cause_question_and_buttons_without_scrolling(
    browser: Browser, causes: str, scene: Scene
) -> None:
    with shown(browser, causes + incident_page(scene), width=390, height=844) as (page, problems):
        first = [page.locator("h1"), page.locator(".state")]
        if scene.question:
            first += [page.get_by_text(scene.question).first, page.locator(".reason").first]
            first += [page.get_by_role("button", name=one).first for one in scene.options]
            buttons = page.locator(".answers button")
            expect(buttons).to_have_count(len(scene.options))
            expect(buttons.first).to_contain_text(f"{scene.recommended} recommended")
        else:
            first += [page.get_by_text(scene.next_step).first]
        for part in first:
            expect(part).to_be_visible()
            box = part.bounding_box()
            assert box is not None
            assert 0 <= box["y"] <= box["y"] + box["height"] <= 844, part
        expect(page.locator("h1")).to_contain_text(scene.cause or "Not known")
        assert not problems


def test_the_figure_of_the_cause_is_drawn(browser: Browser, causes: str) -> None:
    with shown(browser, causes + incident_page(LOCKS)) as (page, problems):
        expect(page.locator("[data-part=picture] .live[data-drawn=yes]")).to_have_count(1)
        assert not problems


def test_the_svg_of_the_cause_is_shown_on_a_phone(browser: Browser, causes: str) -> None:
    address = causes + incident_page(REPLAY)
    with shown(browser, address, width=390, height=844) as (page, problems):
        picture = page.locator("[data-part=picture] img")
        expect(picture).to_be_visible()
        assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") == 480
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not problems


def test_an_answer_and_a_note_appear_without_a_reload(browser: Browser, causes: str) -> None:
    with (
        shown(browser, causes + incident_page(POOL)) as (page, problems),
        shown(browser, causes + incident_page(POOL)) as (other, _),
    ):
        other.evaluate("window.notReloaded = true")
        page.get_by_role("button", name="raise the limit").click()
        expect(page.locator("[data-part=timeline]")).to_contain_text("decided: How should slots")
        expect(other.locator(".state")).to_have_text("open, critical")
        expect(other.locator("[data-part=decisions]")).to_contain_text("raise the limit")
        assert other.evaluate("window.notReloaded")
        assert not problems


def test_the_console_is_used_with_the_keyboard(browser: Browser, causes: str) -> None:
    with shown(browser, causes + CONSOLE) as (page, problems):
        links = page.locator(".incidents .first a")
        page.keyboard.press("j")
        expect(links.nth(0)).to_be_focused()
        page.keyboard.press("j")
        expect(links.nth(1)).to_be_focused()
        page.keyboard.press("k")
        expect(links.nth(0)).to_be_focused()
        page.keyboard.press("/")
        expect(page.locator("#q")).to_be_focused()
        page.keyboard.type("refund-job")
        page.keyboard.press("Enter")
        expect(page.locator(".incidents > li")).to_have_count(1)
        assert page.url.endswith("?q=refund-job")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_contain_text("refund-job")
        assert not problems


@pytest.mark.parametrize("address", [CONSOLE, *map(incident_page, (LONG, LOCKS, REFUSED))])
@pytest.mark.parametrize("dark", [False, True])
def test_long_names_fit_and_nobody_is_shut_out(
    browser: Browser, causes: str, address: str, dark: bool
) -> None:
    with shown(browser, causes + address, width=390, dark=dark) as (page, problems):
        fits = "(width) => document.documentElement.scrollWidth <= width"
        page.wait_for_function(fits, arg=390)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.wait_for_function(fits, arg=390)
        found = Axe().run(page)
        assert not problems
    assert found["passes"]
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious]


@pytest.mark.parametrize("address", [CONSOLE, RUN, THE_INCIDENT])
def test_no_page_is_wider_than_the_window(browser: Browser, rest: str, address: str) -> None:
    with shown(browser, rest + address) as (page, problems):
        for width in (320, 390, 768, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            # figures follow the window a moment later; only a function passes the pages' own CSP
            fits = "(width) => document.documentElement.scrollWidth <= width"
            page.wait_for_function(fits, arg=width)
        assert not problems


@pytest.mark.parametrize(
    ("address", "dark"),
    [(CONSOLE, False), (CONSOLE, True), (RUN, False), (RUN, True), (THE_INCIDENT, True)],
)
def test_nobody_is_shut_out(browser: Browser, rest: str, address: str, dark: bool) -> None:
    with shown(browser, rest + address, width=390, dark=dark) as (page, _):
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found = Axe().run(page)
    assert found["passes"]
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    told = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in serious]
    assert not told


# --- it runs nothing of anybody's


@pytest.mark.parametrize("address", [CONSOLE, THE_INCIDENT, RUN, "/rbkernel/incidents/INC-1"])
def test_nothing_that_anybody_wrote_is_live(browser: Browser, hostile: str, address: str) -> None:
    with shown(browser, hostile + address) as (page, problems):
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        page.mouse.move(200, 300)
        mine = page.locator("script[src]").count()
        page.evaluate(
            "(ours) => document.querySelectorAll(ours).forEach((one) => one.remove())", OURS
        )
        found = page.evaluate(LIVE_NODES)
        assert found["live"] == []
        assert found["pwned"] == "undefined"
        assert found["scripts"] == mine  # as many as the page itself brings
        assert problems == []
        assert page.evaluate("document.title") != ""


def test_hostile_texts_are_shown_as_they_are(hostile: str) -> None:
    answer = httpx.get(hostile + THE_INCIDENT)
    for text in payloads():
        assert text not in answer.text or not text.startswith("<")
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in answer.text


# --- in Jupyter


def test_jupyter_shows_the_pages_to_those_who_are_logged_in(
    desk: Desk, lab: Lab, evidence: Path
) -> None:
    evidence.mkdir(exist_ok=True)
    page_scenes.at_rest(evidence)
    address = lab.url(RUN.lstrip("/")).split("?")[0]
    stranger = httpx.get(address)
    assert stranger.status_code == 302
    assert "/login" in stranger.headers["Location"]
    assert httpx.post(f"{address}/continue").status_code == 403
    page = desk.page
    page.goto(address)
    expect(page.locator("h1")).to_contain_text("RUN-005 Replication lag")
    page.get_by_role("button", name="Continue in JupyterLab").click()
    desk.await_kernel()
    assert f"/lab/tree/runs/{INCIDENT}/RUN-005-{RUN_ID}.ipynb" in page.url
    [copy] = (lab.root / "runs" / INCIDENT).glob("*.ipynb")
    assert "replication/lag" in copy.read_text()


def test_another_site_cannot_have_a_copy_made(desk: Desk, lab: Lab, evidence: Path) -> None:
    assert (evidence / INCIDENT).is_dir()
    address = lab.url(f"{RUN}/continue".lstrip("/")).split("?")[0]
    cookies = {one["name"]: one["value"] for one in desk.page.context.cookies()}
    xsrf = {"_xsrf": cookies["_xsrf"]}
    for origin, carried in (("https://evil.example", xsrf), ("null", xsrf), ("", {})):
        headers = {"Origin": origin} if origin else {}
        answer = httpx.post(address, cookies=cookies, headers=headers, data=carried)
        assert answer.status_code in (403, 404), origin
    assert httpx.post(address, cookies=cookies, data=xsrf).status_code == 303


# --- it shows names from anywhere, and turns nothing round

OVERRIDE = "db\u202e1\x1b[2J\u200b"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose incidents have names that read from right to left, or would like to."""
    folder = tmp_path_factory.mktemp("foreign")
    root = folder / "evidence"
    root.mkdir()
    for number, name in enumerate((RTL, OVERRIDE)):
        one = f"INC-{number}"
        incident.append(root, one, "opened", by="ann", title=name, service=name, severity="high")
        labels = {"alertname": name, "service": name, "emoji": "👩🏽\u200d💻"}
        told = page_scenes.alert(number, labels=labels)
        incident.append(root, one, "alert", by=name, **told.to_json(), identity=told.identity)
        incident.append(root, one, "note", by=name, text=f"{name}\n2 orders wait")
    with gateway(folder, root) as address:
        yield address


def in_order(page: Page, selector: str, *texts: str) -> bool:
    """Tell whether these texts stand from left to right in an element, as they are painted."""
    return bool(
        page.evaluate(
            """([selector, texts]) => {
              const root = document.querySelector(selector);
              const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
              const nodes = []; let all = '';
              for (let n; (n = walker.nextNode()); ) { nodes.push([n, all.length]); all += n.data; }
              const place = (at) => nodes.findLast(([, start]) => start <= at);
              let last = -1, from = 0;
              return texts.every((text) => {
                const at = all.indexOf(text, from);
                if (at < 0) return false;
                const [node, start] = place(at), range = document.createRange();
                range.setStart(node, at - start);
                range.setEnd(node, Math.min(node.length, at - start + text.length));
                const box = range.getBoundingClientRect();
                const right = box.left >= last; last = box.right - 1; from = at + text.length;
                return right;
              });
            }""",
            [selector, list(texts)],
        )
    )


@pytest.mark.parametrize("name", [RTL, "db\\u202e1\\x1b[2J\\u200b"])
def test_a_name_turns_nothing_round(browser: Browser, foreign: str, name: str) -> None:
    number = 0 if name == RTL else 1
    with shown(browser, f"{foreign}/rbkernel") as (page, problems):
        row = f"#incidents ul.rows > li:has(a[href$='INC-{number}'])"
        assert in_order(page, f"{row} .first a", "Not known: ", name, ": no runbook has run")
        assert in_order(page, f"{row} > .faint", f"INC-{number}", name, "high")
        assert not problems
    with shown(browser, f"{foreign}/rbkernel/incidents/INC-{number}") as (page, problems):
        assert in_order(page, "h1", name)
        assert in_order(page, "[data-part=head] .facts", name, "high", "service", name)
        assert in_order(page, "[data-part=timeline] li:last-child", "alert firing: ", name)
        assert page.title().replace("\u2068", "").replace("\u2069", "") == f"INC-{number}: {name}"
        assert "👩🏽\u200d💻" in page.locator("[data-part=alerts]").inner_text()
        assert not problems
