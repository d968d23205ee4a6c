"""Continue a headless run that waited for a decision, when the decision has been made.

A kernel cannot wait for hours, so a run never waits: it records its questions and ends. Continuing
it is a new run of the same document with the same parameters, in the same incident. It asks the
databases again, and the answers in the record of the incident count as far as the situation is the
same. Nothing is repeated that could change a database: a run only proposes actions.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident, reading, runs, store
from rbkernel.evidence.incident import IncidentRecord, IncidentState
from rbkernel.evidence.reading import Record
from rbkernel.incidents.questions import questions
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.run.stopping import Stop


def resume(
    what: str, settings: Settings, *, progress: bool = False, stop: Stop | None = None
) -> Outcome:
    """Continue a run; return the outcome of the new run.

    Parameters
    ----------
    what
        A run id, or an incident id, which stands for its newest run that asked something.
    settings
        The configuration.
    progress, stop
        As for `rbkernel.run.runner.run`.

    Raises
    ------
    EvidenceError
        There is no such run; it still runs; it has asked nothing; a question has no answer; its
        runbook has changed since; or its incident is closed. Nothing was started.
    """
    root = settings.evidence_root
    found = questions(root, what)
    if not found.asked:
        raise EvidenceError(
            "no run has asked a question: there is nothing to continue",
            where=what,
            next_step="`rbkernel run RUNBOOK --incident INC` runs a runbook again",
        )
    of_incident = _open(root, found.incident)
    if found.waiting:
        raise EvidenceError(
            f"not answered yet: {'; '.join(one.decision.question for one in found.waiting)}",
            where=what,
            next_step=f"`rbkernel decide {what}` lists the options; answer, then continue",
        )
    record = reading.read(runs.find(root, found.asked[-1].run_id))
    if store.kernel_is_alive(record.folder):
        raise EvidenceError(
            f"run {record.run_id} is still running",
            where=str(record.folder),
            next_step="wait until it has ended",
        )
    given = {} if record.run is None else dict(record.run.parameters)
    return runner.run(
        *(str(_unchanged(record)), given, settings),
        incident=of_incident.id,
        continues=record.run_id,
        progress=progress,
        stop=stop,
    )


def _open(root: Path, name: str) -> IncidentRecord:
    """Return the record of an incident, or of the one that continues it, which must be open."""
    found = incident.remaining(lambda one: incident.look(root, one), name)
    if found.state is IncidentState.CLOSED:
        raise EvidenceError(
            f"{found.id} is closed",
            where=str(root / found.id),
            next_step=f"`rbkernel incident reopen {found.id}`, and answer its questions again",
        )
    return found


def _unchanged(record: Record) -> Path:
    """Return the path of the document that was run, if it is still the same."""
    snapshot = next(reversed(record.of_kind("snapshot")), None)
    facts = snapshot.data if snapshot else {}
    path = Path(str(facts.get("path", "")))
    again = f"`rbkernel run {record.runbook} --incident {record.incident}` runs the one of today"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EvidenceError(
            f"the runbook of run {record.run_id} cannot be read: {error.strerror}",
            where=str(path),
            next_step=again,
        ) from error
    # the stored document lacks secrets; its own hash is that of the file
    if digest != facts.get("sha256_as_it_was", facts.get("sha256")):
        raise EvidenceError(
            f"the runbook has changed since run {record.run_id}: an answer to its question may not"
            " fit any more",
            where=str(path),
            next_step=again,
        )
    return path
