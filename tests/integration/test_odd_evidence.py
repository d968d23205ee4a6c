"""Runs with odd values are recorded in strict JSON, attested, sealed, exported and closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rbkernel.config import Settings
from rbkernel.evidence import attest, bundle, reading, runs
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import snapshot_of
from rbkernel.evidence.verify import verify_folder
from rbkernel.incidents import workflow
from rbkernel.model import Verdict
from rbkernel.render.documents import browser, writing
from rbkernel.render.documents.formats import Format
from rbkernel.render.documents.report import report_files
from rbkernel.run import runner
from tests.support.kernels import (
    PATIENCE_S,
    START,
    configure,
    kernel,
    papermill,
    write_runbook,
)
from tests.support.odd_runbook import ODD_CELLS, PASSWORD, write_odd
from tests.support.page_server import opened, serving

INCIDENT = "INC-20261120-odd1"


def strict(data: bytes) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The notebook as plain papermill and as our engine wrote it, each with its evidence."""
    made = {}
    for engine in ("papermill", "rbkernel"):
        folder = tmp_path_factory.mktemp(engine)
        document = write_odd(folder / "odd.ipynb")
        options = () if engine == "papermill" else ("--engine", "rbkernel")
        done = papermill(
            *(document, folder / "out.ipynb", *options),
            RBKERNEL_EVIDENCE=str(folder / "evidence"),
            RBKERNEL_CONFIG=str(configure(folder)),
            RBKERNEL_INCIDENT=INCIDENT,
        )
        _, complaint = done.communicate(timeout=PATIENCE_S)
        assert done.returncode == 0, complaint
        made[engine] = folder
    return made


def record_of(folder: Path) -> reading.Record:
    [run] = runs.list_runs(folder / "evidence")
    return reading.read(run.folder)


@pytest.mark.parametrize("engine", ["papermill", "rbkernel"])
def test_an_untouched_notebook_is_attested(executed: dict[str, Path], engine: str) -> None:
    folder = executed[engine]
    notebook = documents.parse((folder / "out.ipynb").read_bytes(), where="")
    record = record_of(folder)
    assert not record.unreadable
    found = attest.verify_notebook(notebook, record, snapshot_of(record))
    # the password is in the source that papermill copied, and in no other place
    assert [cell.first_line for cell in found.problems] == [f'password = "{PASSWORD}"']
    lines = (record.folder / "journal.jsonl").read_bytes().splitlines()
    assert all(strict(line) for line in lines)
    assert PASSWORD.encode() not in b"".join(lines)
    assert {one.title: one.value for one in record.findings}["ratio up"] == float("inf")


