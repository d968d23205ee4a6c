"""`python -m rbkernel.run.with_parent PARENT …`: run `rbkernel …` until its parent ends.

A killed worker cannot end its runs. So the system ends them: on Linux the kernel kills this process
at the moment its parent dies; elsewhere a thread checks twice a second.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.5


def hold(parent: int) -> None:
    """Make this process end when its parent process ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the signal was set up
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    hold(int(sys.argv.pop(1)))
    runpy.run_module("rbkernel", run_name="__main__")
