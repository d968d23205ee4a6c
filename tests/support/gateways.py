"""Real gateways and workers in processes of their own, and quick runbooks for them to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.evidence import reading, seals
from rbkernel.evidence.incident import AlertStatus
from rbkernel.gateway.jobs.alert import Alert, Delivery
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.storage.store import Store
from tests.support.kernels import METADATA, PATIENCE_S

QUICK, SLOW, DEADLY, STEADY = "RUN-911", "RUN-912", "RUN-913", "RUN-914"
# process ids of its own, and all of its processes end with the first of them
OTHER_HOST = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
              "--mount-proc")  # fmt: skip
_FRONT_MATTER = """\
---
id: {id}
title: {title}
summary: It looks at nothing.
category: maintenance
severity: P3
owner: Tests
triggers:
  - alert: {title}
    parameters: {{which: labels.which}}
    key: [labels.which]
---"""
_PARAMETERS = 'which: str = "a"\nincident: str = ""'
_SAY = "print(which)"


@dataclass(frozen=True)
class Place:
    """Configuration, evidence and store of some gateways and workers."""

    folder: Path
    store_url: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    @property
    def variables(self) -> dict[str, str]:
        """What a process of this place finds in its environment."""
        return {
            "RBKERNEL_CONFIG": str(self.folder / "rbkernel.toml"),
            "RBKERNEL_EVIDENCE": str(self.evidence),
            "RBKERNEL_STORE_URL": self.store_url,
            "PYTHONWARNINGS": "ignore",
            **self.environment,
        }

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = Store.open(self.store_url)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def process(self, *arguments: str, elsewhere: bool = False) -> Iterator[Process]:
        """Start `rbkernel …`, as on another host if need be; it is killed at the end."""
        started = Process.start(self, arguments, OTHER_HOST if elsewhere else ())
        try:
            yield started
        finally:
            started.kill()

    def jobs(self) -> list[Job]:
        with self.store() as store:
            return store.jobs(limit=1_000)

    def until(self, condition: Callable[[Store], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait until something is true of the store."""
        deadline = time.monotonic() + timeout_s
        with self.store() as store:
            while not condition(store):
                told = "\n".join(path.read_text() for path in self.folder.glob("*.log"))
                assert time.monotonic() < deadline, f"{store.counts()}\n{told[-6_000:]}"
                time.sleep(0.2)

    def fire(self, *alerts: Alert) -> None:
        """Put alerts into the store, as a gateway does."""
        with self.store() as store:
            store.receive(Delivery(source="generic", alerts=alerts))

    def sealed(self) -> Counter[str]:
        """Return how many runs of each value of `which` came to their end, by their evidence."""
        ended: Counter[str] = Counter()
        for head in seals.read_heads(self.evidence):
            folder = seals.sealed_folder(self.evidence, head.run_id)
            assert folder is not None
            record = reading.read(folder)
            if record.complete and record.run:
                ended[str(record.run.parameters["which"])] += 1
        return ended


@dataclass
class Process:
    """`rbkernel serve` or `rbkernel worker`."""

    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, place: Place, arguments: Sequence[str], within: Sequence[str] = ()) -> Process:
        log = place.folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [*within, sys.executable, "-m", "rbkernel", *arguments],
                env={**os.environ, **place.variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = cls(popen, log)
        started.await_text(" at the same time")
        return started

    def await_text(self, text: str) -> str:
        """Wait until the process has said something; return the line."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if text in line:
                    return line
            assert self.popen.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """Kill it for good, and only it: what it started is not told."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE_S)

    def end(self) -> int:
        """Ask it to end, and wait until it has."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE_S)


def make_place(folder: Path, store_url: str = "", *, queue: str = "", **environment: str) -> Place:
    """Write configuration and runbooks."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "quick.ipynb", QUICK, "Quick", [_SAY])
    _write(folder / "slow.ipynb", SLOW, "Slow", ["import time\ntime.sleep(600)"])
    _write(folder / "steady.ipynb", STEADY, "Steady", ["import time\ntime.sleep(8)"])
    _write(folder / "deadly.ipynb", DEADLY, "Deadly", ["import os\nos.kill(os.getpid(), 9)"])
    (folder / "rbkernel.toml").write_text(
        f'[catalogue]\npaths = ["{folder}"]\n[queue]\n{queue}\n', encoding="utf-8"
    )
    url = store_url or f"sqlite:///{folder}/state/gateway.sqlite"
    return Place(folder, url, environment)


def alert(title: str, which: str, status: str = "firing", **labels: str) -> Alert:
    """Return an alert that one of the runbooks is for."""
    return Alert(
        source="generic",
        group_key="tests",
        fingerprint=f"{title} {which} {sorted(labels.items())}",
        status=AlertStatus(status),
        starts_at=datetime(2026, 11, 20, 3, tzinfo=UTC),
        labels={"alertname": title, "which": which, **labels},
    )


def _environment(place: Place) -> dict[str, str]:
    return {
        "RBKERNEL_CONFIG": str(place.folder / "rbkernel.toml"),
        "RBKERNEL_EVIDENCE": str(place.evidence),
        "RBKERNEL_STORE_URL": place.store_url,
        "PYTHONWARNINGS": "ignore",
        **place.environment,
    }


def _write(path: Path, id: str, title: str, cells: Sequence[str]) -> None:  # noqa: A002
    start = f'import rbkernel as rb\n\nrb.start("{id}", incident=incident, which=which)'
    document = new_notebook(
        cells=[
            new_raw_cell(_FRONT_MATTER.format(id=id, title=title)),
            new_code_cell(_PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, [start, *cells, "rb.summary()"]),
        ],
        metadata=METADATA,
    )
    nbformat.write(document, path)
