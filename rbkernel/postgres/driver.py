"""The only module that uses psycopg: connect, cancel, quote, and name what went wrong.

How values are read is in `rbkernel.postgres.loaders`.

Everything else in rbkernel speaks SQLAlchemy. Connections are opened with keyword parameters and
never with a DSN string, because libpq's complaint about a malformed one echoes a part of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping
from typing import Any, Self

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql

from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.postgres import loaders, settings
from rbkernel.postgres.values import decoded

RawConnection = psycopg.Connection[Any]

# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes.
_APPLICATION_NAME_BYTES = 63


class _Described(psycopg.Cursor[Any]):
    """Names every column of a result, also one whose name is not valid in the encoding."""

    @property
    def description(self) -> list[psycopg.Column] | None:
        """The columns of the result."""
        try:
            return super().description
        except UnicodeDecodeError:
            count = self.pgresult.nfields if self.pgresult else 0
            return [_EscapedColumn(self, place) for place in range(count)]


class _OneStatementCursor(_Described):
    """Speaks the extended protocol always: the server itself refuses a second statement."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if not params:
            # without values psycopg uses the simple protocol, unless the result is to be binary
            options["binary"] = True
        return super().execute(query, params, **options)


class _ServerCursor(_Described, psycopg.ServerCursor[Any]):
    """A cursor of the server's, for results of any size."""


class _EscapedColumn(psycopg.Column):
    """A column of a result; bytes of its name that are not valid in the encoding are escaped."""

    def __init__(self, cursor: psycopg.Cursor[Any], index: int) -> None:
        super().__init__(_AnyBytes(cursor), index)  # type: ignore[arg-type]  # what it reads of one
        self._name = decoded(self._name.encode("latin-1"), cursor.connection.info.encoding)


class _AnyBytes:
    """A cursor as `psycopg.Column` reads it, in an encoding in which all bytes are valid."""

    _encoding = "latin-1"

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self.pgresult = cursor.pgresult
        self.adapters = cursor.adapters


