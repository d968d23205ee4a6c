"""Wait for what must come; for as long as a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0
_POLL_S = 0.05


def until(
    condition: Callable[[], bool], what: str = "it", *, timeout_s: float = PATIENCE_S
) -> None:
    """Return as soon as the condition holds; say what was waited for when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain for {what}"
        time.sleep(_POLL_S)
