"""A runbook's cells, run in this process: what they found, recommended and planned.

These are the cells of the notebooks, in order, as far as the decision and its plans. Only the
kernel and papermill are left out, which judge nothing; `papermill` runs them with both.
"""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.interactiveshell import InteractiveShell

from rbkernel import config
from rbkernel.errors import RunError
from rbkernel.evidence import Recorder, install
from rbkernel.gateway.notify.events import Event
from rbkernel.gateway.notify.messages import Words
from rbkernel.model import (
    ActionPlan,
    Decision,
    Finding,
    Severity,
    Verdict,
    by_urgency,
    leading,
    now,
)
from rbkernel.render import cards
from rbkernel.run import runner
from rbkernel.triage import context
from rbkernel.triage.act import ProposedPlan

NOTEBOOKS = {
    "RUN-000": "overview",
    "RUN-001": "connection_pool_exhaustion",
    "RUN-005": "replication_lag",
    "RUN-006": "reconciliation_diff",
    "RUN-007": "blocking_locks",
    "RUN-009": "high_latency",
    "RUN-010": "server_down",
    "RUN-016": "daily_check",
    "RUN-018": "wal_slots_disk",
    "RUN-030": "failover",
}
_FOLDER = Path(__file__).parents[2] / "notebooks"
# cells from here on follow what a human has done
_AFTERWARDS = "done"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a runbook; ``first_s`` until its first cell ended, ``took_s`` in all.

    ``first_s`` is None where a kernel had to start first.
    """

    runbook: str
    verdict: Verdict
    headline: str
    title: str
    findings: tuple[Finding, ...]
    decision: Decision | None
    plans: tuple[ActionPlan, ...]
    first_s: float | None
    took_s: float
    error: str = ""


def run(runbook: str, parameters: Mapping[str, Any]) -> Result:
    """Run the cells of a runbook, and return the result."""
    notebook = nbformat.read(_FOLDER / f"{NOTEBOOKS[runbook]}.ipynb", as_version=4)
    shell = InteractiveShell.instance()
    shell.reset(new_session=False)
    started = time.monotonic()
    first_s, error = 0.0, ""
    with tempfile.TemporaryDirectory(prefix="rbkernel-matrix-") as folder:
        recorder = Recorder(Path(folder))
        recorder.request = {"headless": True}
        recorder.record("request")
        install(recorder)
        with closing(recorder), redirect_stdout(io.StringIO()):
            for cell in notebook.cells:
                if cell.cell_type != "code":
                    continue
                if cell.id == _AFTERWARDS:
                    break
                done = shell.run_cell(cell.source, store_history=False)
                if "parameters" in cell.metadata.get("tags", ()):
                    shell.user_ns.update(parameters)
                first_s = first_s or (time.monotonic() - started if cell.id == "start" else 0.0)
                if isinstance(done.error_in_exec, KeyboardInterrupt):
                    raise done.error_in_exec
                if not done.success:
                    error = f"{cell.id}: {done.error_before_exec or done.error_in_exec}"
                    if cell.id == "start":
                        raise RunError(error, where=runbook)
                    break
        took_s = time.monotonic() - started
        result = _result(runbook, shell.user_ns, first_s, took_s, error)
        _close_sessions()
    return result


def papermill(runbook: str, parameters: Mapping[str, Any]) -> Result:
    """Run the whole notebook as an alert does, in a kernel of its own, and read its evidence."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rbkernel-matrix-") as folder:
        before = os.environ.get("RBKERNEL_EVIDENCE")
        os.environ["RBKERNEL_EVIDENCE"] = folder
        try:
            outcome = runner.run(runbook, parameters, config.load())
        finally:
            os.environ.pop("RBKERNEL_EVIDENCE")
            if before is not None:
                os.environ["RBKERNEL_EVIDENCE"] = before
    record = outcome.record
    plans = {event.data["id"]: event.data for event in record.of_kind("plan")}
    names = {field.name for field in dataclasses.fields(ActionPlan)}
    return Result(
        runbook=runbook,
        verdict=outcome.verdict,
        headline=f"{outcome.verdict.value.upper()}: "
        + "; ".join(dict.fromkeys(found.headline for found in leading(record.findings))),
        title=_title(runbook, outcome.verdict, tuple(record.findings)),
        findings=tuple(record.findings),
        decision=next(iter(record.decisions), None),
        plans=tuple(
            ActionPlan(**{name: data[name] for name in names & data.keys()})
            for data in plans.values()
        ),
        first_s=None,
        took_s=time.monotonic() - started,
        error=outcome.failure,
    )


def _result(
    runbook: str, namespace: Mapping[str, Any], first_s: float, took_s: float, error: str
) -> Result:
    run = context.triage()
    findings = tuple(run.findings.values())
    screen = cards.Screen(run=run.run, facts=(), findings=findings, decisions=(), finished=True)
    plans = {one.plan.id: one.plan for one in namespace.values() if isinstance(one, ProposedPlan)}
    return Result(
        runbook=runbook,
        verdict=run.verdict,
        headline=screen.headline,
        title=_title(runbook, run.verdict, findings),
        findings=findings,
        decision=next(iter(run.decisions.values()), None),
        plans=tuple(plans.values()),
        first_s=first_s,
        took_s=took_s,
        error=error,
    )


def _title(runbook: str, verdict: Verdict, findings: tuple[Finding, ...]) -> str:
    """Return the title of the notification that the gateway would send."""
    wrong = [f for f in by_urgency(findings) if f.verdict is not Verdict.OK and not f.explained_by]
    shown = [{"verdict": one.verdict.value, "headline": one.headline} for one in wrong]
    facts = {"runbook": runbook, "verdict": verdict.value, "findings": shown, "complete": True}
    event = Event(
        key="", kind="finding", at=now(), incident="", severity=Severity.HIGH, page="", facts=facts
    )
    return Words(None, "").message([event]).title


def _close_sessions() -> None:
    for session in context.triage()._sessions.values():
        session.close()
