"""A headless run asks, somebody answers, and the run is continued with the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbkernel import config
from rbkernel.cli import app
from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident
from rbkernel.incidents import questions, resuming, workflow
from rbkernel.model import DecisionState, Origin
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from tests.support import kernels

ASK = 'choice = rb.decide("What now?", ["resume replay", "wait"], recommended="resume replay")'
PLAN = """\
from rbkernel.model import ActionPlan
plan = ActionPlan(id="p1", title="Wait", connection="", sql="SELECT 1")
print(where, rb.act(plan, when=choice.chose("wait")).state)"""
INHERITED = 'import os\nprint(os.environ.get("RBKERNEL_CONTINUES"))'


@pytest.fixture
def parked(tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """A run that ended without an answer, of a runbook in a catalogue of its own."""
    cells = [kernels.START, ASK, PLAN, INHERITED]
    kernels.write_runbook(tmp_path / "r.ipynb", cells, parameters='where: str = "here"')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(kernels.configure(tmp_path)))
    return runner.run(kernels.RUNBOOK, {"where": "there"}, config.load())


def answer(run: Outcome, choice: str = "wait") -> None:
    root = config.load().evidence_root
    found = questions.questions(root, run.incident)
    [asked] = found.asked
    questions.answer(root, found, asked, choice, by="ann", origin=Origin.PAGE)


def printed(run: Outcome) -> str:
    return "".join(str(one.get("text", "")) for cell in run.record.cells for one in cell.outputs)


def test_a_run_is_continued_with_the_answer(parked: Outcome) -> None:
    [asked] = parked.record.decisions
    assert asked.state is DecisionState.PARKED
    assert "there proposed" not in printed(parked)
    answer(parked)
    result = CliRunner().invoke(app, ["resume", parked.incident, "--json"])
    said = json.loads(result.stdout)
    assert said["incident"] == parked.incident
    second = workflow.look(config.load().evidence_root, parked.incident)
    assert second.continues == {said["run_id"]: parked.record.run_id}
    assert [one["choice"] for one in said["decisions"]] == ["wait"]
    again = resuming.resume(said["run_id"], config.load())
    assert again.record.run
    assert dict(again.record.run.parameters) == {"where": "there"}
    assert again.record.run.continues == said["run_id"]
    assert "there proposed\nNone\n" in printed(again)


def test_a_run_is_not_continued_before_it_can_be(parked: Outcome, tmp_path: Path) -> None:
    settings = config.load()

    def refused() -> str:
        with pytest.raises(EvidenceError) as error:
            resuming.resume(parked.incident, settings)
        return str(error.value)

    assert f"not answered yet: What now? ({parked.incident}). Next: `rbkernel decide" in refused()
    answer(parked)
    document = tmp_path / "r.ipynb"
    before = document.read_bytes()
    document.write_bytes(before.replace(b"wait", b"drop"))
    assert "has changed since" in refused()
    document.unlink()
    assert "cannot be read" in refused()
    document.write_bytes(before)
    incident.append(settings.evidence_root, parked.incident, "closed", by="ann", resolution="")
    assert "is closed" in refused()
    assert len(workflow.look(settings.evidence_root, parked.incident).runs) == 1
