from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode

from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import Verification, run_id_of, verify_notebook
from rbkernel.evidence.reading import Record, read, snapshot_of
from rbkernel.evidence.rebuild import rebuild
from tests.support.journal_builder import CHECK, LAG, RUN_ID, START, Journal, runbook, whole_run


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return read(whole_run(tmp_path).folder)


@pytest.fixture
def saved(record: Record) -> NotebookNode:
    """The notebook that a frontend saved after the run."""
    return rebuild(record, snapshot_of(record))


def verified(saved: NotebookNode, record: Record) -> Verification:
    return verify_notebook(saved, record, snapshot_of(record))


def cell(saved: NotebookNode, cell_id: str) -> NotebookNode:
    found: NotebookNode = next(one for one in saved.cells if one.id == cell_id)
    return found


def stream(text: str) -> NotebookNode:
    return documents.node({"output_type": "stream", "name": "stdout", "text": text})


def test_an_untouched_notebook_is_attested(saved: NotebookNode, record: Record) -> None:
    result = verified(saved, record)
    assert result.ok
    assert {one.state for one in result.cells} == {"attested"}
    assert (len(result.cells), result.partial) == (10, "")


def test_what_frontends_store_differently_is_attested(saved: NotebookNode, record: Record) -> None:
    cell(saved, "lag").outputs[0].text = "100 %\n"
    cell(saved, "start").metadata["scrolled"] = True
    saved.metadata["language_info"] = {"name": "python"}
    assert verified(saved, record).ok


def _edit_source(saved: NotebookNode) -> None:
    cell(saved, "check").source += "  # looks fine"


def _edit_output(saved: NotebookNode) -> None:
    cell(saved, "lag").outputs[1].data["text/plain"] = "  replay_lag_s\n0  1.5"


def _edit_display(saved: NotebookNode) -> None:
    cell(saved, "start").outputs[0].data["text/plain"] = "ok"


def _edit_text(saved: NotebookNode) -> None:
    cell(saved, "step").source = "## Nothing to see"


def _drop_output(saved: NotebookNode) -> None:
    del cell(saved, "lag").outputs[1]


def _add_output(saved: NotebookNode) -> None:
    cell(saved, "check").outputs.append(stream("ok"))


def _fill_empty(saved: NotebookNode) -> None:
    cell(saved, "empty").outputs.append(stream("ok"))


def _add_cell(saved: NotebookNode) -> None:
    added = copy.deepcopy(cell(saved, "check"))
    added.id, added.source = "added", "print('ok')"
    saved.cells.insert(1, added)


def _add_cell_with_output(saved: NotebookNode) -> None:
    _add_cell(saved)
    cell(saved, "added").outputs.append(stream("ok"))


def _add_text(saved: NotebookNode) -> None:
    text = {"cell_type": "markdown", "id": "new", "metadata": {}, "source": "All is well."}
    saved.cells.append(documents.node(text))


def _remove(cell_id: str) -> Callable[[NotebookNode], None]:
    def remove(saved: NotebookNode) -> None:
        saved.cells = [one for one in saved.cells if one.id != cell_id]

    return remove


def _empty(saved: NotebookNode) -> None:
    cell(saved, "lag").source = ""
    cell(saved, "lag").outputs = []


def _renumber(saved: NotebookNode) -> None:
    cell(saved, "check").execution_count = 1


def _move(saved: NotebookNode) -> None:
    saved.cells.insert(3, saved.cells.pop(6))


def _move_text(saved: NotebookNode) -> None:
    saved.cells.insert(0, saved.cells.pop(9))


def _claim(saved: NotebookNode) -> None:
    cell(saved, "check").metadata.rbkernel.status = "failed"


@pytest.mark.parametrize(
    ("change", "first_line", "state"),
    [
        (_edit_source, CHECK + "  # looks fine", "edited after the run"),
        (_edit_output, LAG.splitlines()[0], "edited after the run"),
        (_edit_display, START, "edited after the run"),
        (_edit_text, "## Nothing to see", "edited after the run"),
        (_renumber, CHECK, "edited after the run"),
        (_claim, CHECK, "edited after the run"),
        (_move, LAG.splitlines()[0], "moved"),
        (_move_text, "## Escalate", "moved"),
        (_drop_output, LAG.splitlines()[0], "output missing"),
        (_add_output, CHECK, "output added"),
        (_fill_empty, "", "output added"),
        (_add_cell, "print('ok')", "never ran"),
        (_add_cell_with_output, "print('ok')", "never ran"),
        (_add_text, "All is well.", "edited after the run"),
        (_remove("lag"), LAG.splitlines()[0], "removed from the notebook"),
        (_remove("step"), "## Look", "removed from the notebook"),
        (_empty, LAG.splitlines()[0], "removed from the notebook"),
    ],
)
@pytest.mark.parametrize("ids", ["with ids", "without ids"])
def test_a_change_is_named_and_nothing_else(
    saved: NotebookNode,
    record: Record,
    change: Callable[[NotebookNode], None],
    first_line: str,
    state: str,
    ids: str,
) -> None:
    change(saved)
    if ids == "without ids":
        for one in saved.cells:
            del one["id"]
        saved = documents.parse(json.dumps(saved).encode(), where="")
    result = verified(saved, record)
    assert not result.ok
    problems = {(one.first_line, one.state) for one in result.problems}
    assert (first_line, state) in problems
    if not (ids == "without ids" and change is _edit_text):  # else old and new cannot be paired
        assert problems == {(first_line, state)}


