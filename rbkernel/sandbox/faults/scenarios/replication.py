"""Scenarios of standbys that are late or cut off, or only seem to be, and of failed primaries.

The latter include a failover, and two primaries at once (split brain).
"""

from __future__ import annotations

import os
import signal
import time

from rbkernel.model import Verdict
from rbkernel.sandbox.faults import replication
from rbkernel.sandbox.faults.scenario import CRITICAL, HEALTHY, Scenario, Truth
from rbkernel.sandbox.faults.stage import Stage

_LATE = "sandbox-standby is .* behind sandbox-primary"


def _replay_paused(stage: Stage) -> None:
    stage.on_heal(lambda: replication.resume(stage.access, stage.seed))
    replication.pause(stage.access, stage.seed)


def _receiver_down(stage: Stage) -> None:
    stage.on_heal(lambda: replication.restore(stage.access, stage.seed))
    replication.cut(stage.access, stage.seed)


def _sender_frozen(stage: Stage) -> None:
    for server in ("primary", "standby"):
        stage.setting("wal_sender_timeout", "2min", server=server)
        stage.setting("wal_receiver_timeout", "2min", server=server)
    query = b"SELECT pid FROM pg_stat_replication WHERE application_name = 'sandbox-standby'"
    pid = stage.until(query, what="the standby streams")[0]
    stage.on_heal(lambda: os.kill(pid, signal.SIGCONT))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(16)


def _quiet(stage: Stage) -> None:
    """Create a primary without commits for 20 s, then one long transaction that writes."""
    stage.stop_traffic()
    time.sleep(20)
    stage.send(
        "migration",
        "DO $$BEGIN FOR n IN 1..100000 LOOP PERFORM pg_logical_emit_message(true, 'x', 'y');"
        " PERFORM pg_sleep(0.002); END LOOP; END$$",
        role="postgres",
    )
    stage.lasts(1)


def _idle_primary(stage: Stage) -> None:
    """Create an idle primary: no commits and no writes for 20 s."""
    stage.stop_traffic()
    time.sleep(20)


def _delayed(stage: Stage) -> None:
    stage.clone("spare")
    # set only after streaming began: otherwise the delay would apply to the base backup's WAL
    stage.setting("recovery_min_apply_delay", "10min", server="spare")
    time.sleep(17)


def _cascade_cut_off(stage: Stage) -> None:
    stage.clone("spare", upstream="standby")
    _receiver_down(stage)
    time.sleep(6)


def _two_primaries(stage: Stage) -> None:
    stage.on_heal(stage.rebuild_standby)
    stage.administer("SELECT pg_promote()", server="standby")
    stage.until(b"SELECT NOT pg_is_in_recovery()", what="it is promoted", server="standby")


def _failed_over(stage: Stage) -> None:
    stage.on_heal(stage.rebuild_standby)
    stage.on_heal(lambda: stage.bring_back("primary"))
    stage.stop("primary")
    stage.administer("SELECT pg_promote()", server="standby")
    stage.until(b"SELECT NOT pg_is_in_recovery()", what="it is promoted", server="standby")


def _primary_down(stage: Stage) -> None:
    stage.on_heal(lambda: stage.bring_back("primary"))
    stage.stop("primary")
    time.sleep(3)


def _standby_down(stage: Stage) -> None:
    stage.on_heal(lambda: stage.bring_back("standby"))
    stage.stop("standby")


def _slot_unread(stage: Stage) -> None:
    stage.on_heal(lambda: stage.administer("SELECT pg_drop_replication_slot('old_cdc')"))
    stage.administer("SELECT pg_create_physical_replication_slot('old_cdc', true)")


