"""The sandbox's folder: which files it contains, its lock, and its removal.

::

    lock               held while a command changes the sandbox; never deleted
    state.json         ports, version, active faults (module state)
    connections.toml   published when the sandbox is complete, read by rbkernel.config
    passwords/         one passfile for each role, mode 0600
    primary/ standby/  the data folders; spare/ while a scenario has a second standby
    log/               output of the detached processes
    prometheus/ alertmanager/ monitoring/
                       data and configuration of the service side, if it was asked for
    conditions.json    what the active faults change of the simulated shop
    in-flight.json     while the traffic writes the second orders table late; read by the traffic

Only these names are ever deleted. The folder has mode 0700, and a folder that already holds
something else is refused, so that a mistyped ``RBKERNEL_SANDBOX`` destroys nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbkernel import config
from rbkernel.errors import SandboxError

# two new clusters of about 45 MB, the data of the shop twice, and the WAL of a drill
NEEDED_BYTES = 600 * 1024 * 1024
LOCK_TIMEOUT_S = 60.0
_LOCK = "lock"


@dataclass(frozen=True)
class Home:
    """The folder of one sandbox."""

    path: Path

    @classmethod
    def configured(cls) -> Home:
        """Return the folder of the sandbox that the environment names; it need not exist."""
        return cls(config.sandbox_home().resolve())

    @property
    def state_file(self) -> Path:
        """The file in which `state.State` is stored."""
        return self.path / "state.json"

    @property
    def connections_file(self) -> Path:
        """The connections file that `rbkernel.config` reads."""
        return self.path / "connections.toml"

    @property
    def in_flight_file(self) -> Path:
        """The file that delays the traffic's write to the second table: ``{"delay_s": 2.5}``."""
        return self.path / "in-flight.json"

    @property
    def conditions_file(self) -> Path:
        """The file with the changes of the simulated shop's conditions, by fault."""
        return self.path / "conditions.json"

    @property
    def passwords(self) -> Path:
        """The folder with the password file of each role."""
        return self.path / "passwords"

    def data(self, server: str) -> Path:
        """Return the folder of a server: ``primary``, ``standby``, ``spare``, ``prometheus`` …"""
        return self.path / server

    def log(self, process: str) -> Path:
        """Return the path of the log file of a process of the sandbox."""
        return self.path / "log" / f"{process}.log"

    def exists(self) -> bool:
        """Whether a sandbox was ever made in this folder."""
        return (self.path / _LOCK).is_file()

    def prepare(self) -> None:
        """Create the sandbox's folder, and check that it can be used.

        Raises
        ------
        SandboxError
            The folder is not writable or contains other files, or the disk has too little space.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            foreign = sorted({entry.name for entry in self.path.iterdir()} - self._names())
            if foreign:
                raise SandboxError(
                    f"the folder contains other files ({foreign[0]})",
                    where=str(self.path),
                    next_step="set RBKERNEL_SANDBOX to a folder that is empty or does not exist",
                )
            self.path.chmod(0o700)
            (self.path / _LOCK).touch()
            free_bytes = shutil.disk_usage(self.path).free
        except OSError as error:
            raise SandboxError(
                f"the sandbox's folder cannot be used: {error.strerror}",
                where=str(self.path),
                next_step="set RBKERNEL_SANDBOX to a folder that you may write to",
            ) from error
        if free_bytes < NEEDED_BYTES:
            raise SandboxError(
                f"only {free_bytes >> 20} MB are free, the sandbox needs {NEEDED_BYTES >> 20} MB",
                where=str(self.path),
                next_step="make room, or set RBKERNEL_SANDBOX to a folder on another disk",
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the sandbox; the lock is released even if the command is killed.

        Raises
        ------
        SandboxError
            Another command held the lock for `LOCK_TIMEOUT_S` seconds.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        with (self.path / _LOCK).open("ab") as handle:
            while not _try_lock(handle.fileno()):
                if time.monotonic() > deadline:
                    raise SandboxError(
                        "another sandbox command is running",
                        where=str(self.path),
                        next_step="wait for it to end, then try again",
                    )
                time.sleep(0.05)
            yield

    def wipe(self) -> None:
        """Delete the sandbox's files except the lock; all its processes must have ended before."""
        for name in sorted(self._names() - {_LOCK}):
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write(self, path: Path, text: str) -> None:
        """Write a file atomically, readable only by its owner."""
        temporary = path.with_name(f"{path.name}.new")
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as out:
            out.write(text)
        temporary.replace(path)

    def _names(self) -> set[str]:
        files = (
            *(self.state_file, self.connections_file),
            *(self.in_flight_file, self.conditions_file),
        )
        return {
            _LOCK,
            "primary",
            "standby",
            "spare",
            "prometheus",
            "alertmanager",
            "monitoring",
            "log",
            self.passwords.name,
            *(file.name for file in files),
            *(f"{file.name}.new" for file in files),
        }


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
