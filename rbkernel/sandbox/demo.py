"""`make demo`: inject three faults, send three alerts, and show the runs that the gateway starts.

The three runs belong to one incident, which is sealed. On a terminal, the demonstration then opens
JupyterLab with a working copy of the most urgent run on the broken database. Without a terminal,
the demonstration removes everything and exits.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, SandboxError
from rbkernel.evidence import reading, runs
from rbkernel.evidence.reading import Record
from rbkernel.gateway import links
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage import old_sqlite
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.incidents import jupyterlab, working_copy
from rbkernel.model import Finding, Verdict, by_urgency
from rbkernel.render import verification
from rbkernel.sandbox import control
from rbkernel.sandbox.alerting import Rule, sender
from rbkernel.sandbox.drill_gateway import DrillGateway, drill_gateway

_SHOP = {"service": "shop", "cluster": "sandbox-primary"}
# each injected fault, and the alert about it
SCENES = (
    (
        "pool-idle-in-transaction",
        Rule(
            name="PostgresqlTooManyConnections",
            severity="critical",
            summary="nearly all connection slots of the shop are taken",
            labels=_SHOP,
        ),
    ),
    (
        "replay-paused",
        Rule(
            name="PostgresReplicationLag",
            severity="critical",
            summary="the shop's standby is behind its primary",
            labels={**_SHOP, "application_name": "sandbox-standby"},
        ),
    ),
    (
        "orders-drift",
        Rule(
            name="OrdersReconciliationDiff",
            severity="warning",
            summary="orders differ between the old and the new table",
            labels={**_SHOP, "module": "orders"},
        ),
    ),
)
_COLOURS = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "magenta"}
# a log file must have complete lines
_WIDTH_WITHOUT_TERMINAL = 180
_PATIENCE_S = 240.0


def show() -> int:
    """Run the demonstration, and print its progress.

    Returns
    -------
    int
        0 if every fault was found and the evidence is verified, else 3.

    Raises
    ------
    StoreError
        The SQLite of this Python is too old; nothing was started.
    """
    old_sqlite.refuse_too_old("sqlite")  # before the sandbox is started
    console = Console(file=sys.__stdout__)  # styled, which a command's own stream writes as escapes
    if not console.is_terminal:
        console = Console(width=_WIDTH_WITHOUT_TERMINAL)
    with tempfile.TemporaryDirectory(prefix="rbkernel-demo-") as folder, _sandbox(console):
        settings = config.load()
        with drill_gateway(settings, Path(folder)) as gateway:
            console.print(f"The gateway listens on {gateway.url}")
            return _drill(console, settings, gateway, Path(folder))


def _drill(console: Console, settings: Settings, gateway: DrillGateway, folder: Path) -> int:
    with sender(gateway.url, folder) as alerts:
        for fault, _ in SCENES:
            console.print(f"Injecting {fault}")
            control.inject(fault)
        alerts.fire([rule for _, rule in SCENES])
        console.print(f"{alerts.who} sends {len(SCENES)} alerts to the gateway")
        jobs = _await_runs(console, gateway)
    found = {job.id: _record(settings, job) for job in jobs}
    console.print(_table(jobs, found))
    incident = jobs[0].incident
    verified = _verify(console, settings, incident)
    console.print(
        Text(f"head {jobs[-1].head}: store this value elsewhere, such as in the ticket or a chat")
    )
    _tell_next(console, jobs, found)
    if sys.stdin.isatty() and console.is_terminal:
        _open(console, settings, gateway, incident)
    all_found = all(job.state == JobState.DONE and _bad(found[job.id]) for job in jobs)
    one_incident = {job.incident for job in jobs} == {incident}
    return 0 if all_found and one_incident and verified else 3


@contextmanager
def _sandbox(console: Console) -> Iterator[None]:
    console.print("Starting the sandbox: a PostgreSQL primary, a standby, and a shop's traffic")
    status = control.up(report=lambda text: console.print(f"  {text}", style="dim"))
    console.print(f"PostgreSQL {status.server_version} is up")
    try:
        yield
    finally:
        control.down()
        console.print("The sandbox is down")


def _await_runs(console: Console, gateway: DrillGateway) -> list[Job]:
    """Wait until the run for each alert has ended, print progress, and return the runs by
    end time.
    """
    store, deadline = Store.open(gateway.store_url), time.monotonic() + _PATIENCE_S
    printed: set[tuple[str, str]] = set()
    try:
        while True:
            jobs = store.jobs()
            for job in sorted(jobs, key=lambda job: job.ended_at or job.created_at):
                if (job.id, job.state) not in printed and job.state in (
                    JobState.RUNNING,
                    *Job.ENDED,
                ):
                    printed.add((job.id, job.state))
                    console.print(_state(job))
            if len(jobs) >= len(SCENES) and all(job.state in Job.ENDED for job in jobs):
                return sorted(jobs, key=lambda job: str(job.ended_at))
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"{len(jobs)} of {len(SCENES)} runs were started, and not all have ended",
                    where=str(gateway.log),
                    next_step="read this log of the gateway; `rbkernel evidence list` lists the"
                    " runs",
                )
            time.sleep(0.2)
    finally:
        store.close()


def _state(job: Job) -> str:
    if job.state == JobState.RUNNING:
        return f"{job.runbook} runs in the rbkernel kernel, through papermill"
    return f"{job.runbook} {job.state}: {job.failure or job.verdict}"


def _record(settings: Settings, job: Job) -> Record:
    return reading.read(runs.find(settings.evidence_root, job.run_id))


def _table(jobs: list[Job], found: dict[str, Record]) -> Table:
    table = Table(title="What was found", show_lines=True)
    for column in ("runbook", "verdict", "what was found", "next step", "seconds", "evidence"):
        table.add_column(column, overflow="fold")
    for job in sorted(jobs, key=lambda job: job.runbook):
        record = found[job.id]
        bad, verdict = _bad(record), record.verdict.value
        table.add_row(
            job.runbook,
            Text(verdict, style=f"bold {_COLOURS[verdict]}"),
            Text("\n".join(map(_found, bad)) or "nothing"),
            Text("\n".join(f"• {step}" for step in dict.fromkeys(f.next_step for f in bad))),
            f"{job.duration_s or 0:.1f}",
            Text(record.folder.name),
        )
    return table


def _found(finding: Finding) -> str:
    which = f" ({finding.which})" if finding.which else ""
    return f"• {finding.headline}{which}"


def _bad(record: Record) -> list[Finding]:
    return [f for f in by_urgency(record.findings) if f.verdict is not Verdict.OK]


def _verify(console: Console, settings: Settings, incident: str) -> bool:
    root, signers = settings.evidence_root, settings.allowed_signers
    try:
        lines, verified = verification.verify(root, str(root / incident), signers=signers)
    except EvidenceError as error:
        lines, verified = [str(error)], False
    for line in lines:
        console.print(Text(line, style="bold green" if verified else "bold red"))
    return verified


def _tell_next(console: Console, jobs: list[Job], found: dict[str, Record]) -> None:
    for job in jobs:
        for decision in found[job.id].decisions:
            advice = f" Recommended: {decision.recommended}." if decision.recommended else ""
            console.print(Text(f"{job.runbook} waits for you: {decision.question}{advice}"))


def _open(console: Console, settings: Settings, gateway: DrillGateway, incident: str) -> None:
    """Open a working copy of the run in JupyterLab, because sealed files are read-only."""
    reached = settings.gateway.model_copy(update={"url": gateway.url})
    page = links.link(settings.model_copy(update={"gateway": reached}), incident, hours=12)
    console.print(Text(f"The findings as a web page, also for phones: {page}"))
    copy = working_copy.make(settings, incident, Path.cwd())
    console.print(f"Opening {copy.path} in JupyterLab; Ctrl-C ends JupyterLab and the sandbox")
    jupyterlab.serve(copy.path, copy.root)
