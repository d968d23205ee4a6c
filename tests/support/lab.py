"""A real JupyterLab server, and what an engineer does in it: open, run, choose, save.

The server has folders of its own for configuration, data and runtime files, so that nothing of
the user's Jupyter is read or changed. Whatever happens, the server and its kernels are gone when
`Lab` is left.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError

import nbformat
import psutil
from nbformat import NotebookNode
from playwright.sync_api import Locator, Page, expect

from tests.support.waiting import until

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # it refuses to run as root otherwise; only our own server is visited
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# the first load compiles JupyterLab's JavaScript; on two slow cores it took 20 s
TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0
_SCROLLED = ".jp-Notebook .jp-WindowedPanel-outer"

expect.set_options(timeout=TIMEOUT_S * 1000)


def chromium() -> str | None:
    """Return the path of the system's Chromium, None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Lab:
    """A JupyterLab server that serves copies of the runbooks.

    Parameters
    ----------
    folder
        An empty folder for everything that the server reads and writes.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "work"
        self._folder = folder
        self._token = secrets.token_hex(16)
        self._exit = ExitStack()
        self._address = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        shutil.copytree(NOTEBOOKS, self.root, ignore=shutil.ignore_patterns(".*"))
        self.set("apputils-extension", "notification", fetchNews="false", checkForUpdates=False)
        with ExitStack() as undo:
            log = undo.enter_context((self._folder / "server.log").open("wb"))
            port = _free_port()
            self._address = f"http://127.0.0.1:{port}"
            server = subprocess.Popen(
                self._command(port),
                cwd=self.root,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            undo.callback(_end, server)
            until(lambda: self._answers(server), "the server to answer")
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    def url(self, path: str = "lab") -> str:
        """Return the address of a page, with the token; the page forgets earlier tabs."""
        return f"{self._address}/{path}?reset&token={self._token}"

    def set(self, package: str, plugin: str, **values: Any) -> None:
        """Set what the settings editor would set; pages that are loaded later follow it."""
        settings = self._folder / "config/lab/user-settings/@jupyterlab" / package
        settings.mkdir(parents=True, exist_ok=True)
        path = settings / f"{plugin}.jupyterlab-settings"
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(old | values))

    def shut_down_kernels(self) -> None:
        """Shut all kernels down in order, as *Kernel > Shut Down Kernel* does."""
        for session in self._ask("GET", "api/sessions"):
            self._ask("DELETE", f"api/sessions/{session['id']}")

    def _command(self, port: int) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root,
            "IdentityProvider.token": self._token,
        }
        told = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *told]

    def _environment(self) -> dict[str, str]:
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
        }
        return {**os.environ, **{name: str(self._folder / part) for name, part in own.items()}}

    def _answers(self, server: subprocess.Popen[bytes]) -> bool:
        assert server.poll() is None, (self._folder / "server.log").read_text()
        try:
            self._ask("GET", "api/status")
        except URLError:
            return False
        return True

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"{self._address}/{path}",
            method=method,
            headers={"Authorization": f"token {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=_STOP_TIMEOUT_S) as answer:
            body = answer.read()
        return json.loads(body) if body else None


class Desk:
    """One browser window with JupyterLab, and what is done in it.

    Parameters
    ----------
    page
        A fresh page of the browser.
    lab
        The server.
    """

    def __init__(self, page: Page, lab: Lab) -> None:
        page.set_default_timeout(TIMEOUT_S * 1000)
        self.page = page
        self.lab = lab

    def load(self) -> None:
        """Go to the launcher and wait until it is drawn."""
        self.page.goto(self.lab.url())
        expect(self.page.locator(".jp-Launcher-body")).to_be_visible()

    def open_from_files(self, name: str) -> None:
        """Open a notebook with a double click in the file browser."""
        self.page.locator(".jp-DirListing-item", has_text=name).dblclick()
        self.await_kernel()

    def open(self, name: str) -> None:
        """Open a notebook by its address, with nothing beside it."""
        self.page.goto(self.lab.url(f"doc/tree/{name}"))
        self.await_kernel()

    def choose_template(self, file: str) -> None:
        """Open the launcher's card, and choose one of our templates."""
        self.page.locator(".jp-LauncherCard", has_text="Template").click()
        chosen = self.page.locator(".jp-Dialog select")
        chosen.nth(0).select_option("rbkernel")
        chosen.nth(1).select_option(f"/rbkernel/{file}")

    def accept(self) -> None:
        """Press the button of the dialog that goes on."""
        self.page.locator(".jp-Dialog-button.jp-mod-accept").click()

    @property
    def height(self) -> int:
        """How high the window must be, in px, to show the whole notebook."""
        script = "shown => window.innerHeight - shown.clientHeight + shown.scrollHeight"
        height: int = self.page.locator(_SCROLLED).evaluate(script)
        return height

    def scroll_up(self) -> None:
        """Scroll to the first cell."""
        self.page.locator(_SCROLLED).evaluate("shown => shown.scrollTo(0, 0)")

    def read(self, name: str) -> NotebookNode:
        """Return a notebook as it is saved."""
        document: NotebookNode = nbformat.read(self.lab.root / name, as_version=4)
        return document

    def await_kernel(self) -> None:
        """Wait until the notebook is drawn and its kernel idle."""
        expect(self.cells.first).to_be_visible()
        # the indicator in the toolbar says idle before there is a kernel; the status bar does not
        status = self.page.locator("#jp-main-statusbar")
        expect(status).to_contain_text("rbkernel (recorded) | Idle")

    @property
    def cells(self) -> Locator:
        """All cells of the notebook."""
        return self.page.locator(".jp-Notebook .jp-Cell")

    def cell(self, source: str) -> Locator:
        """Return the code cell whose source contains a text."""
        return self.page.locator(".jp-CodeCell").filter(
            has=self.page.locator(".jp-InputArea", has_text=source)
        )

    def output(self, source: str) -> Locator:
        """Return the output area of the code cell whose source contains a text."""
        return self.cell(source).locator(".jp-OutputArea").first

    def menu(self, *path: str) -> None:
        """Click through the menus."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=path[0]).first.click()
        for label in path[1:]:
            self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()

    def run_all(self) -> None:
        """Choose *Run > Run All Cells*; does not wait."""
        self.menu("Run", "Run All Cells")

    def await_end(self, source: str) -> None:
        """Wait until the cell whose source contains a text, the last of a runbook, has run."""
        prompt = self.cell(source).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"))

    def save(self) -> None:
        """Save with the keyboard, and wait until the tab is no longer marked as changed."""
        self.page.keyboard.press("Control+s")
        expect(self.page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its kernels; what is left of its family is killed."""
    family = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    try:
        server.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for process in psutil.wait_procs(family, timeout=1)[1]:
        process.kill()
