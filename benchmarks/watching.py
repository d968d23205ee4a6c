"""What `rbkernel watch` costs: ``python -m benchmarks.watching [MINUTES]``, 3 when not given.

CPU time of the process, in % of a core, at a quiet server and at one with 200 sessions that idle
and 200 that wait in a queue for a lock; the CPU time of its server process; and the disk that an
hour would take. Start-up is left out. The aim is below 0.5 % of a core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.diagnostics import QUEUES, crowd
from benchmarks.why import configured
from rbkernel.sources.postgres.ring import Ring
from tests.support.servers import Servers, servers
from tests.support.waiting import until

LIMIT_PCT = 0.5


def main(minutes: float) -> int:
    """Measure, and tell whether the aim is met."""
    with tempfile.TemporaryDirectory() as name, servers(Path(name) / "home") as made:
        folder = Path(name)
        environment = {**configured(made, folder), "RBKERNEL_WATCH": str(folder / "watch")}
        ring = Ring(folder / "watch", "db")
        command = [sys.executable, "-m", "rbkernel", "watch", "db"]
        process = psutil.Popen(command, env=environment)
        try:
            until(lambda: len(ring.glances()) >= 1, "it watches")
            high = 0
            for what, statements in {"quiet": [], "row queue": QUEUES["row"]}.items():
                if statements:
                    crowd(made, statements)
                high += measure(what, process, made, ring, 60 * minutes)
        finally:
            process.terminate()
            process.wait(30)
    return int(high > 0)


def measure(what: str, process: psutil.Popen, made: Servers, ring: Ring, seconds: float) -> bool:
    """Print what some minutes cost; return whether that is above the aim."""
    server = psutil.Process(watched_by(made))
    before = cpu_s(process), cpu_s(server), time.monotonic(), len(ring.glances())
    time.sleep(seconds)
    lasted_s = time.monotonic() - before[2]
    here, there = (
        100 * (cpu_s(one) - was) / lasted_s
        for one, was in zip((process, server), before, strict=False)
    )
    files = sorted(ring.folder.glob("*.json.gz"))
    size = files[-1].stat().st_size
    print(
        f"{what:10} {here:.2f} % of a core here, {there:.2f} % in the server;"
        f" {len(files) - before[3]} looks in {lasted_s:.0f} s, {size / 1000:.1f} kB each"
    )
    return here > LIMIT_PCT


def watched_by(made: Servers) -> int:
    """Return the pid of the server process."""
    with made.access.connect("postgres") as raw:
        [(pid,)] = raw.execute(
            b"SELECT pid FROM pg_stat_activity WHERE application_name = 'rbkernel/watch'"
        ).fetchall()
    return int(pid)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU time of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3))
