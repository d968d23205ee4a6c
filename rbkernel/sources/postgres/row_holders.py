"""Find all holders of a row that a session waits for; `pg_blocking_pids` returns only one of them.

A row locked FOR SHARE (or by foreign keys: FOR KEY SHARE) can have several holders. A session that
changes the row waits for one holder at a time, and `pg_blocking_pids` returns only that holder. The
row's xmax is then a multixact, whose members are all holders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rbkernel.errors import DatabaseError, QueryError
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.situation import Backend, Situation

# maximum number of rows to read per snapshot; each takes up to three short queries
_ROWS = 5

_NAME = "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.oid = :relation"
_HOLDERS = """
SELECT l.pid
FROM pg_get_multixact_members(CAST(:xmax AS xid)) m
JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = m.xid AND l.granted
WHERE l.pid IS NOT NULL
"""


def completed(session: Session, situation: Situation) -> Situation:
    """Return a snapshot in which the blockers of row waits include all holders of the row.

    If the row of a waiting session cannot be read, the session's ``row_unseen`` is set, and the
    effect of a step is uncertain.
    """
    waiters = [one for one in situation.backends if one.blocked_by and one.waits_for_xid]
    changed = {one.pid: _completed(session, one) for one in waiters[:_ROWS]}
    changed |= {one.pid: replace(one, row_unseen=True) for one in waiters[_ROWS:]}
    backends = (changed.get(one.pid, one) for one in situation.backends)
    return replace(situation, backends=tuple(backends))


def _completed(session: Session, waiter: Backend) -> Backend:
    if waiter.row_relation is None or waiter.row_ctid is None:
        return replace(waiter, row_unseen=True)
    try:
        holders = _holders(session, waiter)
    except (DatabaseError, QueryError):  # for example, no SELECT on the table
        holders = None
    if holders is None:
        return replace(waiter, row_unseen=True)
    every = dict.fromkeys((*waiter.blocked_by, *holders))
    return replace(waiter, blocked_by=tuple(pid for pid in every if pid != waiter.pid))


def _holders(session: Session, waiter: Backend) -> list[int] | None:
    """Return the pids of all transactions that hold the row that a session waits for.

    Empty if the only holder is the one that is already known. None if the table or the row no
    longer exists.
    """
    name = _value(session, _NAME, {"relation": waiter.row_relation})
    if name is None:
        return None
    # the name comes from the server, quoted and with its schema
    row = f"SELECT CAST(xmax AS text) FROM {name} WHERE ctid = CAST(:ctid AS tid)"
    xmax = _value(session, row, {"ctid": waiter.row_ctid})
    if xmax is None or xmax == waiter.waits_for_xid:
        return None if xmax is None else []
    return [pid for (pid,) in session.answer(_HOLDERS, {"xmax": xmax}).rows]


def _value(session: Session, sql: str, values: Mapping[str, Any]) -> Any:
    """Return the single value of a query's answer; None if there is no row."""
    return next((value for (value,) in session.answer(sql, values).rows), None)
