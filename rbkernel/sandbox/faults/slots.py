"""Fault: a replication slot whose standby is gone keeps WAL, or has already lost its WAL."""

from __future__ import annotations

from typing import Any

from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sandbox.faults.replication import write_wal

SLOT = "old_standby"
_CREATE = b"SELECT pg_create_physical_replication_slot(%s, true)"
_DROP = b"""SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_name = %s"""
_KEPT = b"""SELECT restart_lsn <= pg_current_wal_lsn() - %s::numeric, clock_timestamp()
FROM pg_replication_slots WHERE slot_name = %s"""
_LOST = b"SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s"
_OTHERS_FOLLOW = b"""SELECT coalesce(bool_and(restart_lsn > pg_current_wal_lsn() - 1000000), true)
FROM pg_replication_slots WHERE slot_name <> %s"""
_LIMIT_MB = 32
_MEGABYTE = 1_000_000


def leave(access: Access, seed: int) -> dict[str, Any]:
    """Leave behind a replication slot, and write WAL that the slot keeps."""
    with access.connect("postgres") as raw:
        raw.execute(_CREATE, [SLOT])
    burst_bytes = write_wal(access, "slot-unread", seed)
    with access.connect("postgres") as raw:
        waiting.until(raw, _KEPT, [burst_bytes, SLOT], what="the slot keeps the WAL")
    return {"slot": SLOT, "burst_bytes": burst_bytes}


def lose(access: Access, seed: int) -> dict[str, Any]:
    """Leave behind a replication slot, and write more WAL than a slot may keep."""
    with access.connect("postgres") as raw:
        raw.execute(_CREATE, [SLOT])
    burst_bytes = write_wal(access, "slot-lost", seed, at_least=4 * _LIMIT_MB * _MEGABYTE)
    with access.connect("postgres") as raw:
        # otherwise the limit would make the standby's slot lose its WAL, too
        waiting.until(raw, _OTHERS_FOLLOW, [SLOT], what="the other slots have caught up")
        raw.execute(f"ALTER SYSTEM SET max_slot_wal_keep_size = '{_LIMIT_MB}MB'".encode())
        raw.execute(b"SELECT pg_reload_conf()")
        waiting.until(raw, _LOST, [SLOT], what="the slot loses its WAL", before=b"CHECKPOINT")
    return {"slot": SLOT, "burst_bytes": burst_bytes}


def remove(access: Access, _: int) -> None:
    """Drop the replication slot, and restore the limit on the WAL that slots keep."""
    with access.connect("postgres") as raw:
        raw.execute(_DROP, [SLOT])
        raw.execute(b"ALTER SYSTEM RESET max_slot_wal_keep_size")
        raw.execute(b"SELECT pg_reload_conf()")
