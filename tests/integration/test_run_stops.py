"""`rbkernel run` that is ended before its time seals what it has, and calls nothing done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support.kernels import PATIENCE_S, START, configure, write_runbook
from tests.support.waiting import until

SLEEP = "import time; print('asleep', flush=True); time.sleep(600)"
CAUGHT = (
    "import time\nfor turn in range(600):\n    try:\n        print('asleep', flush=True)\n"
    "        time.sleep(1)\n    except BaseException: pass"
)


LIMITED = "[kernel]\ncell_output_mb = 0.125\n"


def start(
    folder: Path, middle: str, *options: str, configuration: str = ""
) -> subprocess.Popen[str]:
    file = configure(folder)
    file.write_text(configuration + file.read_text())
    document = write_runbook(
        folder / "runbook.ipynb", [START, "print('first')", middle, "print('last')"]
    )
    return subprocess.Popen(
        [sys.executable, "-m", "rbkernel", "run", str(document), "--json", *options],
        env={**os.environ, "RBKERNEL_CONFIG": str(file)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str], evidence: Path) -> tuple[dict[str, Any], list[str]]:
    """Wait for the run; return its summary, and the sealed notebook's word for each cell."""
    said, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, complaint
    summary = json.loads(said)
    assert summary["head"], summary["failure"]
    verified = [sys.executable, "-m", "rbkernel", "evidence", "verify"]
    done = subprocess.run(verified, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sealed = nbformat.read(Path(summary["evidence"]) / "executed.ipynb", as_version=4)
    # the journal's words: a notebook that lacks the last output of a killed kernel is made from it
    told = [cell.metadata.get("rbkernel", {}).get("status") for cell in sealed.cells]
    words = [word for word in told if word]  # papermill marks the cell that failed with another
    assert not list(evidence.glob("open/*/journal.jsonl"))
    return summary, words


def asleep(evidence: Path) -> bool:
    return any("asleep\\n" in file.read_text() for file in evidence.glob("open/*/journal.jsonl"))


@pytest.mark.parametrize(
    ("signals", "middle", "reason"),
    [
        ([signal.SIGTERM, signal.SIGINT], SLEEP, "interrupted by SIGTERM"),
        ([signal.SIGINT], CAUGHT, "interrupted by Ctrl-C"),
        ([signal.SIGALRM], SLEEP, "the run did not finish within 3600 s"),  # as at the deadline
    ],
)
def test_signals_end_the_run_and_it_is_sealed(
    signals: Sequence[signal.Signals], middle: str, reason: str, tmp_path: Path, evidence: Path
) -> None:
    process = start(tmp_path, middle, "--timeout", "3600")
    until(lambda: asleep(evidence))
    # whoever is impatient sends it again and again, until there is nobody left
    while process.poll() is None:
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
    summary, words = outcome(process, evidence)
    assert reason in summary["failure"]
    assert words[-3:] == ["done", "interrupted", "not run"]


def test_an_endless_output_fails_the_run_and_it_is_sealed(tmp_path: Path, evidence: Path) -> None:
    process = start(tmp_path, "while True: print('line')", configuration=LIMITED)
    summary, words = outcome(process, evidence)
    assert "the output of this cell is over its limit of 0.125 MB" in summary["failure"]
    assert words[-3:] == ["done", "interrupted", "not run"]
