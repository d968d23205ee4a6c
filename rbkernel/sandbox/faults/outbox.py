"""Fault: messages of the shop's outbox pile up: dead relay, rejected message, dead receiver, lock.

The outbox is empty unless one of these faults is active. The relay is a detached process (module
relay), which delivers to each destination in the order of the messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rbkernel.sandbox import processes
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting

DEAD = "outbox-relay-dead"
REJECTED = "outbox-message-rejected"
RECEIVER = "outbox-receiver-down"
LOCKED = "outbox-relay-blocked"
BURST = "outbox-burst"

TABLE = "shop_outbox"
RELAY = "shop-relay"
HOLDER = "shop-support-tool"
# the destination that a fault is about
SICK = "billing"
DESTINATIONS = ("billing", "mail", "warehouse")
REJECTION = 'HTTP 422: field "postal_code" is missing'
REFUSAL = "connect to billing: connection refused"
ATTEMPTS = 5

# evenly from the age of the oldest message until now
_FILL = f"""
INSERT INTO {TABLE} (destination, payload, created_at, updated_at)
SELECT ('{{{",".join(DESTINATIONS)}}}'::text[])[1 + n %% 3],
       jsonb_build_object('order', n), at, at
FROM generate_series(0, %(messages)s - 1) AS n,
     LATERAL (SELECT now() - make_interval(
         secs => %(age_s)s * (1 - n / %(messages)s::float8))) t (at)
""".encode()
_EMPTY = f"TRUNCATE {TABLE}".encode()
_GONE = b"SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name IN (%s, %s)"
_TERMINATE = b"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name IN (%s, %s)"""
_FAILS = f"SELECT max(attempts) >= %s FROM {TABLE}".encode()
_OTHERS_DONE = f"""SELECT bool_and(status = 'delivered') FROM {TABLE}
WHERE destination <> '{SICK}'""".encode()
_DELIVERS = f"SELECT count(*) > 0 FROM {TABLE} WHERE status = 'delivered'".encode()
_BLOCKED = b"""SELECT max(clock_timestamp() - query_start) > interval '6 s'
FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of backlog: how many messages, since when, and what shows that it is there."""

    name: str
    messages: int = 1800
    age_s: float = 1200.0
    ready: Callable[[Any], object] | None = None


def _failing(raw: Any) -> None:
    waiting.until(raw, _FAILS, [ATTEMPTS], what="a message fails again and again")
    waiting.until(raw, _OTHERS_DONE, what="the other destinations got their messages")


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name=DEAD),
        Kind(name=REJECTED, ready=_failing),
        Kind(name=RECEIVER, ready=_failing),
        Kind(
            name=LOCKED,
            ready=lambda raw: waiting.until(raw, _BLOCKED, [RELAY], what="the relay waits"),
        ),
        # many messages, none of them old, and the relay keeps up
        Kind(
            name=BURST,
            messages=4000,
            age_s=50.0,
            ready=lambda raw: waiting.until(raw, _DELIVERS, what="the relay delivers"),
        ),
    )
}


def start(kind: Kind, access: Access, seed: int) -> dict[str, Any]:
    """Fill the outbox with a backlog, and start its relay unless that is the fault."""
    messages = kind.messages + 3 * (seed % 50)
    with access.connect("shop_app") as raw:
        raw.execute(_FILL, {"messages": messages, "age_s": kind.age_s})
    with access.connect("postgres") as raw:
        if kind.name != DEAD:
            processes.launch_module("relay", access.home, kind.name, log=access.home.log(RELAY))
        if kind.ready:
            kind.ready(raw)
    return {"messages": messages, "destination": SICK, "relay": RELAY, "holder": HOLDER}


def stop(kind: Kind, access: Access, _: int) -> None:
    """End the relay and the session that blocks it, and empty the outbox."""
    processes.stop(access.home, kind.name)
    with access.connect("postgres") as raw:
        raw.execute(_TERMINATE, [RELAY, HOLDER])
        waiting.until(raw, _GONE, [RELAY, HOLDER], what="the sessions of the relay end")
        raw.execute(_EMPTY)
