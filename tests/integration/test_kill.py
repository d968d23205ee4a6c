"""kill -9, of papermill or of the kernel, at any moment: the record tells what really happened.

The runbook writes down for itself, outside of rbkernel, which cell began and which one ended. The
moments are drawn by a seeded generator over the length of a whole run, start of papermill included.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import bundle, reading, runs, store
from rbkernel.evidence.rebuild import rebuild
from rbkernel.model import Verdict, new_run_id
from rbkernel.run import runner
from rbkernel.runbook import catalogue
from tests.support.kernels import (
    PATIENCE_S,
    START,
    configure,
    kernel,
    papermill,
    received,
    write_runbook,
)
from tests.support.tiers import first

SEEDS = first(range(30))

TRACE = """
import os, time
trace = os.open(trace_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def mark(text): os.write(trace, text.encode() + b"\\n")
mark("begin 0")
import rbkernel as rb
rb.start("RUN-900", trace_file=trace_file)
mark("end 0")"""
SAY = """
mark("begin {n}")
for line in range(5):
    print({n}, line, flush=True)
    time.sleep(0.02)
mark("end {n}")"""
SHOW = """
mark("begin {n}")
from IPython.display import display
shown = display("{n}: 0", display_id=True)
for step in range(1, 5):
    time.sleep(0.02)
    shown.update(f"{n}: {{step}}")
rb.note("seen {n}")
mark("end {n}")
{n}"""


def traced_runbook(folder: Path) -> Path:
    cells = [TRACE.strip()]
    for number in range(1, 7):
        cells.append(f"# Step {number}\n\nIts *Markdown*, with ünïcode.")
        cells.append((SAY if number % 2 else SHOW).format(n=number).strip())
    cells.append('mark("begin 7")\nrb.summary()\nmark("end 7")')
    return write_runbook(folder / "traced.ipynb", cells, parameters='trace_file: str = ""')


class Killed:
    """One run that is going on: papermill, its kernel, and where they write."""

    def __init__(self, folder: Path, evidence: Path, document: Path, *arguments: str) -> None:
        self.evidence = evidence
        self.document = document
        self.output = folder / "out.ipynb"
        self.run_id = new_run_id()
        self.open = store.open_folder(evidence, self.run_id)
        self.process = papermill(document, self.output, *arguments, RBKERNEL_RUN_ID=self.run_id)

    def kill_papermill(self) -> None:
        """Kill it, and wait until its kernel, which is then alone, has ended."""
        kernels = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_S)
        _, alive = psutil.wait_procs(kernels, timeout=PATIENCE_S)
        assert alive == []

    def kill_kernel(self) -> None:
        """Kill the kernel, if there is one already; papermill must see it and fail."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # one that has just ended, or is a zombie
                if "rbkernel.kernel" in " ".join(child.cmdline()):
                    child.kill()
        self.wait()

    def wait(self) -> str:
        _, complaint = self.process.communicate(timeout=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while store.kernel_is_alive(self.open):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return complaint

    def saved(self) -> NotebookNode | None:
        """What papermill saved; None where there is nothing, or a torn file."""
        try:
            notebook: NotebookNode = nbformat.read(self.output, as_version=4)
        except (OSError, ValueError):
            return None
        return notebook


@pytest.fixture(scope="module")
def whole_run_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the traced runbook takes when nobody kills it; it must be whole then."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_EVIDENCE", str(folder / "evidence"))
        patch.setenv("RBKERNEL_CONFIG", str(configure(folder)))
        document = traced_runbook(folder)
        started = time.monotonic()
        trace = folder / "trace"
        run = Killed(folder, folder / "evidence", document, "-p", "trace_file", str(trace))
        complaint = run.wait()
        lasted = time.monotonic() - started
        assert run.process.returncode == 0, complaint
        record = reading.read(run.open)
        assert record.complete
        expect_honest(rebuild(record, reading.snapshot_of(record)), document, trace)
        assert len(trace.read_text().splitlines()) == 16
        assert bundle.seal(folder / "evidence", run.run_id, run.output.read_bytes()).verification.ok
    return lasted


@pytest.fixture
def traced(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch, whole_run_s: float
) -> Path:
    monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path)))
    return traced_runbook(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("victim", ["papermill", "kernel"])
def test_killed_at_a_random_moment(
    traced: Path, tmp_path: Path, evidence: Path, whole_run_s: float, victim: str, seed: int
) -> None:
    moment_s = random.Random(f"{victim}/{seed}").uniform(0, whole_run_s)
    print(f"{victim}, seed {seed}: killed after {moment_s:.3f} of {whole_run_s:.3f} s")
    trace = tmp_path / "trace"
    run = Killed(tmp_path, evidence, traced, "-p", "trace_file", str(trace))
    time.sleep(moment_s)
    run.kill_papermill() if victim == "papermill" else run.kill_kernel()
    expect_recorded(run, trace)


def expect_recorded(run: Killed, trace: Path) -> None:
    saved = run.saved()
    if not run.open.exists():
        with pytest.raises(EvidenceError):
            runs.find(run.evidence, run.run_id)
        assert not trace.exists()
        assert saved is None or all_outputs(saved) == {}
        return
    record = reading.read(run.open)
    built = rebuild(record, reading.snapshot_of(record))
    expect_honest(built, run.document, trace)
    if saved is not None:
        expect_all_arrived(saved, built, run.open)
    sealed = bundle.seal(run.evidence, run.run_id)
    assert sealed.verdict is Verdict.UNKNOWN or record.complete
    nbformat.validate(nbformat.read(sealed.folder / "executed.ipynb", as_version=4))
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=sealed.folder, check=True)


