"""Run a gateway for the demonstration: `rbkernel serve` on loopback, with a temporary store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.errors import SandboxError

_PATIENCE_S = 60.0
_ENDING_S = 40.0
_SAID = "listening on "


@dataclass(frozen=True, kw_only=True)
class DrillGateway:
    """A running gateway of the demonstration: its address, store and log."""

    url: str
    store_url: str
    log: Path


@contextmanager
def drill_gateway(settings: Settings, folder: Path) -> Iterator[DrillGateway]:
    """Run a gateway on a free port, with the user's evidence folder and keys.

    Raises
    ------
    SandboxError
        The gateway does not start.
    """
    store_url, log = f"sqlite:///{folder / 'gateway.sqlite'}", folder / "gateway.log"
    environment = {
        **os.environ,
        "RBKERNEL_CONFIG": str(_configuration(settings, folder)),
        "RBKERNEL_EVIDENCE": str(settings.evidence_root),
        "RBKERNEL_STORE_URL": store_url,
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "rbkernel", "serve", "--port", "0"],
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,  # Ctrl-C must reach only this process
        )
    try:
        yield DrillGateway(url=_address(process, log), store_url=store_url, log=log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configuration(settings: Settings, folder: Path) -> Path:
    """Write the gateway's configuration; only signing keys are taken from the user's
    configuration.
    """
    file = folder / "gateway.toml"
    keys = {"signing_key": settings.signing_key, "allowed_signers": settings.allowed_signers}
    lines = ["[evidence]", *(f'{name} = "{path}"' for name, path in keys.items())]
    lines += ["[queue]", "kernels = 3", "per_connection = 3"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith(_SAID):
                return line.removeprefix(_SAID).strip()
        if process.poll() is not None or time.monotonic() > deadline:
            raise _not_started(log)
        time.sleep(0.1)


def _not_started(log: Path) -> SandboxError:
    """Return an error with the last line of the gateway's log, which is deleted afterwards."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "its log is empty")
    return SandboxError(
        f"the gateway does not start: {last.removeprefix('rbkernel: ')}",
        next_step="run `rbkernel serve --check`, which names what is wrong",
    )
