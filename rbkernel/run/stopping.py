"""How a run is ended before its time: Ctrl-C, SIGTERM, a closed terminal, or its deadline.

Ordering rules: the first of them ends the execution, with `KeyboardInterrupt`; later ones are
ignored, so that nothing ends the sealing that follows. A signal that comes before the execution
keeps it from beginning. What somebody else has set up for a signal stays: an engine inside of a
run leaves it to the run.
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
    signal.SIGHUP: "interrupted: its terminal was closed",
}
_NOBODYS = (signal.SIG_DFL, signal.default_int_handler)


class Stop:
    """Turns signals into one `KeyboardInterrupt`, inside of `execution`, while the block runs.

    Only the main thread gets signals; in another one it does nothing.

    Parameters
    ----------
    deadline_s
        How long the execution may take; 0 for ever.
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
        """Take the signals; without `end`, until the process has ended."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _ASKED:
            if signal.getsignal(number) in _NOBODYS:
                self._before[number] = signal.signal(number, self._asked)
        if self._deadline_s:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._asked)
            signal.setitimer(signal.ITIMER_REAL, self._deadline_s)

    def end(self) -> None:
        """Give the signals back."""
        if self._deadline_s and self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def execution(self) -> Iterator[None]:
        """Let the block be ended by the first signal.

        Raises
        ------
        KeyboardInterrupt
            A signal came, or the deadline; `reason` says which.
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
            signal.Signals(number), f"it did not finish within {self._deadline_s:g} s"
        )
        if self._may_raise:
            raise KeyboardInterrupt(self.reason)
