"""Jupyter's pages and our commands, used while runs go on: they look on, and start nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rbkernel.gateway.jobs.records import Job
from tests.integration.test_gateway_work import cells_of, ended
from tests.support.gateways import STEADY, Place, alert, make_place
from tests.support.lab import Lab

# who recovers the queue's work by mistake would run what is under way again
COMMANDS = (["incident", "list"], ["link"], ["serve", "--check"])


def steady(place: Place) -> list[Job]:
    place.until(lambda store: len(store.jobs()) == 3)
    return [job for job in place.jobs() if job.runbook == STEADY]


def test_each_run_is_executed_once_whatever_looks_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(tmp_path / "place")
    for name, value in place.variables.items():
        monkeypatch.setenv(name, value)
    with Lab(tmp_path / "lab") as lab, place.process("worker"):
        place.fire(alert("Steady", "a"), alert("Steady", "b"), alert("Quick", "c"))
        (running, *_) = steady(place)
        place.until(lambda _: cells_of(place, running) > 2)
        for page in ("rbkernel", f"rbkernel/runs/{running.run_id}"):
            answer = httpx.get(lab.url(page), follow_redirects=True, timeout=60)
            assert answer.status_code == 200
            assert STEADY in answer.text
        for command in COMMANDS:
            done = subprocess.run(
                [sys.executable, "-m", "rbkernel", *command],
                capture_output=True,
                text=True,
                check=False,
            )
            assert "Traceback" not in done.stderr
        place.until(ended(3))
    assert place.sealed() == {"a": 1, "b": 1, "c": 1}
    assert [job.attempt for job in place.jobs()] == [1, 1, 1]
