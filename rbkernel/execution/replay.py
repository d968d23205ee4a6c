"""The action `resume_replay`, for a standby whose replay of WAL is paused; its undo pauses again.

Resuming must neither promote the standby nor shut it down. Replay that stopped at a recovery target
goes on to a promotion, so a standby with a target is refused. Replay that stopped because a setting
is lower than on the primary ends the server. It stops inside of the record that changes the
setting, whose end is then the minimum recovery point: only in this case is that point beyond what
was replayed.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from rbkernel.actions.plans import PAUSE_REPLAY, RESUME_REPLAY
from rbkernel.config import Connection
from rbkernel.errors import DatabaseError
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import server
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import NotSent, Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sql import lexer

# s between two looks at the standby
_EVERY_S = 0.2
_WITHIN_RECORD = """coalesce(
           (SELECT r.min_recovery_end_lsn FROM pg_catalog.pg_control_recovery() r)
               > pg_catalog.pg_last_wal_replay_lsn(), true)"""
_LOOK = f"""
SELECT pg_catalog.pg_is_in_recovery() AS standby,
       CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN pg_catalog.pg_is_wal_replay_paused() END AS paused,
       pg_catalog.pg_last_wal_replay_lsn()::text AS replayed,
       pg_catalog.pg_last_wal_receive_lsn()::text AS received,
       greatest(pg_catalog.pg_last_wal_receive_lsn() - pg_catalog.pg_last_wal_replay_lsn(), 0)::int8
           AS behind,
       pg_catalog.pg_last_wal_replay_lsn() > :before::pg_lsn AS moved,
       {_WITHIN_RECORD} AS within_record,
       has_function_privilege(:role, 'pg_catalog.pg_wal_replay_resume()', 'EXECUTE')
           AND has_function_privilege(:role, 'pg_catalog.pg_wal_replay_pause()', 'EXECUTE')
           AS granted,
       ARRAY(SELECT s.name FROM pg_catalog.pg_settings s
             WHERE s.name IN ('recovery_target', 'recovery_target_lsn', 'recovery_target_name',
                              'recovery_target_time', 'recovery_target_xid')
               AND s.setting <> '' ORDER BY 1) AS ends_at
"""
_STEP = """
WITH ready AS MATERIALIZED (
    SELECT pg_catalog.clock_timestamp() < :until::timestamptz
       AND {same_server}
       AND CASE WHEN pg_catalog.pg_is_in_recovery() THEN {holds} END AS yes
)
SELECT r.yes, CASE WHEN r.yes THEN {function}()::text END AS done
  FROM ready r
"""
RESUME = _STEP.format(
    same_server=server.SAME_SERVER.strip(),
    function="pg_catalog.pg_wal_replay_resume",
    holds=f"""pg_catalog.pg_is_wal_replay_paused()
           AND pg_catalog.pg_last_wal_replay_lsn() = :replayed::pg_lsn
           AND NOT {_WITHIN_RECORD}""",
)
PAUSE = _STEP.format(
    same_server=server.SAME_SERVER.strip(),
    function="pg_catalog.pg_wal_replay_pause",
    holds="NOT pg_catalog.pg_is_wal_replay_paused()",
)


def preview(session: Session, proposal: Proposal) -> Preview:
    """Look at the standby of a proposal: whether its replay is paused, where, and may go on.

    Raises
    ------
    ActionRefused
        The proposal was altered.
    DatabaseError, QueryError
        The server does not answer.
    """
    resumes = not proposal.undoes
    if proposal.sql != (RESUME_REPLAY if resumes else PAUSE_REPLAY):
        raise proposal.altered("the SQL that it shows is not the SQL of this action")
    identity, at, now = server.identify(session), server.clock(session), _look(session)
    here = {"replayed": now["replayed"]} if resumes else {}
    return Preview(
        at=at,
        server=identity,
        targets=({"resume": resumes, **here},),
        effect=_effect(now) if resumes else "replay of WAL is paused: reads here become stale",
        loss="the old state that the pause keeps for readers of this standby"
        if resumes
        else "nothing: WAL is still received",
        undo=f"`rbkernel action undo {proposal.plan}` pauses replay again, where it is then"
        if resumes
        else "none: propose it again",
        foretold={"resume": resumes, **here},
        statement=(RESUME if resumes else PAUSE).strip(),
        values=({**identity, **here},),
        refusal=_not_granted(session, now)
        or (_no_resume(now) if resumes else _no_pause(now, proposal, identity)),
    )


def _effect(now: Facts) -> str:
    return (
        f"replay goes on from {now['replayed']}: {now['behind'] or 0} bytes are received and not"
        " replayed. Queries of readers that are in its way may be cancelled"
    )


def _not_granted(session: Session, now: Facts) -> str:
    if now["granted"]:
        return ""
    role = session.connection.for_actions().user
    return (
        f"the role {role} may not pause and resume replay: GRANT EXECUTE ON FUNCTION"
        f" pg_wal_replay_pause(), pg_wal_replay_resume() TO {role}, on the primary"
    )


def _no_resume(now: Facts) -> str:
    """Return why replay must not be resumed; empty if it may be. Pure."""
    if not now["standby"]:
        return "the server is no standby"
    if not now["paused"]:
        return "replay is not paused"
    if now["ends_at"]:
        names = ", ".join(now["ends_at"])
        return f"resuming may promote the standby: it has a recovery target ({names})"
    if now["within_record"]:
        return (
            "resuming would shut the standby down: a setting, such as max_connections, is lower"
            " than on the primary. Raise it (the log of the standby names it), and restart"
        )
    return ""


def _no_pause(now: Facts, proposal: Proposal, identity: Facts) -> str:
    """Return why the replay that an action resumed must not be paused; empty if it may be. Pure."""
    if why := server.changed(proposal.arguments["on"], identity):
        return why
    return "replay is paused already" if now["paused"] else ""


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure."""
    if why := server.changed(document["server"], now.server) or now.refusal:
        return why
    was, found = document["foretold"].get("replayed"), now.foretold.get("replayed")
    return "" if was == found else f"replay was paused at {was}, and is now at {found}"


