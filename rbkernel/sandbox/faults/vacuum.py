"""Fault: a table keeps many dead rows, because of an old snapshot or switched-off autovacuum.

The session that holds the snapshot belongs to a detached process (module sessions).
"""

from __future__ import annotations

import random
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

HELD_BACK = "vacuum-held-back"
SWITCHED_OFF = "vacuum-switched-off"
TABLE = "shop_events"
HOLDER = "shop-event-export"

_CREATE = f"""CREATE TABLE {TABLE} (id int PRIMARY KEY, kind text, payload text)"""
_GRANT = f"GRANT ALL ON {TABLE} TO shop_app".encode()
_FILL = f"""INSERT INTO {TABLE}
SELECT n, 'order-placed', repeat('x', 40) FROM generate_series(1, %s) AS n""".encode()
_DELETE = f"DELETE FROM {TABLE} WHERE id <= %s".encode()
_READY = b"""SELECT backend_xmin IS NOT NULL AND state = 'idle in transaction', pid
FROM pg_stat_activity WHERE application_name = %s"""
# a standby reports its horizon every 10 s, through its slot; until then it may hold back more
_OLDEST = b"""SELECT bool_and(age(held.xmin) <= age(holder.backend_xmin))
FROM pg_stat_activity AS holder, (
    SELECT backend_xmin FROM pg_stat_activity UNION ALL SELECT xmin FROM pg_replication_slots
) AS held (xmin)
WHERE holder.application_name = %s AND held.xmin IS NOT NULL"""
_COUNTED = b"""SELECT n_dead_tup >= %s, n_dead_tup FROM pg_stat_user_tables WHERE relname = %s"""
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s"
_TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
_VACUUM = f"VACUUM {TABLE}".encode()
_DROP = f"DROP TABLE IF EXISTS {TABLE}".encode()


def hold_back(access: Access, seed: int) -> dict[str, Any]:
    """Delete rows that a snapshot of another session still sees; vacuum cannot remove them."""
    deleted = _rows(HELD_BACK, seed)
    _create(access, deleted, "")
    processes.launch_module(
        "sessions", access.home, HELD_BACK, str(seed), "1", log=access.home.log(HELD_BACK)
    )
    with access.connect("postgres") as raw:
        _, pid = waiting.until(raw, _READY, [HOLDER], what=f"{HOLDER} holds a snapshot")
        raw.execute(_DELETE, [deleted])
        raw.execute(_VACUUM)
        waiting.until(raw, _COUNTED, [deleted, TABLE], what="the dead rows are counted")
        waiting.until(raw, _OLDEST, [HOLDER], what=f"nobody holds back more than {HOLDER}")
    return {"table": TABLE, "dead": deleted, "holder": HOLDER, "pid": pid}


def switch_off(access: Access, seed: int) -> dict[str, Any]:
    """Switch off autovacuum for a table, and delete many of its rows."""
    deleted = _rows(SWITCHED_OFF, seed)
    _create(access, deleted, " WITH (autovacuum_enabled = false)")
    with access.connect("postgres") as raw:
        raw.execute(_DELETE, [deleted])
        waiting.until(raw, _COUNTED, [deleted, TABLE], what="the dead rows are counted")
    return {"table": TABLE, "dead": deleted}


def clear(access: Access, _: int) -> None:
    """End the session that holds the snapshot, and drop the table."""
    processes.stop(access.home, HELD_BACK)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [HOLDER])
        waiting.until(raw, _GONE, [HOLDER], what=f"the session of {HOLDER} ends")
        raw.execute(_DROP)


def hold(raw: driver.RawConnection) -> None:
    """Take a snapshot, and keep it open in a transaction."""
    raw.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    raw.execute(f"SELECT count(*) FROM {TABLE}".encode())


def _create(access: Access, deleted: int, options: str) -> None:
    with access.connect("postgres") as raw:
        raw.execute((_CREATE + options).encode())
        raw.execute(_GRANT)
        raw.execute(_FILL, [deleted + 1_000])


def _rows(fault: str, seed: int) -> int:
    """Return how many rows to delete: so many that the diagnostic reports the dead rows."""
    return random.Random(f"{fault}/{seed}").randint(15_000, 40_000)  # noqa: S311 - of a drill
