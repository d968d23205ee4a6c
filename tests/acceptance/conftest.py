"""A JupyterLab server and a browser for the acceptance tests, beside what all tests stand on.

Scope: a module. Playwright keeps an event loop in the main thread for as long as it is open, so
it is closed before tests of other folders use asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import missing_part
from tests.support import lab as labs
from tests.support.lab import Desk, Lab


@pytest.fixture(scope="module")
def chromium() -> str:
    """The path of the system's Chromium, or an end of the test with the reason."""
    path = labs.chromium()
    if path is None:
        missing_part("there is no chromium on PATH; `make debian` as root installs it")
    return path


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The evidence folder of the server, its kernels and the commands."""
    root = tmp_path_factory.mktemp("evidence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_EVIDENCE", str(root))
        yield root


@pytest.fixture(scope="module")
def lab(
    chromium: str, evidence: Path, sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A running JupyterLab server, whose kernels know the sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(sandbox_home))
        with Lab(tmp_path_factory.mktemp("lab")) as running:
            yield running


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=labs.CHROMIUM_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def desk(lab: Lab, browser: Browser) -> Iterator[Desk]:
    """A fresh browser window at JupyterLab's launcher; its kernels end with the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = Desk(context.new_page(), lab)
    window.load()
    yield window
    context.close()
    lab.shut_down_kernels()