def connect(
    connection: Connection,
    *,
    application_name: str,
    autocommit: bool = False,
    guarded: bool = False,
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
    guarded
        For diagnostics: each transaction begins read-only, the server refuses a text of two
        statements, and a value that Python cannot hold is read as text.

    Raises
    ------
    DatabaseError
        Refused, unreachable, wrong password, or no slot is left.
    """
    parameters: dict[str, Any] = dict(connection.libpq_parameters())
    if (password := connection.password()) is not None:
        parameters["password"] = password
    if guarded:
        # every server takes it; each transaction then sets what fits the database
        parameters["client_encoding"] = "SQL_ASCII"
    try:
        raw = psycopg.connect(
            **parameters,
            application_name=application_name.encode()[:_APPLICATION_NAME_BYTES].decode(
                errors="ignore"
            ),
            autocommit=autocommit,
            # poolers in transaction mode lose server-side prepared statements
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise translate(error, connection.name) from error
    if guarded:
        _guard(raw)
    return raw


def _guard(raw: RawConnection) -> None:
    # what a role or database sets as its default does not count
    raw.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    raw.read_only = True
    raw.deferrable = False
    raw.cursor_factory = _OneStatementCursor
    raw.server_cursor_factory = _ServerCursor
    loaders.register(raw)


def encoding(raw: RawConnection) -> str:
    """Return the ``client_encoding`` in which the server has to convert nothing."""
    told = raw.pgconn.parameter_status(b"server_encoding") or b"UTF8"
    return settings.client_encoding(told.decode())


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
    except UnicodeDecodeError as error:
        found = bytes(error.object)[max(0, error.start - 20) : error.end + 20]
        raise QueryError(
            f"a value is not valid {error.encoding} text: {found!r}",
            where=f"connection {name}",
            next_step="correct that value, or leave its row or column out",
        ) from error


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


# What can go wrong because the patient is sick, by SQLSTATE class or code, and what to do then.
_ADVICE = {
    "28P01": "check the password source of this connection",
    "28": "check user, pg_hba.conf and the password source of this connection",
    "3D000": "check dbname of this connection",
    "42501": "grant the diagnostic role pg_monitor, and SELECT on the tables it should read",
    "closed": "leave it closed: only superusers read it; ask pg_roles, pg_settings or another view"
    " that is open to all",
    "53300": "the server has no free slot for this role: open RUN-001 (pool exhaustion)",
    "55P03": "something holds a lock that this query needs: open RUN-007 (blocking locks)",
    "57014": "the server is slow or blocked: look at active sessions and locks first",
    "57P": "the server is starting, stopping or was stopped: check its state and log",
    "08": "check that the server runs, and host and port of this connection",
    "silent": "the host may be gone, or the server stuck: frozen, out of memory, its catalogue"
    " locked; look at it from its own host",
}


# Catalogues that hold secrets, such as pg_authid: nobody should be led to grant them.
_CLOSED = re.compile(r"for (?:table|view|column \w+ of relation) pg_(?!stat_)")

# A refused login carries no SQLSTATE, only the server's words.
_SAID = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "pg_hba.conf": "28",
    "authentication failed": "28",
    "not permitted to log in": "28",
    "too many clients": "53300",
    "too many connections": "53300",
    "connection slots are reserved": "53300",
    "no more connections allowed": "53300",
    "starting up": "57P",
    "shutting down": "57P",
    "recovery mode": "57P",
    'role "': "28",
    'database "': "3D000",
}


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE that an error of ours was made from, if the server gave one."""
    cause = getattr(error, "__cause__", None)
    return getattr(getattr(cause, "orig", cause), "sqlstate", None)


def translate(error: Exception, connection_name: str) -> RbkernelError:
    """Turn a driver's error into ours: `DatabaseError` when the patient is sick or forbids,
    `QueryError` when the SQL is wrong.
    """
    original = getattr(error, "orig", None) or error
    diagnosis = getattr(original, "diag", None)
    # libpq's own errors, such as a refused connection, have no diagnosis
    text = getattr(diagnosis, "message_primary", None) or str(original)
    text = " ".join(text.split("\n\n")[0].split("\n")).strip()
    state = getattr(original, "sqlstate", None) or _state_of(text)
    where = f"connection {connection_name}"
    if isinstance(original, pg_errors.ConnectionTimeout):
        return DatabaseError(f"no login: {text}", where=where, next_step=_ADVICE["silent"])
    if state is None and isinstance(original, psycopg.DataError):
        advice = "mend that value, or cast its column to text in the SQL"
        return QueryError(text, where=where, next_step=advice)
    if state is None or state[:2] in {"08", "28", "3D", "53", "57", "58", "XX"}:
        return DatabaseError(text, where=where, next_step=_advice(state or "08"))
    if isinstance(original, pg_errors.InsufficientPrivilege) and _CLOSED.search(text):
        return DatabaseError(text, where=where, next_step=_ADVICE["closed"])
    if isinstance(original, pg_errors.InsufficientPrivilege | pg_errors.LockNotAvailable):
        return DatabaseError(text, where=where, next_step=_advice(state))
    if state[:2] == "40" or isinstance(original, pg_errors.ObjectInUse):
        return DatabaseError(text, where=where, next_step="run the cell again")
    return QueryError(text, where=where, next_step="mend the SQL and run the cell again")


def _state_of(text: str) -> str | None:
    """Find the SQLSTATE that a refusal's words stand for.

    >>> _state_of('FATAL:  password authentication failed for user "x"'), _state_of("timeout")
    ('28P01', None)
    """
    if "FATAL" not in text:
        return None
    return next((state for words, state in _SAID.items() if words in text), None)


def _advice(state: str) -> str:
    return next(_ADVICE[key] for key in (state, state[:3], state[:2], "08") if key in _ADVICE)
