"""Going on from a run, with real kernels: in its incident, and on record as what continues it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.evidence import incident
from rbkernel.evidence.timeline import timeline
from rbkernel.incidents import postmortem, working_copy
from rbkernel.incidents.facts import Known
from rbkernel.run import runner
from tests.support.kernels import PATIENCE_S, configure, papermill, write_runbook

INCIDENT = "INC-20261120-7f3a"
PARAMETERS = 'label: str = "a"\nincident: str = ""'
START = 'import rbkernel as rb\n\nrb.start("RUN-900", label=label, incident=incident)'
CELLS = [START, 'rb.note(f"looked at {label}")', "rb.summary()"]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Path) -> config.Settings:
    (tmp_path / "catalogue").mkdir()
    write_runbook(tmp_path / "catalogue/small.ipynb", CELLS, parameters=PARAMETERS)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(configure(tmp_path / "catalogue")))
    return config.load()


def known(root: Path) -> Known:
    return postmortem.gather(root, INCIDENT, datetime.now(UTC))


def test_a_run_of_a_copy_continues_the_first_and_is_told_so(
    settings: config.Settings, tmp_path: Path
) -> None:
    first = runner.run("RUN-900", {"label": "b"}, settings, incident=INCIDENT)
    copy = working_copy.make(settings, first.record.run_id, tmp_path)
    second = runner.run(str(copy.path), {}, settings)
    assert (first.failure, second.failure) == ("", "")
    assert second.incident == INCIDENT
    run = second.record.run
    assert run is not None
    assert (run.continues, run.incident) == (first.record.run_id, INCIDENT)
    assert dict(run.parameters) == {"label": "b"}
    facts = second.record.of_kind("run")[0].data["facts"]
    assert facts["Continues"] == f"run {first.record.run_id}"
    told = known(settings.evidence_root)
    said = [entry.what for entry in timeline(told.record, told.runs)]
    assert f"RUN-900 A runbook of the tests: started, continues {first.record.run_id}" in said

    # whoever runs it: plain papermill, told nothing, joins the incident too
    process = papermill(copy.path, tmp_path / "out.ipynb", "-p", "label", "c")
    _, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complaint
    *_, last = known(settings.evidence_root).runs
    assert last.run is not None
    assert (last.run.continues, last.run.incident) == (first.record.run_id, INCIDENT)
    assert dict(last.run.parameters) == {"label": "c"}


def test_a_postmortem_runs_and_is_no_part_of_what_it_tells(
    settings: config.Settings, tmp_path: Path
) -> None:
    incident.append(settings.evidence_root, INCIDENT, "note", by="ann", text="it was slow")
    made = postmortem.make(settings.evidence_root, INCIDENT, tmp_path / "postmortem.ipynb")
    outcome = runner.run(str(made.notebook), {}, settings)
    assert not outcome.failure
    assert (outcome.runbook, outcome.incident) == ("POSTMORTEM", INCIDENT)
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert not known(settings.evidence_root).runs
