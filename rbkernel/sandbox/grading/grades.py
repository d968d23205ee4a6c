"""Compare answers with the truth, and count. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rbkernel.errors import SandboxError
from rbkernel.sandbox.grading.answers import Filed, Sheet, Step
from rbkernel.sandbox.grading.truths import TASKS, Truth
from rbkernel.spelling import did_you_mean


class Mark(StrEnum):
    """How one part of an answer compares with the truth."""

    RIGHT = "right"
    INCOMPLETE = "incomplete"  # nothing false is named, but not every culprit
    WRONG = "wrong"
    HARMFUL = "harmful"  # the step would interrupt or destroy something for nothing
    SILENT = "says nothing"
    NOT_JUDGED = ""  # nothing is wrong, or no tool can know


@dataclass(frozen=True, kw_only=True)
class Grade:
    """One answer, compared with the truth.

    ``wrong`` tells whether something is wrong in the scenario. ``accused`` are the innocent that
    the answer names as culprits: victims, bystanders, or anybody if nothing is wrong. ``failed``
    is why there is no answer.
    """

    scenario: str
    seed: int
    wrong: bool
    detected: bool
    culprit: Mark
    accused: tuple[str, ...]
    step: Mark
    seconds: float | None = None
    failed: str = ""

    @property
    def false_alarm(self) -> bool:
        """Whether the answer reports a problem where there is none."""
        return self.detected and not self.wrong


def grades(sheet: Sheet) -> list[Grade]:
    """Return the grade of each answer of a tool.

    Raises
    ------
    SandboxError
        An answer is to a scenario that does not exist.
    """
    for number, one in enumerate(sheet.answers):
        if one.scenario not in TASKS:
            raise SandboxError(
                f"no scenario is called {one.scenario!r}{did_you_mean(one.scenario, TASKS)}",
                where=f"the answers of {sheet.tool}, answers[{number}].scenario",
                next_step="`rbkernel drill --scenarios` lists them",
            )
    return [grade(one, TASKS[one.scenario].truth(one.seed)) for one in sheet.answers]


def grade(answer: Filed, truth: Truth) -> Grade:
    """Compare an answer with the truth.

    >>> truth = Truth(culprits=frozenset({"session:root"}), steps=((Step.TERMINATE,
    ...     frozenset({"session:root"})),))
    >>> one = grade(Filed(scenario="chain", detected=True, culprits=("session:victim",)), truth)
    >>> one.culprit.value, one.accused, one.step.value
    ('wrong', ('session:victim',), 'says nothing')
    """
    accused = tuple(one for one in answer.culprits if one not in truth.culprits | truth.also)
    return Grade(
        scenario=answer.scenario,
        seed=answer.seed,
        wrong=truth.wrong,
        detected=answer.detected,
        culprit=_culprit(answer, truth, accused),
        accused=accused,
        step=_step(answer, truth),
        seconds=answer.seconds,
        failed=answer.failed,
    )


def _culprit(answer: Filed, truth: Truth, accused: tuple[str, ...]) -> Mark:
    if accused:
        return Mark.WRONG
    if not truth.culprits:
        return Mark.NOT_JUDGED
    if not answer.culprits:
        return Mark.SILENT
    return Mark.RIGHT if truth.culprits <= set(answer.culprits) else Mark.INCOMPLETE


def _step(answer: Filed, truth: Truth) -> Mark:
    if answer.step is None:
        return Mark.SILENT if truth.wrong else Mark.NOT_JUDGED
    step, objects = answer.step, frozenset(answer.targets)
    exact = any(step is right and objects == its for right, its in truth.steps)
    if exact or any(step is right and _open(step, objects, its) for right, its in truth.steps):
        return Mark.RIGHT
    if not step.disruptive:
        return Mark.WRONG
    touchable = truth.may.union(*(its for _, its in truth.steps))
    return Mark.WRONG if objects and objects <= touchable else Mark.HARMFUL


def _open(step: Step, objects: frozenset[str], its: frozenset[str]) -> bool:
    """Whether one of the two does not say for which objects, where the step is clear without."""
    return not step.needs_targets and not (objects and its)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The counts of one tool; ``of`` counts are its answers with something wrong, and without.

    ``accusations`` are answers that name an innocent. ``culprit_silent`` and ``step_silent`` are
    answers to a detected fault that name nobody, and that recommend nothing. ``seconds`` is the
    median.
    """

    tool: str
    server_version: str
    faults: int
    controls: int
    detected: int
    false_alarms: int
    culprit_judged: int
    culprit_right: int
    culprit_silent: int
    accusations: int
    step_right: int
    step_silent: int
    harmful: int
    failed: int
    seconds: float | None


