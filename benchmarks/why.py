"""What a look at a server costs: ``python -m benchmarks.why [RUNS]``, 15 when not given.

1. Wall time of `rbkernel why`, next to a Python that does nothing and to `psql`, interleaved.
2. One look and its causes over one connection: 200 sessions that idle, and 200 that wait in a queue
   for a lock, in three shapes of queue.
3. `overview` over 5,000 tables.

Prints medians of wall time and of CPU time, and the load of the machine: on a busy one the CPU time
says more, and the ratio to the Python that does nothing.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.diagnostics import QUEUES, crowd
from rbkernel.sandbox.access import HOST, passfile
from rbkernel.sources.postgres import overview, setup
from rbkernel.sources.postgres.diagnosis import diagnose
from tests.support.servers import Servers, servers

COMMAND_MS, LOOK_MS, OVERVIEW_MS = 1000, 150, 600
TABLES = 5000
TABLE_SQL = "CREATE TABLE app.t{0} (id bigserial PRIMARY KEY, other bigint UNIQUE, body text)"


class Taken(NamedTuple):
    """What something took, in ms: wall time, and CPU time of its process."""

    wall_ms: float
    cpu_ms: float


def main(runs: int) -> int:
    """Measure, and tell whether the aims are met."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder) / "home") as made:
        slow = 0
        environment = configured(made, Path(folder))
        for what, taken in commands(made, environment, runs).items():
            slow += report(what, taken, COMMAND_MS)
        for queue, statements in QUEUES.items():
            crowd(made, statements)
            with closing(made.diagnostic_session()) as session:
                taken = timed(partial(diagnose, session), runs)
                slow += report(f"look and causes, {queue} queue", taken, LOOK_MS)
            made.end_sessions()
        create_tables(made)
        with closing(made.diagnostic_session()) as session:
            taken = timed(lambda: list(overview.survey(session)), runs)
            slow += report(f"overview over {TABLES} tables", taken, OVERVIEW_MS)
    print(f"load after: {os.getloadavg()[0]:.1f}")
    return int(slow > 0)


def configured(made: Servers, folder: Path) -> dict[str, str]:
    """Write an `rbkernel.toml` with the server as connection db; return the environment for it."""
    text = setup.with_connection(
        "",
        "db",
        {
            "host": HOST,
            "port": made.access.primary_port,
            "dbname": "shop",
            "user": "rb_diag",
            "passfile": str(passfile(made.access.home, "rb_diag")),
        },
    )
    file = folder / "rbkernel.toml"
    file.write_text(text, encoding="utf-8")
    return {**os.environ, "RBKERNEL_CONFIG": str(file), "RBKERNEL_SANDBOX": str(folder / "none")}


def commands(made: Servers, environment: Mapping[str, str], runs: int) -> dict[str, list[Taken]]:
    """Run the commands in turn, so that they share whatever else the machine does."""
    ways = made.access
    address = (
        f"host={HOST} port={ways.primary_port} dbname=shop user=rb_diag"
        f" passfile={passfile(ways.home, 'rb_diag')}"
    )
    psql = made.cluster.binaries.program("psql")
    each: dict[str, Sequence[str]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "psql -c 'select 1'": [psql, "-Xqc", "select 1", address],
        "rbkernel why": [sys.executable, "-m", "rbkernel", "why", "db"],
    }
    found: dict[str, list[Taken]] = {what: [] for what in each}
    for _ in range(runs + 1):
        for what, command in each.items():
            run = partial(
                subprocess.run, command, env=environment, stdout=subprocess.DEVNULL, check=True
            )
            found[what].append(once(run, resource.RUSAGE_CHILDREN))
    return {what: taken[1:] for what, taken in found.items()}


def timed(call: Callable[[], object], runs: int) -> list[Taken]:
    """Return what each call took; the first, which connects, is left out."""
    return [once(call, resource.RUSAGE_SELF) for _ in range(runs + 1)][1:]


def once(call: Callable[[], object], whose: int) -> Taken:
    """Return what a call took."""
    before, began = resource.getrusage(whose), time.perf_counter()
    call()
    wall, after = time.perf_counter() - began, resource.getrusage(whose)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(1000 * wall, 1000 * cpu)


def report(what: str, taken: Sequence[Taken], limit_ms: float) -> bool:
    """Print medians and the range of wall time; return whether the median is above the aim."""
    wall = [one.wall_ms for one in taken]
    cpu_ms = statistics.median(one.cpu_ms for one in taken)
    late = statistics.median(wall) > limit_ms
    aim = f"  above the aim of {limit_ms} ms" if late else ""
    print(
        f"{what:34} {statistics.median(wall):6.0f} ms ({min(wall):.0f} to {max(wall):.0f}),"
        f" CPU {cpu_ms:.0f} ms{aim}"
    )
    return late


def create_tables(made: Servers) -> None:
    """Create many tables, as an application with a schema for each customer has them."""
    with made.access.connect("postgres") as raw:
        raw.execute(b"CREATE SCHEMA app")
        for number in range(TABLES):
            raw.execute(TABLE_SQL.format(number).encode())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
