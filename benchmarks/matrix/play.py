"""One sandbox, every scenario: inject, run every runbook, do what is recommended, heal."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.matrix import cells
from benchmarks.matrix.cells import Result
from benchmarks.matrix.judge import OF_ROWS, Cell, judge
from rbkernel.config import Connection
from rbkernel.errors import RbkernelError
from rbkernel.sandbox import control, pooler
from rbkernel.sandbox.access import Access
from rbkernel.sandbox.faults import orders
from rbkernel.sandbox.faults.scenario import Scenario
from rbkernel.sandbox.faults.stage import Stage
from rbkernel.sandbox.home import Home

# s until everything predicted must have been freed
_FREED_S = 10.0
_STEP = "step"
Run = Callable[[str, Mapping[str, object]], Result]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A scenario: a cell for each runbook, and one for the step that was carried out."""

    scenario: str
    cells: Mapping[str, Cell]
    headline: str
    title: str
    took_s: float


def play(
    scenario: Scenario, access: Access, folder: Path, *, seed: int = 1, real: bool = False
) -> Row:
    """Create a scenario, and compare the result of every runbook with its truth.

    Parameters
    ----------
    scenario
        What goes wrong.
    access
        The sandbox; it is healthy again when this returns.
    folder
        Where the configuration is written.
    seed
        Changes the figures of the scenario.
    real
        Run the notebooks through papermill, each in a kernel of its own.
    """
    if "pooler" in scenario.needs and pooler.PROGRAM is None:
        missing = Cell(mark="-", why="pgbouncer is not installed")
        return Row(scenario=scenario.name, cells={"all": missing}, headline="", title="", took_s=0)
    started = time.monotonic()
    with Stage(access, seed=seed) as stage:
        try:
            scenario.inject(stage)
        except Exception as error:  # noqa: BLE001 - a scenario that cannot be made is a result
            failed = Cell(mark="WRONG", why=f"not made: {error!r}")
            return Row(
                scenario=scenario.name, cells={"all": failed}, headline="", title="", took_s=0
            )
        with _configured(stage, folder):
            return _row(scenario, stage, started, cells.papermill if real else cells.run)


def _row(scenario: Scenario, stage: Stage, started: float, run: Run) -> Row:
    truth = scenario.truth
    acts = frozenset(stage.pids(*truth.step[1]) if truth.step else ())
    may = frozenset(stage.pids(*truth.may) if truth.may else ())
    named = {actor.pid for actor in stage.actors if actor.name in truth.says}
    innocent = frozenset(stage.pids()) - acts - may - named
    results: dict[str, Result] = {}
    for runbook, parameters in _runs(scenario).items():
        results[runbook] = run(runbook, parameters)
    judged = {name: judge(scenario, one, acts, may, innocent) for name, one in results.items()}
    if truth.rows == "patch":
        judged[_STEP] = _patched(stage, results[OF_ROWS])
    if truth.step:
        judged[_STEP] = _carried_out(scenario, stage, results[truth.opens], acts)
    right = results.get(truth.opens) or next(iter(results.values()))
    return Row(
        scenario=scenario.name,
        cells=judged,
        headline=right.headline,
        title=right.title,
        took_s=time.monotonic() - started,
    )


def _runs(scenario: Scenario) -> dict[str, dict[str, object]]:
    """Return the parameters of each runbook that looks at it."""
    db = scenario.db or "sandbox-primary"
    pair: dict[str, object] = {
        "db": db,
        "standby": scenario.standby,
        "standby_name": scenario.standby_name,
    }
    alone: dict[str, object] = {"db": scenario.db or f"sandbox-{scenario.on}"}
    tables = {
        **alone,
        "target_db": scenario.target_db,
        "recheck_after_s": scenario.recheck_after_s,
    }
    couple = {name: pair[name] for name in ("db", "standby")}
    runs: dict[str, dict[str, object]] = {
        "RUN-000": pair,
        "RUN-001": alone,
        OF_ROWS: tables,
        "RUN-007": alone,
        # short samples: the scenarios have no slow statements to find
        "RUN-009": {**alone, "every_s": 1.0},
        "RUN-010": {**alone, "standby": scenario.standby if scenario.on == "primary" else ""},
        "RUN-016": {**pair, "backup_at": datetime.now(UTC).isoformat()},
    }
    if scenario.on == "primary":
        runs["RUN-018"] = {**alone, "every_s": 1.0}
    if scenario.standby:
        runs |= {"RUN-005": pair, "RUN-030": couple}
    seen_by = scenario.truth.seen_by or runs
    return {name: parameters for name, parameters in runs.items() if name in seen_by}


