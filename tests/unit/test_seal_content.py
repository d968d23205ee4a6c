"""What is sealed besides the journal: a report if it can be made, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nbformat.v4 import new_output

from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.content import ReportFiles
from rbkernel.evidence.reading import Record, read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.evidence.verify import verify_folder
from rbkernel.render import verification
from tests.support.journal_builder import RUN_ID, whole_run


def page(record: Record, executed: bytes) -> ReportFiles:
    page = f"{record.run_id} {len(executed)}".encode()
    return ReportFiles(own={"report.html": page, "table-01.csv": b"a\n"})


def no_page(record: Record, executed: bytes) -> ReportFiles:
    raise EvidenceError("a cell holds what no page can show", where="cell 3")


def test_a_report_is_sealed_beside_the_notebook(tmp_path: Path) -> None:
    whole_run(tmp_path)
    sealed = seal(tmp_path, RUN_ID, report=page)
    size = (sealed.folder / "executed.ipynb").stat().st_size
    assert (sealed.folder / "report.html").read_text() == f"{RUN_ID} {size}"
    assert sealed.missing == ()
    assert verify_folder(tmp_path) == ()
    (sealed.folder / "report.html").chmod(0o644)
    (sealed.folder / "report.html").write_text("all was well")
    assert {one.file for one in verify_folder(tmp_path)} == {sealed.folder / "report.html"}


def test_a_report_that_cannot_be_made_keeps_nothing_from_being_sealed(tmp_path: Path) -> None:
    whole_run(tmp_path)
    sealed = seal(tmp_path, RUN_ID, report=no_page)
    assert verify_folder(tmp_path) == ()
    told = "the report could not be made: a cell holds what no page can show (cell 3)."
    assert sealed.missing == (told,)
    assert f"  {told}" in verification.sealed(sealed)
    line = json.loads((sealed.folder.parent / "incident.jsonl").read_text().splitlines()[-1])
    assert line["missing"] == [told]
    assert seal(tmp_path, RUN_ID).missing == (told,)


@pytest.mark.parametrize("edited", [False, True])
def test_a_notebook_into_which_papermill_wrote_a_secret_is_refused(
    tmp_path: Path, *, edited: bool
) -> None:
    record = read(whole_run(tmp_path).folder)
    notebook = rebuild(record, snapshot_of(record))
    notebook.metadata["papermill"] = {"parameters": {"dsn": "postgresql://ops:geheim1@db1/shop"}}
    with pytest.raises(EvidenceError, match="looks like a secret: metadata papermill") as refused:
        seal(tmp_path, RUN_ID, documents.dump(notebook), edited=edited)
    assert "geheim1" not in str(refused.value)
    assert f"`rbkernel evidence seal {RUN_ID}`" in refused.value.next_step
    assert not list(tmp_path.glob("INC-*"))
    assert seal(tmp_path, RUN_ID).verification.ok


def test_a_secret_in_an_output_that_the_journal_does_not_attest_is_refused(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    notebook = rebuild(record, snapshot_of(record))
    cell = next(one for one in notebook.cells if one.get("outputs"))
    cell.outputs.append(new_output("stream", text="PGPASSWORD=geheim1"))
    with pytest.raises(EvidenceError, match="looks like a secret: cell 5, output"):
        seal(tmp_path, RUN_ID, documents.dump(notebook), edited=True)
