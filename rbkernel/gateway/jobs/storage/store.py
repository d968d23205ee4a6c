"""The gateway's store of alerts and jobs; the evidence, not the store, is authoritative.

The store is a SQLite file of the user, or the database in `RBKERNEL_STORE_URL`, which several
gateways and workers may share. Ordering rule: when `receive` and `quarantine` return, the data is
on disk. A received alert stays in the state ``received`` until a process has dispatched it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from rbkernel.errors import StoreError
from rbkernel.gateway.jobs.alert import Alert, Delivery
from rbkernel.gateway.jobs.records import (
    Attempt,
    Counts,
    Job,
    Quarantined,
    StoredAlert,
    Worker,
    attempt_of,
    job_of,
    quarantined_of,
    stored_alert_of,
    worker_of,
)
from rbkernel.gateway.jobs.states import AlertState
from rbkernel.gateway.jobs.storage import old_sqlite, schema_version, storefile, tables

_LOCK = 7_226_001  # key of PostgreSQL's advisory lock: one process plans at a time, on any host
_NO_SUCH_HOST = ("resolve host", "translate host name")  # error messages of psycopg and of libpq
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Received:
    """How many alerts of a delivery were new, and how many were stored already."""

    new: int
    repeated: int


class Store:
    """All data of the gateway that must survive a crash; may be used by any thread.

    Every method raises `StoreError` when the database cannot be reached, is full, or is locked for
    too long; the database is then unchanged.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect.name
        # SQLite writers poll ever less often: the writers of one process take turns instead
        self._turn = threading.Lock() if self.dialect == "sqlite" else nullcontext()
        # a store that is garbage-collected also closes its connections
        weakref.finalize(self, engine.dispose).atexit = False

    @classmethod
    def open(cls, url: str, *, upgrade: bool = False) -> Self:
        """Open the gateway's store; create its tables if it has none.

        Parameters
        ----------
        url
            The address of the store: ``sqlite:///…`` or ``postgresql://…``.
        upgrade
            Whether to upgrade an older store; a SQLite file is backed up first.

        Raises
        ------
        StoreError
            The store cannot be reached or has another version, or SQLite is too old.
        """
        old_sqlite.refuse_too_old(url)
        try:
            address = tables.address(url)
            if address.get_backend_name() not in tables.KNOWN:
                raise ArgumentError("only SQLite and PostgreSQL are supported")
            store = cls(tables.engine(address))
        except (ArgumentError, SQLAlchemyError, ImportError, OSError) as error:
            raise StoreError(
                f"the store cannot be used: {_reason(error)}",
                where="RBKERNEL_STORE_URL",
                next_step="use sqlite:////path/to/file or postgresql://user@host/database",
            ) from error
        store._prepare(upgrade=upgrade)
        return store

    def close(self) -> None:
        """Close all connections to the store's database."""
        self._engine.dispose()

    @property
    def where(self) -> str:
        """The address of the store, without a password."""
        return self._engine.url.render_as_string(hide_password=True)

    # --- incoming alerts

    def receive(self, delivery: Delivery) -> Received:
        """Store the alerts of a delivery in one transaction; they are on disk on return."""
        return self.receive_all([delivery])[0]

    def receive_all(self, deliveries: Sequence[Delivery]) -> list[Received]:
        """Store several deliveries in one transaction: they share one wait for the disk.

        Returns
        -------
        list
            For each delivery, how many of its alerts were new. An alert counts as new once, in
            the delivery that reported it first.
        """
        rows: dict[str, dict[str, Any]] = {}
        for delivery in deliveries:
            for alert in delivery.alerts:
                row = rows.setdefault(alert.identity, _row(alert, delivery.received_at))
                row["seen"] += 1
        # all processes insert in the same order, so that no two wait for each other's rows
        with self.writing() as connection:
            new = self._insert(connection, [rows[identity] for identity in sorted(rows)])
        return [_received(delivery, new) for delivery in deliveries]

    def _insert(self, connection: Connection, rows: list[dict[str, Any]]) -> set[str]:
        """Insert the alerts that are not stored yet; return those that were new."""
        if not rows:
            return set()
        tellings = {row["identity"]: row["seen"] for row in rows}
        insert = self.insert(tables.alerts)
        counted = insert.on_conflict_do_update(
            index_elements=["identity"],
            set_={
                "seen": tables.alerts.c.seen + insert.excluded.seen,
                "last_seen_at": insert.excluded.last_seen_at,
            },
        ).returning(tables.alerts.c.identity, tables.alerts.c.seen)
        # rows as parameters: SQLAlchemy then compiles the statement once, for all commits
        kept = connection.execute(counted, rows)
        return {row.identity for row in kept if row.seen == tellings[row.identity]}

    def quarantine(self, source: str, raw: bytes, reason: str) -> int:
        """Store the bytes of an unreadable delivery on disk; return the delivery's number."""
        row = {"source": source, "raw": raw, "reason": reason, "received_at": time.time()}
        table = tables.quarantine
        with self.writing() as connection:
            return int(
                connection.execute(
                    sa.insert(table).values(row).returning(table.c.number)
                ).scalar_one()
            )

    def probe(self) -> None:
        """Raise an error if no change can be committed now; the trial update changes nothing."""
        with self.writing() as connection:
            connection.execute(sa.update(tables.version).values(version=tables.version.c.version))

    # --- data for pages and metrics

    def alerts(
        self, *, limit: int = 100, state: str = "", incident: str = "", job: str = ""
    ) -> list[StoredAlert]:
        """Return alerts, the newest first: all, or the alerts of a state, an incident or a job."""
        table, of_jobs = tables.alerts, tables.job_alerts
        wanted = sa.select(table).order_by(table.c.number.desc()).limit(limit)
        if state:
            wanted = wanted.where(table.c.state == state)
        if incident:
            wanted = wanted.where(table.c.incident == incident)
        if job:
            wanted = wanted.join(of_jobs, of_jobs.c.identity == table.c.identity)
            wanted = wanted.where(of_jobs.c.job == job)
        return [stored_alert_of(row) for row in self.read(wanted)]

    def jobs(
        self, *, limit: int = 100, states: Iterable[str] = (), incident: str = ""
    ) -> list[Job]:
        """Return jobs, the newest first: all, or the jobs in some states or of an incident."""
        table = tables.jobs
        wanted = sa.select(table).order_by(table.c.created_at.desc(), table.c.id).limit(limit)
        if states := tuple(states):
            wanted = wanted.where(table.c.state.in_(states))
        if incident:
            wanted = wanted.where(table.c.incident == incident)
        return [job_of(row) for row in self.read(wanted)]

    def job(self, id: str) -> Job | None:  # noqa: A002  # it is its id
        """Return the job with this id; None if there is no such job."""
        rows = self.read(sa.select(tables.jobs).where(tables.jobs.c.id == id))
        return job_of(rows[0]) if rows else None

    def job_of_run(self, run_id: str) -> Job | None:
        """Return the job that this run is, or will be, an attempt at; None if there is none."""
        table = tables.jobs
        found = sa.select(tables.attempts.c.job).where(tables.attempts.c.run_id == run_id)
        rows = self.read(sa.select(table).where(table.c.id.in_(found) | (table.c.run_id == run_id)))
        return job_of(rows[0]) if rows else None

    def jobs_for(self, identity: str) -> list[Job]:
        """Return the jobs that an alert started or joined, the oldest first."""
        of_alert = sa.select(tables.job_alerts.c.job).where(
            tables.job_alerts.c.identity == identity
        )
        table = tables.jobs
        wanted = sa.select(table).where(table.c.id.in_(of_alert))
        return [job_of(row) for row in self.read(wanted.order_by(table.c.created_at, table.c.id))]

    def attempts(self, job: str) -> list[Attempt]:
        """Return the attempts at a job, the oldest first."""
        table = tables.attempts
        wanted = sa.select(table).where(table.c.job == job).order_by(table.c.number)
        return [attempt_of(row) for row in self.read(wanted)]

    def quarantined(self, *, limit: int = 100) -> list[Quarantined]:
        """Return unreadable deliveries, each with its first bytes, the newest first."""
        table = tables.quarantine
        wanted = sa.select(
            *(table.c[name] for name in ("number", "source", "received_at", "reason")),
            sa.func.length(table.c.raw).label("size_bytes"),
            sa.func.substr(table.c.raw, 1, Quarantined.SHOWN_BYTES).label("beginning"),
        )
        return [
            quarantined_of(row)
            for row in self.read(wanted.order_by(table.c.number.desc()).limit(limit))
        ]

    def quarantined_bytes(self, number: int) -> bytes | None:
        """Return all bytes of one unreadable delivery."""
        table = tables.quarantine
        rows = self.read(sa.select(table.c.raw).where(table.c.number == number))
        return bytes(rows[0].raw) if rows else None

    def workers(self) -> list[Worker]:
        """Return the registered workers, the oldest first."""
        table = tables.workers
        age = (self.clock - table.c.heartbeat_at).label("silent_s")
        wanted = sa.select(table, age).order_by(table.c.started_at)
        return [worker_of(row) for row in self.read(wanted)]

    def counts(self) -> Counts:
        """Return how many alerts and jobs are in each state, and how old the oldest are."""
        alerts, jobs = tables.alerts, tables.jobs
        with self.reading() as connection:
            return Counts(
                alerts=_counted(connection, alerts.c.state),
                outcomes=_counted(connection, alerts.c.outcome),
                jobs=_counted(connection, jobs.c.state),
                quarantined=_number_of(connection, tables.quarantine),
                oldest_alert_s=_age_s(
                    connection, alerts.c.received_at, alerts.c.state != AlertState.DONE
                ),
                oldest_job_s=_age_s(
                    connection, jobs.c.created_at, jobs.c.state.in_(Job.NOT_STARTED)
                ),
            )

    # --- transactions for the ledger of jobs and the outbox of notifications

    @property
    def clock(self) -> sa.ColumnElement[float]:
        """The database's current time, as an SQL expression."""
        return tables.clock(self.dialect)

    def insert(self, table: sa.Table) -> Any:
        """Return an INSERT statement of this database that supports ON CONFLICT."""
        return (sqlite if self.dialect == "sqlite" else postgresql).insert(table)

    def read(self, wanted: sa.Select[Any]) -> Sequence[Row[Any]]:
        """Run a query, and return all its rows."""
        with self.reading() as connection:
            return connection.execute(wanted).all()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction in which all reads see the same state of the store."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction to write in, which is on disk when the block has ended."""
        with self._errors(), self._turn, self._engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def planning(self) -> Iterator[Connection]:
        """Open a transaction to plan jobs in; only one process on all hosts can have it open."""
        with self.writing() as connection:
            if self.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise StoreError(
                f"the gateway's store does not work: {_reason(error)}",
                where=self.where,
                next_step=_next_step(error),
            ) from error

    def _prepare(self, *, upgrade: bool) -> None:
        with self._alone(), self.planning() as connection:
            found = schema_version.read(connection)
            if found is None:
                schema_version.create(connection)
            elif found.is_older and upgrade:
                self._back_up(found.number)
                schema_version.upgrade(connection, found)
            else:
                schema_version.require_current(found, self.where)

    def _alone(self) -> AbstractContextManager[None]:
        """Lock a SQLite file against other processes that open it; PostgreSQL uses `planning`."""
        file = self._file
        return storefile.alone(file) if file else nullcontext()

    def _back_up(self, number: int) -> None:
        """Back up the store's SQLite file; for a PostgreSQL store, log that there is no backup.

        The caller holds the lock on the file (`_alone`), so that no process writes meanwhile.
        """
        if file := self._file:
            kept = storefile.back_up(file, f"version-{number}")
            _log.info("the store was backed up before its upgrade: %s", kept)
        else:
            _log.warning("the store is upgraded; rbkernel makes no backup of a PostgreSQL store")

    @property
    def _file(self) -> Path | None:
        return Path(self._engine.url.database or "") if self.dialect == "sqlite" else None


