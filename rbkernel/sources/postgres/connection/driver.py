"""The only module that uses psycopg: it connects, cancels, quotes, and translates errors.

`loaders` reads values. The SQL of teams is sent through SQLAlchemy (`alchemy`). Connections are
opened with keyword parameters, never with a DSN string: libpq's error for a malformed DSN repeats a
part of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, cast

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql

from rbkernel.checks.answer import Column
from rbkernel.checks.values import decoded
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError, QueryError, RbkernelError
from rbkernel.sources.postgres.connection import loaders, login, reach, settings, troubles
from rbkernel.sources.postgres.connection.troubles import Trouble
from rbkernel.sql import lexer

RawConnection = psycopg.Connection[Any]
Error = psycopg.Error
# One cursor name for all queries: with different names, each would be a separate entry of the
# server's pg_stat_statements.
CURSOR = "rbkernel"

# the first version that has transaction_timeout: release notes of PostgreSQL 17
_TRANSACTION_TIMEOUT = 170000
# PostgreSQL cuts application_name at NAMEDATALEN - 1 bytes.
_APPLICATION_NAME_BYTES = 63


class _Described(psycopg.Cursor[Any]):
    """A psycopg cursor that can also read column names that are not valid in the encoding."""

    @property
    def description(self) -> list[psycopg.Column] | None:
        """The columns of the cursor's result."""
        try:
            return super().description
        except UnicodeDecodeError:
            count = self.pgresult.nfields if self.pgresult else 0
            return [_EscapedColumn(self, place) for place in range(count)]


class _OneStatementCursor(_Described):
    """A cursor that uses the extended protocol: the server then refuses two statements at once."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if not params:
            # for a query without values, psycopg uses the extended protocol only if the result is
            # binary
            options["binary"] = True
        return super().execute(query, params, **options)


class _ServerCursor(_Described, psycopg.ServerCursor[Any]):
    """A server-side cursor, for results of any size."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of each row of the result."""
        return tuple(Column(one.name, one.type_code) for one in self.description or ())

    def close(self) -> None:
        """Close the cursor; ignore errors of a closed session.

        SQLAlchemy would log such an error with a traceback.
        """
        try:
            super().close()
        except psycopg.OperationalError:
            if not self.connection.closed:
                raise


class Result(Protocol):
    """A query's result, read in batches."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the result; read them before the rows."""

    def fetchmany(self, size: int, /) -> Sequence[Sequence[Any]]:
        """Return the next rows of the result, at most the given number."""

    def close(self) -> None:
        """Close the result; errors of a closed session are ignored."""


# a function that runs a query in the current transaction; arguments: text with ``:name``, values
Ask = Callable[[str, Mapping[str, Any]], Result]


class _EscapedColumn(psycopg.Column):
    """A column of a result, with invalid bytes of the name escaped."""

    def __init__(self, cursor: psycopg.Cursor[Any], index: int) -> None:
        super().__init__(_AnyBytes(cursor), index)  # type: ignore[arg-type]  # all that it reads
        self._name = decoded(self._name.encode("latin-1"), cursor.connection.info.encoding)


