from __future__ import annotations

import json
from pathlib import Path

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence.reading import CellRun, read
from rbkernel.model import Verdict
from tests.support.journal_builder import Journal, whole_run


def texts(cell: CellRun) -> list[str]:
    """What the cell shows, as plain text."""
    return [one["text"] if "text" in one else one["data"]["text/plain"] for one in cell.outputs]


def test_a_whole_run(tmp_path: Path) -> None:
    record = read(whole_run(tmp_path).folder)
    assert [cell.status for cell in record.cells] == ["done"] * 5
    assert record.complete
    assert record.verdict is Verdict.CRITICAL
    assert record.run is not None
    assert (record.run.runbook, record.run.parameters) == ("RUN-005", {"db": "shop"})
    assert texts(record.cells[3]) == ["10 %\r100 %\n", "  replay_lag_s\n0  31.5"]
    assert record.cells[3].execution_count == 4
    assert record.cells[0].started_at < record.cells[0].ended_at <= record.cells[1].started_at


def test_statuses_say_what_happened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("1")
    for ename in ("ValueError", "KeyboardInterrupt"):
        failed = journal.request(ename)
        journal.begin(failed)
        journal.fail(failed, ename)
    aborted = journal.request("aborted")
    journal.reply(aborted, "aborted")
    killed = journal.request("killed")
    journal.begin(killed)
    journal.stream(killed, "half")
    journal.request("was still queued")
    record = read(journal.folder)
    assert [cell.status for cell in record.cells] == [
        *("done", "failed", "interrupted", "not run", "interrupted", "not run")
    ]
    assert not record.complete
    assert record.cells[3].started_at == record.cells[3].ended_at == ""
    assert texts(record.cells[4]) == ["half"]


