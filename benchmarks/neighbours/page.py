"""The section of docs/explanation/drills.md on other tools, from their filed answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.markdown import table
from rbkernel.sandbox.grading import answers, grades
from rbkernel.sandbox.grading.answers import Sheet

ANSWERS = Path(__file__).with_name("answers")
_TITLE = "## Beside other tools"
_TEXT = """\
What rbkernel and three other tools say of the scenarios of [`rbkernel drill \
--exec`](../reference/grading.md): faults, look-alikes and healthy servers. All were asked about \
the same scenarios, on both servers, with the same read-only role, and none was told the \
scenario. Written by `python -m benchmarks.neighbours --page` from the filed answers in \
`benchmarks/neighbours/answers`; `rbkernel drill --grade` grades them again. The adapters are in \
`benchmarks/neighbours`.

The authors of rbkernel wrote the scenarios, and developed rbkernel on most of them; the other \
tools never saw them. And the tools are made for different things:

- **rbkernel**: RUN-000 headless, then the runbook that it recommends, on the server that it \
names. The time includes the start of the kernels, and the seal. The tables are older than the \
words *on the server that it names*: the second runbook always looked at the primary, which is \
the reason for three of the four wrong answers.
- **pg_activity** is a `top` for people. It judges nothing and recommends nothing; its answer is \
what its screen shows: the sessions that block others, waiting queries, a full server.
- **check_postgres** sends alarms to Nagios when a threshold is exceeded. It looks for no cause \
and recommends nothing. It runs with its default thresholds where it has some; else they fit the \
short life of the faults: `txn_idle` 5 s, `query_time` 60 s, `locks` 5 that wait, \
`replication_slots` and `hot_standby_delay` 1 MB, `archive_ready` 1 file. With these, it finds \
more than with the thresholds of production, and can also alarm more often.
- **postgres-mcp**: the health check of its MCP tool `analyze_db_health`, without the model that \
would read it and ask further. It examines indexes, connections, wraparound, sequences, \
replication and caches, and not locks. What it says of every healthy server is not counted.

The scenarios in the tables are not all of `rbkernel drill --scenarios`. RUN-000 with its default \
parameters does not look for all that the other runbooks look for, and misses what the table shows.

Measured on 2026-12-01 on two cores that other work used, too: all times are too long, those of \
rbkernel most, since it starts kernels. Two tools did not answer some questions within 60 s; part \
of that may be the load.

So read the columns apart: *names no culprit* and *recommends nothing* are silence, *accuses* \
and *harmful* are errors."""


def section() -> str:
    """Return the section, with tables for each version of PostgreSQL; empty without answers."""
    sheets = answers.read(sorted(ANSWERS.glob("*.json")))
    if not sheets:
        return ""
    parts = [_TITLE, _TEXT]
    for version in dict.fromkeys(sheet.server_version for sheet in sheets):
        own = [sheet for sheet in sheets if sheet.server_version == version]
        parts += [f"### Tools on PostgreSQL {version}", *_tables(own)]
    return "\n\n".join(parts)


def _tables(sheets: Sequence[Sheet]) -> list[str]:
    graded = [grades.grades(sheet) for sheet in sheets]
    tools = [sheet.tool for sheet in sheets]
    counted = [grades.totals(*both) for both in zip(sheets, graded, strict=True)]
    by_name = [{one.scenario: grades.in_words(one) for one in its} for its in graded]
    names = dict.fromkeys(name for its in by_name for name in its)
    rows = [(f"`{name}`", *(its.get(name, "not asked") for its in by_name)) for name in names]
    return [table(("", *tools), grades.figures(counted)), table(("scenario", *tools), rows)]


def replaced(page: str) -> str:
    """Return a page with the present section in place of its former one, or before the versions."""
    former = re.compile(rf"^{_TITLE}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    without = former.sub("", page)
    before, versions, after = without.partition("## PostgreSQL")
    return f"{before}{section()}\n\n{versions}{after}"
