"""Measure, print, and write the page: ``python -m benchmarks.speed [--turns N] [--brief]``.

All programs take turns on one machine, and in each turn another one is first, so that a slow moment
hits all of them. The page `docs/explanation/performance.md` says what is measured; this writes its
part below the mark, and its figure. ``--brief`` measures 2 turns and writes nothing: it tells in
two minutes whether everything works.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.alert import notebook, sandbox
from benchmarks.speed import gateway, lean, memory, notebooks, others
from benchmarks.speed.gateway import Chat
from benchmarks.speed.results import Series, figure, of_series, table
from rbkernel import config

_PAGE = Path("docs/explanation/performance.md")
_FIGURE = _PAGE.with_suffix(".svg")
_MARK = "<!-- the rest is written by `make bench` -->\n"
_COLD, _FORKED = "papermill -k python3", "papermill -k rbkernel"
_LEAN = "papermill -k python3, lean environment"
_FLOOR, _NBCLIENT = "the same work in one warm process", "nbclient (jupyter execute)"
_VERDICT, _SEALED = "rbkernel: verdict received by the chat", "rbkernel: sealed, report included"
_RUNS_OF_A_STORM = 24
_GROWTH = (10, 50, 200, 800)
_MOST_CELLS_OF_PAPERMILL = 200  # 800 take it more than a minute


def main(turns: int, *, brief: bool) -> None:
    """Measure everything, print the result, and write it into the page unless ``brief``."""
    begun, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rb-") as made, gateway.chat() as got:
        folder = Path(made)
        os.environ["RB_BENCHMARK_CHAT"] = got.url
        with sandbox(folder) as environment:
            gateway.configure(folder)
            url = _database()
            environment = {**environment, "PGPASSFILE": os.environ["PGPASSFILE"]}
            parts = [_machine(load, turns)]
            alert = _alert(folder, environment, got, url, turns)
            parts += [alert.text, _kernels(turns), _memory()]
            parts += [_storms(folder, environment, alert.cold, brief=brief)]
            parts += [_growth(folder, environment, brief=brief)]
    parts.append(
        f"Measured in {time.monotonic() - begun:.0f} s; load after: {os.getloadavg()[0]:.1f}."
    )
    text = "\n\n".join(parts) + "\n"
    print(text)
    if not brief:
        _FIGURE.write_text(alert.figure)
        head, mark, _old = _PAGE.read_text().partition(_MARK)
        _PAGE.write_text(f"{head}{mark}\n{text}")


def _database() -> str:
    """Return the URL of the sandbox's primary for SQLAlchemy; set the variable of its passfile."""
    connection = config.load().connections["sandbox-primary"]
    os.environ["PGPASSFILE"] = str(connection.passfile)
    where = f"{connection.host}:{connection.port}/{connection.dbname}"
    return f"postgresql+psycopg://{connection.user}@{where}"


def _machine(load: float, turns: int) -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory_kb = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    packages = ("rbkernel", "papermill", "nbclient", "ipykernel", "jupyterlab")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores"
        f" ({model[1] if model else platform.machine()}),"
        f" {int(memory_kb[1]) / 1024**2 if memory_kb else 0:.0f} GB,"
        f" Python {platform.python_version()},"
        f" {', '.join(f'{name} {version(name)}' for name in packages)}."
        f" {turns} turns; load before: {load:.1f}."
    )


class _Alert:
    """The comparison of one alert's run with the others."""

    def __init__(self, series: Sequence[Series], cpu: Mapping[str, Sequence[float]]) -> None:
        named = {one.name: one for one in series}
        base = [named[_COLD], named[_LEAN], named[_FLOOR]]
        self.cold = named[_COLD].median
        cpu_rows = [[name, f"{Series(name, values).median:.2f}"] for name, values in cpu.items()]
        self.text = (
            "## One alert\n\n"
            + of_series(series, base)
            + "\n\n![Seconds until the result](performance.svg)\n\n"
            "CPU time of the whole machine meanwhile, the median of seconds:\n\n"
            + table(["", "CPU s"], cpu_rows)
        )
        shown = (_VERDICT, _SEALED, _FLOOR, _FORKED, _LEAN, _NBCLIENT, _COLD)
        self.figure = figure(
            "12 cells, 6 queries, 4 figures: seconds until the result (median)",
            {name: named[name].median for name in shown},
            "s",
        )


