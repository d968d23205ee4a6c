"""How long papermill takes with our kernel: ``python -m benchmarks.start [RUNS]``.

One notebook, 12 cells with pandas and four plotly figures, run by papermill's command line from
nothing: with ipykernel's kernel, with ours as a new process, and with ours from the fork server.
The three take turns; in each turn another one is first. Then a kernel alone: from the request
until it has run ``import pandas, plotly.express``.

Prints medians of wall time, the 95th percentile, ratios of medians to ipykernel's kernel, and the
load of the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from benchmarks.speed.others import IMPORTS, first_cell
from rbkernel.forkserver import client, place
from tests.support.waiting import until

_FRAME = "frame = pd.DataFrame({'at': range(1000), 'value': range(1000)})"
_FIGURE = "px.line(frame, x='at', y='value')"
_CELLS = [IMPORTS, _FRAME, *["frame.describe()"] * 6, *[_FIGURE] * 4]

# the kernel's name, and the switch
_STARTS = {
    "ipykernel, new process": ("python3", "off"),
    "rbkernel, new process": ("rbkernel", "off"),
    "rbkernel, forked": ("rbkernel", "on"),
}


def main(runs: int) -> None:
    """Measure, and print the tables."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": folder,
            "RBKERNEL_EVIDENCE": str(Path(folder) / "evidence"),
        }
        os.environ.update(environment)
        document = Path(folder) / "notebook.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in _CELLS]), document)
        client.prepare(environment)
        until(place.place_for(environment).socket.exists, "the fork server")
        try:
            report("papermill, 12 cells", partial(papermill, document, environment), runs)
            report("start and first imports", first_cell, runs)
        finally:
            until(_stopped, "the end of the servers")
    print(f"load after: {os.getloadavg()[0]:.1f}")


def _stopped() -> bool:
    for server in client.living():
        client.stop(server, now=True)
    return client.living() == []


def papermill(document: Path, environment: Mapping[str, str], kernel: str, switch: str) -> None:
    """Run the notebook by papermill's command line."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", kernel]
    subprocess.run(
        [*command, str(document), str(document.with_name("out.ipynb"))],
        env={**environment, place.SWITCH: switch},
        check=True,
        capture_output=True,
    )


def report(what: str, do: Callable[[str, str], None], runs: int) -> None:
    """Measure with each start in turn, and print medians and ratios."""
    taken: dict[str, list[float]] = {name: [] for name in _STARTS}
    names = list(_STARTS)
    for turn in range(runs):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.perf_counter()
            do(*_STARTS[name])
            taken[name].append(time.perf_counter() - begun)
    base = statistics.median(taken[names[0]])
    for name, times in taken.items():
        median, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        print(f"{what}, {name}: median {median:.2f} s, p95 {p95:.2f} s, ratio {median / base:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
