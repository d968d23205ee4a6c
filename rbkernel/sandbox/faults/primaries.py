"""Fault: the primary is lost, or there are two: what a failover has to tell apart.

A lost primary of which the standby has everything, one of which it has not, a failover that has
happened, and a standby that was promoted while its primary went on (split brain).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rbkernel.sandbox import binaries, processes
from rbkernel.sandbox.access import STANDBY_NAME, Access
from rbkernel.sandbox.cluster import Cluster
from rbkernel.sandbox.faults import replication, waiting
from rbkernel.sandbox.faults.stage import Stage

LOST = "primary-lost"
LOST_AHEAD = "primary-lost-ahead"
FAILED_OVER = "failed-over"
TWO = "two-primaries"

_END = b"SELECT pg_current_wal_insert_lsn()::text"
_HAS = b"SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_NO_WORKER = b"""SELECT NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker')"""
_NO_RECEIVER = b"""SELECT NOT EXISTS (
    SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"""
_PROMOTED = b"SELECT NOT pg_is_in_recovery()"
_PROMOTE = b"SELECT pg_promote() WHERE pg_is_in_recovery()"


def lose(access: Access, _: int) -> dict[str, Any]:
    """Stop the primary for good; the standby has received and replayed all of its WAL."""
    _stop_writes(access)
    end = _end_of_wal(access)
    with access.connect("postgres", "standby") as raw:
        waiting.until(raw, _HAS, [end], what="all WAL has arrived")
    return _lost(access, end)


def lose_ahead(access: Access, seed: int) -> dict[str, Any]:
    """Stop the primary for good, after commits that the standby has not received."""
    _stop_writes(access)
    replication.cut(access, seed)
    with access.connect("postgres") as raw:
        raw.execute(b"SELECT pg_logical_emit_message(true, 'shop-order', 'a last commit')")
    return _lost(access, _end_of_wal(access))


def fail_over(access: Access, _: int) -> dict[str, Any]:
    """Stop the primary, and promote the standby."""
    processes.stop_server(access.home, "primary")
    _promote(access)
    return {"new_primary": "sandbox-standby"}


def split(access: Access, _: int) -> dict[str, Any]:
    """Promote the standby while the primary goes on."""
    _promote(access)
    return {"primaries": ["sandbox-primary", "sandbox-standby"]}


def restore(access: Access, seed: int) -> None:
    """Start the primary if it is stopped, with its traffic, and let the standby follow it."""
    _start(access)
    with access.connect("postgres") as raw:
        raw.execute(b"ALTER SYSTEM RESET autovacuum")
        raw.execute(b"SELECT pg_reload_conf()")
    replication.restore(access, seed)
    if not processes.alive(access.home, "traffic"):
        processes.launch_module("traffic", access.home, log=access.home.log("traffic"))


def rebuild(access: Access, _: int) -> None:
    """Start the primary if it is stopped, and rebuild the promoted standby as its copy."""
    _start(access)
    with access.connect("postgres") as raw:
        raw.execute(b"ALTER SYSTEM RESET default_transaction_read_only")
        raw.execute(b"SELECT pg_reload_conf()")
    Stage(access).rebuild_standby()


def _start(access: Access) -> None:
    cluster = Cluster(access, binaries.find())
    if not processes.alive(access.home, "primary"):
        cluster.start("primary")
    cluster.wait("primary")


def _stop_writes(access: Access) -> None:
    """Stop what writes WAL by itself, so that the end of the WAL is known."""
    processes.stop(access.home, "traffic")
    with access.connect("postgres") as raw:
        raw.execute(b"ALTER SYSTEM SET autovacuum = off")
        raw.execute(b"SELECT pg_reload_conf()")
        waiting.until(raw, _NO_WORKER, what="autovacuum has ended")


def _end_of_wal(access: Access) -> str:
    with access.connect("postgres") as raw:
        row = raw.execute(_END).fetchone()
    assert row
    return str(row[0])


def _lost(access: Access, end: str) -> dict[str, Any]:
    processes.stop_server(access.home, "primary")
    stopped_at = datetime.now(UTC).isoformat()
    with access.connect("postgres", "standby") as raw:
        waiting.until(raw, _NO_RECEIVER, what="the WAL receiver ends")
    return {"end_lsn": end, "stopped_at": stopped_at}


def _promote(access: Access) -> None:
    with access.connect("postgres", "standby") as raw:
        raw.execute(_PROMOTE)
        waiting.until(raw, _PROMOTED, what=f"{STANDBY_NAME} is promoted")
