"""Measure the load of the servers during a comparison, and pause while the load is high.

The load is the number of active sessions in pg_stat_activity; sessions that wait for a lock count
twice, since such waits do the most harm. While the load is above the limit, no query runs and no
snapshot is held; after a while the comparison ends, incomplete.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rbkernel import amounts
from rbkernel.errors import DatabaseError
from rbkernel.reconciliation.snapshot import BACKEND, Reader, Readers
from rbkernel.sources.postgres.connection.capabilities import grant

PATIENCE_S = 60.0
_EVERY_S = 1.0
# PostgreSQL caches pg_stat_activity until the transaction ends, unless the cache is cleared
_FORGET = "SELECT 1 FROM (SELECT pg_stat_clear_snapshot()) AS forgotten"
_LOAD = f"""
SELECT count(*) FILTER (WHERE state = 'active')
           + count(*) FILTER (WHERE wait_event_type = 'Lock'),
       count(*) FILTER (WHERE backend_type IS NULL)
FROM pg_stat_activity
WHERE (backend_type = 'client backend' OR backend_type IS NULL)  -- NULL is hidden from this role
  AND datid IS NOT NULL AND ({BACKEND} = ANY(%(own)s::text[])) IS NOT TRUE
"""


def wait_for_calm(both: Readers, most: float, *, own: Sequence[Readers]) -> None:
    """Wait until neither server has more load than the limit.

    Parameters
    ----------
    both
        The two sides.
    most
        Active sessions plus sessions that wait for a lock.
    own
        All connections of this comparison, which do not count as load.

    Raises
    ------
    DatabaseError
        The load stays above the limit for `PATIENCE_S`, or the role cannot see it.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        loads = both.both(lambda reader: _load(reader, own), lambda reader: _load(reader, own))
        if max(loads) <= most:
            return
        both.release()
        if time.monotonic() >= give_up_at:
            busy = both.source if loads[0] > most else both.target
            raise DatabaseError(
                f"gave up: {max(loads)} sessions have been active or waiting for a lock for"
                f" {PATIENCE_S:.0f} s; the limit is {most:g} (--max-load)",
                where=f"connection {busy.name}",
                next_step="check its load first (RUN-000), or raise the limit",
            )
        time.sleep(_EVERY_S)


def _load(reader: Reader, own: Sequence[Readers]) -> int:
    reader.rows(_FORGET)
    backends = [one.backend for both in own for one in (both.source, both.target)]
    [(load, hidden)] = reader.rows(_LOAD, {"own": backends})
    if hidden:
        raise DatabaseError(
            f"{reader.session.server.role} cannot see what {amounts.count(hidden, 'session')} of"
            " other roles do, so it cannot measure the load (--max-load)",
            where=f"connection {reader.name}",
            next_step=f"{grant(reader.session.server, 'pg_monitor')}, or omit --max-load",
        )
    return int(load)
