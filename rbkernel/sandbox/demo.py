"""`make demo`: three real faults, three runbooks that find them, one sealed incident.

On a terminal it ends in JupyterLab, with the first runbook open on the broken database; elsewhere
it tears everything down and exits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rbkernel import config
from rbkernel.errors import EvidenceError
from rbkernel.evidence import report
from rbkernel.gateway import jupyterlab, runner, working_copy
from rbkernel.gateway.runner import Outcome
from rbkernel.model import Finding, Verdict, new_incident_id
from rbkernel.sandbox import control

# what is broken, and the runbook that must find it
SCENES = (
    ("pool-idle-in-transaction", "RUN-001"),
    ("replay-paused", "RUN-005"),
    ("orders-drift", "RUN-006"),
)
_COLOURS = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "magenta"}
# a log file wants whole lines
_WIDTH_WITHOUT_TERMINAL = 180


def show() -> int:
    """Run the demonstration.

    Returns
    -------
    int
        0 when every fault was found and the evidence verifies, else 3.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_WITHOUT_TERMINAL)
    incident = new_incident_id()
    with _sandbox(console):
        for fault, _ in SCENES:
            console.print(f"Injecting {fault}")
            control.inject(fault)
        outcomes = [_run(console, runbook, incident) for _, runbook in SCENES]
        console.print(_table(outcomes))
        verified = _verify(console, incident)
        console.print(Text(f"head {outcomes[-1].head}: keep it elsewhere, in the ticket or a chat"))
        _tell_next(console, outcomes)
        if sys.stdin.isatty() and console.is_terminal:
            _open(console, outcomes[0])
    found = all(not o.failure and _bad(o) for o in outcomes)
    return 0 if found and verified else 3


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


def _run(console: Console, runbook: str, incident: str) -> Outcome:
    console.print(f"Running {runbook} in the rbkernel kernel, through papermill")
    outcome = runner.run(
        runbook, {}, config.load(), incident=incident, progress=console.is_terminal
    )
    if outcome.failure:
        console.print(f"{runbook} did not come to its end: {outcome.failure}", style="bold red")
    return outcome


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(title="What was found", show_lines=True)
    for column in ("runbook", "verdict", "what was found", "next step", "seconds", "evidence"):
        table.add_column(column, overflow="fold")
    for outcome in outcomes:
        bad = _bad(outcome)
        verdict = outcome.verdict.value
        table.add_row(
            outcome.runbook,
            Text(verdict, style=f"bold {_COLOURS[verdict]}"),
            Text("\n".join(map(_found, bad)) or "nothing"),
            Text("\n".join(f"• {step}" for step in dict.fromkeys(f.next_step for f in bad))),
            f"{outcome.duration_s:.1f}",
            Text(outcome.folder.name),
        )
    return table


def _found(finding: Finding) -> str:
    which = f" ({finding.which})" if finding.which else ""
    return f"• {finding.headline}{which}"


def _bad(outcome: Outcome) -> list[Finding]:
    bad = [f for f in outcome.record.findings if f.verdict is not Verdict.OK]
    return sorted(bad, key=lambda finding: -finding.verdict.rank)


def _verify(console: Console, incident: str) -> bool:
    settings = config.load()
    root, signers = settings.evidence_root, settings.allowed_signers
    try:
        lines, verified = report.verify(root, str(root / incident), signers=signers)
    except EvidenceError as error:
        lines, verified = [str(error)], False
    for line in lines:
        console.print(Text(line, style="bold green" if verified else "bold red"))
    return verified


def _tell_next(console: Console, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        for decision in outcome.record.decisions:
            advice = f" Recommended: {decision.recommended}." if decision.recommended else ""
            console.print(Text(f"{outcome.runbook} waits for you: {decision.question}{advice}"))


def _open(console: Console, outcome: Outcome) -> None:
    """Open a working copy in JupyterLab: nobody works on sealed files."""
    copy = working_copy.make(config.load(), outcome.record.run_id, Path.cwd())
    console.print(f"Opening {copy.path} in JupyterLab; Ctrl-C ends it, and the sandbox with it")
    jupyterlab.serve(copy.path, copy.path.parent)