def test_a_cell_that_honestly_never_ran_is_no_lie(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    snapshot = journal.snapshot(runbook())
    journal.cell(START)
    record = read(journal.folder)
    built = rebuild(record, snapshot)
    result = verify_notebook(built, record, snapshot)
    assert result.ok
    assert [one.state for one in result.cells if one.id == "check"] == ["never ran"]
    cell(built, "check").outputs.append(stream("ok"))
    assert not verify_notebook(built, record, snapshot).ok
    built = rebuild(record, snapshot)
    built.cells = [one for one in built.cells if one.id != "check"]
    assert [one.state for one in verify_notebook(built, record, snapshot).problems] == [
        "removed from the notebook"
    ]


def test_without_a_snapshot_only_code_cells_are_spoken_of(
    saved: NotebookNode, record: Record
) -> None:
    _edit_text(saved)
    result = verify_notebook(saved, record, None)
    assert result.ok
    assert result.partial == "partial: code cells only"
    assert len(result.cells) == 6


def test_the_fewest_cells_are_called_moved(saved: NotebookNode, record: Record) -> None:
    document = {one.id: index for index, one in enumerate(runbook().cells)}
    _move(saved)
    (lag,) = verified(saved, record).problems
    place = f"in the document that was run, it is cell {document['lag'] + 1}"
    assert str(lag) == f"cell 4 (lag): moved: {place}"
    saved.cells.reverse()
    moved = [one for one in verified(saved, record).problems if one.state == "moved"]
    held = sum(bool(one.source.strip()) for one in runbook().cells)
    assert len(moved) == held - 2  # step and start, or lag and start, still follow each other


def test_an_edited_cell_that_was_moved_is_told_both(saved: NotebookNode, record: Record) -> None:
    _edit_source(saved)
    saved.cells.insert(0, saved.cells.pop(8))
    (check,) = verified(saved, record).problems
    assert check.state == "edited after the run"
    assert check.detail.endswith(
        "in the code that ran; moved: in the document that was run, it is cell 8"
    )


def guess(tmp_path: Path) -> Record:
    """A run whose document was only found by its id, in the catalogue."""
    journal = whole_run(tmp_path / "guessed")
    digest = read(journal.folder).snapshot_sha256
    journal.event("snapshot", path="r.ipynb", sha256=digest, found="catalogue")
    return read(journal.folder)


@pytest.mark.parametrize(
    "change", [_edit_text, _add_text, _remove("step"), _remove("empty"), _move, _move_text]
)
def test_a_document_that_need_not_be_the_one_that_ran_accuses_nobody(
    saved: NotebookNode, tmp_path: Path, change: Callable[[NotebookNode], None]
) -> None:
    record = guess(tmp_path)
    change(saved)
    for one in saved.cells:
        one.id = f"other-{one.id}"  # as in a copy that somebody made
    result = verified(saved, record)
    assert result.ok
    assert result.partial.startswith("partial: it is unknown which file was run")
    assert {one.state for one in result.cells} <= {
        *("attested", "differs from the document in the catalogue")
    }


def test_what_differs_from_a_guessed_document_is_told(saved: NotebookNode, tmp_path: Path) -> None:
    record = guess(tmp_path)
    _edit_text(saved)
    _remove("title")(saved)
    told = [str(one) for one in verified(saved, record).cells if one.state != "attested"]
    assert told == [
        (
            "cell 5 (step): differs from the document in the catalogue: line 1: `## Nothing to see`"
            " instead of `## Look`"
        ),
        (
            "a missing cell (title): differs from the document in the catalogue: only the document"
            " has this cell"
        ),
    ]


@pytest.mark.parametrize(
    "change", [_edit_source, _edit_output, _drop_output, _add_output, _remove("lag")]
)
def test_what_ran_is_held_against_a_notebook_without_its_document(
    saved: NotebookNode, tmp_path: Path, change: Callable[[NotebookNode], None]
) -> None:
    change(saved)
    assert len(verified(saved, guess(tmp_path)).problems) == 1


def test_a_line_that_differs_is_shown_and_not_the_first(
    saved: NotebookNode, record: Record
) -> None:
    cell(saved, "lag").source = LAG.replace("\nlag", "\nlag.head()")
    cell(saved, "step").source = "## Look\nelsewhere"
    assert [str(one) for one in verified(saved, record).problems] == [
        "cell 6 (step): edited after the run: line 2: `elsewhere` instead of `at the lag`",
        (
            "cell 7 (lag): edited after the run: line 2: `lag.head()` instead of `lag` in the code"
            " that ran"
        ),
    ]


def test_the_line_of_an_output_that_differs_is_shown(saved: NotebookNode, record: Record) -> None:
    _edit_output(saved)
    (lag,) = verified(saved, record).problems
    assert lag.detail == (
        "its output differs from the journal, line 2: `0  1.5` instead of `0  31.5`"
    )
    assert verified(saved, record).count == "9 of 10 cells attested"


def test_papermills_marks_of_a_failure_are_not_taken_for_edits(
    saved: NotebookNode, record: Record
) -> None:
    import papermill.execute as source

    marks = (
        source.ERROR_MESSAGE_TEMPLATE % "4",
        source.ERROR_ANCHOR_MSG,
        "<script>alert(1)</script>",
    )
    for number, mark in enumerate(marks):
        tags = {"tags": ["papermill-error-cell-tag"]}
        marked = {"cell_type": "markdown", "id": f"e{number}", "metadata": tags, "source": mark}
        saved.cells.insert(0, documents.node(marked))
    assert [one.first_line for one in verified(saved, record).problems] == [marks[2]]


def test_the_run_is_found_in_its_notebook(saved: NotebookNode) -> None:
    assert run_id_of(saved) == RUN_ID, "by what a rebuild writes into it"
    del saved.metadata["rbkernel"]
    assert run_id_of(saved) == RUN_ID, "by the output of rb.start"
    cell(saved, "start").outputs[0].data["application/vnd.rbkernel.run+json"] = {"id": "../x"}
    assert run_id_of(saved) is None
