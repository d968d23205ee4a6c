"""Which processes a run of the tests left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

_ENDS_S = 20.0
_POLL_S = 0.1
_FORK_SERVER = "rbkernel.forkserver.server"
_NAMES = ("XDG_RUNTIME_DIR", "TMPDIR")


def left_behind(folder: str) -> list[str]:
    """End the fork servers, and return the other processes that use this runtime folder.

    What has just been ended by its test, or by its server, gets some seconds.
    """
    deadline = time.monotonic() + _ENDS_S
    while found := _with_folder(folder):
        for process in found:
            if _FORK_SERVER in _command(process):
                _stop(process)
        if time.monotonic() > deadline:
            return [f"{process.pid}: {_command(process)}" for process in found]
        time.sleep(_POLL_S)
    return []


def _with_folder(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue  # it has ended, or belongs to another user
        if is_alive and any(environment.get(name) == folder for name in _NAMES):
            found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _stop(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):  # it may have ended
        process.send_signal(signal.SIGQUIT)
