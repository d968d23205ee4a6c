"""Run the queries that teams write with SQLAlchemy, in a transaction that rbkernel begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, create_engine, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGExecutionContext_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from rbkernel.checks.answer import Column
from rbkernel.errors import QueryError
from rbkernel.sources.postgres.connection import driver
from rbkernel.sql import lexer


class _ExecutionContext(PGExecutionContext_psycopg):
    """SQLAlchemy's execution context, which uses rbkernel's name for the server-side cursor."""

    def create_server_side_cursor(self) -> Any:
        """Open the transaction's only server-side cursor."""
        return self._dbapi_connection.cursor(driver.CURSOR)


class _Dialect(PGDialect_psycopg):
    """SQLAlchemy's dialect without its first queries, which would run before time-outs are set."""

    supports_statement_cache = True
    execution_ctx_cls = _ExecutionContext

    def initialize(self, connection: Connection) -> None:
        """Send no query when SQLAlchemy connects."""


registry.register("postgresql.rbkernel", __name__, "_Dialect")


class _Result:
    """The rows of a query, fetched by SQLAlchemy."""

    def __init__(self, result: CursorResult[Any]) -> None:
        self._result = result
        # read now, because the cursor is closed with the last row
        described: Sequence[Sequence[Any]] = (result.cursor and result.cursor.description) or ()
        self.columns = tuple(Column(one[0], one[1]) for one in described)

    def fetchmany(self, size: int) -> Sequence[Sequence[Any]]:
        """Return the next rows of the result, at most the given number."""
        return self._result.fetchmany(size)

    def close(self) -> None:
        """Close the result of the query."""
        self._result.close()


def engine(raw: driver.RawConnection) -> Engine:
    """Return an SQLAlchemy engine that uses one open connection and does not close it."""
    return create_engine("postgresql+rbkernel://", creator=lambda: raw, poolclass=StaticPool)


@contextmanager
def asking(engine: Engine) -> Iterator[driver.Ask]:
    """Yield a function that runs a query on the engine's connection; it raises the driver's errors.

    Enter this context before the transaction begins, because SQLAlchemy rolls back any transaction
    that is open when it first uses a connection.
    """
    try:
        with engine.connect() as connection:
            yield partial(_ask, connection)
    except DBAPIError as error:
        raise error.orig or error from None  # the original error already has its cause


def _ask(connection: Connection, sql: str, values: Mapping[str, Any]) -> _Result:
    if lexer.is_cursor_query(sql):
        # a server-side cursor, so that the caps also limit the rows that the server sends
        connection = connection.execution_options(stream_results=True)
    result = connection.execute(text(lexer.to_sqlalchemy(sql)), dict(values))
    if not result.returns_rows or result.cursor is None:
        raise QueryError(
            "the statement returns no rows",
            where=lexer.first_line(sql),
            next_step="write a SELECT: changes are proposed with rb.act",
        )
    return _Result(result)
