"""The kernel leaves the connection file of its client alone: a client may read it at any moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zmq
from jupyter_client.session import Session

from rbkernel.kernel.app import RecordingKernelApp

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


@pytest.mark.parametrize("encrypted", [True, False])
def test_it_is_written_again_only_if_it_says_something_else(
    tmp_path: Path, encrypted: bool
) -> None:
    public, secret = zmq.curve_keypair() if encrypted else (None, None)
    file = tmp_path / "kernel.json"
    app = RecordingKernelApp(  # type: ignore[no-untyped-call]  # ipykernel's
        session=Session(key=b"key"),
        connection_file=str(file),
        curve_publickey=public,
        curve_secretkey=secret,
        **{name: 50_001 + number for number, name in enumerate(PORTS)},
    )
    app.write_connection_file()  # the same text as a client's
    file.write_text(as_it_was := file.read_text() + "\n")
    app.write_connection_file()
    assert file.read_text() == as_it_was
    app.shell_port = 50_000
    app.write_connection_file()
    assert json.loads(file.read_text())["shell_port"] == 50_000
