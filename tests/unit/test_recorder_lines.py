"""The recorder's own fields are no texts: no secret that becomes known changes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from rbkernel.evidence import bundle
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.recorder import Recorder
from rbkernel.model import Verdict
from rbkernel.redact import Redactor
from rbkernel.render.documents.report import report_files
from tests.support.journal_builder import INCIDENT, RUN_ID, runbook

START = "2026-11-20T03:02:11+00:00"
# parts of what a line is made of: kinds, states, types, hashes, times, ids, counts, names of rules
SHAPES = [
    *("finding", "reply", "request", "snapshot", "redaction", "summary", "iopub", "kernel"),
    *("display_data", "execute_input", "stream", "stdout", "proposed", "parked", "failed"),
    *("markdown", "code", "title", "text", "cell_type", "parameters", "2026", "T03:02", "m1"),
    *("sha256", "verdict", "unknown", "warning", RUN_ID, RUN_ID[:8], "password", "named"),
]


def recorded(root: Path) -> Recorder:
    """A run with lines of each kind, of which one holds a secret that is known from the start."""
    recorder = Recorder(root, RUN_ID, Redactor())
    recorder.request = {"msg_id": "m1"}
    recorder.record("request", msg_id="m1", code="x = 1", cell_id="start", silent=False)
    recorder.record(
        "iopub", type="execute_input", parent="m1", content={"code": "x = 1", "execution_count": 1}
    )
    document = documents.dump(runbook())
    recorder.snapshot(document, root / "r.ipynb", hashlib.sha256(document).hexdigest(), "named")
    run = {"id": RUN_ID, "runbook": "RUN-005", "title": "Lag", "incident": INCIDENT}
    recorder.event("run", **run, headless=True, started_at=START, parameters={}, facts={})
    finding = {
        "title": "Lag",
        "verdict": "warning",
        "expected": "2",
        "actual": "PGPASSWORD=geheim1",
    }
    recorder.event("finding", **finding, value=float("inf"), at=START)
    options = ["wait", "resume"]
    recorder.event("decision", id="d1", question="Now?", options=options, state="parked", at=START)
    plan = {"id": "p1", "title": "resume", "connection": "shop", "sql": "SELECT 1", "targets": []}
    recorder.event("plan", **plan, state="proposed")
    content = {"data": {"text/plain": "shown-in-public-1"}, "metadata": {}, "transient": {}}
    recorder.record("iopub", type="display_data", parent="m1", content=content)
    recorder.event("summary", verdict="warning")
    recorder.tell_redactions("m1")
    recorder.record("reply", parent="m1", status="ok", execution_count=1, sync=True)
    return recorder


def own(line: dict[str, Any]) -> dict[str, Any]:
    """What no redaction may touch."""
    texts = {"code", "content", "metadata", "data", "runbook", "incident"}
    fields = {name: value for name, value in line.items() if name not in texts}
    data = line.get("data", {})
    names = ("id", "state", "verdict", "at", "started_at", "sha256", "found", "rules", "headless")
    return fields | {f"data.{name}": data[name] for name in names if name in data}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_that_looks_like_a_part_of_a_line_changes_no_field_of_ours(
    tmp_path: Path, shape: str
) -> None:
    recorder = recorded(tmp_path)
    path = recorder.folder / "journal.jsonl"
    before = [own(json.loads(line)) for line in path.read_bytes().splitlines()]
    recorder.learn("typed", shape)
    recorder.learn("typed", before[3]["data.sha256"][10:20])
    after = [own(json.loads(line)) for line in path.read_bytes().splitlines()]
    assert after[: len(before)] == before
    recorder.close()
    record = read(recorder.folder)
    assert not record.unreadable
    assert record.verdict is Verdict.WARNING
    assert [cell.status for cell in record.cells] == ["done"]
    assert snapshot_of(record) is not None


def test_a_password_that_becomes_known_leaves_the_counters_alone(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    assert recorder.learn("password", "correct-horse-77-battery") == 0, "no line held it"
    assert recorder.learn("typed", "shown-in-public-1") == 1
    recorder.close()
    record = read(recorder.folder)
    [counted] = [event.data["rules"] for event in record.of_kind("redaction")]
    assert counted == {"password": 1}
    sealed = bundle.seal(tmp_path, RUN_ID, report=report_files)
    page = (sealed.folder / "report.html").read_text()
    assert "password 1" in page
    assert b"shown-in-public-1" not in (sealed.folder / "journal.jsonl").read_bytes()


def test_a_document_keeps_its_shape_and_loses_a_secret_of_several_lines(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, RUN_ID, Redactor())
    recorder.record("request", msg_id="m1", code="x", silent=False)
    key = "-----BEGIN PRIVATE KEY-----\n" + "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ\n" * 4
    key += "-----END PRIVATE KEY-----\n"
    notebook = runbook()
    notebook.cells[3].source = f'KEY = """{key}"""'
    notebook.cells[2].source = "hunter2-of-the-title"
    document = documents.dump(notebook)
    recorder.snapshot(document, tmp_path / "r.ipynb", "0" * 64, "catalogue")
    recorder.learn("typed", "hunter2-of-the-title")
    recorder.close()
    record = read(recorder.folder)
    kept = snapshot_of(record)
    assert kept is not None
    assert b"aGVsbG8" not in kept
    assert b"hunter2-of-the-title" not in kept
    said = documents.parse(kept, where="")
    assert [cell.cell_type for cell in said.cells] == [cell.cell_type for cell in notebook.cells]
    # still only a guess which file ran, and what it was before
    newest = record.of_kind("snapshot")[-1].data
    assert (newest["found"], newest["sha256_as_it_was"]) == ("catalogue", "0" * 64)
