"""The tables of the gateway's store, and its database engine. This module contains no rules.

Times are seconds since 1970, UTC. Text from senders is stored as ASCII JSON, because PostgreSQL
text columns reject NUL and unpaired surrogates.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url

from rbkernel.gateway.jobs.states import AlertState
from rbkernel.gateway.jobs.storage import storefile

VERSION = 2  # the version of these tables; `migrations` has a step from each version to the next
KNOWN = ("sqlite", "postgresql")
_BUSY_MS = 3_000
_CONNECT_S = 3

metadata = sa.MetaData()
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite autonumbers integers only
_digest = sa.String(64)
# Float is 4 bytes in PostgreSQL, which would round a time to minutes
_time: sa.Double[float] = sa.Double()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(f"rbkernel_{name}", metadata, *columns)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, default="")


version = _table(
    "version",
    sa.Column("version", sa.Integer, primary_key=True),
    # the rbkernel that last created or changed these tables; an earlier one may not know them
    sa.Column("rbkernel", sa.Text),
)

alerts = _table(
    "alerts",
    sa.Column("number", _number, primary_key=True, autoincrement=True),
    sa.Column("identity", _digest, nullable=False, unique=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("thread", _digest, nullable=False, index=True),  # same for firing and resolved
    sa.Column("alert", sa.Text, nullable=False),
    sa.Column("received_at", _time, nullable=False),
    sa.Column("last_seen_at", _time, nullable=False),
    sa.Column("seen", sa.Integer, nullable=False, default=1),
    sa.Column("state", sa.Text, nullable=False, default=AlertState.RECEIVED.value),
    _text("outcome"),
    sa.Column("incident", sa.Text, nullable=False, default="", index=True),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("retry_at", _time, nullable=False, default=0.0),
    _text("problem"),
    sa.Index("rbkernel_alerts_to_do", "state", "retry_at"),
)

quarantine = _table(
    "quarantine",
    sa.Column("number", _number, primary_key=True, autoincrement=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("received_at", _time, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
)

incidents = _table(
    "incidents",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("group", _digest, nullable=False, index=True),
    sa.Column("service", _digest, nullable=False, index=True),
    sa.Column("opened_at", _time, nullable=False),
    sa.Column("last_alert_at", _time, nullable=False, index=True),
    sa.Column("merged_into", sa.Text),
)

jobs = _table(
    "jobs",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("runbook", sa.Text, nullable=False),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("live", sa.Text, unique=True),  # digest of (runbook, key); null once it ended
    sa.Column("incident", sa.Text, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("connections", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("created_at", _time, nullable=False, index=True),
    sa.Column("not_before", _time, nullable=False, default=0.0),
    sa.Column("queued_at", _time),
    sa.Column("started_at", _time),
    sa.Column("ended_at", _time, index=True),
    _text("run_id"),
    _text("worker"),
    _text("verdict"),
    _text("failure"),
    _text("head"),
    sa.Column("recorded", sa.Boolean, nullable=False, default=True),  # in the incident's record
)

attempts = _table(
    "attempts",
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False, unique=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("started_at", _time, nullable=False),
    sa.Column("ended_at", _time),
    _text("outcome"),
    _text("verdict"),
    _text("failure"),
)

job_alerts = _table(
    "job_alerts",
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("identity", _digest, primary_key=True, index=True),
)

workers = _table(
    "workers",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),  # the host and container of the process id
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("kernels", sa.Integer, nullable=False),
    sa.Column("started_at", _time, nullable=False),
    sa.Column("heartbeat_at", _time, nullable=False),
)

notifications = _table(
    "notifications",
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),  # empty: this row marks the event as known
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("next_at", _time, nullable=False, default=0.0),
    sa.Column("claimed_until", _time, nullable=False, default=0.0),
    sa.Column("sent_at", _time),
    _text("problem"),
    sa.Index("rbkernel_notifications_to_do", "target", "state"),
    sa.Index("rbkernel_notifications_sent", "target", "sent_at"),
)

notification_targets = _table(
    "notification_targets",
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("since", _time, nullable=False),
)


def address(url: str) -> URL:
    """Parse a store's URL; SQLAlchemy's driver name is optional.

    >>> address("postgresql://store/rbkernel").drivername
    'postgresql+psycopg'
    >>> address("sqlite:////tmp/x.sqlite").database
    '/tmp/x.sqlite'
    """
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def engine(url: URL) -> Engine:
    """Return a database engine whose changes are on disk when a commit returns."""
    if url.get_backend_name() == "sqlite":
        storefile.prepare(Path(url.database or ""), _mark, owner=version.name)
        made = sa.create_engine(url, connect_args={"timeout": _BUSY_MS / 1000})
        event.listen(made, "connect", _sqlite_connected)
        event.listen(made, "begin", _sqlite_begins)
    else:
        made = sa.create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": _CONNECT_S, "application_name": "rbkernel/gateway"},
        )
        event.listen(made, "begin", _postgresql_begins)
    return made


def _mark(connection: sqlite3.Connection) -> None:
    """Create the table that identifies a new database file as the gateway's store."""
    connection.execute(str(sa.schema.CreateTable(version).compile(dialect=sqlite.dialect())))


def clock(dialect: str) -> sa.ColumnElement[float]:
    """Return the database's current time as SQL, because the clocks of several hosts differ."""
    if dialect == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Double())
    return sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Double())


def _sqlite_connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the engine begins transactions explicitly
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begins(connection: Connection) -> None:
    # a writing transaction takes the lock at once: a reading one could not become a writer later
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_begins(connection: Connection) -> None:
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO on")