def expect_honest(built: NotebookNode, document: Path, trace: Path) -> None:
    """Markdown is there, and statuses agree with what the cells wrote down by themselves."""
    nbformat.validate(built)
    marks = trace.read_text().splitlines() if trace.exists() else []
    original = nbformat.read(document, as_version=4)
    if "note" not in built.metadata["rbkernel"]:  # rb.start had kept the document
        told = [cell.source for cell in built.cells if cell.cell_type == "markdown"]
        assert told == [cell.source for cell in original.cells if cell.cell_type == "markdown"]
    for cell in built.cells:
        if cell.cell_type != "code" or 'mark("begin' not in cell.source:
            continue
        number = cell.source.partition('mark("begin ')[2].partition('"')[0]
        status = cell.metadata["rbkernel"]["status"]
        if status == "done":
            assert f"end {number}" in marks
        if f"begin {number}" in marks:
            assert status in {"done", "interrupted"}
        if status == "not run":
            assert cell.outputs == []


def all_outputs(notebook: NotebookNode) -> dict[str, list[Any]]:
    return {
        cell.id: cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.outputs
    }


def expect_all_arrived(saved: NotebookNode, built: NotebookNode, folder: Path) -> None:
    """Every output that papermill had saved is in the rebuilt notebook, or its successor is."""
    shown = [json.loads(line) for line in whole_lines(folder)]
    contents = [line["content"].get("data") for line in shown if line["kind"] == "iopub"]
    rebuilt = all_outputs(built)
    for cell_id, outputs in all_outputs(saved).items():
        joined = join_streams(outputs)
        assert len(rebuilt[cell_id]) >= len(joined)
        for mine, theirs in zip(rebuilt[cell_id], joined, strict=False):
            assert mine.output_type == theirs.output_type
            if theirs.output_type == "stream":
                assert mine.text.startswith(theirs.text)
            elif theirs.output_type != "error" and plain(mine.data) != plain(theirs.data):
                first, second = plain(theirs.data), plain(mine.data)
                assert contents.index(first) < contents.index(second)


def join_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """papermill keeps a part of its own for each message of a stream."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if joined and "name" in output and output.name == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def plain(data: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(data))


def whole_lines(folder: Path) -> list[bytes]:
    return (folder / store.JOURNAL).read_bytes().split(b"\n")[:-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_client_saw_is_on_record(evidence: Path, seed: int) -> None:
    """The kernel is killed under a client: each message that had arrived is in the journal."""
    moment_s = random.Random(f"client/{seed}").uniform(0, 0.6)
    print(f"client, seed {seed}: killed after {moment_s:.3f} s")
    code = """
import time
from IPython.display import display
shown = display(0, display_id=True)
for step in range(10_000):
    print(step, flush=True)
    shown.update(step)
    time.sleep(0.001)
"""
    with kernel() as running:
        running.run("1")
        running.client.execute(code)
        seen = received(running.client, moment_s)
        os.kill(running.pid, signal.SIGKILL)
        seen += received(running.client, 1.0)
    [folder] = (evidence / "open").iterdir()
    lines = [json.loads(line) for line in whole_lines(folder)]
    kept = {json.dumps([line["type"], line["content"]]) for line in lines if "type" in line}
    arrived = [
        json.dumps([message["msg_type"], message["content"]])
        for message in seen
        if message["msg_type"] != "status"
    ]
    assert len(arrived) > 1
    assert [message for message in arrived if message not in kept] == []
    reading.read(folder)


def test_rbkernel_run_survives_its_kernel(
    evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop: Settings
) -> None:
    document = write_runbook(
        tmp_path / "dies.ipynb",
        [
            START,
            "# Two steps\n\nThe first one kills.",
            "import os, time\nprint('last words', flush=True)\ntime.sleep(0.2)\nos.abort()",
            "print('never')",
            "rb.summary()",
        ],
    )
    outcome = runner.run(str(document), {}, shop)
    assert "died" in outcome.failure
    assert outcome.exit_code == 3
    assert outcome.verdict is Verdict.UNKNOWN
    executed = nbformat.read(outcome.folder / "executed.ipynb", as_version=4)
    statuses = [c.metadata["rbkernel"]["status"] for c in executed.cells if c.cell_type == "code"]
    assert statuses == ["done", "interrupted", "not run", "not run"]
    assert "last words" in json.dumps(executed)
    assert "completed" not in json.dumps([c.metadata for c in executed.cells[3:]])


@pytest.mark.parametrize("victim", ["papermill", "kernel"])
@pytest.mark.parametrize("seed", first(range(4)))
def test_replication_lag_killed(
    shop: Settings, evidence: Path, tmp_path: Path, victim: str, seed: int
) -> None:
    document = catalogue.find("RUN-005", ()).path
    run = Killed(tmp_path, evidence, document)
    deadline = time.monotonic() + PATIENCE_S
    while not (run.open / store.SNAPSHOT).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    moment_s = random.Random(f"RUN-005/{victim}/{seed}").uniform(0, 6)
    print(f"{victim}, seed {seed}: killed {moment_s:.3f} s after rb.start")
    time.sleep(moment_s)
    run.kill_papermill() if victim == "papermill" else run.kill_kernel()
    record = reading.read(run.open)
    built = rebuild(record, reading.snapshot_of(record))
    expect_honest(built, document, tmp_path / "no-trace")
    saved = run.saved()
    if saved is not None:
        expect_all_arrived(saved, built, run.open)
    assert bundle.seal(evidence, run.run_id).verdict is Verdict.UNKNOWN or record.complete