def test_silent_requests_are_no_cells(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.request("secret machinery", silent=True)
    journal.cell("x")
    assert [cell.code for cell in read(journal.folder).cells] == ["x"]


def test_a_display_update_rewrites_every_earlier_output_with_its_id(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first, second = journal.request("1"), journal.request("2")
    journal.display(first, "checking", display_id="d")
    journal.display(first, "another")
    journal.display(second, "again", display_id="d")  # rewrites, and shows once more
    journal.display("a-button-was-clicked", "chosen", display_id="d", update=True)
    journal.display(second, "nobody shows it", display_id="unseen", update=True)
    one, two = read(journal.folder).cells
    assert texts(one) == ["chosen", "another"]
    assert texts(two) == ["chosen"]


def test_clear_output_waits_when_it_is_asked_to(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    waits, kept, now = (journal.request(code) for code in ("waits", "kept", "now"))
    for parent in (waits, kept, now):
        journal.stream(parent, "old")
    journal.iopub(waits, "clear_output", wait=True)
    journal.stream(waits, "new")
    journal.stream(waits, "er")
    journal.iopub(kept, "clear_output", wait=True)
    journal.iopub(now, "clear_output", wait=False)
    assert [texts(cell) for cell in read(journal.folder).cells] == [["newer"], ["old"], []]


def test_streams_join_only_while_nothing_comes_between(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    parent = journal.request("x")
    journal.stream(parent, "a")
    journal.stream(parent, "b")
    journal.stream(parent, "c", name="stderr")
    journal.display(parent, "d")
    journal.stream(parent, "e", name="stderr")
    assert texts(read(journal.folder).cells[0]) == ["ab", "c", "d", "e"]


def test_an_output_widget_captures_what_its_cell_prints(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    parent = journal.request("with out: print()")
    state = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output"}
    journal.iopub(
        parent, "comm_open", comm_id="w", target_name="jupyter.widget", data={"state": state}
    )
    for msg_id, text in ((parent, "captured"), ("", "printed")):
        data = {"method": "update", "state": {"msg_id": msg_id}}
        journal.iopub(parent, "comm_msg", comm_id="w", data=data)
        journal.stream(parent, text)
    record = read(journal.folder)
    assert texts(record.cells[0]) == ["printed"]
    assert record.widgets["w"]["state"]["outputs"][0]["text"] == "captured"


def test_the_last_word_of_a_finding_and_of_a_decision_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("x")
    journal.finding("Lag", "critical", "31 s")
    journal.finding("Slots", "ok")
    journal.finding("Lag", "ok", "0 s")
    for state in ("open", "chosen"):
        journal.event("decision", id="d1", question="?", options=["a", "b"], state=state)
    journal.event("summary")
    record = read(journal.folder)
    assert [(one.title, one.verdict) for one in record.findings] == [("Lag", "ok"), ("Slots", "ok")]
    assert [one.state for one in record.decisions] == ["chosen"]
    assert record.verdict is Verdict.OK


@pytest.mark.parametrize("ending", ["killed between cells", "a cell failed", "stopped in order"])
def test_an_unfinished_run_is_never_ok(tmp_path: Path, ending: str) -> None:
    journal = Journal(tmp_path)
    document = {"cells": [{"cell_type": "code", "source": code} for code in ("x", "y")]}
    (journal.folder / "runbook.ipynb").write_text(json.dumps(document))
    journal.cell("x")
    journal.finding("Lag", "ok")
    if ending == "a cell failed":
        failed = journal.request("y")
        journal.fail(failed, "ValueError")
        journal.event("summary")
    elif ending == "stopped in order":
        journal.line("end")
    assert read(journal.folder).verdict is Verdict.UNKNOWN


def test_a_failed_cell_that_was_mended_and_run_again_is_forgiven(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.fail(journal.request("x = y", cell_id="a"), "NameError")
    journal.cell("x = 1", cell_id="a")
    journal.finding("Lag", "ok")
    journal.event("summary")
    assert read(journal.folder).verdict is Verdict.OK


@pytest.mark.parametrize("cut", [b'{"seq": 99, "at"', b"\xff\x00", b'{"seq"\n', b""])
def test_a_cut_last_line_is_ignored(tmp_path: Path, cut: bytes) -> None:
    journal = whole_run(tmp_path)
    journal.raw(cut)
    assert read(journal.folder).complete


@pytest.mark.parametrize(
    "bad",
    [
        b"no json\n",
        b"[1]\n",
        b'{"seq": 2, "at": "", "kind": "request"}\n',
        b'{"seq": 9, "at": "", "kind": "end"}\n',
        b'{"seq": 2, "at": "", "kind": "iopub", "type": "stream", "parent": "", "content": 7}\n',
        b'{"seq": 2, "at": "", "kind": "finding", "parent": "", "data": {"title": "x"}}\n',
        b'{"seq": 2, "at": "", "kind": "run", "parent": "", "data": {"id": "../../etc"}}\n',
        b"[" * 200_000 + b"\n",
        b'{"seq": 2, "at": "\xff", "kind": "end"}\n',
    ],
)
def test_a_bad_line_is_named_and_costs_nothing_else(tmp_path: Path, bad: bytes) -> None:
    journal = Journal(tmp_path)
    journal.raw(bad)
    journal.raw(b'{"seq": 3, "at": "2026-11-20T03:02:12+00:00", "kind": "end"}\n')
    record = read(journal.folder)
    assert "line 2 of the journal" in {str(one)[:21] for one in record.lost}
    assert record.ended
    assert record.run_id == journal.run_id


def test_a_missing_line_is_noticed(tmp_path: Path) -> None:
    journal = whole_run(tmp_path)
    path = journal.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    record = read(journal.folder)
    assert [str(one) for one in record.lost] == [
        "line 6 of the journal: its sequence number is 7, not 6"
    ]
    assert len(record.cells) == 5


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    parent = journal.cell("x", "a")
    lines = (journal.folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    journal.raw(lines[3])
    record = read(journal.folder)
    assert texts(record.cells[0]) == ["a"]
    assert [one.first for one in record.lost] == [6]
    assert record.cells[0].msg_id == parent


def test_a_lost_line_keeps_a_run_from_being_ok(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("x")
    journal.finding("Lag", "ok")
    journal.line("finding", parent=None, data={"title": "Slots", "verdict": "[redacted:typed]"})
    journal.event("summary", verdict="ok")
    record = read(journal.folder)
    assert record.verdict is Verdict.UNKNOWN
    assert "its field verdict is wrong" in str(record.lost[0])


def test_a_time_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.cell("x")
    journal.finding("Lag", "ok")
    journal.event("summary", verdict="ok")
    path = journal.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"2026-11-20", b"[redacted:typed]"))
    record = read(journal.folder)
    assert record.verdict is Verdict.OK
    assert not record.lost
    assert [str(one) for one in record.unreadable] == [
        "lines 1 to 6 of the journal: its time cannot be read"
    ]


def test_a_journal_without_a_line_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"nonsense\nmore of it\n")
    with pytest.raises(EvidenceError, match="no line of the journal can be read"):
        read(tmp_path)


def test_no_journal_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"no journal to read.*Next: .*evidence list"):
        read(tmp_path)
