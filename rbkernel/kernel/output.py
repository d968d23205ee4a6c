"""The kernel's streams for printed text, and the formatter of its log; both redact secrets."""

from __future__ import annotations

import codecs
import logging
import os
import select
from typing import Any

from ipykernel.iostream import OutStream

from rbkernel.kernel.session import RecordingSession
from rbkernel.redact import Redactor

_CHUNK_BYTES = 65_536


class RedactedOutput(OutStream):
    """An ipykernel stream that never writes to the kernel's own standard output.

    ipykernel echoes the output of subprocesses to that file, and gives the file to any caller that
    asks for it. Both would end up in the server's log. So this stream always captures the file,
    regardless of the configuration.
    """

    _fid: int
    session: RecordingSession
    _asked_to_flush = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "watchfd": "force", "echo": None})  # type: ignore[no-untyped-call]  # ipykernel's

    def fileno(self) -> int:
        """Return the descriptor of a captured file, so that subprocesses' output is recorded."""
        watched: int = self._original_stdstream_fd
        return watched

    def flush(self) -> None:
        """Send the buffered text to the client, including an unfinished line."""
        self._asked_to_flush = True
        super().flush()  # type: ignore[no-untyped-call]  # ipykernel's

    def _flush(self) -> None:
        super()._flush()  # type: ignore[no-untyped-call]  # ipykernel's
        if self._asked_to_flush:
            self._asked_to_flush = False
            self.session.flushed(self.name)

    def _watch_pipe_fd(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while (chunk := os.read(self._fid, _CHUNK_BYTES)) and self._should_watch:
            self.write(decoder.decode(chunk))
            if not self._has_more():  # later text may come from another process
                self.session.gate.source_paused()

    def _has_more(self) -> bool:
        poll = select.poll()
        poll.register(self._fid, select.POLLIN)
        return bool(poll.poll(0))

    def write(self, string: str) -> int:
        """Print a text, or as much of it as the output limits allow."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string).__name__}")
        self.session.gate.print(self.parent_header, string, super().write)
        return len(string)


class RedactedLog(logging.Formatter):
    """A log formatter that redacts secrets in what another formatter returns."""

    def __init__(self, formatter: logging.Formatter | None, redactor: Redactor) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Format a log record, with its traceback, and redact secrets in it."""
        return self._redactor.text(self._formatter.format(record))
