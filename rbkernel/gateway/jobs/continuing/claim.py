"""Begin a job that continues a run: find the document, and record the continuation."""

from __future__ import annotations

from rbkernel.config import Settings
from rbkernel.errors import NotNeeded, RbkernelError
from rbkernel.gateway.jobs.records import Job
from rbkernel.incidents import continuing
from rbkernel.run.outcome import Ending, Outcome
from rbkernel.run.preflight import accept
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook


def claimed(settings: Settings, job: Job) -> Runbook | Ending:
    """Return the runbook to run, or how the attempt ends without a run.

    An attempt that cannot begin now is interrupted, so that it is tried again. Only if the run is
    not to be continued any more, the job is withdrawn.
    """
    run_id, basis = job.continues or ("", "")
    why = job.why[0].partition(": ")[2] if job.why else ""
    try:
        # by its id in this worker's catalogue: a kernel has written the path in the journal
        runbook = catalogue.find(job.runbook, settings.catalogue.paths)
        accept(runbook, job.parameters, job.incident, settings)
        root, of_job = settings.evidence_root, {"job": job.id, "why": why}
        continuing.begin(root, job.incident, run_id, basis, runbook, **of_job)
    except NotNeeded as error:
        return Ending(outcome=Outcome.WITHDRAWN, failure=error.what)
    except RbkernelError as error:
        return Ending(outcome=Outcome.INTERRUPTED, failure=f"the run cannot begin: {error}")
    return runbook
