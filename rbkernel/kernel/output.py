"""What a cell prints, and the kernel's log: both reach somebody only through the redaction."""

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
    """A stream of ipykernel's that never writes to the kernel's own standard output.

    ipykernel echoes what subprocesses print there, and gives it to whoever asks for the file:
    both would end up in the server's log. So the file is always watched, whatever is configured.
    """

    _fid: int
    session: RecordingSession
    _asked_to_flush = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "watchfd": "force", "echo": None})  # type: ignore[no-untyped-call]  # ipykernel's

    def fileno(self) -> int:
        """Return the file that is watched, so that what a subprocess writes to it is seen."""
        watched: int = self._original_stdstream_fd
        return watched

    def flush(self) -> None:
        """Send what was written, also of a line that has not ended (see `RecordingSession`)."""
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
            if not self._has_more():  # what comes later may be of another process
                self.session.gate.source_paused()

    def _has_more(self) -> bool:
        poll = select.poll()
        poll.register(self._fid, select.POLLIN)
        return bool(poll.poll(0))

    def write(self, string: str) -> int:
        """Put out a text, or as much of it as the limits of output let through."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string).__name__}")
        self.session.gate.print(self.parent_header, string, super().write)
        return len(string)


class RedactedLog(logging.Formatter):
    """Formats as another formatter does, and takes the secrets out."""

    def __init__(self, formatter: logging.Formatter | None, redactor: Redactor) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with its traceback, without secrets."""
        return self._redactor.text(self._formatter.format(record))
