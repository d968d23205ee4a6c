"""A runbook that no rule finds fault with, and ways to spoil it."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_raw_cell,
    writes_json,
)

import rbkernel
from rbkernel.errors import RbkernelError
from rbkernel.lint import Document, Problem, Surroundings, check
from rbkernel.runbook import frontmatter_text
from rbkernel.runbook.registry import Entry
from rbkernel.sql import guard

TODAY = datetime.date(2026, 11, 21)
FRONT_MATTER = """---
id: RUN-900
title: Connections run out
summary: Nearly all slots are taken. Shows who holds them, and proposes whom to end.
category: incident
severity: SEV2
owner: Backend Team
on_call: Backend Team (PagerDuty)
response_time: 5 minutes
last_tested: 2026-11-01
testing_schedule: quarterly
symptoms:
  - Applications log `too many clients already`
impact: New requests wait or fail
scope:
  handles: [Sessions that are idle in a transaction]
  does_not_handle: [The server is down (RUN-010)]
prerequisites:
  - connection: db
    role: pg_monitor
connections: {db: "orders-*"}
triggers:
  - alert: PostgresTooManyConnections
escalation:
  when: [The steps failed after 2 attempts]
  contact: "Database Team Lead (PagerDuty)"
  provide: The sealed run
communication:
  channel: "Slack #incidents"
rollback:
  - name: None for an ended session
    effect: what it had not committed is lost
recovery: {rto: 1 h, rpo: 5 min}
linked_ids: [MON-005]
drill: pool-idle-in-transaction
change_log:
  - {date: 2026-10-30, author: Ada, change: First version}
---"""
OVERVIEW = """# RUN-900: Connections run out

Shows who holds the slots. Read the box first, then go to [Step 2](#Step-2:-Decide).
Not sure? Escalate. See also [the same page](good.md#A-heading) and <https://example.org/x>."""
PARAMETERS = """db: str = "orders-primary"  # connection name, from rbkernel.toml
incident: str = ""  # incident id; empty for a new one
stuck_after_s: float = 5.0  # s in one state after which a session counts as stuck"""
START = """import rbkernel as rb

rb.start("RUN-900")"""
STEP = """## Step {number}: {title}

**Goal:** see what is wrong now, by `{title}`.

**Expected:** below 80 %. Do not ask for `:name` in step 1.

**If it does not work:** after 2 attempts, escalate."""
QUERY = """slots = rb.assess("connections/saturation", db)
sessions = rb.query("connections/sessions", db, stuck_after_s=stuck_after_s)"""
SQL = """%%sql db --into stuck
SELECT pid, state FROM pg_stat_activity -- not ':name'
WHERE now() - state_change > make_interval(secs => :stuck_after_s)"""
DECIDE = """choice = rb.decide("How?", ["wait", "end them", "escalate"], recommended="wait")
note = f"{len(stuck)} are stuck, {slots.verdict}\""""
ACT = """plan = rb.act(rb.actions.terminate_sessions(db, sessions), when=choice.chose("end them"))
rb.done(plan, note="")
rb.note(note)"""


def good() -> NotebookNode:
    """Return the runbook, anew."""
    cells = [
        new_raw_cell(FRONT_MATTER, id="front-matter"),
        new_markdown_cell(OVERVIEW, id="overview"),
        new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(START, id="start"),
        new_markdown_cell(STEP.format(number=1, title="Look"), id="step-1"),
        new_code_cell(QUERY, id="query"),
        new_code_cell(SQL, id="sql"),
        new_markdown_cell(STEP.format(number=2, title="Decide"), id="step-2"),
        new_code_cell(DECIDE, id="decide"),
        new_markdown_cell(STEP.format(number=3, title="Act"), id="step-3"),
        new_code_cell(ACT, id="act"),
        new_code_cell("rb.summary()", id="summary"),
    ]
    kernel = {"name": "rbkernel", "display_name": "rbkernel (recorded)", "language": "python"}
    notebook: NotebookNode = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return notebook


Spoil = Callable[[NotebookNode], object]


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return the cell of that id."""
    cells: list[NotebookNode] = notebook.cells
    return next(one for one in cells if one.id == name)


def replace(name: str, old: str, new: str) -> Spoil:
    """Replace text in a cell; it must be there."""

    def spoil(notebook: NotebookNode) -> None:
        source = cell(notebook, name).source
        assert old in source
        cell(notebook, name).source = source.replace(old, new)

    return spoil


def front(**changes: object) -> Spoil:
    """Change fields of the front matter; None removes one, `a__b` reaches into a section."""

    def spoil(notebook: NotebookNode) -> None:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        notebook.cells[0].source = frontmatter_text.edit(notebook.cells[0].source, named)

    return spoil


def code(source: str, after: str = "act") -> Spoil:
    """Add a code cell."""

    def spoil(notebook: NotebookNode) -> None:
        place = notebook.cells.index(cell(notebook, after))
        notebook.cells.insert(place + 1, new_code_cell(source, id="added"))

    return spoil


def words(source: str, after: str = "step-1") -> Spoil:
    """Add a Markdown cell."""

    def spoil(notebook: NotebookNode) -> None:
        place = notebook.cells.index(cell(notebook, after))
        notebook.cells.insert(place + 1, new_markdown_cell(source, id="added"))

    return spoil


def without(*names: str) -> Spoil:
    """Remove cells."""

    def spoil(notebook: NotebookNode) -> None:
        notebook.cells = [one for one in notebook.cells if one.id not in names]

    return spoil


def document(notebook: NotebookNode, path: Path) -> Document:
    """Return the notebook as lint reads it."""
    # not `nbformat.writes`, which mends ids
    return Document(path, writes_json(notebook).encode())


_RULES = {
    "connections/saturation": frozenset({"used_pct"}),
    "connections/sessions": frozenset({"waiting"}),
}


def surroundings(**changes: object) -> Surroundings:
    """Return what the rules know beside it."""
    known: dict[str, object] = {
        "today": TODAY,
        "connections": frozenset({"orders-primary", "sandbox-primary"}),
        "runbooks": {},
        "registry": {"MON-005": Entry(title="x"), "RUN-010": Entry(title="planned")},
        "refuse_sql": refuse_sql,
        "diagnostics": frozenset(_RULES),
        "rules_of": _RULES.get,
        "faults": frozenset({"pool-idle-in-transaction"}),
        "calls": frozenset(rbkernel.__all__),
    }
    return Surroundings(**{**known, **changes})  # type: ignore[arg-type]  # as the tests name them


def refuse_sql(text: str) -> str:
    """Ask the guard."""
    try:
        guard.check(text)
    except RbkernelError as error:
        return error.what
    return ""


def problems(folder: Path, *spoils: Spoil, **around: object) -> list[Problem]:
    """Lint the good runbook, spoiled, in a folder that has what it links to."""
    (folder / "good.md").write_text("# A heading\n", encoding="utf-8")
    notebook = copy.deepcopy(good())
    for spoil in spoils:
        spoil(notebook)
    return check(document(notebook, folder / "good.ipynb"), surroundings(**around))
