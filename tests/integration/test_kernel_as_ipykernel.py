"""What JupyterLab asks of a kernel besides running cells works as in ipykernel, on both starts."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.manager import KernelManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets.config import Config

from rbkernel import __version__
from rbkernel.forkserver.client import ForkedProcess
from tests.support.kernels import PATIENCE_S, Kernel, kernel

pytestmark = pytest.mark.usefixtures("each_start")


@pytest.fixture
def running(evidence: Path, each_start: str) -> Iterator[Kernel]:
    with kernel() as started:
        forked = isinstance(vars(started.manager.provisioner)["process"], ForkedProcess)
        assert forked == (each_start == "forked")
        yield started


def test_completion_knows_live_objects(running: Kernel) -> None:
    running.run("class Standby:\n    is_paused = True\nstandby = Standby()")
    content = running.client.complete("standby.is_p", reply=True, timeout=30)["content"]
    assert any(match.endswith("is_paused") for match in content["matches"])


def test_the_kernel_goes_on_after_an_interrupt(running: Kernel) -> None:
    answer = running.interrupted(
        "print('waits', flush=True)\nimport time; time.sleep(600)", "waits"
    )
    assert answer.reply["ename"] == "KeyboardInterrupt"
    assert running.run("print(6 * 7)").text == "42\n"


def test_an_interrupt_that_comes_in_a_finalizer_ends_the_cell(running: Kernel) -> None:
    cell = """
import time
class Slow:
    def __del__(self):
        print('waits', flush=True)
        time.sleep(600)  # Python drops the interrupt that ends this
Slow()
time.sleep(600)
"""
    assert running.interrupted(cell, "waits").reply["ename"] == "KeyboardInterrupt"
    assert running.run("print(6 * 7)").text == "42\n"


def test_a_widget_and_its_frontend_tell_each_other(running: Kernel) -> None:
    shown = running.run(
        "import ipywidgets\n"
        "slider = ipywidgets.IntSlider(value=3)\n"
        "slider.observe(lambda change: print('heard', change.new), 'value')"
    )
    (opened,) = [
        message["content"]
        for message in shown.messages
        if message["msg_type"] == "comm_open"
        and message["content"]["data"]["state"].get("_model_name") == "IntSliderModel"
    ]
    assert opened["data"]["state"]["value"] == 3
    told = {"comm_id": opened["comm_id"], "data": {"method": "update", "state": {"value": 8}}}
    running.client.shell_channel.send(running.client.session.msg("comm_msg", told))
    while (heard := running.client.get_iopub_msg(timeout=30))["msg_type"] != "stream":
        pass
    assert heard["content"]["text"] == "heard 8\n"
    assert running.run("print(slider.value)").text == "8\n"


def test_a_debugger_is_offered_and_answers(running: Kernel) -> None:
    info = running.client.kernel_info(reply=True, timeout=30)["content"]
    assert (info["implementation"], info["implementation_version"]) == ("rbkernel", __version__)
    assert "debugger" in info["supported_features"]
    asked = {"type": "request", "command": "debugInfo", "seq": 1, "arguments": {}}
    message = running.client.session.msg("debug_request", asked)
    running.client.control_channel.send(message)
    reply = running.client.control_channel.get_msg(timeout=30)["content"]
    assert reply["success"] is True
    assert reply["body"]["isStarted"] is False


def test_a_widgets_buffer_that_is_withheld_says_so(running: Kernel, evidence: Path) -> None:
    """The mark stands in the buffer, in the cell and in the journal; no byte of the rest does."""
    code = (
        "import ipywidgets\npicture = ipywidgets.Image(value=b'GIF89a' + bytes(300), format='gif')"
    )
    shown = running.run(f"{code}\npicture.value = b'GIF89a' + bytes(400)")
    mark = b"[withheld: packed data]"
    buffers = [bytes(one) for message in shown.messages for one in message["buffers"]]
    assert buffers == [mark.ljust(306, b"\0"), mark.ljust(406, b"\0")]
    assert shown.text == "[withheld: packed data] in what a widget shows\n"
    [journal] = evidence.glob("open/*/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    recorded = [one for line in lines for one in line.get("buffers", ())]
    assert [base64.b64decode(one) for one in recorded] == buffers
    assert any("[withheld: packed data]" in str(line.get("content")) for line in lines)


def in_subshell(running: Kernel, code: str) -> str:
    """Run code in a new subshell, as JupyterLab does; return the request's id."""
    client = running.client
    client.control_channel.send(client.session.msg("create_subshell_request", {}))
    subshell_id = client.control_channel.get_msg(timeout=PATIENCE_S)["content"]["subshell_id"]
    asked = {"code": code, "silent": False, "allow_stdin": False, "stop_on_error": True}
    message = client.session.msg("execute_request", asked)
    message["header"]["subshell_id"] = subshell_id
    client.shell_channel.send(message)
    return str(message["header"]["msg_id"])


