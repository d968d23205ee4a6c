"""The action `resume_replay` on a standby, and its undo: pause replay again."""

from __future__ import annotations

import time
from typing import Any

from rbkernel.actions.plans import RESUME_REPLAY
from rbkernel.config import Connection
from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import server
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import NotSent, Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres.connection.session import Session

RUNS, PAUSED = "not paused", "paused"

# in a CASE, because pg_get_wal_replay_pause_state fails on a primary
_LOOK = """
SELECT pg_catalog.pg_is_in_recovery() AS standby,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN pg_catalog.pg_get_wal_replay_pause_state() END AS replay,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(),
                                  pg_catalog.pg_last_wal_replay_lsn())::bigint AS waiting_bytes,
       pg_catalog.pg_last_wal_replay_lsn()::text AS replayed
"""
_CHANGE = """
SELECT pg_catalog.pg_wal_replay_{verb}()
 WHERE CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN pg_catalog.pg_get_wal_replay_pause_state() {condition} 'not paused'
            ELSE false END
   AND {same_server}
"""
RESUME = _CHANGE.format(verb="resume", condition="<>", same_server=server.SAME_SERVER)
PAUSE = _CHANGE.format(verb="pause", condition="=", same_server=server.SAME_SERVER)


def preview(session: Session, proposal: Proposal) -> Preview:
    """Return the state of the replay, and how much WAL is to be replayed.

    Raises
    ------
    ActionRefused
        The plan shows other SQL than that of the action.
    """
    if proposal.sql != RESUME_REPLAY or proposal.arguments:
        raise ActionRefused(
            f"plan {proposal.plan} was altered: it shows other SQL than that of the action",
            where=f"run {proposal.run_id}",
            next_step="run the runbook again, and check the notebook that proposed it",
        )
    identity, now = server.identify(session), _look(session)
    waiting = now["waiting_bytes"]
    return Preview(
        server=identity,
        targets=({"object": "replay of WAL", "replay": now["replay"]},),
        effect="replay continues"
        + (f", {_size(waiting)} of WAL are waiting" if waiting and waiting > 0 else ""),
        loss="the state that was paused: reads of old rows, or a stop before a mistake",
        undo=PAUSE.strip(),
        foretold={"replay": RUNS},
        statement=RESUME.strip(),
        values=(identity,),
        refusal=_refusal(now),
    )


def _refusal(now: Facts) -> str:
    if not now["standby"]:
        return "the server is not a standby (any more), so that it replays nothing"
    return "replay is not paused" if now["replay"] == RUNS else ""


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure."""
    return now.refusal or server.changed(document["server"], now.server)


def execute(connection: Connection, document: Facts) -> Facts:
    """Resume replay; errors as for `sessions.execute`."""
    return _send(connection, document, RESUME, "replay is not paused any more")


def undo(connection: Connection, document: Facts) -> Facts:
    """Pause replay again; errors as for `sessions.execute`."""
    return _send(connection, document, PAUSE, "replay is paused already")


def _send(connection: Connection, document: Facts, statement: str, why: str) -> Facts:
    with server.transaction(connection) as raw:
        rows = server.send(raw, statement, document["server"], connection)
    if not rows:
        raise NotSent(f"{why}, or the server changed in the last moment: nothing was executed")
    return {"executed": len(rows)}


def watch(session: Session, _document: Facts, watch_s: float) -> Outcome:
    """Wait until replay runs and keeps running; errors as for `sessions.watch`."""
    now = _watched(session, watch_s)
    runs = now["replay"] == RUNS
    waiting = now["waiting_bytes"] or 0
    return Outcome(
        state=ActionState.VERIFIED if runs else ActionState.FAILED,
        result=f"replay runs, {_size(max(waiting, 0))} of WAL left to replay"
        if runs
        else f"replay is {now['replay'] or 'over: the server is a primary'}",
        facts=now,
    )


def watch_undo(session: Session, _document: Facts, watch_s: float) -> Outcome:
    """Wait until replay is paused; errors as for `sessions.watch`."""
    now = _watched(session, watch_s)
    paused = now["replay"] == PAUSED
    return Outcome(
        state=ActionState.UNDONE if paused else ActionState.FAILED,
        result="replay is paused again" if paused else f"replay is {now['replay']}",
        facts=now,
    )


def _watched(session: Session, watch_s: float) -> dict[str, Any]:
    """Return the state of the replay after some seconds."""
    time.sleep(watch_s)
    return _look(session)


def _look(session: Session) -> dict[str, Any]:
    [row] = session.answer(_LOOK, name="state of the replay").records()
    return row


def _size(number_bytes: int) -> str:
    return f"{number_bytes / 2**20:,.1f} MB"
