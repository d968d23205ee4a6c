"""`rbkernel …` as a process of its own, forked where a fork server runs: seconds faster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

from rbkernel.forkserver import client
from tests.support.waiting import PATIENCE_S


def run_command(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_s: float = PATIENCE_S,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; return its exit status and what it printed.

    Raises
    ------
    subprocess.TimeoutExpired
        It has not ended in time, and was killed.
    """
    variables = dict(os.environ if environment is None else environment)
    command = [sys.executable, "-m", "rbkernel", *arguments]
    with TemporaryFile() as nothing, TemporaryFile() as out, TemporaryFile() as err:
        process: client.ForkedProcess | subprocess.Popen[bytes] | None = client.start(
            "rbkernel",
            arguments,
            environment=variables,
            folder=str(folder or Path.cwd()),
            streams=(nothing.fileno(), out.fileno(), err.fileno()),
        )
        if process is None:
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=nothing, stdout=out, stderr=err
            )
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess(command, status, *texts)
