"""An engineer goes on in JupyterLab from a run that an alert started."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from rbkernel import config
from rbkernel.evidence import reading, runs
from rbkernel.incidents import working_copy
from rbkernel.run import runner
from tests.support.kernels import write_runbook
from tests.support.lab import Desk, Lab
from tests.support.waiting import until

INCIDENT = "INC-20261120-7f3a"
START = 'import rbkernel as rb\n\nrb.start("RUN-900", incident=incident)'
CELLS = [START, 'rb.note("looked")', "rb.summary()"]


def test_old_outputs_go_as_the_copy_is_run_and_the_new_run_continues(
    desk: Desk, lab: Lab, evidence: Path, tmp_path: Path
) -> None:
    path = write_runbook(tmp_path / "small.ipynb", CELLS, parameters='incident: str = ""')
    settings = config.load()
    first = runner.run(str(path), {}, settings, incident=INCIDENT)
    copy = working_copy.make(settings, INCIDENT, lab.root)
    desk.open(copy.name)

    old = desk.page.get_by_text("old when this copy was made")
    expect(old).to_have_count(3)
    expect(desk.page.locator(".jp-Cell").nth(1)).to_contain_text("A working copy of run")
    desk.run_all()
    desk.await_end("rb.summary()")
    expect(old).to_have_count(0)
    desk.save()
    desk.page.close()
    lab.shut_down_kernels()

    until(lambda: len(runs.list_runs(evidence)) == 2, "the second run")
    [second] = [run for run in runs.list_runs(evidence) if run.run_id != first.record.run_id]
    run = reading.read(second.folder).run
    assert run is not None
    assert (run.continues, run.incident) == (first.record.run_id, INCIDENT)
    again = working_copy.make(settings, second.run_id, lab.root)
    assert (again.path, again.is_new) == (copy.path, False), "it goes on where it was made"
