"""The past of the shop for Prometheus: good days, at this time of day, and the last half hour.

The values are averages of the simulation. `promtool` writes them into blocks, so that Prometheus
has real samples of the past from its first second on, for ranges and baselines.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from rbkernel.errors import SandboxError
from rbkernel.sandbox.shop.conditions import Conditions
from rbkernel.sandbox.shop.metrics import Counters, Series
from rbkernel.sandbox.shop.simulation import DAY_S, Simulation

DAYS = 7
_STEP_S = 5
# s of each day before: from shortly before this time of day, while the sandbox may be used
_BEFORE_S, _AFTER_S = 60, 3000
_TODAY_S = 1800
_SIMULATED_S = 240
_PATIENCE_S = 60


@cache
def averages() -> dict[Series, float]:
    """Return by how much each counter grows in 1 s of a good day."""
    counters = Counters()
    simulation = Simulation(counters, now=0.0)
    for second in range(_SIMULATED_S):
        simulation.tick(1.0, float(second), Conditions())
    return {series: value / _SIMULATED_S for series, value in counters.values.items()}


def counted(begun: float, at: float) -> dict[Series, float]:
    """Return the counters at a moment, if the shop's present began at ``begun``."""
    passed = at - begun + (DAYS + 1) * DAY_S
    return {series: per_s * passed for series, per_s in averages().items()}


def write(data: Path, folder: Path, begun: float, scraped: Mapping[str, str]) -> None:
    """Write the past until ``begun`` (in s since 1970) into the data folder of Prometheus.

    ``scraped`` are the labels that Prometheus adds to what it scrapes, so that the present goes on
    in the same series. ``folder`` gets files that may be deleted afterwards.

    Raises
    ------
    SandboxError
        promtool cannot write the blocks.
    """
    averages()
    spans = [
        (begun - day * DAY_S - _BEFORE_S, begun - day * DAY_S + _AFTER_S)
        for day in range(1, DAYS + 1)
    ]
    spans.append((begun - _TODAY_S, begun))
    for number, (begin, end) in enumerate(spans):
        (folder / f"past-{number}").write_text(
            "\n".join([*_lines(begun, int(begin), int(end), scraped), "# EOF", ""]),
            encoding="utf-8",
        )
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda n: _make_blocks(folder / f"past-{n}", data), range(len(spans))):
            if done.returncode:
                raise SandboxError(
                    f"the past of the shop cannot be written: {done.stderr.strip()}",
                    where=str(data),
                    next_step="check that promtool belongs to the Prometheus that is installed",
                )


def _make_blocks(file: Path, data: Path) -> subprocess.CompletedProcess[str]:
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", str(file), str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)


def _lines(begun: float, begin: int, end: int, scraped: Mapping[str, str]) -> Iterator[str]:
    moments = range(begin, end + 1, _STEP_S)
    offset = (DAYS + 1) * DAY_S - begun
    for one, per_s in averages().items():
        series = _with(one, scraped)
        yield from (f"{series} {per_s * (at + offset):.3f} {at}" for at in moments)
    gauges = Simulation(Counters(), now=begun).gauges(begun, Conditions())
    for one, value in gauges.items():
        series = _with(one, scraped)
        yield from (f"{series} {value!r} {at}" for at in moments)


def _with(series: Series, more: Mapping[str, str]) -> Series:
    """Return a series with further labels; its own labels have priority."""
    return Series(series.name, tuple({**more, **dict(series.labels)}.items()))
