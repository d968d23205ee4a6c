"""The tutorial docs/tutorials/alert-to-report.md, done as written.

Its commands run in a shell, the human's part in a browser.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.lab import Desk, Lab

PAGE = Path(__file__).parents[2] / "docs/tutorials/alert-to-report.md"
DONE = "the-block-is-done"
FAILED = "this-command-failed"
PATIENCE_S = 240.0


class Shell:
    """One shell, to which a reader gives one block after the other."""

    def __init__(self, folder: Path, environment: dict[str, str], printed: Path) -> None:
        self._printed = printed
        with printed.open("wb") as out:
            self._shell = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,  # no pipe: what goes on in the background would hold it open
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.give(f"set -m; trap 'echo {FAILED}' ERR")

    def give(self, block: str) -> str:
        """Run a block, and return what it printed; every command of it must succeed."""
        assert self._shell.stdin is not None
        before = len(self._printed.read_text())
        self._shell.stdin.write(f"{block}\necho; echo {DONE}\n")
        self._shell.stdin.flush()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            told = self._printed.read_text()[before:]
            if f"\n{DONE}\n" in told:
                assert FAILED not in told, told
                return told
            assert time.monotonic() < deadline, f"{block}\ndoes not end:\n{told}"
            time.sleep(0.2)

    def end(self) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(60)


@pytest.fixture
def shell(lab: Lab, evidence: Path, tmp_path: Path) -> Iterator[Shell]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RBKERNEL_SANDBOX": os.environ["RBKERNEL_SANDBOX"],
        "RBKERNEL_EVIDENCE": str(evidence),
        "RBKERNEL_STORE_URL": f"sqlite:///{tmp_path}/store.sqlite",
    }
    del environment["RBKERNEL_CONFIG"]  # the tutorial's own file is found from its folder
    one = Shell(lab.root, environment, tmp_path / "printed.txt")
    yield one
    one.end()


@pytest.mark.soak
def test_from_an_alert_to_the_attachment(
    shell: Shell, lab: Lab, browser: Browser, tmp_path: Path
) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    phone, serve, alert, wait, note, opened, heal, resolve, close, clean = blocks
    assert "A test of rbkernel" in shell.give(phone)
    try:
        assert "OK" in shell.give(serve)
        printed = shell.give(alert)
        assert "PostgresReplicationLag starts 1" in printed
        assert '"new": 1' in printed
        [link] = re.findall(
            r"^http\S+/runs/\S+$", shell.give(wait).split("Head: ")[1], re.MULTILINE
        )
        page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
        page.goto(link)
        expect(page.locator("body")).to_contain_text("pg_wal_replay_resume")
        page.screenshot(path=tmp_path / "phone.png", full_page=True)
        assert "waits for a decision" in shell.give(note)
        copy = Path(shell.give(opened.replace("$INC", "$INC --no-browser")).splitlines()[0])
        desk = Desk(browser.new_page(viewport={"width": 1280, "height": 900}), lab)
        desk.open(copy.relative_to(lab.root).as_posix())
        desk.run_all()
        desk.await_end("rb.summary")
        desk.cell("rb.decide").get_by_role("button", name="resume replay").click()
        expect(desk.output("rb.act")).to_contain_text("proposed")
        assert "healed" in shell.give(heal)
        prompt = desk.cell("rb.summary").locator(".jp-InputPrompt")
        first = prompt.inner_text()
        desk.run_all()
        expect(prompt).to_have_text(re.compile(rf"\[(?!{first.strip('[]:')}\])\d+\]:"))
        expect(desk.output("rb.start")).to_contain_text("OK")
        desk.save()
        lab.shut_down_kernels()
        assert "Resolved" in shell.give(resolve)
        printed = shell.give(close)
        assert "verified" in printed
        assert "not sealed yet" not in printed
        attachment = Path(printed.splitlines()[0])
        page.goto(attachment.as_uri())
        expect(page.locator("body")).to_contain_text("told phone: RUN-005 CRITICAL")
        page.set_viewport_size({"width": 1100, "height": 900})
        page.screenshot(path=tmp_path / "attachment.png", full_page=True)
    finally:
        shell.give(clean)
