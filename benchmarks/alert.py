"""How soon an alert has its answer: ``python -m benchmarks.alert [RUNS]``, 9 when not given.

One gateway, one sandbox, one notebook with 12 code cells: a diagnosis, six queries, four figures
and a summary. Each turn is one alert, and after it the same notebook by papermill's command line
from nothing, with a new kernel process, then with a forked one. For each alert, in seconds from
before the POST:

- acknowledged: the 202;
- begun: the run's journal exists, so its kernel runs;
- first finding: it is in the journal, from which each request of the run's page is answered;
- verdict: likewise the summary;
- sealed: the run is in `HEADS`, which is written last.

Prints median and 95th percentile, and the ratio of the medians to cold papermill.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx
import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.forkserver import client, place
from rbkernel.sandbox import control
from tests.support.kernels import METADATA
from tests.support.waiting import until

_PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.005
_FRONT_MATTER = """\
---
id: RUN-900
title: Benchmark
summary: A diagnosis, six queries and four figures.
category: incident
severity: SEV3
owner: Benchmarks
triggers:
  - alert: Benchmark
    parameters: {which: labels.which}
    key: [labels.which]
---"""
_PARAMETERS = 'db: str = "sandbox-primary"\nwhich: str = ""\nincident: str = ""'
_STEPS = {"begun": "kernel", "first finding": "finding", "verdict": "summary"}
_FIGURE = "rb.figure.of(found)"
_START = 'import rbkernel as rb\n\nrb.start("RUN-900")'
_DRAWN = ("connections/saturation", "connections/holders", "locks/blocking", "storage/sizes")
_ASKED = ("activity/transactions", "settings/notable")
_CELLS = [
    _START,
    "cause = rb.diagnose(db)",
    *(cell for name in _DRAWN for cell in (f'found = rb.assess("{name}", db)', _FIGURE)),
    *(f'rb.query("{name}", db)' for name in _ASKED),
    "rb.summary()",
]


def main(runs: int) -> None:
    """Measure, and print the table."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    taken: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="rb-") as made, sandbox(Path(made)) as environment:
        document = Path(made) / "runbooks" / "benchmark.ipynb"
        with gateway(Path(made), environment) as address:
            for turn in range(-1, runs):  # the first turn warms up
                found = answered(address, Path(made) / "evidence", turn)
                for kernel, switch in (("new kernel", "off"), ("forked kernel", "on")):
                    found[f"papermill, {kernel}"] = papermill(document, environment, switch)
                for name, seconds in found.items() if turn >= 0 else ():
                    taken[name].append(seconds)
    base = statistics.median(taken["papermill, new kernel"])
    for name, times in taken.items():
        median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        print(f"{name}: median {median:.2f} s, p95 {p95:.2f} s, ratio {median / base:.2f}")
    print(f"load after: {os.getloadavg()[0]:.1f}")


@contextmanager
def sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """Start a sandbox and a fork server; yield the environment of everything that is measured."""
    own = {
        "RBKERNEL_SANDBOX": str(folder / "sandbox"),
        "RBKERNEL_EVIDENCE": str(folder / "evidence"),
        "RBKERNEL_CONFIG": str(folder / "rbkernel.toml"),
        "RBKERNEL_STORE_URL": f"sqlite:///{folder / 'store.sqlite'}",
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    os.environ.update(own)
    runbooks = folder / "runbooks"
    runbooks.mkdir()
    nbformat.write(notebook(), runbooks / "benchmark.ipynb")
    (folder / "rbkernel.toml").write_text(
        f'[catalogue]\npaths = ["{runbooks}"]\n[pages]\nopen_on_loopback = true\n'
    )
    environment = dict(os.environ)
    control.up()
    try:
        client.prepare(environment)
        until(place.place_for(environment).socket.exists, "the fork server")
        yield environment
    finally:
        control.down()
        until(_stopped, "the end of the fork servers")


def _stopped() -> bool:
    for server in client.living():
        client.stop(server, now=True)
    return client.living() == []


def notebook() -> nbformat.NotebookNode:
    """Return the notebook that is run."""
    return new_notebook(
        cells=[
            new_raw_cell(_FRONT_MATTER),
            new_code_cell(_PARAMETERS, metadata={"tags": ["parameters"]}),
            *map(new_code_cell, _CELLS),
        ],
        metadata=METADATA,
    )


@contextmanager
def gateway(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start `rbkernel serve`; yield its address."""
    command = [sys.executable, "-m", "rbkernel", "serve", "--port", "0"]
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert server.stdout
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()
            server.communicate(timeout=_PATIENCE_S)


def answered(address: str, evidence: Path, number: int) -> dict[str, float]:
    """Post an alert, and wait until its run is sealed; return the seconds to each step."""
    alert = {"status": "firing", "labels": {"alertname": "Benchmark", "which": str(number)}}
    heads = evidence / "HEADS"
    before = heads.read_bytes() if heads.exists() else b""
    posted = time.time()
    with httpx.Client(base_url=address, timeout=_PATIENCE_S) as browser:
        browser.post("/alerts/generic", json=alert).raise_for_status()
        found = {"acknowledged": time.time() - posted}
        while not heads.exists() or heads.read_bytes() == before:
            assert time.time() - posted < _PATIENCE_S, "the run is not sealed"
            time.sleep(_LOOK_EVERY_S)
    sealed = time.time() - posted
    [journal] = evidence.glob(f"INC-*/*-{heads.read_text().split()[-1]}/journal.jsonl")
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    at = {line["kind"]: datetime.fromisoformat(line["at"]).timestamp() for line in lines[::-1]}
    found |= {name: at[kind] - posted for name, kind in _STEPS.items()}
    return {**found, "sealed": sealed}


def papermill(document: Path, environment: Mapping[str, str], switch: str) -> float:
    """Return how long papermill's command line takes, in seconds."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "rbkernel"]
    begun = time.perf_counter()
    subprocess.run(
        [*command, str(document), str(document.parent.parent / "out.ipynb")],
        env={**environment, place.SWITCH: switch},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
