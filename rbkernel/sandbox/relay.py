"""Deliver the shop's outbox: ``python -m rbkernel.sandbox.relay HOME FAULT``.

One process, which takes the oldest pending message of each destination in turn and marks it as
delivered, so that a message that fails holds up its destination. The fault decides what fails. The
process ends when the server ends its session.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rbkernel.errors import DatabaseError
from rbkernel.sandbox import state
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import outbox
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver

# messages of a destination in one transaction, and s between two of them
_BATCH, _PAUSE_S = 100, 0.05
# a burst lasts for minutes, so that it is still there when a slow machine looks
_SLOW_BATCH, _SLOW_PAUSE_S = 1, 0.2

_FIRST = f"""SELECT min(id) FROM {outbox.TABLE}
WHERE destination = %s AND status = 'pending'""".encode()
_FAIL = f"""UPDATE {outbox.TABLE} SET attempts = attempts + 1, last_error = %s, updated_at = now()
WHERE id = %s AND status = 'pending'""".encode()
_DELIVER = f"""UPDATE {outbox.TABLE} SET status = 'delivered', updated_at = now()
WHERE id IN (SELECT id FROM {outbox.TABLE} WHERE destination = %s AND status = 'pending'
             ORDER BY id LIMIT %s)""".encode()
_HOLD = f"SELECT id FROM {outbox.TABLE} WHERE id = %s FOR UPDATE".encode()


def relay(access: Access, fault: str) -> None:
    """Deliver messages until the session is gone."""
    raw = access.connect("shop_app", application_name=outbox.RELAY)
    first = _first(raw, outbox.SICK)
    if fault == outbox.LOCKED:
        holder = access.connect("shop_app", application_name=outbox.HOLDER, autocommit=False)
        holder.execute(_HOLD, [first])
    errors = {outbox.REJECTED: outbox.REJECTION, outbox.RECEIVER: outbox.REFUSAL}
    slow = fault == outbox.BURST
    batch, pause_s = (_SLOW_BATCH, _SLOW_PAUSE_S) if slow else (_BATCH, _PAUSE_S)
    while True:
        for destination in outbox.DESTINATIONS:
            head = _first(raw, destination)
            # a receiver that is down fails for any message; a rejected message, for itself only
            fails = head == first or (fault == outbox.RECEIVER and destination == outbox.SICK)
            if fault in errors and fails:
                raw.execute(_FAIL, [errors[fault], head])
            elif head is not None:
                raw.execute(_DELIVER, [destination, batch])
        time.sleep(pause_s)


def _first(raw: driver.RawConnection, destination: str) -> int | None:
    row = raw.execute(_FIRST, [destination]).fetchone()
    return row[0] if row else None


def main(arguments: list[str]) -> int:
    """Run the relay of the shop on the sandbox in the given folder."""
    folder, fault = arguments
    home = Home(Path(folder))
    known = state.load(home)
    if known is None:
        return 1
    access = Access(home=home, primary_port=known.primary_port, standby_port=known.standby_port)
    try:
        relay(access, fault)
    except (DatabaseError, driver.RawConnection.Error) as error:
        sys.stderr.write(f"{error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
