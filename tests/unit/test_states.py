"""The states of jobs, attempts, alerts, incidents, decisions and plans, and their tables."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

import rbkernel
from rbkernel.config.queue import Queue
from rbkernel.evidence.incident import (
    ACTION_TRANSITIONS,
    ActionState,
    AlertOutcome,
    AlertStatus,
    IncidentState,
    Line,
    RunState,
    tell,
)
from rbkernel.evidence.incident.states import INCIDENT_TRANSITIONS
from rbkernel.gateway.jobs.ledger import Ledger
from rbkernel.gateway.jobs.states import ALERT_TRANSITIONS, JOB_TRANSITIONS, AlertState, JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify.outbox import NotificationState
from rbkernel.model import (
    DECISION_TRANSITIONS,
    PLAN_TRANSITIONS,
    ActionPlan,
    Decision,
    DecisionState,
    PlanState,
)
from rbkernel.run.outcome import ATTEMPT_TRANSITIONS, Ending, Outcome
from rbkernel.transitions import Transitions
from rbkernel.triage.act import ProposedPlan
from rbkernel.triage.decide import OpenDecision

TABLES: tuple[tuple[type[StrEnum], Transitions[Any]], ...] = (
    (JobState, JOB_TRANSITIONS),
    (Outcome, ATTEMPT_TRANSITIONS),
    (AlertState, ALERT_TRANSITIONS),
    (IncidentState, INCIDENT_TRANSITIONS),
    (DecisionState, DECISION_TRANSITIONS),
    (PlanState, PLAN_TRANSITIONS),
    (ActionState, ACTION_TRANSITIONS),
)
ENUMS: tuple[type[StrEnum], ...] = (
    *(states for states, _table in TABLES),
    AlertStatus,
    AlertOutcome,
    RunState,
    NotificationState,
)
PACKAGE = Path(rbkernel.__file__).parent
# the words of other systems, as they are on the wire
FOREIGN = {"gateway/intake/pagerduty.py", "sandbox/alerting.py", "sandbox/shop/simulation.py"}
# what holds a state: a name, an attribute, a field, a column
HOLDS_A_STATE = re.compile(r"(state|status|outcome)s?")
VALUES = frozenset(state.value for states in ENUMS for state in states if state.value)
QUOTED = re.compile(rf"""["']({"|".join(sorted(VALUES))})["']""")
by_kind = pytest.mark.parametrize(
    ("states", "table"), TABLES, ids=[table.kind for _states, table in TABLES]
)


@by_kind
def test_every_state_is_in_the_table_and_can_be_reached(
    states: type[StrEnum], table: Transitions[Any]
) -> None:
    assert set(table.table) == {None, *states}
    reached: set[StrEnum | None] = {None}
    while new := {after for state in reached for after in table.table[state]} - reached:
        reached |= new
    assert reached == {None, *states}


@by_kind
def test_every_other_transition_is_refused(states: type[StrEnum], table: Transitions[Any]) -> None:
    for old in (None, *states):
        for new in states:
            if new in table.table[old]:
                assert table.check(old, new) is new
                assert old is None or old in table.before(new)
            else:
                with pytest.raises(ValueError, match=f"cannot become {new.value!r}, only: "):
                    table.check(old, new)
                assert old not in table.before(new)


def test_the_lines_of_a_record_change_its_state_only_as_the_table_allows() -> None:
    said: tuple[tuple[str, Mapping[str, str]], ...] = (
        ("opened", {"title": "Lag"}),
        ("run", {"run_id": "r", "state": "queued"}),
        ("sealed", {"run_id": "r", "verdict": "ok"}),
        ("merged", {"into": "INC-2"}),
        ("closed", {}),
        ("reopened", {}),
    )
    at = "2026-11-20T03:00:00Z"
    seen: set[tuple[IncidentState | None, IncidentState]] = set()
    for chosen in itertools.product(said, repeat=4):
        lines = [
            Line(number=number, kind=kind, at=at, by="ann", data=data)
            for number, (kind, data) in enumerate(chosen, 1)
        ]
        states = [None, *(tell(lines[:end]).state for end in range(1, len(lines) + 1))]
        seen |= {(old, new) for old, new in itertools.pairwise(states) if new and old is not new}
    changes = {(old, new) for old, new in seen if old is not None}
    assert all(INCIDENT_TRANSITIONS.allows(old, new) for old, new in changes)
    assert changes >= {
        (IncidentState.OPEN, IncidentState.RUNS_ONLY),
        (IncidentState.MERGED, IncidentState.CLOSED),
        (IncidentState.CLOSED, IncidentState.MERGED),
    }


def test_an_attempt_does_not_end_as_running(tmp_path: Path) -> None:
    ledger = Ledger(Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}"), Queue())
    with pytest.raises(ValueError, match="attempt: '' cannot become '', only: 'done'"):
        ledger.end("job", 1, Ending(outcome=Outcome.RUNNING))


def test_a_plan_is_not_done_before_its_question_is_answered() -> None:
    question = OpenDecision(Decision(id="d", question="Which?", options=("act", "wait")))
    plan = ActionPlan(id="p", title="Resume", connection="db", sql="SELECT 1")
    proposed = ProposedPlan(plan, question.chose("act"))
    with pytest.raises(ValueError, match="plan: 'waits for a decision' cannot become"):
        proposed.mark_done("did it")
    assert proposed.state is PlanState.WAITING


@pytest.mark.parametrize("states", ENUMS, ids=lambda states: states.__name__)
def test_every_state_is_described_in_its_line(states: type[StrEnum]) -> None:
    source = inspect.getsource(states)
    for state in states:
        assert re.search(rf'^    {state.name} = "{state.value}"  # \w', source, re.MULTILINE)


def test_no_state_is_written_as_a_string() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {value!r}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).as_posix() not in FOREIGN
        if QUOTED.search(source := path.read_text())  # few have one: parsing all takes long
        for line, value in literals(ast.parse(source))
    ]
    assert not found, "\n".join(found)


