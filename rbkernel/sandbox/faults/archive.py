"""Fault: WAL cannot be archived, so the primary keeps it, and its disk fills."""

from __future__ import annotations

from typing import Any

from rbkernel.sandbox import binaries, processes
from rbkernel.sandbox.access import STANDBY_NAME, Access
from rbkernel.sandbox.cluster import Cluster
from rbkernel.sandbox.faults import waiting

FAILING = "archive-failing"

_ON = (
    b"ALTER SYSTEM SET archive_mode = on",
    b"ALTER SYSTEM SET archive_command = 'false'",
)
_OFF = (b"ALTER SYSTEM RESET archive_mode", b"ALTER SYSTEM RESET archive_command")
_NEXT_FILE = (
    b"SELECT pg_logical_emit_message(false, 'shop-archive', 'x')",
    b"SELECT pg_switch_wal()",
)
_FAILED = b"SELECT failed_count > 0, last_failed_wal FROM pg_stat_archiver"
_STREAMS = b"""SELECT EXISTS (SELECT FROM pg_stat_replication
WHERE application_name = %s AND state = 'streaming')"""


def fail(access: Access, _: int) -> dict[str, Any]:
    """Restart the primary with an archive_command that fails, and fill some WAL files."""
    _restarted(access, _ON)
    with access.connect("postgres") as raw:
        for statement in _NEXT_FILE * 3:
            raw.execute(statement)
        _, file = waiting.until(raw, _FAILED, what="a WAL file cannot be archived")
    return {"archive_command": "false", "last_failed_wal": file}


def repair(access: Access, _: int) -> None:
    """Restart the primary without an archive, and forget the failures."""
    if not processes.alive(access.home, "primary"):
        _start(access)
    _restarted(access, _OFF)
    with access.connect("postgres") as raw:
        raw.execute(b"SELECT pg_stat_reset_shared('archiver')")


def _restarted(access: Access, settings: tuple[bytes, ...]) -> None:
    with access.connect("postgres") as raw:
        for statement in settings:
            raw.execute(statement)
        raw.execute(b"CHECKPOINT")
    processes.stop_server(access.home, "primary")
    _start(access)


def _start(access: Access) -> None:
    cluster = Cluster(access, binaries.find())
    cluster.start("primary")
    cluster.wait("primary")
    with access.connect("postgres") as raw:
        waiting.until(raw, _STREAMS, [STANDBY_NAME], what="the standby streams")
