"""The timeline: each thing once, at the time when it happened, with whoever says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbkernel.evidence.bundle import seal
from rbkernel.evidence.executions import executions
from rbkernel.evidence.incident import append, look
from rbkernel.evidence.reading import Record, read
from rbkernel.evidence.runs import list_runs
from rbkernel.evidence.timeline import Entry, timeline
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, whole_run

ALERT: dict[str, Any] = {
    "source": "alertmanager",
    "fingerprint": "ab" * 8,
    "starts_at": "2026-11-20T04:01:00+01:00",
    "labels": {"alertname": "PostgresReplicationLag"},
    "annotations": {"summary": "replay is 31 s behind"},
}
PLAN: dict[str, Any] = {
    "id": "p1",
    "title": "resume replay",
    "connection": "standby",
    "sql": "SELECT 1",
}
QUESTION: dict[str, Any] = {
    "id": "d1",
    "question": "What now?",
    "options": ["wait", "resume replay"],
}


def told(root: Path) -> tuple[Entry, ...]:
    records: list[Record] = [read(entry.folder) for entry in list_runs(root)]
    return timeline(look(root, INCIDENT), records)


def of_kind(kind: str, entries: tuple[Entry, ...]) -> list[str]:
    return [entry.what for entry in entries if entry.kind == kind]


def resumed(root: Path, run_id: str) -> None:
    """A run in which somebody decides, acts, notes, and all is well afterwards."""
    journal = Journal(root, run_id)
    journal.event(
        "run",
        id=run_id,
        runbook="RUN-005",
        title="Replication lag",
        incident=INCIDENT,
        headless=False,
        started_at="2026-11-20T03:30:00+00:00",
        parameters={"db": "shop"},
        continues=RUN_ID,
    )
    at = "2026-11-20T03:35:00+00:00"
    journal.finding("Replay lag", "critical", "40 s")
    journal.event("decision", **QUESTION, state="open", recommended=None)
    journal.event("decision", **QUESTION, state="chosen", choice="resume replay", at=at)
    journal.event("plan", **PLAN, state="proposed")
    journal.event("done", plan="p1", title="resume replay", note="it returned t", at=at)
    journal.event("plan", **PLAN, state="done by a human")
    journal.event("note", text="asked the owner of the backup")
    journal.finding("Replay lag", "ok", "0.2 s")
    journal.finding("Replay lag", "ok", "0.1 s")
    path = journal.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"T03:02:", b"T03:34:"))  # half an hour later


def test_everything_that_happened_is_told_once_and_in_its_order(tmp_path: Path) -> None:
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **ALERT, status="firing")
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-005"}
    append(tmp_path, INCIDENT, "run", by="rbkernel", **run, state="queued", why="its alert")
    append(tmp_path, INCIDENT, "run", by="rbkernel", **run, state="started")
    whole_run(tmp_path)
    seal(tmp_path, RUN_ID)
    resumed(tmp_path, other_run(30))
    append(tmp_path, INCIDENT, "status", by="ann", status="Monitoring", impact="late reports")
    ended = "2026-11-20T03:41:00Z"
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **ALERT, status="resolved", ends_at=ended)
    entries = told(tmp_path)
    assert entries[0].what == "alert firing: PostgresReplicationLag: replay is 31 s behind"
    assert (entries[0].at, entries[0].source) == ("2026-11-20T03:01:00+00:00", "alertmanager")
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert of_kind("finding", entries) == [
        "Replay lag: critical: 31.5 s",
        "Replay lag: critical → ok: 0.2 s",
    ]
    assert set(of_kind("run", entries)) == {
        "RUN-005 Replication lag: started",
        "RUN-005 Replication lag: ended: critical",
        f"RUN-005 Replication lag: started, continues {RUN_ID}",
        "RUN-005 queued: its alert",
    }
    assert not any("RUN-005 started" in entry.what for entry in entries)
    assert of_kind("decision", entries) == ["decided: What now? resume replay"]
    assert of_kind("plan", entries) == ["proposed: resume replay, on standby"]
    assert of_kind("done", entries) == ["done by a human: resume replay: it returned t"]
    assert of_kind("status", entries) == ["status Monitoring. Impact: late reports"]
    (done,) = (entry for entry in entries if entry.kind == "done")
    assert done.source == f"u, in RUN-005 {other_run(30)}"
    assert len(of_kind("sealed", entries)) == 1


def test_looks_at_different_places_are_not_a_change(tmp_path: Path) -> None:
    for number, (db, verdict) in enumerate([("a", "critical"), ("b", "ok"), ("a", "critical")]):
        journal = Journal(tmp_path, other_run(number))
        journal.event(
            "run",
            id=other_run(number),
            runbook="RUN-005",
            title="",
            incident=INCIDENT,
            headless=True,
            started_at="2026-11-20T03:00:00+00:00",
            parameters={"db": db},
        )
        journal.finding("Replay lag", verdict, "31 s")
    assert of_kind("finding", told(tmp_path)) == ["Replay lag: critical: 31 s"]


def test_a_run_without_a_journal_is_told_by_the_record(tmp_path: Path) -> None:
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-005", "attempt": 2}
    for state in ("queued", "started", "ended"):
        append(tmp_path, INCIDENT, "run", by="rbkernel", **run, state=state, why="killed")
    assert of_kind("run", told(tmp_path)) == [
        f"RUN-005 {state} (attempt 2): killed" for state in ("queued", "started", "ended")
    ]


def at_now(journal: Journal) -> str:
    """The time of the next line."""
    return f"2026-11-20T03:02:{journal.count // 10:02d}.{journal.count % 10}50000+00:00"


def run_all(journal: Journal, **verdicts: str) -> None:
    """One *Run All* in a kernel: parameters, start, a check a cell, summary."""
    journal.cell("db = 'shop'")
    start = journal.request("rb.start()")
    journal.begin(start)
    run: dict[str, Any] = {"id": journal.run_id, "runbook": "RUN-005", "title": "Lag"}
    run |= {"incident": INCIDENT, "headless": False, "parameters": {"db": "shop"}}
    journal.event("run", start, **run, started_at=at_now(journal))
    journal.reply(start)
    for title, verdict in verdicts.items():
        checked(journal, title, verdict)
    summary = journal.request("rb.summary()")
    journal.event("summary", summary)
    journal.reply(summary)


def checked(journal: Journal, title: str, verdict: str) -> None:
    cell = journal.request(f"rb.check('{title}')")
    journal.begin(cell)
    found = {"title": title, "verdict": verdict, "expected": "", "actual": verdict[:4]}
    journal.event("finding", cell, **found)
    journal.reply(cell)


def test_every_execution_of_a_journal_is_there_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run_all(journal, a="critical", b="critical", c="critical")
    journal.event("plan", **PLAN, state="proposed")
    journal.event("done", plan="p1", title="resume replay", note="", at=at_now(journal))
    run_all(journal, a="critical", b="ok", c="critical")
    checked(journal, "c", "ok")
    slow = journal.request("time.sleep(600)")
    journal.begin(slow)
    journal.fail(slow, "KeyboardInterrupt")
    run_all(journal, a="ok", b="ok", c="ok")
    entries = timeline(look(tmp_path, INCIDENT), [read(journal.folder)])
    assert [entry.what for entry in entries] == [
        "RUN-005 Lag: started",
        *(f"{title}: critical: crit" for title in "abc"),
        "RUN-005 Lag: ended: critical",
        "proposed: resume replay, on standby",
        "done by a human: resume replay",
        "RUN-005 Lag: started again (execution 2)",
        "a: still critical: crit",
        "b: critical → ok: ok",
        "c: still critical: crit",
        "cell “rb.check('c')” run again",
        "c: critical → ok: ok",
        "cell “time.sleep(600)” interrupted",
        "RUN-005 Lag: ended (execution 2): critical",
        "RUN-005 Lag: started again (execution 3)",
        "a: critical → ok: ok",
        "RUN-005 Lag: ended (execution 3): unknown",
    ]
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


def test_a_notebook_without_a_start_is_one_execution(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for _ in range(2):
        journal.cell("x = 1", cell_id="a")
    [only] = executions(read(journal.folder))
    assert (only.number, only.is_last, len(only.cells), only.run) == (1, True, 2, None)
    assert [repeated for _, repeated in only.cells_to_tell] == [True]


def test_a_journal_without_a_cell_has_one_execution(tmp_path: Path) -> None:
    [only] = executions(read(Journal(tmp_path).folder))
    assert (only.cells, only.ended_at) == ((), "")
