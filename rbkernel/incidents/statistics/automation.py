"""Judge whether a runbook is a candidate for automation, by the criteria of the template. Pure.

The template for incident runbooks says: automate a runbook if it is executed more than once per
month, its steps are deterministic and safe, no judgment calls are required, and it has clear
criteria of success and failure. The record answers the first three, lint the last one. A criterion
that rests on too few cases is unknown, and a runbook with an unknown criterion is no candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbkernel import amounts
from rbkernel.incidents.statistics.figures import ENOUGH, Figures

_MONTH_DAYS = 30.0


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion of a runbook: whether it is met (None: unknown), and why."""

    name: str
    met: bool | None
    why: str


def criteria(figures: Figures, days: float, unclear: Sequence[str] | None) -> tuple[Criterion, ...]:
    """Judge the four criteria of a runbook.

    Parameters
    ----------
    figures
        Its figures.
    days
        The length of the period.
    unclear
        What lint says about its criteria of success and failure, empty if they are clear; None if
        the runbook is not in the catalogue.
    """
    return (
        _often(figures, days),
        _deterministic(figures),
        _no_judgment(figures),
        _clear(unclear),
    )


def is_candidate(judged: Sequence[Criterion]) -> bool:
    """Tell whether all criteria are met."""
    return all(one.met for one in judged)


def _often(figures: Figures, days: float) -> Criterion:
    """Judge how often it was needed: several runs in one incident count once.

    A period shorter than a month is not extrapolated: one occasion in a week proves nothing.
    """
    met = figures.occasions > max(1.0, days / _MONTH_DAYS)
    known = met or days >= _MONTH_DAYS
    return Criterion(
        name="more than once a month",
        met=met if known else None,
        why=f"{amounts.count(figures.occasions, 'occasion')} in {days:.0f} days",
    )


def _deterministic(figures: Figures) -> Criterion:
    failed = [one for one in figures.steps if one.failed]
    name = "deterministic and safe"
    if failed:
        first = failed[0]
        why = f"“{first.step}” failed in {first.failed} of {amounts.count(first.runs, 'run')}"
        return Criterion(name=name, met=False, why=why)
    if figures.unsafe_plans:
        why = (
            f"{figures.unsafe_plans} of {amounts.count(figures.plans, 'plan')} without an undo or"
            " a verification"
        )
        return Criterion(name=name, met=False, why=why)
    if figures.runs < ENOUGH or not figures.steps:
        why = f"only {amounts.count(figures.runs, 'run')}" if figures.steps else "no step recorded"
        return Criterion(name=name, met=None, why=why)
    plans = f", {amounts.all_of(figures.plans, 'plan')} with undo" if figures.plans else ""
    return Criterion(
        name=name, met=True, why=f"no step failed in {amounts.count(figures.runs, 'run')}{plans}"
    )


def _no_judgment(figures: Figures) -> Criterion:
    """Judge whether people only confirm what the runbook recommends."""
    answers = sum(one.answers for one in figures.questions)
    as_recommended = sum(one.as_recommended for one in figures.questions)
    why = f"{as_recommended} of {amounts.count(answers, 'answer')} as recommended"
    if answers > as_recommended:
        return Criterion(name="no judgment calls", met=False, why=why)
    if answers >= ENOUGH:
        return Criterion(name="no judgment calls", met=True, why=why)
    if figures.asked or answers or figures.runs < ENOUGH:
        asked = f"only {amounts.count(answers, 'answer')}" if figures.asked else "few runs"
        return Criterion(name="no judgment calls", met=None, why=asked)
    return Criterion(name="no judgment calls", met=True, why="no run asked a question")


def _clear(unclear: Sequence[str] | None) -> Criterion:
    name = "clear success criteria"
    if unclear is None:
        return Criterion(name=name, met=None, why="not in the catalogue")
    why = f"lint: {unclear[0]}" if unclear else "lint: RB202 and RB312 find nothing"
    return Criterion(name=name, met=not unclear, why=why)
