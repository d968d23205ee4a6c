"""Run pgbouncer in transaction mode in front of the sandbox."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbkernel.errors import SandboxError
from rbkernel.sandbox.access import HOST, Access, passfile

# Debian installs pgbouncer in /usr/sbin, which is not in a user's PATH
PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
# pgbouncer refuses to run as root, as PostgreSQL does
_AS_NOBODY = ("unshare", "--user", "--map-user=65534") if os.geteuid() == 0 else ()


@contextmanager
def pgbouncer(access: Access, folder: Path, *, pool_size: int, settings: str = "") -> Iterator[int]:
    """Run pgbouncer for the sandbox's diagnostic role while the block runs, and yield its port.

    Raises
    ------
    SandboxError
        pgbouncer is not installed, or does not start.
    """
    if PROGRAM is None:
        raise SandboxError("pgbouncer is not installed", next_step="install the package pgbouncer")
    port = _free_port()
    line = passfile(access.home, "rb_diag").read_text(encoding="utf-8").strip()
    (folder / "users").write_text(f'"rb_diag" "{line.rpartition(":")[2]}"\n', encoding="utf-8")
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\nshop = host={HOST} port={access.primary_port} pool_size={pool_size}\n"
        f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {folder / 'users'}\npool_mode = transaction\n"
        f"{settings}",
        encoding="utf-8",
    )
    with (folder / "log").open("wb") as log:
        command = [*_AS_NOBODY, PROGRAM, str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SandboxError("pgbouncer does not listen", next_step="read its log") from None
            time.sleep(0.05)
