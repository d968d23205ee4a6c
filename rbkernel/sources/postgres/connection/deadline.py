"""A wall clock beside a query: at the deadline it is cancelled, and then given up.

The server's own time-outs do not help when a backend is frozen, a pooler has no server for us, or
the network drops everything. The cancel goes by protocol, which needs no slot and no catalogue; a
connection that does not end even then is cut, so that the notebook goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rbkernel.errors import DatabaseError, RbkernelError
from rbkernel.sources.postgres.connection import driver, troubles
from rbkernel.sources.postgres.connection.troubles import Trouble

# A cancel needs one round trip; a healthy server on a slow network answers well within this.
_CANCEL_S = 2.0
# A pooler without a free server answers no cancel either: do not wait for it as long.
FIRST_CANCEL_S = 0.5


class Deadline:
    """Watches what is done within it.

    Parameters
    ----------
    seconds
        From entering to the cancel.
    connection
        Returns the connection that is watched; None while it is being made, which has a time-out
        of its own.
    first
        Whether it is the first query of a session: then nobody has answered yet.
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
        """Whether it was reached before the query ended."""
        return self._cancelled

    def error(self, said: RbkernelError) -> DatabaseError:
        """Return what to tell of a query that did not end in time; `said` is the driver's word."""
        what = f"no answer within {self._seconds:.0f} s"
        if self._first:
            what = f"it accepts logins, but the first query got {what}"
            advice = (
                "a pooler may have no free server connection, or the backend be frozen: look at"
                " them from outside the database"
            )
            what += "; a pooler without a free server connection, or a backend that is stuck"
        elif self._abandoned:
            what += "; not even a cancel was answered, so the connection was cut"
            advice = (
                "the backend may be frozen, the host gone, or a pooler without a free server"
                " connection: look at them from outside the database"
            )
        else:
            what += f", so the query was cancelled: {said.what}"
            advice = "the server is slow or blocked: look at its load and at locks first"
        return DatabaseError(
            what,
            where=said.where,
            next_step=advice,
            trouble=Trouble.SILENT,
            opens=troubles.opens(Trouble.SILENT),
        )

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
