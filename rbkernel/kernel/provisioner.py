"""Start the rbkernel kernel for Jupyter: through a fork server if there is one, else plainly.

Jupyter, nbclient and papermill need no change: the kernelspec names this provisioner.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from rbkernel.forkserver.client import ForkedProcess, start

_MODULE = ["-m", "rbkernel.kernel"]
# options of a plain start that a forked start does not support
_KNOWN = frozenset({"cwd", "env", "extra_arguments", "independent", "kernel_id"})
_STREAMS = ("stdin", "stdout", "stderr")
# a kernel listens some 50 ms after it was forked
_LISTENS_WITHIN_S, _LOOK_EVERY_S = 1.0, 0.005


class KernelProvisioner(LocalProvisioner):
    """The Jupyter provisioner that starts a local rbkernel kernel, forked if possible."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel: forked if possible, else as a new process.

        It does not get the passwords of the roles that execute actions.
        """
        kwargs["env"] = _for_kernels(kwargs.get("env") or os.environ)
        forked = _forked(cmd, kwargs)
        if forked is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = cast("Any", forked)  # implements the part of `subprocess.Popen` that is used
        self.pid = self.pgid = forked.pid  # the process leads its own session
        self.cwd = kwargs.get("cwd") or os.getcwd()  # noqa: PTH109
        await self._until_it_listens(forked)
        return self.connection_info

    async def _until_it_listens(self, process: ForkedProcess) -> None:
        """Wait until a kernel listens: a client that connects too early waits 100 ms more."""
        deadline = time.monotonic() + _LISTENS_WITHIN_S
        while not _listens(self.connection_info):
            if process.poll() is not None or time.monotonic() > deadline:
                return  # the client reports it
            await asyncio.sleep(_LOOK_EVERY_S)

    async def wait(self) -> int | None:
        """Wait for the kernel to end, without polling."""
        await self._end(None)
        return await super().wait()

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Wait for the kernel to shut down as requested, without polling."""
        await super().shutdown_requested(restart=restart)
        await self._end(self.get_shutdown_wait_time() / 2)

    async def _end(self, timeout_s: float | None) -> None:
        """Wait for a forked kernel to end."""
        process = self.process
        if not isinstance(process, ForkedProcess) or process.poll() is not None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        number = process.fileno()
        loop.add_reader(number, ended.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s)
        finally:
            loop.remove_reader(number)


def _listens(connection: KernelConnectionInfo) -> bool:
    """Return whether a kernel has opened its last socket, the one for heartbeats."""
    ip, port = connection["ip"], connection["hb_port"]
    try:
        if connection["transport"] == "ipc":
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(f"{ip}-{port}")
        else:
            socket.create_connection((str(ip), int(port))).close()
    except OSError:
        return False
    return True


def _for_kernels(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a kernel; if the configuration is broken, the kernel reports it."""
    # imported late, because Jupyter loads this module when it lists kernels
    from rbkernel import config
    from rbkernel.errors import ConfigError
    from rbkernel.kernel import secrets

    try:
        settings = config.load()
    except ConfigError:
        return dict(environment)
    return secrets.without_action_passwords(settings, environment)


def _forked(cmd: list[str], kwargs: dict[str, Any]) -> ForkedProcess | None:
    """Start the kernel through the fork server; return None if a plain start is needed."""
    streams = [kwargs.get(name) for name in _STREAMS]
    if cmd[:3] != [sys.executable, *_MODULE]:
        return None
    if kwargs.get("independent") or kwargs.keys() - _KNOWN - {*_STREAMS}:
        return None
    if any(stream is not None and not hasattr(stream, "fileno") for stream in streams):
        return None  # the caller asks for a new pipe
    folder = os.path.abspath(kwargs.get("cwd") or ".")  # noqa: PTH100
    environment = {**kwargs["env"], "JPY_PARENT_PID": str(os.getpid())}
    with contextlib.ExitStack() as stack:
        stdin, stdout, stderr = (
            _number(stack, default, stream)
            for default, stream in zip((None, 1, 2), streams, strict=True)
        )
        return start(
            "kernel",
            cmd[3:],
            environment=environment,
            folder=folder,
            streams=(stdin, stdout, stderr),
        )


def _number(stack: contextlib.ExitStack, default: int | None, stream: Any) -> int:
    """Return the file descriptor of a stream; without a stream, of the null device."""
    if stream is not None:
        return int(stream.fileno())
    if default is not None:
        with contextlib.suppress(OSError):
            os.fstat(default)
            return default
    return stack.enter_context(open(os.devnull, "r+b")).fileno()  # noqa: PTH123
