"""Continue a headless run that waited for a decision, when the decision has been made.

A kernel cannot wait for hours, so a run never waits: it records its questions and ends. Continuing
it is a new run of the same document with the same parameters, in the same incident. It asks the
databases again, and the answers in the record of the incident count as far as the situation is the
same. Nothing is repeated that could change a database: a run only proposes actions.
"""

from __future__ import annotations

import getpass
import hashlib

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident, reading, runs, store
from rbkernel.incidents import continuing
from rbkernel.incidents.questions import questions
from rbkernel.run import runner
from rbkernel.run.preflight import accept
from rbkernel.run.runner import Outcome
from rbkernel.run.stopping import Stop
from rbkernel.runbook import catalogue


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
    continuing.still_open(root, found.incident)
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
    path, one = continuing.unchanged(record), continuing.of_run(root, record)
    runbook = catalogue.find(str(path), settings.catalogue.paths)
    accept(runbook, given, one.incident, settings)
    # before the run starts, so that the gateway does not continue it, too
    incident.mark_continued(
        *(root, one.incident),
        run_id=record.run_id,
        runbook=record.runbook,
        basis=one.basis,
        by=getpass.getuser(),
    )
    return runner.run(
        *(str(path), given, settings),
        incident=one.incident,
        continues=record.run_id,
        sha256=hashlib.sha256(runbook.document).hexdigest(),
        progress=progress,
        stop=stop,
    )
