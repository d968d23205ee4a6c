"""Wait until the effect of an injected fault is visible."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rbkernel.errors import SandboxError
from rbkernel.sources.postgres.connection import driver

TIMEOUT_S = 30.0
_POLL_S = 0.02


def until(
    raw: driver.RawConnection,
    query: bytes,
    values: Sequence[Any] | Mapping[str, Any] = (),
    *,
    what: str,
    before: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """Repeat a query until the first column of its row is true, and return the row.

    A statement in `before` is executed before each query.

    Raises
    ------
    SandboxError
        The column was not true within `timeout_s` seconds.
    """
    row: Any = None

    def shown() -> bool:
        nonlocal row
        if before:
            raw.execute(before)
        row = raw.execute(query, values).fetchone()
        return bool(row and row[0])

    until_true(shown, what=what, timeout_s=timeout_s)
    return row


def until_true(condition: Callable[[], bool], *, what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Call a function repeatedly until it returns true.

    Raises
    ------
    SandboxError
        It did not within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxError(
                f"timed out: after {timeout_s:.0f} s, this was still not true: {what}",
                next_step="run `rbkernel sandbox down`, then `rbkernel sandbox up`",
            )
        time.sleep(_POLL_S)
