"""An engineer with a browser: run a runbook, choose, save, and have it verified.

JupyterLab, its server, the kernel and PostgreSQL are the real ones. Nothing is clicked that a
person could not click.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import reading
from rbkernel.render.documents import page, report
from rbkernel.sandbox import control
from tests.support.lab import Desk, Lab
from tests.support.odd_runbook import write_odd
from tests.support.printing import main_and_all_pages
from tests.support.waiting import until

RUNBOOK = "replication_lag.ipynb"
START, DECIDE, ACT, SUMMARY = 'rb.start("RUN-005"', "rb.decide(", "rb.act(", "rb.summary()"


@pytest.fixture
def paused(chromium: str, shop: Settings) -> None:
    """A sandbox with a standby whose replay is paused; `shop` heals it."""
    control.inject("replay-paused")


def rbkernel(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rbkernel", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def open_runs(evidence: Path) -> set[Path]:
    return set((evidence / "open").glob("*"))


def test_an_engineer_finds_the_cause_chooses_saves_and_it_verifies(
    paused: None, browser: Browser, desk: Desk, lab: Lab, evidence: Path
) -> None:
    kernels = desk.page.locator(".jp-LauncherCard[data-category=Notebook]")
    expect(kernels.get_by_text("rbkernel (recorded)")).to_be_visible()
    desk.open_from_files(RUNBOOK)
    desk.run_all()
    desk.await_end(SUMMARY)

    expect(desk.page.locator(".js-plotly-plot .main-svg .scatterlayer .points")).to_have_count(2)
    expect(desk.output(START)).to_contain_text("CRITICAL")
    expect(desk.output(START)).to_contain_text("Replay is paused on sandbox-standby")
    expect(desk.output(ACT)).to_contain_text("waits for a decision")
    buttons = desk.output(DECIDE).get_by_role("button")
    expect(buttons).to_have_text(
        [
            "wait",
            "resume replay",
            "bring the standby back",
            "start the standby, if it is stopped",
            "check the host",
            "cancel the query",
            "terminate the session",
            "escalate",
        ]
    )

    buttons.get_by_text("resume replay").click()
    expect(desk.output(DECIDE)).to_contain_text(
        "decided What should be done about the standby? resume replay"
    )
    expect(desk.output(ACT)).to_contain_text("proposed Resume replay")
    expect(desk.output(ACT)).to_contain_text("SELECT pg_catalog.pg_wal_replay_resume();")
    expect(desk.output(START)).to_contain_text("resume replay")
    expect(desk.output(START)).not_to_contain_text("(recommended)")
    expect(buttons).to_have_text(["Decide again"])
    desk.save()
    desk.page.close()
    lab.shut_down_kernels()

    verified = rbkernel("evidence", "verify", lab.root / RUNBOOK)
    assert verified.returncode == 0, verified.stdout
    cells = len(desk.read(RUNBOOK).cells)
    assert f"{cells} of {cells} cells attested" in verified.stdout
    sealed = rbkernel("evidence", "seal", lab.root / RUNBOOK)
    assert sealed.returncode == 0, sealed.stdout + sealed.stderr
    folder = Path(sealed.stdout.splitlines()[0].removeprefix("sealed "))
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert folder.is_relative_to(evidence)
    made = report.build(evidence, reading.read(folder).run_id)
    main, everything = main_and_all_pages(browser, page.render(made, {}))
    assert main <= 4 < everything


def test_a_page_closed_in_mid_run_loses_nothing(
    paused: None, desk: Desk, lab: Lab, evidence: Path, tmp_path: Path
) -> None:
    before = open_runs(evidence)
    desk.open_from_files(RUNBOOK)
    desk.run_all()
    expect(desk.output(START)).to_contain_text("(so far)")
    desk.page.close()

    (folder,) = open_runs(evidence) - before
    assert not reading.read(folder).of_kind("summary"), "closed too late to prove anything"
    until(lambda: has_ended(folder), "the summary in the journal")
    lab.shut_down_kernels()
    record = reading.read(folder)
    assert record.complete
    document = desk.read(RUNBOOK)
    asked = sum(cell.cell_type == "code" for cell in document.cells)
    assert [run.status for run in record.cells] == ["done"] * asked

    rebuilt_path = tmp_path / "rebuilt.ipynb"
    rebuilt = rbkernel("evidence", "rebuild", record.run_id, "-o", rebuilt_path)
    assert rebuilt.returncode == 0, rebuilt.stderr
    notebook = nbformat.read(rebuilt_path, as_version=4)
    nbformat.validate(notebook)
    assert [(c.cell_type, c.source) for c in notebook.cells] == [
        (c.cell_type, c.source) for c in document.cells
    ]
    code = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    silent = [cell_id for cell_id, cell in code.items() if not cell.outputs]
    assert silent == ["parameters"]
    first_screen = code["start"].outputs[0].data["text/plain"]
    assert first_screen.startswith("CRITICAL: ")
    assert "Replay is paused on sandbox-standby" in first_screen
    figures = [code[name].outputs[0].data for name in ("figure-lag", "figure-stalled")]
    assert all(figure["application/vnd.plotly.v1+json"]["data"][0]["y"] for figure in figures)
    assert rbkernel("evidence", "verify", rebuilt_path).returncode == 0


def has_ended(folder: Path) -> bool:
    try:
        record = reading.read(folder)
    except EvidenceError:
        return False  # a line that is being written
    return bool(record.of_kind("summary")) and record.cells[-1].status == "done"


def test_the_launcher_opens_a_template_that_runs(chromium: str, shop: Settings, desk: Desk) -> None:
    desk.choose_template("procedure.ipynb")
    desk.accept()
    desk.await_kernel()
    start = 'rb.start("TEMPLATE-PROCEDURE"'
    desk.run_all()
    expect(desk.output(start)).to_contain_text("save the notebook (Control-S)")
    desk.page.keyboard.press("Control+s")
    desk.accept()  # it asks for a name, and Untitled will do
    expect(desk.page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)
    desk.run_all()
    desk.await_end(SUMMARY)
    first = desk.output(start)
    expect(first).to_contain_text("Placeholders")
    expect(first).to_contain_text("UNKNOWN")
    expect(desk.output("rb.prerequisites()").get_by_text("‹PLACEHOLDER").first).to_be_visible()


def test_a_notebook_with_odd_values_is_attested_as_jupyterlab_saves_it(
    desk: Desk, lab: Lab, evidence: Path
) -> None:
    write_odd(lab.root / "odd.ipynb")
    desk.open("odd.ipynb")
    desk.run_all()
    desk.await_end(SUMMARY)
    desk.save()
    desk.page.close()
    lab.shut_down_kernels()
    verified = rbkernel("evidence", "verify", lab.root / "odd.ipynb")
    # the password is in the source that a person wrote, and in no other place
    wrong = [line for line in verified.stdout.splitlines() if line.startswith("cell")]
    assert len(wrong) == 1, verified.stdout
    assert "[redacted:password]" in wrong[0]
