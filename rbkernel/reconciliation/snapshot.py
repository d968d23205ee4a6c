"""Read both servers in one snapshot each: a repeatable-read, read-only transaction per server.

Queries run on both servers at the same time, each in its own thread. If one server holds both
tables, there is one connection, one transaction and one snapshot for both. A standby can be
compared, too: its snapshot shows the WAL that is replayed so far. If the snapshot conflicts with
replay, the server ends the transaction with an error.

An open snapshot delays vacuum, so it is renewed after some time, but not within a part of the
tables. If several parts are compared at the same time, each part has its own connections and
snapshots.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.sources.postgres.connection import driver, settings
from rbkernel.sources.postgres.connection.deadline import Deadline
from rbkernel.sources.postgres.connection.session import Session

Found = TypeVar("Found")

# Between the statement time-out and the deadline: the server's own time-out should win.
_GRACE_S = 2.0
# Maximum age of a snapshot in s: a minute does not matter for vacuum, and backups take longer.
LONGEST_S = 60.0
# Pause in s between two cancels.
_AGAIN_S = 0.1
# An identifier of the backend that is unique among all servers, like %c of log_line_prefix.
BACKEND = "to_hex(trunc(extract(epoch FROM backend_start))::int8) || '.' || to_hex(pid)"
_OWN = f"SELECT {BACKEND} FROM pg_stat_activity WHERE pid = pg_backend_pid()"

# In addition to the settings of every session. Text is converted, since the two servers may have
# different encodings. enable_sort: GROUP BY would sort the whole table on disk.
_SETTINGS = {
    **settings.for_own_sql(),
    "client_encoding": "UTF8",
    "enable_sort": "off",
    "work_mem": "64MB",
    "idle_in_transaction_session_timeout": "60s",
}
# With these settings the planner reads and joins ranges of keys by their index. Otherwise it may
# read all pages of the table for each range, or build a hash of half a million rows (100 MB).
_BY_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off"}
_BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass
class Reader:
    """A read-only connection to one server, with one transaction until `begin` starts the next."""

    session: Session
    raw: driver.RawConnection
    backend: str = field(default="", init=False)
    own_path: tuple[str, ...] = field(default=(), init=False)
    _cancelled: bool = field(default=False, init=False)
    _more: Mapping[str, str] = field(default_factory=dict, init=False)
    _begun: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The connection's name."""
        return self.session.connection.name

    def rows(
        self, statement: str, values: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows that a statement returns (`driver.fetch`)."""
        return self._watched(
            lambda: driver.fetch(self.raw, statement, values or {}, name=self.name)
        )

    def begin(self) -> None:
        """Take a snapshot of the server if there is none."""
        self._watched(lambda: None)

    def read_by_index(self) -> None:
        """Make all later statements read tables by an index if possible."""
        self._more = _BY_INDEX
        self.rows(settings.statement(_BY_INDEX), _BY_INDEX)

    def end(self) -> None:
        """Release the snapshot; the next statement takes a new one."""
        driver.roll_back(self.raw)
        self._begun = False

    def cancel(self) -> None:
        """Cancel the running query, and refuse further queries."""
        self._cancelled = True
        driver.cancel(self.raw, timeout_s=_GRACE_S)

    def _watched(self, ask: Callable[[], Found]) -> Found:
        if self._cancelled:
            raise DatabaseError(
                "cancelled", where=f"connection {self.name}", next_step="run it again"
            )
        limits = self.session.connection
        deadline = Deadline(limits.statement_timeout_s + _GRACE_S, lambda: self.raw)
        try:
            with deadline:
                if not self._begun:
                    self._begin()
                return ask()
        except (DatabaseError, QueryError) as error:
            # the error can occur in a command, where there is no cell
            error.next_step = error.next_step.replace("run the cell again", "run it again")
            raise (deadline.error(error) if deadline.passed else error) from error

    def _begin(self) -> None:
        limits = self.session.connection
        wanted = {
            **_SETTINGS,
            **self._more,
            "statement_timeout": f"{limits.statement_timeout_s * 1000:.0f}",
            "lock_timeout": f"{limits.lock_timeout_s * 1000:.0f}",
            **driver.no_transaction_timeout(driver.version_num(self.raw)),
        }
        # executed separately, since BEGIN returns no rows to fetch
        driver.execute(self.raw, _BEGIN, name=self.name)
        [row] = driver.fetch(self.raw, settings.statement(wanted), wanted, name=self.name)
        self.own_path = settings.begun(row, self.name).own_path
        # queried in each transaction, since a pooler may choose another backend for each
        [(self.backend,)] = driver.fetch(self.raw, _OWN, {}, name=self.name)
        self._begun = True


@dataclass
class Readers:
    """The read-only connections to source and target, which are one connection if one server has
    both.
    """

    source: Reader
    target: Reader
    _since: float = field(default_factory=time.monotonic, init=False)
    _new: bool = field(default=True, init=False)

    @property
    def one_server(self) -> bool:
        """Whether one connection reaches both tables."""
        return self.source is self.target

    def both(
        self, of_source: Callable[[Reader], Found], of_target: Callable[[Reader], Found]
    ) -> tuple[Found, Found]:
        """Query both sides, in parallel if there are two servers; if one query fails, cancel the
        other one.
        """
        if self.one_server:
            return of_source(self.source), of_target(self.target)
        with ThreadPoolExecutor(2, thread_name_prefix="rbkernel-reconcile") as pool:
            asked = (pool.submit(of_source, self.source), pool.submit(of_target, self.target))
            try:
                self._wait(asked)
            except BaseException:
                # cancels also if a human interrupts, so that no query continues
                pairs = zip((self.source, self.target), asked, strict=True)
                stop(asked, [reader for reader, future in pairs if not future.done()])
                raise
        return asked[0].result(), asked[1].result()

    @staticmethod
    def _wait(asked: tuple[Future[Found], Future[Found]]) -> None:
        done, _ = wait(asked, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()

    def release(self, *, older_than_s: float = 0.0) -> None:
        """Release the snapshots if they are older than the limit; the next statement takes new
        ones.
        """
        if time.monotonic() - self._since >= older_than_s:
            self.source.end()
            self.target.end()
            self._since = time.monotonic()
            self._new = True

    def taken(self) -> int:
        """Return 1 at the first call in each snapshot, else 0, so that a sum counts the
        snapshots.
        """
        new, self._new = self._new, False
        return int(new)


def stop(asked: Iterable[Future[Any]], readers: Sequence[Reader]) -> None:
    """Cancel until no query runs, because a cancel between two statements has no effect."""
    running = [future for future in asked if not future.cancel()]
    while True:
        for reader in readers:
            reader.cancel()
        if not wait(running, timeout=_AGAIN_S).not_done:
            return


@contextmanager
def readers(source: Session, target: Session) -> Iterator[Readers]:
    """Borrow the connections of both sessions; only one connection if both are the same session."""
    _reach(source, target)
    with ExitStack() as stack:
        one = Reader(source, stack.enter_context(source.lent()))
        other = one if source is target else Reader(target, stack.enter_context(target.lent()))
        opened = Readers(one, other)
        try:
            yield opened
        finally:
            opened.release()


@contextmanager
def several(first: Readers, count: int) -> Iterator[Sequence[Readers]]:
    """Open further pairs of connections, so that there are `count` pairs, including the first.

    Raises
    ------
    DatabaseError
        A server has too few free slots, or a new connection reaches another server than the first.
    """
    with ExitStack() as stack:
        yield [first, *(_another(first, stack) for _ in range(1, count))]


def _another(first: Readers, stack: ExitStack) -> Readers:
    def opened(reader: Reader) -> Session:
        return stack.enter_context(closing(reader.session.another()))

    try:
        source = opened(first.source)
        target = source if first.one_server else opened(first.target)
        more = stack.enter_context(readers(source, target))
    except DatabaseError as error:
        error.next_step += "; or ask for fewer jobs"
        raise
    for one, other in ((first.source, more.source), (first.target, more.target)):
        if str(one.session.server) != str(other.session.server):
            raise DatabaseError(
                f"one login reached {one.session.server}, the next {other.session.server}",
                where=f"connection {one.name}",
                next_step="name one server in this connection, or ask for one job",
            )
    return more


def _reach(source: Session, target: Session) -> None:
    """Log in at both servers at the same time, and check the privileges of both roles."""
    with ThreadPoolExecutor(2, thread_name_prefix="rbkernel-reconcile") as pool:
        # if source and target are one session, it logs in once
        for _ in pool.map(lambda session: session.server, dict.fromkeys((source, target))):
            pass
