"""Fault: replay on the standby cancels the queries of a report again and again.

Either the primary removes rows that the report may still need, or it alters the table that the
report reads. One process (module queries) reads on the standby and changes the table on the
primary. Replay waits less than a second for the report, so the standby is not late.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

CANCELLED = "readers-cancelled"
LOCKED_OUT = "readers-locked-out"
TABLE = "shop_prices"
READER = "shop-report"
WRITER = "shop-price-update"

# autovacuum leaves the table to the fault; dead rows for a moment are not overdue
_UNTOUCHED = "autovacuum_vacuum_threshold = 100000"
_CREATE = f"CREATE TABLE {TABLE} (id int PRIMARY KEY, cents int) WITH ({_UNTOUCHED})"
_FILL = f"INSERT INTO {TABLE} SELECT n, n FROM generate_series(1, %s) AS n".encode()
_GRANT = f"GRANT SELECT ON {TABLE} TO shop_app".encode()
_ARRIVED = b"SELECT to_regclass(%s) IS NOT NULL"
_BEGIN = b"BEGIN ISOLATION LEVEL REPEATABLE READ"
_READ = f"SELECT count(*) FROM {TABLE}".encode()
_GO_ON = f"SELECT count(*), pg_sleep(5) FROM {TABLE}".encode()
_SETTINGS = {"max_standby_streaming_delay": "700ms", "hot_standby_feedback": "off"}
_SET = b"SELECT current_setting(%s) = %s"
_COUNT = """SELECT confl_{0} >= %s, confl_{0} FROM pg_stat_database_conflicts
WHERE datname = current_database()"""
_TERMINATE = b"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name IN (%s, %s)"""
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name IN (%s, %s)"
_DROP = f"DROP TABLE IF EXISTS {TABLE}".encode()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the faults: its name, how PostgreSQL counts it, and what the primary does."""

    fault: str
    conflict: str
    changes: tuple[str, ...]


KINDS = {
    one.fault: one
    for one in (
        Kind(
            fault=CANCELLED,
            conflict="snapshot",
            # truncating takes a lock, which is the conflict of the other kind
            changes=(
                f"UPDATE {TABLE} SET cents = cents + 1",
                f"VACUUM (TRUNCATE false) {TABLE}",
            ),
        ),
        Kind(
            fault=LOCKED_OUT,
            conflict="lock",
            changes=(f"ALTER TABLE {TABLE} ALTER cents SET DEFAULT 1",),
        ),
    )
}


def start(kind: Kind, access: Access, seed: int) -> dict[str, Any]:
    """Let the report run, and wait until replay has cancelled it twice."""
    number = random.Random(f"{kind.fault}/{seed}").randint(100, 900)  # noqa: S311 - of a drill
    with access.connect("postgres") as raw:
        raw.execute(_CREATE.encode())
        raw.execute(_FILL, [number])
        raw.execute(_GRANT)
    with access.connect("postgres", "standby") as raw:
        for name, value in _SETTINGS.items():
            raw.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        raw.execute(b"SELECT pg_reload_conf()")
        for name, value in _SETTINGS.items():
            waiting.until(raw, _SET, [name, value], what=f"{name} is set on the standby")
        waiting.until(raw, _ARRIVED, [TABLE], what="the table is on the standby")
        count = _COUNT.format(kind.conflict).encode()
        _, before = waiting.until(raw, count, [0], what="conflicts are counted")
        processes.launch_module(
            "queries", access.home, kind.fault, str(seed), log=access.home.log(kind.fault)
        )
        waiting.until(raw, count, [before + 2], what=f"replay cancels {READER}")
    return {"table": TABLE, "conflict": kind.conflict, "reader": READER, "rows": number}


def stop(kind: Kind, access: Access, _: int) -> None:
    """End the report and the changes, restore the standby's settings, and drop the table.

    The standby forgets its counters: they would say that queries were cancelled there.
    """
    processes.stop(access.home, kind.fault)
    for server in ("standby", "primary"):
        with access.connect("postgres", server) as raw:
            raw.execute(_TERMINATE, [READER, WRITER])
            waiting.until(raw, _GONE, [READER, WRITER], what=f"no session of {READER} is left")
    with access.connect("postgres", "standby") as raw:
        for name in _SETTINGS:
            raw.execute(f"ALTER SYSTEM RESET {name}".encode())
        raw.execute(b"SELECT pg_reload_conf(), pg_stat_reset()")
    with access.connect("postgres") as raw:
        raw.execute(_DROP)


def repeat(kind: Kind, access: Access) -> None:
    """Run the report on the standby, and change its table meanwhile, until a server is gone."""
    reader = _reader(access)
    writer = access.connect("postgres", application_name=WRITER)
    while True:
        if reader.closed:  # between two statements, a conflict ends the session
            reader = _reader(access)
        with suppress(driver.RawConnection.Error):
            reader.execute(_BEGIN)
            reader.execute(_READ)
            reader.pgconn.send_query(_GO_ON)
        for change in kind.changes:
            writer.execute(change.encode())
        with suppress(driver.RawConnection.Error):
            while reader.pgconn.get_result() is not None:
                pass  # usually, that it was cancelled
            reader.execute(b"ROLLBACK")


def _reader(access: Access) -> driver.RawConnection:
    return access.connect("shop_app", "standby", application_name=READER)
