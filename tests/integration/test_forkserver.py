"""Kernels from the fork server: as good as those that are started plainly, and apart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

import rbkernel
from rbkernel.config import Settings
from rbkernel.evidence.reading import Record
from rbkernel.forkserver import client, place, variables
from rbkernel.forkserver.client import ForkedProcess
from rbkernel.run import runner
from rbkernel.runbook import catalogue
from tests.support.kernels import PATIENCE_S
from tests.support.waiting import until

_ENDS_S = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[client.Status]:
    """A server of this module's own, ready."""
    with _server() as status:
        yield status


@contextmanager
def _server(**environment: str) -> Iterator[client.Status]:
    # the path of a socket must be short, and pytest's folders are not
    with TemporaryDirectory(prefix="rb-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        patch.setenv(place.SWITCH, "on")
        for name, value in environment.items():
            patch.setenv(name, value)
        client.prepare(os.environ)
        try:
            until(lambda: _ready() is not None, "the fork server", timeout_s=PATIENCE_S)
            ready = _ready()
            assert ready is not None
            yield ready
        finally:
            until(_none_lives, "the end of the servers")


def _none_lives() -> bool:
    """Stop every server, also one that a kernel has only just had started."""
    for status in client.living():
        client.stop(status, now=True)
    return client.living() == []


def _ready() -> client.Status | None:
    return next((one for one in client.living() if one.ready), None)


@contextmanager
def _kernel(**options: object) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager(kernel_name="rbkernel")
    manager.start_kernel(**options)
    talk = manager.client()
    try:
        talk.start_channels()
        talk.wait_for_ready(timeout=PATIENCE_S)
        yield manager, talk
    finally:
        talk.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def _value(talk: BlockingKernelClient, expression: str) -> str:
    reply = talk.execute_interactive(
        "",
        user_expressions={"it": expression},
        timeout=PATIENCE_S,
        output_hook=lambda _message: None,
    )
    found = reply["content"]["user_expressions"]["it"]
    assert found["status"] == "ok", found
    return str(found["data"]["text/plain"])


def _run(talk: BlockingKernelClient, code: str) -> None:
    reply = talk.execute_interactive(code, timeout=PATIENCE_S, output_hook=lambda _message: None)
    assert reply["content"]["status"] == "ok", reply["content"]


def test_a_kernel_is_forked_and_leads_its_own_session(server: client.Status) -> None:
    with _kernel() as (manager, talk):
        pid = int(_value(talk, "__import__('os').getpid()"))
        assert psutil.Process(pid).ppid() == server.pid
        assert os.getsid(pid) == pid
        assert manager.provisioner is not None
        assert isinstance(vars(manager.provisioner)["process"], ForkedProcess)
        assert _one(server).programs == 1
    until(lambda: _one(server).programs == 0, "it is gone", timeout_s=_ENDS_S)


def _one(server: client.Status) -> client.Status:
    return next(one for one in client.living() if one.pid == server.pid)


def test_switched_off_a_kernel_starts_plainly(
    server: client.Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(place.SWITCH, "off")
    with _kernel() as (_manager, talk):
        assert int(_value(talk, "__import__('os').getppid()")) == os.getpid()
    assert _one(server).programs == 0


def test_nothing_of_one_kernel_reaches_another(
    server: client.Status, tmp_path: Path, evidence: Path
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    seen = []
    for folder in folders:
        folder.mkdir()
        environment = {**os.environ, "RBKERNEL_EVIDENCE": str(evidence)}
        environment["CANARY"] = f"canary-of-{folder.name}"
        with _kernel(cwd=str(folder), env=environment) as (_manager, talk):
            _run(talk, "import os, random, sys\nimport numpy as np\nimport pandas as pd")
            seen.append(
                {
                    name: _value(talk, expression)
                    for name, expression in {
                        "canary": "os.environ['CANARY']",
                        "folder": "os.getcwd()",
                        "path": "sys.path[0]",
                        "random": "random.random()",
                        "numpy": "np.random.rand()",
                        "pid": "os.getpid()",
                        "names": "'left_behind' in globals()",
                        "modules": "'left_behind' in sys.modules",
                        "options": "pd.get_option('display.max_rows')",
                        "variables": "os.environ.get('LEFT_BEHIND')",
                        "open files": "sorted(os.listdir('/proc/self/fd'), key=int)[:3]",
                    }.items()
                }
            )
            _run(
                talk,
                "left_behind = 1; sys.modules['left_behind'] = os\n"
                "pd.set_option('display.max_rows', 7); os.environ['LEFT_BEHIND'] = 'x'",
            )
    one, two = seen
    for name in ("canary", "random", "numpy", "pid", "folder"):
        assert one[name] != two[name], name
    for found, folder in zip(seen, folders, strict=True):
        assert found["canary"] == repr(f"canary-of-{folder.name}")
        assert found["folder"] == repr(str(folder))
        assert found["names"] == found["modules"] == "False"
        assert found["options"] == "60"
        assert found["variables"] == "None"
    journals = [file.read_text() for file in evidence.rglob("journal.jsonl")]
    assert len(journals) == len(folders)
    for canary, folder in zip(("canary-of-two", "canary-of-one"), folders, strict=True):
        assert not any(canary in text for text in journals if f"canary-of-{folder.name}" in text)
    # the server has seen neither
    own = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"canary-of" not in own


def test_a_kernel_shows_what_a_plain_one_shows(
    server: client.Status, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    assert server.ready
    asked = {
        "plotly": "__import__('plotly.io').io.renderers.default",
        "columns": "__import__('pandas').get_option('display.max_columns')",
        "name": "__name__",
        "main": "__import__('sys').modules['__main__'].__name__",
        "signals": "[str(signal.getsignal(n))[:30] for n in sorted(signal.valid_signals())]",
        "umask": "open('/proc/self/status').read().split('Umask:')[1][:6]",
        "standard input": "__import__('os').read(0, 1)",
        "argv": "__import__('sys').argv[1:2]",
        "flags": "str(__import__('sys').flags)",
        "shell": "type(get_ipython()).__name__, get_ipython().kernel is not None",
        "encoding": "__import__('sys').getfilesystemencoding()",
        "started by": "__import__('rbkernel.forkserver.origin').forkserver.origin.started_by()",
        "zone": "__import__('time').tzname",
    }
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    imports = (
        "import signal, pandas, plotly.io"  # in a cell, as notebooks do: both look for a kernel
    )
    with _kernel() as (_manager, talk):
        _run(talk, imports)
        forked = {name: _value(talk, expression) for name, expression in asked.items()}
    monkeypatch.setenv(place.SWITCH, "off")
    with _kernel() as (_manager, talk):
        _run(talk, imports)
        plain = {name: _value(talk, expression) for name, expression in asked.items()}
    assert forked == plain


def test_a_kernel_and_what_it_started_end_with_their_client(server: client.Status) -> None:
    script = (
        "import sys, time\n"
        "from jupyter_client.manager import KernelManager\n"
        "manager = KernelManager(kernel_name='rbkernel'); manager.start_kernel()\n"
        "talk = manager.client(); talk.start_channels(); talk.wait_for_ready(timeout=180)\n"
        'talk.execute(\'import subprocess; it = subprocess.Popen(["sleep", "600"])\','
        " reply=True, timeout=180)\n"
        "print(manager.provisioner.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        kernel = psutil.Process(int(killed.stdout.readline()))
        assert kernel.ppid() == server.pid
        processes = [kernel, *kernel.children()]
        assert len(processes) > 1
        killed.kill()
    _gone, alive = psutil.wait_procs(processes, timeout=_ENDS_S)
    assert not alive


def test_kernels_end_with_a_server_that_is_killed_and_the_next_starts_plainly() -> None:
    with _server() as own, _kernel() as (manager, talk):
        kernel = psutil.Process(int(_value(talk, "__import__('os').getpid()")))
        assert kernel.ppid() == own.pid
        os.kill(own.pid, signal.SIGKILL)
        _gone, alive = psutil.wait_procs([kernel], timeout=_ENDS_S)
        assert not alive
        until(lambda: not manager.is_alive(), "the client sees it", timeout_s=_ENDS_S)
        with _kernel() as (_other, next_talk):
            assert int(_value(next_talk, "__import__('os').getppid()")) == os.getpid()
        # and has a new server started, which is ended with this test
        until(lambda: client.living() != [], "the next server", timeout_s=PATIENCE_S)


def test_a_killed_kernel_is_seen_at_once_and_restarted(server: client.Status) -> None:
    with _kernel() as (manager, talk):
        first = int(_value(talk, "__import__('os').getpid()"))
        os.kill(first, signal.SIGKILL)
        until(lambda: not manager.is_alive(), "the client sees it", timeout_s=_ENDS_S)
        manager.restart_kernel(now=True)
        talk.wait_for_ready(timeout=PATIENCE_S)
        second = int(_value(talk, "__import__('os').getpid()"))
        assert second != first
        assert psutil.Process(second).ppid() == server.pid


def test_the_exit_status_is_that_of_the_program(server: client.Status) -> None:
    assert server.ready
    with TemporaryFile() as said, TemporaryFile() as given:
        for arguments, status in ((["--version"], 0), (["no-such-command"], 3)):
            process = client.start(
                "rbkernel",
                arguments,
                environment=os.environ,
                folder="/",
                streams=(given.fileno(), said.fileno(), said.fileno()),
            )
            assert process is not None
            assert process.wait(PATIENCE_S) == status
        said.seek(0)
        assert rbkernel.__version__.encode() in said.read()


def test_a_server_keeps_nothing_of_the_programs_that_ended(server: client.Status) -> None:
    files = Path(f"/proc/{server.pid}/fd")
    with TemporaryFile() as said:

        def once() -> None:
            process = client.start(
                "rbkernel",
                ["--version"],
                environment=os.environ,
                folder="/",
                streams=(said.fileno(),) * 3,
            )
            assert process is not None
            assert process.wait(PATIENCE_S) == 0

        once()
        until(lambda: _one(server).programs == 0, "it was reaped", timeout_s=PATIENCE_S)
        before = len(list(files.iterdir()))
        for _ in range(20):
            once()
        until(lambda: _one(server).programs == 0, "all were reaped", timeout_s=PATIENCE_S)
    assert len(list(files.iterdir())) == before


def test_changed_code_is_not_run_by_a_server_that_has_the_old(tmp_path: Path) -> None:
    """The package is copied, so that the checkout's files stay as they are."""
    copied = tmp_path / "rbkernel"
    shutil.copytree(Path(rbkernel.__file__).parent, copied)
    with _server(PYTHONPATH=str(tmp_path)) as own:
        with _kernel() as (_manager, talk):
            kernel = psutil.Process(int(_value(talk, "__import__('os').getpid()")))
            assert kernel.ppid() == own.pid
            assert str(tmp_path) in _value(talk, "__import__('rbkernel').__file__")
        (copied / "model.py").touch()
        with _kernel() as (_manager, talk):
            assert int(_value(talk, "__import__('os').getppid()")) == os.getpid()
        until(
            lambda: all(one.pid != own.pid for one in client.living()),
            "the old server ends",
            timeout_s=PATIENCE_S,
        )


@pytest.fixture
def own_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[place.Place]:
    """The place of a server of the test's own, in a folder of its own."""
    with TemporaryDirectory(prefix="rb-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv(place.SWITCH, "on")
        yield place.place_for(os.environ)
        until(_none_lives, "the end of the servers")


@contextmanager
def _process(own_place: place.Place, idle_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server that is a child of this process, and wait until it is ready."""
    module = [sys.executable, "-m", "rbkernel.forkserver.server", str(own_place.socket)]
    with subprocess.Popen(
        [*module, "--idle-s", str(idle_s)], env=variables.of_server(os.environ)
    ) as process:
        until(own_place.socket.exists, "the fork server", timeout_s=PATIENCE_S)
        yield process
        process.kill()


def test_an_idle_server_ends_unless_a_worker_keeps_it(own_place: place.Place) -> None:
    with _process(own_place, idle_s=0.5) as process:
        later = time.time() + 3600
        os.utime(own_place.lock, (later, later))  # as if kept now and again
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        client.prepare(os.environ)
        assert own_place.lock.stat().st_mtime < later
        assert process.wait(PATIENCE_S) == 0
    assert list(own_place.socket.parent.iterdir()) == []


def test_a_server_that_is_told_to_stop_first_lets_its_programs_end(
    own_place: place.Place,
) -> None:
    with _process(own_place, idle_s=60) as process:
        with _kernel() as (_manager, talk):
            assert int(_value(talk, "__import__('os').getppid()")) == process.pid
            [status] = client.living()
            client.stop(status)
            until(lambda: not own_place.socket.exists(), "the socket is gone")
            # longer than the server waits between two looks at its programs
            assert _value(talk, "__import__('time').sleep(3) or 7") == "7"
            assert process.poll() is None
        assert process.wait(PATIENCE_S) == 0
        assert not own_place.failure.exists()


def test_a_server_ends_when_its_folder_is_removed(own_place: place.Place) -> None:
    with _process(own_place, idle_s=3600) as process:
        shutil.rmtree(own_place.socket.parent)
        assert process.wait(PATIENCE_S) == 0


def test_a_server_that_cannot_start_is_tried_once_and_the_reason_is_said_once(
    own_place: place.Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading, time\n"
        "if 'rbkernel.forkserver.server' in sys.orig_argv:\n"
        "    threading.Thread(target=time.sleep, args=(600,), name='of a library', daemon=True)"
        ".start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own_place = place.place_for(os.environ)
    client.prepare(os.environ)
    until(own_place.failure.exists, "the failure", timeout_s=PATIENCE_S)
    until(lambda: client.living() == [], "the end of the server")
    for _ in range(2):
        with _kernel() as (_manager, talk):
            assert int(_value(talk, "__import__('os').getppid()")) == os.getpid()
    assert client.living() == []  # no further one was started
    [said] = [one.getMessage() for one in caplog.records if "fork server" in one.getMessage()]
    assert "NotAlone" in said
    assert "of a library" in said
    assert str(own_place.log) in said
    assert "NotAlone" in client.problem(os.environ)


def test_every_variable_that_is_read_at_import_is_known() -> None:
    """Another value would have another effect in a new process: it needs another server."""
    script = (
        "import os\n"
        "read, encode, given = set(), os.environ.encodekey, set(os.environ)\n"
        "def noted(name):\n"
        "    read.add(name)\n"
        "    return encode(name)\n"
        "os.environ.encodekey = noted\n"
        "from rbkernel.kernel.preload import preload\n"
        "preload()\n"
        "read -= {*os.environ} - given  # a shell sets some\n"
        "print(*sorted(name for name in read if isinstance(name, str)))\n"
    )
    read = subprocess.run(
        [sys.executable, "-c", script],
        env=variables.of_server(os.environ),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "PANDAS_COPY_ON_WRITE" in read
    known = {*variables.read_at_import(dict.fromkeys(read, "x")), *variables.HARMLESS}
    assert {*read} - known - {*variables.of_server({})} == set()


def test_a_program_that_would_inherit_other_limits_uses_another_server(
    server: client.Status,
) -> None:
    script = (
        "import os, resource\n"
        "from rbkernel.forkserver import place\n"
        "print(place.identity(os.environ))\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))\n"
        "print(place.identity(os.environ))\n"
        "print(place.identity({**os.environ, 'PYTHONPATH': '/elsewhere'}))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    identities = said.stdout.split()
    assert identities[0] == server.place.socket.stem
    assert len({*identities}) == len(identities)


@pytest.mark.soak
@pytest.mark.parametrize("runbook", [one.id for one in catalogue.runbooks(())[0]])
def test_a_runbook_shows_the_same_with_a_forked_and_a_plain_kernel(
    server: client.Status,
    shop: Settings,
    runbook: str,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert server.ready
    shown = []
    for switch in ("on", "off"):
        monkeypatch.setenv(place.SWITCH, switch)
        shown.append(_shown(runner.run(runbook, {}, shop).record))
    assert shown[0] == shown[1]
    assert len(list(evidence.glob("INC-*/*/journal.jsonl"))) == len(shown)


def _shown(record: Record) -> dict[str, object]:
    """What a run shows, without times, ids and other figures: the database has its own life."""
    return {
        "cells": [
            (run.code.partition("incident = ")[0], run.status, [_form(one) for one in run.outputs])
            for run in record.cells
        ],
        "findings": [(one.title, one.verdict) for one in record.findings],
        "decisions": [(one.question, one.options, one.recommended) for one in record.decisions],
        "complete": record.complete,
    }


def _form(output: Mapping[str, Any]) -> tuple[object, ...]:
    return output["output_type"], output.get("name"), sorted(output.get("data", {}))
