"""Fault: clients cannot log in to the primary: stopped, in recovery, locked, a changed password.

The symptom is the same for each: the exporter reports that the server is down. Only a stopped
server must be started; a server in recovery must be left alone; a lock on the catalogue ends with
its session; with a changed password the server is not down at all.
"""

from __future__ import annotations

from typing import Any

from rbkernel.errors import DatabaseError, SandboxError
from rbkernel.sandbox import binaries, processes
from rbkernel.sandbox.access import STANDBY_NAME, Access, Role, passfile
from rbkernel.sandbox.cluster import Cluster
from rbkernel.sandbox.faults import waiting
from rbkernel.sources.postgres.connection import driver

STOPPED = "server-stopped"
RECOVERING = "server-recovering"
LOCKED = "catalogue-locked"
PASSWORD = "password-changed"  # noqa: S105 - the name of a fault
ROLE: Role = "rb_diag"

_STREAMS = b"""SELECT EXISTS (SELECT FROM pg_stat_replication
WHERE application_name = %s AND state = 'streaming')"""
_STARTING = "57P03"
_LOCK = b"LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE"
LOCKER = "dba-console"
# the server restores from an archive that does not answer, until the fault is healed
_RESTORE = b"ALTER SYSTEM SET restore_command = 'exec sleep 3600'"
_RESET = b"ALTER SYSTEM RESET restore_command"
_RECOVERY_SIGNAL = "recovery.signal"


def stop(access: Access, _: int) -> dict[str, Any]:
    """Stop the primary with all its processes, as if its host failed."""
    processes.stop_server(access.home, "primary")
    return {"server": "primary", "port": access.primary_port}


def start(access: Access, _: int) -> None:
    """Start the primary if it is stopped, and wait until the standby streams again."""
    if not processes.alive(access.home, "primary"):
        Cluster(access, binaries.find()).start("primary")
    _ready(access)


def recover(access: Access, _: int) -> dict[str, Any]:
    """Restart the primary into a recovery that waits for its archive."""
    with access.connect("postgres") as raw:
        raw.execute(_RESTORE)
    processes.stop_server(access.home, "primary")
    (access.home.data("primary") / _RECOVERY_SIGNAL).touch()
    Cluster(access, binaries.find()).start("primary")
    waiting.until_true(lambda: _is_starting(access), what="the primary is in recovery")
    return {"server": "primary", "sqlstate": _STARTING}


def end_recovery(access: Access, _: int) -> None:
    """Restart the primary without the archive, on the timeline that it had."""
    processes.stop_server(access.home, "primary")
    (access.home.data("primary") / _RECOVERY_SIGNAL).unlink(missing_ok=True)
    Cluster(access, binaries.find()).start("primary")
    _ready(access)
    with access.connect("postgres") as raw:
        raw.execute(_RESET)


def lock_catalogue(access: Access, seed: int) -> dict[str, Any]:
    """Lock the catalogue in a session of its own, so that every login waits."""
    processes.launch_module(
        "sessions", access.home, LOCKED, str(seed), "1", log=access.home.log(LOCKED)
    )
    waiting.until_true(lambda: not _logs_in(access), what="a login waits")
    return {"application_name": LOCKER}


def unlock_catalogue(access: Access, _: int) -> None:
    """End the session that locks the catalogue: the server rolls back when its client is gone."""
    processes.stop(access.home, LOCKED)
    waiting.until_true(lambda: _logs_in(access), what="clients can log in")


def hold_catalogue(raw: driver.RawConnection) -> None:
    """Take the lock, and keep it in an open transaction."""
    raw.execute(_LOCK)


def _logs_in(access: Access) -> bool:
    try:
        access.connect("postgres").close()
    except DatabaseError:
        return False
    return True


def change_password(access: Access, _: int) -> dict[str, Any]:
    """Change the password of the diagnostic role, so that its connections are refused."""
    _set_password(access, "changed elsewhere")
    return {"role": ROLE}


def restore_password(access: Access, _: int) -> None:
    """Give the diagnostic role the password of its passfile again."""
    line = passfile(access.home, ROLE).read_text(encoding="utf-8")
    _set_password(access, line.strip().rpartition(":")[2])


def _set_password(access: Access, password: str) -> None:
    with access.connect("postgres") as raw:
        raw.execute(f"ALTER ROLE {ROLE} PASSWORD {driver.quote_literal(password)}".encode())


def _is_starting(access: Access) -> bool:
    try:
        access.connect("postgres").close()
    except DatabaseError as error:
        return error.sqlstate == _STARTING
    raise SandboxError(
        "the primary accepts connections, although its recovery should wait",
        next_step="run `rbkernel sandbox down`, then `rbkernel sandbox up`",
    )


def _ready(access: Access) -> None:
    Cluster(access, binaries.find()).wait("primary")
    with access.connect("postgres") as raw:
        waiting.until(raw, _STREAMS, [STANDBY_NAME], what="the standby streams")
