"""How long each diagnostic takes on a busy server: ``python -m benchmarks.diagnostics [RUNS]``.

A server with 400 sessions: 200 that work or idle, and 200 that wait behind one idle transaction,
in three shapes of queue. Prints the median of what a notebook waits for and of what the server
worked. The aim is a median below 150 ms each.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session, provenance
from tests.support.servers import ROW, Servers, servers

LIMIT_MS = 150
QUEUES = {
    "exclusive": ["LOCK TABLE orders"],
    "row": [ROW],
    "mixed": [
        "LOCK TABLE orders IN SHARE MODE",
        "LOCK TABLE orders IN EXCLUSIVE MODE",
        "LOCK TABLE orders",
    ],
}


def main(runs: int) -> int:
    """Measure every diagnostic, and the lock tree in each shape of queue."""
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder) / "home") as made:
        session = made.diagnostic_session()
        table = Table(title=f"ms, median of {runs}; {session.server}")
        for column in ("diagnostic", "queue", "waited", "server and network"):
            table.add_column(column)
        slow = 0
        for queue, statements in QUEUES.items():
            crowd(made, statements)
            names = diagnostics.names() if queue == "exclusive" else ["locks/blocking"]
            for name in names:
                waited, worked = measure(session, name, runs)
                slow += waited > LIMIT_MS
                mark = "[red]" if waited > LIMIT_MS else ""
                table.add_row(name, queue, f"{mark}{waited:.0f}", f"{worked:.0f}")
            made.end_sessions()
        Console().print(table)
    return int(slow > 0)


def crowd(made: Servers, statements: list[str]) -> None:
    """Open 200 sessions that idle, one that holds a row, and 200 that wait behind it."""
    for number in range(200):
        made.start(f"app-{number % 7}", "SELECT 1")
    made.start("root", "BEGIN", ROW)
    for number in range(200):
        made.send(f"w{number}", statements[number % len(statements)], "BEGIN")
    time.sleep(2)


def measure(session: Session, name: str, runs: int) -> tuple[float, float]:
    """Return the medians in ms of the whole call and of its query."""
    waited, worked = [], []
    for _ in range(runs + 1):
        began = time.perf_counter()
        frame = diagnostics.run(session, name)
        waited.append(1000 * (time.perf_counter() - began))
        source = provenance(frame)
        worked.append(1000 * source.duration_s if source else 0.0)
    # the first asks for plans and guard, too
    return statistics.median(waited[1:]), statistics.median(worked[1:])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
