"""Readers of a standby that hold up its replay, and what waits behind it."""

from __future__ import annotations

from rbkernel.sandbox.faults.scenario import Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage

_READ = "SELECT count(*) FROM reconciliation_diffs"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"
_STARTUP = b"""
SELECT count(*) > 0 FROM pg_stat_activity
WHERE backend_type = 'startup' AND %s IN (wait_event, wait_event_type)
"""


def _patient(stage: Stage) -> None:
    """Let replay wait for readers for ever."""
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
        # who looks at the primary, too, finds that transaction itself
        truth=Truth(
            says="transaction of the primary.*blocks 5 sessions|maintenance.*AccessExclusiveLock",
            opens="RUN-007",
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
