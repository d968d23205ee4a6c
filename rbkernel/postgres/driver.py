"""The only module that imports psycopg: connect, cancel, quote, and name what went wrong.

Everything else in rbkernel speaks SQLAlchemy. Connections are opened with keyword parameters and
never with a DSN string, because libpq's complaint about a malformed one echoes a part of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.types.datetime import IntervalBinaryLoader, IntervalLoader

from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.postgres import login, reach, troubles
from rbkernel.postgres.troubles import Trouble

RawConnection = psycopg.Connection[Any]

# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes.
_APPLICATION_NAME_BYTES = 63


class _OneStatementCursor(psycopg.Cursor[Any]):
    """Speaks the extended protocol always: the server itself refuses a second statement."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if not params:
            # without values psycopg uses the simple protocol, unless the result is to be binary
            options["binary"] = True
        return super().execute(query, params, **options)


def connect(
    connection: Connection,
    *,
    application_name: str,
    autocommit: bool = False,
    one_statement: bool = False,
) -> RawConnection:
    """Open one connection of the named kind.

    Parameters
    ----------
    connection
        The named connection.
    application_name
        Cut at 63 bytes, as the server does.
    autocommit
        Whether each statement is a transaction of its own.
    one_statement
        Whether the server is to refuse a text of two statements.

    Raises
    ------
    DatabaseError
        Refused, unreachable, wrong password, or no slot is left.
    """
    parameters: dict[str, Any] = dict(connection.libpq_parameters())
    if (password := connection.password()) is not None:
        parameters["password"] = password
    try:
        raw = login.connect(
            **parameters,
            options=_first_settings(connection) if one_statement else "",
            application_name=application_name.encode()[:_APPLICATION_NAME_BYTES].decode(
                errors="ignore"
            ),
            autocommit=autocommit,
            # poolers in transaction mode lose server-side prepared statements
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise _no_login(error, connection) from error
    raw.adapters.register_loader("interval", _FiniteIntervalLoader)
    raw.adapters.register_loader("interval", _FiniteIntervalBinaryLoader)
    if one_statement:
        raw.cursor_factory = _OneStatementCursor
    return raw


def _first_settings(connection: Connection) -> str:
    """Return the settings that must hold before our first statement can set any.

    A time-out that a role or database has set could end that statement, or the session before it.
    """
    wanted = {
        "statement_timeout": f"{connection.statement_timeout_s * 1000:.0f}",
        "lock_timeout": f"{connection.lock_timeout_s * 1000:.0f}",
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "60000",
    }
    return " ".join(f"-c {name}={value}" for name, value in wanted.items())


def _no_login(error: psycopg.Error, connection: Connection) -> DatabaseError:
    """Say why nobody got in: by SQLSTATE, else by a look at the way to the server."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, pg_errors.ConnectionTimeout):
        trouble = Trouble.LOGIN_SILENT
    elif state:
        trouble = troubles.at_login(state, getattr(error, "routine", ""))
    elif getattr(error, "needs_password", False):
        trouble = Trouble.CREDENTIALS_MISSING
    else:
        trouble = reach.look(connection) or Trouble.NOT_REACHED
    return DatabaseError(
        f"{trouble}: {_words(error)}",
        where=f"connection {connection.name}",
        next_step=troubles.next_step(trouble),
        sqlstate=state,
    )


class _FiniteIntervalLoader(IntervalLoader):
    """Refuses an infinite interval (PostgreSQL 17), which psycopg reads as 0."""

    def load(self, data: Buffer) -> timedelta:
        if bytes(data).endswith(b"infinity"):
            raise psycopg.DataError(f"interval is not finite: {bytes(data).decode()!r}")
        return super().load(data)


class _FiniteIntervalBinaryLoader(IntervalBinaryLoader):
    """The same for the binary format: infinity is the largest or smallest of all three fields."""

    def load(self, data: Buffer) -> timedelta:
        if bytes(data) in _INFINITE_INTERVALS:
            raise psycopg.DataError("interval is not finite: 'infinity'")
        return super().load(data)


_INFINITE_INTERVALS = {
    struct.pack("!qii", 2**63 - 1, 2**31 - 1, 2**31 - 1),
    struct.pack("!qii", -(2**63), -(2**31), -(2**31)),
}


def fetch(
    raw: RawConnection, statement: str, values: Mapping[str, Any], *, name: str
) -> list[tuple[Any, ...]]:
    """Run one statement within the present transaction, and return all of its rows.

    Parameters
    ----------
    raw
        An open connection.
    statement
        SQL with ``%(name)s`` for each value, and ``%%`` for a percent sign.
    values
        What is bound.
    name
        The connection's name, for an error.

    Raises
    ------
    DatabaseError, QueryError
        See `translate`.
    """
    try:
        # binary: large arrays and bytes come as they are
        return raw.execute(statement.encode(), values, binary=True).fetchall()
    except psycopg.Error as error:
        raise translate(error, name) from error


def execute(raw: RawConnection, statement: str, *, name: str) -> None:
    """Run one statement that returns no rows; errors as for `fetch`."""
    try:
        raw.execute(statement.encode())
    except psycopg.Error as error:
        raise translate(error, name) from error


def roll_back(raw: RawConnection) -> None:
    """End the present transaction, if the connection still lives."""
    with contextlib.suppress(psycopg.Error):
        raw.rollback()


def cancel(raw: RawConnection, *, timeout_s: float) -> None:
    """Cancel what the connection is doing, by protocol: it works when no new session gets in."""
    with contextlib.suppress(psycopg.Error):
        raw.cancel_safe(timeout=timeout_s)


def backend_pid(raw: RawConnection) -> int:
    """Return the process id that the other end told at connect."""
    return raw.info.backend_pid


def abandon(raw: RawConnection) -> None:
    """Cut the socket under a connection whose backend no longer answers even a cancel."""
    with contextlib.suppress(OSError, psycopg.Error):
        duplicate = socket.socket(fileno=os.dup(raw.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


def quote_identifier(*parts: str) -> str:
    """Quote a possibly qualified name.

    >>> quote_identifier("shop", 'Weird " name')
    '"shop"."Weird "" name"'
    """
    return sql.Identifier(*parts).as_string(None)


def quote_literal(value: object) -> str:
    """Quote a value for SQL text that a human will copy; never for text that we execute.

    >>> quote_literal("it's"), quote_literal(None), quote_literal(7)
    ("'it''s'", 'NULL', '7')
    """
    return sql.Literal(value).as_string(None)


# Catalogues that superusers alone read: nobody should be led to grant them. A server translates
# the words around the name of an object, and not the name.
_CLOSED = re.compile(
    r"\bpg_(?:authid|shadow|statistic|statistic_ext_data|largeobject|subscription|user_mapping"
    r"|file_settings|hba_file_rules|ident_file_mappings|replication_origin_status)\b"
)


# SQLSTATE classes and codes of a patient that is sick, slow, locked or closed; every other code
# tells of wrong SQL. Without a code the connection was lost.
_SICK = {"", "08", "28", "3D", "53", "57", "58", "XX", "42501", "55P03", "25P03", "25P04"}


def _words(error: BaseException) -> str:
    """Return the server's words, or libpq's own, in one line."""
    diagnosis = getattr(error, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(error)
    return " ".join(text.split("\n\n")[0].split())


def translate(error: Exception, connection_name: str) -> RbkernelError:
    """Turn a driver's error into ours: `DatabaseError` when the patient is sick or forbids,
    `QueryError` when the SQL is wrong.
    """
    original = getattr(error, "orig", None) or error
    text = _words(original)
    state = getattr(original, "sqlstate", None) or ""
    where = f"connection {connection_name}"
    if not state and isinstance(original, psycopg.DataError):
        advice = "mend that value, or cast its column to text in the SQL"
        return QueryError(text, where=where, next_step=advice)
    if state[:2] == "40" or isinstance(original, pg_errors.ObjectInUse):
        return DatabaseError(text, where=where, next_step="run the cell again", sqlstate=state)
    if state[:2] in _SICK or state in _SICK:
        trouble = troubles.afterwards(state)
        if trouble is Trouble.FORBIDDEN and _CLOSED.search(text):
            trouble = Trouble.CLOSED_CATALOGUE
        advice = troubles.next_step(trouble)
        return DatabaseError(text, where=where, next_step=advice, sqlstate=state)
    return QueryError(text, where=where, next_step="mend the SQL and run the cell again")
