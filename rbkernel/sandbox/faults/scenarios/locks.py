"""Scenarios of queues for locks on rows, tables, catalogues, and for advisory locks."""

from __future__ import annotations

from rbkernel.model import Verdict
from rbkernel.sandbox.access import Server
from rbkernel.sandbox.faults import pool
from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID, ID_STEP

# changes no value, because a comparison of the tables must find them equal
_ROW = f"UPDATE orders SET status = status WHERE id = {FIRST_ID}"
_NEXT_ROW = f"UPDATE orders SET status = status WHERE id = {FIRST_ID + ID_STEP}"
_WANTED = f"SELECT status FROM orders WHERE id = {FIRST_ID} FOR UPDATE"
_SHARED = f"SELECT status FROM orders WHERE id = {FIRST_ID} FOR SHARE"
# the shop's traffic does not use this table
_READ = "SELECT count(*) FROM reconciliation_diffs"
_CHANGE = "UPDATE reconciliation_diffs SET kind = kind WHERE id = 1"
_ALTER = "ALTER TABLE reconciliation_diffs ADD COLUMN reviewed_by text"

# orders that only one table contains so far
_TABLES = ("orders", "orders_legacy")
_IDS = f"ARRAY(SELECT generate_series({FIRST_ID}, {FIRST_ID + 8 * ID_STEP}, {ID_STEP}))"
_NEW = f"id BETWEEN {FIRST_ID} AND {FIRST_ID + 9 * ID_STEP} AND id % {ID_STEP} = 2"


