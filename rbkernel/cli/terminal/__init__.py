"""Make the output of all commands safe for a terminal.

Names, labels and notes are untrusted, and a terminal executes control characters. So the standard
streams of a command write control characters as escapes, and colour the verdicts on a terminal.
Text with other colours is written to `styled`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rbkernel.cli.terminal import colours
from rbkernel.displaytext import visible


class VisibleStream:
    """A text stream that writes control and other invisible characters as escapes.

    A carriage return at the beginning of a text stays, because progress bars need it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, with invisible characters as escapes."""
        start = "\r" if isinstance(text, str) and text.startswith("\r") else ""
        shown = start + visible(text[len(start) :]) if isinstance(text, str) else text
        if isinstance(shown, str) and colours.wanted(os.environ, is_terminal=self.stream.isatty()):
            shown = colours.painted(shown)
        self.stream.write(shown)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write lines, with invisible characters as escapes."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def visible_streams() -> Iterator[None]:
    """Make standard output and standard error write invisible characters as escapes."""
    output, error = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", VisibleStream(output))
    sys.stderr = cast("TextIO", VisibleStream(error))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, error


def styled(stream: TextIO) -> TextIO:
    """Return the stream that writes no escapes, for coloured text whose parts are already safe."""
    return stream.stream if isinstance(stream, VisibleStream) else stream