EDITS = {
    "inf to nan": ('"inf"', '"nan"'),
    "nan to inf": ('"nan"', '"inf"'),
    "sign": ('"-inf"', '"inf"'),
    "last digit": ("9007199254740993", "9007199254740992"),
    "huge": ("1" + "0" * 400, "2" + "0" * 400),
    "byte": ("caf\\\\udce9", "caf\\\\udce8"),
    "small": ("5e-324", "0.0"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_an_odd_value_is_found(executed: dict[str, Path], edit: str) -> None:
    folder = executed["papermill"]
    record = record_of(folder)
    text, (old, new) = (folder / "out.ipynb").read_text(), EDITS[edit]
    assert old in text
    edited = documents.parse(text.replace(old, new, 1).encode(), where="")
    before = documents.parse(text.encode(), where="")
    found, known = (
        {cell.label for cell in attest.verify_notebook(one, record, snapshot_of(record)).problems}
        for one in (edited, before)
    )
    assert len(found - known) == 1


def test_odd_values_are_sealed_verified_exported_shown_and_closed(
    executed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = executed["rbkernel"] / "evidence"
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(root))
    expect_all_to_succeed(root, tmp_path)


def test_an_interrupted_cell_and_two_run_alls_are_sealed_exported_shown_and_closed(
    evidence: Path, tmp_path: Path
) -> None:
    cells = [*ODD_CELLS[:-1], "print('begun', flush=True)\nimport time\ntime.sleep(600)"]
    write_runbook(tmp_path / "odd.ipynb", cells)
    config = str(configure(tmp_path))
    with kernel(RBKERNEL_CONFIG=config, RBKERNEL_INCIDENT=INCIDENT) as running:
        for _ in range(2):
            for code in cells[:-1]:
                assert running.run(code).reply["status"] == "ok"
            assert running.interrupted(cells[-1], "begun").reply["ename"] == "KeyboardInterrupt"
    entries = [entry.what for entry in workflow.look(evidence, INCIDENT).timeline]
    assert sum("started" in what for what in entries) == 2
    assert sum("interrupted" in what for what in entries) == 2
    assert sum("critical: inf" in what for what in entries) == 2
    expect_all_to_succeed(evidence, tmp_path)


def expect_all_to_succeed(root: Path, tmp_path: Path) -> None:
    """Seal, verify, export, show and close the one run there is."""
    [run] = runs.list_runs(root)
    sealed = bundle.seal(root, run.run_id, report=report_files)
    assert not [why for why in sealed.missing if "report" in why]
    assert not verify_folder(root)
    for form in Format:
        if form is Format.PDF and not browser.find():
            continue
        assert writing.export(root, run.run_id, form, tmp_path).path.stat().st_size > 500
    with serving(opened()) as client:
        for page in ("", "/report", "/archive"):
            answer = client.get(f"/rbkernel/runs/{run.run_id}{page}")
            assert answer.status_code == 200
            assert PASSWORD.encode() not in answer.content
    closed = workflow.close(Settings(), INCIDENT, by="ann", folder=tmp_path)
    assert closed.attachment.is_file()
    for name in ("executed.ipynb", "runbook.ipynb"):
        strict((sealed.folder / name).read_bytes())
    for line in (root / INCIDENT / "incident.jsonl").read_bytes().splitlines():
        strict(line)


PARAMETRISED = """
import sys
import papermill
papermill.execute_notebook(
    sys.argv[1], sys.argv[2], kernel_name="rbkernel", progress_bar=False, engine_name=sys.argv[3],
    parameters={"limit": float("inf"), "none": float("nan"), "big": 2**70},
)
"""


@pytest.mark.parametrize("engine", ["nbclient", "rbkernel"])
def test_a_parameter_that_is_no_number_is_attested(tmp_path: Path, engine: str) -> None:
    cells = ["limit, 1 / limit, -limit, none, big"]
    document = write_runbook(tmp_path / "odd.ipynb", cells, parameters="limit: float = 1.0")
    output = tmp_path / "out.ipynb"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARAMETRISED, document, output, engine],
        env={**os.environ, "RBKERNEL_EVIDENCE": str(tmp_path / "evidence")},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    record = record_of(tmp_path)
    said = documents.parse(output.read_bytes(), where="")
    assert attest.verify_notebook(said, record, snapshot_of(record)).ok
    if engine == "rbkernel":
        strict(output.read_bytes())
    strict(documents.dump(said))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit('the lag is fine')", "SystemExit: the lag is fine"),
        ("exit()", "SystemExit: exit() or quit() was called"),
        ("quit(3)", "SystemExit: exit() or quit() was called"),
    ],
)
def test_a_cell_that_leaves_the_run_is_no_success(
    evidence: Path, tmp_path: Path, code: str, reason: str
) -> None:
    document = write_runbook(tmp_path / "leaves.ipynb", [START, code, "print('later')"])
    outcome = runner.run(str(document), {}, Settings())
    assert (outcome.exit_code, outcome.record.verdict) == (Verdict.UNKNOWN.exit_code, "unknown")
    assert outcome.failure == f"cell [2] failed: {reason}"
    assert [cell.status for cell in outcome.record.cells] == ["done", "failed"]
    assert outcome.sealed is not None
    assert outcome.sealed.verification.ok
    assert reason.partition(": ")[2] in (outcome.sealed.folder / "report.html").read_text()
