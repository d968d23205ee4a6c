"""Freeze what this version writes, so that later versions are tested with it.

``python -m tests.freeze tests/corpora/written_by_0_1_0`` runs a gateway with real kernels, and
keeps of it what a later rbkernel must still read:

- ``evidence/``: an incident of two sealed and signed runs, with a decision, a note and a plan;
- ``store.sqlite.sql``, ``store.postgresql.sql``: its store with alerts, jobs, notifications and an
  unreadable delivery, as SQL; one job is queued, and one notification still to be sent;
- ``rbkernel.toml``, ``runbooks/``: with which a gateway goes on from that store.

It uses commands and HTTP, so that it can freeze what an earlier commit writes: copy it there. All
of it happens in ``--at``, a new folder of a neutral name, since evidence holds the paths of its
run; in a container or by ``unshare --uts`` the host has a neutral name, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat
import sqlalchemy as sa
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from sqlalchemy.dialects import postgresql

from rbkernel.gateway.jobs.storage import tables
from rbkernel.gateway.notify import outbox  # noqa: F401  # its tables, too

_PATIENCE_S = 300.0
_FRONT_MATTER = """\
---
id: RUN-900
title: The shop answers slowly
summary: Looks at the number of requests, and proposes a restart.
category: incident
severity: SEV2
owner: Shop Team
triggers:
  - alert: ShopSlow
    parameters: {service: labels.service}
    key: [labels.service]
---"""
_CELLS = (
    "# RUN-900: The shop answers slowly\n\nCounts requests, then asks whether to restart.",
    'import rbkernel as rb\n\nrb.start("RUN-900", service=service, incident=incident)',
    'requests = rb.shell("Requests of the shop", "requests", expect={"requests": "< 100"})',
    'rb.note("Seen in the frozen sample: café, <b>markup</b>, line\\nbreaks")',
    """\
choice = rb.decide("Restart the shop?", ["restart", "wait"], recommended="restart")
if answer:
    choice.choose(answer)""",
    """\
plan = rb.act(
    rb.actions.command("Restart the shop", "systemctl restart shop", undo="none needed"),
    when=choice.chose("restart"),
)""",
    'if answer:\n    rb.done(plan, "restarted; it answers again")',
    "rb.summary()",
)
_PARAMETERS = 'service: str = "shop"\nincident: str = ""\nanswer: str = ""'
_CONFIG = """\
[catalogue]
paths = ["runbooks"]

[commands.requests]
argv = ["printf", "requests: 120"]

