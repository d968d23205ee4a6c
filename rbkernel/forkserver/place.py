"""Decide which fork server a process may use: one for each user, environment and code version.

A new process inherits from its starter: limits, control group, namespaces, and an environment from
which libraries read settings at import. A forked program inherits all this from the fork server
instead. So processes in which any of this differs use different servers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import site
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rbkernel.forkserver import variables

#: Set to ``off`` to start all programs as new processes.
SWITCH = "RBKERNEL_FORK_SERVER"

# the maximum length of a Unix socket's path, minus the length of the file's name in the folder
_LONGEST_FOLDER_BYTES = 107 - len("/0123456789abcdef.socket")
_OFF = ("off", "0", "no", "false")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


@dataclass(frozen=True, kw_only=True)
class Place:
    """The paths of one fork server's files: socket, lock and logs."""

    socket: Path

    @property
    def lock(self) -> Path:
        """The file that the server keeps locked while it runs; it holds the server's process id."""
        return self.socket.with_suffix(".json")

    @property
    def failure(self) -> Path:
        """The file that says why the last server with this socket could not start."""
        return self.socket.with_suffix(".failed")

    @property
    def log(self) -> Path:
        """The file with the output of the server, and of a child that has no client yet."""
        return self.socket.with_suffix(".log")


def is_supported() -> bool:
    """Return whether this system supports fork servers, and they are not switched off."""
    return (
        sys.platform == "linux"
        and hasattr(os, "pidfd_open")
        and os.environ.get(SWITCH, "").lower() not in _OFF
    )


def folder() -> Path:
    """Return the folder with the files of all of this user's fork servers.

    Raises
    ------
    OSError
        The folder cannot be created, has too long a name, or belongs to another user.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and _is_ours(base):
        path = Path(base) / "rbkernel"
    else:
        path = Path(tempfile.gettempdir()) / f"rbkernel-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if len(os.fsencode(path)) > _LONGEST_FOLDER_BYTES:
        raise OSError(f"{path} is too long for the name of a socket")
    found = path.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or not path.is_dir():
        raise PermissionError(
            f"{path} must be a folder that this user owns and nobody else can access"
        )
    return path


def _is_ours(path: str) -> bool:
    """Return whether this user owns a folder; with `sudo`, another user may own it."""
    with contextlib.suppress(OSError):
        return Path(path).stat().st_uid == os.getuid() and os.access(path, os.W_OK)
    return False


def servers() -> Iterator[Place]:
    """Yield the paths of this user's fork servers, whether these are running or not."""
    try:
        own = folder()
    except OSError:
        return  # there can be none
    for lock in sorted(own.glob("*.json")):
        yield Place(socket=lock.with_suffix(".socket"))


def place_for(environment: Mapping[str, str]) -> Place:
    """Return the paths of the fork server to use for programs with this environment.

    Raises
    ------
    OSError
        The folder cannot be used.
    """
    return Place(socket=folder() / f"{identity(environment)}.socket")


def identity(environment: Mapping[str, str]) -> str:
    """Return a hash of the state that a forked program would inherit from its server."""
    own = {
        "host": [os.uname().nodename, _text("/proc/sys/kernel/random/boot_id")],
        "python": [sys.executable, sys.prefix, sys.version],
        "user site": site.USER_SITE if site.ENABLE_USER_SITE else None,
        "code": str(Path(__file__).parent.parent),
        "user": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())],
        "limits": [resource.getrlimit(getattr(resource, name)) for name in _LIMITS],
        "nice": [os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0))],
        "namespaces": [_link(f"/proc/self/ns/{name}") for name in _NAMESPACES],
        "root": _link("/proc/self/root"),
        "group": _text("/proc/self/cgroup"),
        "security": _text("/proc/self/attr/current"),
        "oom": _text("/proc/self/oom_score_adj"),
        "environment": variables.read_at_import(environment),
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)  # noqa: PTH115  # not a file of this file system
    return ""


def _text(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace")
    return ""
