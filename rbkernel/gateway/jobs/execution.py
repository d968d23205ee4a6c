"""Execute an attempt at a job: one run in a separate process, until its evidence is sealed.

Ordering rules: the ledger records the attempt as running before its process starts. The incident's
record gets the verdict as soon as the last cell has ended: nobody should wait for the seal. The
ledger records the result only after the evidence is sealed, or cannot be sealed. A worker ends its
own processes when it learns that other workers have taken over its jobs, or when it could not send
a heartbeat for a whole lease. If the worker is killed, the system kills its runs' processes, and
another worker finds their evidence.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import IO

from rbkernel.config import Settings
from rbkernel.errors import RbkernelError, StoreError
from rbkernel.evidence import reading, store
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.continuing.claim import claimed
from rbkernel.gateway.jobs.records import Job
from rbkernel.run.outcome import (
    Ending,
    Outcome,
    ending_of,
    kernel_has_ended,
    last_line,
    outcome_of,
)
from rbkernel.run.preflight import accept
from rbkernel.run.process import Process, start_process
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook

_LOOK_EVERY_S = 0.05  # a look takes microseconds
_TO_SEAL_S = 20.0  # a run that is asked to stop seals its evidence within this time
_TRY_AGAIN_S = 1.0
_OUTPUT_CHARACTERS = 1_000_000
_log = logging.getLogger(__name__)

LOST, TOO_LONG = "taken over by another worker", "timed out"


@dataclass
class _Live:
    """The process of a current run, and the reason for ending it early, if any."""

    process: Process
    stop: str = ""
    asked_at: float = field(default=0.0)


class JobExecutor:
    """Executes attempts at jobs, each in a thread of the queue and in a separate process."""

    def __init__(self, context: GatewayContext, *, worker: str) -> None:
        self._context = context
        self._worker = worker
        self._live: dict[tuple[str, int], _Live] = {}
        self._lock = threading.Lock()
        self._draining = threading.Event()
        self._gone = threading.Event()
        self.environment = environment(context.settings)

    @property
    def busy(self) -> int:
        """The number of runs that this process is executing."""
        return len(self._live)

    def perform(self, job: str, number: int) -> None:
        """Execute an attempt at a job, if it is still due; block until the attempt has ended."""
        if self._draining.is_set():
            return  # the attempt stays queued, for another worker
        taken = self._begin(job, number)
        if taken is not None:
            self._tell(taken)
            self._end(taken, self._attempt(taken))

    def keep(self, mine: Iterable[tuple[str, int]]) -> None:
        """Stop all runs except these, because other workers have taken over the others."""
        kept = frozenset(mine)
        self._ask(LOST, (name for name in tuple(self._live) if name not in kept))

    def drain(self, patience_s: float) -> None:
        """Start no more runs; wait for current runs, then stop and seal those that still run."""
        self._draining.set()
        self._wait(patience_s)
        self._ask(Outcome.DRAINED, tuple(self._live))
        self._wait(_TO_SEAL_S * 2)
        self._gone.set()

    # --- the steps of one attempt

    def _begin(self, job: str, number: int) -> Job | None:
        while True:
            try:
                return self._context.ledger.begin(job, number, self._worker)
            except StoreError as error:
                _log.warning("a job cannot be started: %s", error)
                if self._draining.wait(_TRY_AGAIN_S):
                    return None

    def _attempt(self, job: Job) -> Ending | None:
        runbook = self._runbook(job)
        if isinstance(runbook, Ending):
            return runbook
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            try:
                live = self._start(job, runbook, said, complained)
            except OSError as error:
                return Ending(
                    outcome=Outcome.INTERRUPTED, failure=f"no process could be started: {error}"
                )
            self._watch(job, live)
            with self._lock:
                del self._live[job.id, job.attempt]
            why = _why(said, complained)
        return self._ending(job, live, why)

    def _runbook(self, job: Job) -> Runbook | Ending:
        """Return the runbook of a job, or how the attempt ends without a run."""
        settings = self._context.settings
        if job.continues:
            return claimed(settings, job)
        try:
            runbook = catalogue.find(job.runbook, settings.catalogue.paths)
            accept(runbook, job.parameters, job.incident, settings)
        except RbkernelError as error:
            # the catalogue, the configuration or the incident has changed since the job was added
            return Ending(outcome=Outcome.FAILED, failure=f"the runbook cannot run: {error}")
        return runbook

    def _start(self, job: Job, runbook: Runbook, said: IO[bytes], complained: IO[bytes]) -> _Live:
        """Start the process of a run; its parameters, which may be long, are its standard input."""
        arguments = ["run", str(runbook.path), "--run-id", job.run_id, "--incident", job.incident]
        arguments += ["--json", "--parameters-on-stdin"]
        if job.continues:
            # the document could change after it was compared
            digest = hashlib.sha256(runbook.document).hexdigest()
            arguments += ["--continues", job.continues[0], "--sha256", digest]
        arguments += ["--timeout", "0"]  # `_watch` enforces the deadline
        with tempfile.TemporaryFile() as given, self._lock:
            given.write(json.dumps(dict(job.parameters)).encode())
            given.seek(0)
            process = start_process(arguments, self.environment, (given, said, complained))
            live = self._live[job.id, job.attempt] = _Live(process)
        return live

    def _watch(self, job: Job, live: _Live) -> None:
        """Wait for a run's process to end; stop it, by force if need be, if there is a reason.

        Meanwhile, record the verdict when the run's kernel has ended.
        """
        told = False
        deadline = time.monotonic() + self._context.settings.queue.run_timeout_s
        while True:
            try:
                live.process.wait(_LOOK_EVERY_S)
                return
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            told = told or self._record_verdict(job)
            if not live.stop and now > deadline:
                live.stop = TOO_LONG
            if live.stop == LOST or (live.asked_at and now - live.asked_at > _TO_SEAL_S):
                _signal(live.process, signal.SIGKILL)
            elif live.stop and not live.asked_at:
                live.asked_at = now
                live.process.terminate()

    def _record_verdict(self, job: Job) -> bool:
        """Record a finished run's verdict before the seal; return whether the kernel has ended.

        Only for a run that finished. Why another run did not finish is known when its process ends.
        """
        folder = store.open_folder(self._context.settings.evidence_root, job.run_id)
        if not (folder / store.JOURNAL).is_file() or store.kernel_is_alive(folder):
            return False
        try:
            record = reading.read(folder)
            if outcome_of(record)[0] == Outcome.DONE:
                self._context.incident_log.record_verdict(job, record.verdict)
        except RbkernelError as error:
            # the run may be sealed by now; in any case, `_tell` writes the verdict at the end
            _log.info("the verdict of run %s is recorded after its seal: %s", job.run_id, error)
        return True

    def _ending(self, job: Job, live: _Live, why: str) -> Ending | None:
        """Return the outcome of an attempt; None if another worker has taken the attempt over."""
        if live.stop == LOST:
            return None
        root = self._context.settings.evidence_root
        ending = ending_of(root, job.run_id, self.environment, why=why)
        if ending is None:
            _signal(live.process, signal.SIGKILL)  # also what its kernel left behind
            kernel_has_ended(root / "open" / job.run_id, _TO_SEAL_S)
            ending = ending_of(root, job.run_id, self.environment, why=why)
        if ending is None:
            return Ending(outcome=Outcome.FAILED, failure="the kernel of the run does not stop")
        if ending.outcome != Outcome.INTERRUPTED or not live.stop:
            return ending
        outcome = Outcome.DRAINED if live.stop == Outcome.DRAINED else Outcome.FAILED
        limit = f"the run did not finish within {self._context.settings.queue.run_timeout_s:.0f} s"
        failure = "the worker of the run was stopped" if outcome == Outcome.DRAINED else limit
        return replace(ending, outcome=outcome, failure=failure)

    def _end(self, job: Job, ending: Ending | None) -> None:
        ended: Job | None = None
        while ending is not None and ended is None and not self._gone.is_set():
            try:
                self._context.ledger.end(job.id, job.attempt, ending)
                ended = self._context.store.job(job.id)
            except StoreError as error:
                _log.warning("the end of a run cannot be stored yet; retrying: %s", error)
                self._gone.wait(_TRY_AGAIN_S)
        if ended is not None:
            self._tell(ended)

    def _tell(self, job: Job) -> None:
        try:
            self._context.incident_log.record_job(job)
            if job.state in Job.ENDED:
                self._context.incident_log.settle(job.incident)
        except RbkernelError as error:
            _log.warning(
                "the record of %s is not updated yet with run %s: %s",
                job.incident,
                job.run_id,
                error,
            )

    # --- ending processes

    def _ask(self, why: str, names: Iterable[tuple[str, int]]) -> None:
        with self._lock:
            for name in names:
                if name in self._live and self._live[name].stop != LOST:
                    self._live[name].stop = why

    def _wait(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while self._live and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)


def environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment without secrets that runs do not need."""
    senders = settings.gateway.senders.values()
    secret = {name for sender in senders for name in sender.secret_env}
    secret |= {"RBKERNEL_STORE_URL", settings.pages.link_secret_env}
    secret |= {settings.pages.naming.secret_env} if settings.pages.naming else set()
    secret |= {settings.tickets.token_env} if settings.tickets else set()
    secret |= {sender.reply.token_env for sender in senders if sender.reply}
    return {name: value for name, value in os.environ.items() if name not in secret}


def _why(said: IO[bytes], complained: IO[bytes]) -> str:
    """Return the reason why a run did not finish; empty if it finished."""
    try:
        summary = json.loads(_text(said))
        return str(summary["failure"])
    except (ValueError, TypeError, KeyError):
        return last_line(_text(complained))


def _text(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - _OUTPUT_CHARACTERS))
    return file.read().decode("utf-8", "replace")


def _signal(process: Process, number: int) -> None:
    """Send a signal to the process group of a run, which includes all that the run started."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
