"""Count the bytes of output of each cell and of the run against limits.

Ordering rules: output is charged before it is stored anywhere, so that memory stays bounded. Output
over a limit is dropped, and so is all later output of the same cell. The first drop is announced
once. If the cell continues to write, the limit is announced again after every further
`AGAIN_BYTES`, so that the cell is interrupted again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

AGAIN_BYTES = 1024 * 1024
# the size of a message without its content: its line in the journal, and its header
MESSAGE_BYTES = 256
_DROP_BYTES = 64  # counted for each text, so that many empty texts count, too
_KEPT_ACCOUNTS = 1_000
_LONG_TEXT = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Excess:
    """An output limit that was reached."""

    of: str
    setting: str
    limit_bytes: int
    next_step: str
    first: bool = True

    @property
    def of_run(self) -> bool:
        """Whether this is the limit of the whole run, not only of a cell."""
        return self.of == "run"

    @property
    def message(self) -> str:
        """The error message for the cell: which limit, what was dropped, and what to do next.

        >>> print(Excess.cell(10 * 1024 * 1024).message)  # doctest: +ELLIPSIS
        the output of this cell is over its limit of 10 MB; what came after that was dropped. ...
        """
        return (
            f"the output of this {self.of} is over its limit of {self.limit_bytes / 1024**2:g} MB;"
            f" what came after that was dropped. Next: {self.next_step}, or raise {self.setting}"
            " in [kernel] of rbkernel.toml and restart the kernel"
        )

    @property
    def mark(self) -> str:
        """The line that shows in a cell's output where the output was cut."""
        return f"\n[rbkernel: {self.message}]\n"

    @classmethod
    def cell(cls, limit_bytes: int) -> Excess:
        """Return the excess that says that a cell reached its limit."""
        return cls(
            of="cell",
            setting="cell_output_mb",
            limit_bytes=limit_bytes,
            next_step="print or show less, such as a summary or the first rows",
        )

    @classmethod
    def run(cls, limit_bytes: int) -> Excess:
        """Return the excess that says that the run reached its limit."""
        return cls(
            of="run",
            setting="run_output_mb",
            limit_bytes=limit_bytes,
            next_step="restart the kernel and print or show less",
        )


@dataclass
class _Account:
    used: int = 0
    dropped: int = 0
    excess: Excess | None = None


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The answer for some output: how many bytes may be sent, and a limit to announce, if any."""

    size: int
    reached: Excess | None = None


class OutputLimits:
    """Counts the output of the run, and of each cell by the id of its request. Thread-safe.

    >>> limits = OutputLimits(cell_bytes=10, run_bytes=15)
    >>> [limits.admit("a", 6).size, limits.admit("a", 6).size, limits.admit("a", 1).size]
    [6, 4, 0]
    >>> limits.admit("b", 6, whole=True).reached.of, limits.admit("b", 1).size
    ('run', 0)
    """

    def __init__(self, *, cell_bytes: int, run_bytes: int) -> None:
        self._cell_bytes, self._run_bytes = cell_bytes, run_bytes
        self._cells: OrderedDict[str, _Account] = OrderedDict()
        self._run = _Account()
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def admit(self, cell: str, size: int, *, whole: bool = False) -> Admission:
        """Count output against the limits; return how many bytes of it may be sent.

        Parameters
        ----------
        cell
            The id of the request that the output belongs to.
        size
            The size of the output in bytes.
        whole
            Whether the output cannot be cut: all of it is sent, or nothing.
        """
        with self._lock:
            account = self._account(cell)
            left = self._left(account)
            may = size if size <= left else (0 if whole else left)
            account.used += may
            self._run.used += may
            return Admission(size=may, reached=self._reached(account, size - may))

    def charge(self, cell: str, size: int) -> None:
        """Count output that is sent in any case; only the next `admit` reports a reached limit."""
        with self._lock:
            self._account(cell).used += size
            self._run.used += size

    def excess(self, cell: str) -> Excess | None:
        """Return the limit that a cell or the run exceeds, else None; usable in signal handlers."""
        account = self._cells.get(cell)
        return self._run.excess or (account.excess if account else None)

    @property
    def run_excess(self) -> Excess | None:
        """The limit of the run if the run exceeds it, else None."""
        return self._run.excess

    @property
    def enough(self) -> int:
        """A size in bytes above every limit, at which measuring output can stop."""
        return max(self._cell_bytes, self._run_bytes) + 1

    def _account(self, cell: str) -> _Account:
        account = self._cells.setdefault(cell, _Account())
        self._cells.move_to_end(cell)
        if len(self._cells) > _KEPT_ACCOUNTS:
            self._cells.popitem(last=False)
        return account

    def _left(self, account: _Account) -> int:
        if account.excess or self._run.excess:
            return 0
        return max(0, min(self._cell_bytes - account.used, self._run_bytes - self._run.used))

    def _reached(self, account: _Account, dropped: int) -> Excess | None:
        """Count dropped bytes; return the limit if it must be announced, now or again."""
        if dropped <= 0:
            return None
        before = account.dropped // AGAIN_BYTES
        account.dropped += dropped + _DROP_BYTES
        if account.excess:
            again = account.dropped // AGAIN_BYTES > before
            return replace(account.excess, first=False) if again else None
        if self._run.excess:
            account.excess = replace(self._run.excess, first=False)
        elif self._run_bytes - self._run.used <= self._cell_bytes - account.used:
            account.excess = self._run.excess = Excess.run(self._run_bytes)
        else:
            account.excess = Excess.cell(self._cell_bytes)
        return account.excess


def text_size(text: str) -> int:
    """Return the size of a text in bytes; for a very long text, a lower bound."""
    if text.isascii() or len(text) > _LONG_TEXT:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def beginning(text: str, size: int) -> str:
    """Return as much of a text's beginning as fits into this many bytes.

    >>> beginning("abc", 2), beginning("äöü", 5)
    ('ab', 'äö')
    """
    if text.isascii():
        return text[:size]
    return text[:size].encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def size_of(values: Iterable[Any], enough: int) -> int:
    """Return the approximate size of JSON-like values in bytes; stop soon after ``enough``.

    >>> size_of([{"text/plain": "abc"}, [b"12"]], 1000) > 14
    True
    """
    waiting, size = list(values), 0
    while waiting and size <= enough:
        value = waiting.pop()
        size += 2
        if isinstance(value, str):
            size += text_size(value)
        elif isinstance(value, bytes | bytearray | memoryview):
            size += memoryview(value).nbytes
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        else:
            size += 8
    return size
