"""Limit a query's time from the client: first the query is cancelled, then the connection is cut.

The server's own time-outs do not help if a backend is frozen, a pooler has no free server, or the
network drops all packets. The cancel is a protocol message, which needs no slot and no catalogue.
If the query continues in spite of that, the connection is cut, so that the notebook continues.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rbkernel.errors import DatabaseError, RbkernelError
from rbkernel.sources.postgres.connection import driver, troubles
from rbkernel.sources.postgres.connection.troubles import Trouble

# s to wait after a cancel: much more than a round trip on a slow network.
_CANCEL_S = 2.0
# s to wait after the cancel of a first query: a pooler without a free server does not answer.
FIRST_CANCEL_S = 0.5


class Deadline:
    """Context manager that cancels the queries of its block after a time, then cuts the connection.

    Parameters
    ----------
    seconds
        Time from entering the block to the cancel.
    connection
        Returns the watched connection; None while it is being opened, which has its own time-out.
    first
        Whether this is the first query of a session, before the server has ever answered.
    """

    def __init__(
        self,
        seconds: float,
        connection: Callable[[], driver.RawConnection | None],
        *,
        first: bool = False,
    ) -> None:
        self._seconds = seconds
        self._first = first
        self._connection = connection
        self._finished = threading.Event()
        self._cancelled = False
        self._abandoned = False

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="rbkernel-deadline", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finished.set()

    @property
    def passed(self) -> bool:
        """Whether the deadline passed before the block of statements ended."""
        return self._cancelled

    def error(self, original: RbkernelError) -> DatabaseError:
        """Return the error for a query that did not end in time; `original` is the driver's."""
        what = f"no answer within {self._seconds:.0f} s"
        if self._first:
            what = f"the server accepts logins, but the first query got {what}"
            advice = (
                "check pooler and server from outside the database: the pooler may have no free"
                " server connection, or the backend may be frozen"
            )
            what += "; a pooler without a free server connection, or a backend that is stuck"
        elif self._abandoned:
            what += "; not even a cancel was answered, so the connection was cut"
            advice = (
                "check server, host and pooler from outside the database: the backend may be"
                " frozen, the host down, or a pooler without a free server connection"
            )
        else:
            what += f", so the query was cancelled: {original.what}"
            advice = "the server is slow or blocked: check its load and locks first"
        return troubles.error(Trouble.SILENT, what, where=original.where, next_step=advice)

    def _watch(self) -> None:
        if self._finished.wait(self._seconds):
            return
        raw = self._connection()
        if raw is None:
            return
        self._cancelled = True
        wait_s = FIRST_CANCEL_S if self._first else _CANCEL_S
        driver.cancel(raw, timeout_s=wait_s)
        if not self._finished.wait(wait_s):
            self._abandoned = True
            driver.abandon(raw)
