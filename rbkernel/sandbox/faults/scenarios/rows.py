"""Scenarios in which the two tables of orders differ: in some rows, in many rows, in a column."""

from __future__ import annotations

import dataclasses

from rbkernel.model import Verdict
from rbkernel.sandbox.faults import orders
from rbkernel.sandbox.faults.orders import Drift
from rbkernel.sandbox.faults.scenario import CRITICAL, HEALTHY, Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID, ID_STEP

_WARNING = frozenset({Verdict.WARNING})
# RUN-000 reads the recorded differences, RUN-006 the tables
_SEEN_BY = ("RUN-000", "RUN-006")
_SAYS = "of orders differs? from orders_legacy|between source and target are open: orders"


def _separate(stage: Stage, drifted: Drift) -> None:
    stage.on_heal(lambda: orders.equate(stage.access, drifted))
    orders.separate(stage.access, drifted, stage.seed)


def _few(stage: Stage) -> None:
    """Make a few orders differ in status; not in amounts, about which a human must decide."""
    drifted = orders.plan(stage.seed)
    status = {row: ["status"] for row in drifted.changed}
    _separate(stage, dataclasses.replace(drifted, changed=status))


def _many(stage: Stage) -> None:
    """Make many orders differ: a batch of orders that was never copied."""
    first = FIRST_ID + ID_STEP * (10_000 + stage.seed)
    missing = list(range(first, first + 200 * ID_STEP, ID_STEP))
    _separate(stage, Drift(missing=missing, extra=[], changed={}))


def _money(stage: Stage) -> None:
    _separate(stage, orders.plan(stage.seed))


def _old(stage: Stage) -> None:
    _few(stage)
    late = "UPDATE reconciliation_diffs SET detected_at = now() - interval '30 h'"
    stage.administer(f"{late} WHERE resolved_at IS NULL")


def _column(stage: Stage) -> None:
    # the shop's traffic copies all columns, so it would fail
    stage.stop_traffic()
    stage.on_heal(lambda: stage.administer("ALTER TABLE orders_legacy DROP COLUMN vat_cents"))
    stage.administer("ALTER TABLE orders_legacy ADD COLUMN vat_cents bigint DEFAULT 0")


def _in_flight(stage: Stage) -> None:
    stage.on_heal(lambda: orders.catch_up(stage.access, stage.seed))
    orders.delay(stage.access, stage.seed)


SCENARIOS = (
    Scenario(
        name="rows-few",
        summary="a few rows are missing, extra or have another status; most of them are recorded",
        inject=_few,
        truth=Truth(says=_SAYS, opens="RUN-006", verdicts=_WARNING, seen_by=_SEEN_BY, rows="patch"),
    ),
    Scenario(
        name="rows-many",
        summary="a batch of 200 rows was never copied; most of them are recorded",
        inject=_many,
        truth=Truth(says=_SAYS, opens="RUN-006", seen_by=_SEEN_BY, rows="halt"),
    ),
    Scenario(
        name="rows-money",
        summary="a few rows are missing, extra or have another amount; most of them are recorded",
        inject=_money,
        truth=Truth(
            says=_SAYS, opens="RUN-006", verdicts=_WARNING, seen_by=_SEEN_BY, rows="escalate"
        ),
    ),
    Scenario(
        name="rows-old",
        summary="a few rows differ, as has been recorded for 30 h",
        inject=_old,
        truth=Truth(
            says=r"A (recorded )?difference has been (on record|open) for",
            opens="RUN-006",
            verdicts=CRITICAL,
            seen_by=_SEEN_BY,
            rows="escalate",
        ),
    ),
    Scenario(
        name="column-lacking",
        summary="a column that only orders_legacy has; no difference is recorded",
        inject=_column,
        truth=Truth(
            says="1 columns? of orders_legacy cannot be compared with orders: vat_cents",
            opens="RUN-006",
            verdicts=CRITICAL,
            # no difference is recorded, and no other runbook reads the tables
            seen_by=("RUN-006",),
            rows="halt",
        ),
    ),
    Scenario(
        name="rows-in-flight",
        summary="orders follows orders_legacy some seconds later: no difference stays",
        inject=_in_flight,
        recheck_after_s=6.0,
        truth=HEALTHY,
    ),
)
