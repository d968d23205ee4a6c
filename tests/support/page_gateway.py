"""A `rbkernel serve` of a test's own, with nothing else of the user's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_END_S = 60.0


@contextmanager
def gateway(
    folder: Path,
    evidence: Path,
    *,
    open_on_loopback: bool = True,
    configuration: Path | None = None,
    port: int = 0,
    ending: int = signal.SIGTERM,
) -> Iterator[str]:
    """Serve on a free port or this one, and give the address; store and log lie in the folder."""
    if configuration is None:
        configuration = folder / "rbkernel.toml"
        configuration.write_text(f"[pages]\nopen_on_loopback = {str(open_on_loopback).lower()}\n")
    own = {
        "RBKERNEL_CONFIG": str(configuration),
        "RBKERNEL_EVIDENCE": str(evidence),
        "RBKERNEL_STORE_URL": f"sqlite:///{folder / 'store.sqlite'}",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    log = folder / "serve.log"
    command = [sys.executable, "-m", "rbkernel", "serve", "--port", str(port)]
    with log.open("w") as errors:
        server = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            assert said.startswith("listening on "), said + log.read_text()
            yield said.removeprefix("listening on ").strip()
        finally:
            server.send_signal(ending)
            server.communicate(timeout=_END_S)
