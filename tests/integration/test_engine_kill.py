"""kill -9 of a headless run with our engine: in time, while the journal grows, and in the seal.

Whatever the moment, sealing again mends it: the evidence verifies, the notebook is valid, and no
cell is called done that did not write down its end by itself.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest

from rbkernel.evidence import bundle, reading, store
from rbkernel.evidence.runs import list_runs
from rbkernel.evidence.verify import verify_folder
from rbkernel.model import Verdict
from tests.integration.test_kill import expect_honest, traced_runbook
from tests.support.kernels import PATIENCE_S, configure, papermill
from tests.support.tiers import first

IN_TIME, IN_JOURNAL, IN_SEAL = 70, 70, 60
# what a seal leaves behind, step by step
STEPS = ("open/*/sealing", "open/*/sealing/run", "open/*/sealing/MANIFEST", "INC-*/0*", "HEADS")


def seeds(count: int) -> list[object]:
    """Return so many seeds for `make soak`, and one more for each day."""
    return first(range(count + 1))


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed: how long it took, and how large its journal became."""

    lasted_s: float
    journal_bytes: int


class Headless:
    """One run that is going on."""

    def __init__(self, folder: Path, evidence: Path, *, by_papermill: bool = False) -> None:
        self.evidence, self.trace, self.output = evidence, folder / "trace", folder / "out.ipynb"
        self.document = traced_runbook(folder)
        given = ("-p", "trace_file", str(self.trace), "--engine", "rbkernel")
        self.process = (
            papermill(self.document, self.output, *given) if by_papermill else self._by_us()
        )

    def _by_us(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rbkernel", "run", str(self.document)]
        return subprocess.Popen(
            [*command, "-p", f"trace_file={self.trace}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @property
    def journal_bytes(self) -> int:
        found = [*self.evidence.glob("open/*/journal.jsonl")]
        return sum(path.stat().st_size for path in found)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait for a moment; a run may end before it."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and not reached():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def kill(self, victim: str) -> None:
        """Kill the runner or its kernel, and wait until both have ended."""
        try:
            kernels = psutil.Process(self.process.pid).children(recursive=True)
            for one in kernels if victim == "kernel" else [self.process]:
                one.kill()
        except psutil.NoSuchProcess:
            kernels = []
        self.process.communicate(timeout=PATIENCE_S)
        _, alive = psutil.wait_procs(kernels, timeout=PATIENCE_S)
        assert alive == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_EVIDENCE", str(folder / "evidence"))
        patch.setenv("RBKERNEL_CONFIG", str(configure(folder)))
        started = time.monotonic()
        run = Headless(folder, folder / "evidence")
        run.process.communicate(timeout=PATIENCE_S)
        [journal] = (folder / "evidence").glob("INC-*/*/journal.jsonl")
        return Whole(time.monotonic() - started, journal.stat().st_size)


@pytest.fixture
def folder(tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path)))
    return tmp_path


@pytest.mark.parametrize("seed", seeds(IN_TIME))
def test_at_a_random_moment(folder: Path, evidence: Path, whole: Whole, seed: int) -> None:
    dice = random.Random(f"time/{seed}")
    moment_s, by_papermill = dice.uniform(0, whole.lasted_s), seed % 2 == 0
    print(f"killed after {moment_s:.3f} of {whole.lasted_s:.3f} s, by papermill: {by_papermill}")
    run = Headless(folder, evidence, by_papermill=by_papermill)
    time.sleep(moment_s)
    run.kill("runner")
    expect_mended(run)


@pytest.mark.parametrize("seed", seeds(IN_JOURNAL))
def test_while_the_journal_grows(folder: Path, evidence: Path, whole: Whole, seed: int) -> None:
    dice = random.Random(f"journal/{seed}")
    size, victim = dice.randrange(whole.journal_bytes), ("kernel", "runner")[seed % 2]
    run = Headless(folder, evidence)
    run.wait_until(lambda: run.journal_bytes > size)
    run.kill(victim)
    print(f"{victim} killed at {size} of {whole.journal_bytes} bytes")
    expect_mended(run)


@pytest.mark.parametrize("seed", seeds(IN_SEAL))
def test_in_the_seal(folder: Path, evidence: Path, seed: int) -> None:
    dice = random.Random(f"seal/{seed}")
    step, later_s = dice.choice(STEPS), dice.uniform(0, 0.01)
    run = Headless(folder, evidence)
    run.wait_until(lambda: any(evidence.glob(step)))
    time.sleep(later_s)
    run.kill("runner")
    print(f"killed {1000 * later_s:.1f} ms after {step}")
    expect_mended(run)


def expect_mended(run: Headless) -> None:
    if run.output.exists():  # papermill's own, whole at any moment
        claimed = nbformat.read(run.output, as_version=4)
        nbformat.validate(claimed)
        statuses = {cell.metadata.papermill.status for cell in claimed.cells}
        assert statuses == {"not run"} or claimed.metadata.papermill.end_time
    known = list_runs(run.evidence)
    if not known:
        assert not run.trace.exists()
        return
    [entry] = known
    sealed = bundle.seal(run.evidence, entry.run_id)
    assert verify_folder(run.evidence) == ()
    assert sealed.verification.ok
    assert not store.open_folder(run.evidence, entry.run_id).exists()
    record = reading.read(sealed.folder)
    assert sealed.verdict is Verdict.UNKNOWN or record.complete
    notebook = nbformat.read(sealed.folder / "executed.ipynb", as_version=4)
    expect_honest(notebook, run.document, run.trace)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=sealed.folder, env=dict(os.environ), check=True)
