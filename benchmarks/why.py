"""What a look at a server costs: ``python -m benchmarks.why [RUNS]``, 15 when not given.

1. Wall time of `rbkernel why`, next to a Python that does nothing and to `psql`, interleaved.
2. One look and its causes over one connection: 200 sessions that idle, and 200 that wait in a queue
   for a lock, in three shapes of queue.
3. `overview` over 5,000 tables.

Prints medians, and the load of the machine: on a busy one, only the ratios mean something.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.diagnostics import QUEUES, crowd
from rbkernel.postgres import overview, setup
from rbkernel.postgres.diagnosis import diagnose
from rbkernel.sandbox.access import HOST, passfile
from tests.integration.servers import Servers, servers

COMMAND_MS, LOOK_MS, OVERVIEW_MS = 1000, 150, 600
TABLES = 5000
TABLE_SQL = "CREATE TABLE app.t{0} (id bigserial PRIMARY KEY, other bigint UNIQUE, body text)"


def main(runs: int) -> int:
    """Measure, and tell whether the aims are met."""
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder) / "home") as made:
        slow = 0
        environment = configured(made, Path(folder))
        for what, ms in commands(made, environment, runs).items():
            slow += report(what, ms, COMMAND_MS)
        for queue, statements in QUEUES.items():
            crowd(made, statements)
            with closing(made.diagnostic_session()) as session:
                ms = timed(lambda session=session: diagnose(session), runs)  # type: ignore[misc]
                slow += report(f"look and causes, {queue} queue", ms, LOOK_MS)
            made.end_sessions()
        create_tables(made)
        with closing(made.diagnostic_session()) as session:
            ms = timed(lambda: list(overview.survey(session)), runs)
            slow += report(f"overview over {TABLES} tables", ms, OVERVIEW_MS)
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


def commands(made: Servers, environment: Mapping[str, str], runs: int) -> dict[str, list[float]]:
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
    found: dict[str, list[float]] = {what: [] for what in each}
    for _ in range(runs + 1):
        for what, command in each.items():
            began = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            found[what].append(1000 * (time.perf_counter() - began))
    return {what: ms[1:] for what, ms in found.items()}


def timed(call: Callable[[], object], runs: int) -> list[float]:
    """Return the ms of each call; the first, which connects, is left out."""
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - began))
    return found[1:]


def report(what: str, ms: Sequence[float], limit_ms: float) -> bool:
    """Print a median with its range; return whether it is above the aim."""
    median = statistics.median(ms)
    late = median > limit_ms
    aim = f"above the aim of {limit_ms} ms" if late else ""
    print(f"{what:34} {median:7.0f} ms  ({min(ms):.0f} to {max(ms):.0f})  {aim}".rstrip())
    return late


def create_tables(made: Servers) -> None:
    """Create many tables, as an application with a schema for each customer has them."""
    with made.access.connect("postgres") as raw:
        raw.execute(b"CREATE SCHEMA app")
        for number in range(TABLES):
            raw.execute(TABLE_SQL.format(number).encode())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
