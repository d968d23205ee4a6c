"""Scenarios of a standby whose readers delay replay, or whose sessions wait for replay."""

from __future__ import annotations

from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.scenarios.other_locks import open_cursor
from rbkernel.sandbox.faults.stage import Stage

_READ = "SELECT count(*) FROM reconciliation_diffs"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_STARTUP = b"""
SELECT count(*) > 0 FROM pg_stat_activity
WHERE backend_type = 'startup' AND %s IN (wait_event, wait_event_type)
"""


def _patient(stage: Stage) -> None:
    """Configure the standby so that replay waits for its readers without limit."""
    stage.setting("max_standby_streaming_delay", "-1", server="standby")


def _lock_conflict(stage: Stage) -> None:
    _patient(stage)
    stage.start("analyst", "BEGIN", _READ, server="standby")
    stage.on_heal(lambda: stage.administer("ALTER TABLE reconciliation_diffs DROP COLUMN extra"))
    stage.administer("ALTER TABLE reconciliation_diffs ADD COLUMN extra text")
    stage.until(_STARTUP, ["Lock"], what="replay waits for the reader", server="standby")
    stage.send("bi-dashboard", _READ, server="standby", times=6)
    stage.waits(6, for_s=4, server="standby")


def _snapshot_conflict(stage: Stage) -> None:
    _patient(stage)
    stage.setting("hot_standby_feedback", "off", server="standby")
    stage.start("analyst", _SNAPSHOT, _READ, server="standby")
    stage.start("bi-dashboard", _READ, server="standby", times=3)
    stage.administer("UPDATE reconciliation_diffs SET kind = kind", "VACUUM reconciliation_diffs")
    event = "RecoveryConflictSnapshot"
    stage.until(_STARTUP, [event], what="replay waits for the reader", server="standby")
    stage.lasts(6, "bi-dashboard", server="standby")


def _lock_of_primary(stage: Stage) -> None:
    stage.start("maintenance", "BEGIN", "LOCK TABLE reconciliation_diffs", "SELECT txid_current()")
    query = (
        b"SELECT count(*) > 0 FROM pg_locks"
        b" WHERE relation = 'reconciliation_diffs'::regclass AND mode = 'AccessExclusiveLock'"
    )
    stage.until(query, what="the lock is replayed", server="standby")
    stage.send("bi-dashboard", _READ, server="standby", times=5)
    stage.waits(5, server="standby")


def _readers_of_two_kinds(stage: Stage) -> None:
    _patient(stage)
    stage.start("analyst", "BEGIN", _READ, server="standby")
    stage.send(
        "report", "SELECT pg_sleep(3600), count(*) FROM reconciliation_diffs", server="standby"
    )
    stage.on_heal(lambda: stage.administer("ALTER TABLE reconciliation_diffs DROP COLUMN extra"))
    stage.administer("ALTER TABLE reconciliation_diffs ADD COLUMN extra text")
    stage.until(_STARTUP, ["Lock"], what="replay waits for the readers", server="standby")
    stage.send("bi-dashboard", _READ, server="standby", times=3)
    stage.waits(3, for_s=4, server="standby")


def _page_in_use(stage: Stage, *more: str) -> None:
    _patient(stage)
    open_cursor(stage, "analyst", *more, server="standby")
    stage.administer("VACUUM (FREEZE) ledger")
    stage.until(_STARTUP, ["BufferPin"], what="replay waits for the page", server="standby")


def _page_of_one_of_two(stage: Stage) -> None:
    _page_in_use(stage, "auditor")


def _tablespace(stage: Stage) -> None:
    """Drop a tablespace in which a reader of the standby has temporary files."""
    _patient(stage)
    with stage.access.connect("postgres") as raw:
        raw.execute(b"SET allow_in_place_tablespaces = on")
        raw.execute(b"CREATE TABLESPACE scratch LOCATION ''")
        raw.execute(b"GRANT CREATE ON TABLESPACE scratch TO PUBLIC")
    stage.until(
        b"SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = 'scratch')",
        what="the tablespace is there",
        server="standby",
    )
    stage.start(
        "analyst",
        "SET temp_tablespaces = scratch",
        "SET work_mem = '64kB'",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 200000) g ORDER BY -g",
        "FETCH 1 FROM c",
        server="standby",
    )
    stage.start("bi-dashboard", "BEGIN", _READ, server="standby")
    stage.administer("DROP TABLESPACE scratch")
    event = "RecoveryConflictTablespace"
    stage.until(_STARTUP, [event], what="replay waits for the reader", server="standby")


def _advisory(stage: Stage) -> None:
    lock = "SELECT pg_advisory_lock(4711)"
    stage.start("etl", lock, server="standby")
    stage.send("etl-worker", lock, server="standby", times=4)
    stage.waits(4, server="standby")


SCENARIOS = (
    Scenario(
        name="standby-lock-conflict",
        summary="a reader of the standby, idle in transaction, holds up replay and readers behind",
        inject=_lock_conflict,
        on="standby",
        truth=Truth(
            says="analyst.*holds up replay",
            opens="RUN-007",
            step=("terminate", ("analyst",)),
            frees=7,
        ),
    ),
    Scenario(
        name="standby-snapshot-conflict",
        summary="a reader of the standby keeps a snapshot, and replay waits for it",
        inject=_snapshot_conflict,
        on="standby",
        truth=Truth(
            says="analyst.*replay",
            opens="RUN-007",
            step=("terminate", ("analyst",)),
        ),
    ),
    Scenario(
        name="standby-lock-of-primary",
        summary="a transaction of the primary holds a table, and readers of the standby wait",
        inject=_lock_of_primary,
        on="standby",
        # a runbook that also examines the primary finds the transaction itself
        truth=Truth(
            says="maintenance.*blocks 5 sessions of sandbox-standby",
            alone="transaction of the primary.*blocks 5 sessions",
            opens="RUN-007",
            may=("maintenance",),
        ),
    ),
    Scenario(
        name="standby-readers-of-two-kinds",
        summary="a reader idle in transaction and one that runs hold up replay",
        inject=_readers_of_two_kinds,
        on="standby",
        truth=Truth(
            says="(?=.*analyst)(?=.*report).*hold up replay",
            opens="RUN-007",
            step=("terminate", ("analyst", "report")),
            frees=4,
        ),
    ),
    Scenario(
        name="standby-page-in-use",
        summary="a cursor on the standby keeps a page in use, and replay waits for it",
        inject=_page_in_use,
        on="standby",
        truth=Truth(
            says="analyst.*holds up replay", opens="RUN-007", step=("terminate", ("analyst",))
        ),
    ),
    Scenario(
        name="standby-page-of-one-of-two",
        summary="replay waits for a page that one of two cursors keeps in use: it is unknown which",
        inject=_page_of_one_of_two,
        on="standby",
        truth=Truth(says="(?=.*analyst)(?=.*auditor).* or .*holds up replay", opens="RUN-007"),
    ),
    Scenario(
        name="standby-tablespace",
        summary="a tablespace is dropped, and replay waits for all transactions of the standby",
        inject=_tablespace,
        on="standby",
        # here the oldest session has the files; replay also waits for the other session
        truth=Truth(
            says="analyst.*holds up replay", opens="RUN-007", step=("terminate", ("analyst",))
        ),
    ),
    Scenario(
        name="standby-advisory",
        summary="an idle session of the standby keeps an advisory lock",
        inject=_advisory,
        on="standby",
        truth=Truth(
            says="etl .*blocks 4 sessions",
            opens="RUN-007",
            step=("terminate", ("etl",)),
            frees=4,
            stays=3,
        ),
    ),
)
