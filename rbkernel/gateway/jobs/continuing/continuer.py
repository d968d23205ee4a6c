"""Create jobs that continue runs of the gateway.

The records of the incidents say what is to be continued, so nothing is lost in a restart. The id of
a job derives from the incident, the run's runbook, and the answers and actions since: however many
processes look, and however often, there is one job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.ledger import JobRequest
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.incidents import continuing
from rbkernel.incidents.continuing import Continuation
from rbkernel.model import Severity

# each takes some ms, and alerts wait meanwhile
_AT_ONCE = 3
# a run that has not ended, and whose end may not show in the record
_LOOK_AGAIN_S = 5.0
# most records have neither an answer nor an executed action, and are not parsed
_SIGNS = (b'"decided"', b'"verified"')
_log = logging.getLogger(__name__)


class Continuer:
    """Creates a job for each run of the gateway that is to be continued."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._root = context.settings.evidence_root
        self._seen: dict[str, tuple[int, int]] = {}
        self._again: dict[str, float] = {}

    def sweep(self) -> int:
        """Look at incidents whose records changed; return the number of new jobs.

        Raises
        ------
        StoreError
            The store does not work; a later sweep tries again.
        """
        if not self._context.settings.queue.resume:
            return 0
        return sum(self._look(path) for path in islice(self._changed(), _AT_ONCE))

    def _changed(self) -> Iterator[Path]:
        """Yield the records that changed since they were looked at, or must be looked at again."""
        for path in sorted(self._root.glob(f"INC-*/{manifest.INCIDENT}")):
            name, now = path.parent.name, time.monotonic()
            try:
                found = path.stat()
            except OSError:
                continue
            size = (found.st_size, found.st_mtime_ns)
            if self._seen.get(name) == size and self._again.get(name, now + 1) > now:
                continue
            # until the look has ended: after an error of the store, it is repeated
            self._again[name] = now + _LOOK_AGAIN_S
            self._seen[name] = size
            yield path

    def _look(self, path: Path) -> int:
        name, made, waits = path.parent.name, 0, False
        try:
            if any(sign in path.read_bytes() for sign in _SIGNS):
                for one in continuing.find(self._root, name):
                    is_new, is_later = self._continue(one)
                    made += is_new
                    waits = waits or is_later
        except (EvidenceError, OSError) as error:
            _log.warning("whether runs of %s are to be continued is not known: %s", name, error)
        if not waits:
            del self._again[name]
        return made

    def _continue(self, one: Continuation) -> tuple[bool, bool]:
        """Add the job of a continuation; return whether it is new, and whether to look again."""
        store, root = self._context.store, self._root
        job = store.job_of_run(one.run.run_id)
        # a run that was started by hand is continued by hand
        if job is None or job.state == JobState.GIVEN_UP:
            return False, False
        live = store.jobs(states=Job.LIVE, incident=one.incident)
        if one.is_live or job.state in Job.LIVE or job.runbook in {one.runbook for one in live}:
            return False, True
        try:
            continuing.unchanged(one.run)
        except EvidenceError as error:
            continuing.refuse(root, one, error)
            return False, False
        order = _order(one, job)
        with store.planning() as connection:
            id_, is_new = self._context.ledger.add(connection, order)
        known = store.job(id_)
        # a job with the same key, of another incident, ends first
        return is_new, not is_new and (known is None or known.source != order.source)


def _order(one: Continuation, job: Job) -> JobRequest:
    """Return the request for a job like that of the run, which continues the run."""
    return JobRequest(
        seed=f"continue {one.incident} {one.basis}",
        runbook=job.runbook,
        parameters=job.parameters,
        key=job.key,
        connections=job.connections,
        severity=list(Severity)[job.priority - 1],
        incident=one.incident,
        source=f"{one.run.run_id} {one.basis}",
        why=f"continues run {one.run.run_id}: {one.why}",
    )
