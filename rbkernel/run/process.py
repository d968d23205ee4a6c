"""`rbkernel …` in a process of its own, which does not outlive the one that starts it."""

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
    """Start it in a session of its own: forked where there is a fork server, else plainly.

    Parameters
    ----------
    arguments
        Those of ``rbkernel``.
    environment
        All of its environment.
    streams
        Its standard input, output and error.

    Raises
    ------
    OSError
        No process could be started.
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
        start_new_session=True,  # Ctrl-C on a terminal is for the worker: it tells the run to end
    )
