"""Start an `rbkernel` command in a separate process, which ends when its parent ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from rbkernel.forkserver.client import ForkedProcess, start

Process = subprocess.Popen[bytes] | ForkedProcess


def start_process(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
) -> Process:
    """Start an `rbkernel` command as a new session leader, through a fork server if possible.

    Parameters
    ----------
    arguments
        The command-line arguments of ``rbkernel``.
    environment
        The complete environment of the process.
    streams
        The standard input, output and error of the process.

    Raises
    ------
    OSError
        The process could not be started.
    """
    stdin, stdout, stderr = streams
    forked = start(
        "rbkernel",
        arguments,
        environment=environment,
        folder=os.getcwd(),  # noqa: PTH109
        streams=(stdin.fileno(), stdout.fileno(), stderr.fileno()),
    )
    if forked is not None:
        return forked
    return subprocess.Popen(
        [sys.executable, "-m", "rbkernel.run.with_parent", str(os.getpid()), *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches only the worker, which ends the run
    )
