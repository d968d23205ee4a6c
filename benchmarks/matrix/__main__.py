"""The matrix of scenarios and runbooks: ``python -m benchmarks.matrix [SCENARIO …]``.

Builds a sandbox of each PostgreSQL version, creates one scenario after the other, and compares the
result of every runbook with the scenario's truth. Exits with 1 if a cell is wrong or more than 5 %
are unknown. The versions run in parallel; it takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.matrix import cells, play
from rbkernel.sandbox.faults.scenarios import SCENARIOS

RUNBOOKS = (*cells.NOTEBOOKS, "step")
# empty: the one that the sandbox finds, 18 as it comes with the venv
VERSIONS = {"15": "/usr/lib/postgresql/15/bin", "18": ""}
_UNKNOWN_SHARE = 0.05


def main(arguments: Sequence[str]) -> int:
    """Play, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], default=[])
    parser.add_argument("--version", action="append", choices=VERSIONS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--real", action="store_true", help="run the notebooks through papermill, in kernels"
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    names = given.scenario or list(SCENARIOS)
    if given.one:
        return _play(names, given.seed, real=given.real)
    versions = given.version or [
        version for version, folder in VERSIONS.items() if not folder or Path(folder).is_dir()
    ]
    options = [f"--seed={given.seed}", *(["--real"] if given.real else [])]
    return _show(_side_by_side(versions, names, options))


def _play(names: Sequence[str], seed: int, *, real: bool) -> int:
    """Play scenarios on one version, and write a line of JSON for each."""
    with tempfile.TemporaryDirectory(prefix="rbkernel-matrix-") as folder, play.sandbox() as access:
        for name in names:
            row = play.play(SCENARIOS[name], access, Path(folder), seed=seed, real=real)
            print(json.dumps(dataclasses.asdict(row)), flush=True)
    return 0


def _side_by_side(
    versions: Sequence[str], names: Sequence[str], options: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Play each version in a process of its own, at the same time."""
    with (
        tempfile.TemporaryDirectory(prefix="rbkernel-matrix-") as folder,
        ThreadPoolExecutor() as pool,
    ):
        rows = pool.map(
            lambda version: _rows(version, _started(version, folder, names, options)), versions
        )
        return dict(zip(versions, rows, strict=True))


def _started(
    version: str, folder: str, names: Sequence[str], options: Sequence[str]
) -> subprocess.Popen[str]:
    variables = {**os.environ, "RBKERNEL_SANDBOX": f"{folder}/{version}"}
    if VERSIONS[version]:
        variables["RBKERNEL_PG_BIN"] = VERSIONS[version]
    command = [sys.executable, "-m", "benchmarks.matrix", "--one", *options, *names]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)


def _rows(version: str, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    rows = []
    for line in process.stdout or ():
        rows.append(json.loads(line))
        wrong = [f"{k}: {c['why']}" for k, c in rows[-1]["cells"].items() if c["mark"] == "WRONG"]
        line = f"{rows[-1]['scenario']:32} {rows[-1]['took_s']:5.1f} s {' | '.join(wrong)}"
        print(f"{version} {line}", file=sys.stderr, flush=True)
    process.wait()
    return rows


def _show(grid: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
    console = Console(width=200)
    table = Table(title="ok: right · ?: unknown · step: carrying it out does what was predicted")
    table.add_column("scenario", no_wrap=True)
    for version in grid:
        for runbook in RUNBOOKS:
            table.add_column(f"{version}\n{runbook}", justify="center")
    by_name = {v: {row["scenario"]: row for row in rows} for v, rows in grid.items()}
    names = [name for name in SCENARIOS if any(name in rows for rows in by_name.values())]
    wrong, unknown, every = [], [], 0
    for name in names:
        line = []
        for version, rows in by_name.items():
            judged = rows.get(name, {"cells": {}})["cells"]
            for runbook in RUNBOOKS:
                cell = judged.get(runbook) or judged.get("all")
                line.append(_written(cell))
                every += cell is not None and cell["mark"] != "-"
                where = f"{version} {name} {runbook}"
                if cell and cell["mark"] == "WRONG":
                    wrong.append(f"{where}: {cell['why']}")
                if cell and cell["mark"] == "unknown":
                    unknown.append(f"{where}: {cell['why']}")
        table.add_row(name, *line)
    console.print(table)
    console.print("\nFirst line of the report, and title of the notification:")
    for version, rows in by_name.items():
        for name in names:
            row = rows.get(name)
            if row and row["headline"]:
                lines = (f"{version} {name}", f"   {row['headline']}", f"   {row['title']}")
                console.print("\n".join(lines), highlight=False, markup=False)
    for what, lines in (("wrong", wrong), ("unknown", unknown)):
        console.print(f"\n{len(lines)} of {every} cells are {what}", highlight=False)
        for line in lines:
            console.print(f"   {line}", highlight=False, markup=False)
    return int(bool(wrong) or len(unknown) > _UNKNOWN_SHARE * every or not every)


def _written(cell: Mapping[str, str] | None) -> str:
    if cell is None:
        return ""
    return {"ok": "[green]ok[/]", "unknown": "[yellow]?[/]", "WRONG": "[bold red]WRONG[/]"}.get(
        cell["mark"], cell["mark"]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
