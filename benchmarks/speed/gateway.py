"""An alert's way through the gateway: when it is answered, seen, told to people, and sealed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from rbkernel.evidence import incident as records
from rbkernel.evidence import manifest, seals

_PATIENCE_S = 180.0
_LOOK_EVERY_S = 0.005
_VERDICT = re.compile(r"RUN-900 (OK|WARNING|CRITICAL|UNKNOWN)")
# no limit may hold anything back
_CONFIGURATION = """\
[catalogue]
paths = ["{folder}/runbooks"]
[pages]
open_on_loopback = true
[queue]
starts_per_minute = 6000
per_connection = 64
[notify]
burst = 1000
every_s = 0.01
[notify.targets.chat]
url_env = "RB_BENCHMARK_CHAT"
"""


@dataclass(frozen=True)
class Chat:
    """A receiver of notifications; ``titles`` has the time and the title of each message."""

    url: str
    titles: list[tuple[float, str]]


@contextmanager
def chat() -> Iterator[Chat]:
    """Listen for notifications on a free port."""
    titles: list[tuple[float, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            titles.append((time.time(), body["title"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Chat(f"json://127.0.0.1:{server.server_port}/", titles)
        server.shutdown()


def configure(folder: Path) -> None:
    """Write the configuration of the measured gateways."""
    (folder / "rbkernel.toml").write_text(_CONFIGURATION.format(folder=folder))


@contextmanager
def serve(folder: Path, environment: Mapping[str, str], kernels: int) -> Iterator[str]:
    """Start `rbkernel serve` with so many runs at a time; yield its address."""
    command = [sys.executable, "-m", "rbkernel", "serve", "--port", "0"]
    with (folder / f"serve-{kernels}.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--kernels", str(kernels)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert server.stdout
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()
            server.communicate(timeout=_PATIENCE_S)


def post(address: str, which: str, *, service: str) -> None:
    """Send an alert that starts a run of its own; alerts of one service join one incident."""
    labels = {"alertname": "Benchmark", "which": which, "service": service}
    alert = {"status": "firing", "labels": labels}
    httpx.post(f"{address}/alerts/generic", json=alert, timeout=60).raise_for_status()


def heads(evidence: Path) -> list[manifest.Head]:
    """Return the seals so far."""
    return seals.read_heads(evidence)


def await_seals(evidence: Path, count: int) -> list[manifest.Head]:
    """Wait until there are so many seals; return them."""
    deadline = time.monotonic() + _PATIENCE_S
    while len(found := heads(evidence)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} runs are sealed"
        time.sleep(_LOOK_EVERY_S)
    return found


def answered(address: str, evidence: Path, got: Chat, which: str) -> dict[str, float]:
    """Send an alert, and wait for its seal; return the seconds from the POST to each step."""
    before = len(heads(evidence))
    posted = time.time()
    post(address, which, service=which)  # a new incident gets the situation of its server
    found = {"acknowledged": time.time() - posted}
    head = await_seals(evidence, before + 1)[-1]
    sealed = time.time() - posted
    folder = seals.sealed_folder(evidence, head.run_id)
    assert folder is not None
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]
    first = {line["kind"]: _seconds(line["at"]) - posted for line in reversed(lines)}
    seen = [
        line for line in records.read(evidence, head.incident).lines if line.kind == "situation"
    ]
    told = _await_verdict(got, posted) - posted
    return {
        **found,
        "cause of the first look in the record": _seconds(seen[0].at) - posted,
        "kernel runs": first["kernel"],
        "first finding of the run": first["finding"],
        "verdict on the page": first["summary"],
        "verdict received by the chat": told,
        "sealed, report included": sealed,
    }


def _await_verdict(got: Chat, posted: float) -> float:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        for at, title in got.titles:
            if at >= posted and _VERDICT.match(title):
                return at
        assert time.monotonic() < deadline, f"no verdict came: {got.titles}"
        time.sleep(_LOOK_EVERY_S)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
