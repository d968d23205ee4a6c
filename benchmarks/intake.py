"""How soon `rbkernel serve` acknowledges: ``python -m benchmarks.intake [RATE [SECONDS]]``.

Alerts of Alertmanager's form, one a request, at a steady rate whatever the answers take (100 a
second for 20 s), then a storm of 5,000 from 50 connections as fast as they are answered. Each 202
stands for a commit that was synced to the disk. Prints the time from when a request was due to its
answer, the gateway's memory, and whether the store holds each alert. The aim is p99 below 50 ms at
100 a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from rbkernel.gateway.jobs.storage.store import Store

LIMIT_MS = 50
STORM, CONNECTIONS = 5_000, 50
TOKEN = "a secret of the benchmark"  # noqa: S105  # it is one


def main(rate: int, seconds: int) -> int:
    """Measure both, and look into the store."""
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as (process, address, url):
        before_mb = memory_mb(process)
        steady = asyncio.run(at_rate(address, rate, rate * seconds))
        steady_mb = memory_mb(process)
        began = time.perf_counter()
        storm = asyncio.run(at_once(address, STORM))
        took_s = time.perf_counter() - began
        storm_mb = memory_mb(process)
        store = Store.open(url)
        kept = sum(store.counts().alerts.values())
        store.close()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    table = Table(title=f"ms from due to 202; {machine}")
    for column in ("load", "requests", "median", "p99", "slowest", "gateway MB"):
        table.add_column(column, justify="right")
    table.add_row("before", "", "", "", "", f"{before_mb:.0f}")
    table.add_row(f"{rate} a second", *figures(steady), f"{steady_mb:.0f}")
    table.add_row(f"{STORM / took_s:.0f} a second", *figures(storm), f"{storm_mb:.0f}")
    Console(width=100).print(table)
    sent = len(steady) + len(storm)
    print(f"{kept} of {sent} alerts in the store")
    return int(kept != sent or percentile_ms(steady, 99) > LIMIT_MS)


def figures(took_s: list[float]) -> tuple[str, ...]:
    """Return how many, median, p99 and the slowest, the times in ms."""
    median_ms = 1000 * statistics.median(took_s)
    times = (median_ms, percentile_ms(took_s, 99), 1000 * max(took_s))
    return str(len(took_s)), *(f"{ms:.1f}" for ms in times)


def percentile_ms(took_s: list[float], percent: int) -> float:
    """Return a percentile in ms."""
    return 1000 * statistics.quantiles(took_s, n=100)[percent - 1]


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[psutil.Process, tuple[str, int], str]]:
    """Have `rbkernel serve` listen while the block runs: its process, its address, its store."""
    configuration = folder / "rbkernel.toml"
    configuration.write_text('[gateway.senders.alertmanager]\nsecret_env = "BENCHMARK_TOKEN"\n')
    url = f"sqlite:///{folder}/store.sqlite"
    environment = {
        **os.environ,
        "RBKERNEL_CONFIG": str(configuration),
        "RBKERNEL_EVIDENCE": str(folder / "evidence"),
        "RBKERNEL_STORE_URL": url,
        "BENCHMARK_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "rbkernel", "serve", "--port", "0", "--kernels", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        found = urlsplit(process.stdout.readline().split()[-1])
        assert found.hostname
        assert found.port
        yield psutil.Process(process.pid), (found.hostname, found.port), url
    finally:
        process.terminate()
        process.wait(timeout=60)


def memory_mb(process: psutil.Process) -> float:
    """Return the memory that the gateway holds."""
    return float(process.memory_info().rss / 1024**2)


def request(number: int) -> bytes:
    """Return one request: a group with one new alert."""
    body = {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="Lag", shard="{number}"}}',
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "Lag", "severity": "critical", "shard": str(number)},
                "annotations": {"summary": "replication is behind", "description": "x" * 500},
                "startsAt": "2026-11-20T03:00:00.123456789Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example.org/graph",
                "fingerprint": f"{number:016x}",
            }
        ],
    }
    raw = json.dumps(body).encode()
    head = (
        "POST /alerts/alertmanager HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


class Sender:
    """One connection, kept open."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, number: int) -> None:
        """Post one alert; anything but 202 ends the benchmark."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(request(number))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        [length] = [line for line in head.splitlines() if line.startswith("Content-Length")]
        await reader.readexactly(int(length.split()[1]))
        assert head.startswith("HTTP/1.1 202"), head

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()


async def at_rate(address: tuple[str, int], rate: int, total: int) -> list[float]:
    """Send at a steady rate, and return how long after it was due each was answered, in s."""
    idle: list[Sender] = []
    began = time.perf_counter()

    async def one(number: int) -> float:
        due = began + number / rate
        await asyncio.sleep(due - time.perf_counter())
        sender = idle.pop() if idle else Sender(address)
        await sender.send(number)
        idle.append(sender)
        return time.perf_counter() - due

    took = await asyncio.gather(*(one(number) for number in range(total)))
    for sender in idle:
        sender.close()
    return took


async def at_once(address: tuple[str, int], total: int) -> list[float]:
    """Send as fast as it is answered, and return how long each took, in s."""
    numbers = iter(range(10**9, 10**9 + total))
    took: list[float] = []

    async def connection() -> None:
        sender = Sender(address)
        for number in numbers:
            began = time.perf_counter()
            await sender.send(number)
            took.append(time.perf_counter() - began)
        sender.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return took


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(arguments + [100, 20][len(arguments) :])))
