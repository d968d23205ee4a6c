"""What every test stands on: a home of its own, and one sandbox for all that need a database.

Nothing is read from or written to the user's folders. A test that breaks the sandbox (`shop`) need
not mend it: it is healed afterwards, and built again when a test has taken a part of it down.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import NoReturn

import hypothesis
import pytest

# zmq's classes for asyncio warn of their own names while they are imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import papermill  # noqa: F401

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.forkserver import client as forkserver
from rbkernel.forkserver.place import SWITCH
from rbkernel.sandbox import control
from tests.support import processes

# the search for doctests would import the package of another team, which then adds its lint rules
collect_ignore = ["support/extension_package"]

# Compiled modules are kept, here and in what the tests start: hundreds of processes import them.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says how busy the machine is. In CI, a run of the suite tries what the
# last one has tried; elsewhere it looks for more.
hypothesis.settings.register_profile("ours", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("ours")

_NOT_OURS = (
    *("RBKERNEL_RUN_ID", "RBKERNEL_RUNBOOK", "RBKERNEL_PG_BIN", "JPY_SESSION_NAME"),
    "RBKERNEL_STORE_URL",
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "IPYTHONDIR"),
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
    *("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE", "PGPASSFILE"),
)


# the files that take longest; the others of a folder follow, and the folders in this order
_LONGEST = (
    *("test_pages", "test_serve", "test_runbooks", "test_sandbox", "test_gateway_work"),
    *("test_jupyterlab", "test_overview", "test_matrix", "test_boundary", "test_readme"),
)
_FOLDERS = ("acceptance", "integration", "unit")

_RUNTIME = pytest.StashKey[str]()
_LEFT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make soak` run a sample of what `make soak-all` runs."""
    group = parser.getgroup("soak")
    group.addoption("--soak-sample", type=int, help="parametrisations of each soak test to run")
    group.addoption("--soak-seed", default="0", help="chooses them: a date, for example")


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole run, with all its workers, one folder for fork servers."""
    os.environ.setdefault(SWITCH, "on")
    if not hasattr(config, "workerinput"):  # workers inherit the environment
        # the path of a socket must be short
        config.stash[_RUNTIME] = mkdtemp(prefix="rb-")
        os.environ["XDG_RUNTIME_DIR"] = config.stash[_RUNTIME]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """End the fork servers when all workers have ended; a process that is left is a failure."""
    yield
    folder = session.config.stash.get(_RUNTIME, None)
    if folder is None:
        return
    if left := processes.left_behind(folder):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.stash[_LEFT] = left
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the processes that the tests left behind."""
    for line in config.stash.get(_LEFT, []):
        terminalreporter.write_line(f"left behind by the tests: {line}", red=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say how kernels start, and which sample it is, so that it can be run again."""
    number, seed = config.getoption("soak_sample"), config.getoption("soak_seed")
    header = [f"kernels: {SWITCH}={os.environ[SWITCH]}"]
    if number:
        header.append(f"soak: at most {number} parametrisations of a test, seed {seed}")
    return header


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the sample, and begin with what takes longest."""
    number, seed = config.getoption("soak_sample"), config.getoption("soak_seed")
    if number:
        left_out = _outside_the_sample(items, number, seed)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]
    items.sort(key=_place_in_line)


def _outside_the_sample(items: list[pytest.Item], number: int, seed: str) -> set[str]:
    parametrised: dict[str, list[str]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("soak"):
            parametrised[item.nodeid.partition("[")[0]].append(item.nodeid)
    left_out: set[str] = set()
    for test, nodes in parametrised.items():
        chosen = random.Random(f"{seed}/{test}").sample(nodes, min(number, len(nodes)))
        left_out |= set(nodes) - set(chosen)
    return left_out


def _place_in_line(item: pytest.Item) -> tuple[int, int]:
    """Workers take whole files: a long one that begins last would be waited for."""
    name, folder = item.path.stem, item.path.parent.name
    return (
        _LONGEST.index(name) if name in _LONGEST else len(_LONGEST),
        _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS),
    )


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_user(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Keep everything out of the user's folders, also what kernels and commands write."""
    home = tmp_path_factory.mktemp("user")
    # a shell without job control starts what is in the background deaf to Ctrl-C, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    empty = home / "rbkernel.toml"
    empty.touch()
    with pytest.MonkeyPatch.context() as patch:
        for name in _NOT_OURS:
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("RBKERNEL_CONFIG", str(empty))
        patch.setenv("RBKERNEL_EVIDENCE", str(home / "evidence"))
        patch.setenv("RBKERNEL_SANDBOX", str(home / "no-sandbox"))
        if any(item.path.parent.name != "unit" for item in request.session.items):
            forkserver.prepare(os.environ)
        yield home


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A command that ran in this process keeps its signals to the end: of the test, here."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evidence folder of the test's own, which does not exist yet."""
    root = tmp_path / "evidence"
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(root))
    return root


@pytest.fixture(scope="session")
def sandbox_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the one sandbox lies; `working_sandbox` builds it at its first use."""
    home = tmp_path_factory.mktemp("shop") / "sandbox"
    yield home
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(home))
        control.down()


def missing_part(reason: str) -> NoReturn:
    """End a test that needs a part of the system: skipped on a user's machine, failed in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def working_sandbox(home: Path) -> Iterator[Settings]:
    """Have the sandbox up and healthy, and configured, while the block runs; heal it after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(home))
        if control.status().state != "up":
            control.up()
        control.heal()
        try:
            yield config.load()
        finally:
            if control.status().state == "up":
                control.heal()


@pytest.fixture
def shop(sandbox_home: Path) -> Iterator[Settings]:
    """The settings with the connections of a sandbox that is up and healthy."""
    with working_sandbox(sandbox_home) as settings:
        yield settings
