"""A working copy: what a person goes on in, without touching what is sealed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nbformat import NotebookNode

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import run_id_of
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.reading import read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from rbkernel.incidents import working_copy
from rbkernel.incidents.working_notebook import working_notebook
from rbkernel.runbook import catalogue
from tests.support.journal_builder import (
    INCIDENT,
    LAG,
    RUN_ID,
    START,
    Journal,
    other_run,
    runbook,
    whole_run,
)

DECLARED = 'db: str = "shop"\nincident: str = ""\nlag_warn_s: float = 2.0'
LATER = datetime(2026, 11, 20, 3, 20, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "jupyter"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(evidence: Path) -> Settings:
    evidence.mkdir()
    return Settings()


def declared_run(root: Path) -> Journal:
    """A run of a document that declares its parameters, as ours do."""
    document = runbook()
    document.cells[2].source = DECLARED
    journal = Journal(root)
    journal.cell(DECLARED, cell_id="parameters")
    journal.cell("# Parameters\ndb = 'orders'\nlag_warn_s = 2.0\n")
    start = journal.cell(START, cell_id="start")
    journal.snapshot(document)
    values = {"db": "orders"}
    journal.event("run", start, **run_fields(RUN_ID, headless=True, parameters=values))
    lag = journal.request(LAG, cell_id="lag")
    journal.begin(lag, LAG)
    journal.stream(lag, "100 %\n")
    mimetype = "application/vnd.rbkernel.run+json"
    data = {"text/plain": "  replay_lag_s\n0  31.5", mimetype: {"id": RUN_ID}}
    journal.iopub(lag, "execute_result", execution_count=4, data=data, metadata={})
    journal.reply(lag)
    return journal


def run_fields(run_id: str, **more: object) -> dict[str, object]:
    return {
        "id": run_id,
        "runbook": "RUN-005",
        "title": "Replication lag",
        "incident": INCIDENT,
        "headless": False,
        "started_at": "2026-11-20T03:02:11+00:00",
        "parameters": {},
        **more,
    }


def the_copy(journal: Journal, incident: str = INCIDENT) -> NotebookNode:
    record = read(journal.folder)
    return working_notebook(rebuild(record, snapshot_of(record)), record, incident, LATER)


def test_it_lies_below_jupyters_root_and_the_seal_still_holds(
    settings: Settings, root: Path
) -> None:
    whole_run(settings.evidence_root)
    sealed = seal(settings.evidence_root, RUN_ID)
    before = {p: p.read_bytes() for p in sealed.folder.parent.rglob("*") if p.is_file()}
    made = working_copy.make(settings, RUN_ID, root)
    assert made.name == f"runs/{INCIDENT}/RUN-005-{RUN_ID}.ipynb"
    assert (made.run_id, made.incident, made.runbook) == (RUN_ID, INCIDENT, "RUN-005")
    assert made.is_new
    assert made.path.stat().st_mode & 0o200, "a copy is there to be worked in"
    assert {p: p.read_bytes() for p in sealed.folder.parent.rglob("*") if p.is_file()} == before
    copy = documents.parse(made.path.read_bytes(), where="the copy")
    assert copy.metadata.rbkernel == {"continues": RUN_ID, "incident": INCIDENT}


def test_what_somebody_did_in_a_copy_is_kept(settings: Settings, root: Path) -> None:
    whole_run(settings.evidence_root)
    made = working_copy.make(settings, RUN_ID, root)
    made.path.write_text("my night's work")
    again = working_copy.make(settings, RUN_ID, root)
    assert (again.path, again.is_new) == (made.path, False)
    assert made.path.read_text() == "my night's work"


def test_old_outputs_tell_their_age_and_cannot_pass_for_new(tmp_path: Path) -> None:
    copy = the_copy(declared_run(tmp_path))
    code = {cell.id: cell for cell in copy.cells if cell.cell_type == "code"}
    assert {cell.execution_count for cell in code.values()} == {None}
    mark, *old = code["lag"].outputs
    assert mark.data["text/plain"].startswith(
        "OLD: 2026-11-20 03:02:01 UTC, 17 min 58 s old when this copy was made"
    )
    assert [one.output_type for one in old] == ["stream", "execute_result"]
    assert old[1].data["text/plain"] == "  replay_lag_s\n0  31.5"
    assert run_id_of(copy) is None, "it would be verified as if it were the run"
    assert not code["empty"].outputs
    introduction = copy.cells[1].source
    assert f"of run `{RUN_ID}` (RUN-005 of {INCIDENT})" in introduction
    assert "still going on" not in introduction


def test_it_asks_the_same_again_in_the_same_incident(tmp_path: Path) -> None:
    copy = the_copy(declared_run(tmp_path))
    injected = [
        cell for cell in copy.cells if "injected-parameters" in cell.metadata.get("tags", ())
    ]
    assert [cell.source for cell in injected] == [
        f"# Parameters\ndb = 'orders'\nincident = '{INCIDENT}'\nlag_warn_s = 2.0"
    ]
    place = copy.cells.index(injected[0])
    assert copy.cells[place - 1].id == "parameters"


def test_what_differs_from_the_declaration_is_injected_though_nobody_injected_it(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    journal.cell(DECLARED, cell_id="parameters")
    document = runbook()
    document.cells[2].source = DECLARED
    journal.snapshot(document)
    values = {"db": "shop", "lag_warn_s": 5.0, "no_parameter": "x"}
    journal.event("run", None, **run_fields(RUN_ID, parameters=values))
    cells = [cell.source for cell in the_copy(journal).cells]
    assert f"# Parameters\nincident = '{INCIDENT}'\nlag_warn_s = 5.0" in cells


def test_a_document_with_other_code_for_parameters_stays_as_it_ran(tmp_path: Path) -> None:
    copy = the_copy(whole_run(tmp_path))  # `db = 'shop'` declares nothing
    assert "# Parameters\ndb = 'sandbox-primary'\n" in [cell.source for cell in copy.cells]
    assert copy.metadata.rbkernel.incident == INCIDENT


def test_a_widget_becomes_its_words(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    record = read(journal.folder)
    notebook = rebuild(record, snapshot_of(record))
    view = "application/vnd.jupyter.widget-view+json"
    data = {view: {"model_id": "a"}, "text/plain": "Button()"}
    shown = {"output_type": "display_data", "metadata": {}, "data": data}
    code = next(cell for cell in notebook.cells if cell.id == "lag")
    forgotten = {**shown, "data": {view: {"model_id": "b"}, "text/plain": "Button()"}}
    code.outputs = [documents.node(shown), documents.node(forgotten)]
    state = {"a": {"state": {"description": "resume replay"}}}
    kept = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    notebook.metadata["widgets"] = documents.node(kept)
    copy = working_notebook(notebook, record, INCIDENT, LATER)
    code = next(cell for cell in copy.cells if cell.id == "lag")
    assert [one.data for one in code.outputs[1:]] == [{"text/plain": "resume replay"}]
    assert "widgets" not in copy.metadata
    documents.dump(copy)


def test_a_copy_of_a_copy_has_one_introduction(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    first = the_copy(journal)
    second = working_notebook(first, read(journal.folder), INCIDENT, LATER)
    made = [cell for cell in second.cells if cell.source.startswith("**A working copy**")]
    assert len(made) == 1


def test_an_incident_opens_the_worst_run_that_nobody_has_gone_on_from(
    settings: Settings, root: Path
) -> None:
    evidence = settings.evidence_root
    for number in range(3):
        whole_run(evidence, other_run(number))
    ok = Journal(evidence, other_run(4))
    ok.cell("x")
    ok.event("run", None, **run_fields(other_run(4), continues=other_run(2)))
    ok.line("end")
    written = Journal(evidence, other_run(5))
    written.cell("x")
    written.event("run", None, **run_fields(other_run(5), runbook="POSTMORTEM"))
    made = working_copy.make(settings, INCIDENT, root)
    assert made.run_id == other_run(1), "the third one was gone on from, the fourth is not critical"
    assert [entry.run_id for entry in made.others] == [other_run(0), other_run(4)]


def test_a_run_that_was_made_in_a_copy_is_opened_there(settings: Settings, root: Path) -> None:
    whole_run(settings.evidence_root)
    first = working_copy.make(settings, RUN_ID, root)
    there = hashlib.sha256(first.path.read_bytes()).hexdigest()
    for number, headless in ((1, False), (2, True)):
        journal = Journal(settings.evidence_root, other_run(number))
        journal.event("snapshot", path=str(first.path), sha256=there, found="named")
        fields = run_fields(other_run(number), continues=RUN_ID) | {"headless": headless}
        journal.event("run", None, **fields)
    by_hand = working_copy.make(settings, other_run(1), root)
    assert (by_hand.path, by_hand.is_new) == (first.path, False)
    headless_one = working_copy.make(settings, other_run(2), root)
    assert headless_one.is_new, "its outputs are not in the file that it was made from"


def test_a_copy_of_a_live_run_says_so(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    copy = working_notebook(rebuild(record, None), record, INCIDENT, LATER, alive=True)
    assert "The run had not finished when this copy was made." in copy.cells[0].source


def test_what_cannot_be_opened_says_what_to_do(settings: Settings, root: Path) -> None:
    with pytest.raises(EvidenceError, match="INC-20261120-0000 has no run"):
        working_copy.make(settings, "INC-20261120-0000", root)
    with pytest.raises(EvidenceError, match="there is no run"):
        working_copy.make(settings, RUN_ID, root)
    whole_run(settings.evidence_root)
    with pytest.raises(EvidenceError, match="cannot be in the evidence folder"):
        working_copy.make(settings, RUN_ID, settings.evidence_root / "open")
    with pytest.raises(EvidenceError, match="not a folder"):
        working_copy.make(settings, RUN_ID, root / "missing")
    (root / "runs").touch()
    with pytest.raises(EvidenceError, match="cannot be written"):
        working_copy.make(settings, RUN_ID, root)


def test_a_hostile_incident_in_a_journal_names_no_folder(settings: Settings, root: Path) -> None:
    whole_run(settings.evidence_root, incident="../../elsewhere")
    made = working_copy.make(settings, RUN_ID, root)
    assert made.path.parent == root / "runs"


def test_a_copy_in_a_folder_of_the_catalogue_does_not_hide_its_runbook(tmp_path: Path) -> None:
    ours = catalogue.find("RUN-005", ())
    copy = catalogue.parse(ours.document)
    copy.metadata["rbkernel"] = {"continues": RUN_ID, "incident": INCIDENT}
    (tmp_path / "a.ipynb").write_bytes(documents.dump(copy))
    (tmp_path / "b.ipynb").write_bytes(ours.document)
    read_again = catalogue.read(tmp_path / "a.ipynb")
    assert (read_again.continues, read_again.incident) == (RUN_ID, INCIDENT)
    assert catalogue.find("RUN-005", [tmp_path]).path == tmp_path / "b.ipynb"
