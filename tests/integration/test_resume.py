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
from tests.support.command import run_command
from tests.support.gateways import alert, make_place

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


ASKING = """\
---
id: RUN-900
title: Asking
summary: It looks at nothing.
category: incident
severity: P3
owner: Tests
triggers:
  - alert: Asking
    parameters: {where: labels.which}
    key: [labels.which]
---"""


def test_the_gateway_continues_it_although_everything_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place(tmp_path)
    monkeypatch.setattr(kernels, "FRONT_MATTER", ASKING)
    cells = [kernels.START, ASK, PLAN, "rb.summary()"]
    kernels.write_runbook(tmp_path / "r.ipynb", cells, parameters='where: str = "here"')
    for name, value in place.variables.items():
        monkeypatch.setenv(name, value)
    place.fire(alert("Asking", "there"))
    with place.process("worker") as worker:
        place.until(lambda store: bool(store.counts().jobs.get("done")))
        assert worker.end() == 0
    [first] = place.jobs()
    told = run_command("decide", first.incident, "wait", "--by", "ann")
    assert "the gateway continues the run that asked" in told.stdout
    with place.process("worker") as worker:
        place.until(lambda store: store.counts().jobs.get("done") == 2)
        assert worker.end() == 0
    # whoever comes later, and looks at the record, finds nothing to do
    with place.process("worker") as worker:
        place.fire(alert("Quick", "b"))
        place.until(lambda store: store.counts().jobs.get("done") == 3)
        assert worker.end() == 0
    _, second, first = place.jobs()
    assert second.why[0].startswith(f"continues run {first.run_id}: What now? wait (ann ")
    assert (second.key, second.parameters) == (first.key, first.parameters)
    found = workflow.look(place.evidence, first.incident)
    assert found.continues == {second.run_id: first.run_id}
    assert [one.decision.choice for one in found.asked] == ["wait"]
    assert {"done", "action"}.isdisjoint(line.kind for line in found.record.lines)
    [line] = [line for line in found.record.lines if line.kind == incident.CONTINUED]
    assert (line.text("run_id"), line.text("job")) == (first.run_id, second.id)
