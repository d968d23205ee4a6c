"""The output gate, which checks every message and printed text against the output limits.

Rules: when a limit is reached, the output and the journal each get one line that says so, and the
cell is interrupted. Replies and status messages always pass. Errors are shortened; a cell over its
limit may still send a few errors, so that it can report why it failed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ipykernel.iostream import IOPubThread

from rbkernel import amounts
from rbkernel.errors import RecorderError
from rbkernel.kernel.limits import (
    MESSAGE_BYTES,
    Excess,
    OutputLimits,
    beginning,
    size_of,
    text_size,
)

if TYPE_CHECKING:
    from rbkernel.kernel.session import RecordingSession

_LIMITED = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "clear_output"}
    | {"comm_open", "comm_msg", "error"}
)
_ERROR_BYTES = 64 * 1024
_ERRORS_OVER_LIMIT = 16
# a thread or a subprocess that keeps writing over the limit is slowed down; its output counts for
# the cell whose limit it exceeded until it has been quiet for a while, not for later cells
_PAUSE_S = 0.01
_QUIET_S = 5.0


class _Flood(threading.local):
    """Tracks a background thread that keeps writing after its cell's limit was reached."""

    def __init__(self) -> None:
        self._cell, self._until = "", 0.0

    @property
    def cell(self) -> str:
        """The id of the cell whose output limit this thread has used up; else empty."""
        return self._cell if time.monotonic() < self._until else ""

    def end(self) -> None:
        self._until = 0.0

    def goes_on(self, cell: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            self._cell, self._until = cell, time.monotonic() + _QUIET_S
            time.sleep(_PAUSE_S)


class OutputGate:
    """Lets output pass up to the limits, and has a cell interrupted that exceeds a limit.

    Parameters
    ----------
    session
        Sends and journals the notice that a limit was reached.
    limits
        The output limits.
    """

    def __init__(self, session: RecordingSession, limits: OutputLimits) -> None:
        self._session = session
        self.limits = limits
        self._errors: Counter[str] = Counter()
        self._flood = _Flood()
        #: interrupts a cell if the cell is running; the kernel sets this callback
        self.interrupt: Callable[[str, Excess], None] = lambda _cell, _excess: None

    def admits(self, socket: Any, message: dict[str, Any], ident: Any, buffers: Any) -> bool:
        """Tell whether the limits let a message be journaled and sent; shorten its errors."""
        kind, cell = message["header"]["msg_type"], _cell(message["parent_header"])
        if kind in ("error", "execute_reply"):
            message["content"] = shortened(message["content"])
        if kind == "stream" and isinstance(socket, IOPubThread):
            self.limits.charge(cell, MESSAGE_BYTES)  # the text was charged when it was printed
            return True
        if kind not in _LIMITED:
            return True
        size = MESSAGE_BYTES + self._size(message, buffers)
        admission = self.limits.admit(cell, size, whole=True)
        reached, is_error = admission.reached, kind == "error"
        if reached:
            self._mark(socket, message, ident, reached)
            # a failing cell may report its error at the limit; a cell that goes on is interrupted
            self.reached(cell, reached, interrupt=not (is_error and reached.first))
        return admission.size == size or (is_error and self._is_one_of_the_last(cell))

    def print(self, parent: Mapping[str, Any], text: str, put: Callable[[str], Any]) -> None:
        """Write as much of a printed text as the limits allow; may raise KeyboardInterrupt."""
        cell, size = self._flood.cell or _cell(parent), text_size(text)
        admission = self.limits.admit(cell, size)
        if admission.size == size:
            put(text)
            return
        reached = admission.reached
        kept = beginning(text, admission.size) + (reached.mark if reached and reached.first else "")
        if kept:
            put(kept)
        if reached:
            self.reached(cell, reached)
        self._flood.goes_on(cell)

    def source_paused(self) -> None:
        """Note that this thread's source, such as a subprocess, has written nothing for a moment.

        Its next output may come from another process, and counts for the current cell again.
        """
        self._flood.end()

    def reached(self, cell: str, excess: Excess, *, interrupt: bool = True) -> None:
        """Journal that a cell reached a limit, and interrupt it; may raise KeyboardInterrupt."""
        recorder = self._session.recorder
        if excess.first and recorder.started:
            data = {"of": excess.of, "limit_bytes": excess.limit_bytes, "message": excess.message}
            with contextlib.suppress(RecorderError):
                recorder.record("output limit", parent=cell, data=data)
        if interrupt:
            self.interrupt(cell, excess)

    def _is_one_of_the_last(self, cell: str) -> bool:
        self._errors[cell] += 1
        return self._errors[cell] <= _ERRORS_OVER_LIMIT

    def _size(self, message: Mapping[str, Any], buffers: Any) -> int:
        parts = [
            message["content"],
            message["metadata"],
            *(buffers or message.get("buffers") or ()),
        ]
        return size_of(parts, self.limits.enough)

    def _mark(self, socket: Any, message: Mapping[str, Any], ident: Any, excess: Excess) -> None:
        if excess.first:
            content = {"name": "stderr", "text": excess.mark}
            mark = self._session.msg("stream", content, parent=message["parent_header"])
            self._session.send_stream(socket, mark, ident)


def _cell(parent: Mapping[str, Any]) -> str:
    return str(parent.get("msg_id", ""))


def shortened(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of an error message or reply with overlong texts shortened.

    >>> short = shortened({"ename": "E", "evalue": "x" * 100_000, "traceback": ["y" * 100_000]})
    >>> len(short["evalue"]) < 70_000, len(short["traceback"][0]) < 70_000
    (True, True)
    """
    if size_of([content], _ERROR_BYTES) <= _ERROR_BYTES:
        return content
    short = dict(content)
    if "evalue" in content:
        short["evalue"] = _cut(str(content["evalue"]), _ERROR_BYTES)
    if "traceback" in content:
        short["traceback"] = _last_lines(content["traceback"])
    for name in ("user_expressions", "payload"):
        if size_of([content.get(name)], _ERROR_BYTES) > _ERROR_BYTES:
            short[name] = type(content[name])()
    return short


def _cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    return (
        f"{beginning(text, size)} …"
        f" [rbkernel: dropped {amounts.count(len(text) - size, 'character')} here]"
    )


def _last_lines(lines: list[str]) -> list[str]:
    """Return the last lines of a traceback, which contain the error itself."""
    kept: list[str] = []
    left = _ERROR_BYTES
    for line in reversed(lines):
        if left <= 0:
            dropped = amounts.count(len(lines) - len(kept), "part")
            kept.append(f"[rbkernel: dropped {dropped} of the traceback]")
            break
        kept.append(_cut(line, left))
        left -= len(line)
    return kept[::-1]
