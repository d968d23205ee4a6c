"""Fault: sessions that wait for one row, behind an open transaction, fill the connection pool.

This is a very common incident: one session has changed a row and does not commit, every request for
that row waits, and the requests fill the connection pool. The sessions belong to a
detached process (module sessions); each waiter commits as soon as it gets the row.
"""

from __future__ import annotations

import random
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import pool, waiting
from rbkernel.sandbox.service import FIRST_ID, ID_STEP
from rbkernel.sources.postgres.connection import driver

FAULT = "pool-behind-a-row"
WAITERS = "shop-checkout"
_JOBS = ("refund-job", "price-update", "support-tool", "loyalty-sync")

_READY = b"""
SELECT count(*) FILTER (WHERE wait_event_type = 'Lock') = %s
           AND max(query_start) FILTER (WHERE wait_event_type = 'Lock')
               < clock_timestamp() - interval '6 s',
       array_agg(pid ORDER BY pid) FILTER (WHERE wait_event_type = 'Lock'),
       max(pid) FILTER (WHERE application_name = %s),
       min(xact_start) FILTER (WHERE application_name = %s)
FROM pg_stat_activity
WHERE application_name IN (%s, %s)
"""
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name IN (%s, %s)"
_TERMINATE = b"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name IN (%s, %s)"""
# the update does not change the row, because a comparison of the tables must find no difference
_CHANGE = b"UPDATE orders SET status = status WHERE id = %d"


def application_name(seed: int) -> str:
    """Return the application_name of the session that holds the row."""
    return f"shop-{_random(seed).choice(_JOBS)}"


def start(access: Access, seed: int) -> dict[str, Any]:
    """Fill the connection slots with sessions that wait for one row; return the expected result."""
    root = application_name(seed)
    with access.connect("postgres") as raw:
        waiters = pool.free_slots(raw, share=_random(seed + 1_000_003).uniform(0.91, 0.96)) - 1
        processes.launch_module(
            "sessions",
            access.home,
            *(FAULT, str(seed), str(waiters + 1)),
            log=access.home.log(FAULT),
        )
        _, pids, root_pid, since = waiting.until(
            raw,
            _READY,
            [waiters, root, root, root, WAITERS],
            what=f"{waiters} sessions wait for a row",
        )
    return {
        "root": {"pid": root_pid, "application_name": root},
        "waiting": waiters,
        "pids": pids,
        "since": since.isoformat(),
    }


def stop(access: Access, seed: int) -> None:
    """End the sessions that hold the row and that wait for it."""
    root = application_name(seed)
    names = [root, WAITERS]
    processes.stop(access.home, FAULT)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, names)
        waiting.until(raw, _GONE, names, what=f"no session of {root} or {WAITERS} is left")


def session_name(seed: int, number: int) -> str:
    """Return the application_name of one session of the queue: the holder of the row, then
    waiters.
    """
    return WAITERS if number else application_name(seed)


def hold(raw: driver.RawConnection, seed: int, number: int) -> None:
    """Run the statements that put one session into its place in the queue for the row."""
    change = _CHANGE % (FIRST_ID + ID_STEP * (seed % 100))
    if number == 0:
        raw.execute(change)
        return
    raw.rollback()
    raw.autocommit = True
    # sent without waiting for the result: it waits for the row, then commits
    raw.pgconn.send_query(change)


def _random(seed: int) -> random.Random:
    return random.Random(f"{FAULT}/{seed}")  # noqa: S311 - figures of a drill
