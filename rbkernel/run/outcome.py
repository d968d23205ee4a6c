"""Determine the outcome of an attempt at a job from its evidence alone.

So every process gets the same outcome: the worker that started the attempt, or another worker that
finds the attempt after the first was killed. Evidence that is not sealed yet is sealed first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import reading, seals, store
from rbkernel.evidence.reading import FAILED, Record, latest
from rbkernel.transitions import Transitions

_SEAL_S = 120.0
_TAIL_CHARACTERS = 2_000


class Outcome(StrEnum):
    """The state of an attempt at a job: still running, or how it ended."""

    RUNNING = ""  # the attempt has no outcome yet
    DONE = "done"  # the runbook finished, whatever its verdict
    FAILED = "failed"  # a cell failed, or the runbook cannot run
    INTERRUPTED = "interrupted"  # the attempt was killed before it finished
    DRAINED = "drained"  # the attempt's worker was stopped and released the job
    WITHDRAWN = "withdrawn"  # nothing ran, and nothing has to


ATTEMPT_TRANSITIONS = Transitions(
    "attempt",
    {
        None: {Outcome.RUNNING},
        Outcome.RUNNING: {*Outcome} - {Outcome.RUNNING},
        Outcome.DONE: (),
        Outcome.FAILED: (),
        Outcome.INTERRUPTED: (),
        Outcome.DRAINED: (),
        Outcome.WITHDRAWN: (),
    },
)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt at a job ended; ``head`` is the hash of its seal, ``failure`` the reason."""

    outcome: Outcome
    verdict: str = ""
    failure: str = ""
    head: str = ""


def ending_of(
    root: Path,
    run_id: str,
    environment: Mapping[str, str],
    *,
    why: str = "",
    wait_s: float = 10.0,
) -> Ending | None:
    """Return how a run ended; seal the run if it is not sealed; None if it has not ended.

    Parameters
    ----------
    root
        The evidence folder.
    run_id
        The run.
    environment
        The environment of the process that seals the run.
    why
        The last output of the run's process, where it is known.
    wait_s
        How long to wait for the run's kernel to end, in seconds.

    Returns
    -------
    Ending
        None when its kernel still lives.
    """
    folder = store.open_folder(root, run_id)
    if not kernel_has_ended(folder, wait_s):
        return None
    unsealed = ""
    if seals.sealed_folder(root, run_id) is None and (folder / store.JOURNAL).is_file():
        unsealed = _seal(run_id, environment)
    sealed = seals.sealed_folder(root, run_id)
    try:
        record = reading.read(sealed or folder)
    except EvidenceError:
        return Ending(outcome=Outcome.INTERRUPTED, failure=f"no cell ran: {why or 'it was killed'}")
    outcome, failure = outcome_of(record)
    heads = {head.run_id: head.sha256 for head in seals.read_heads(root)}
    return Ending(
        outcome=outcome,
        verdict=record.verdict.value,
        failure="; ".join(filter(None, [failure and (why or failure), unsealed])),
        head=heads.get(run_id, ""),
    )


def outcome_of(record: Record) -> tuple[Outcome, str]:
    """Return the outcome of a run, and why it did not finish (empty if it finished)."""
    failed = [cell for cell in latest(record.cells) if cell.status == FAILED]
    if failed:
        last = failed[-1]
        said = f": {last.error}" if last.error else ""
        return Outcome.FAILED, f"cell [{last.execution_count}] failed{said}"
    if record.complete:
        return Outcome.DONE, ""
    return Outcome.INTERRUPTED, "the run was interrupted"


def kernel_has_ended(folder: Path, wait_s: float) -> bool:
    """Wait up to this many seconds for an open run's kernel to end; return whether it ended."""
    deadline = time.monotonic() + wait_s
    while store.kernel_is_alive(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _seal(run_id: str, environment: Mapping[str, str]) -> str:
    """Seal a run in a separate process; return the error, or an empty text."""
    command = [sys.executable, "-m", "rbkernel.run.with_parent", str(os.getpid())]
    try:
        done = subprocess.run(
            [*command, "evidence", "seal", run_id],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SEAL_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the run is not sealed yet: {error}"
    return (
        "" if done.returncode in (0, 1) else f"the run is not sealed yet: {last_line(done.stderr)}"
    )


def last_line(text: str) -> str:
    r"""Return the last line of a process's output, which usually is its error message.

    >>> last_line("Traceback\nrbkernel: no such runbook\n\n")
    'no such runbook'
    """
    lines = text.strip().splitlines() or [""]
    return lines[-1].removeprefix("rbkernel: ")[-_TAIL_CHARACTERS:]
