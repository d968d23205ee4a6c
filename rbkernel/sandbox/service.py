"""The example service "shop" of the sandbox: its roles, its database and its rows.

Call order: `create` runs once, on a fresh primary, before the standby is cloned.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from rbkernel.sandbox.access import DATABASE, Access, Role
from rbkernel.sources.postgres.connection import driver

# The highest id of the initial rows; the traffic changes only higher ids (sql/shop.sql).
ID_STEP = 4
FIRST_ID = 100_004
LAST_ID = 300_000

_OPTIONS: dict[Role, str] = {
    "replicator": "REPLICATION",
    "shop_app": "",
    "rb_diag": "CONNECTION LIMIT 10 IN ROLE pg_monitor",
    # with these rights, an action finds its targets again by (pid, backend_start)
    "rb_action": "CONNECTION LIMIT 5 IN ROLE pg_signal_backend, pg_read_all_stats",
    "rb_nobody": "",
}


def create(access: Access, passwords: Mapping[Role, str], *, major: int) -> None:
    """Create the roles, the database, the tables and the rows of the shop.

    Parameters
    ----------
    access
        Access to the sandbox.
    passwords
        Password of each role.
    major
        Major version of the server.
    """
    with access.connect("postgres", dbname="postgres") as raw:
        for role, options in _OPTIONS.items():
            password = driver.quote_literal(passwords[role])
            raw.execute(f"CREATE ROLE {role} LOGIN PASSWORD {password} {options}".encode())
        if major >= 16:
            raw.execute(b"GRANT pg_use_reserved_connections TO rb_diag")
        raw.execute(f"CREATE DATABASE {DATABASE} OWNER shop_app".encode())
    with access.connect("postgres", autocommit=False) as raw:
        _create_extension(raw)
        for function in ("pg_wal_replay_pause()", "pg_wal_replay_resume()"):
            raw.execute(f"GRANT EXECUTE ON FUNCTION {function} TO rb_action".encode())
    with access.connect("shop_app", autocommit=False) as raw:
        raw.execute(_sql("shop.sql"))


def _create_extension(raw: driver.RawConnection) -> None:
    loaded = raw.execute(b"SELECT current_setting('shared_preload_libraries')").fetchone()
    if loaded and "pg_stat_statements" in loaded[0]:
        raw.execute(b"CREATE EXTENSION pg_stat_statements")


def _sql(name: str) -> bytes:
    return (files("rbkernel.sandbox") / "sql" / name).read_bytes()