def _row(alert: Alert, received_at: datetime) -> dict[str, Any]:
    at = received_at.timestamp()
    return {
        "identity": alert.identity,
        "source": alert.source,
        "status": alert.status.value,
        "thread": alert.thread,
        "alert": json.dumps(alert.to_json()),
        "received_at": at,
        "last_seen_at": at,
        "seen": 0,
    }


def _received(delivery: Delivery, new: set[str]) -> Received:
    """Count a delivery's new alerts; an alert in several deliveries is new in the first only."""
    of_this = {alert.identity for alert in delivery.alerts} & new
    new -= of_this
    return Received(new=len(of_this), repeated=len(delivery.alerts) - len(of_this))


def _counted(connection: Connection, column: sa.Column[Any]) -> Mapping[str, int]:
    rows = connection.execute(sa.select(column, sa.func.count()).group_by(column))
    return {value: number for value, number in rows if value}


def _number_of(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _age_s(
    connection: Connection, since: sa.Column[float], of: sa.ColumnElement[bool]
) -> float | None:
    oldest = connection.execute(sa.select(sa.func.min(since)).where(of)).scalar()
    return None if oldest is None else max(0.0, datetime.now(UTC).timestamp() - oldest)


def _next_step(error: SQLAlchemyError) -> str:
    """Return what a user can do when the database of an open store fails."""
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.Error):
        mend = storefile.advice(cause)
    elif any(words in _reason(error) for words in _NO_SUCH_HOST):
        mend = "correct the host in RBKERNEL_STORE_URL, or the DNS server"
    else:
        mend = "check that the database server is running and has free space"
    return f"{mend}; until then senders are asked to send again"


def _reason(error: BaseException) -> str:
    """Return the database's error message, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