class _AnyBytes:
    """Replaces the cursor that `psycopg.Column` reads; its encoding accepts every byte."""

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
    all_timeouts: bool = False,
    version_num: int = 0,
) -> RawConnection:
    """Open a connection to PostgreSQL.

    Parameters
    ----------
    connection
        The named connection.
    application_name
        Shown by the server; cut at 63 bytes, as the server does.
    autocommit
        Whether each statement is a separate transaction.
    guarded
        For diagnostics: each transaction begins read-only, the server refuses a text of two
        statements, and a value that Python cannot hold is read as text.
    all_timeouts
        Whether all time-outs apply from the login on; see `_first_settings`.
    version_num
        The server's version, such as 170002, if known from an earlier login.

    Raises
    ------
    DatabaseError
        The server refuses the connection or cannot be reached, the password is wrong, or no slot is
        free.
    """
    parameters: dict[str, Any] = dict(connection.libpq_parameters())
    if (password := connection.password()) is not None:
        parameters["password"] = password
    if guarded:
        # every server accepts this encoding; each transaction then sets the database's encoding
        parameters["client_encoding"] = "SQL_ASCII"
    try:
        raw = login.connect(
            **parameters,
            options=_first_settings(connection, version_num, all_timeouts) if guarded else "",
            application_name=application_name.encode()[:_APPLICATION_NAME_BYTES].decode(
                errors="ignore"
            ),
            autocommit=autocommit,
            # poolers in transaction mode lose server-side prepared statements
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise _no_login(error, connection) from error
    if guarded:
        _guard(raw)
    return raw


def _first_settings(connection: Connection, version_num: int, all_timeouts: bool) -> str:
    """Return the settings that are sent with the login, because the first statement is too late.

    The role or the database may set time-outs. A login can wait for a lock on the catalogue, and an
    idle time-out can end the session between two queries. So lock_timeout and idle_session_timeout
    are always sent. The other time-outs can end the first statement. They are sent only after this
    has happened (``all_timeouts``), because a setting that is sent at login hides the server's own
    value. The setting `settings.AT_LOGIN` lists the names of all settings sent at login, so that
    the diagnostic `settings/notable` can tell which values are hidden.
    """
    wanted = {
        "lock_timeout": f"{connection.lock_timeout_s * 1000:.0f}",
        "idle_session_timeout": "0",
    }
    if all_timeouts:
        wanted["statement_timeout"] = f"{connection.statement_timeout_s * 1000:.0f}"
        wanted["idle_in_transaction_session_timeout"] = "60000"
        wanted |= no_transaction_timeout(version_num)
    wanted[settings.AT_LOGIN] = ",".join(wanted)
    return " ".join(f"-c {name}={value}" for name, value in wanted.items())


def no_transaction_timeout(version_num: int) -> dict[str, str]:
    """Return the setting that turns off the transaction time-out, if the server has one.

    The transaction time-out is not needed, because the statement time-out and the deadline limit
    rbkernel's transactions.
    """
    return {"transaction_timeout": "0"} if version_num >= _TRANSACTION_TIMEOUT else {}


def version_num(raw: RawConnection) -> int:
    """Return the server's version as reported at login, such as 170002."""
    return raw.info.server_version


def _no_login(error: psycopg.Error, connection: Connection) -> DatabaseError:
    """Return the error for a failed login, from its SQLSTATE or, if it has none, from a network
    test.
    """
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, pg_errors.ConnectionTimeout):
        trouble = Trouble.LOGIN_SILENT
    elif state:
        trouble = troubles.at_login(state, getattr(error, "routine", ""))
    elif getattr(error, "needs_password", False):
        trouble = Trouble.CREDENTIALS_MISSING
    elif connection.service and getattr(error, "unresolved", False):
        trouble = Trouble.NO_SERVICE
    else:
        trouble = reach.look(connection) or Trouble.NOT_REACHED
    return troubles.error(
        trouble,
        f"{trouble}: {_words(error)}",
        where=f"connection {connection.name}",
        sqlstate=state,
    )


def _guard(raw: RawConnection) -> None:
    # the defaults of a role or database are ignored
    raw.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    raw.read_only = True
    raw.deferrable = False
    raw.cursor_factory = _OneStatementCursor
    raw.server_cursor_factory = _ServerCursor
    loaders.register(raw)


def one_row(raw: RawConnection, statement: str, values: Mapping[str, Any]) -> Sequence[Any]:
    """Run a statement with ``%(name)s`` for each value, and return its only row; raises `Error`."""
    [row] = raw.execute(statement.encode(), values).fetchall()
    return cast("Sequence[Any]", row)


def ask(raw: RawConnection, sql: str, values: Mapping[str, Any]) -> Result:
    """Run one query with a server-side cursor; ``:name`` stands for each bound value.

    Because of this cursor, the caps also limit the rows that the server sends.

    Raises
    ------
    Error
        The driver's error; see `translate`.
    """
    cursor = cast("_ServerCursor", raw.cursor(CURSOR))
    try:
        return cursor.execute(lexer.to_driver(sql), values)
    except BaseException:
        cursor.close()
        raise


def encoding(raw: RawConnection) -> str:
    """Return the ``client_encoding`` with which the server need not convert text."""
    reported = raw.pgconn.parameter_status(b"server_encoding") or b"UTF8"
    return settings.client_encoding(reported.decode())


def fetch(
    raw: RawConnection, statement: str, values: Mapping[str, Any], *, name: str
) -> list[tuple[Any, ...]]:
    """Run one statement in the current transaction, and return all rows of its result.

    Parameters
    ----------
    raw
        An open connection.
    statement
        SQL with ``%(name)s`` for each value, and ``%%`` for a percent sign.
    values
        The bound values.
    name
        The connection's name, for errors.

    Raises
    ------
    DatabaseError, QueryError
        See `translate`.
    """
    try:
        # binary format, so that large arrays and bytea are not converted to text
        return raw.execute(statement.encode(), values, binary=True).fetchall()
    except psycopg.Error as error:
        raise translate(error, name) from error
    except UnicodeDecodeError as error:
        found = bytes(error.object)[max(0, error.start - 20) : error.end + 20]
        raise QueryError(
            f"a value is not valid {error.encoding} text: {found!r}",
            where=f"connection {name}",
            next_step="correct that value, or exclude its row or column",
        ) from error


