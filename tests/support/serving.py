"""`rbkernel serve` as a process of its own, and what a sender does with it."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from rbkernel.gateway.jobs.storage.store import Store

CORPUS = Path(__file__).parents[1] / "corpora" / "deliveries"
SECRETS = {
    "AM_TOKEN": "alertmanager-secret",
    "GRAFANA_NEW": "grafana-new-secret",
    "GRAFANA_OLD": "grafana-old-secret",
    "PD_SECRET": "pagerduty-secret",
    "DD_TOKEN": "datadog-secret-ü",
    "GENERIC_TOKEN": "generic-secret",
}
# without one, `serve --check` warns
DEFAULT_CONNECTION = """
[connections.orders]
host = "127.0.0.1"
port = 1
default = true
"""
SENDERS = f"""{DEFAULT_CONNECTION}
[gateway.senders.alertmanager]
user = "alertmanager"
secret_env = "AM_TOKEN"
[gateway.senders.grafana]
secret_env = ["GRAFANA_NEW", "GRAFANA_OLD"]
timestamp_header = "X-Time"
[gateway.senders.pagerduty]
secret_env = "PD_SECRET"
[gateway.senders.datadog]
secret_env = "DD_TOKEN"
[gateway.senders.generic]
secret_env = "GENERIC_TOKEN"
"""
NOBODY = ""


@dataclass
class Serving:
    """A gateway that listens, and everything it said."""

    process: subprocess.Popen[str]
    url: str
    store_url: str
    said: list[str] = field(default_factory=list)

    def post(self, source: str, body: Any, **headers: str | bytes) -> httpx.Response:
        """Post a body as its sender does, with these headers instead of a proof if any is given."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(
            f"{self.url}/alerts/{source}",
            content=raw,
            headers=as_bytes(
                {"Content-Type": "application/json", **(headers or proven(source, raw))}
            ),
            timeout=30,
        )

    def post_long(
        self, source: str, size: int, in_pieces: bool, **headers: str | bytes
    ) -> httpx.Response:
        """Post a body of blanks, without its length in advance if it goes in pieces."""
        length: dict[str, str | bytes] = {} if in_pieces else {"Content-Length": str(size)}
        piece = b" " * 1_000_000
        return httpx.post(
            f"{self.url}/alerts/{source}",
            content=(piece for _ in range(size // len(piece))),
            headers=as_bytes({"Content-Type": "application/json", **length, **headers}),
            timeout=60,
        )

    def line(self) -> socket.socket:
        """Open a connection for what no client would send."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def get(self, path: str) -> httpx.Response:
        """Get a page."""
        return httpx.get(f"{self.url}{path}", timeout=30)

    @property
    def store(self) -> Store:
        """What it keeps, looked at from outside."""
        return Store.open(self.store_url)

    def kept(self) -> int:
        """Return how many alerts are on disk."""
        store = self.store
        try:
            return sum(store.counts().alerts.values())
        finally:
            store.close()

    def end(self, timeout_s: float = 30) -> int:
        """Send SIGTERM and wait."""
        self.process.terminate()
        return self.process.wait(timeout_s)


def example(name: str) -> bytes:
    """Return a documented body."""
    return (CORPUS / f"{name}.json").read_bytes()


def alert(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a body of our own with one alert."""
    at = "2026-11-20T03:00:00Z"
    return {"name": f"Test{number}", "starts_at": at, "labels": {"n": str(number)}, **fields}


def as_bytes(headers: Mapping[str, str | bytes]) -> list[tuple[bytes, bytes]]:
    """Return headers as they go over the wire: UTF-8, where a secret has more than ASCII."""
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in headers.items()
    ]


def proven(source: str, raw: bytes) -> dict[str, str | bytes]:
    """Return the headers with which a sender proves itself."""
    if source == "grafana":
        at = str(int(time.time()))
        code = signature(SECRETS["GRAFANA_OLD"], f"{at}:".encode() + raw)
        return {"X-Time": at, "X-Grafana-Alerting-Signature": code}
    if source == "pagerduty":
        code = signature(SECRETS["PD_SECRET"], raw)
        return {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={code}", "X-Webhook-Id": "01DEN"}
    if source == "alertmanager":
        pair = httpx.BasicAuth("alertmanager", SECRETS["AM_TOKEN"])
        return {
            "Authorization": next(pair.auth_flow(httpx.Request("POST", "http://x"))).headers[
                "Authorization"
            ]
        }
    token = SECRETS["DD_TOKEN" if source == "datadog" else "GENERIC_TOKEN"]
    return {"Authorization": f"Bearer {token}"}


def signature(secret: str, raw: bytes) -> str:
    """Return a body's signature in hex."""
    return hmac.digest(secret.encode(), raw, "sha256").hex()


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    configuration: str = SENDERS,
    **environment: str,
) -> Iterator[Serving]:
    """Have `rbkernel serve` listen on a free port while the block runs."""
    file = folder / "rbkernel.toml"
    file.write_text(configuration)
    store_url = environment.get("RBKERNEL_STORE_URL", f"sqlite:///{folder}/store.sqlite")
    process = subprocess.Popen(
        [sys.executable, "-m", "rbkernel", "serve", "--port", "0", "--kernels", "0", *arguments],
        env={
            **os.environ,
            **SECRETS,
            "RBKERNEL_CONFIG": str(file),
            "RBKERNEL_EVIDENCE": str(folder / "evidence"),
            "RBKERNEL_STORE_URL": store_url,
            "PYTHONUNBUFFERED": "1",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(process, said, lines), daemon=True)
    listener.start()
    try:
        yield Serving(process, _address(process, said, lines), store_url, said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        listener.join(30)


def _listen(process: subprocess.Popen[str], said: list[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout
    for line in process.stdout:
        said.append(line)
        lines.put(line)
    process.stdout.close()
    lines.put("")


def _address(process: subprocess.Popen[str], said: list[str], lines: queue.SimpleQueue[str]) -> str:
    while line := lines.get(timeout=60):
        if line.startswith("listening on "):
            return line.split()[-1]
    raise AssertionError(f"it ended with {process.wait(30)}: {''.join(said)}")


class Relay:
    """A line to a server, that can be cut: connections end, and new ones are refused."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self._listening: socket.socket | None = None
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Let connections through, at the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        """End all connections, and take no new one."""
        assert self._listening
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._open = []

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
