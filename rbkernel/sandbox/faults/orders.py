"""Fault: two orders tables that should be equal differ, permanently or because rows arrive late.

The seed alone determines the rows that differ (`plan`). These rows lie within a tenth of the key
range, so that a figure shows the place, and are older than the rows that the traffic changes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sandbox.service import FIRST_ID, ID_STEP, LAST_ID
from rbkernel.sources.postgres.connection import driver

_COLUMNS = (("amount_cents",), ("status",), ("amount_cents", "status"))
# no order has this status initially, so setting it is always a change
_STATUS = "refunded"
_REPORTED_SHARE = 0.6

_INSERT_EXTRA = b"""
INSERT INTO orders
SELECT id + 1, customer_id, status, amount_cents, currency, created_at, updated_at
FROM orders_legacy WHERE id + 1 = ANY(%s)
"""
_REPORT = b"""
INSERT INTO reconciliation_diffs (module, entity, entity_id, kind, details)
VALUES ('orders', 'order', %s, %s, %s)
"""
_REFILL = b"""
INSERT INTO orders SELECT * FROM orders_legacy WHERE id = ANY(%(suspects)s)
ON CONFLICT (id) DO UPDATE SET
    customer_id = excluded.customer_id, status = excluded.status,
    amount_cents = excluded.amount_cents, currency = excluded.currency,
    created_at = excluded.created_at, updated_at = excluded.updated_at
WHERE orders IS DISTINCT FROM excluded
"""
_RESOLVE = b"""
UPDATE reconciliation_diffs SET resolved_at = now()
WHERE module = 'orders' AND resolved_at IS NULL AND entity_id = ANY(%(suspects)s)
"""
_DIFFERING = b"""
SELECT count(*) FROM orders_legacy l FULL JOIN orders o USING (id) WHERE l IS DISTINCT FROM o
"""
# whether the traffic's newest rows differ at this moment
_UNDERWAY = b"""
SELECT count(*) > 0
FROM (SELECT * FROM orders_legacy WHERE id > %(last)s) l
FULL JOIN (SELECT * FROM orders WHERE id > %(last)s) o USING (id)
WHERE l IS DISTINCT FROM o
"""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The orders that a fault makes differ; ``changed`` maps an id to the columns that differ."""

    missing: list[int]
    extra: list[int]
    changed: dict[str, list[str]]

    @property
    def ids(self) -> list[int]:
        """The ids of all orders that differ."""
        return [*self.missing, *self.extra, *map(int, self.changed)]


def plan(seed: int) -> Drift:
    """Choose which orders a fault makes differ; the seed alone determines the choice.

    >>> plan(3) == plan(3), plan(3) == plan(4)
    (True, False)
    >>> all(identifier % ID_STEP for identifier in plan(3).extra)
    True
    """
    figures = random.Random(f"orders-drift/{seed}")  # noqa: S311 - figures of a drill
    every = range(FIRST_ID, LAST_ID + 1, ID_STEP)
    # the pool faults lock rows of the first fifth; the rows of the last fifth are too recent
    start = figures.randrange(len(every) // 5, len(every) * 7 // 10)
    cluster = every[start : start + len(every) // 10]
    missing, extra, changed = (figures.randint(*bounds) for bounds in ((3, 12), (2, 8), (6, 20)))
    rows = figures.sample(cluster, missing + extra + changed)
    return Drift(
        missing=sorted(rows[:missing]),
        extra=sorted(row + 1 for row in rows[missing : missing + extra]),
        changed={
            str(row): list(figures.choice(_COLUMNS)) for row in sorted(rows[missing + extra :])
        },
    )


def drift(access: Access, seed: int) -> dict[str, Any]:
    """Make the orders that the seed selects differ, and record some of the differences.

    Returns the fields of `Drift`, and as ``reported`` the ids of the recorded differences.
    """
    drifted = plan(seed)
    return {**asdict(drifted), "reported": separate(access, drifted, seed)}


def separate(access: Access, drifted: Drift, seed: int) -> list[int]:
    """Make the given orders differ; record some of the differences, and return the ids of these."""
    figures = random.Random(f"orders-drift/{seed}/reports")  # noqa: S311 - figures of a drill
    with access.connect("shop_app", autocommit=False) as raw:
        raw.execute(b"DELETE FROM orders WHERE id = ANY(%s)", [drifted.missing])
        raw.execute(_INSERT_EXTRA, [drifted.extra])
        for row, columns in drifted.changed.items():
            _change(raw, int(row), columns, cents=figures.randint(100, 9900))
        return _report(raw, drifted, figures)


def _change(raw: driver.RawConnection, row: int, columns: list[str], *, cents: int) -> None:
    if "amount_cents" in columns:
        raw.execute(
            b"UPDATE orders SET amount_cents = amount_cents + %s WHERE id = %s", [cents, row]
        )
    if "status" in columns:
        raw.execute(b"UPDATE orders SET status = %s WHERE id = %s", [_STATUS, row])


def _report(raw: driver.RawConnection, drifted: Drift, figures: random.Random) -> list[int]:
    kinds: Mapping[str, list[int]] = {
        "missing": drifted.missing,
        "extra": drifted.extra,
        "changed": [int(row) for row in drifted.changed],
    }
    reported = []
    for kind, rows in kinds.items():
        some = min(len(rows), max(1, round(len(rows) * _REPORTED_SHARE)))
        for row in figures.sample(rows, some):
            details = {"columns": drifted.changed[str(row)]} if kind == "changed" else {}
            raw.execute(_REPORT, [row, kind, json.dumps(details)])
            reported.append(row)
    return sorted(reported)


def mend(access: Access, seed: int) -> None:
    """Make the orders that the seed selects equal again, even if some are already repaired."""
    equate(access, plan(seed))


def equate(access: Access, drifted: Drift) -> None:
    """Make the given orders equal again, and mark their recorded differences as resolved."""
    with access.connect("shop_app", autocommit=False) as raw:
        raw.execute(b"DELETE FROM orders WHERE id = ANY(%s)", [drifted.extra])
        raw.execute(_REFILL, {"suspects": drifted.ids})
        raw.execute(_RESOLVE, {"suspects": drifted.ids})


def differing(raw: driver.RawConnection) -> int:
    """Return the number of orders that differ now, which a runbook must find."""
    row = raw.execute(_DIFFERING).fetchone()
    return int(row[0]) if row else 0


def delay(access: Access, seed: int) -> dict[str, Any]:
    """Delay the traffic's write to the second table, and wait until orders differ because of it."""
    figures = random.Random(f"orders-in-flight/{seed}")  # noqa: S311 - figures of a drill
    delay_s = round(figures.uniform(2, 4), 1)
    access.home.write(access.home.in_flight_file, json.dumps({"delay_s": delay_s}))
    with access.connect("postgres") as raw:
        waiting.until(raw, _UNDERWAY, {"last": LAST_ID}, what="rows are being copied")
    return {"delay_s": delay_s, "missing": [], "extra": [], "changed": {}}


def catch_up(access: Access, _: int) -> None:
    """Let the traffic write both tables in one transaction again; wait until no row differs."""
    access.home.in_flight_file.unlink(missing_ok=True)
    with access.connect("postgres") as raw:
        waiting.until(raw, _ARRIVED, {"last": LAST_ID}, what="the last row arrives")


_ARRIVED = _UNDERWAY.replace(b"count(*) > 0", b"count(*) = 0")
