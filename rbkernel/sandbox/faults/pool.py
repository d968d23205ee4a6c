"""Fault: nearly all connection slots are taken, by sessions idle in transaction or by active
queries.

The sessions belong to a detached process (module sessions). The sessions do not reconnect after
they are terminated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from rbkernel.errors import SandboxError
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sandbox.service import FIRST_ID, ID_STEP
from rbkernel.sources.postgres.connection import driver

# Slots for roles without privileges, and slots that client sessions hold, except our own.
_SLOTS = b"""
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true)::int, 0),
       (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
"""
# Each session lasts longer than the limit for stuck sessions in connections/holders.
_READY = b"""
SELECT count(*) >= %s AND max(state_change) < clock_timestamp() - interval '6 s',
       array_agg(pid ORDER BY pid), min(xact_start)
FROM pg_stat_activity WHERE application_name = %s AND state = %s
"""
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = %s"
_TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The kind of sessions that a pool fault opens."""

    fault: str
    state: str
    prefix: str
    jobs: tuple[str, ...]

    def application_name(self, seed: int) -> str:
        """Return the application_name of the sessions that hold the slots.

        >>> IDLE.application_name(1) == IDLE.application_name(1)
        True
        """
        return f"{self.prefix}-{self._random(seed).choice(self.jobs)}"

    def share(self, seed: int) -> float:
        """Return the share of the usable slots that the fault takes."""
        return self._random(seed + 1_000_003).uniform(0.90, 0.96)

    def _random(self, seed: int) -> random.Random:
        return random.Random(f"{self.fault}/{seed}")  # noqa: S311 - figures of a drill


IDLE = Kind(
    fault="pool-idle-in-transaction",
    state="idle in transaction",
    prefix="shop-batch",
    jobs=("invoices", "settlement", "loyalty", "repricing", "export", "dunning", "stock-sync"),
)
ACTIVE = Kind(
    fault="pool-active-queries",
    state="active",
    prefix="shop-report",
    jobs=("revenue", "cohorts", "margins", "returns", "forecast", "regions", "vat"),
)


def start(kind: Kind, access: Access, seed: int) -> dict[str, Any]:
    """Take connection slots; return the expected result: which sessions hold them."""
    name = kind.application_name(seed)
    with access.connect("postgres") as raw:
        usable, used = slots(raw)
        sessions = free_slots(raw, share=kind.share(seed))
        processes.launch_module(
            "sessions",
            access.home,
            *(kind.fault, str(seed), str(sessions)),
            log=access.home.log(kind.fault),
        )
        _, pids, since = waiting.until(
            raw, _READY, [sessions, name, kind.state], what=f"{sessions} sessions {kind.state}"
        )
    return {
        "application_name": name,
        "sessions": sessions,
        "pids": pids,
        "state": kind.state,
        "since": since.isoformat(),
        "usable_slots": usable,
        "used_slots": used + sessions,
    }


def slots(raw: driver.RawConnection) -> tuple[int, int]:
    """Return the number of connection slots for ordinary roles, and how many of them are in use."""
    usable, used = raw.execute(_SLOTS).fetchone() or (0, 0)
    return usable, used


def free_slots(raw: driver.RawConnection, *, share: float) -> int:
    """Return how many sessions to open so that this share of the connection slots is taken.

    Raises
    ------
    SandboxError
        This share is already taken.
    """
    usable, used = slots(raw)
    missing = round(usable * share) - used
    if missing < 1:
        raise SandboxError(
            f"{used} of {usable} slots are taken already",
            next_step="heal the other pool fault, or close sessions",
        )
    return missing


def stop(kind: Kind, access: Access, seed: int) -> None:
    """Free the slots: end the process of the sessions, and sessions that remain on the server."""
    name = kind.application_name(seed)
    processes.stop(access.home, kind.fault)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [name])
        waiting.until(raw, _GONE, [name], what=f"the sessions of {name} end")


def hold(kind: Kind, raw: driver.RawConnection, seed: int, number: int) -> None:
    """Bring one session into the state of its fault: idle in transaction, or active."""
    # each session has 40 rows and locks 10 of them, so no session waits for another
    first_id = FIRST_ID + ID_STEP * (seed % 100 + 40 * number)
    last_id = first_id + 9 * ID_STEP
    if kind is ACTIVE:
        # sent without waiting for the result, so that one thread can start all sessions
        raw.pgconn.send_query(_REPORT % {b"id": first_id})
    elif number % 3:
        raw.execute(_BATCH_READ, [first_id, last_id])
    else:
        raw.execute(_BATCH_WRITE, [first_id, last_id])


_BATCH_READ = b"""SELECT id, customer_id, amount_cents FROM orders
WHERE id BETWEEN %s AND %s ORDER BY id FOR UPDATE"""
_BATCH_WRITE = b"""UPDATE orders SET updated_at = now() WHERE id BETWEEN %s AND %s"""
# The query sleeps before it reads the first row, so it is long but costs nothing.
_REPORT = b"""WITH throttle AS MATERIALIZED (SELECT pg_sleep(3600))
SELECT o.customer_id %% 12 AS region, date_trunc('day', o.created_at) AS day,
       count(*) AS orders, sum(o.amount_cents) AS revenue_cents
FROM throttle CROSS JOIN orders o JOIN orders_legacy l USING (id)
WHERE o.id >= %(id)d GROUP BY 1, 2 ORDER BY 1, 2"""