[notify.targets.on-call]
url_env = "FROZEN_TARGET"
"""
_ALERT = {
    "name": "ShopSlow",
    "summary": "p95 is 2 s",
    "labels": {"service": "shop", "severity": "high"},
}
_OTHER = {"name": "NobodyKnowsThis", "labels": {"service": "mail"}}
_LATER = {"name": "ShopSlow", "labels": {"service": "checkout", "severity": "high"}}


def freeze(at: Path, target: Path) -> None:
    """Make the sample in one folder, and copy to another what is kept of it."""
    (at / "home").mkdir(parents=True)
    (at / "rbkernel.toml").write_text(_CONFIG, encoding="utf-8")
    (at / "runbooks").mkdir()
    nbformat.write(_runbook(), at / "runbooks" / "shop.ipynb")
    environment = _environment(at)
    _command(environment, "evidence", "keygen", "--name", "ann@example.org")
    store = at / "state" / "gateway.sqlite"
    with _gateway(environment) as address:
        _send(address, {"alerts": [_ALERT, _OTHER]})
        _send(address, b'{"name": ')
        _until(store, "SELECT count(*) = 2 AND min(outcome != '') FROM rbkernel_alerts")
        _until(store, "SELECT count(*) > 0 AND min(ended_at IS NOT NULL) FROM rbkernel_jobs")
        [(incident,)] = _ask(store, "SELECT incident FROM rbkernel_jobs WHERE runbook = 'RUN-900'")
        _command(environment, "incident", "note", incident, "The shop was restarted at 03:20.")
        _command(
            *(environment, "run", "RUN-900", "--incident", incident, "-p", "answer=restart"),
            may_fail=True,
        )
        _until(store, "SELECT count(*) > 0 FROM rbkernel_notifications WHERE state = 'pending'")
    with _gateway(environment, "--kernels", "0") as address:
        _send(address, _LATER)
        _until(store, "SELECT count(*) > 0 FROM rbkernel_jobs WHERE state = 'queued'")
    target.mkdir(parents=True)
    for name in ("evidence", "runbooks"):
        shutil.copytree(at / name, target / name, ignore=shutil.ignore_patterns("*lock*"))
    shutil.copy(at / "rbkernel.toml", target)
    with closing(sqlite3.connect(store)) as connection:
        dump = "\n".join(connection.iterdump()) + "\n"
        (target / "store.sqlite.sql").write_text(dump, encoding="ascii")
        (target / "store.postgresql.sql").write_text(_postgresql(connection), encoding="ascii")


def _runbook() -> nbformat.NotebookNode:
    cells = [
        new_raw_cell(_FRONT_MATTER),
        new_code_cell(_PARAMETERS, metadata={"tags": ["parameters"]}),
        *(
            new_markdown_cell(text) if text.startswith("# ") else new_code_cell(text)
            for text in _CELLS
        ),
    ]
    kernel = {"name": "rbkernel", "display_name": "rbkernel", "language": "python"}
    document: nbformat.NotebookNode = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return document


def _environment(at: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(at / "home"),
        "USER": "ann",
        "LOGNAME": "ann",
        "RBKERNEL_CONFIG": str(at / "rbkernel.toml"),
        "RBKERNEL_EVIDENCE": str(at / "evidence"),
        "RBKERNEL_STORE_URL": f"sqlite:///{at}/state/gateway.sqlite",
        "FROZEN_TARGET": "json://127.0.0.1:9/",  # nobody listens there
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def _gateway(environment: dict[str, str], *options: str) -> Iterator[str]:
    """Serve on a free port; the block gets the address."""
    command = [sys.executable, "-m", "rbkernel", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, env=environment, cwd=environment["HOME"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("listening on "):
                    yield line.split()[-1]
                    break
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


def _send(address: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{address}/alerts/generic", content=content, headers=headers)
    print(answer.status_code, answer.text)


def _command(environment: dict[str, str], *arguments: str, may_fail: bool = False) -> None:
    command = [sys.executable, "-m", "rbkernel", *arguments]
    subprocess.run(command, env=environment, cwd=environment["HOME"], check=not may_fail)


def _ask(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def _until(store: Path, condition: str) -> None:
    _wait(lambda: bool(_ask(store, condition)[0][0]), condition)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.2)


def _postgresql(connection: sqlite3.Connection) -> str:
    """Return the same store as SQL for PostgreSQL."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    lines = []
    for table in tables.metadata.sorted_tables:
        lines += [str(sa.schema.CreateTable(table).compile(dialect=dialect))]
        lines += [
            str(sa.schema.CreateIndex(index).compile(dialect=dialect))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
        names = [f'"{column.name}"' for column in table.columns]
        kinds = [isinstance(column.type, sa.Boolean) for column in table.columns]
        for row in connection.execute(f"SELECT {', '.join(names)} FROM {table.name}"):
            values = [_literal(bool(v) if b else v) for v, b in zip(row, kinds, strict=True)]
            lines += [f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})"]
        if "number" in table.columns and table.columns["number"].autoincrement is True:
            sequence = f"pg_get_serial_sequence('{table.name}', 'number')"
            lines += [f"SELECT setval({sequence}, (SELECT max(number) FROM {table.name}))"]
    return "\n".join(f"{line.strip()};" for line in lines) + "\n"


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case bytes():
            return f"decode('{value.hex()}', 'hex')"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return repr(value)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="the new folder in tests/corpora")
    parser.add_argument("--at", type=Path, default=Path("/srv/oncall"), help="where it happens")
    given = parser.parse_args()
    try:
        freeze(given.at, given.target)
    finally:
        shutil.rmtree(given.at, ignore_errors=True)


if __name__ == "__main__":
    main()
