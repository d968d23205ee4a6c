"""Identify a server, and log in with the role for actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from rbkernel.config import Connection
from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.execution.document import Facts
from rbkernel.sources.postgres.connection import driver
from rbkernel.sources.postgres.connection.deadline import Deadline
from rbkernel.sources.postgres.connection.session import Session

APPLICATION = "rbkernel/action"
# s for the logins, the signals and the lines of the record, besides the time-outs
GRACE_S = 15.0

_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,
       pg_catalog.pg_postmaster_start_time()::text AS started_at,
       pg_catalog.current_database()::text AS database,
       pg_catalog.pg_is_in_recovery() AS standby
"""
_CLOCK = "SELECT pg_catalog.clock_timestamp() AS at"
# for a statement of an action: true only on the server that was previewed
SAME_SERVER = """
       (SELECT system_identifier::text FROM pg_catalog.pg_control_system())
           = %(system_identifier)s
   AND pg_catalog.pg_postmaster_start_time() = %(started_at)s::timestamptz
   AND pg_catalog.current_database()::text = %(database)s
   AND pg_catalog.pg_is_in_recovery() = %(standby)s::boolean
"""
_SETTINGS = """
SELECT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       pg_catalog.set_config('search_path', 'pg_catalog', true),
       pg_catalog.set_config('statement_timeout', %(statement_ms)s, true),
       pg_catalog.set_config('lock_timeout', %(lock_ms)s, true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', '60000', true)
"""
_WORDS = {
    "system_identifier": "the connection leads to another cluster",
    "database": "the connection leads to another database",
    "standby": "the server changed between primary and standby (a failover)",
    "started_at": "the server was restarted, or the connection leads to another server",
}


def identify(session: Session) -> Facts:
    """Return what identifies a server: cluster, database, role, and when it was started."""
    [row] = session.answer(_IDENTITY, name="identity of the server").records()
    return row


def clock(session: Session) -> datetime:
    """Return the present time of the server's clock."""
    [row] = session.answer(_CLOCK, name="clock of the server").records()
    at: datetime = row["at"]
    return at


def changed(before: Facts, now: Facts) -> str:
    """Return why a server is not the one that was previewed; empty if it is. Pure.

    >>> changed({"standby": True}, {"standby": False})
    'the server changed between primary and standby (a failover)'
    """
    return next((why for name, why in _WORDS.items() if before.get(name) != now.get(name)), "")


def described(facts: Facts) -> str:
    """Describe the server of an action.

    >>> described({"database": "shop", "standby": False, "system_identifier": "7"})
    'database shop, primary, 7'
    """
    kind = "standby" if facts.get("standby") else "primary"
    return f"database {facts['database']}, {kind}, {facts['system_identifier']}"


def longest_s(connection: Connection) -> float:
    """Return the longest that an execution takes, in s, besides the time in which it is watched."""
    return GRACE_S + 2 * (connection.connect_timeout_s + connection.statement_timeout_s)


@contextmanager
def looking(connection: Connection) -> Iterator[Session]:
    """Yield a session with the diagnostic role, which only looks."""
    session = Session(connection, application_name=APPLICATION)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def transaction(connection: Connection) -> Iterator[driver.RawConnection]:
    """Yield a transaction of the role for actions, which is committed at the end.

    Parameters
    ----------
    connection
        The connection with the role for actions, see `Connection.for_actions`.

    Raises
    ------
    ActionRefused
        The role cannot log in, or is a superuser: nothing was sent.
    """
    try:
        opened = driver.connect(connection, application_name=APPLICATION)
    except RbkernelError as error:
        raise ActionRefused(
            f"the role for actions cannot log in, nothing was executed: {error}",
            where=f"connection {connection.name}",
            next_step="correct [connections.NAME.action] in rbkernel.toml, and preview it again",
        ) from error
    limit_s = connection.statement_timeout_s + 2
    with closing(opened) as raw, Deadline(limit_s, lambda: raw):
        values = {
            "statement_ms": f"{connection.statement_timeout_s * 1000:.0f}",
            "lock_ms": f"{connection.lock_timeout_s * 1000:.0f}",
        }
        [(superuser, *_)] = send(raw, _SETTINGS, values, connection)
        if superuser is not False:
            raise ActionRefused(
                "the role for actions is a superuser, nothing was executed",
                where=f"connection {connection.name}",
                next_step="use a role that `rbkernel grant NAME --action ROLE` prints",
            )
        yield raw
        driver.commit(raw, name=connection.name)


def send(
    raw: driver.RawConnection, statement: str, values: Mapping[str, Any], connection: Connection
) -> list[tuple[Any, ...]]:
    """Send one statement, and return its rows; errors as for `driver.fetch`."""
    return driver.fetch(raw, statement, values, name=connection.name)
