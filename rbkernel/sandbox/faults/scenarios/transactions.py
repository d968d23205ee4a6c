"""Scenarios of transactions that are open for too long, and of commits that hang."""

from __future__ import annotations

from rbkernel.sandbox.faults.scenario import CRITICAL, Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID

_ROW = f"UPDATE orders SET status = status WHERE id = {FIRST_ID}"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_LATE_S = 61.0


def _forgotten(stage: Stage) -> None:
    stage.start("support-tool", "BEGIN", _ROW)
    stage.lasts(_LATE_S, timeout_s=90)


def _snapshot(stage: Stage) -> None:
    stage.start("reporting", _SNAPSHOT, "SELECT count(*) FROM orders")
    stage.lasts(_LATE_S, timeout_s=90)


def _prepared(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ROLLBACK PREPARED 'payout-18'"))
    stage.start("bank-connector", "BEGIN", _ROW, "PREPARE TRANSACTION 'payout-18'")
    stage.until(
        b"SELECT max(prepared) < clock_timestamp() - interval '31 s' FROM pg_prepared_xacts",
        what="it stays prepared",
        timeout_s=60,
    )


def _synchronous(stage: Stage) -> None:
    stage.setting("synchronous_standby_names", "dc2_standby")
    # writes WAL but no rows, so no session waits and no data remains
    write = "SELECT pg_logical_emit_message(true, 'shop', 'order')"
    stage.send("shop-checkout", write, times=12)
    stage.waits(12, for_s=6)


def _synchronous_row(stage: Stage) -> None:
    stage.setting("synchronous_standby_names", "dc2_standby")
    stage.send("shop-checkout", _ROW)
    stage.waits(1)
    stage.send("shop-checkout", _ROW, times=6)
    stage.waits(7, for_s=6)


SCENARIOS = (
    Scenario(
        name="forgotten",
        summary="a session has been idle in transaction for a minute, nobody waits for it yet",
        inject=_forgotten,
        truth=Truth(
            says="support-tool.*idle in transaction", opens="RUN-007", may=("support-tool",)
        ),
    ),
    Scenario(
        name="snapshot",
        summary="a session idle in transaction keeps a snapshot: VACUUM removes nothing",
        inject=_snapshot,
        truth=Truth(says="reporting.*idle in transaction", opens="RUN-007", may=("reporting",)),
    ),
    Scenario(
        name="prepared-forgotten",
        summary="a transaction was prepared and then forgotten; nobody waits for it yet",
        inject=_prepared,
        truth=Truth(says="payout-18", opens="RUN-007"),
    ),
    Scenario(
        name="synchronous-standby-missing",
        summary="commits wait for a synchronous standby that is not connected",
        inject=_synchronous,
        truth=Truth(
            says="1[2-7] commits wait for the synchronous standby.*dc2_standby",
            opens="RUN-005",
            verdicts=CRITICAL,
        ),
    ),
    Scenario(
        name="synchronous-standby-missing-row",
        summary="one commit waits for the synchronous standby, and a queue for its row behind it",
        inject=_synchronous_row,
        truth=Truth(says="synchronous standby.*dc2_standby", opens="RUN-005", verdicts=CRITICAL),
    ),
)