def execute(raw: RawConnection, statement: str, *, name: str) -> None:
    """Run one statement that returns no rows; errors as for `fetch`."""
    try:
        raw.execute(statement.encode())
    except psycopg.Error as error:
        raise translate(error, name) from error


def commit(raw: RawConnection, *, name: str) -> None:
    """Commit the current transaction; errors as for `fetch`."""
    try:
        raw.commit()
    except psycopg.Error as error:
        raise translate(error, name) from error


def roll_back(raw: RawConnection) -> None:
    """Roll back the current transaction; close the connection if that fails."""
    try:
        raw.rollback()
    except psycopg.Error:
        raw.close()


def cancel(raw: RawConnection, *, timeout_s: float) -> None:
    """Cancel the running query by a protocol message, which needs no new session."""
    with contextlib.suppress(psycopg.Error):
        raw.cancel_safe(timeout=timeout_s)


def backend_pid(raw: RawConnection) -> int:
    """Return the process id that the server, or a pooler, reported at connect."""
    return raw.info.backend_pid


def abandon(raw: RawConnection) -> None:
    """Shut down the socket of a connection whose backend ignores even a cancel request."""
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
    """Quote a value for SQL text that a human will copy; never for text that rbkernel executes.

    >>> quote_literal("it's"), quote_literal(None), quote_literal(7)
    ("'it''s'", 'NULL', '7')
    """
    return sql.Literal(value).as_string(None)


# Catalogues that only superusers may read: error messages do not suggest to grant access. They are
# recognized by name, because a server translates messages, but not the names of objects.
_CLOSED = re.compile(
    r"\bpg_(?:authid|shadow|statistic|statistic_ext_data|largeobject|subscription|user_mapping"
    r"|file_settings|hba_file_rules|ident_file_mappings|replication_origin_status)\b"
)


# SQLSTATE classes and codes for problems of the server (failing, slow, locked, closed). Every other
# code means wrong SQL. An error without a code means that the connection was lost.
_SICK = {"", "08", "28", "3D", "53", "57", "58", "XX", "42501", "55P03", "25P03", "25P04"}


def _words(error: BaseException) -> str:
    """Return the message of an error of the server or of libpq, in one line."""
    diagnosis = getattr(error, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(error)
    # removes libpq's question whether the server is running, because `reach` checks this
    return " ".join(text.split("\n\n")[0].split("\n\tIs the server running")[0].split())


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of the server's error that caused an error of rbkernel; None if none."""
    cause = getattr(error, "__cause__", None)
    return getattr(getattr(cause, "orig", cause), "sqlstate", None)


def ended_by_timeout(error: Error) -> bool:
    """Return whether a server-side time-out may have ended a statement or the session.

    A terminated session often looks like a lost connection, without a code.
    """
    return error.sqlstate in {None, "57014", "57P05", "25P03", "25P04"}


def ended_by_replay(error: Error) -> bool:
    """Return whether the replay of a standby may have ended a statement, which can be repeated."""
    return (error.sqlstate or "").startswith("40")


def translate(error: Exception, connection_name: str) -> RbkernelError:
    """Return the error of rbkernel for an error of psycopg.

    The result is a `DatabaseError` if the server fails or refuses, and a `QueryError` if the SQL is
    wrong.
    """
    original = getattr(error, "orig", None) or error
    text = _words(original)
    state = getattr(original, "sqlstate", None) or ""
    where = f"connection {connection_name}"
    if not state and isinstance(original, psycopg.DataError | psycopg.ProgrammingError):
        advice = "correct that value, or cast its column to text in the SQL"
        return QueryError(text, where=where, next_step=advice)
    if state[:2] == "40" or isinstance(original, pg_errors.ObjectInUse):
        return DatabaseError(text, where=where, next_step="run the cell again", sqlstate=state)
    if state[:2] in _SICK or state in _SICK:
        trouble = troubles.afterwards(state)
        if trouble is Trouble.FORBIDDEN and _CLOSED.search(text):
            trouble = Trouble.CLOSED_CATALOGUE
        return troubles.error(trouble, text, where=where, sqlstate=state)
    return QueryError(text, where=where, next_step="correct the SQL and run the cell again")
