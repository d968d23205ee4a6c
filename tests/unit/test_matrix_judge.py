"""The judge of the matrix calls wrong what is wrong."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.matrix.cells import Result
from benchmarks.matrix.judge import judge
from rbkernel.model import ActionPlan, Decision, Finding, Verdict
from rbkernel.sandbox.faults.scenarios import SCENARIOS

CAUSE = "price-update (pid 7, idle in transaction for 3 s) blocks 8 sessions"
RIGHT = Result(
    runbook="RUN-007",
    verdict=Verdict.WARNING,
    headline=f"WARNING: {CAUSE}",
    title=f"RUN-007 WARNING: {CAUSE}",
    findings=(
        Finding(
            title="Cause on db",
            verdict=Verdict.WARNING,
            expected="none",
            actual=CAUSE,
            opens="RUN-007",
            explains=("RUN-007",),
        ),
    ),
    decision=Decision(id="1", question="?", options=("terminate it",), recommended="terminate it"),
    plans=(
        ActionPlan(
            id="1", title="Terminate 1 session", connection="db", sql="", targets=({"pid": 7},)
        ),
    ),
    first_s=0.1,
    took_s=1.0,
)


def mark(result: Result, scenario: str = "tuple-queue") -> str:
    acts, innocent = frozenset({7}), frozenset({8})
    return judge(SCENARIOS[scenario], result, acts, frozenset(), innocent).mark


def test_what_is_right() -> None:
    assert mark(RIGHT) == "ok"


@pytest.mark.parametrize(
    "change",
    [
        {"headline": "WARNING: 8 sessions wait"},
        {"title": "RUN-007 WARNING"},
        {"verdict": Verdict.OK},
        {"error": "the cell act failed"},
        {"decision": Decision(id="1", question="?", options=("wait",), recommended="wait")},
        {"plans": ()},
        {"plans": (dataclasses.replace(RIGHT.plans[0], targets=({"pid": 7}, {"pid": 8})),)},
        {"runbook": "RUN-001", "findings": ()},
        {"findings": (dataclasses.replace(RIGHT.findings[0], which="pid 7, pid 8"),)},
    ],
)
def test_what_is_wrong(change: dict[str, object]) -> None:
    assert mark(dataclasses.replace(RIGHT, **change)) == "WRONG"  # type: ignore[arg-type]  # as given


@pytest.mark.parametrize(
    ("scenario", "recommended", "expected"),
    [
        ("tuple-queue", "wait and look again", "ok"),
        ("tuple-queue", "patch the rows", "WRONG"),
        ("compared-table-locked", "resolve the cause first", "ok"),
        ("compared-table-locked", "wait and look again", "WRONG"),
    ],
)
def test_what_is_recommended_about_rows(scenario: str, recommended: str, expected: str) -> None:
    cause = SCENARIOS[scenario].truth.says.replace(".*", " ")
    decision = Decision(id="1", question="?", options=(recommended,), recommended=recommended)
    result = dataclasses.replace(
        RIGHT, runbook="RUN-006", headline=cause, title=cause, decision=decision, plans=()
    )
    assert mark(result, scenario) == expected


def test_alarm_on_a_healthy_server_is_wrong() -> None:
    assert mark(RIGHT, "healthy") == "WRONG"


def test_what_was_not_seen_is_unknown() -> None:
    assert mark(dataclasses.replace(RIGHT, verdict=Verdict.UNKNOWN, plans=())) == "unknown"


def test_there_are_forty_scenarios_of_all_kinds() -> None:
    assert len(SCENARIOS) >= 40
    assert {one.on for one in SCENARIOS.values()} == {"primary", "standby"}
