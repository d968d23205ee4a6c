"""What went wrong, as the driver tells it: a sick patient, or wrong SQL."""

from __future__ import annotations

import pytest
from psycopg import DataError, Error, OperationalError
from psycopg import errors as pg

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.sources.postgres.connection import driver


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (OperationalError("connection refused"), DatabaseError, "check that the server runs"),
        (DataError("timestamp too large"), QueryError, "cast its column to text"),
        (pg.TooManyConnections("no slot"), DatabaseError, "RUN-001"),
        (pg.InvalidPassword("no"), DatabaseError, "password source"),
        (pg.InvalidAuthorizationSpecification("no"), DatabaseError, "pg_hba.conf"),
        (pg.InvalidCatalogName("no"), DatabaseError, "dbname"),
        (pg.InsufficientPrivilege("no"), DatabaseError, "pg_monitor"),
        (
            pg.InsufficientPrivilege("permission denied for table pg_authid"),
            DatabaseError,
            "do not grant access",
        ),
        (pg.InsufficientPrivilege("permission denied for table orders"), DatabaseError, "SELECT"),
        (pg.QueryCanceled("timeout"), DatabaseError, "active sessions"),
        (pg.LockNotAvailable("lock"), DatabaseError, "RUN-007"),
        (pg.AdminShutdown("bye"), DatabaseError, "starting, stopping"),
        (pg.CannotConnectNow("starting"), DatabaseError, "starting, stopping"),
        (pg.DeadlockDetected("dead"), DatabaseError, "run the cell again"),
        (pg.SerializationFailure("conflict with recovery"), DatabaseError, "run the cell again"),
        (pg.ObjectInUse("in use"), DatabaseError, "run the cell again"),
        (pg.OutOfMemory("memory"), DatabaseError, ""),
        (pg.SyntaxError("near x"), QueryError, "correct the SQL"),
        (pg.UndefinedTable("no table"), QueryError, "correct the SQL"),
        (pg.UndefinedColumn("no column"), QueryError, "correct the SQL"),
        (pg.ReadOnlySqlTransaction("read-only"), QueryError, ""),
        (pg.DivisionByZero("zero"), QueryError, "correct the SQL"),
    ],
)
def test_translate(error: Error, kind: type[Exception], advice: str) -> None:
    told = driver.translate(error, "orders")
    assert type(told) is kind
    assert advice in told.next_step
    assert told.next_step
    assert told.where == "connection orders"
    assert str(error) in told.what


def test_translate_is_one_line() -> None:
    told = driver.translate(OperationalError("first\nsecond\n\nhint"), "orders")
    assert told.what == "first second"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("it's", "'it''s'"),
        (None, "NULL"),
        (True, "true"),
        (7, "7"),
        ("a\\b", r" E'a\\b'"),
    ],
)
def test_quote_literal(value: object, quoted: str) -> None:
    assert driver.quote_literal(value) == quoted


@pytest.mark.parametrize(
    ("parts", "quoted"),
    [
        (("orders",), '"orders"'),
        (("shop", "orders"), '"shop"."orders"'),
        (('a"; DROP TABLE b; --',), '"a""; DROP TABLE b; --"'),
    ],
)
def test_quote_identifier(parts: tuple[str, ...], quoted: str) -> None:
    assert driver.quote_identifier(*parts) == quoted
