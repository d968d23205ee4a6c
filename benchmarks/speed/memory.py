"""The memory that each running kernel adds."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from rbkernel.forkserver import place

_KERNELS = 8
_PATIENCE_S = 180.0
_LIBRARIES = "import pandas, plotly.graph_objects, sqlalchemy"
_OWN = re.compile(r"(?m)^Private_\w+:\s+(\d+) kB$")


def per_kernel_mb(kernel: str, switch: str) -> float:
    """Return the memory that no other process shares, of each of eight kernels, in MB.

    The kernels are alive at the same time, and each has imported pandas, plotly and SQLAlchemy.
    """
    os.environ[place.SWITCH] = switch
    managers: list[KernelManager] = []
    talks: list[BlockingKernelClient] = []
    try:
        for _ in range(_KERNELS):
            manager = KernelManager(kernel_name=kernel)
            with Path(os.devnull).open("w") as nowhere:
                manager.start_kernel(stderr=nowhere)  # kernels warn about TCP
            managers.append(manager)
            talks.append(manager.client())
        for talk in talks:
            talk.start_channels()
            talk.wait_for_ready(timeout=_PATIENCE_S)
            reply = talk.execute(_LIBRARIES, reply=True, timeout=_PATIENCE_S)
            assert reply["content"]["status"] == "ok", reply
        time.sleep(1.0)  # the kernels finish what they do after a reply
        return sum(map(_own_mb, managers)) / _KERNELS
    finally:
        for talk in talks:
            talk.stop_channels()
        for manager in managers:
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
        os.environ.pop(place.SWITCH)


def _own_mb(manager: KernelManager) -> float:
    kernel = psutil.Process(manager.provisioner.pid)
    return sum(_private_mb(one.pid) for one in [kernel, *kernel.children(recursive=True)])


def _private_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in _OWN.findall(text)) / 1024
