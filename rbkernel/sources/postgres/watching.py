"""Take snapshots of servers regularly, at little cost, and store the last hour (`rbkernel watch`).

Each server has one connection, and one short snapshot is taken at a time. Snapshots are less
frequent if the server is slow or refuses, or if they would use more than `CPU_SHARE` of a local
core.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

from rbkernel.config import Connection
from rbkernel.errors import RbkernelError, WatchError
from rbkernel.model import Verdict
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import diagnosis
from rbkernel.sources.postgres.causes import Cause
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.history import Sighting
from rbkernel.sources.postgres.ring import Ring
from rbkernel.sources.postgres.situation import Situation

EVERY_S = 10.0
# share of a core for snapshots; with threads and the log, the aim is 0.005 in total
CPU_SHARE = 0.004
# maximum share of the time that snapshots of a slow server may take
_BUSY_SHARE = 0.02
_LONGEST_PAUSE_S = 300.0
_END_S = 10.0
_log = logging.getLogger(__name__)


def pause_s(
    every_s: float, *, took_s: float, cpu_s: float, answered: bool, before_s: float = 0.0
) -> float:
    """Return the seconds to wait between the starts of two snapshots.

    Parameters
    ----------
    every_s
        The configured interval.
    took_s, cpu_s
        Duration of the snapshot, and its local CPU time.
    answered
        Whether the server answered.
    before_s
        The pause before this snapshot.

    >>> pause_s(10, took_s=0.02, cpu_s=0.01, answered=True)
    10.0
    >>> pause_s(10, took_s=0.02, cpu_s=0.08, answered=True)
    20.0
    >>> pause_s(10, took_s=2.0, cpu_s=0.01, answered=True)
    100.0
    >>> pause_s(10, took_s=2.0, cpu_s=0.01, answered=False, before_s=200)
    300.0
    """
    wanted = max(every_s, cpu_s / CPU_SHARE, took_s / _BUSY_SHARE)
    if not answered:
        wanted = max(wanted, 2 * before_s)
    return float(min(wanted, max(_LONGEST_PAUSE_S, every_s)))


class Watcher:
    """Takes snapshots of one connection until it is stopped."""

    def __init__(
        self, connection: Connection, ring: Ring, redactor: Redactor, *, every_s: float = EVERY_S
    ) -> None:
        self._connection = connection
        self._ring = ring
        self._redactor = redactor
        self._every_s = every_s
        self._reason = ""
        self._causes: list[Sighting] = []
        self._before: Situation | None = None

    def work(self, stop: threading.Event) -> None:
        """Take snapshots of the server until ``stop`` is set."""
        wait_s = 0.0
        with closing(Session(self._connection, application_name="rbkernel/watch")) as session:
            before_s = 0.0
            while not stop.wait(wait_s):
                began, cpu = time.monotonic(), time.thread_time()
                answered = self._look(session)
                took_s, cpu_s = time.monotonic() - began, time.thread_time() - cpu
                before_s = pause_s(
                    self._every_s,
                    took_s=took_s,
                    cpu_s=cpu_s,
                    answered=answered,
                    before_s=before_s,
                )
                wait_s = before_s - took_s

    def _look(self, session: Session) -> bool:
        """Take and store one snapshot of the server; return whether the server answered."""
        try:
            seen, self._before = diagnosis.followed(session, self._before)
            self._ring.add(seen, self._redactor)
        except RbkernelError as error:
            self._log_reason(str(error))
            return False
        except Exception:  # noqa: BLE001  # the other connections are still watched
            _log.exception("reading the state of %s failed", self._connection.name)
            return False
        self._log_reason(seen.situation.reason)
        if not seen.situation.reason:
            self._log_causes(seen.causes)
        return not seen.situation.reason

    # The log shows only changes.

    def _log_reason(self, reason: str) -> None:
        if reason and reason != self._reason:
            self._log(logging.WARNING, reason)
        self._reason = reason

    def _log_causes(self, causes: Sequence[Cause]) -> None:
        wrong = (one for one in causes if one.verdict in {Verdict.WARNING, Verdict.CRITICAL})
        present = [Sighting.of(one) for one in wrong]
        for one in present:
            known = (before.verdict for before in self._causes if one.same(before))
            if next(known, "") != one.verdict:
                self._log(logging.WARNING, f"{one.verdict}: {one.headline}")
        for before in self._causes:
            if not any(before.same(one) for one in present):
                self._log(logging.INFO, f"this cause is no longer present: {before.headline}")
        self._causes = present

    def _log(self, level: int, what: str) -> None:
        _log.log(level, "%s: %s", self._connection.name, self._redactor.value([what])[0])


def watch(watchers: Sequence[Watcher], rings: Sequence[Ring], stop: threading.Event) -> None:
    """Run all watchers, each in a thread, until ``stop`` is set.

    Raises
    ------
    WatchError
        Another process already watches a connection.
    """
    with ExitStack() as stack:
        for ring in rings:
            stack.enter_context(ring.owned())
        threads = [
            threading.Thread(target=one.work, args=(stop,), name="rbkernel-watch", daemon=True)
            for one in watchers
        ]
        for thread in threads:
            thread.start()
        while not stop.wait(1.0):
            if not any(thread.is_alive() for thread in threads):
                raise WatchError("all watchers have stopped", next_step="see the log above")
        for thread in threads:
            thread.join(_END_S)
