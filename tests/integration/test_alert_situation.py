"""What a server looked like when the alert arrived: a lock storm that is over when the run starts.

A real gateway, without workers until the storm is over: what the run then says of it can only come
from the look that the gateway has made.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.evidence import incident as records
from rbkernel.evidence import reading, seals
from rbkernel.evidence.incident import Line
from rbkernel.model import Verdict
from rbkernel.sandbox.access import DATABASE, HOST, passfile
from rbkernel.sources.postgres import setup, stored
from rbkernel.sources.postgres.diagnosis import judged
from tests.support.gateways import Place, Process
from tests.support.kernels import METADATA
from tests.support.servers import ROW, Servers
from tests.support.serving import SECRETS, Serving, serving
from tests.support.waiting import until

FRONT_MATTER = """\
---
id: RUN-921
title: Locks
summary: It looks for a cause.
category: incident
severity: P1
owner: Tests
connections: {db: "*"}
triggers:
  - alert: LockStorm
    parameters: {db: labels.cluster}
    key: [labels.cluster]
---"""
CELLS = [
    'import rbkernel as rb\n\nrb.start("RUN-921", incident=incident, db=db)',
    "cause = rb.diagnose(db)",
    "rb.act(rb.actions.terminate_sessions(db, cause))",
    "rb.summary()",
]
SENDER = '[gateway.senders.generic]\nsecret_env = "GENERIC_TOKEN"\n'
ABSENT: dict[str, str | int] = {"host": HOST, "port": 1, "dbname": "nowhere"}


def configuration(folder: Path, server: Servers) -> str:
    ways = server.access
    orders: dict[str, str | int] = {
        "host": HOST,
        "port": ways.primary_port,
        "dbname": DATABASE,
        "user": "rb_diag",
        "passfile": str(passfile(ways.home, "rb_diag")),
    }
    text = f'[catalogue]\npaths = ["{folder}"]\n{SENDER}'
    return setup.with_connection(setup.with_connection(text, "orders", orders), "absent", ABSENT)


def write_runbook(folder: Path) -> None:
    document = new_notebook(
        cells=[
            new_raw_cell(FRONT_MATTER),
            new_code_cell('db: str = ""\nincident: str = ""', metadata={"tags": ["parameters"]}),
            *map(new_code_cell, CELLS),
        ],
        metadata=METADATA,
    )
    nbformat.write(document, folder / "locks.ipynb")


def fire(gateway: Serving, cluster: str) -> None:
    labels = {"alertname": "LockStorm", "cluster": cluster}
    body = {"name": "LockStorm", "starts_at": "2026-11-20T03:00:00Z", "labels": labels}
    assert gateway.post("generic", body).status_code == 202


def seen(evidence: Path) -> dict[str, Line]:
    """Return the situations in all records, by connection."""
    lines = [line for one in records.list_incidents(evidence) for line in one.lines]
    return {line.text("connection"): line for line in lines if line.kind == "situation"}


def test_a_storm_that_is_over_when_the_run_starts_has_its_cause(
    alone: Servers, tmp_path: Path
) -> None:
    write_runbook(tmp_path)
    secret = "c4naryInAStatement"
    root = alone.start("refund-job", "BEGIN", ROW, f"SELECT 'password={secret}'")
    for _ in range(4):
        alone.send("web", ROW)
    evidence = tmp_path / "evidence"
    with serving(tmp_path, configuration=configuration(tmp_path, alone)) as gateway:
        fire(gateway, "orders")
        fire(gateway, "absent")
        until(lambda: len(seen(evidence)) == 2, "both servers were looked at")
        alone.end_sessions()
        place = Place(tmp_path, gateway.store_url, {**SECRETS})
        worker = Process.start(place, ["worker"])
        try:
            place.until(lambda store: not store.counts().waiting + store.counts().running)
        finally:
            worker.kill()
    at = seen(evidence)["orders"]
    headline = f"refund-job (pid {root}, idle in transaction for "
    [cause] = at.data["causes"]
    assert cause.startswith(headline)
    assert cause.endswith("blocks 4 sessions")
    assert secret not in json.dumps(at.data)
    [again] = judged(stored.from_json(at.data["situation"])).causes
    assert again.headline == cause

    found = {run.run.parameters["db"]: run for run in runs(evidence) if run.run}
    findings = {one.title: one for one in found["orders"].findings}
    told = findings["Earlier cause on orders"]
    assert told.verdict is Verdict.WARNING
    assert told.headline.endswith(f"when the alert LockStorm arrived: {cause}, over by now")
    assert findings["Cause on orders"].verdict is Verdict.OK
    assert found["orders"].verdict is Verdict.WARNING
    # nothing of then may be ended now: process ids are used again
    assert not [event for event in found["orders"].events if event.data.get("sql")]
    report = next(evidence.glob(f"INC-*/*{found['orders'].run_id}/report.html")).read_text()
    assert "over by now" in report

    # a server that could not be looked at costs nobody anything, and is no earlier cause
    assert "absent does not answer" in seen(evidence)["absent"].data["causes"][0]
    assert "Earlier cause on absent" not in {one.title for one in found["absent"].findings}


def runs(evidence: Path) -> list[reading.Record]:
    heads = seals.read_heads(evidence)
    folders = (seals.sealed_folder(evidence, head.run_id) for head in heads)
    return [reading.read(folder) for folder in folders if folder]
