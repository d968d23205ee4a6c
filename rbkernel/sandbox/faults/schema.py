"""Fault: something of the schema is about to fail: a half-way migration, a sequence near its end.

A migration that is still building its index looks like one that was left half-way, and must be left
alone. The sessions of that one belong to a detached process (module sessions).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

HALF_WAY = "migration-half-way"
BUILDING = "index-building"
ENDING = "sequence-ending"
TABLE = "shop_coupons"
INDEX = "shop_coupons_code"
READER, BUILDER = "shop-coupon-report", "shop-migration"
_LAST = 2_090_000_000

_CREATE = f"""CREATE TABLE {TABLE} (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL, discount int NOT NULL)"""
# every code twice, so that a unique index cannot be built
_FILL = f"""INSERT INTO {TABLE} (code, discount)
SELECT 'coupon-' || n % 5000, n % 50 FROM generate_series(1, 10000) AS n""".encode()
_GRANT = f"GRANT ALL ON {TABLE} TO shop_app; GRANT SELECT ON SEQUENCE {TABLE}_id_seq TO rb_diag"
_UNIQUE = f"CREATE UNIQUE INDEX CONCURRENTLY {INDEX} ON {TABLE} (code)".encode()
_BUILD = f"CREATE INDEX CONCURRENTLY {INDEX} ON {TABLE} (code)".encode()
_CHECK = f"""ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_discount
CHECK (discount > 0) NOT VALID""".encode()
_SET = f"SELECT setval('{TABLE}_id_seq', %s)".encode()
_DROP = f"DROP TABLE IF EXISTS {TABLE}".encode()
_BUILDS = b"SELECT count(*) > 0 FROM pg_stat_progress_create_index"
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name IN (%s, %s)"
_TERMINATE = b"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name IN (%s, %s)"""


def leave_half_way(access: Access, _: int) -> dict[str, Any]:
    """Let a migration fail half-way: a half-built index, a constraint for new rows only."""
    with access.connect("postgres") as raw:
        _create(raw)
        with suppress(driver.RawConnection.Error):
            raw.execute(_UNIQUE)
        raw.execute(_CHECK)
    return {"table": TABLE, "index": INDEX, "constraint": f"{TABLE}_discount"}


def build(access: Access, seed: int) -> dict[str, Any]:
    """Build an index concurrently, while an older transaction is open that the build waits for."""
    with access.connect("postgres") as raw:
        _create(raw)
        raw.execute(f"ALTER TABLE {TABLE} OWNER TO shop_app".encode())
        processes.launch_module(
            "sessions", access.home, BUILDING, str(seed), "2", log=access.home.log(BUILDING)
        )
        waiting.until(raw, _BUILDS, what="the index is being built")
    return {"table": TABLE, "index": INDEX, "waits_for": READER}


def use_up(access: Access, _: int) -> dict[str, Any]:
    """Bring the sequence of an integer key close to its last value."""
    with access.connect("postgres") as raw:
        _create(raw)
        raw.execute(_SET, [_LAST])
    return {"table": TABLE, "sequence": f"{TABLE}_id_seq", "last_value": _LAST}


def drop(access: Access, _: int) -> None:
    """End the sessions that build the index, and drop the table."""
    processes.stop(access.home, BUILDING)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [READER, BUILDER])
        waiting.until(raw, _GONE, [READER, BUILDER], what="the sessions end")
        raw.execute(_DROP)


def session_name(number: int) -> str:
    """Return the application_name of a session: who reads, then who builds."""
    return (READER, BUILDER)[number]


def hold(raw: driver.RawConnection, number: int) -> None:
    """Open the transaction of the reader; or start the build, which waits for it."""
    if number == 0:
        # a build waits for older snapshots, not for readers
        raw.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        raw.execute(f"SELECT count(*) FROM {TABLE}".encode())
        return
    raw.autocommit = True
    raw.pgconn.send_query(_BUILD)


def _create(raw: driver.RawConnection) -> None:
    raw.execute(_CREATE.encode())
    for statement in _GRANT.split("; "):
        raw.execute(statement.encode())
    raw.execute(_FILL)
    raw.execute(f"ANALYZE {TABLE}".encode())
