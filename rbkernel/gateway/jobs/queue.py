"""The queue of attempts at jobs: the only module that knows DBOS.

An attempt at a job is a DBOS workflow. Its id is the attempt's name, so an attempt is in the queue
only once, however often it is put in. DBOS keeps the order, the limit of concurrent runs and the
rate limit, on SQLite and on PostgreSQL. DBOS has these pitfalls, handled as follows:

- A process that launches DBOS with an executor id in use runs that executor's live workflows again.
  So each launch has a new id, and nothing is ever recovered at launch.
- The workflows of a lost executor stay assigned to it for ever. `taken` lists them and `put_back`
  releases them, for a caller that knows that the executor is lost.
- A workflow is only given to executors of the same application version, which by default changes
  with any change of code. Here the version is fixed: `VERSION`.
- DBOS uses an SQL function that old SQLite versions lack. `old_sqlite.Connection` adds it.
- A workflow that has ended is not run again under the same id, even without a result. `restore`
  first deletes its remains.
- DBOS counts a workflow a moment after it has taken it, so it may take more at once than it should.
  The others wait here until there is room.
- DBOS looks for workflows at an interval, and cannot be told that there are new ones. So its thread
  for this queue is started here, with an event that ends the pause between two looks: `Attention`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dbos import DBOS, DBOSConfig, EnqueueOptions
from dbos import error as dbos_error
from dbos._queue import queue_worker_thread
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from rbkernel.config.queue import Queue as Rules
from rbkernel.errors import StoreError
from rbkernel.gateway.jobs.ledger import PendingAttempt
from rbkernel.gateway.jobs.storage import old_sqlite, storefile, tables

VERSION = "rbkernel-1"  # increase it when the arguments of a workflow change
_APPLICATION = "rbkernel"
_WORKFLOW, _QUEUE = "rbkernel_turn", "rbkernel_runs"
_SCHEMA = "rbkernel_queue"
_POLL_S = 0.5  # finds attempts that other processes have put in
# after a call of `wake`, DBOS looks this often, for this long: a workflow leaves its place a moment
# after the attempt has ended
_SOON_S, _ATTENTIVE_S = 0.05, 0.5
_UNUSABLE_FILE = (
    "check that this user may write to the file and its folder, and that the disk has space"
)
_UNUSABLE_DATABASE = "check that the role may create a schema and tables in this database"
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

#: Takes an attempt (job, number), and returns when the attempt has ended.
Perform = Callable[[str, int], None]


class Attention(threading.Event):
    """The event that stops DBOS's thread for the queue; `wake` makes the thread look at once."""

    def __init__(self) -> None:
        super().__init__()
        self._called = threading.Event()
        self._attentive_until = 0.0

    def wake(self) -> None:
        """End the current pause, and make the next pauses short."""
        self._attentive_until = time.monotonic() + _ATTENTIVE_S
        self._called.set()

    def set(self) -> None:
        """Stop the thread."""
        super().set()
        self._called.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Pause until `wake` or `set` is called, or the time is over; return whether to stop."""
        attentive = time.monotonic() < self._attentive_until
        self._called.wait(_SOON_S if attentive else timeout)
        self._called.clear()
        return self.is_set()


class Queue:
    """The queue of attempts in DBOS, which this process launches once, under a unique id."""

    def __init__(self, store_url: str, rules: Rules, perform: Perform) -> None:
        self._url = _beside(tables.address(store_url))
        self._rules = rules
        self._perform = perform
        self._attention = Attention()

    def start(self, executor: str, *, kernels: int) -> None:
        """Launch DBOS: accept attempts and, if ``kernels`` is not 0, execute them.

        Parameters
        ----------
        executor
            An id that was never used before.
        kernels
            How many attempts this process executes at once; 0 for none.

        Raises
        ------
        StoreError
            The queue's database cannot be used.
        """
        is_file = self._url.get_backend_name() == "sqlite"
        if is_file:
            _write_ahead(Path(self._url.database or ""))
        config = DBOSConfig(
            name=_APPLICATION,
            system_database_url=self._url.render_as_string(hide_password=False),
            dbos_system_schema=_SCHEMA,
            application_version=VERSION,
            executor_id=executor,
            use_listen_notify=False,
            enable_otlp=False,
            log_level="WARNING",
            sys_db_pool_size=5,
        )
        if is_file:
            config["db_engine_kwargs"] = {"connect_args": {"factory": old_sqlite.Connection}}
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # else: a second console
        perform, room = self._perform, threading.BoundedSemaphore(kernels or 1)

        @DBOS.workflow(name=_WORKFLOW)
        def take(job: str, number: int) -> None:
            with room:
                perform(job, number)

        self._dbos = DBOS(config=config)
        DBOS.listen_queues([])
        try:
            DBOS.launch()
        except (dbos_error.DBOSException, SQLAlchemyError) as error:
            raise StoreError(
                f"the queue cannot be started: {error}",
                where=self._url.render_as_string(hide_password=True),
                next_step=_UNUSABLE_FILE if is_file else _UNUSABLE_DATABASE,
            ) from error
        queue = DBOS.register_queue(
            _QUEUE,
            worker_concurrency=kernels or 1,
            limiter={"limit": self._rules.starts_per_minute, "period": 60.0},
            polling_interval_sec=_POLL_S,
            # a process that takes no attempts must not set the limit for the others
            on_conflict="always_update" if kernels else "never_update",
        )
        if kernels:
            self._dbos.background_thread_stop_events.append(self._attention)
            thread = threading.Thread(
                target=queue_worker_thread,
                args=(self._attention, self._dbos, queue),
                name="rbkernel-queue",
                daemon=True,
            )
            thread.start()
            self._dbos._background_threads.append(thread)  # `stop` waits for it

    def wake(self) -> None:
        """Look for attempts now: some were put in, or an attempt has ended."""
        self._attention.wake()

    def pause(self) -> None:
        """Start no more attempts in this process; running attempts continue."""
        for event in self._dbos.background_thread_stop_events:
            event.set()

    def stop(self) -> None:
        """Stop DBOS, without waiting for running attempts."""
        DBOS.destroy(destroy_registry=True)

    def put(self, attempts: Iterable[PendingAttempt]) -> None:
        """Add attempts to the queue; attempts that are already queued stay where they are."""
        for attempt in attempts:
            options: EnqueueOptions = {
                "queue_name": _QUEUE,
                "workflow_name": _WORKFLOW,
                "workflow_id": attempt.name,
                "app_version": VERSION,
                "priority": attempt.priority,
            }
            with self._errors():
                DBOS.enqueue_workflow_with_options(options, attempt.job, attempt.number)
            self.wake()

    def taken(self) -> list[tuple[str, str]]:
        """Return the name and the executor of each attempt that has started but not ended."""
        with self._errors():
            taken = DBOS.list_workflows(
                status="PENDING", queue_name=_QUEUE, load_input=False, load_output=False
            )
        return [(one.workflow_id, one.executor_id or "") for one in taken]

    def put_back(self, names: Sequence[str]) -> None:
        """Return attempts of lost executors to the queue."""
        with self._errors():
            if names:
                DBOS.resume_workflows(list(names), queue_name=_QUEUE)

    def restore(self, attempts: Sequence[PendingAttempt]) -> int:
        """Put attempts that the queue has lost back into it; return how many were lost."""
        if not attempts:
            return 0
        names = [attempt.name for attempt in attempts]
        with self._errors():
            found = DBOS.list_workflows(workflow_ids=names, load_input=False, load_output=False)
            known = {one.workflow_id: one.status for one in found}
            missing = [
                attempt for attempt in attempts if known.get(attempt.name, _ENDED[0]) in _ENDED
            ]
            if over := [attempt.name for attempt in missing if attempt.name in known]:
                DBOS.delete_workflows(over)
        self.put(missing)
        return len(missing)

    def forget(self, before: str) -> int:
        """Delete attempts from DBOS that ended before a time (ISO 8601); return their number."""
        with self._errors():
            over = DBOS.list_workflows(
                status=list(_ENDED),
                queue_name=_QUEUE,
                completed_before=before,
                limit=1_000,
                load_input=False,
                load_output=False,
            )
            if over:
                DBOS.delete_workflows([one.workflow_id for one in over])
        return len(over)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the queue's database into `StoreError`, with what a user can do."""
        try:
            yield
        except (dbos_error.DBOSException, SQLAlchemyError) as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"the queue does not work: {str(cause).splitlines()[0]}",
                where=self._url.render_as_string(hide_password=True),
                next_step="restart this process; a damaged SQLite file is then rebuilt"
                " from the store",
            ) from error


def _beside(url: URL) -> URL:
    """Return the URL of the queue's database: the store's, or a SQLite file beside the store's.

    SQLite needs two files, since a writer locks the whole file, and senders wait for the store.

    >>> _beside(tables.address("sqlite:////tmp/gateway.sqlite")).database
    '/tmp/gateway.queue.sqlite'
    """
    if url.get_backend_name() != "sqlite":
        return url
    return url.set(database=str(Path(url.database or "").with_suffix(".queue.sqlite")))


def _write_ahead(file: Path) -> None:
    """Switch the queue's SQLite file to write-ahead logging; rebuild a damaged file.

    `restore` fills a rebuilt queue again from the ledger.
    """
    storefile.prepare_again(file)
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").close()