SCENARIOS = (
    Scenario(
        name="replay-paused",
        summary="replay is paused on the standby",
        inject=_replay_paused,
        truth=Truth(says="(?i)paused", alone=_LATE, opens="RUN-005", verdicts=CRITICAL),
    ),
    Scenario(
        name="target-behind",
        summary="replay is paused on the standby, and orders is read there: its rows are late",
        inject=_replay_paused,
        target_db="sandbox-standby",
        truth=Truth(
            says="(?i)paused",
            alone=f"{_LATE}|(?i:paused)",
            opens="RUN-005",
            verdicts=CRITICAL,
            rows="resolve",
        ),
    ),
    Scenario(
        name="receiver-down",
        summary="the standby cannot log in to the primary any more",
        inject=_receiver_down,
        truth=Truth(
            says="sandbox-standby.*(not connected|receives no WAL)|receives no WAL",
            opens="RUN-005",
            verdicts=CRITICAL,
        ),
    ),
    Scenario(
        name="sender-frozen",
        summary="the WAL sender is frozen for 16 s; the standby has replayed all that it received",
        inject=_sender_frozen,
        truth=Truth(
            says=r"sandbox-standby is (up to )?(1[5-9]|2\d) s behind",
            alone=_LATE,
            opens="RUN-005",
            verdicts=CRITICAL,
        ),
    ),
    Scenario(
        name="quiet-then-long-transaction",
        summary="one long transaction after a quiet time: the standby is 150 bytes behind",
        inject=_quiet,
        truth=HEALTHY,
    ),
    Scenario(
        name="idle-primary",
        summary="a quiet night: nothing has been committed for 20 s",
        inject=_idle_primary,
        truth=HEALTHY,
    ),
    Scenario(
        name="delayed-neighbour",
        summary="a deliberately delayed standby, next to the queried one",
        inject=_delayed,
        needs=("spare",),
        truth=HEALTHY,
    ),
    Scenario(
        name="delayed",
        summary="the queried standby is delayed deliberately",
        inject=_delayed,
        standby="sandbox-spare",
        standby_name="spare",
        needs=("spare",),
        truth=Truth(
            says="recovery_min_apply_delay",
            opens="RUN-005",
            # the primary must have another, healthy standby
            seen_by=("RUN-000", "RUN-005"),
        ),
    ),
    Scenario(
        name="cascade-cut-off",
        summary="the queried standby receives WAL from a standby that is cut off from the primary",
        inject=_cascade_cut_off,
        standby="sandbox-spare",
        standby_name="",
        needs=("spare",),
        truth=Truth(
            # the cause is the standby in between, which the primary knows
            says="sandbox-spare is up to .* behind|sandbox-standby is not connected",
            alone="sandbox-standby is not connected",
            opens="RUN-005",
        ),
    ),
    Scenario(
        name="two-primaries",
        summary="the standby was promoted while the primary still accepts writes",
        inject=_two_primaries,
        truth=Truth(
            says="(?i)two .*primaries",
            alone="sandbox-standby is not connected",
            opens="RUN-030",
            opens_alone="RUN-005",
            verdicts=CRITICAL,
        ),
    ),
    Scenario(
        name="two-primaries-seen-from-the-other",
        summary="the primary still accepts writes, and the promoted standby is queried",
        inject=_two_primaries,
        db="sandbox-standby",
        standby="",
        standby_name="",
        on="standby",
        truth=Truth(says="(?i)two .*primaries", opens="RUN-030", verdicts=CRITICAL),
    ),
    Scenario(
        name="failed-over",
        summary="the primary is down and the standby was promoted",
        inject=_failed_over,
        truth=Truth(says="sandbox-primary does not answer", verdicts=CRITICAL, rows="resolve"),
        within_s=5,
    ),
    Scenario(
        name="primary-down",
        summary="the primary was stopped, the standby is up",
        inject=_primary_down,
        truth=Truth(says="sandbox-primary does not answer", verdicts=CRITICAL, rows="resolve"),
        within_s=5,
    ),
    Scenario(
        name="standby-down",
        summary="the standby was stopped, the primary is up",
        inject=_standby_down,
        truth=Truth(
            says="sandbox-standby does not answer",
            alone="sandbox-standby is not connected",
            opens="RUN-005",
            verdicts=CRITICAL,
        ),
    ),
    Scenario(
        name="slot-unread",
        summary="a replication slot has no reader, and its WAL is kept",
        inject=_slot_unread,
        truth=Truth(
            says="Nobody reads from 1 slot, and its WAL is kept: old_cdc",
            verdicts=frozenset({Verdict.WARNING}),
            seen_by=("RUN-000", "RUN-005"),
        ),
    ),
)