def test_no_template_compares_a_state_with_a_string() -> None:
    compares = re.compile(r"""(?:state|status|outcome)\s*(?:[!=]=|in)\s*[\[({]*["']""")
    found = [
        f"{path.relative_to(PACKAGE)}: {line}"
        for path in sorted(PACKAGE.rglob("*.j2"))
        for line in path.read_text().splitlines()
        if compares.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "if job.state == 'done': pass",
        "if 'done' != job.state: pass",
        "if line.text('state') in {'queued', 'x'}: pass",
        "found = [one for one in found if one['status'] == 'firing']",
        "query.where(alerts.c.state.in_(['received']))",
        "row = {'state': 'waiting'}",
        "dataclasses.replace(record, state='chosen')",
        "state = 'parked' if headless else 'open'",
        "class A:\n    state: str = 'open'",
        "sa.Column('state', sa.Text, default='received')",
        "def state(self) -> str:\n    return 'proposed'",
        "said('given up')",
    ],
)
def test_a_state_that_is_written_as_a_string_is_found(code: str) -> None:
    assert list(literals(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "line.kind == 'closed'",
        "open(path, mode='open')",
        "(root / 'open')",
        "badge('running')",
        "job.state is JobState.DONE",
        "record['done'] = 1",
        "class JobState(StrEnum):\n    GIVEN_UP = 'given up'",
    ],
)
def test_a_word_that_is_no_state_is_not_found(code: str) -> None:
    assert not list(literals(ast.parse(code)))


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the strings that stand for a state, with their lines.

    Where a state is held, compared, given or returned, each value of `VALUES` is one. A value of
    several words, such as "given up", is one wherever it stands.
    """
    defined = {
        id(node)
        for states in ast.walk(tree)
        if isinstance(states, ast.ClassDef) and _is_enum(states)
        for node in ast.walk(states)
    }
    found = {
        id(node): node
        for place in ast.walk(tree)
        for node in (*_strings(*_said_of_a_state(place)), *_of_several_words(place))
        if id(node) not in defined
    }
    return ((node.lineno, str(node.value)) for node in found.values())


def _said_of_a_state(place: ast.AST) -> list[ast.expr | None]:
    """Return the expressions that a node holds against a state, or makes one."""
    match place:
        case ast.Compare(left=left, comparators=others):
            sides = [left, *others]
            return list(sides) if any(map(_holds, sides)) else []
        case ast.Call(func=ast.Attribute(value=held, attr="in_"), args=given) if _holds(held):
            return list(given)
        case ast.Call(func=ast.Attribute(attr="Column"), args=[named, *_], keywords=keywords):
            named_state = isinstance(named, ast.Constant) and _is_name(named.value)
            return [one.value for one in keywords] if named_state else []
        case ast.keyword(arg=str(name), value=value) if _is_name(name):
            return [value]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return [v for k, v in pairs if isinstance(k, ast.Constant) and _is_name(k.value)]
        case ast.Assign(targets=targets, value=value) if any(map(_holds, targets)):
            return [value]
        case ast.AnnAssign(target=target, value=value) if _holds(target):
            return [value]
        case ast.FunctionDef(name=name) if _is_name(name.strip("_")):
            return [one.value for one in ast.walk(place) if isinstance(one, ast.Return)]
        case _:
            return []


def _holds(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _is_name(name)
        case ast.Subscript(slice=ast.Constant(value=name)):
            return _is_name(name)
        case ast.Call(func=ast.Attribute(attr="text" | "get"), args=[ast.Constant(value=name), *_]):
            return _is_name(name)
        case _:
            return False


def _is_name(name: object) -> bool:
    return isinstance(name, str) and HOLDS_A_STATE.fullmatch(name) is not None


def _strings(*said: ast.expr | None) -> Iterator[ast.Constant]:
    """Yield the states among expressions, also in a collection and in both parts of an if."""
    for one in said:
        match one:
            case ast.Constant(value=value) if value in VALUES:
                yield one
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                yield from _strings(*parts)
            case ast.IfExp(body=body, orelse=orelse):
                yield from _strings(body, orelse)
            case ast.Call(func=ast.Name(id="frozenset"), args=parts):
                yield from _strings(*parts)


def _of_several_words(place: ast.AST) -> Iterator[ast.Constant]:
    if isinstance(place, ast.Constant) and place.value in VALUES and " " in str(place.value):
        yield place


def _is_enum(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases)
