"""Which runs of an incident were continued, and which could not be, as its record says it.

A run is continued with the answers and actions since. They have a hash, the *basis*. The gateway
continues a run once for each basis, whichever process tries, and not at all if a person did. This
is checked while the evidence folder is locked, and the line is written before the lock is released.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from rbkernel.errors import NotNeeded
from rbkernel.evidence.incident.answering import must_take
from rbkernel.evidence.incident.file import AlreadyRecorded, append
from rbkernel.evidence.incident.line import CONTINUED, Line
from rbkernel.evidence.incident.record import IncidentRecord


def continued(record: IncidentRecord, basis: str) -> list[Line]:
    """Return the lines about a continuation with this basis; usually none or one."""
    lines = (line for line in record.lines if line.kind == CONTINUED)
    return [line for line in lines if line.text("rests_on") == basis]


def mark_continued(
    root: Path,
    incident: str,
    *,
    run_id: str,
    runbook: str,
    basis: str,
    by: str,
    job: str = "",
    why: str = "",
    refused: str = "",
) -> None:
    """Record that a run is continued now, or why the gateway does not continue it.

    Parameters
    ----------
    root, incident
        The evidence folder, and the incident.
    run_id, runbook
        The run that is continued.
    basis
        The hash of the answers and actions since.
    by
        The person who continues it, or "rbkernel".
    job
        The id of the gateway's job that continues it. Each attempt at the job may call this.
    why
        What the job continues it with, in words.
    refused
        Why the gateway does not continue it. Recorded once, and not if a person continued it.

    Raises
    ------
    NotNeeded
        A job must not continue it: a person or another job did, or it was refused.
    EvidenceError
        The incident is closed, or its record cannot be written.
    """

    def check(record: IncidentRecord) -> None:
        must_take(root, record)
        known = continued(record, basis)
        if refused and not all(one.text("job") for one in known):
            raise AlreadyRecorded
        if job and (other := next((one for one in known if one.text("job") != job), None)):
            done = "refused" if other.text("refused") else "continued"
            raise NotNeeded(
                f"run {run_id} was {done} at {other.at[11:19]} UTC by {other.by} already",
                where=incident,
                next_step=f"`rbkernel resume {run_id}` continues it once more",
            )
        if job and known:
            raise AlreadyRecorded

    said: dict[str, Any] = {"job": job, "why": why, "refused": refused}
    with suppress(AlreadyRecorded):
        append(
            root,
            incident,
            CONTINUED,
            by=by,
            check=check,
            run_id=run_id,
            runbook=runbook,
            rests_on=basis,
            **{name: text for name, text in said.items() if text},
        )
