"""Scenarios of queues for locks on tables, and of tables that are locked for long."""

from __future__ import annotations

from rbkernel.model import Verdict
from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.scenarios.statements import (
    CHANGE_ROW,
    CHANGE_TABLE,
    LOCK_ROW,
    READ_TABLE,
)
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID, ID_STEP

_ALTER = "ALTER TABLE reconciliation_diffs ADD COLUMN reviewed_by text"
# orders that only one table contains so far
_TABLES = ("orders", "orders_legacy")
_IDS = f"ARRAY(SELECT generate_series({FIRST_ID}, {FIRST_ID + 8 * ID_STEP}, {ID_STEP}))"
_NEW = f"id BETWEEN {FIRST_ID} AND {FIRST_ID + 9 * ID_STEP} AND id % {ID_STEP} = 2"


def _ddl_in_front(stage: Stage) -> None:
    stage.start("reporting", "BEGIN", READ_TABLE)
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", READ_TABLE, times=6)
    stage.waits(7)


def _ddl_at_the_tail(stage: Stage) -> None:
    stage.start("stock-sync", "BEGIN", CHANGE_TABLE)
    stage.send("shop-reconciler", CHANGE_TABLE, times=4)
    stage.waits(4)
    stage.send("shop-migration", _ALTER)
    stage.waits(5)


def _create_index(stage: Stage) -> None:
    slow = (
        "CREATE FUNCTION slowly(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN PERFORM pg_sleep(1); RETURN $1; END'"
    )
    stage.on_heal(lambda: stage.administer("DROP FUNCTION slowly(bigint)"))
    stage.administer(slow)
    stage.send("shop-migration", "CREATE INDEX slow ON reconciliation_diffs (slowly(id))")
    stage.until(
        b"SELECT count(*) > 0 FROM pg_locks WHERE mode = 'ShareLock' AND granted"
        b" AND relation = 'reconciliation_diffs'::regclass",
        what="the index is being built",
    )
    stage.send("shop-reconciler", CHANGE_TABLE, times=4)
    stage.waits(4)


