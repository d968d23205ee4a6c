"""The actions `cancel_queries` and `terminate_sessions`: preview, execute, and watch the effect.

A session is signalled only if it is the session that was previewed, still in the same transaction
and at the same query, and only if all the others are, too. One statement checks this and signals;
it is sent once, and does nothing after the time until which the action may be executed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rbkernel.actions.plans import sessions_sql
from rbkernel.config import Connection
from rbkernel.errors import ActionRefused, DatabaseError
from rbkernel.evidence.incident import ActionState
from rbkernel.execution import server
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.outcome import NotSent, Outcome
from rbkernel.execution.proposal import Proposal
from rbkernel.sources.postgres import remedy, situation
from rbkernel.sources.postgres.blocking import Freed, trees
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.remedy import Remedy
from rbkernel.sources.postgres.situation import Backend, Situation
from rbkernel.sql import lexer

# s between two looks at the sessions
_EVERY_S = 0.2
_IDENTIFYING = ("pid", "backend_start", "xact_start", "query_start", "state")

_LOOK = """
SELECT a.pid, a.backend_start, a.xact_start, a.query_start, a.state, a.backend_type,
       a.application_name AS application, a.usename::text AS username, a.datname::text AS database,
       pg_catalog.host(a.client_addr) AS client, a.query, r.rolsuper AS superuser
  FROM pg_catalog.pg_stat_activity a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
 WHERE a.pid = ANY (:pids)
 ORDER BY a.pid
"""
# A commit that waits for a standby has the same transaction, query and state as its statement, so
# it is excluded by its wait. A superuser's session would be refused in the middle of the list.
# `until` is a time of the server's clock.
SIGNAL = f"""
WITH wanted AS (
    SELECT *
      FROM unnest(%(pids)s::int[], %(verbs)s::text[], %(backend_starts)s::timestamptz[],
                  %(xact_starts)s::timestamptz[], %(query_starts)s::timestamptz[],
                  %(states)s::text[], %(xids)s::boolean[])
           AS w (pid, verb, backend_start, xact_start, query_start, state, has_xid)
), found AS MATERIALIZED (
    SELECT w.pid, w.verb
      FROM wanted w
      JOIN pg_catalog.pg_stat_activity a USING (pid)
      JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
     WHERE a.backend_start = w.backend_start
       AND a.xact_start IS NOT DISTINCT FROM w.xact_start
       AND a.query_start IS NOT DISTINCT FROM w.query_start
       AND a.state IS NOT DISTINCT FROM w.state
       AND (w.has_xid OR a.backend_xid IS NULL)
       AND a.wait_event IS DISTINCT FROM 'SyncRep'
       AND a.backend_type = 'client backend'
       AND a.pid <> pg_catalog.pg_backend_pid()
       AND NOT r.rolsuper
), ready AS MATERIALIZED (
    SELECT (SELECT count(*) FROM found) = (SELECT count(*) FROM wanted)
       AND pg_catalog.clock_timestamp() < %(until)s::timestamptz
       AND {lexer.to_driver(server.SAME_SERVER)} AS yes
)
SELECT f.pid, r.yes,
       CASE WHEN r.yes IS NOT TRUE THEN false
            WHEN f.verb = 'cancel' THEN pg_catalog.pg_cancel_backend(f.pid)
            WHEN f.verb = 'terminate' THEN pg_catalog.pg_terminate_backend(f.pid)
            END AS signalled
  FROM found f CROSS JOIN ready r
