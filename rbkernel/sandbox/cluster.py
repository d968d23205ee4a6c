"""Create and start a PostgreSQL primary and its streaming standby, and wait until they answer.

PostgreSQL refuses to run as root. If the user is root, PostgreSQL runs in a user namespace that
maps root to ``nobody``: the files still belong to root, and the folder can stay 0700.
Call order: `create_primary` → `start` → roles and data → `clone_standby` → `start`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rbkernel.errors import DatabaseError, SandboxError
from rbkernel.sandbox import processes
from rbkernel.sandbox.access import HOST, STANDBY_NAME, Access, Server, passfile
from rbkernel.sandbox.binaries import Binaries

SLOT_NAME = "sandbox_standby"
START_TIMEOUT_S = 30.0
# A process that is executing a new program has no command line and is not found for a moment.
_EXEC_S = 1.0
_COMMAND_TIMEOUT_S = 120.0
_AS_NOBODY = ("unshare", "--user", "--map-user=65534")

# Durability is off because the data is thrown away. The other settings keep the servers small, and
# let a standby that fell behind be detected and catch up within a drill.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": 60,
    "superuser_reserved_connections": 3,
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "replica",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "max_wal_senders": 5,
    "max_replication_slots": 5,
    "max_prepared_transactions": 5,
    "max_slot_wal_keep_size": "1GB",
    "wal_sender_timeout": "10s",
    "wal_receiver_timeout": "10s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "1s",
    "hot_standby_feedback": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u %a ",
}


@dataclass(frozen=True)
class Cluster:
    """The primary and the standby of one sandbox."""

    access: Access
    binaries: Binaries

    def create_primary(self) -> None:
        """Create the primary's data folder."""
        data = self.access.home.data("primary")
        pwfile = self.access.home.passwords / "initdb"
        superuser_line = passfile(self.access.home, "postgres").read_text(encoding="utf-8")
        pwfile.write_text(superuser_line.rpartition(":")[2], encoding="utf-8")
        self._run(
            *("initdb", "-D", str(data), "--username=postgres", f"--pwfile={pwfile}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
            "--data-checksums",  # the default from PostgreSQL 18 on
        )
        pwfile.unlink()
        self._configure("primary", {**_SETTINGS, **self._optional_settings()})

    def clone_standby(self) -> None:
        """Copy the running primary into the standby's data folder."""
        slot = ("--create-slot", f"--slot={SLOT_NAME}")
        self._copy_primary("standby", *slot)
        self._follow("standby", "primary", {"primary_slot_name": SLOT_NAME})

    def clone(self, server: Server, *, upstream: Server) -> None:
        """Copy the running primary to create another standby, which uses no replication slot.

        Parameters
        ----------
        server
            The new standby; it gets a free port.
        upstream
            The server from which the new standby receives WAL.
        """
        # copied from the primary: a standby allows no base backup while full_page_writes is off
        self._copy_primary(server)
        port = free_ports(None, range(self.access.primary_port + 2, 32_000, 2))[0]
        self._follow(server, upstream, {"port": port})

    def _copy_primary(self, server: Server, *options: str) -> None:
        source = self.replication_conninfo("pg_basebackup")
        self._run(
            *("pg_basebackup", "-D", str(self.access.home.data(server)), "-d", source),
            *("--checkpoint=fast", "--no-sync", "--wal-method=stream", *options),
        )

    def _follow(self, server: Server, upstream: Server, settings: Mapping[str, object]) -> None:
        (self.access.home.data(server) / "standby.signal").touch()
        name = STANDBY_NAME if server == "standby" else server
        source = self.replication_conninfo(name, upstream)
        self._configure(server, {"primary_conninfo": source, **settings})

    def start(self, server: Server) -> None:
        """Start a PostgreSQL server as a detached process; `wait` waits until the server
        answers.
        """
        command = [self.binaries.program("postgres"), "-D", str(self.access.home.data(server))]
        processes.launch([*self._as_nobody, *command], log=self.access.home.log(server))

    def wait(self, server: Server) -> None:
        """Wait until a server accepts connections.

        Raises
        ------
        SandboxError
            The server ended, or did not answer for `START_TIMEOUT_S` seconds.
        """
        home = self.access.home
        deadline = time.monotonic() + START_TIMEOUT_S
        last_seen = time.monotonic()
        while True:
            if processes.alive(home, server):
                last_seen = time.monotonic()
            try:
                self.access.connect("postgres", server, dbname="postgres").close()
                return
            except DatabaseError as error:
                now = time.monotonic()
                if now < min(deadline, last_seen + _EXEC_S):
                    time.sleep(0.05)
                    continue
                raise SandboxError(
                    f"the {server} does not start: {last_lines(home.log(server))}",
                    where=str(home.log(server)),
                    next_step="read this log, fix the cause of the error, then run `rbkernel"
                    " sandbox up` again",
                ) from error

    def replication_conninfo(self, application_name: str, upstream: Server = "primary") -> str:
        """Return the libpq connection string with which a standby reaches its upstream server."""
        return conninfo(
            host=HOST,
            port=self.access.port(upstream),
            user="replicator",
            passfile=passfile(self.access.home, "replicator"),
            application_name=application_name,
        )

    @cached_property
    def _as_nobody(self) -> tuple[str, ...]:
        if os.geteuid() != 0:
            return ()
        try:
            subprocess.run([*_AS_NOBODY, "true"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            raise SandboxError(
                f"PostgreSQL refuses to run as root, and unshare failed: {reason.strip()}",
                next_step="run the sandbox as an ordinary user",
            ) from error
        return _AS_NOBODY

    def _optional_settings(self) -> dict[str, object]:
        settings: dict[str, object] = {}
        if self.binaries.major >= 16:
            settings["reserved_connections"] = 3
        if self.binaries.has_library("pg_stat_statements"):
            settings["shared_preload_libraries"] = "pg_stat_statements"
        return settings

    def _configure(self, server: Server, settings: Mapping[str, object]) -> None:
        own = {"cluster_name": f"sandbox-{server}"}
        if server != "spare":
            own["port"] = str(self.access.port(server))
        lines = [f"{key} = {_quote(str(value))}\n" for key, value in {**settings, **own}.items()]
        path = self.access.home.data(server) / "postgresql.conf"
        with path.open("a", encoding="utf-8") as file:
            file.writelines(["\n# rbkernel sandbox\n", *lines])

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_nobody, self.binaries.program(program), *arguments]
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=processes.environment(),
                timeout=_COMMAND_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            raise SandboxError(
                f"{program} failed: {_tail(output)}",
                where=str(self.access.home.path),
                next_step="fix the cause of this error, then run `rbkernel sandbox up` again",
            ) from error


def conninfo(**parameters: str | int | Path) -> str:
    r"""Return a libpq connection string with these parameters.

    >>> conninfo(host="h", passfile="/it's/a\\b")
    "host='h' passfile='/it\\'s/a\\\\b'"
    """
    return " ".join(
        "{}='{}'".format(key, str(value).replace("\\", "\\\\").replace("'", "\\'"))
        for key, value in parameters.items()
    )


def _quote(value: str) -> str:
    """Return a value quoted for postgresql.conf.

    >>> _quote("user='x'")
    "'user=''x'''"
    """
    return "'{}'".format(value.replace("\\", "\\\\").replace("'", "''"))


def last_lines(log: Path) -> str:
    """Return the last lines of a log as one line of text."""
    return _tail(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else "no log"


def _tail(text: str | bytes, lines: int = 4) -> str:
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    printed = [line.strip() for line in decoded.splitlines() if line.strip()]
    return " | ".join(printed[-lines:]) or "it printed nothing"


def free_ports(asked: int | None, candidates: Sequence[int]) -> tuple[int, int]:
    """Choose two free ports, for the primary and the standby.

    Parameters
    ----------
    asked
        Port of the primary; the standby gets the next port. None: the first free pair.
    candidates
        Ports to try for the primary if ``asked`` is None.

    Raises
    ------
    SandboxError
        A requested port is in use, or no candidate is free.
    """
    for port in [asked] if asked is not None else candidates:
        if taken := [number for number in (port, port + 1) if not _free(number)]:
            if asked is None:
                continue
            raise SandboxError(
                f"port {taken[0]} is in use, or may not be used by this user",
                where=HOST,
                next_step="choose another port, or omit the option to use a free one",
            )
        return port, port + 1
    raise SandboxError("no free port was found", where=HOST, next_step="name one with --port")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
