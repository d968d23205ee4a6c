"""Two tables of 1M rows × 9 columns, compared in every way: ``python -m benchmarks.reconcile``.

Options: ROWS (1000000), RUNS (5) and ``--without-others``. Two servers hold the tables; 5 rows are
missing, 5 extra, 20 changed, and every method must find just these. The methods take turns, so that
whatever else the machine does hits all of them. The floor is a scan with a hash aggregate of both
tables at once, measured right before and right after each method: a ratio is the median of the
rounds' ratios to the mean of these two. reladiff is measured where it is installed (``pip install
rbkernel[benchmark]``), with its defaults and tuned. At the end 10 % of the rows are changed, and
the peak memory of a comparing process is printed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rbkernel.config import Connection
from rbkernel.reconciliation import Question, compare
from rbkernel.sources.postgres.connection.driver import RawConnection
from rbkernel.sources.postgres.connection.session import Session
from tests.support.servers import Servers, servers

CREATE = """
CREATE TABLE {name} (
    id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), currency char(3),
    created_at timestamptz, updated_at timestamptz, note text, flag boolean);
INSERT INTO {name}
SELECT i, (i::bigint * 7919) % 100000, (ARRAY['new', 'paid', 'shipped', 'done'])[1 + i % 4],
       ((i::bigint * 104729) % 1000000) / 100.0, 'EUR',
       timestamptz '2026-01-01 00:00+00' + i * interval '13.37 s',
       timestamptz '2026-02-01 00:00+00' + i * interval '17.001 s',
       md5(i::text) || md5((i + 1)::text), i % 3 = 0
FROM generate_series(1, {rows}) i;
GRANT SELECT ON {name} TO rb_diag
"""
BREAK = """
DELETE FROM target WHERE id % ({rows} / 5) = 11;
INSERT INTO target SELECT id + 2 * {rows}, customer_id, status, amount, currency, created_at,
                          updated_at, note, flag FROM target WHERE id <= 5;
