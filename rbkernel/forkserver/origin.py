"""Record which process started this process, directly or through a fork server."""

from __future__ import annotations

import os

_client: int | None = None


def started_by() -> int:
    """Return the id of the process that started this process, directly or by a fork server."""
    return os.getppid() if _client is None else _client


def set_client(pid: int) -> None:
    """Note that a fork server started this process on behalf of a client with this process id."""
    global _client  # one value for the whole process
    _client = pid
