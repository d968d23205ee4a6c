"""Fault: a migration waits for a lock of a forgotten transaction, and readers for the migration.

The shop's traffic does not use the table, so only the sessions of the queue wait. The sessions
belong to a detached process (module sessions), and do not reconnect after they are terminated.
"""

from __future__ import annotations

import random
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

FAULT = "lock-queue"
_JOBS = ("console", "backfill", "support-tool", "notebook")
_TABLE = b"reconciliation_diffs"

_READY = b"""
SELECT count(*) FILTER (WHERE wait_event_type = 'Lock') = %s, array_agg(pid ORDER BY pid),
       max(pid) FILTER (WHERE application_name = %s),
       max(pid) FILTER (WHERE application_name = 'shop-migration'),
       min(xact_start)
FROM pg_stat_activity
WHERE application_name IN (%s, 'shop-migration', 'shop-reconciler')
  AND (wait_event_type = 'Lock' OR state = 'idle in transaction')
"""
# pg_locks, because pg_stat_activity does not change within a transaction
_DDL_WAITS = b"""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE relation = %s::regclass AND mode = 'AccessExclusiveLock' AND NOT granted)
"""
_APPLICATIONS = b"application_name IN (%s, 'shop-migration', 'shop-reconciler')"
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE " + _APPLICATIONS
_TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + _APPLICATIONS


def application_name(seed: int) -> str:
    """Return the application_name of the session at the root of the queue."""
    return f"shop-{_random(seed).choice(_JOBS)}"


def readers(seed: int) -> int:
    """Return the number of readers that wait behind the migration for this seed."""
    return _random(seed + 1_000_003).randint(4, 12)


def start(access: Access, seed: int) -> dict[str, Any]:
    """Create the queue for a lock; return the expected result: root, migration and readers."""
    root, behind = application_name(seed), readers(seed)
    processes.launch_module(
        "sessions", access.home, FAULT, str(seed), str(behind + 2), log=access.home.log(FAULT)
    )
    with access.connect("postgres") as raw:
        _, pids, root_pid, ddl_pid, since = waiting.until(
            raw, _READY, [behind + 1, root, root], what=f"{behind} sessions queue for a lock"
        )
    return {
        "root": {"pid": root_pid, "application_name": root},
        "ddl": {"pid": ddl_pid, "application_name": "shop-migration"},
        "waiting": behind + 1,
        "pids": pids,
        "since": since.isoformat(),
    }


def stop(access: Access, seed: int) -> None:
    """End the sessions of the queue for the lock."""
    root = application_name(seed)
    processes.stop(access.home, FAULT)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [root])
        waiting.until(raw, _GONE, [root], what=f"no session of the queue behind {root} is left")


def session_name(seed: int, number: int) -> str:
    """Return the application_name of one session of the queue: root, migration, then readers."""
    return (application_name(seed), "shop-migration", "shop-reconciler")[min(number, 2)]


def hold(raw: driver.RawConnection, number: int) -> None:
    """Run the statements that put one session into its place in the queue for the lock."""
    if number == 0:
        raw.execute(b"SELECT count(*) FROM " + _TABLE + b" WHERE module = 'orders'")
        return
    if number == 1:
        raw.execute(b"SELECT 1")
        statement = b"ALTER TABLE " + _TABLE + b" ADD COLUMN reviewed_by text"
    else:
        # a reader that starts before the migration would not wait
        waiting.until(raw, _DDL_WAITS, [_TABLE.decode()], what="the migration waits")
        statement = b"SELECT id, entity_id FROM " + _TABLE + b" WHERE resolved_at IS NULL"
    # sent without waiting for the result, because the statement waits in the queue
    raw.pgconn.send_query(statement)


def _random(seed: int) -> random.Random:
    return random.Random(f"{FAULT}/{seed}")  # noqa: S311 - figures of a drill