def execute(connection: Connection, document: Facts, until: datetime) -> Facts:
    """Resume or pause replay; nothing is sent twice.

    Raises
    ------
    NotSent
        The standby had changed, or it was too late: nothing was changed.
    DatabaseError, QueryError
        The server refused the statement, or did not answer: it may have had an effect.
    """
    statement = RESUME if document["foretold"]["resume"] else PAUSE
    values = {**document["values"][0], "until": until}
    with server.transaction(connection) as raw:
        [(ready, _)] = server.send(raw, lexer.to_driver(statement), values, connection)
    if ready is not True:
        raise NotSent(
            "replay or the server changed in the last moment, or it was too late: nothing was"
            " changed"
        )
    return {"resumed": document["foretold"]["resume"]}


def watch(session: Session, document: Facts, watch_s: float) -> Outcome:
    """Watch the standby until the time is over: whether it is paused, and whether replay moves.

    Raises
    ------
    DatabaseError
        The server cannot be examined, or is not the one on which the action was executed.
    """
    until = time.monotonic() + watch_s
    foretold = document["foretold"]
    now = _look(session, foretold.get("replayed"))
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(min(_EVERY_S, left_s))
        now = _look(session, foretold.get("replayed"))
    if why := server.changed(document["server"], server.identify(session)):
        raise DatabaseError(why, where=f"connection {document['connection']}")
    return outcome(now, resumed=foretold["resume"])


def outcome(now: Facts, *, resumed: bool) -> Outcome:
    """Return what the state of a standby says about an action. Pure."""
    at = f"at {now['replayed']}"
    if not resumed:
        ok, words = now["paused"], f"replay is {'' if now['paused'] else 'not '}paused, {at}"
    elif now["paused"]:
        ok, words = False, f"replay is paused again, {at}"
    else:
        ok = bool(now["moved"] or now["behind"] == 0)
        words = f"replay is not paused, {at}, {now['behind'] or 0} bytes behind what is received"
        words += "" if ok else "; it has not moved"
    return Outcome(
        state=ActionState.VERIFIED if ok else ActionState.FAILED,
        result=words,
        facts={name: now[name] for name in ("paused", "replayed", "received")},
    )


def inverse(document: Facts) -> dict[str, Any]:
    """Return the arguments and the SQL of the action that pauses replay again. Pure."""
    return {"arguments": {"on": dict(document["server"])}, "sql": PAUSE_REPLAY}


def touched(document: Facts) -> frozenset[Any]:
    """Return what identifies the replay of a standby, also across databases. Pure."""
    return frozenset({(document["server"]["system_identifier"], document["server"]["started_at"])})


def target(facts: Facts) -> str:
    """Describe what is done to the standby.

    >>> target({"resume": True, "replayed": "0/3000148"}), target({"resume": False})
    ('resume replay, which is paused at 0/3000148', 'pause replay')
    """
    if not facts["resume"]:
        return "pause replay"
    return f"resume replay, which is paused at {facts['replayed']}"


def foretold(_: Facts) -> tuple[tuple[str, str], ...]:
    """Return nothing: the effect is described in the document."""
    return ()


def _look(session: Session, before: str | None = None) -> dict[str, Any]:
    given = {"before": before, "role": session.connection.for_actions().user}
    [row] = session.answer(_LOOK, given, name="replay of the standby").records()
    return row