def _alert(folder: Path, environment: Mapping[str, str], got: Chat, url: str, turns: int) -> _Alert:
    work = notebooks.plain(url)
    document = notebooks.write(work, folder / "plain.ipynb")
    small = lean.python(folder / "lean")
    taken: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    with gateway.serve(folder, environment, 2) as address:

        def alert(turn: int) -> dict[str, float]:
            return gateway.answered(address, folder / "evidence", got, f"one-{turn}")

        def timed(name: str, do: Callable[[], object]) -> Callable[[int], dict[str, float]]:
            return lambda _turn: {name: others.timed(do)}

        programs: dict[str, Callable[[int], dict[str, float]]] = {
            "rbkernel": alert,
            _COLD: timed(_COLD, lambda: others.papermill(document, environment, "python3", "off")),
            _LEAN: timed(
                _LEAN, lambda: others.papermill(document, environment, "python3", "off", small)
            ),
            _FORKED: timed(
                _FORKED, lambda: others.papermill(document, environment, "rbkernel", "on")
            ),
            _NBCLIENT: timed(_NBCLIENT, lambda: others.nbclient(document, environment)),
            _FLOOR: timed(_FLOOR, lambda: others.floor(work, folder)),
        }
        names = list(programs)
        for turn in range(-1, turns):  # the first turn warms up
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                before = _cpu_s()
                found = programs[name](turn)
                if turn >= 0:
                    cpu[name].append(_cpu_s() - before)
                    for step, seconds in found.items():
                        label = step if step == name else f"{name}: {step}"
                        taken[label].append(seconds)
    return _Alert([Series(name, seconds) for name, seconds in taken.items()], cpu)


def _cpu_s() -> float:
    """Return the CPU time that all processes of the machine have used, in seconds."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _kernels(turns: int) -> str:
    taken: dict[str, list[float]] = {"python3": [], "rbkernel": []}
    for turn in range(turns):
        for kernel in list(taken)[:: 1 if turn % 2 else -1]:
            switch = "on" if kernel == "rbkernel" else "off"
            taken[kernel].append(others.timed(lambda k=kernel, s=switch: others.first_cell(k, s)))
    series = [Series(name, seconds) for name, seconds in taken.items()]
    return "## From kernel start to the first library cell\n\n" + of_series(series, series[:1])


def _memory() -> str:
    cold, forked = memory.per_kernel_mb("python3", "off"), memory.per_kernel_mb("rbkernel", "on")
    rows = [
        ["python3", f"{cold:.0f}", "1.00"],
        ["rbkernel", f"{forked:.0f}", f"{forked / cold:.2f}"],
    ]
    head = ["of 8 live kernels, each", "memory not shared, MB", "ratio to python3"]
    return "## Memory\n\n" + table(head, rows)


def _storms(folder: Path, environment: Mapping[str, str], cold_s: float, *, brief: bool) -> str:
    cores = os.cpu_count() or 1
    count = 4 if brief else _RUNS_OF_A_STORM
    rows = []
    for kernels in dict.fromkeys((1, cores, 2 * cores)):
        with gateway.serve(folder, environment, kernels) as address:
            before = len(gateway.heads(folder / "evidence"))
            begun = time.monotonic()
            for number in range(count):
                gateway.post(address, f"storm-{kernels}-{number}", service=f"storm-{kernels}")
            gateway.await_seals(folder / "evidence", before + count)
            per_minute = 60 * count / (time.monotonic() - begun)
        rows.append([f"rbkernel serve, {kernels} at a time", f"{per_minute:.0f}"])
    document = folder / "plain.ipynb"
    copies = [document.with_name(f"storm-{number}.ipynb") for number in range(3 * cores)]
    for copy in copies:
        copy.write_bytes(document.read_bytes())

    def cold(copy: Path) -> None:
        others.papermill(copy, environment, "python3", "off")

    with ThreadPoolExecutor(cores) as pool:
        seconds = others.timed(lambda: list(pool.map(cold, copies)))
    base = 60 * len(copies) / seconds
    rows.append([f"papermill -k python3, {cores} at a time", f"{base:.0f}"])
    for row in rows:
        row.append(f"{float(row[1]) / base:.1f}")
    single = f"One after the other, papermill runs {60 / cold_s:.0f} a minute."
    head = [f"{count} alerts at once", "runs a minute", "ratio to papermill"]
    return f"## A storm of alerts\n\n{table(head, rows)}\n\n{single}"


def _growth(folder: Path, environment: Mapping[str, str], *, brief: bool) -> str:
    rows, cells_s = [], {}
    for cells in _GROWTH[:2] if brief else _GROWTH:
        document = notebooks.write(notebooks.prints(cells), folder / f"cells-{cells}.ipynb")
        cells_s[cells] = own = others.timed(lambda d=document: others.rbkernel_run(d, environment))
        theirs = ""
        if cells <= _MOST_CELLS_OF_PAPERMILL:
            alone = lambda d=document: others.papermill(d, environment, "rbkernel", "on")  # noqa: E731
            theirs = f"{others.timed(alone):.2f}"
        rows.append([str(cells), f"{own:.2f}", theirs])
    *_, before, last = cells_s.values()
    names = [*cells_s][-2:]
    grown = f"Time for {names[1]} cells / time for {names[0]}: {last / before:.1f}."
    head = ["cells that print", "papermill --engine rbkernel, s", "papermill, s"]
    return f"## Growth\n\n{table(head, rows)}\n\n{grown}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--brief", action="store_true")
    given = parser.parse_args()
    notebook()  # fails early if the measured runbook is wrong
    main(2 if given.brief else given.turns, brief=given.brief)
