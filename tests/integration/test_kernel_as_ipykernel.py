"""What JupyterLab asks of a kernel besides running cells works as in ipykernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kernels import Kernel, kernel


@pytest.fixture
def running(evidence: Path) -> Iterator[Kernel]:
    with kernel() as started:
        yield started


def test_completion_knows_live_objects(running: Kernel) -> None:
    running.run("class Standby:\n    is_paused = True\nstandby = Standby()")
    content = running.client.complete("standby.is_p", reply=True, timeout=30)["content"]
    assert any(match.endswith("is_paused") for match in content["matches"])


def test_the_kernel_goes_on_after_an_interrupt(running: Kernel) -> None:
    began_at = time.monotonic()
    running.client.execute("print('waits', flush=True)\nimport time; time.sleep(60)")
    while running.client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass
    time.sleep(0.5)  # the line came from another thread: let the cell begin to sleep
    running.manager.interrupt_kernel()
    while (reply := running.client.get_shell_msg(timeout=30))["msg_type"] != "execute_reply":
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - began_at < 30
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
    assert info["implementation"] == "rbkernel"
    assert "debugger" in info["supported_features"]
    asked = {"type": "request", "command": "debugInfo", "seq": 1, "arguments": {}}
    message = running.client.session.msg("debug_request", asked)
    running.client.control_channel.send(message)
    reply = running.client.control_channel.get_msg(timeout=30)["content"]
    assert reply["success"] is True
    assert reply["body"]["isStarted"] is False
