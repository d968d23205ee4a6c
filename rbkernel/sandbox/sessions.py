"""Hold the sessions of a fault: ``python -m rbkernel.sandbox.sessions HOME FAULT SEED COUNT``.

One process holds all sessions. The process does not reconnect, and ends when the server has ended
all sessions.
"""

from __future__ import annotations

import select
import sys
from pathlib import Path

from rbkernel.errors import DatabaseError
from rbkernel.sandbox import state
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import locks, pool, row_queue, schema, unreachable, vacuum
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver


def main(arguments: list[str]) -> int:
    """Open the sessions of a fault, and keep them until the server ends them."""
    folder, fault, seed, count = arguments
    home = Home(Path(folder))
    known = state.load(home)
    if known is None:
        return 1
    access = Access(home=home, primary_port=known.primary_port, standby_port=known.standby_port)
    held = [_session(access, fault, int(seed), number) for number in range(int(count))]
    _wait_for_their_end(held)
    return 0


def _session(access: Access, fault: str, seed: int, number: int) -> driver.RawConnection:
    """Open one session of a fault and bring it into its state, such as idle in transaction."""
    kinds = {kind.fault: kind for kind in (pool.IDLE, pool.ACTIVE)}
    kind = kinds.get(fault)
    if kind:
        raw = _connect(access, kind.application_name(seed))
        pool.hold(kind, raw, seed, number)
    elif fault == row_queue.FAULT:
        raw = _connect(access, row_queue.session_name(seed, number))
        row_queue.hold(raw, seed, number)
    elif fault == vacuum.HELD_BACK:
        raw = _connect(access, vacuum.HOLDER)
        vacuum.hold(raw)
    elif fault == schema.BUILDING:
        raw = _connect(access, schema.session_name(number))
        if number:
            raw.rollback()
        schema.hold(raw, number)
    elif fault == unreachable.LOCKED:
        raw = access.connect("postgres", application_name=unreachable.LOCKER, autocommit=False)
        unreachable.hold_catalogue(raw)
    else:
        raw = _connect(access, locks.session_name(seed, number))
        locks.hold(raw, number)
    return raw


def _connect(access: Access, name: str) -> driver.RawConnection:
    return access.connect("shop_app", application_name=name, autocommit=False)


def _wait_for_their_end(held: list[driver.RawConnection]) -> None:
    """Wait until the server has closed every session of the fault."""
    poller = select.poll()
    sessions = {raw.fileno(): raw for raw in held}
    for descriptor in sessions:
        poller.register(descriptor, select.POLLIN)
    while sessions:
        for descriptor, _ in poller.poll():
            if _ended(sessions[descriptor]):
                poller.unregister(descriptor)
                sessions.pop(descriptor).close()


def _ended(raw: driver.RawConnection) -> bool:
    try:
        raw.pgconn.consume_input()
    except driver.RawConnection.Error:
        return True
    return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DatabaseError as error:
        sys.exit(str(error))
