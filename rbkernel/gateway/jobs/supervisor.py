"""The loop of every gateway and worker process, which keeps alerts and jobs moving.

`rbkernel serve` and `rbkernel worker` have one `Supervisor` each. Every supervisor can do each of
these tasks, and finishes tasks that another one left half done:

- send heartbeats (in a separate thread, so that nothing delays them);
- dispatch alerts to their incidents and jobs, and put jobs into the queue;
- create jobs of schedules that are due, and of runs that are to be continued;
- find silent or dead workers, and reassign their runs;
- write missing entries into the incidents' records.

While evidence cannot be written, alerts wait in the store and no attempt begins.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import psutil

from rbkernel import amounts
from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, RbkernelError, StoreError
from rbkernel.evidence.store import prepare
from rbkernel.forkserver.client import prepare as prepare_fast_start
from rbkernel.gateway.jobs import route_checks
from rbkernel.gateway.jobs.context import GatewayContext, nothing
from rbkernel.gateway.jobs.continuing.continuer import Continuer
from rbkernel.gateway.jobs.dispatch import Dispatcher
from rbkernel.gateway.jobs.execution import JobExecutor
from rbkernel.gateway.jobs.queue import Queue
from rbkernel.gateway.jobs.records import Job, Worker
from rbkernel.gateway.jobs.schedules import Scheduler
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.run.outcome import Outcome, ending_of

_TICK_S = 1.0
_LOST_WORKERS_EVERY_S = 2.0
_STRANDED_JOBS_EVERY_S = 5.0
_FORGET_EVERY_S = 3_600.0
_FAST_START_EVERY_S = 60.0
_PATIENCE = 3
_SEALS_AT_ONCE = 2  # a report takes a process and a second of CPU time
_CLOCK_STEP_S = 2.0  # the clock behind a process's start time may be adjusted
_SQLITE = (
    "the store and the queue are SQLite files, which work on one host only; DBOS, the"
    " queue library, recommends them for development only. Next: for production or for several"
    " hosts, set RBKERNEL_STORE_URL to a PostgreSQL database"
)
_log = logging.getLogger(__name__)


class Supervisor:
    """Executes jobs in this process, and keeps the alerts and jobs of all processes moving.

    Parameters
    ----------
    settings, store
        The configuration, and the gateway's store.
    kernels
        How many runs this process executes at once; None for the configured number.
    recorded
        Called after this process wrote into an incident's record, from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        kernels: int | None = None,
        recorded: Callable[[], None] = nothing,
    ) -> None:
        self._context = GatewayContext.of(settings, store, recorded)
        self._rules = settings.queue
        self.kernels = self._rules.kernels if kernels is None else kernels
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._dispatcher = Dispatcher(self._context)
        self._scheduler = Scheduler(self._context)
        self._continuer = Continuer(self._context)
        self._executor = JobExecutor(self._context, worker=self.id)
        self._queue = Queue(settings.store_url, self._rules, self._perform)
        self._awake = threading.Event()
        self._draining = threading.Event()
        self._end = threading.Event()
        self._evidence_problem = ""
        self._asking = threading.Lock()
        self._threads = [
            threading.Thread(target=self._beat, name="rbkernel-heartbeat", daemon=True),
            threading.Thread(target=self._work, name="rbkernel-supervisor", daemon=True),
        ]
        self._due: dict[Callable[[], object], float] = {}
        self._sealing = threading.BoundedSemaphore(_SEALS_AT_ONCE)

    def start(self) -> Self:
        """Log which configured runs are impossible, then start to execute jobs."""
        plan = route_checks.examine(self._context.settings)
        for problem in (*plan.problems, *plan.cautions):
            _log.warning("%s", problem)
        self._register()
        self._keep_fast_start()
        self._queue.start(self.id, kernels=self.kernels)
        for thread in self._threads:
            thread.start()
        return self

    def wake(self) -> None:
        """Wake up the loop, because new alerts or jobs were stored."""
        self._awake.set()

    def drain(self) -> None:
        """Shut down gracefully: take no more jobs, let runs end, release unfinished jobs."""
        self._draining.set()
        self._awake.set()
        self._queue.pause()
        self._executor.drain(self._rules.drain_s)
        self._end.set()
        for thread in self._threads:
            thread.join(10)
        self._queue.stop()
        try:
            self._context.ledger.unregister(self.id)
        except StoreError as error:
            _log.warning("%s; other workers will reclaim the jobs of this one", error)

    @property
    def busy(self) -> int:
        """The number of current runs in this process."""
        return self._executor.busy

    # --- the two threads

    def _beat(self) -> None:
        heard = time.monotonic()
        while not self._end.wait(self._rules.heartbeat_s):
            try:
                mine = self._context.ledger.heartbeat(self.id)
                if mine is None:
                    _log.warning("this worker was considered lost and registers again")
                    self._register()
                    mine = set()
                self._executor.keep(mine)
                heard = time.monotonic()
            except StoreError as error:
                _log.warning("no heartbeat: %s", error)
                if time.monotonic() - heard > self._rules.lease_s:
                    self._executor.keep(())  # other workers may have taken over these runs by now

    def _work(self) -> None:
        while not self._draining.is_set():
            self._awake.clear()
            busy = False
            try:
                busy = self._look()
            except RbkernelError as error:
                _log.warning("%s", error)
            except Exception:  # noqa: BLE001  # the loop must go on, whatever error DBOS raised
                _log.exception("unexpected error; continuing")
            if not busy and not self._draining.is_set():
                self._awake.wait(_TICK_S)

    def _look(self) -> bool:
        """Do all tasks of the loop that are due; return whether more alerts may be waiting."""
        self._every(_TICK_S, self._can_write)
        if self._evidence_problem:
            return False
        moved = self._dispatcher.sweep()
        self._every(_TICK_S, self._tick_clock)
        self._every(_TICK_S, self._continuer.sweep)
        self._queue.put(self._context.ledger.promote())
        self._every(_TICK_S, self._tell)
        self._every(_LOST_WORKERS_EVERY_S, self._reclaim_lost_workers)
        self._every(_STRANDED_JOBS_EVERY_S, self._restore)
        self._every(_FORGET_EVERY_S, self._forget)
        self._every(_FAST_START_EVERY_S, self._keep_fast_start)
        return moved > 0

    def _every(self, period_s: float, do: Callable[[], object]) -> None:
        now = time.monotonic()
        if now >= self._due.get(do, 0.0):
            self._due[do] = now + period_s
            do()

    # --- tasks of the loop

    def _keep_fast_start(self) -> None:
        """Keep the fork server running, so that the next run starts quickly."""
        if self.kernels:
            prepare_fast_start(self._executor.environment)

    def _can_write(self) -> bool:
        """Return whether evidence can be written now; log each change once."""
        with self._asking:
            before, self._evidence_problem = self._evidence_problem, ""
            try:
                settings = self._context.settings
                prepare(settings.evidence_root, group=settings.evidence.group_access)
            except EvidenceError as error:
                self._evidence_problem = str(error)
                if not before:
                    _log.warning("alerts are stored, but no job starts for now: %s", error)
                return False
            if before:
                _log.info("evidence can be written again: queued jobs start")
            return True

    def _perform(self, job: str, number: int) -> None:
        while not self._draining.is_set() and not self._can_write():
            self._draining.wait(_TICK_S)
        self._executor.perform(job, number)
        self.wake()  # a connection may have room now
        self._queue.wake()  # as has this process

    def _tick_clock(self) -> None:
        self._scheduler.sweep(_log.warning)

    def _tell(self) -> None:
        for job in self._context.ledger.unrecorded():
            try:
                self._context.incident_log.record_job(job)
            except RbkernelError as error:
                _log.warning(
                    "the record of %s is not updated yet with job %s: %s",
                    job.incident,
                    job.id,
                    error,
                )

    def _reclaim_lost_workers(self) -> None:
        """Unregister lost workers, seal their runs, and reassign their jobs."""
        # read the workers last: a worker that has begun a job by now is then in the list
        running, taken = self._context.ledger.running(), self._queue.taken()
        known = self._context.store.workers()
        dead = [one for one in known if one.id != self.id and self._is_dead(one)]
        alive = {one.id for one in known} - {one.id for one in dead} | {self.id}
        for job in running:
            if job.worker not in alive and self._context.ledger.reclaim(job, self.id):
                name = f"rbkernel-reclaim-{job.id}"
                threading.Thread(target=self._settle, args=(job,), name=name, daemon=True).start()
        self._queue.put_back([attempt for attempt, worker in taken if worker not in alive])
        for one in dead:
            _log.warning("worker %s is lost; its jobs are reassigned", one.id)
            self._context.ledger.unregister(one.id)

    def _settle(self, job: Job) -> None:
        """Store the outcome of a lost worker's run, once the run's kernel has ended."""
        root, logged = self._context.settings.evidence_root, False
        while not self._end.wait(_LOST_WORKERS_EVERY_S if logged else 0):
            try:
                with self._sealing:
                    ending = ending_of(root, job.run_id, self._executor.environment, wait_s=0)
                if ending is not None:
                    if ending.outcome == Outcome.INTERRUPTED:
                        ending = replace(
                            ending, failure=f"the worker of the run, {job.worker}, was killed"
                        )
                    self._context.ledger.end(job.id, job.attempt, ending)
                    self.wake()
                    return
                if not logged:
                    _log.warning(
                        "run %s has lost its worker, but its kernel is still alive", job.run_id
                    )
            except Exception:  # noqa: BLE001  # no other worker is responsible for this run now
                if not logged:
                    _log.exception("run %s has lost its worker and is not sealed yet", job.run_id)
            logged = True

    def _is_dead(self, worker: Worker) -> bool:
        """Return whether a worker is lost; a worker whose process is alive gets more time."""
        if worker.place != _place():
            return worker.silent_s > self._rules.lease_s
        return not _lives(worker.process) or worker.silent_s > self._rules.lease_s * _PATIENCE

    def _restore(self) -> None:
        lost = self._queue.restore(self._context.ledger.queued_since(_STRANDED_JOBS_EVERY_S))
        if lost:
            _log.warning("missing from the queue, and queued again: %s", amounts.count(lost, "job"))

    def _forget(self) -> None:
        kept = timedelta(days=self._rules.keep_days)
        self._context.ledger.forget(time.time() - kept.total_seconds())
        self._queue.forget((datetime.now(UTC) - timedelta(days=1)).isoformat())

    def _register(self) -> None:
        self._context.ledger.register(
            self.id,
            self.kernels,
            host=socket.gethostname(),
            place=_place(),
            process=_process(psutil.Process()),
        )


def advice(store: Store) -> list[str]:
    """Return advice about the store, to log when the process starts."""
    return [_SQLITE] if store.dialect == "sqlite" else []


def _place() -> str:
    """Return a text that identifies the host, boot and container in which this process runs."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _process(process: psutil.Process) -> str:
    """Return a text that identifies a process on its host: its id and start time."""
    return f"{process.pid} {process.create_time():.2f}"


def _lives(identity: str) -> bool:
    """Return whether the process on this host that has this identity is still alive."""
    try:
        pid, began = identity.split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(began)) < _CLOCK_STEP_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False
