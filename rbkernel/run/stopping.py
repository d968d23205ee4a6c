"""End a run early: on Ctrl-C, SIGTERM, a closed terminal, or at the run's deadline.

Ordering rules: the first of these events ends the execution with `KeyboardInterrupt`. Later ones
are ignored, so that nothing interrupts the sealing that follows. A signal that comes before the
execution prevents the execution. Signal handlers that other code has installed stay in place: under
`rbkernel run`, which has installed its handlers, the engine installs none.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

_ASKED = {
    signal.SIGINT: "interrupted by Ctrl-C",
    signal.SIGTERM: "interrupted by SIGTERM",
    signal.SIGHUP: "interrupted: the terminal of the run was closed",
}
_NOBODYS = (signal.SIG_DFL, signal.default_int_handler)


class Stop:
    """Turns the first signal that may end a run into a `KeyboardInterrupt`.

    Only the main thread gets signals; in any other thread this class does nothing.

    Parameters
    ----------
    deadline_s
        How long the execution may take, in seconds; 0 for no limit.
    """

    def __init__(self, deadline_s: float = 0.0) -> None:
        self.reason = ""
        self._deadline_s = deadline_s
        self._may_raise = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def begin(self) -> None:
        """Install the signal handlers, which stay until `end` is called or the process exits."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ASKED:
            if signal.getsignal(number) in _NOBODYS:
                self._before[number] = signal.signal(number, self._asked)
        if self._deadline_s:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._asked)
            signal.setitimer(signal.ITIMER_REAL, self._deadline_s)

    def end(self) -> None:
        """Restore the signal handlers that were there before `begin`."""
        if self._deadline_s and self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def was_asked(self) -> bool:
        """Whether a signal of a person or of the system asked to stop, not the deadline."""
        return self.reason in _ASKED.values()

    @contextmanager
    def execution(self) -> Iterator[None]:
        """Let the first signal, or the deadline, end this block with `KeyboardInterrupt`.

        Raises
        ------
        KeyboardInterrupt
            A signal arrived, or the deadline passed; `reason` says which.
        """
        self._may_raise = True
        try:
            if self.reason:
                raise KeyboardInterrupt(self.reason)
            yield
        finally:
            self._may_raise = False

    def _asked(self, number: int, _frame: object) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN)
        self.reason = _ASKED.get(
            signal.Signals(number), f"the run did not finish within {self._deadline_s:g} s"
        )
        if self._may_raise:
            raise KeyboardInterrupt(self.reason)
