"""Journals made by hand, line by line, and the notebooks that belong to them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from rbkernel.evidence import notebook as documents

RUN_ID = "20261120T030211Z-3fa9c1"
INCIDENT = "INC-20261120-7f3a"
PARAMETERS = "db = 'shop'"
START = 'rb.start("RUN-005", db=db)'
LAG = "lag = rb.sample('replication/lag', db)\nlag"
CHECK = "rb.check('Replay lag', lag)"


def other_run(number: int) -> str:
    return f"20261120T03{number:02d}11Z-{number:06x}"


class Journal:
    """Writes lines with the right numbers and rising times."""

    def __init__(self, root: Path, run_id: str = RUN_ID, host: str = "h") -> None:
        self.folder = root / "open" / run_id
        self.folder.mkdir(parents=True)
        self.run_id = run_id
        self.count = 0
        self._cells = 0
        self.line("kernel", run_id=run_id, pid=7, host=host, user="u", python="3", rbkernel="0")

    @contextmanager
    def kernel(self) -> Iterator[None]:
        """Its kernel lives, in another process, as long as the block does."""
        hold = "import fcntl,sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        command = [sys.executable, "-c", hold + "print('', flush=True); sys.stdin.read()"]
        with subprocess.Popen(
            [*command, str(self.folder / "kernel.lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            process.stdout.readline()
            yield  # then its standard input is closed, and it ends

    def line(self, kind: str, **fields: Any) -> None:
        self.count += 1
        at = f"2026-11-20T03:02:{self.count // 10:02d}.{self.count % 10}00000+00:00"
        entry = {"seq": self.count, "at": at, "kind": kind, **fields}
        self.raw(json.dumps(entry).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        with (self.folder / "journal.jsonl").open("ab") as file:
            file.write(data)

    def request(self, code: str, *, cell_id: str | None = None, silent: bool = False) -> str:
        self._cells += 1
        msg_id = f"m{self._cells}"
        self.line(
            "request", msg_id=msg_id, code=code, cell_id=cell_id, silent=silent, allow_stdin=False
        )
        return msg_id

    def begin(self, msg_id: str, code: str = "") -> None:
        self.iopub(msg_id, "execute_input", code=code, execution_count=int(msg_id[1:]))

    def iopub(self, parent: str, kind: str, **content: Any) -> None:
        self.line("iopub", type=kind, parent=parent, content=content)

    def stream(self, parent: str, text: str, name: str = "stdout") -> None:
        self.iopub(parent, "stream", name=name, text=text)

    def display(
        self, parent: str, text: str, *, display_id: str = "", update: bool = False
    ) -> None:
        kind = "update_display_data" if update else "display_data"
        transient = {"display_id": display_id} if display_id else {}
        data = {"text/plain": text}
        self.iopub(parent, kind, data=data, metadata={}, transient=transient)

    def result(self, parent: str, text: str) -> None:
        content = {"data": {"text/plain": text}, "metadata": {}}
        self.iopub(parent, "execute_result", execution_count=int(parent[1:]), **content)

    def reply(self, parent: str, status: str = "ok", ename: str | None = None) -> None:
        told = {"ename": ename, "evalue": ""} if ename else {}
        self.line("reply", parent=parent, status=status, execution_count=int(parent[1:]), **told)

    def fail(self, parent: str, ename: str) -> None:
        self.iopub(parent, "error", ename=ename, evalue="why", traceback=["\x1b[31mhere\x1b[0m"])
        self.reply(parent, "error", ename)

    def cell(self, code: str, output: str = "", *, cell_id: str | None = None) -> str:
        msg_id = self.request(code, cell_id=cell_id)
        self.begin(msg_id, code)
        if output:
            self.stream(msg_id, output)
        self.reply(msg_id)
        return msg_id

    def event(self, kind: str, parent: str | None = None, **data: Any) -> None:
        self.line(kind, parent=parent, data=data)

    def finding(self, title: str, verdict: str, actual: str = "") -> None:
        fields = {"title": title, "verdict": verdict, "expected": "< 15 s", "actual": actual}
        self.event("finding", **fields, later_field=1)

    def snapshot(self, document: NotebookNode) -> bytes:
        data = documents.dump(document)
        (self.folder / "runbook.ipynb").write_bytes(data)
        self.event("snapshot", path="r.ipynb", sha256=hashlib.sha256(data).hexdigest())
        return data

    def run(self, parent: str, incident: str = INCIDENT, **more: Any) -> None:
        self.event(
            "run",
            parent,
            id=self.run_id,
            incident=incident,
            **{
                "runbook": "RUN-005",
                "title": "Replication lag",
                "parameters": {"db": "shop"},
                "headless": True,
                "started_at": "2026-11-20T03:02:11+00:00",
                **more,
            },
        )


def runbook() -> NotebookNode:
    """A small runbook, with an output of an earlier run left in it."""
    cells = [
        {"cell_type": "raw", "id": "front", "source": "id: RUN-005"},
        {"cell_type": "markdown", "id": "title", "source": "# Replication lag"},
        _code("parameters", PARAMETERS, tags=["parameters"]),
        _code("start", START),
        {"cell_type": "markdown", "id": "step", "source": "## Look\nat the lag"},
        _code("lag", LAG, old="an earlier run"),
        _code("empty", ""),
        _code("check", CHECK),
        {"cell_type": "markdown", "id": "end", "source": "## Escalate"},
    ]
    for cell in cells:
        cell.setdefault("metadata", {})
    kernel = {"name": "rbkernel", "display_name": "rbkernel (recorded)", "language": "python"}
    return documents.node(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel, "papermill": {"exception": None}},
            "cells": cells,
        }
    )


def _code(cell_id: str, source: str, *, tags: list[str] | None = None, old: str = "") -> Any:
    outputs = [{"output_type": "stream", "name": "stdout", "text": old}] if old else []
    return {
        "cell_type": "code",
        "id": cell_id,
        "source": source,
        "metadata": {"tags": tags} if tags else {},
        "execution_count": 9 if old else None,
        "outputs": outputs,
    }


def whole_run(root: Path, run_id: str = RUN_ID, incident: str = INCIDENT, **more: Any) -> Journal:
    """A headless run from the first cell to the summary, with papermill's injected cell."""
    journal = Journal(root, run_id)
    journal.cell(PARAMETERS)
    journal.cell("# Parameters\ndb = 'sandbox-primary'\n")
    start = journal.request(START)
    journal.begin(start, START)
    journal.snapshot(runbook())
    journal.run(start, incident, **more)
    mimetype = "application/vnd.rbkernel.run+json"
    data = {"text/plain": "running", mimetype: {"id": run_id}}
    journal.iopub(
        start, "display_data", data=data, metadata={}, transient={"display_id": "verdict"}
    )
    journal.reply(start)
    lag = journal.request(LAG)
    journal.begin(lag, LAG)
    journal.stream(lag, "10 %\r")
    journal.stream(lag, "100 %\n")
    journal.result(lag, "  replay_lag_s\n0  31.5")
    journal.reply(lag)
    check = journal.request(CHECK)
    journal.begin(check, CHECK)
    journal.finding("Replay lag", "critical", "31.5 s")
    data = {"text/plain": "critical: replay is paused", mimetype: {"id": run_id}}
    journal.iopub(
        check, "update_display_data", data=data, metadata={}, transient={"display_id": "verdict"}
    )
    journal.event("summary", check, verdict="critical")
    journal.reply(check)
    journal.line("end")
    return journal


def validate(notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
