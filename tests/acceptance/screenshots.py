"""Make pictures of every state that a runbook can be in, for a person to look at.

Of the templates, untouched, of the launcher, of the gateway's pages, and of all figures, too:
``--only template``, ``--only launcher``, ``--only pages``, ``--only figures``.
``python -m tests.acceptance.screenshots FOLDER`` starts a sandbox and a JupyterLab of its own, and
ends both. A file is named by runbook, state and screen, such as ``RUN-005-papermill-1.png``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, expect, sync_playwright

from rbkernel import config
from rbkernel.runbook import catalogue
from rbkernel.sandbox import control
from tests.acceptance import figure_sheet, page_screenshots
from tests.support import lab as labs
from tests.support.lab import Desk, Lab

_SCREEN = 1200  # px, height of a picture


@dataclass(frozen=True, kw_only=True)
class Look:
    """How JupyterLab is looked at."""

    suffix: str = ""
    width: int = 1280
    theme: str = "JupyterLab Light"


LIGHT = Look()
LOOKS = (LIGHT, Look(suffix="-dark", theme="JupyterLab Dark"), Look(suffix="-narrow", width=390))


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """One runbook, a fault for it, and the answer that the fault asks for."""

    id: str
    file: str
    fault: str
    answer: str


RUNBOOKS = (
    Runbook(id="RUN-000", file="overview.ipynb", fault="lock-queue", answer="RUN-007"),
    Runbook(
        id="RUN-001",
        file="connection_pool_exhaustion.ipynb",
        fault="pool-idle-in-transaction",
        answer="terminate the sessions at the cause",
    ),
    Runbook(
        id="RUN-005",
        file="replication_lag.ipynb",
        fault="replay-paused",
        answer="resume replay",
    ),
    Runbook(
        id="RUN-006",
        file="reconciliation_diff.ipynb",
        fault="orders-drift",
        answer="patch the rows",
    ),
    Runbook(
        id="RUN-007",
        file="blocking_locks.ipynb",
        fault="lock-queue",
        answer="cancel the blocking query",
    ),
)


class Photographer:
    """Opens notebooks and takes pictures of all that is seen of them.

    Parameters
    ----------
    lab, browser
        Both running.
    folder
        Where the pictures go.
    """

    def __init__(self, lab: Lab, browser: Browser, folder: Path) -> None:
        self._lab = lab
        self._browser = browser
        self._folder = folder

    def at_rest(self, runbook: Runbook) -> None:
        """As committed, not run."""
        with self._opened(runbook.file) as desk:
            self._take(desk, f"{runbook.id}-at-rest")

    def executed(
        self, runbook: Runbook, state: str, looks: Sequence[Look] = (LIGHT,), **parameters: str
    ) -> None:
        """Executed by papermill, then opened: JupyterLab does not trust it."""
        output = f"{runbook.id}-{state}.ipynb"
        options = [part for name in parameters for part in ("-p", name, parameters[name])]
        command = [sys.executable, "-m", "papermill", runbook.file, output, *options]
        # a runbook that ends in an error is one of the states that are wanted
        subprocess.run(command, cwd=self._lab.root, check=False, capture_output=True)
        for look in looks:
            with self._opened(output, look) as desk:
                self._take(desk, f"{runbook.id}-{state}{look.suffix}")

    def template(self, file: str) -> None:
        """As it comes, executed by papermill, in every look."""
        name = f"template-{Path(file).stem}"
        output = f"{name}-executed.ipynb"
        command = [sys.executable, "-m", "papermill", f"templates/{file}", output]
        subprocess.run(command, cwd=self._lab.root, check=True, capture_output=True)
        for look in LOOKS:
            with self._opened(output, look) as desk:
                self._take(desk, f"{name}{look.suffix}")

    def launcher(self) -> None:
        """The launcher, the choice of a template, and the copy that it opens."""
        context = self._browser.new_context(viewport={"width": LIGHT.width, "height": _SCREEN})
        desk = Desk(context.new_page(), self._lab)
        desk.load()
        desk.page.screenshot(path=self._folder / "launcher-1.png")
        desk.choose_template("service.ipynb")
        desk.page.screenshot(path=self._folder / "launcher-2.png")
        desk.accept()
        desk.await_kernel()
        desk.page.screenshot(path=self._folder / "launcher-3.png")
        context.close()
        self._lab.shut_down_kernels()
        print("launcher", flush=True)

    def interactive(self, runbook: Runbook, look: Look) -> None:
        """After *Run All Cells*, and after the answer."""
        with self._opened(runbook.file, look) as desk:
            desk.run_all()
            desk.await_end("rb.summary()")
            self._take(desk, f"{runbook.id}-interactive{look.suffix}")
            desk.output("rb.decide(").get_by_role("button", name=runbook.answer).click()
            expect(desk.output("rb.decide(")).to_contain_text("decided")
            self._take(desk, f"{runbook.id}-chosen{look.suffix}")

    @contextmanager
    def _opened(self, file: str, look: Look = LIGHT) -> Iterator[Desk]:
        self._lab.set("apputils-extension", "themes", theme=look.theme)
        context = self._browser.new_context(viewport={"width": look.width, "height": _SCREEN})
        desk = Desk(context.new_page(), self._lab)
        desk.open(file)
        yield desk
        context.close()
        self._lab.shut_down_kernels()

    def _take(self, desk: Desk, name: str) -> None:
        """Make the window as high as the notebook, and cut the picture into screens."""
        page, height = desk.page, desk.height
        width = page.evaluate("window.innerWidth")
        page.set_viewport_size({"width": width, "height": height})
        desk.scroll_up()
        for number, top in enumerate(range(0, height, _SCREEN), 1):
            clip: FloatRect = {
                "x": 0,
                "y": top,
                "width": width,
                "height": min(_SCREEN, height - top),
            }
            page.screenshot(path=self._folder / f"{name}-{number}.png", clip=clip)
        page.set_viewport_size({"width": width, "height": _SCREEN})
        print(name, flush=True)


def take_all(photographer: Photographer, wanted: str) -> None:
    """Take the pictures of the runbooks and templates whose name contains a text."""
    if wanted in "launcher":
        photographer.launcher()
    for path in sorted(catalogue.packaged("templates").glob("*.ipynb")):
        if wanted in f"template-{path.stem}":
            photographer.template(path.name)
    for runbook in RUNBOOKS:
        if wanted in runbook.id:
            photographer.at_rest(runbook)
            photographer.executed(runbook, "healthy")
            photographer.executed(runbook, "unprivileged", db="sandbox-unprivileged")
            photographer.executed(runbook, "error", db="no-such-connection")
            with fault(runbook.fault):
                photographer.executed(runbook, "fault", LOOKS)
                for look in LOOKS:
                    photographer.interactive(runbook, look)
    control.down()
    for runbook in RUNBOOKS:
        if wanted in runbook.id:
            photographer.executed(runbook, "stopped")


@contextmanager
def fault(name: str) -> Iterator[None]:
    """Have the sandbox broken while the block runs."""
    control.inject(name)
    try:
        yield
    finally:
        control.heal(name)


@contextmanager
def sandbox(folder: Path) -> Iterator[None]:
    """Have a sandbox whose connections stay known when it is down."""
    os.environ["RBKERNEL_SANDBOX"] = str(folder / "sandbox")
    os.environ["RBKERNEL_EVIDENCE"] = str(folder / "evidence")
    os.environ["RBKERNEL_CONFIG"] = str(folder / "rbkernel.toml")
    control.up()
    published = config.sandbox_connections_file().read_bytes()
    (folder / "rbkernel.toml").write_bytes(published)
    try:
        yield
    finally:
        control.down()


def main() -> None:
    """Take the pictures into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Make pictures of the runbooks in every state.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only",
        default="",
        help="part of a runbook's id, template-NAME, launcher, pages or figures; all if not given",
    )
    given = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # takes everything down, as Control-C does
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    chromium = labs.chromium()
    if chromium is None:
        sys.exit("there is no chromium on PATH; `make debian` as root installs it")
    with ExitStack() as running:
        playwright = running.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=labs.CHROMIUM_ARGUMENTS)
        running.callback(browser.close)
        if given.only in "pages":
            page_screenshots.take(browser, folder)
        if given.only in "figures":
            figure_sheet.take(browser, folder)
        if given.only in {"pages", "figures"}:
            return
        own = Path(running.enter_context(tempfile.TemporaryDirectory()))
        running.enter_context(sandbox(own))
        lab = running.enter_context(Lab(own / "lab"))
        shutil.copytree(catalogue.packaged("templates"), lab.root / "templates")
        lab.set("notebook-extension", "tracker", windowingMode="none", scrollPastEnd=False)
        take_all(Photographer(lab, browser, folder), given.only)


if __name__ == "__main__":
    main()