def _table(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE reconciliation_diffs")
    stage.send("shop-reconciler", READ_TABLE, times=5)
    stage.waits(5)


def _compared_table(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE orders")
    stage.send("shop-checkout", LOCK_ROW, times=4)
    stage.waits(4)


def _compared_table_alone(stage: Stage) -> None:
    stage.stop_traffic()
    stage.start("maintenance", "BEGIN", "LOCK TABLE orders_legacy")


def _copy(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer(*(f"DELETE FROM {t} WHERE {_NEW}" for t in _TABLES)))
    stage.administer(
        "INSERT INTO orders_legacy SELECT id + 2, customer_id, status, amount_cents, currency,"
        f" created_at, updated_at FROM orders_legacy WHERE id = ANY({_IDS})"
    )
    stage.start("price-update", "BEGIN", "LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE")
    stage.send("order-copier", f"INSERT INTO orders SELECT * FROM orders_legacy WHERE {_NEW}")
    stage.send("shop-checkout", CHANGE_ROW, times=3)
    stage.waits(4)


def _backup(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", READ_TABLE, times=5)
    stage.waits(6)


def _two_migrations(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", READ_TABLE, times=2)
    stage.waits(3)
    stage.send("other-migration", "ALTER TABLE reconciliation_diffs ADD COLUMN ticket text")
    stage.waits(4)
    stage.send("shop-reconciler", READ_TABLE, times=3)
    stage.waits(7)


def _copy_stalled(stage: Stage) -> None:
    stage.send("etl-loader", "BEGIN", CHANGE_ROW, "COPY reconciliation_diffs FROM STDIN")
    stage.send("shop-checkout", CHANGE_ROW, times=5)
    stage.waits(5)


def _backup_alone(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1, for_s=6)


def _vacuum_full(stage: Stage) -> None:
    stage.start("analyst", "BEGIN", READ_TABLE)
    stage.send("dba", "VACUUM FULL reconciliation_diffs")
    stage.waits(1)
    stage.send("shop-reconciler", READ_TABLE, times=4)
    stage.waits(5)


def _lock_nobody_waits_for(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE reconciliation_diffs")
    stage.lasts(11, "maintenance")


SCENARIOS = (
    Scenario(
        name="ddl-in-front",
        summary="an ALTER waits for an open transaction, and readers behind it",
        inject=_ddl_in_front,
        truth=Truth(
            says=r"reporting.*blocks 7 sessions",
            opens="RUN-007",
            step=("cancel", ("shop-migration",)),
            may=("reporting",),
            frees=6,
        ),
    ),
    Scenario(
        name="ddl-at-the-tail",
        summary="an ALTER at the tail of a queue for a row: cancelling it frees nobody",
        inject=_ddl_at_the_tail,
        truth=Truth(
            says=r"stock-sync.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("stock-sync",)),
            frees=5,
        ),
    ),
    Scenario(
        name="create-index",
        summary="CREATE INDEX without CONCURRENTLY, writers behind it",
        inject=_create_index,
        truth=Truth(
            says=r"shop-migration.*blocks 4 sessions",
            opens="RUN-007",
            step=("cancel", ("shop-migration",)),
            frees=4,
        ),
    ),
    Scenario(
        name="table-lock",
        summary="LOCK TABLE in a transaction that is left open, readers behind it",
        inject=_table,
        truth=Truth(
            says=r"maintenance.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("maintenance",)),
            frees=5,
        ),
    ),
    Scenario(
        name="compared-table-locked",
        summary="LOCK TABLE on one of the two tables of orders: they cannot be compared",
        inject=_compared_table,
        # the shop's own traffic waits, too
        truth=Truth(
            says=r"maintenance.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("maintenance",)),
            frees=5,
            rows="resolve",
        ),
    ),
    Scenario(
        name="compared-table-just-locked",
        summary="LOCK TABLE on a table of orders a moment ago: only the comparison waits for it",
        inject=_compared_table_alone,
        # no problem of the server: only the comparison needs this table
        truth=Truth(
            says="maintenance .* holds AccessExclusiveLock on public.orders_legacy",
            opens="RUN-007",
            verdicts=frozenset({Verdict.UNKNOWN}),
            seen_by=("RUN-006",),
            rows="resolve",
        ),
    ),
    Scenario(
        name="copy-waits",
        summary="the job that copies new orders waits for a lock, so that rows are missing",
        inject=_copy,
        truth=Truth(
            says=r"price-update.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("price-update",)),
            frees=5,
            rows="resolve",
        ),
    ),
    Scenario(
        name="backup",
        summary="pg_dump, a migration that waits for it, and readers behind",
        inject=_backup,
        truth=Truth(
            says=r"pg_dump.*blocks 6 sessions",
            opens="RUN-007",
            step=("cancel", ("shop-migration",)),
            frees=5,
        ),
    ),
    Scenario(
        name="two-migrations",
        summary="two migrations wait for pg_dump, with readers behind each",
        inject=_two_migrations,
        truth=Truth(
            says=r"pg_dump.*blocks 7 sessions",
            opens="RUN-007",
            step=("cancel", ("shop-migration", "other-migration")),
            frees=5,
        ),
    ),
    Scenario(
        name="copy-stalled",
        summary="a COPY whose client sends no more data: its session does not react to a cancel",
        inject=_copy_stalled,
        truth=Truth(
            says=r"etl-loader.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("etl-loader",)),
            frees=5,
        ),
    ),
    Scenario(
        name="backup-alone",
        summary="a migration waits for pg_dump, and nobody behind it: the backup must not be ended",
        inject=_backup_alone,
        truth=Truth(says=r"pg_dump.*blocks 1 session", opens="RUN-007"),
    ),
    Scenario(
        name="vacuum-full",
        summary="VACUUM FULL waits for an open transaction, readers behind it",
        inject=_vacuum_full,
        truth=Truth(
            says=r"analyst.*blocks 5 sessions",
            opens="RUN-007",
            step=("cancel", ("dba",)),
            may=("analyst",),
            frees=4,
        ),
    ),
    Scenario(
        name="lock-nobody-waits-for",
        summary="a session idle in transaction holds a whole table, before anybody waits",
        inject=_lock_nobody_waits_for,
        truth=Truth(says=r"maintenance.*AccessExclusiveLock", opens="RUN-007"),
    ),
)
