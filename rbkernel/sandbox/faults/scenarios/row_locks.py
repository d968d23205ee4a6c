"""Scenarios of queues for locks on rows."""

from __future__ import annotations

from rbkernel.sandbox.faults import pool
from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.scenarios.statements import CHANGE_ROW, CHANGE_TABLE, LOCK_ROW
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.service import FIRST_ID, ID_STEP

_NEXT_ROW = f"UPDATE orders SET status = status WHERE id = {FIRST_ID + ID_STEP}"
_SHARED = f"SELECT status FROM orders WHERE id = {FIRST_ID} FOR SHARE"


def _row_queue(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", CHANGE_ROW)
    with stage.access.connect("postgres") as raw:
        waiters = pool.free_slots(raw, share=0.95)
    stage.send("shop-checkout", CHANGE_ROW, times=waiters)
    stage.waits(waiters, for_s=6)


def _open_transactions(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", CHANGE_ROW)
    stage.send("shop-checkout", "BEGIN", CHANGE_ROW, times=8)
    stage.waits(8)


def _tuple_queue(stage: Stage) -> None:
    stage.start("price-update", "BEGIN", CHANGE_ROW)
    stage.send("shop-checkout", LOCK_ROW, times=8)
    stage.waits(8)


def _two_trees(stage: Stage) -> None:
    stage.start("console", "BEGIN", CHANGE_TABLE)
    stage.start("refund-job", "BEGIN", CHANGE_ROW)
    stage.send("shop-reconciler", CHANGE_TABLE)
    stage.send("shop-checkout", CHANGE_ROW, times=15)
    stage.waits(16)


def _healthy_neighbour(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", CHANGE_ROW)
    stage.send("shop-checkout", CHANGE_ROW, times=6)
    stage.waits(6, for_s=6)
    stage.start("loyalty-sync", "BEGIN", _NEXT_ROW)
    stage.lasts(1.5, "loyalty-sync")


def _unknown_root(stage: Stage) -> None:
    stage.start("secretive", "SET track_activities = off", "BEGIN", CHANGE_ROW, role="postgres")
    stage.send("shop-checkout", CHANGE_ROW, times=4)
    stage.waits(4)


def _shared_row(stage: Stage) -> None:
    for name in ("loyalty-sync", "export"):
        stage.start(name, "BEGIN", _SHARED)
    stage.send("shop-checkout", CHANGE_ROW, times=4)
    stage.waits(4)


def _chain(stage: Stage) -> None:
    stage.start("refund-job", "BEGIN", CHANGE_ROW)
    stage.send("price-update", "BEGIN", _NEXT_ROW, CHANGE_ROW)
    stage.waits(1)
    stage.send("shop-checkout", _NEXT_ROW, times=5)
    stage.waits(6)


def _running_root(stage: Stage) -> None:
    stage.send("month-end", "BEGIN", CHANGE_ROW, "SELECT pg_sleep(3600)")
    stage.send("shop-checkout", CHANGE_ROW, times=5)
    stage.waits(5)


def _other_database(stage: Stage) -> None:
    there = "postgres"
    stage.administer("CREATE TABLE jobs AS SELECT 1 AS id", dbname=there)
    stage.administer("GRANT ALL ON jobs TO shop_app", dbname=there)
    stage.on_heal(lambda: stage.administer("DROP TABLE jobs", dbname=there))
    change = "UPDATE jobs SET id = id"
    stage.start("cron", "BEGIN", change, dbname=there)
    stage.send("worker", change, times=4, dbname=there)
    stage.waits(4)


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
        summary="each session that gets the row keeps it: its own transaction stays open",
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
        name="shared-row",
        summary="two sessions hold a row FOR SHARE: ending one of them frees nobody",
        inject=_shared_row,
        truth=Truth(
            says=r"(?=.*loyalty-sync)(?=.*export).*block",
            opens="RUN-007",
            step=("terminate", ("loyalty-sync", "export")),
            frees=4,
        ),
    ),
    Scenario(
        name="chain",
        summary="one session waits for the root and holds a row that others wait for",
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
        summary="the root runs a long statement: cancelling it releases the lock",
        inject=_running_root,
        truth=Truth(
            says=r"month-end.*blocks 5 sessions",
            opens="RUN-007",
            step=("cancel", ("month-end",)),
            frees=5,
        ),
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
)
