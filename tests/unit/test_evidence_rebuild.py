from __future__ import annotations

import copy
from pathlib import Path

import pytest

from rbkernel.evidence import notebook as documents
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.rebuild import annotate, rebuild
from tests.support.journal_builder import (
    CHECK,
    LAG,
    PARAMETERS,
    START,
    Journal,
    runbook,
    validate,
    whole_run,
)


def test_the_document_comes_back_with_the_outputs_of_the_run(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    built = rebuild(record, snapshot_of(record))
    validate(built)
    kinds = [cell.cell_type for cell in built.cells]
    assert kinds == ["raw", "markdown", *["code"] * 3, "markdown", *["code"] * 3, "markdown"]
    injected = built.cells[3]
    assert injected.metadata.tags == ["injected-parameters"]
    assert injected.source.startswith("# Parameters")
    assert built.cells[4].outputs[0].data["text/plain"] == "critical: replay is paused"
    assert built.cells[6].outputs[0].text == "10 %\r100 %\n"
    assert built.metadata.rbkernel == {
        "run_id": record.run_id,
        "rebuilt": True,
        "partial": False,
    }
    assert "papermill" not in built.metadata


def test_rebuilding_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    snapshot = snapshot_of(record)
    first = documents.dump(rebuild(record, snapshot))
    assert documents.dump(rebuild(record, snapshot)) == first


def test_every_cut_of_the_journal_gives_a_valid_notebook_with_all_that_arrived(
    tmp_path: Path,
) -> None:
    journal = whole_run(tmp_path)
    path = journal.folder / "journal.jsonl"
    whole = path.read_bytes()
    seen = set()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        record = read(journal.folder)
        built = rebuild(record, snapshot_of(record))
        validate(built)
        done = {cell.code for cell in record.cells if cell.status == "done"}
        for cell in built.cells:
            if cell.cell_type == "code" and cell.source not in done:
                assert cell.metadata.rbkernel.status in ("not run", "interrupted")
        text = documents.dump(built)
        assert (b"100 %" in text) == (b"100 %" in whole[: whole[:length].rfind(b"\n") + 1])
        seen.add(built.metadata.rbkernel.partial)
    assert seen == {True, False}


def test_a_cell_that_did_not_run_shows_no_output_of_an_earlier_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell(PARAMETERS)
    journal.cell(START)
    snapshot = journal.snapshot(runbook())
    built = rebuild(read(journal.folder), snapshot)
    lag = next(cell for cell in built.cells if cell.get("id") == "lag")
    assert (lag.outputs, lag.execution_count) == ([], None)
    assert lag.metadata.rbkernel == {"status": "not run"}
    assert built.metadata.rbkernel.partial is True


def test_cells_are_known_by_their_id_though_their_source_changed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    snapshot = journal.snapshot(runbook())
    journal.cell(LAG, "first", cell_id="lag")
    journal.cell("lag = 7", "second", cell_id="lag")
    journal.cell("scratch", "aside", cell_id="new-cell")
    journal.cell("scratch + 1", "aside again", cell_id="new-cell")
    built = rebuild(read(journal.folder), snapshot)
    ids = [cell.id for cell in built.cells]
    assert ids[ids.index("lag") + 1] == "new-cell"
    lag, scratch = (built.cells[ids.index(name)] for name in ("lag", "new-cell"))
    assert (lag.source, lag.outputs[0].text) == ("lag = 7", "second")
    assert lag.metadata.rbkernel.runs == 2
    assert (scratch.source, scratch.outputs[0].text) == ("scratch + 1", "aside again")


def test_cells_with_the_same_source_are_told_apart_by_their_order(tmp_path: Path) -> None:
    document = runbook()
    document.cells[7].source = LAG
    journal = Journal(tmp_path)
    snapshot = journal.snapshot(document)
    journal.cell(LAG, "before")
    journal.cell(LAG, "after")
    built = rebuild(read(journal.folder), snapshot)
    assert [cell.outputs[0].text for cell in built.cells if cell.get("outputs")] == [
        "before",
        "after",
    ]


@pytest.mark.parametrize("snapshot", [None, b"{", b"\xff", b'{"cells": 7}'])
def test_without_a_snapshot_there_are_the_code_cells(
    tmp_path: Path, snapshot: bytes | None
) -> None:
    built = rebuild(read(whole_run(tmp_path).folder), snapshot)
    validate(built)
    assert [cell.cell_type for cell in built.cells] == ["code"] * 5
    assert built.metadata.rbkernel.note == "partial: code cells only"
    assert built.metadata.rbkernel.partial is True


def test_an_injected_cell_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    document = runbook()
    old = documents.node(
        {
            "cell_type": "code",
            "id": "old",
            "metadata": {"tags": ["injected-parameters"]},
            "source": "# Parameters\ndb = 'yesterday'\n",
            "outputs": [],
            "execution_count": None,
        }
    )
    document.cells.insert(3, old)
    journal = Journal(tmp_path)
    snapshot = journal.snapshot(document)
    journal.cell(PARAMETERS)
    journal.cell("# Parameters\ndb = 'today'\n")
    built = rebuild(read(journal.folder), snapshot)
    assert [cell.source for cell in built.cells if "Parameters" in cell.source] == [
        "# Parameters\ndb = 'today'\n"
    ]


def test_documents_of_older_formats_and_without_ids_are_mended(tmp_path: Path) -> None:
    document = runbook()
    for cell in document.cells:
        del cell["id"]
    document.nbformat_minor = 4
    journal = Journal(tmp_path)
    journal.cell(CHECK, "found")
    import json

    built = rebuild(read(journal.folder), json.dumps(document).encode())
    validate(built)
    assert built.cells[7].outputs[0].text == "found"


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("print(chr(0xd800))", "\ud800")
    data = documents.dump(rebuild(read(journal.folder), None))
    assert documents.parse(data, where="").cells[0].outputs[0].text == "\ud800"


def test_papermills_claims_are_corrected(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell(PARAMETERS)
    killed = journal.request(START)
    journal.begin(killed)
    claimed = copy.deepcopy(runbook())
    claimed.metadata["papermill"] = {"exception": None}
    for cell in claimed.cells:
        cell.metadata["papermill"] = {"status": "completed", "exception": False}
    told = annotate(claimed, read(journal.folder))
    validate(told)
    statuses = {cell.id: cell.metadata.papermill.status for cell in told.cells}
    assert statuses == {
        **dict.fromkeys(("front", "title"), "completed"),
        "parameters": "done",
        "start": "interrupted",
        **dict.fromkeys(("step", "lag", "empty", "check", "end"), "not run"),
    }
    assert told.cells[3].metadata.rbkernel.status == "interrupted"
    assert told.metadata.papermill.exception is True
    assert claimed.cells[3].metadata.papermill.status == "completed"  # the original is left alone


def test_widgets_keep_their_last_state(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    parent = journal.request("decide")
    state = {"_model_name": "ToggleButtonsModel", "index": 0}
    journal.iopub(
        parent, "comm_open", comm_id="w", target_name="jupyter.widget", data={"state": state}
    )
    journal.iopub(parent, "comm_msg", comm_id="w", data={"state": {"index": 2}})
    built = rebuild(read(journal.folder), None)
    validate(built)
    widgets = built.metadata.widgets["application/vnd.jupyter.widget-state+json"]
    assert widgets.state.w.state["index"] == 2