def _row_queue(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", _ROW)
    with stage.access.connect("postgres") as raw:
        waiters = pool.free_slots(raw, share=0.95)
    stage.send("shop-checkout", _ROW, times=waiters)
    stage.waits(waiters, for_s=6)


def _open_transactions(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", _ROW)
    stage.send("shop-checkout", "BEGIN", _ROW, times=8)
    stage.waits(8)


def _tuple_queue(stage: Stage) -> None:
    stage.start("price-update", "BEGIN", _ROW)
    stage.send("shop-checkout", _WANTED, times=8)
    stage.waits(8)


def _ddl_in_front(stage: Stage) -> None:
    stage.start("reporting", "BEGIN", _READ)
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", _READ, times=6)
    stage.waits(7)


def _ddl_at_the_tail(stage: Stage) -> None:
    stage.start("stock-sync", "BEGIN", _CHANGE)
    stage.send("shop-reconciler", _CHANGE, times=4)
    stage.waits(4)
    stage.send("shop-migration", _ALTER)
    stage.waits(5)


def _two_trees(stage: Stage) -> None:
    stage.start("console", "BEGIN", _CHANGE)
    stage.start("refund-job", "BEGIN", _ROW)
    stage.send("shop-reconciler", _CHANGE)
    stage.send("shop-checkout", _ROW, times=15)
    stage.waits(16)


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
    stage.send("shop-reconciler", _CHANGE, times=4)
    stage.waits(4)


def _healthy_neighbour(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", _ROW)
    stage.send("shop-checkout", _ROW, times=6)
    stage.waits(6, for_s=6)
    stage.start("loyalty-sync", "BEGIN", _NEXT_ROW)
    stage.lasts(1.5, "loyalty-sync")


def _unknown_root(stage: Stage) -> None:
    stage.start("secretive", "SET track_activities = off", "BEGIN", _ROW, role="postgres")
    stage.send("shop-checkout", _ROW, times=4)
    stage.waits(4)


def _prepared(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ROLLBACK PREPARED 'payout-17'"))
    stage.start("bank-connector", "BEGIN", _ROW, "PREPARE TRANSACTION 'payout-17'")
    stage.send("shop-checkout", _ROW, times=5)
    stage.waits(5)


def _shared_row(stage: Stage) -> None:
    for name in ("loyalty-sync", "export"):
        stage.start(name, "BEGIN", _SHARED)
    stage.send("shop-checkout", _ROW, times=4)
    stage.waits(4)


def _advisory(stage: Stage) -> None:
    stage.start("nightly-job", "BEGIN", "SELECT pg_advisory_xact_lock(4711)")
    stage.send("shop-worker-pool", "SELECT pg_advisory_lock(4711)", times=5)
    stage.waits(5)


def _advisory_of_a_session(stage: Stage) -> None:
    stage.start("scheduler", "SELECT pg_advisory_lock(4711)")
    stage.send("shop-worker-pool", "SELECT pg_advisory_lock(4711)", times=5)
    stage.waits(5)


def _table(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE reconciliation_diffs")
    stage.send("shop-reconciler", _READ, times=5)
    stage.waits(5)


def _compared_table(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE orders")
    stage.send("shop-checkout", _WANTED, times=4)
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
    stage.send("shop-checkout", _ROW, times=3)
    stage.waits(4)


def _chain(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", _ROW)
    stage.send("price-update", "BEGIN", _NEXT_ROW, _ROW)
    stage.waits(1)
    stage.send("shop-checkout", _NEXT_ROW, times=5)
    stage.waits(6)


def _running_root(stage: Stage) -> None:
    stage.send("month-end", "BEGIN", _ROW, "SELECT pg_sleep(3600)")
    stage.send("shop-checkout", _ROW, times=5)
    stage.waits(5)


def _backup(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", _READ, times=5)
    stage.waits(6)


def _two_migrations(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1)
    stage.send("shop-reconciler", _READ, times=2)
    stage.waits(3)
    stage.send("other-migration", "ALTER TABLE reconciliation_diffs ADD COLUMN ticket text")
    stage.waits(4)
    stage.send("shop-reconciler", _READ, times=3)
    stage.waits(7)


def _copy_stalled(stage: Stage) -> None:
    stage.send("etl-loader", "BEGIN", _ROW, "COPY reconciliation_diffs FROM STDIN")
    stage.send("shop-checkout", _ROW, times=5)
    stage.waits(5)


def _backup_alone(stage: Stage) -> None:
    stage.start("pg_dump", "BEGIN", "LOCK TABLE reconciliation_diffs IN ACCESS SHARE MODE")
    stage.send("shop-migration", _ALTER)
    stage.waits(1, for_s=6)


def _other_database(stage: Stage) -> None:
    there = "postgres"
    stage.administer("CREATE TABLE jobs AS SELECT 1 AS id", dbname=there)
    stage.administer("GRANT ALL ON jobs TO shop_app", dbname=there)
    stage.on_heal(lambda: stage.administer("DROP TABLE jobs", dbname=there))
    change = "UPDATE jobs SET id = id"
    stage.start("cron", "BEGIN", change, dbname=there)
    stage.send("worker", change, times=4, dbname=there)
    stage.waits(4)


def _vacuum_full(stage: Stage) -> None:
    stage.start("analyst", "BEGIN", _READ)
    stage.send("dba", "VACUUM FULL reconciliation_diffs")
    stage.waits(1)
    stage.send("shop-reconciler", _READ, times=4)
    stage.waits(5)


def _deleted_parent(stage: Stage) -> None:
    stage.administer(
        "CREATE TABLE carts (id int PRIMARY KEY)",
        "CREATE TABLE items (cart int REFERENCES carts)",
        "INSERT INTO carts VALUES (1)",
        "GRANT ALL ON carts, items TO shop_app",
    )
    stage.on_heal(lambda: stage.administer("DROP TABLE items, carts"))
    stage.start("cart-cleanup", "BEGIN", "DELETE FROM carts WHERE id = 1")
    stage.send("shop-checkout", "INSERT INTO items VALUES (1)", times=4)
    stage.waits(4)


def _unique_key(stage: Stage) -> None:
    stage.administer(
        "CREATE TABLE coupons (code text PRIMARY KEY)", "GRANT ALL ON coupons TO shop_app"
    )
    stage.on_heal(lambda: stage.administer("DROP TABLE coupons"))
    stage.start("importer", "BEGIN", "INSERT INTO coupons VALUES ('X')")
    stage.send("shop-checkout", "INSERT INTO coupons VALUES ('X') ON CONFLICT DO NOTHING", times=4)
    stage.waits(4)


def _lock_nobody_waits_for(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE reconciliation_diffs")
    stage.lasts(11, "maintenance")


def open_cursor(stage: Stage, *names: str, server: Server = "primary") -> None:
    """Open cursors that keep a page of a table in use, for which a VACUUM must wait."""
    # the horizon of the primary follows the standby's at its next feedback
    stage.setting("wal_receiver_status_interval", "1s", server="standby")
    stage.on_heal(lambda: stage.administer("DROP TABLE ledger"))
    stage.administer(
        "CREATE TABLE ledger AS SELECT g AS id FROM generate_series(1, 1000) g",
        "DELETE FROM ledger WHERE id = 2",
        "GRANT SELECT ON ledger TO shop_app",
    )
    # read from the catalogue, because reading the table itself may remove the row
    granted = b"FROM pg_class WHERE relname = 'ledger' AND relacl IS NOT NULL"
    stage.until(
        b"SELECT bool_and(age(s.xmin) < t.age) FROM pg_replication_slots s,"
        b" (SELECT age(xmin) " + granted + b") t WHERE s.xmin IS NOT NULL",
        what="the horizon is past the table's rows",
    )
    stage.until(b"SELECT count(*) > 0 " + granted, what="the table is there", server="standby")
    for name in names:
        stage.start(
            name,
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT id FROM ledger",
            "FETCH 1 FROM c",
            server=server,
        )


def _page_in_use(stage: Stage) -> None:
    open_cursor(stage, "exporter")
    _vacuum_waits(stage)


def _page_of_one_of_two(stage: Stage) -> None:
    open_cursor(stage, "exporter", "auditor")
    _vacuum_waits(stage)


def _vacuum_waits(stage: Stage) -> None:
    stage.send("nightly-vacuum", "VACUUM (FREEZE) ledger", role="postgres")
    waits = b"SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'BufferPin'"
    stage.until(waits, what="VACUUM waits for a page")
    stage.send("shop-migration", "ALTER TABLE ledger ADD COLUMN note text", role="postgres")
    stage.waits(1, for_s=6)


def _safe_snapshot(stage: Stage) -> None:
    stage.start("bookkeeping", "BEGIN ISOLATION LEVEL SERIALIZABLE", _CHANGE)
    deferrable = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"
    stage.send("balance-report", deferrable, _READ)
    waits = b"SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SafeSnapshot'"
    stage.until(waits, what="the report waits for a safe snapshot")
    stage.lasts(6, "balance-report")


SCENARIOS = (
    Scenario(
        name="row-queue",
        summary="one session idle in transaction, the pool full of updates of its row",
        inject=_row_queue,
        # as many sessions as there are slots
        truth=Truth(
            says=r"refund-job.*blocks", opens="RUN-007", step=("terminate", ("refund-job",))
        ),
    ),
    Scenario(
        name="row-queue-open",
        summary="the transactions of those that wait for the row stay open when they get it",
        inject=_open_transactions,
        truth=Truth(
            says=r"refund-job.*blocks 8 sessions",
            opens="RUN-007",
            step=("terminate", ("refund-job",)),
            frees=8,
            stays=7,
        ),
    ),
    Scenario(
        name="tuple-queue",
        summary="SELECT … FOR UPDATE of one row: tuple locks, whose mode is a DDL's",
        inject=_tuple_queue,
        truth=Truth(
            says=r"price-update.*blocks 8 sessions",
            opens="RUN-007",
            step=("terminate", ("price-update",)),
            frees=8,
        ),
    ),
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
        name="two-trees",
        summary="two queues, of one and of fifteen sessions",
        inject=_two_trees,
        truth=Truth(
            says=r"refund-job.*blocks 15 sessions",
            opens="RUN-007",
            step=("terminate", ("refund-job",)),
            may=("console",),
            frees=15,
            stays=1,
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
        name="healthy-neighbour",
        summary="a culprit with six waiters, next to a healthy transaction of 1.5 s",
        inject=_healthy_neighbour,
        truth=Truth(
            says=r"refund-job.*blocks 6 sessions",
            opens="RUN-007",
            step=("terminate", ("refund-job",)),
            frees=6,
        ),
    ),
    Scenario(
        name="unknown-root",
        summary="the root has track_activities = off: its state is unknown",
        inject=_unknown_root,
        truth=Truth(says=r"secretive.*unknown.*blocks 4 sessions", opens="RUN-007"),
    ),
    Scenario(
        name="prepared",
        summary="a prepared transaction holds a row: it has no session that could be ended",
        inject=_prepared,
        truth=Truth(says=r"payout-17.*blocks 5 sessions", opens="RUN-007"),
    ),
    Scenario(
        name="shared-row",
        summary="two hold a row FOR SHARE: ending one of them frees nobody",
        inject=_shared_row,
        truth=Truth(
            says=r"(?=.*loyalty-sync)(?=.*export).*block",
            opens="RUN-007",
            step=("terminate", ("loyalty-sync", "export")),
            frees=4,
        ),
    ),
    Scenario(
        name="advisory",
        summary="an advisory lock of a transaction that is left open",
        inject=_advisory,
        # each session keeps the lock that it gets, because the lock belongs to the session
        truth=Truth(
            says=r"nightly-job.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("nightly-job",)),
            frees=5,
            stays=4,
        ),
    ),
    Scenario(
        name="advisory-of-a-session",
        summary="an idle session, outside a transaction, keeps an advisory lock",
        inject=_advisory_of_a_session,
        truth=Truth(
            says=r"scheduler.*blocks 5 sessions",
            opens="RUN-007",
            step=("terminate", ("scheduler",)),
            frees=5,
            stays=4,
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
        summary="the same a moment after LOCK TABLE: nobody else waits, and nothing is wrong yet",
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
        name="chain",
        summary="one waits for the root and holds a row that others wait for",
        inject=_chain,
        truth=Truth(
            says=r"refund-job.*blocks 6 sessions",
            opens="RUN-007",
            step=("terminate", ("refund-job",)),
            frees=6,
            stays=5,
        ),
    ),
    Scenario(
        name="running-root",
        summary="the root runs a long statement: cancelled, it lets go",
        inject=_running_root,
        truth=Truth(
            says=r"month-end.*blocks 5 sessions",
            opens="RUN-007",
            step=("cancel", ("month-end",)),
            frees=5,
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
        summary="a COPY whose client sends nothing more: it does not notice that it is cancelled",
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
        name="other-database",
        summary="the queue is in another database of the server",
        inject=_other_database,
        truth=Truth(
            says=r"cron.*blocks 4 sessions",
            opens="RUN-007",
            step=("terminate", ("cron",)),
            frees=4,
        ),
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
        name="deleted-parent",
        summary="a parent row is deleted and not committed; foreign keys wait for it",
        inject=_deleted_parent,
        truth=Truth(
            says=r"cart-cleanup.*blocks 4 sessions",
            opens="RUN-007",
            step=("terminate", ("cart-cleanup",)),
            frees=4,
        ),
    ),
    Scenario(
        name="unique-key",
        summary="a key is inserted and not committed; others insert the same one",
        inject=_unique_key,
        truth=Truth(
            says=r"importer.*blocks 4 sessions",
            opens="RUN-007",
            step=("terminate", ("importer",)),
            frees=4,
        ),
    ),
    Scenario(
        name="lock-nobody-waits-for",
        summary="a session idle in transaction holds a whole table, before anybody waits",
        inject=_lock_nobody_waits_for,
        truth=Truth(says=r"maintenance.*AccessExclusiveLock", opens="RUN-007"),
    ),
    Scenario(
        name="page-in-use",
        summary="a cursor keeps a page in use, VACUUM waits for it, and a migration behind VACUUM",
        inject=_page_in_use,
        truth=Truth(
            says=r"exporter.*blocks 2 sessions",
            opens="RUN-007",
            step=("terminate", ("exporter",)),
            may=("nightly-vacuum",),
            frees=2,
        ),
    ),
    Scenario(
        name="page-of-one-of-two",
        summary="VACUUM waits for a page that one of two cursors keeps in use: nobody knows which",
        inject=_page_of_one_of_two,
        truth=Truth(
            says=r"(?=.*exporter)(?=.*auditor).* or .*blocks 2 sessions",
            opens="RUN-007",
        ),
    ),
    Scenario(
        name="safe-snapshot",
        summary="a SERIALIZABLE READ ONLY DEFERRABLE report waits for a serializable transaction",
        inject=_safe_snapshot,
        truth=Truth(
            says=r"bookkeeping.*blocks 1 session",
            opens="RUN-007",
            verdicts=frozenset({Verdict.WARNING}),
        ),
    ),
)
