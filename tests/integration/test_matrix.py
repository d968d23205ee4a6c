"""A sample of the matrix (`make matrix`): each runbook on each scenario, against the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rbkernel.sandbox.faults.scenarios import SCENARIOS
from tests.conftest import working_sandbox

SAMPLE = ("ddl-in-front", "standby-readers-of-two-kinds", "wrong-password")


@pytest.fixture(scope="module")
def rows(sandbox_home: Path) -> Mapping[str, Any]:
    """The sample, played in a process of its own: cells run in the shell that is there once."""
    command = [sys.executable, "-m", "benchmarks.matrix", "--one", *SAMPLE]
    with working_sandbox(sandbox_home):
        environment = {**os.environ, "RBKERNEL_SANDBOX": str(sandbox_home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    played = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["scenario"]: row for row in played}


@pytest.mark.parametrize("name", SAMPLE)
def test_every_runbook_comes_to_the_truth(rows: Mapping[str, Any], name: str) -> None:
    cells = rows[name]["cells"]
    seen_by = SCENARIOS[name].truth.seen_by or ("RUN-000", "RUN-001", "RUN-006", "RUN-007")
    assert set(seen_by) <= set(cells)
    assert {told: cell["why"] for told, cell in cells.items() if cell["mark"] != "ok"} == {}


@pytest.mark.parametrize("name", SAMPLE[:2])
def test_the_step_does_what_was_foretold(rows: Mapping[str, Any], name: str) -> None:
    assert rows[name]["cells"]["step"]["mark"] == "ok"
