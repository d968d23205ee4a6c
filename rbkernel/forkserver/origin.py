"""Which process requested this one."""

from __future__ import annotations

import os

_client: int | None = None


def started_by() -> int:
    """Return the id of the process that started this one, or had the fork server start it."""
    return os.getppid() if _client is None else _client


def set_client(pid: int) -> None:
    """Note that the fork server started this process for that client."""
    global _client  # a fact about the process
    _client = pid
