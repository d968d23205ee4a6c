"""Scenarios of waits for advisory locks, prepared transactions, buffer pins and safe snapshots."""

from __future__ import annotations

from rbkernel.model import Verdict
from rbkernel.sandbox.access import Server
from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.scenarios.statements import CHANGE_ROW, CHANGE_TABLE, READ_TABLE
from rbkernel.sandbox.faults.stage import Stage


def _prepared(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("ROLLBACK PREPARED 'payout-17'"))
    stage.start("bank-connector", "BEGIN", CHANGE_ROW, "PREPARE TRANSACTION 'payout-17'")
    stage.send("shop-checkout", CHANGE_ROW, times=5)
    stage.waits(5)


def _advisory(stage: Stage) -> None:
    stage.start("nightly-job", "BEGIN", "SELECT pg_advisory_xact_lock(4711)")
    stage.send("shop-worker-pool", "SELECT pg_advisory_lock(4711)", times=5)
    stage.waits(5)


def _advisory_of_a_session(stage: Stage) -> None:
    stage.start("scheduler", "SELECT pg_advisory_lock(4711)")
    stage.send("shop-worker-pool", "SELECT pg_advisory_lock(4711)", times=5)
    stage.waits(5)


def open_cursor(stage: Stage, *names: str, server: Server = "primary") -> None:
    """Open cursors that pin a page of a table in the buffer, so that a VACUUM must wait."""
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
    stage.start("bookkeeping", "BEGIN ISOLATION LEVEL SERIALIZABLE", CHANGE_TABLE)
    deferrable = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"
    stage.send("balance-report", deferrable, READ_TABLE)
    waits = b"SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SafeSnapshot'"
    stage.until(waits, what="the report waits for a safe snapshot")
    stage.lasts(6, "balance-report")


SCENARIOS = (
    Scenario(
        name="prepared",
        summary="a prepared transaction holds a row: it has no session that could be ended",
        inject=_prepared,
        truth=Truth(says=r"payout-17.*blocks 5 sessions", opens="RUN-007"),
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
        summary="VACUUM waits for a page that one of two cursors keeps in use: it is unknown which",
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
