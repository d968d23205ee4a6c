"""A decision on a phone: the page answers, and the notebook on the desk agrees."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from rbkernel.evidence import runs
from rbkernel.gateway import links
from tests.acceptance.test_pages import shown
from tests.support.kernels import START, write_runbook
from tests.support.lab import Desk, Lab
from tests.support.page_gateway import gateway

DECIDE, SUMMARY = "rb.decide(", "rb.summary()"
ASK = (
    'choice = rb.decide("What should be done about the standby?",'
    ' ["resume replay", "wait", "escalate"], recommended="resume replay")'
)


def test_the_phone_answers_and_the_notebook_agrees(
    desk: Desk, lab: Lab, browser: Browser, evidence: Path, tmp_path: Path
) -> None:
    write_runbook(lab.root / "asks.ipynb", [START, ASK, SUMMARY])
    desk.open("asks.ipynb")
    desk.run_all()
    desk.await_end(SUMMARY)
    expect(desk.output(DECIDE)).to_contain_text("Buttons need the running kernel")
    [run] = [one for one in runs.list_runs(evidence) if one.runbook == "RUN-900"]
    with gateway(tmp_path, evidence, open_on_loopback=False) as url:
        secret = bytes.fromhex((tmp_path / "state/rbkernel/link_secret").read_text())
        token = links.sign(run.incident, int(time.time()) + 600, secret)
        link = f"{url}/rbkernel/incidents/{run.incident}?link={token}"
        with shown(browser, link, width=390) as (page, problems):
            answers(page, tmp_path)
            assert problems == []
    by_page = "by holder of a link (page): 'resume replay'"
    expect(desk.output(DECIDE)).to_contain_text(by_page)
    desk.page.screenshot(path=tmp_path / "desk.png")
    desk.run_all()
    desk.await_end(SUMMARY)
    expect(desk.output(DECIDE)).to_contain_text(by_page)
    expect(desk.output(DECIDE).get_by_role("button")).to_have_text(["Decide again"])


def answers(page: Page, folder: Path) -> None:
    """Answer with one tap, on the first screen of the phone."""
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=folder / "phone-1.png", full_page=True)
    button = page.get_by_role("button", name="resume replay")
    place = button.bounding_box()
    assert place
    assert place["y"] + place["height"] < 844  # the height of the phone's screen
    assert place["height"] >= 44
    button.click()
    expect(page.locator("#decisions")).to_contain_text("Decided")
    expect(page.locator("#decisions")).to_contain_text("resume replay")
    expect(page.get_by_role("button", name="Decide again")).to_be_visible()
    page.screenshot(path=folder / "phone-2.png", full_page=True)
