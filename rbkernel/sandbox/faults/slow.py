"""Fault: a statement became slow: a dropped index, wrong statistics, or larger requests.

The statement runs fast for a while, so that it has a past. Then something changes, and a process of
its own (module queries) repeats it. The symptom, high latency, is the same for each of the faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

DROPPED = "index-dropped"
STALE = "statistics-stale"
LARGER = "requests-larger"
TABLE = "shop_cart_items"
INDEX = "shop_cart_items_customer"
CLIENT = "shop-cart"

# the same statement for each fault; pg_stat_statements counts it as one
STATEMENT = f"SELECT id, note FROM {TABLE} WHERE customer_id = ANY(%s)".encode()
_ROWS, _OF_A_CUSTOMER = 100_000, 10
_CUSTOMER = 7
# so many calls that those of the next minute, which are slow, hardly change the mean of the past
_PAST = 15_000

_CREATE = f"CREATE TABLE {TABLE} (id int PRIMARY KEY, customer_id int NOT NULL, note text NOT NULL)"
_AUTOVACUUM_OFF = " WITH (autovacuum_enabled = false)"
_INDEX = f"CREATE INDEX {INDEX} ON {TABLE} (customer_id)".encode()
_COUNTS = b"SELECT to_regclass('pg_stat_statements') IS NOT NULL"
# an earlier fault has run the same statement, slowly
_FORGET = b"""SELECT pg_stat_statements_reset(userid, dbid, queryid) FROM pg_stat_statements
WHERE query LIKE %s"""
_GRANT = f"GRANT SELECT ON {TABLE} TO shop_app".encode()
_FILL = f"""INSERT INTO {TABLE} SELECT n, {{customer}}, repeat('x', 60)
FROM generate_series(1, {_ROWS}) AS n"""
_REAL = _FILL.format(customer=f"1 + n / {_OF_A_CUSTOMER}").encode()
# as a load leaves them before it knows the customers
_UNASSIGNED = _FILL.format(customer=_CUSTOMER).encode()
_ANALYZE = f"ANALYZE {TABLE}".encode()
# otherwise the rows that this session wrote are counted after its ANALYZE
_FLUSH = b"SELECT pg_stat_force_next_flush()"
_TRUNCATE = f"TRUNCATE {TABLE}".encode()
_DROP_INDEX = f"DROP INDEX {INDEX}".encode()
_DROP = f"DROP TABLE IF EXISTS {TABLE}".encode()
_RUNS = b"SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = %s AND query ~ %s"
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s"
_TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the faults: its name, what changes, and the customers that are then asked for."""

    fault: str
    change: tuple[bytes, ...]
    options: str = ""
    customers: int = 1


KINDS = {
    one.fault: one
    for one in (
        Kind(fault=DROPPED, change=(_DROP_INDEX,)),
        # ANALYZE sees one customer; the rows that replace these are not analyzed
        Kind(
            fault=STALE,
            change=(_TRUNCATE, _UNASSIGNED, _FLUSH, _ANALYZE, _TRUNCATE, _REAL),
            options=_AUTOVACUUM_OFF,
        ),
        Kind(fault=LARGER, change=(), customers=200),
    )
}


def start(kind: Kind, access: Access, seed: int) -> dict[str, Any]:
    """Give the statement a past, change what the fault changes, and repeat the statement."""
    with access.connect("postgres") as raw:
        for statement in (
            (_CREATE + kind.options).encode(),
            _INDEX,
            _GRANT,
            _REAL,
            _FLUSH,
            _ANALYZE,
        ):
            raw.execute(statement)
        if raw.execute(_COUNTS).fetchone() == (True,):
            raw.execute(_FORGET, [f"%{TABLE}%"])
        with access.connect("shop_app", application_name=CLIENT) as client, client.pipeline():
            for _ in range(_PAST):
                client.execute(STATEMENT, [[_CUSTOMER]])
        for statement in kind.change:
            raw.execute(statement)
        processes.launch_module(
            "queries", access.home, kind.fault, str(seed), log=access.home.log(kind.fault)
        )
        waiting.until(raw, _RUNS, [CLIENT, TABLE], what=f"{CLIENT} runs its statement")
    return {"table": TABLE, "index": INDEX, "application_name": CLIENT}


def stop(kind: Kind, access: Access, _: int) -> None:
    """End the process that repeats the statement, and drop the table."""
    processes.stop(access.home, kind.fault)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [CLIENT])
        waiting.until(raw, _GONE, [CLIENT], what=f"the session of {CLIENT} ends")
        raw.execute(_DROP)


def customers(fault: str) -> list[int]:
    """Return the customers whose items the statement reads while a fault is active."""
    return list(range(_CUSTOMER, _CUSTOMER + KINDS[fault].customers))


def repeat(raw: driver.RawConnection, fault: str, rest: Callable[[], object]) -> None:
    """Repeat the statement of a fault until its session ends."""
    # one worker more or less would make the durations of two runs hard to compare
    raw.execute(b"SET max_parallel_workers_per_gather = 0")
    asked: Sequence[int] = customers(fault)
    while True:
        raw.execute(STATEMENT, [asked])
        rest()
