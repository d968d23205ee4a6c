"""Run the shop's traffic: ``python -m rbkernel.sandbox.traffic HOME``, one process, four sessions.

The traffic is about eleven small transactions a second, evenly spaced, so that the standby's last
replayed commit is never older than a tenth of a second on a healthy sandbox. An order is written to
``orders_legacy`` and ``orders`` in one transaction; while ``in-flight.json`` exists, the second
write follows some seconds later. The process changes only rows that it created, and no row twice
within `REST_S` seconds, so that each row is unchanged when a comparison reads it again.

The process survives a restart of the database and ends when the sandbox is removed.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import DatabaseError
from rbkernel.sandbox import state
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.home import Home
from rbkernel.sources.postgres.connection import driver

PERIOD_S = 0.09
REST_S = 20.0
RECONNECT_S = 0.5
# below 1/4: each order is advanced three times, and no order may wait forever
PLACED_SHARE = 0.2
_SESSIONS = ("shop-web", "shop-web", "shop-web", "shop-worker")
_LIFE = ("placed", "paid", "packed", "shipped")

_PLACE = b"""
INSERT INTO orders_legacy (id, customer_id, status, amount_cents, currency, created_at, updated_at)
VALUES (nextval('order_ids'), %s, %s, %s, 'EUR', now(), now())
RETURNING id
"""
_ADVANCE = b"UPDATE orders_legacy SET status = %s, updated_at = now() WHERE id = %s"
_COPY = b"""
INSERT INTO orders SELECT * FROM orders_legacy WHERE id = %s
ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at
"""


@dataclass(frozen=True)
class _Order:
    id: int
    step: int
    rests_until: float


class Traffic:
    """The simulated customers and workers of the shop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._random = random.Random()  # noqa: S311 - traffic, not secrets
        self._sessions: deque[driver.RawConnection] = deque()
        self._orders: deque[_Order] = deque()
        self._copies: deque[tuple[float, int]] = deque()

    def run(self) -> None:
        """Produce traffic until the sandbox is removed."""
        due = time.monotonic()
        while True:
            try:
                self._tick()
            except (DatabaseError, driver.RawConnection.Error):
                self._disconnect()
                if not self._access.home.state_file.exists():
                    return
                time.sleep(RECONNECT_S)
            due = max(due + PERIOD_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _tick(self) -> None:
        if not self._sessions:
            self._connect()
        self._sessions.rotate()
        raw = self._sessions[0]
        delay_s = self._delay_s()
        while self._copies and self._copies[0][0] <= time.monotonic():
            raw.execute(_COPY, [self._copies[0][1]])
            self._copies.popleft()
        with raw.transaction():
            order = self._write(raw)
            if not delay_s:
                raw.execute(_COPY, [order.id])
        if delay_s:
            self._copies.append((time.monotonic() + delay_s, order.id))
        if order.step + 1 < len(_LIFE):
            self._orders.append(order)

    def _write(self, raw: driver.RawConnection) -> _Order:
        """Advance the order that was changed longest ago; sometimes, or if there is none, create
        one.
        """
        rested = time.monotonic() + REST_S
        advance = self._orders and self._orders[0].rests_until <= time.monotonic()
        if advance and self._random.random() > PLACED_SHARE:
            old = self._orders.popleft()
            raw.execute(_ADVANCE, [_LIFE[old.step + 1], old.id])
            return _Order(old.id, old.step + 1, rested)
        customer, cents = self._random.randint(1, 4000), self._random.randint(490, 25_490)
        row = raw.execute(_PLACE, [customer, _LIFE[0], cents]).fetchone()
        return _Order(row[0] if row else 0, 0, rested)

    def _delay_s(self) -> float:
        try:
            text = self._access.home.in_flight_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0.0
        return float(json.loads(text)["delay_s"])

    def _connect(self) -> None:
        for name in _SESSIONS:
            self._sessions.append(self._access.connect("shop_app", application_name=name))

    def _disconnect(self) -> None:
        while self._sessions:
            with contextlib.suppress(driver.RawConnection.Error):
                self._sessions.pop().close()


def main(arguments: list[str]) -> int:
    """Run the traffic of the shop on the sandbox in the given folder."""
    home = Home(Path(arguments[0]))
    known = state.load(home)
    if known is None:
        return 1
    Traffic(
        Access(home=home, primary_port=known.primary_port, standby_port=known.standby_port)
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
