"""Fault: the audit log of a service shows refused authorizations, or a login has too much power.

The service's table ``authorization_audit`` exists only while such a fault is active, with a week of
ordinary entries: few refusals, of users who mistype.
"""

from __future__ import annotations

import random
from typing import Any

from rbkernel.sandbox.access import Access

TABLE = "authorization_audit"
WITHDRAWN = "orders:refund"
_ROLE = [WITHDRAWN, "orders:cancel", "orders:return"]
LOGIN, POWER = "shop_report", "pg_execute_server_program"
_ACTIONS = ("orders:read", "orders:refund", "users:export", "users:delete", "keys:rotate")
_CREATE = f"""
CREATE TABLE {TABLE} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    action text NOT NULL,
    resource_type text NOT NULL,
    granted boolean,
    occurred_at timestamptz NOT NULL);
CREATE INDEX ON {TABLE} (occurred_at);
GRANT SELECT ON {TABLE} TO rb_diag;
"""
# every user works all day; one request of 100 is refused
_ORDINARY = f"""
INSERT INTO {TABLE} (user_id, action, resource_type, granted, occurred_at)
SELECT 'clerk-' || n % 9, (ARRAY['orders:read', 'orders:refund'])[1 + n % 2], 'order',
       n % 100 <> 0, now() - make_interval(mins => 8 * n + 70)
FROM generate_series(0, 1200) AS n"""
_NOW = f"""
INSERT INTO {TABLE} (user_id, action, resource_type, granted, occurred_at)
SELECT %s, action, split_part(action, ':', 1), %s,
       now() - make_interval(mins => %s, secs => 30 * n)
FROM generate_series(1, %s) AS n, unnest(%s::text[]) AS action"""


def log(access: Access, _: int = 1) -> None:
    """Create the audit log, with ordinary entries up to now."""
    with access.connect("postgres") as raw:
        raw.execute(_CREATE.encode())
        raw.execute(_ORDINARY.encode())
    for clerk in range(9):
        _enter(access, f"clerk-{clerk}", True, 3, ["orders:read"])
    _enter(access, "clerk-3", False, 1, ["users:export"])


def probe(access: Access, seed: int) -> dict[str, Any]:
    """Let one account try all actions, most of which are refused."""
    user = f"partner-{random.Random(seed).randint(10, 99)}"  # noqa: S311 - a name of a drill
    log(access)
    _enter(access, user, False, 12, list(_ACTIONS))
    _enter(access, "clerk-1", True, 3, [WITHDRAWN])
    return {"user": user, "refused": 12 * len(_ACTIONS)}


def withdraw(access: Access, _: int) -> dict[str, Any]:
    """Refuse all actions of a role to all users, as a wrong deployment 13 min ago would."""
    log(access)
    for clerk in range(9):
        _enter(access, f"clerk-{clerk}", True, 3, _ROLE, mins_ago=40)
        _enter(access, f"clerk-{clerk}", False, 25, _ROLE)
    return {"action": WITHDRAWN, "users": 9}


def remove(access: Access, _: int) -> None:
    """Drop the audit log."""
    with access.connect("postgres") as raw:
        raw.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())


def empower(access: Access, _: int) -> dict[str, Any]:
    """Create a login that may run programs on the server's host."""
    with access.connect("postgres") as raw:
        raw.execute(f"CREATE ROLE {LOGIN} LOGIN".encode())
        raw.execute(f"GRANT {POWER} TO {LOGIN}".encode())
    return {"role": LOGIN, "power": POWER}


def disempower(access: Access, _: int) -> None:
    """Drop that login."""
    with access.connect("postgres") as raw:
        raw.execute(f"DROP ROLE IF EXISTS {LOGIN}".encode())


def _enter(
    access: Access, user: str, granted: bool, times: int, actions: list[str], mins_ago: int = 0
) -> None:
    with access.connect("postgres") as raw:
        raw.execute(_NOW.encode(), [user, granted, mins_ago, times, actions])