def _carried_out(scenario: Scenario, stage: Stage, result: Result, acts: frozenset[int]) -> Cell:
    """Carry out the recommendation, as an administrator would, and check whom that frees."""
    assert scenario.truth.step
    verb, _ = scenario.truth.step
    plans = [plan for plan in result.plans if plan.title.lower().startswith(verb) and plan.sql]
    if not plans:
        return Cell(mark="WRONG", why="there is no plan to carry out")
    with stage.access.connect("postgres", scenario.on) as raw:
        raw.execute(plans[0].sql.encode())
    if scenario.truth.frees is None:
        return _ended(stage, acts, scenario)
    predicted = sum(
        int(number) for number in re.findall(r"(\d+) (?:sessions? at once|more)", plans[0].effect)
    )
    if predicted != scenario.truth.frees:
        why = f"predicted: {plans[0].effect}; {scenario.truth.frees} would be right"
        return Cell(mark="WRONG", why=why)
    deadline = time.monotonic() + _FREED_S
    while (left := stage.still_waiting(server=scenario.on)) != scenario.truth.stays:
        if time.monotonic() > deadline:
            return Cell(mark="WRONG", why=f"{left} still wait, not {scenario.truth.stays}")
        time.sleep(0.1)
    return Cell(mark="ok", why=plans[0].effect)


def _patched(stage: Stage, result: Result) -> Cell:
    """Repair the rows, as an administrator would with psql, and check that the tables are equal."""
    plans = [plan for plan in result.plans if plan.sql]
    if not plans:
        return Cell(mark="WRONG", why="there is no plan to carry out")
    predicted = sum(int(number) for number in re.findall(r"\d+", plans[0].title))
    with stage.access.connect("postgres") as raw:
        differing = orders.differing(raw)
        raw.execute(plans[0].sql.encode())
        left = orders.differing(raw)
    if predicted != differing or left:
        why = f"{plans[0].title}: {differing} rows differed, {left} still do"
        return Cell(mark="WRONG", why=why)
    return Cell(mark="ok", why=plans[0].title)


def _ended(stage: Stage, acts: frozenset[int], scenario: Scenario) -> Cell:
    query = (
        b"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY(%s) AND state <> 'idle'"
        if scenario.truth.step and scenario.truth.step[0] == "cancel"
        else b"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY(%s)"
    )
    try:
        stage.until(query, [sorted(acts)], what="they end", server=scenario.on, timeout_s=_FREED_S)
    except RbkernelError as error:
        return Cell(mark="WRONG", why=str(error))
    return Cell(mark="ok")


@contextmanager
def _configured(stage: Stage, folder: Path) -> Iterator[None]:
    """Let runbooks find the connections that a scenario adds."""
    added = list(stage.connections)
    if stage.access.home.data("spare").is_dir():
        spare = stage.access.connection("rb_diag", "spare")
        added.append(spare.model_copy(update={"name": "sandbox-spare"}))
    file = folder / "rbkernel.toml"
    file.write_text("".join(map(_toml, added)), encoding="utf-8")
    before = os.environ.get("RBKERNEL_CONFIG")
    os.environ["RBKERNEL_CONFIG"] = str(file)
    try:
        yield
    finally:
        if before is None:
            del os.environ["RBKERNEL_CONFIG"]
        else:
            os.environ["RBKERNEL_CONFIG"] = before


def _toml(connection: Connection) -> str:
    names = ("host", "port", "dbname", "user", "passfile")
    fields = {name: getattr(connection, name) for name in names}
    # a JSON string or number is a TOML one, too
    lines = [f"{name} = {json.dumps(value, default=str)}" for name, value in fields.items()]
    return "\n".join([f"[connections.{connection.name}]", *lines, "", ""])


@contextmanager
def sandbox() -> Iterator[Access]:
    """Yield the running sandbox, or one that lasts as long as the block."""
    made = control.status()
    ours = made.state != "up"
    if ours:
        made = control.up()
    try:
        assert made.primary_port
        assert made.standby_port
        yield Access(
            home=Home.configured(),
            primary_port=made.primary_port,
            standby_port=made.standby_port,
        )
    finally:
        if ours:
            control.down()
