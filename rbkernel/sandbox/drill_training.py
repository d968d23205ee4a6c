"""Training: a person looks for a fault that nobody named; the runbook then says what it finds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rbkernel import amounts
from rbkernel.config import Settings
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter_sections import HEALTHY, Drill
from rbkernel.sandbox import control, drill
from rbkernel.sandbox.drill import Planned
from rbkernel.sandbox.drill_results import Result


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the person found: the id of a runbook, the culprit, and the next step, in words."""

    runbook: str
    culprit: str
    step: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training: the drill, the answer of the person with its time, and that of the runbook."""

    runbook: Runbook
    drill: Drill
    answer: Answer
    seconds: float
    result: Result


def train(
    planned: Sequence[Planned],
    settings: Settings,
    ask: Callable[[], Answer],
    report: Callable[[str], None] = control.silent,
) -> Training:
    """Inject a random fault, ask a person for it, then run the runbook that is about it.

    Parameters
    ----------
    planned
        The runbooks with their drills, see `drill.chosen`; one fault of them is injected.
    settings
        The user's configuration, of which only the catalogue is used.
    ask
        Called when the fault is active; returns the answer of the person.
    report
        Called with a text at the beginning of each step, which does not name the fault.

    Raises
    ------
    SandboxError
        The sandbox has faults already, or does not start.
    """
    pool = [(one.runbook, each) for one in planned for each in one.drills if each.fault != HEALTHY]
    runbook, chosen = random.choice(pool)  # noqa: S311 - a drill, not a secret
    said: list[tuple[Answer, float]] = []

    def asked() -> None:
        began = time.monotonic()
        said.append((ask(), time.monotonic() - began))

    with drill.on_the_sandbox(settings, report) as own:
        result = drill.result_of(runbook, chosen, own, meanwhile=asked)
    answer, seconds = said[0]
    return Training(runbook=runbook, drill=chosen, answer=answer, seconds=seconds, result=result)


def comparison(training: Training) -> list[tuple[str, str, str]]:
    """Return the rows of the comparison: what, the person's answer, the runbook's. Pure."""
    answer, result = training.answer, training.result
    named = training.drill.names
    culprit = answer.culprit
    if named:
        right = named.casefold() in culprit.casefold()
        culprit += " (right)" if right else f" (expected: {named})"
    runbook = training.runbook.id
    chosen = answer.runbook.strip().upper()
    chosen += " (right)" if chosen == runbook else f" (expected: {runbook})"
    took = "" if result.seconds is None else amounts.duration(result.seconds)
    return [
        ("fault", "", training.drill.fault),
        ("runbook", chosen, runbook),
        ("cause", culprit, result.found),
        ("next step", answer.step, result.recommended),
        ("time", amounts.duration(training.seconds), took),
    ]
