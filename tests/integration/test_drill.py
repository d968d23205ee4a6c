"""`rbkernel drill` on the sandbox: a runbook that passes, and one that asks for something else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.runbook import catalogue
from rbkernel.sandbox import control, drill, drill_training
from tests.support.command import run_command

# two connections are set, as in production: a drill must use neither
PRODUCTION = """
[connections.production]
host = "127.0.0.1"
port = 1
default = true
"""


@pytest.fixture
def runbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RUN-005 with one drill."""
    (tmp_path / "rbkernel.toml").write_text(PRODUCTION)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    notebook = json.loads(catalogue.find("RUN-005", []).document)
    front_matter = "".join(notebook["cells"][0]["source"])
    cut = re.sub(r"  - fault: (?!replay-paused)\S+\n(?:    .*\n)*", "", front_matter)
    assert cut != front_matter
    notebook["cells"][0]["source"] = cut
    path = tmp_path / "runbook.ipynb"
    path.write_text(json.dumps(notebook))
    return path


@pytest.mark.usefixtures("shop")
def test_a_runbook_that_passes_is_marked_and_another_fails(runbook: Path) -> None:
    kept = runbook.with_suffix(".jsonl")
    passed = run_command("drill", str(runbook), "--record", "--json", "--continue", str(kept))
    assert passed.returncode == 0, passed.stderr
    healthy, paused = json.loads(passed.stdout)
    assert (healthy["fault"], healthy["verdict"], healthy["found"]) == ("healthy", "ok", "")
    assert (paused["fault"], paused["verdict"]) == ("replay-paused", "critical")
    assert 0 < paused["seconds"] < 60
    assert len(kept.read_text().splitlines()) == 2
    said = catalogue.read(runbook).front_matter.drill_result
    assert re.fullmatch(r"1 of 1 fault found, .* PostgreSQL \d+\.\S+, rbkernel \S+", said)

    runbook.write_text(runbook.read_text().replace("recommends: resume replay", "recommends: wait"))
    before = runbook.read_bytes()
    failed = run_command("drill", str(runbook), "--record")
    assert failed.returncode == 1
    assert "recommended “resume replay” instead of “wait”" in failed.stdout
    assert "1 of 2 runs passed" in failed.stdout
    assert runbook.read_bytes() == before


@pytest.mark.usefixtures("shop")
def test_a_person_looks_for_a_fault_that_is_healed_afterwards(runbook: Path) -> None:
    active: list[str] = []

    def ask() -> drill_training.Answer:
        active.extend(one.fault for one in control.status().faults)
        return drill_training.Answer(runbook="RUN-005", culprit="paused", step="resume it")

    chosen = drill.chosen([str(runbook)], config.load())
    training = drill_training.train(chosen.planned, config.load(), ask)
    assert active == ["replay-paused"]
    assert control.status().faults == ()
    assert training.result.passed
    rows = {what: (you, it) for what, you, it in drill_training.comparison(training)}
    assert rows["next step"] == ("resume it", "resume replay")
