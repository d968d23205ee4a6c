"""How much a cell and a run may put out. No message of Jupyter is known here, only its size.

Ordering rules: output is charged before it is kept anywhere, so that memory stays bounded. What
goes over a limit is dropped, and so is everything that the same cell puts out afterwards; the
first drop is announced once. When a cell goes on all the same, it is announced again after every
further `AGAIN_BYTES`, so that it is interrupted again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

AGAIN_BYTES = 1024 * 1024
# what a message costs besides its content: its line in the journal, and its header
MESSAGE_BYTES = 256
_DROP_BYTES = 64  # so that many empty texts count, too
_KEPT_ACCOUNTS = 1_000
_LONG_TEXT = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Excess:
    """A limit that was reached."""

    of: str
    setting: str
    limit_bytes: int
    next_step: str
    first: bool = True

    @property
    def of_run(self) -> bool:
        """Whether it is the run's, not only a cell's."""
        return self.of == "run"

    @property
    def message(self) -> str:
        """What happened, and what to do next.

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
        """The line in the output where it was cut."""
        return f"\n[rbkernel: {self.message}]\n"

    @classmethod
    def cell(cls, limit_bytes: int) -> Excess:
        """Return the excess of one cell."""
        return cls(
            of="cell",
            setting="cell_output_mb",
            limit_bytes=limit_bytes,
            next_step="print or show less, such as a summary or the first rows",
        )

    @classmethod
    def run(cls, limit_bytes: int) -> Excess:
        """Return the excess of the run."""
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
    """How much may go out, and the limit that was reached by it, where that is to be said."""

    size: int
    reached: Excess | None = None


class OutputLimits:
    """The accounts of all cells, by the id of the request, and that of the run. Thread-safe.

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
        """Charge some output, and return how much of it may go out.

        Parameters
        ----------
        cell
            The id of the request that it belongs to.
        size
            In bytes.
        whole
            It cannot be cut: all of it goes out, or nothing.
        """
        with self._lock:
            account = self._account(cell)
            left = self._left(account)
            may = size if size <= left else (0 if whole else left)
            account.used += may
            self._run.used += may
            return Admission(size=may, reached=self._reached(account, size - may))

    def charge(self, cell: str, size: int) -> None:
        """Charge what has gone out already; the next admission says whether it was too much."""
        with self._lock:
            self._account(cell).used += size
            self._run.used += size

    def excess(self, cell: str) -> Excess | None:
        """Return the limit that a cell, or the run, is over. Takes no lock: signals ask for it."""
        account = self._cells.get(cell)
        return self._run.excess or (account.excess if account else None)

    @property
    def run_excess(self) -> Excess | None:
        """The limit of the run, when it is over it."""
        return self._run.excess

    @property
    def enough(self) -> int:
        """A size that is over every limit: nobody needs to count further."""
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
        """Return what is to be announced: a limit, the first time and after every further MiB."""
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
    """Return how many bytes a text takes; at least its length, where it is very long."""
    if text.isascii() or len(text) > _LONG_TEXT:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def beginning(text: str, size: int) -> str:
    """Return as much of a text as takes this many bytes.

    >>> beginning("abc", 2), beginning("äöü", 5)
    ('ab', 'äö')
    """
    if text.isascii():
        return text[:size]
    return text[:size].encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def size_of(values: Iterable[Any], enough: int) -> int:
    """Return about how many bytes JSON-like values take; stops counting soon after ``enough``.

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
