"""Evidence and stores as pages meet them: at rest, live, in a storm, damaged, hostile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rbkernel.config.queue import Queue
from rbkernel.evidence import bundle, incident
from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.jobs.alert import Alert, Delivery
from rbkernel.gateway.jobs.ledger import JobRequest, Ledger
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.model import Severity
from rbkernel.render.documents.report import report_files
from rbkernel.run.outcome import Ending, Outcome
from tests.support.hostile_evidence import PLOTLY
from tests.support.journal_builder import (
    CHECK,
    INCIDENT,
    LAG,
    PARAMETERS,
    RUN_ID,
    START,
    Journal,
    runbook,
    whole_run,
)

LIVE_RUN = "20261120T040000Z-00beef"
BEGAN = datetime(2026, 11, 20, 3, 1, tzinfo=UTC)
SQL = "SELECT pg_wal_replay_resume();"


def at_rest(root: Path) -> None:
    """One incident with a sealed run, its parked decision, its plans, and a whole record."""
    _recorded(root)
    journal = Journal(root)
    _begun(journal)
    concluded(journal)
    journal.line("end")
    bundle.seal(root, RUN_ID, report=report_files)


def concluded(journal: Journal) -> None:
    """Journal the last cell: findings, a figure, a parked decision, plans, a note."""
    check = journal.request(CHECK)
    journal.begin(check, CHECK)
    finding = {"title": "Replay lag", "verdict": "critical", "expected": "at most 2 s"}
    finding |= {"actual": "31.5 s", "cause": "Replay is paused", "next_step": "find out who paused"}
    journal.event("finding", check, **finding)
    for title in ("Standby connection", "WAL receiver"):
        journal.finding(title, "ok", "yes")
    show_figure(journal, check)
    options = ["wait", "resume replay", "escalate"]
    question = {"id": "d1", "question": "What now?", "options": options, "state": "parked"}
    journal.event("decision", check, **question, recommended="resume replay")
    plan = {"id": "p1", "title": "Resume replay", "connection": "shop-standby", "sql": SQL}
    plan |= {"risk": "ask who paused it", "undo": "SELECT pg_wal_replay_pause();"}
    journal.event("plan", check, **plan, state="waits for a decision", targets=[{"pid": 7}])
    command = {"id": "p2", "title": "Restart", "connection": "", "sql": "", "command": "systemctl"}
    journal.event("plan", check, **command, state="proposed", targets=[])
    journal.event("note", check, text="the batch was stopped")
    journal.event("summary", check, verdict="critical")
    journal.reply(check)


def show_figure(journal: Journal, cell: str) -> None:
    trace = {"type": "scatter", "x": [1, 2, 3], "y": [10, 20, 31], "name": "lag"}
    drawn = {"data": [trace], "layout": {"height": 320, "title": {"text": "Replay lag"}}}
    data = {PLOTLY: drawn, "text/plain": "replay lag: 10 to 31 s"}
    journal.iopub(cell, "display_data", data=data, metadata={}, transient={})


@contextmanager
def live(root: Path) -> Iterator[Journal]:
    """A run whose second cell runs, as long as the block does; this process is its kernel.

    Another process sees it live: a lock of one's own is never in the way.
    """
    journal = Journal(root, LIVE_RUN)
    lock = os.open(journal.folder / "kernel.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    try:
        _begun(journal, end=False)
        yield journal
    finally:
        os.close(lock)


def _begun(journal: Journal, *, end: bool = True) -> None:
    journal.cell(PARAMETERS)
    start = journal.request(START)
    journal.begin(start, START)
    journal.snapshot(runbook())
    journal.run(start)
    journal.reply(start)
    lag = journal.request(LAG)
    journal.begin(lag, LAG)
    if end:
        journal.reply(lag)


def _recorded(root: Path) -> None:
    _say(root, "opened", title="Replication lag of the shop", severity="high", service="shop")
    for status in AlertStatus:
        told = alert(0, status=status)
        _say(root, "alert", **told.to_json(), identity=told.identity)
    _say(root, "run", run_id=RUN_ID, runbook="RUN-005", attempt=1, state="started")
    _say(root, "note", text="the backup host had paused it\nsecond line")
    update = {"impact": "reports are old", "action": "resuming replay", "eta": "04:00 UTC"}
    _say(root, "status", status="Identified", **update)


def _say(root: Path, kind: str, **fields: Any) -> None:
    incident.append(root, INCIDENT, kind, by="ann", **fields)


def alert(
    number: int, *, status: AlertStatus = AlertStatus.FIRING, labels: dict[str, str] | None = None
) -> Alert:
    told = {
        "alertname": "PostgresReplicationLag",
        "severity": "critical",
        "cluster": f"shop-{number}",
    }
    return Alert(
        source="alertmanager",
        group_key="g",
        fingerprint=f"f{number}",
        status=status,
        starts_at=BEGAN,
        ends_at=BEGAN + timedelta(minutes=40) if status is AlertStatus.RESOLVED else None,
        labels=told if labels is None else labels,
        annotations={"summary": "the standby is behind", "ignored": "lables"},
        url="http://alertmanager.example/#/alerts",
    )


def storm(root: Path, store: Store, incidents: int = 60) -> None:
    """Many incidents with sealed and unsealed runs, a long queue, failures, quarantine."""
    number = 0
    for one in range(incidents):
        for _ in range(4 if one % 9 == 4 else 1):
            number += 1
            run_id = f"20261120T{number // 60:02d}{number % 60:02d}00Z-{number:06x}"
            whole_run(root, run_id, f"INC-20261120-{one:04x}")
            if number % 4:
                bundle.seal(root, run_id)
    ledger = Ledger(store, Queue())
    store.receive(delivery(*(alert(n) for n in range(40))))
    ids = [_ordered(store, ledger, n) for n in range(40)]
    ledger.promote()
    ledger.register("worker-1", 4, "runner-a", "place", "7 1.00")
    queued = [one for one in ids if (job := store.job(one)) and job.state == JobState.QUEUED]
    for name in queued[:2]:
        ledger.begin(name, 1, "worker-1")
        ledger.end(
            name, 1, Ending(outcome=Outcome.FAILED, failure="cell [4] failed: KeyError: 'lag'")
        )
    store.quarantine("alertmanager", b'{"alerts": [' + b"x" * 4000, "it is cut off")
    store.quarantine("generic", b"\x00\xff<script>window.pwned=1</script>", "it is no JSON")


def delivery(*alerts: Alert) -> Delivery:
    return Delivery(
        source="alertmanager", alerts=alerts, truncated=0, received_at=datetime.now(UTC)
    )


def job_with_alerts(store: Store) -> Job:
    """A job that a worker has begun, for two alerts, and whose kernel is still to come."""
    ledger = Ledger(store, Queue())
    alerts = [alert(number) for number in (1, 2)]
    store.receive(delivery(*alerts))
    job = _ordered(store, ledger, 1)
    with store.planning() as connection:
        for one in alerts:
            ledger.attach(connection, job, one.identity)
    ledger.promote()
    ledger.register("worker-1", 4, "runner-a", "place", "7 1.00")
    begun = ledger.begin(job, 1, "worker-1")
    assert begun
    return begun


def _ordered(store: Store, ledger: Ledger, number: int) -> str:
    order = JobRequest(
        seed=f"s{number}",
        runbook="RUN-005",
        parameters={"db": f"shop-{number}"},
        key=(f"shop-{number}",),
        connections=(f"shop-{number}",),
        severity=Severity.HIGH,
        incident=f"INC-20261120-{number:04x}",
        source="alertmanager",
        why="the alert PostgresReplicationLag fits its trigger",
    )
    with store.planning() as connection:
        return ledger.add(connection, order)[0]