UPDATE target SET amount = amount + 1 WHERE id % ({rows} / 20) = 7
"""
QUIET = """
SET jit = off; SET enable_sort = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0
"""
COLUMNS = (
    "customer_id",
    "status",
    "amount",
    "currency",
    "created_at",
    "updated_at",
    "note",
    "flag",
)
FLOOR = "SELECT id / 1000, count(*), sum(id) FROM {} GROUP BY 1"
EXCEPT = """
SELECT id FROM ((TABLE source EXCEPT TABLE target) UNION (TABLE target EXCEPT TABLE source)) d
"""
DIFFERS = " OR ".join(f"s.{name} IS DISTINCT FROM t.{name}" for name in COLUMNS)
FULL_JOIN = f"""
SELECT coalesce(s.id, t.id) FROM source s FULL JOIN target t ON s.id = t.id
WHERE s.id IS NULL OR t.id IS NULL OR {DIFFERS}
"""
QUESTION = Question(source="source", target="target")
Way = Callable[[], int]


@dataclass(frozen=True)
class Lab:
    """Two servers, and open connections to each."""

    one: Servers
    two: Servers
    raws: tuple[RawConnection, RawConnection, RawConnection]

    def floor(self, *, two: bool) -> int:
        """Scan and aggregate both tables at the same time; finds nothing."""
        pairs = ((self.raws[0], "source"), (self.raws[2] if two else self.raws[1], "target"))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda pair: pair[0].execute(FLOOR.format(pair[1]).encode()), pairs))
        return 30

    def ask(self, statement: str) -> int:
        """Run a statement on the first server."""
        return len({row for (row,) in self.raws[0].execute(statement.encode()).fetchall()})

    def ours(self, *, two: bool, **options: Any) -> int:
        """Compare, from connecting on."""
        other = self.two if two else self.one
        return _compare(connection(self.one), connection(other), **options)

    def reladiff(self, *, two: bool, **options: Any) -> int:
        """Let reladiff compare, from connecting on."""
        from reladiff import connect_to_table, diff_tables

        tables = [
            connect_to_table(uri(made), name, "id", **options.pop(f"{name}_options", {}))
            for made, name in ((self.one, "source"), (self.two if two else self.one, "target"))
        ]
        return len({row[0] for _, row in diff_tables(*tables, extra_columns=COLUMNS, **options)})


@dataclass(frozen=True)
class Measured:
    """Medians of one way: seconds, and the ratio to the floor; ``found`` is None of a floor."""

    name: str
    median_s: float
    ratio: float
    found: int | None


def main(rows: int, runs: int, *, others: bool) -> int:
    """Build, measure in turns, print."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        one = stack.enter_context(servers(Path(folder) / "one"))
        two = stack.enter_context(servers(Path(folder) / "two"))
        raws = tuple(stack.enter_context(closing(admin(made))) for made in (one, one, two))
        lab = Lab(one, two, raws)  # type: ignore[arg-type]  # a tuple of three
        for raw, names in ((raws[0], ("source", "target")), (raws[2], ("target",))):
            fill(raw, names, rows)
        measured = measure(ways(lab, others=others), runs)
        show(f"{rows} rows, median of {runs}", measured)
        print(f"peak memory of a process that compares: {peak_mb(one, two)} MB")
        for raw in (raws[0], raws[2]):
            raw.execute(b"UPDATE target SET flag = NOT flag WHERE id % 10 = 3")
            raw.execute(b"VACUUM ANALYZE target")
        show("10 % of the rows changed", measure(ways(lab, others=False), max(3, runs // 2)))
        print(f"peak memory of a process that compares: {peak_mb(one, two)} MB")
    return 0


def ways(lab: Lab, *, others: bool) -> dict[str, Way]:
    """Name every way, after the word for its servers; each of these has a floor."""
    found: dict[str, Way] = {
        "one server: floor": lambda: lab.floor(two=False),
        "two servers: floor": lambda: lab.floor(two=True),
        "one server: ours": lambda: lab.ours(two=False),
        "two servers: ours": lambda: lab.ours(two=True),
        "one server: ours, two jobs": lambda: lab.ours(two=False, jobs=2),
        "two servers: ours, two jobs": lambda: lab.ours(two=True, jobs=2),
    }
    if not others:
        return found
    found |= {
        "two servers: ours, hashing otherwise": lambda: lab.ours(two=True, portable=True),
        "one server: full join": lambda: lab.ask(FULL_JOIN),
        "one server: EXCEPT": lambda: lab.ask(EXCEPT),
    }
    try:
        import reladiff  # noqa: F401
    except ImportError:
        print("reladiff is not installed: pip install 'rbkernel[benchmark]'")
        return found
    tuned = {"bisection_factor": 256, "bisection_threshold": 50_000, "threaded": True,
             "max_threadpool_size": 4}  # fmt: skip
    return found | {
        "one server: reladiff joindiff": lambda: lab.reladiff(two=False, algorithm=joindiff()),
        "two servers: reladiff": lambda: lab.reladiff(two=True),
        "two servers: reladiff, tuned": lambda: lab.reladiff(two=True, **tuned),
    }


def joindiff() -> Any:
    """Reladiff's way on one server."""
    from reladiff import Algorithm

    return Algorithm.JOINDIFF


def measure(found: dict[str, Way], runs: int) -> list[Measured]:
    """Let all ways take turns, each between two floors; the first round is for warmth."""
    times: dict[str, list[float]] = {name: [] for name in found}
    ratios: dict[str, list[float]] = {name: [] for name in found}
    counts: dict[str, int] = {}
    for number in range(runs + 1):
        for name, way in found.items():
            floor = f"{name.partition(':')[0]}: floor"
            if name == floor:
                continue
            before, _ = timed(found[floor])
            took, counts[name] = timed(way)
            after, _ = timed(found[floor])
            if number:
                times[floor] += [before, after]
                times[name].append(took)
                ratios[name].append(took / ((before + after) / 2))
    return [
        Measured(name, statistics.median(times[name]),
                 statistics.median(ratios[name] or [1.0]), counts.get(name))
        for name in found
    ]  # fmt: skip


def timed(way: Way) -> tuple[float, int]:
    """Return how many s it took, and the rows that it found."""
    began = time.perf_counter()
    count = way()
    return time.perf_counter() - began, count


def show(title: str, measured: list[Measured]) -> None:
    """Print the ways, and how busy the machine was."""
    load = f"load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    table = Table("way", "s", "× floor", "rows found", title=f"{title}; {load}")
    for one in measured:
        found = "" if one.found is None else str(one.found)
        table.add_row(one.name, f"{one.median_s:.3f}", f"{one.ratio:.2f}", found)
    Console(width=100).print(table)


def fill(raw: RawConnection, names: tuple[str, ...], rows: int) -> None:
    """Create the tables, and break the target."""
    for name in names:
        for statement in CREATE.format(name=name, rows=rows).split(";"):
            raw.execute(statement.encode())
    for statement in BREAK.format(rows=rows).split(";"):
        raw.execute(statement.encode())
    raw.execute(b"VACUUM ANALYZE")
    raw.execute(b"CHECKPOINT")


def admin(made: Servers) -> RawConnection:
    """Open a session of the administrator, set up as ours are."""
    raw = made.access.connect("postgres")
    raw.execute(QUIET.encode())
    return raw


def connection(made: Servers) -> Connection:
    """How the diagnostic role gets there; a large table takes its time on a busy machine."""
    return made.access.connection("rb_diag", "primary").model_copy(
        update={"statement_timeout_s": 60.0}
    )


def uri(made: Servers) -> str:
    """What reladiff connects with."""
    it = connection(made)
    password = Path(str(it.passfile)).read_text().strip().rpartition(":")[2]
    return f"postgresql://{it.user}:{password}@{it.host}:{it.port}/{it.dbname}"


def _compare(source: Connection, target: Connection, **options: Any) -> int:
    with ExitStack() as stack:
        one = stack.enter_context(closing(Session(source, application_name="benchmark")))
        other = one
        if target.port != source.port:
            other = stack.enter_context(closing(Session(target, application_name="benchmark")))
        outcome = compare(one, other, QUESTION, recheck_after_s=0, most=10**7, **options)
        return len(outcome.differences)


def peak_mb(one: Servers, two: Servers) -> int:
    """Compare in a process of its own, and return the memory that it had at the most."""
    connections = [connection(made).model_dump_json() for made in (one, two)]
    command = [sys.executable, "-m", "benchmarks.reconcile", "--once", *connections]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def once(source: str, target: str) -> None:
    """Compare once, and print the peak memory in MB."""
    both = (Connection.model_validate_json(text) for text in (source, target))
    _compare(*both)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(*sys.argv[2:])
        sys.exit(0)
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    rows, runs = [*numbers, *(1_000_000, 5)[len(numbers) :]]
    sys.exit(main(rows, runs, others="--without-others" not in sys.argv))
