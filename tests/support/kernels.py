"""Real kernels, real papermill, and small runbooks for them."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from rbkernel.forkserver import client, place
from tests.support.waiting import until

# a test that waits so long has failed, also on a machine that does much else
PATIENCE_S = 180.0
RUNBOOK = "RUN-900"
FRONT_MATTER = f"""\
---
id: {RUNBOOK}
title: A runbook of the tests
summary: It looks at nothing.
category: incident
severity: P3
owner: Tests
---"""
METADATA: dict[str, Any] = {
    "kernelspec": {"name": "rbkernel", "display_name": "rbkernel", "language": "python"}
}
START = f'import rbkernel as rb\n\nrb.start("{RUNBOOK}")'


def write_runbook(path: Path, cells: Sequence[str], *, parameters: str = "") -> Path:
    """Write a runbook: front matter, parameters, then cells; ``# `` at the start is Markdown."""
    document = new_notebook(cells=[new_raw_cell(FRONT_MATTER)], metadata=METADATA)
    if parameters:
        document.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for source in cells:
        markdown = source.startswith("# ")
        document.cells.append(new_markdown_cell(source) if markdown else new_code_cell(source))
    nbformat.write(document, path)
    return path


def configure(folder: Path) -> Path:
    """Write an rbkernel.toml whose catalogue is the folder, and return it."""
    file = folder / "rbkernel.toml"
    file.write_text(f'[catalogue]\npaths = ["{folder}"]\n')
    return file


def await_fast_start(environment: Mapping[str, str]) -> None:
    """Wait for the fork server, so that kernels are forked whenever the tests run on it."""
    if place.is_supported() and not client.problem(environment):
        client.prepare(environment)
        until(place.place_for(environment).socket.exists, "the fork server")


def papermill(
    document: Path, output: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    """Start plain papermill, as a user would; it has its own process group."""
    command = [sys.executable, "-m", "papermill", str(document), str(output), "-k", "rbkernel"]
    variables = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    await_fast_start(variables)
    return subprocess.Popen(
        [*command, "--no-progress-bar", *arguments],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@dataclass(frozen=True)
class Answer:
    """What a client got for a cell: the reply's content and the messages on IOPub."""

    reply: dict[str, Any]
    messages: tuple[dict[str, Any], ...]

    @property
    def text(self) -> str:
        streams = (m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")
        return "".join(streams)


@dataclass(frozen=True)
class Kernel:
    """A kernel with one client."""

    manager: KernelManager
    client: BlockingKernelClient

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)  # type: ignore[union-attr]  # it runs

    def run(self, code: str, *, allow_stdin: bool = False, timeout_s: float = PATIENCE_S) -> Answer:
        """Run a cell; a client that is left hanging is an error after the time-out."""
        messages: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(
            code,
            allow_stdin=allow_stdin,
            # otherwise a request that arrives just after a failed cell may be aborted
            stop_on_error=False,
            timeout=timeout_s,
            output_hook=messages.append,
        )
        shown = (m for m in messages if m["msg_type"] != "status")
        return Answer(reply["content"], tuple(shown))

    def interrupted(self, code: str, begun: str) -> Answer:
        """Run a cell, and interrupt it once when it has printed these words."""
        messages: list[dict[str, Any]] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream" and begun in message["content"]["text"]:
                self.manager.interrupt_kernel()
            messages.append(message)

        reply = self.client.execute_interactive(
            code, stop_on_error=False, timeout=PATIENCE_S, output_hook=hear
        )
        return Answer(reply["content"], tuple(messages))

    def restart(self) -> None:
        self.manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=PATIENCE_S)


@contextmanager
def kernel(**environment: str) -> Iterator[Kernel]:
    """Start an rbkernel kernel with these environment variables besides ours."""
    manager = KernelManager(kernel_name="rbkernel")
    variables = {**os.environ, **environment}
    await_fast_start(variables)
    manager.start_kernel(env=variables)
    talk = manager.client()
    try:
        talk.start_channels()
        talk.wait_for_ready(timeout=PATIENCE_S)
        yield Kernel(manager, talk)
    finally:
        talk.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
        manager.context.destroy()


def received(client: BlockingKernelClient, seconds: float) -> list[dict[str, Any]]:
    """Collect what arrives on IOPub for some time."""
    messages, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            messages.append(client.get_iopub_msg(timeout=left))
        except queue.Empty:
            break
    return messages


def in_tiny_tmpfs(
    folder: Path, *command: str, options: str = "size=64k", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that sees a file system of 64 KiB at the folder; nobody else does."""

    def run(*shell: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", *shell],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    mount = f'mount -t tmpfs -o {options} tmpfs "$0"'
    if run(mount, str(folder)).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs in a user namespace")
    return run(f'{mount} && exec "$@"', str(folder), *command)
