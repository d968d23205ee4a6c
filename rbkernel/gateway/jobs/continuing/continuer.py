"""Create jobs that continue runs of the gateway.

The records of the incidents say what is to be continued, so nothing is lost in a restart. The id of
a job derives from the runbook with its parameters, and the answers and actions since: however many
processes look, and however often, there is one job.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, islice, zip_longest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, suspect
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.ledger import JobRequest
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.incidents import continuing
from rbkernel.incidents.continuing import Continuation
from rbkernel.model import INCIDENT_ID, Severity

# each takes some ms, and alerts wait meanwhile; most records are read only, and not parsed
_PARSED_AT_ONCE, _READ_AT_ONCE = 3, 100
# a run that has not ended, and whose end may not show in the record; or after an error
_LOOK_AGAIN_S, _LONGEST_PAUSE_S = 5.0, 300.0
# most records have neither an answer nor an executed action
_SIGNS = (b'"decided"', b'"verified"')
_log = logging.getLogger(__name__)


class Continuer:
    """Creates a job for each run of the gateway that is to be continued."""

    def __init__(self, context: GatewayContext) -> None:
        self._context = context
        self._root = context.settings.evidence_root
        # size and time of change of each record
        self._seen: dict[str, tuple[int, int]] = {}
        # records that changed, in the order in which this was noticed; and when they changed
        self._changed: dict[str, int] = {}
        # when to look at records again, and after which pause
        self._again: dict[str, tuple[float, float]] = {}

    def sweep(self) -> int:
        """Look at some incidents that changed or wait; return the number of new jobs.

        Raises
        ------
        StoreError
            The store does not work; a later sweep tries again.
        """
        if not self._context.settings.queue.resume:
            return 0
        self._notice()
        made, parsed = 0, 0
        for name in islice(self._turns(), _READ_AT_ONCE):
            new, is_parsed = self._look(name)
            made, parsed = made + new, parsed + is_parsed
            # not after an error of the store
            self._changed.pop(name, None)
            if parsed == _PARSED_AT_ONCE:
                break
        return made

    def _notice(self) -> None:
        """Note which records changed; those that changed at the same sweep, the newest first."""
        found: dict[str, int] = {}
        for path in self._root.glob(f"INC-*/{manifest.INCIDENT}"):
            name = path.parent.name
            with suppress(OSError):
                now = path.stat()
                size = (now.st_size, now.st_mtime_ns)
                if INCIDENT_ID.fullmatch(name) and self._seen.get(name) != size:
                    self._seen[name], found[name] = size, now.st_mtime_ns
        for name in sorted(found, key=found.__getitem__, reverse=True):
            self._changed[name] = found[name]

    def _turns(self) -> list[str]:
        """Return the records to look at: in turn the newest, the one noticed first, one that waits.

        So neither old incidents, nor many that change or wait, keep others from their turn.
        """
        newest = sorted(self._changed, key=self._changed.__getitem__, reverse=True)
        now = time.monotonic()
        due = [name for name, (at, _) in self._again.items() if at <= now]
        waiting = sorted(due, key=lambda name: self._again[name][0])
        every = chain.from_iterable(zip_longest(newest, list(self._changed), waiting))
        return list(dict.fromkeys(name for name in every if name))

    def _has_sign(self, name: str) -> bool:
        """Tell whether a record may have something to continue; may raise `OSError`."""
        found = suspect.read_bytes(self._root / name / manifest.INCIDENT)
        if found is None:
            raise OSError("the record cannot be read")
        return any(sign in found for sign in _SIGNS)

    def _look(self, name: str) -> tuple[int, bool]:
        """Add the jobs of an incident; return how many are new, and whether it was parsed.

        After an error, it is looked at again.
        """
        made, pause_s, signed = 0, 0.0, False
        longer_s = min(2 * self._again.get(name, (0, _LOOK_AGAIN_S))[1], _LONGEST_PAUSE_S)
        try:
            signed = self._has_sign(name)
            for one in continuing.find(self._root, name) if signed else ():
                try:
                    is_new, is_later = self._continue(one)
                    made += is_new
                    pause_s = pause_s or is_later * _LOOK_AGAIN_S
                except (EvidenceError, OSError) as error:
                    _log.warning("run %s is not continued yet: %s", one.run.run_id, error)
                    pause_s = longer_s
        except (EvidenceError, OSError) as error:
            _log.warning("whether runs of %s are to be continued is not known: %s", name, error)
            pause_s = longer_s
        self._again.pop(name, None)
        if pause_s:
            self._again[name] = (time.monotonic() + pause_s, pause_s)
        return made, signed

    def _continue(self, one: Continuation) -> tuple[bool, bool]:
        """Add the job of a continuation; return whether it is new, and whether to look again.

        Whether the document is the same is for the worker that runs it: this process may not have
        it.
        """
        store, root = self._context.store, self._root
        job = store.job_of_run(one.run.run_id)
        # a run that was started by hand is continued by hand
        if job is None or job.state == JobState.GIVEN_UP:
            return False, False
        if error := one.too_much(datetime.now(UTC)):
            continuing.refuse(root, one, error)
            return False, False
        live = store.jobs(states=Job.LIVE, incident=one.incident)
        if one.is_live or job.state in Job.LIVE or job.runbook in {one.runbook for one in live}:
            return False, True
        order = _order(one, job)
        with store.planning() as connection:
            id_, is_new = self._context.ledger.add(connection, order)
        known = store.job(id_)
        # a job with the same key, of another incident, ends first
        return is_new, not is_new and (known is None or known.source != order.source)


def _order(one: Continuation, job: Job) -> JobRequest:
    """Return the request for a job like that of the run, which continues the run."""
    return JobRequest(
        seed=f"continue {one.basis}",
        runbook=job.runbook,
        parameters=job.parameters,
        key=job.key,
        connections=job.connections,
        severity=list(Severity)[job.priority - 1],
        incident=one.incident,
        source=f"{one.run.run_id} {one.basis}",
        why=f"continues run {one.run.run_id}: {one.why}",
        mind=job.why[1:],
    )
