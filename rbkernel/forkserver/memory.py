"""Check whether there is enough memory for a fork server, which uses about 200 MB."""

from __future__ import annotations

import contextlib
from pathlib import Path

_MB = 1_000_000
#: A server is started only if this much memory is left.
AVAILABLE_BYTES = 500 * _MB
#: A server is started only if the control group, such as that of a container, may use this much.
LIMIT_BYTES = 750 * _MB
_GROUPS = Path("/sys/fs/cgroup")


def shortage(meminfo: Path = Path("/proc/meminfo"), groups: Path = _GROUPS) -> str:
    """Return why there is too little memory for a fork server; empty if there is enough."""
    available = _available_bytes(meminfo)
    if available is not None and available < AVAILABLE_BYTES:
        return f"only {available // _MB} MB of memory are available"
    limit = _limit_bytes(groups)
    if limit is not None and limit < LIMIT_BYTES:
        return f"the control group may use only {limit // _MB} MB of memory"
    return ""


def _available_bytes(meminfo: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _limit_bytes(groups: Path) -> int | None:
    """Return the lowest memory limit of this process's control groups; None without a limit."""
    limits = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _number, controllers, name = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = groups / controllers
            own = top / name.lstrip("/")
            file = "memory.limit_in_bytes" if controllers else "memory.max"
            for folder in (own, *own.parents):
                if folder.is_relative_to(top):
                    limits += _number_in(folder / file)
    return min(limits, default=None)


def _number_in(file: Path) -> list[int]:
    with contextlib.suppress(OSError, ValueError):  # without a limit, the file says "max"
        return [int(file.read_text())]
    return []