"""


def preview(session: Session, proposal: Proposal) -> Preview:
    """Resolve the targets of a proposal again, and foretell the effect.

    Raises
    ------
    ActionRefused
        The server could not be examined, or the SQL shown is not the SQL of these targets.
    """
    wanted = _wanted(proposal)
    seen = situation.look(session)
    if seen.reason:
        raise ActionRefused(
            f"the server cannot be examined: {seen.reason}",
            where=f"connection {proposal.connection}",
            next_step=seen.next_step,
        )
    identity, at = server.identify(session), server.clock(session)
    now = _look(session, [one["pid"] for one in wanted])
    refusals = [_refusal(one, now.get(one["pid"]), seen) for one in wanted]
    targets = [
        {"verb": one["verb"], **now[one["pid"]], **_holds(seen.backend(one["pid"]))}
        for one in wanted
        if one["pid"] in now
    ]
    step = _remedy(wanted, seen)
    return Preview(
        at=at,
        server=identity,
        targets=tuple(targets),
        effect=_effect(step),
        loss=step.loss,
        foretold={
            "freed": [
                {**_who(seen.backend(pid)), "at_once": pid in step.freed.at_once}
                for pid in sorted(step.freed.all)
            ],
            "waiting": step.left,
        },
        statement=SIGNAL.strip(),
        values=(_values(targets, identity),),
        refusal="; ".join(filter(None, refusals)),
    )


def changed(document: Facts, now: Preview) -> str:
    """Return what changed since the preview that was approved; empty if nothing did. Pure.

    More sessions may wait than at the time of the preview; but if nobody would be freed any more,
    there is no reason left to execute the action.
    """
    if why := server.changed(document["server"], now.server) or now.refusal:
        return why
    before = {one["pid"]: one for one in document["targets"]}
    for one in now.targets:
        was = before.get(one["pid"], {})
        if one["verb"] != was.get("verb"):
            return f"pid {one['pid']} was not a target of the approved action"
        if [name for name in _IDENTIFYING if not _same(was.get(name), one.get(name))]:
            return (
                f"pid {one['pid']} went on since the preview: it is {one['state']}, with another"
                " transaction or query"
            )
        if was.get("writes") is False and one.get("writes"):
            return f"pid {one['pid']} has written since the preview, and would lose that"
    if document["foretold"]["freed"] and not now.foretold["freed"]:
        return "no session waits for the targets any more"
    return "" if len(before) == len(now.targets) else "the targets are not those of the preview"


def execute(connection: Connection, document: Facts, until: datetime) -> Facts:
    """Signal the sessions, and return what was signalled; nothing is sent twice.

    Raises
    ------
    NotSent
        A target or the server had changed, or it was too late: no session was signalled.
    DatabaseError, QueryError
        The server refused the statement, or did not answer: sessions may have been signalled.
    """
    values = {**_values(document["targets"], document["server"]), "until": until}
    with server.transaction(connection) as raw:
        rows = server.send(raw, SIGNAL, values, connection)
    if not (rows and all(ready for _, ready, _ in rows)):
        raise NotSent(
            "a target or the server changed in the last moment, or it was too late: nothing was"
            " signalled"
        )
    return {"signalled": [pid for pid, _, signalled in rows if signalled]}


def watch(session: Session, document: Facts, watch_s: float) -> Outcome:
    """Watch the targets for some seconds, and count the sessions that were freed.

    Raises
    ------
    DatabaseError
        The server cannot be examined, or is not the one on which the action was executed.
    """
    until = time.monotonic() + watch_s
    targets = document["targets"]
    left = targets
    while left and time.monotonic() < until:
        time.sleep(_EVERY_S)
        now = _look(session, [one["pid"] for one in targets])
        left = [one for one in targets if _is_left(one, now.get(one["pid"]))]
    time.sleep(max(0.0, until - time.monotonic()))
    seen = situation.look(session)
    why = seen.reason or server.changed(document["server"], server.identify(session))
    if why:
        raise DatabaseError(why, where=f"connection {document['connection']}")
    return _outcome(document, left, seen)


def _outcome(document: Facts, left: Sequence[Facts], seen: Situation) -> Outcome:
    """Compare what is seen with what was foretold.

    A session that waits in another query than before was freed. Those that were to be freed later
    may still wait.
    """
    foretold = document["foretold"]["freed"]
    waits = {_waiter(_who(one)) for one in seen.backends if one.held_up}
    still = [one for one in foretold if _waiter(one) in waits]
    ended = len(document["targets"]) - len(left)
    freed = len(foretold) - len(still)
    survivors = ", ".join(f"pid {one['pid']}" for one in left)
    stuck = ", ".join(f"pid {one['pid']}" for one in still if one["at_once"])
    words = f"{ended} of {len(document['targets'])} done"
    words += f", {freed} of {len(foretold)} sessions no longer wait" if foretold else ""
    words += f"; still there: {survivors}" if left else ""
    words += f"; still waiting, but foretold to be freed at once: {stuck}" if stuck else ""
    without_effect = bool(left or stuck)
    return Outcome(
        state=ActionState.FAILED if without_effect else ActionState.VERIFIED,
        result=words,
        facts={
            "survivors": [one["pid"] for one in left],
            "freed": freed,
            "foretold": len(foretold),
            "waiting": len(waits),
        },
    )


def _waiter(who: Facts) -> tuple[Any, ...]:
    return tuple(who.get(name) for name in ("pid", "backend_start", "query_start"))


def _wanted(proposal: Proposal) -> list[dict[str, Any]]:
    """Return the targets of a proposal: verb, pid and times.

    Raises
    ------
    ActionRefused
        The proposal is malformed, or its SQL is not the SQL of its targets.
    """
    try:
        wanted = [
            {
                "verb": verb,
                "pid": int(one["pid"]),
                "backend_start": str(one["backend_start"]),
                "query_start": str(one["query_start"]) if verb == "cancel" else None,
            }
            for verb in ("terminate", "cancel")
            for one in proposal.arguments.get(verb, ())
        ]
        same = sessions_sql(proposal.arguments) == proposal.sql
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise proposal.altered(f"its targets cannot be read: {error!r}") from error
    if proposal.action == "cancel_queries" and proposal.arguments.get("terminate"):
        raise proposal.altered("it cancels queries, but would terminate sessions")
    if not same or len({one["pid"] for one in wanted}) < len(wanted):
        raise proposal.altered("the SQL that it shows is not the SQL of its targets")
    if not wanted:
        raise ActionRefused(f"plan {proposal.plan} has no target: there is nothing to do")
    return wanted


def _look(session: Session, pids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return what identifies the sessions that exist now, by pid; times are ISO 8601."""
    answer = session.answer(_LOOK, {"pids": list(pids)}, name="targets of the action")
    rows = answer.protected(session.connection.redaction).records()
    return {
        row["pid"]: {
            name: _iso(value) if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _same(one: object, other: object) -> bool:
    """Compare two values of a session; times may be written in different zones.

    >>> _same("2026-11-20T03:02:11+00:00", "2026-11-20T04:02:11+01:00"), _same("idle", "active")
    (True, False)
    """
    try:
        return datetime.fromisoformat(str(one)) == datetime.fromisoformat(str(other))
    except (ValueError, TypeError):
        return one == other


def _refusal(wanted: Facts, now: Facts | None, seen: Situation) -> str:
    """Return why a target must not be signalled; empty if it may be."""
    who = f"pid {wanted['pid']}"
    if now is None:
        return f"{who} has ended"
    if not _same(wanted["backend_start"], now["backend_start"]):
        return f"{who} is another session now: the one in the plan has ended"
    if now["superuser"] is not False:
        return f"{who} is a session of a superuser, which rbkernel does not end"
    if wanted["verb"] == "cancel" and (
        now["state"] != "active" or not _same(wanted["query_start"], now["query_start"])
    ):
        return f"the query of {who} has ended"
    backend = seen.backend(wanted["pid"])
    if backend is None:
        return f"{who} is not in the snapshot of the server's sessions"
    why = remedy.forbidden(backend)
    return f"{who} must not be signalled: {why}" if why else ""


def _holds(backend: Backend | None) -> Facts:
    if backend is None:
        return {}
    names = ("transaction_s", "has_xid", "writes", "strong_lock", "relation")
    return {name: getattr(backend, name) for name in names}


def _who(backend: Backend | None) -> Facts:
    if backend is None:
        return {}
    return {
        "pid": backend.pid,
        "backend_start": _iso(backend.backend_start),
        "query_start": _iso(backend.query_start),
        "application": backend.application,
    }


def _remedy(wanted: Sequence[Facts], seen: Situation) -> Remedy:
    """Return the step with its effect: the sessions of all blocking trees that it frees."""
    pids = {one["pid"] for one in wanted}
    backends = [one for one in seen.backends if one.pid in pids]
    found = [(tree, tree.freed(pids)) for tree in trees(seen)]
    freed = Freed(
        at_once=frozenset().union(*(one.at_once for _, one in found)) - pids,
        later=frozenset().union(*(one.later for _, one in found)) - pids,
    )
    left = {pid for tree, one in found for pid in tree.waiters.keys() - one.all} - pids
    involved = {pid for tree, one in found if one.all for pid in (*tree.roots, *tree.waiters)}
    members = [one for one in seen.backends if one.pid in involved]
    advisory = any(one.locktype == "advisory" for one in members)
    return Remedy(
        targets=tuple(backends),
        loss=remedy.loss_of(backends, advisory=advisory) if backends else "",
        freed=freed,
        left=len(left),
        sure=not any(one.row_unseen and one.pid in freed.all for one in members),
        advisory=advisory,
    )


def _effect(step: Remedy) -> str:
    if step.freed.all or not step.targets:
        return step.effect
    return f"no session waits for {'it' if len(step.targets) == 1 else 'them'}"


def _is_left(target: Facts, now: Facts | None) -> bool:
    """Return whether a target is still there: the session, or the query that was cancelled."""
    if now is None or not _same(target["backend_start"], now["backend_start"]):
        return False
    if target["verb"] == "terminate":
        return True
    return now["state"] == "active" and _same(target["query_start"], now["query_start"])


def _values(targets: Sequence[Facts], identity: Facts) -> dict[str, Any]:
    """Return the values of `SIGNAL`; lists in the order of the targets."""
    names = {
        "pids": "pid",
        "verbs": "verb",
        "backend_starts": "backend_start",
        "xact_starts": "xact_start",
        "query_starts": "query_start",
        "states": "state",
        "xids": "has_xid",
    }
    columns = {place: [one.get(name) for one in targets] for place, name in names.items()}
    return {**columns, **identity}
