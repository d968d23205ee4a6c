"""Set up the log of `rbkernel serve` and `rbkernel worker`, and limit repeated messages.

Messages that strangers can cause (refused requests, connections, broken HTTP) are written once for
each kind in an interval, and the next line of that kind says how many were left out. All other
messages are written in full. Control characters from other parties are escaped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rbkernel.displaytext import one_line, visible

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_INTERVAL_S = 10.0
_MOST_KINDS = 1_000
_NOISY = ("tornado", "asyncio", "rbkernel.gateway.server", "rbkernel.gateway.http_connections")


def begin() -> None:
    """Set up the log of this process, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Visible(_FORMAT))
    handler.addFilter(OncePerInterval(_NOISY))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # alembic reports each of its steps; the store itself logs an upgrade
    logging.getLogger("alembic").setLevel(logging.WARNING)


def after(delay_s: float, do: Callable[[], object]) -> None:
    """Call a function after a delay in seconds, unless the process has ended by then."""
    timer = threading.Timer(delay_s, do)
    timer.daemon = True
    timer.start()


class Visible(logging.Formatter):
    """Formats log records: one line and a traceback below, with invisible characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Return the log record as one line, with invisible characters escaped."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's own name
        """Return the traceback as text, with invisible characters escaped."""
        return visible(super().formatException(ei))


@dataclass
class OncePerInterval:
    """A log filter that passes one record of each kind per interval, and counts all others.

    A kind is a logger's message before its values are filled in, with the record's ``kind`` and the
    type of its exception, where it has them. At the end of an interval, the last suppressed record
    is written after all.

    Parameters
    ----------
    names
        The loggers that are filtered, with their children. Other records pass.
    interval_s
        How long records of a kind are suppressed after one was written, in seconds.
    clock
        Returns the current time in seconds.
    later
        Calls a function after a number of seconds.
    """

    names: tuple[str, ...]
    interval_s: float = _INTERVAL_S
    clock: Callable[[], float] = time.monotonic
    later: Callable[[float, Callable[[], object]], None] = after
    _written_at: dict[Any, float] = field(default_factory=dict)
    _left_out: dict[Any, tuple[logging.LogRecord, int]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write this log record."""
        if not any(f"{record.name}.".startswith(f"{name}.") for name in self.names):
            return True
        error = record.exc_info[0] if record.exc_info else None
        kind = (record.name, str(record.msg)[:200], getattr(record, "kind", ""), error)
        with self._lock:
            return self._is_due(kind, record)

    def _is_due(self, kind: Any, record: logging.LogRecord) -> bool:
        wait_s = self._written_at.get(kind, -self.interval_s) + self.interval_s - self.clock()
        if wait_s > 0:
            self._leave_out(kind, record, wait_s)
            return False
        if len(self._written_at) >= _MOST_KINDS:
            self._written_at.clear()
        self._written_at[kind] = self.clock()
        _last, number = self._left_out.pop(kind, (record, 0))
        if number:
            record.msg, record.args = f"{record.getMessage()} (and {number} more)", None
        return True

    def _leave_out(self, kind: Any, record: logging.LogRecord, wait_s: float) -> None:
        _last, number = self._left_out.get(kind, (record, 0))
        self._left_out[kind] = (record, number + 1)
        if not number:
            self.later(wait_s, partial(self._write_last, kind))

    def _write_last(self, kind: Any) -> None:
        with self._lock:
            last, number = self._left_out.pop(kind, (None, 0))
            if last is None:
                return  # a later record of this kind has reported their number
            self._left_out[kind] = (last, number - 1)
        logging.getLogger(last.name).handle(last)
