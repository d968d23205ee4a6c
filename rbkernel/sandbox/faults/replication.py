"""Fault: a standby shows no new data: its replay is paused or delayed, or its receiver is down.

Each fault then writes WAL and waits some seconds, so that the lag is visible at once.
"""

from __future__ import annotations

import random
import time
from typing import Any

from rbkernel.sandbox.access import HOST, STANDBY_NAME, Access
from rbkernel.sandbox.cluster import conninfo
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

_MEGABYTE = 1_000_000
_PAUSED = b"SELECT pg_get_wal_replay_pause_state() = 'paused', clock_timestamp()"
_RESUMED = b"SELECT pg_get_wal_replay_pause_state() = 'not paused'"
_DELAYED = b"""SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE backend_type = 'startup' AND wait_event = 'RecoveryApplyDelay')"""
_DELAYS_MIN = (10, 30, 60)
_REPLAYED = b"SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_NO_RECEIVER = b"SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver), clock_timestamp()"
_STREAMING = b"""SELECT EXISTS (SELECT FROM pg_stat_replication
WHERE application_name = %s AND state = 'streaming')"""


def pause(access: Access, seed: int) -> dict[str, Any]:
    """Pause the standby's replay, and return the time at which it stopped."""
    with access.connect("postgres", "standby") as raw:
        raw.execute(b"SELECT pg_wal_replay_pause()")
        _, paused_at = waiting.until(raw, _PAUSED, what="replay stands still")
    return {"paused_at": paused_at.isoformat(), **_fall_behind(access, "replay-paused", seed)}


def resume(access: Access, _: int) -> None:
    """Resume the standby's replay, and wait until all received WAL is replayed."""
    with access.connect("postgres", "standby") as raw:
        raw.execute(b"SELECT pg_wal_replay_resume()")
        waiting.until(raw, _RESUMED, what="replay resumes")
        _catch_up(raw)


def delay(access: Access, seed: int) -> dict[str, Any]:
    """Configure the standby to replay each commit some minutes later, as against mistakes."""
    minutes = random.Random(f"standby-delayed/{seed}/min").choice(_DELAYS_MIN)  # noqa: S311 - drill
    with access.connect("postgres", "standby") as raw:
        raw.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{minutes}min'".encode())
        raw.execute(b"SELECT pg_reload_conf()")
        waiting.until(raw, _DELAYED, what="replay waits for the delay to pass")
    return {"delay_s": 60 * minutes, **_fall_behind(access, "standby-delayed", seed)}


def end_delay(access: Access, _: int) -> None:
    """Remove the delay, and wait until all received WAL is replayed."""
    with access.connect("postgres", "standby") as raw:
        raw.execute(b"ALTER SYSTEM RESET recovery_min_apply_delay")
        raw.execute(b"SELECT pg_reload_conf()")
        _catch_up(raw)


def cut(access: Access, seed: int) -> dict[str, Any]:
    """Cut off the standby from its primary, with a wrong password in the standby's
    configuration.
    """
    broken = conninfo(
        host=HOST,
        port=access.primary_port,
        user="replicator",
        password="rotated",  # noqa: S106 - wrong on purpose
        application_name=STANDBY_NAME,
    )
    with access.connect("postgres", "standby") as raw:
        setting = driver.quote_literal(broken)
        raw.execute(f"ALTER SYSTEM SET primary_conninfo = {setting}".encode())
        raw.execute(b"SELECT pg_reload_conf()")
        _, stopped_at = waiting.until(raw, _NO_RECEIVER, what="the WAL receiver ends")
    return {
        "receiver_stopped_at": stopped_at.isoformat(),
        "replay_paused": False,
        "cause": "the primary refuses the password of replicator",
        **_fall_behind(access, "receiver-down", seed),
    }


def restore(access: Access, _: int) -> None:
    """Restore the standby's password for the primary, and wait until the standby streams again."""
    with access.connect("postgres", "standby") as raw:
        raw.execute(b"ALTER SYSTEM RESET primary_conninfo")
        raw.execute(b"SELECT pg_reload_conf()")
    with access.connect("postgres") as raw:
        waiting.until(raw, _STREAMING, [STANDBY_NAME], what="the standby streams again")


def write_wal(access: Access, fault: str, seed: int, *, at_least: int = 0) -> int:
    """Write some megabytes of WAL on the primary, and return the number of bytes."""
    figures = random.Random(f"{fault}/{seed}")  # noqa: S311 - figures of a drill
    burst_bytes = at_least + figures.randint(2, 24) * _MEGABYTE
    with access.connect("postgres") as raw:
        for _ in range(burst_bytes // _MEGABYTE):
            raw.execute(
                b"SELECT pg_logical_emit_message(false, 'shop-burst', repeat('x', %s))",
                [_MEGABYTE],
            )
    return burst_bytes


def _catch_up(raw: driver.RawConnection) -> None:
    received = raw.execute(b"SELECT pg_last_wal_receive_lsn()::text").fetchone()
    waiting.until(raw, _REPLAYED, received or (), what="replay catches up")


def _fall_behind(access: Access, fault: str, seed: int) -> dict[str, Any]:
    burst_bytes = write_wal(access, fault, seed)
    already_s = round(random.Random(f"{fault}/{seed}/s").uniform(1, 4), 1)  # noqa: S311 - as above
    time.sleep(already_s)
    return {"burst_bytes": burst_bytes, "waited_s": already_s}
