"""Run one command as a process of its own session: no shell, no input, no terminal.

The output is read to its end, and only its last part is kept. At the time-out, the whole group of
processes is killed. A process that the command leaves in the background after its end is not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# bytes of the output that are kept; a line that does not fit in is dropped, so that no part of a
# secret is kept that is no longer recognized
_KEPT = 256 * 1024
_CHUNK = 64 * 1024
# s between SIGTERM and SIGKILL, and for the end of the output after the end of the process
GRACE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended; ``code`` is None if the time-out killed it.

    ``output`` is the last part of what it wrote, standard error included.
    """

    code: int | None
    output: str

    @property
    def words(self) -> str:
        """The exit code or the signal, in words.

        >>> Ended(code=-9, output="").words
        'ended by SIGKILL'
        """
        if self.code is None:
            return "stopped at its time-out"
        if self.code >= 0:
            return f"exit code {self.code}"
        names = {one.value: one.name for one in signal.Signals}
        return f"ended by {names.get(-self.code, f'signal {-self.code}')}"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program as the commands start it: its absolute path, the file there, and its SHA-256."""

    path: str
    file: str
    sha256: str


def program(name: str) -> Program | None:
    """Return the program with a name or path; None if there is none that can be executed.

    Raises
    ------
    OSError
        It cannot be read.
    """
    path = shutil.which(name)
    if path is None:
        return None
    with Path(path).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return Program(path=str(Path(path).absolute()), file=str(Path(path).resolve()), sha256=found)


def run(
    argv: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> Ended:
    """Run a command to its end.

    Parameters
    ----------
    argv
        The absolute path of the program, and its arguments.
    folder
        The working folder.
    environment
        All variables that it gets.
    timeout_s
        After this time, its group of processes is killed.

    Raises
    ------
    OSError
        It could not be started.
    """
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    last = _Last(process.stdout)
    try:
        code: int | None = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        code = None
    except BaseException:  # somebody stops this process: it must not leave half of its work running
        _kill(process)
        raise
    return Ended(code=code, output=last.text())


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ask the group of a process to end, then kill what is left of it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Last:
    """Reads a pipe to its end in a thread, and keeps the last part."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._kept, self._cut = bytearray(), False
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _CHUNK):
                with self._lock:
                    self._kept += chunk
                    if len(self._kept) > _KEPT:
                        self._cut = True
                        del self._kept[:-_KEPT]

    def text(self) -> str:
        """Return what was read; the first line is dropped if its beginning is lost."""
        self._reader.join(GRACE_S)  # a process in the background may keep the pipe open
        with self._lock:
            kept, cut = bytes(self._kept), self._cut
        if cut:
            kept = kept.partition(b"\n")[2]
        return kept.decode(errors="replace")
