"""Answers of any tool: their format, and how they compare with the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.neighbours.page import section
from rbkernel.errors import SandboxError
from rbkernel.sandbox.faults.scenarios import SCENARIOS
from rbkernel.sandbox.grading import answers, grades
from rbkernel.sandbox.grading.answers import Filed, Sheet, Step
from rbkernel.sandbox.grading.grades import Grade, Mark
from rbkernel.sandbox.grading.truths import TASKS, Truth
from tests.support.command import run_command

ROOT, VICTIM, DDL = "session:root", "session:victim", "session:ddl"
QUEUE = Truth(
    culprits=frozenset({ROOT}),
    also=frozenset({DDL}),
    steps=((Step.CANCEL, frozenset({DDL})), (Step.ESCALATE, frozenset())),
    may=frozenset({"session:other"}),
)
WELL = Truth(wrong=False, steps=((Step.WAIT, frozenset()),))


def graded(truth: Truth, **said: Any) -> Grade:
    return grades.grade(Filed(scenario="chain", **{"detected": True, **said}), truth)


@pytest.mark.parametrize(
    ("culprits", "mark", "accused"),
    [
        ((ROOT,), Mark.RIGHT, ()),
        ((ROOT, DDL), Mark.RIGHT, ()),
        ((DDL,), Mark.INCOMPLETE, ()),
        ((), Mark.SILENT, ()),
        ((ROOT, VICTIM), Mark.WRONG, (VICTIM,)),
    ],
)
def test_a_victim_that_is_named_is_a_false_accusation(
    culprits: tuple[str, ...], mark: Mark, accused: tuple[str, ...]
) -> None:
    one = graded(QUEUE, culprits=culprits)
    assert (one.culprit, one.accused) == (mark, accused)


@pytest.mark.parametrize(
    ("step", "targets", "mark"),
    [
        (None, (), Mark.SILENT),
        (Step.CANCEL, (DDL,), Mark.RIGHT),
        (Step.CANCEL, (), Mark.HARMFUL),  # whom?
        (Step.CANCEL, (DDL, VICTIM), Mark.HARMFUL),
        (Step.TERMINATE, (ROOT,), Mark.HARMFUL),  # such as a backup: not one of the right steps
        (Step.TERMINATE, (DDL,), Mark.WRONG),
        (Step.TERMINATE, ("session:other",), Mark.WRONG),
        (Step.ESCALATE, (), Mark.RIGHT),
        (Step.ESCALATE, (ROOT,), Mark.RIGHT),
        (Step.VACUUM, (), Mark.WRONG),
        (Step.PROMOTE, (), Mark.HARMFUL),
    ],
)
def test_only_a_step_that_interrupts_somebody_in_vain_is_harmful(
    step: Step | None, targets: tuple[str, ...], mark: Mark
) -> None:
    assert graded(QUEUE, step=step, targets=targets).step is mark


def test_on_a_healthy_server_silence_is_right_and_every_culprit_is_innocent() -> None:
    silent = graded(WELL, detected=False)
    assert (silent.false_alarm, silent.culprit, silent.step) == (False, Mark.NOT_JUDGED, "")
    alarmed = graded(WELL, culprits=(ROOT,), step=Step.TERMINATE, targets=(ROOT,))
    assert (alarmed.false_alarm, alarmed.accused) == (True, (ROOT,))
    assert alarmed.step is Mark.HARMFUL


def test_totals_tell_silence_from_error() -> None:
    sheet = Sheet(
        tool="t",
        answers=(
            Filed(scenario="chain", detected=True, seconds=1),
            Filed(scenario="tuple-queue", detected=False, seconds=2, failed="exit code 1"),
            Filed(scenario="two-trees", detected=True, culprits=("session:shop-checkout",)),
            Filed(scenario="healthy", detected=True, seconds=4),
        ),
    )
    one = grades.totals(sheet, grades.grades(sheet))
    assert (one.faults, one.controls, one.detected, one.false_alarms) == (3, 1, 2, 1)
    assert (one.culprit_right, one.culprit_silent, one.accusations) == (0, 1, 1)
    assert (one.step_right, one.step_silent, one.harmful, one.failed) == (0, 2, 0, 1)
    assert one.seconds == 2


def sheet(**more: Any) -> dict[str, Any]:
    return {"tool": "t", "answers": [{"scenario": "chain", "detected": True, **more}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"answers": []}, "[0].tool: Field required"),
        (sheet(step="reboot"), "[0].answers[0].step: Input should be 'wait', "),
        (sheet(detected="yes"), "[0].answers[0].detected: Input should be a valid boolean"),
        (sheet(culprits=["root"]), "[0].answers[0].culprits[0]: 'root' must be KIND:NAME"),
        (sheet(culprit="root"), "[0].answers[0].culprit: Extra inputs are not permitted"),
        (sheet(detected=False, culprits=[ROOT]), "[0].answers[0]: culprits are named, although"),
        (sheet(targets=[ROOT]), "[0].answers[0]: targets are named, but no step"),
        ([sheet(), sheet()], "chain (seed 1) is answered 2 times"),
    ],
)
def test_a_malformed_answer_is_refused_with_its_place(
    content: object, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SandboxError) as error:
        answers.read([path])
    assert problem in str(error.value)
    assert str(path) in str(error.value)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text("{")
    with pytest.raises(SandboxError, match="cannot be read"):
        answers.read([tmp_path / "answers.json"])


def test_an_unknown_scenario_is_refused_with_the_likely_one() -> None:
    one = Sheet(tool="t", answers=(Filed(scenario="lock-quee", detected=True),))
    with pytest.raises(SandboxError, match=r"lock-quee.*lock-queue.*answers\[0\]\.scenario"):
        grades.grades(one)


def test_a_folder_that_is_missing_is_said_before_the_first_scenario(tmp_path: Path) -> None:
    done = run_command("drill", "--exec", "true", "--answers", str(tmp_path / "no" / "mine.json"))
    assert done.returncode == 3
    assert "the folder for the answers does not exist" in done.stderr
    assert "create it" in done.stderr


def test_answers_that_are_written_are_read_again_and_merged_by_tool(tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    cancels = Filed(
        scenario="backup",
        detected=True,
        step=Step.CANCEL,
        targets=("session:shop-migration",),
        seconds=1.5,
    )
    healthy = Filed(scenario="healthy", detected=False)
    answers.write([Sheet(tool="t", server_version="18.1", answers=(cancels,))], first)
    answers.write([Sheet(tool="t", server_version="18.1", answers=(healthy,))], second)
    assert answers.read([first, second]) == [
        Sheet(tool="t", server_version="18.1", answers=(cancels, healthy))
    ]


@pytest.mark.parametrize("name", TASKS)
def test_every_truth_can_be_answered_rightly(name: str) -> None:
    truth = TASKS[name].truth(1)
    assert TASKS[name].summary
    for step, objects in truth.steps:
        one = Filed(
            scenario=name,
            detected=truth.wrong,
            culprits=tuple(truth.culprits),
            step=step,
            targets=tuple(objects),
        )
        found = grades.grade(one, truth)
        assert found.step is Mark.RIGHT
        assert found.culprit in {Mark.RIGHT, Mark.NOT_JUDGED}
    assert truth.steps


@pytest.mark.parametrize("name", [name for name in TASKS if name in SCENARIOS])
def test_a_truth_contradicts_no_scenario_of_the_matrix(name: str) -> None:
    """Both were written by hand, so they must agree on the step that helps."""
    expected = SCENARIOS[name].truth
    truth = TASKS[name].truth(1)
    assert truth.wrong is not expected.well
    if expected.step:
        verb, applications = expected.step
        objects = frozenset(f"session:{one}" for one in applications)
        assert (Step(verb), objects) in truth.steps


def test_the_page_shows_the_filed_answers() -> None:
    """The tables of docs/explanation/drills.md are the output of the grader, today."""
    page = Path(__file__).parents[2] / "docs" / "explanation" / "drills.md"
    assert section() in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--exec", "ls", "--train"], "--train and --exec exclude each other"),
        (["--grade", "x.json", "--record"], "--record and --grade exclude each other"),
        (["--grade", "x.json", "--answers", "y.json"], "--answers is only for --exec"),
        (["--grade", "x.json", "healthy"], "--grade takes no names"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: list[str], problem: str) -> None:
    done = run_command("drill", *options)
    assert done.returncode == 3
    assert problem in done.stderr