def wait_for_end(running: Kernel) -> None:
    """Wait until the kernel has ended by itself: nobody ends it."""
    running.manager.request_shutdown()
    deadline = time.monotonic() + PATIENCE_S
    while running.manager.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_threads_end_before_the_one_that_sends_output(running: Kernel, tmp_path: Path) -> None:
    """Each waits ten seconds for it otherwise; the control thread is made to come late here."""
    seen = tmp_path / "threads"
    running.run(
        "import atexit, pathlib, sys, threading, time\n"
        "kernel, flush = get_ipython().kernel, sys.stdout.flush\n"
        "def late():\n"
        "    if kernel._shutdown_message and threading.current_thread().name == 'Control':\n"
        "        time.sleep(0.2)\n"
        "    flush()\n"
        "sys.stdout.flush = late\n"
        "names = lambda: ' '.join(thread.name for thread in threading.enumerate())\n"
        f"atexit.register(lambda: pathlib.Path({str(seen)!r}).write_text(names()));"
    )
    request = in_subshell(running, "print('from a subshell')")
    while running.client.get_shell_msg(timeout=PATIENCE_S)["parent_header"]["msg_id"] != request:
        pass
    wait_for_end(running)
    assert "IOPub" in seen.read_text()
    left = [name for name in ("Control", "Shell channel", "subshell-") if name in seen.read_text()]
    assert left == []


def test_a_busy_subshell_does_not_hold_up_the_end(running: Kernel, evidence: Path) -> None:
    in_subshell(running, "import time\nprint('busy', flush=True)\nwhile True: time.sleep(0.01)")
    while running.client.get_iopub_msg(timeout=PATIENCE_S)["msg_type"] != "stream":
        pass
    wait_for_end(running)
    [journal] = evidence.glob("open/*/journal.jsonl")
    assert json.loads(journal.read_text().splitlines()[-1])["kind"] == "end"


@pytest.mark.parametrize("policy", ["required", "auto"])
def test_the_transport_is_encrypted_on_request(evidence: Path, policy: str) -> None:
    manager = KernelManager(kernel_name="rbkernel", transport_encryption=policy)
    manager.start_kernel()
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE_S)
        assert client.shell_channel.socket.get(zmq.MECHANISM) == zmq.CURVE
        messages: list[dict[str, Any]] = []
        client.execute_interactive("6 * 7", output_hook=messages.append, timeout=PATIENCE_S)
        assert any("42" in str(message["content"]) for message in messages)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.context.destroy()


def test_jupyter_server_starts_it_encrypted(evidence: Path) -> None:
    async def told() -> dict[str, Any]:
        kernels = AsyncMappingKernelManager(  # type: ignore[no-untyped-call]  # jupyter_server's
            config=Config({"KernelManager": {"transport_encryption": "required"}})
        )
        kernel_id = await kernels.start_kernel(kernel_name="rbkernel")
        info: dict[str, Any] = kernels.get_connection_info(kernel_id)
        await kernels.shutdown_kernel(kernel_id)  # type: ignore[no-untyped-call]
        return info

    assert asyncio.run(told())["curve_publickey"]