def totals(sheet: Sheet, graded: Sequence[Grade]) -> Totals:
    """Count the grades of one tool."""
    faults = [one for one in graded if one.wrong]
    found = [one for one in faults if one.detected]
    times = [one.seconds for one in graded if one.seconds is not None]
    return Totals(
        tool=sheet.tool,
        server_version=sheet.server_version,
        faults=len(faults),
        controls=len(graded) - len(faults),
        detected=len(found),
        false_alarms=sum(one.false_alarm for one in graded),
        culprit_judged=sum(one.culprit is not Mark.NOT_JUDGED for one in faults),
        culprit_right=sum(one.culprit is Mark.RIGHT for one in faults),
        culprit_silent=sum(one.culprit is Mark.SILENT for one in found),
        accusations=sum(bool(one.accused) for one in graded),
        step_right=sum(one.step is Mark.RIGHT for one in faults),
        step_silent=sum(one.step is Mark.SILENT for one in found),
        harmful=sum(one.step is Mark.HARMFUL for one in graded),
        failed=sum(bool(one.failed) for one in graded),
        seconds=round(statistics.median(times), 1) if times else None,
    )


def figures(counted: Sequence[Totals]) -> list[tuple[str, ...]]:
    """Return the rows of a table of totals, with a column for each tool."""
    lines: dict[str, list[str]] = {}
    for one in counted:
        for name, text in {
            "faults detected": f"{one.detected} of {one.faults}",
            "right culprit": f"{one.culprit_right} of {one.culprit_judged}",
            "detected, but names no culprit": str(one.culprit_silent),
            "right kind of step": f"{one.step_right} of {one.faults}",
            "detected, but recommends nothing": str(one.step_silent),
            "false alarms on a healthy server": f"{one.false_alarms} of {one.controls}",
            "answers that accuse an innocent": str(one.accusations),
            "harmful steps": str(one.harmful),
            "no answer": str(one.failed),
            "median time to the answer": "" if one.seconds is None else f"{one.seconds:.1f} s",
        }.items():
            lines.setdefault(name, []).append(text)
    return [(name, *texts) for name, texts in lines.items()]


def in_words(one: Grade) -> str:
    """Return a grade in a few words.

    >>> in_words(Grade(scenario="chain", seed=1, wrong=True, detected=True, culprit=Mark.WRONG,
    ...                accused=("session:victim",), step=Mark.SILENT))
    'detected; accuses session:victim; step: says nothing'
    """
    if one.failed:
        return f"no answer: {one.failed}"
    if not one.wrong:
        parts = ["false alarm" if one.detected else "right: nothing is wrong"]
    else:
        parts = ["detected" if one.detected else "missed"]
    if one.accused:
        parts.append(f"accuses {', '.join(one.accused)}")
    elif one.detected and one.culprit is not Mark.NOT_JUDGED:
        parts.append(f"culprit: {one.culprit}")
    if (one.detected or one.step is not Mark.SILENT) and one.step is not Mark.NOT_JUDGED:
        parts.append(f"step: {one.step}")
    return "; ".join(parts)
