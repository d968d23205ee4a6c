"""The figures of each runbook and of all together, from runs and incidents. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rbkernel.evidence.incident import instant
from rbkernel.incidents.statistics.gather import Gathered
from rbkernel.incidents.statistics.of_incident import GivenAnswer, IncidentFacts
from rbkernel.incidents.statistics.of_run import RunFacts

# fewer than three equal answers or runs may be chance
ENOUGH = 3


@dataclass(frozen=True, kw_only=True)
class Time:
    """A median time in s, None without any; ``counted`` of ``cases`` have a time.

    >>> Time.of([60.0, None, 240.0, 120.0])
    Time(median_s=120.0, counted=3, cases=4)
    >>> Time.of([None])
    Time(median_s=None, counted=0, cases=1)
    """

    median_s: float | None
    counted: int
    cases: int

    @classmethod
    def of(cls, seconds: Iterable[float | None]) -> Time:
        """Return the median of those that are known."""
        cases = list(seconds)
        known = [one for one in cases if one is not None]
        median_s = statistics.median(known) if known else None
        return cls(median_s=median_s, counted=len(known), cases=len(cases))


@dataclass(frozen=True, kw_only=True)
class Question:
    """How often people gave each answer to a question of a runbook."""

    question: str
    choices: Mapping[str, int]
    as_recommended: int

    @property
    def answers(self) -> int:
        """The number of answers."""
        return sum(self.choices.values())

    @property
    def always_alike(self) -> bool:
        """Whether it was answered several times, and always alike."""
        return len(self.choices) == 1 and self.answers >= ENOUGH


@dataclass(frozen=True, kw_only=True)
class StepUse:
    """In how many runs a step was executed, and in how many of them a cell of it failed."""

    step: str
    runs: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one runbook, or of all.

    ``occasions`` is the number of incidents in which somebody needed it: they have an alert, a
    person opened them, or a person executed the cells. ``alerted`` incidents have an alert and
    began in the period. ``run`` is the time of its headless runs. ``verdicts`` counts the runs by
    verdict. ``unsafe_plans`` of ``plans`` proposals name no undo or no verification. ``by_hand``
    counts the plans that people carried out, by title; those of an incident count for each runbook
    that ran in it. ``broken_glass`` counts the actions that a person approved alone.
    """

    runbook: str
    title: str
    runs: int
    headless: int
    occasions: int
    alerted: int
    verdicts: Mapping[str, int]
    run: Time
    detect: Time
    acknowledge: Time
    resolve: Time
    questions: tuple[Question, ...] = ()
    asked: int = 0
    plans: int = 0
    unsafe_plans: int = 0
    steps: tuple[StepUse, ...] = ()
    by_hand: Mapping[str, int] = field(default_factory=dict)
    incidents: tuple[str, ...] = ()
    broken_glass: int = 0


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The figures of a period: of each runbook, the most used first, and of all together."""

    since: datetime
    until: datetime
    runbooks: tuple[Figures, ...]
    total: Figures
    skipped: tuple[str, ...]
    drills: int
    silenced: int

    @property
    def days(self) -> float:
        """The length of the period."""
        return (self.until - self.since) / timedelta(days=1)


def statistics_of(gathered: Gathered) -> Statistics:
    """Return the figures of the runs and incidents that were gathered."""
    of_each: dict[str, list[RunFacts]] = {}
    for run in gathered.runs:
        of_each.setdefault(run.runbook, []).append(run)
    answers = [one for incident in gathered.incidents for one in incident.answers]
    found = [
        _figures(
            runbook,
            runs,
            _with_a_run(runs, gathered),
            [one for one in answers if one.runbook == runbook],
            gathered,
        )
        for runbook, runs in of_each.items()
    ]
    return Statistics(
        since=gathered.since,
        until=gathered.until,
        runbooks=tuple(sorted(found, key=lambda one: (-one.occasions, one.runbook))),
        total=_figures("", gathered.runs, gathered.incidents, answers, gathered),
        skipped=gathered.skipped,
        drills=gathered.drills,
        silenced=len(gathered.silenced),
    )


def _with_a_run(runs: Iterable[RunFacts], gathered: Gathered) -> list[IncidentFacts]:
    of_these = {gathered.of_run[run.run_id] for run in runs}
    return [one for one in gathered.incidents if one.id in of_these]


def _figures(
    runbook: str,
    runs: Sequence[RunFacts],
    incidents: Sequence[IncidentFacts],
    answers: Sequence[GivenAnswer],
    gathered: Gathered,
) -> Figures:
    found, responded = _first(runs, gathered, "found_at"), _first(runs, gathered, "answered_at")
    alerted = [one for one in incidents if one.alerted_at]
    plans = [safe for run in runs for safe in run.plans.values()]
    return Figures(
        runbook=runbook,
        title=next((run.title for run in reversed(runs) if run.title), ""),
        runs=len(runs),
        headless=sum(run.headless for run in runs),
        occasions=len(
            {
                home
                for run in runs
                if (home := gathered.of_run[run.run_id]) not in gathered.silenced
                and (home in gathered.needed or not run.headless)
            }
        ),
        alerted=len(alerted),
        verdicts=dict(Counter(run.verdict.value for run in runs)),
        run=Time.of(run.seconds for run in runs if run.headless),
        detect=Time.of(one.after_s(found.get(one.id, "")) for one in alerted),
        acknowledge=Time.of(
            one.after_s(_earlier(one.responded_at, responded.get(one.id, ""))) for one in alerted
        ),
        resolve=Time.of(one.after_s(one.ended_at) for one in alerted),
        questions=_questions(answers),
        asked=sum(len(run.asked) for run in runs),
        plans=len(plans),
        unsafe_plans=plans.count(False),
        steps=_steps(runs),
        by_hand=dict(Counter(title for one in incidents for title in one.by_hand)),
        incidents=tuple(sorted(one.id for one in incidents)),
        broken_glass=sum(one.broken_glass for one in incidents),
    )


def _first(runs: Iterable[RunFacts], gathered: Gathered, name: str) -> dict[str, str]:
    """Return for each incident the earliest of a time of its runs."""
    first: dict[str, str] = {}
    for run in runs:
        id_ = gathered.of_run[run.run_id]
        first[id_] = _earlier(first.get(id_, ""), getattr(run, name))
    return first


def _earlier(one: str, other: str) -> str:
    """Return the earlier of two times; an empty one is unknown."""
    return min(filter(None, (one, other)), key=instant, default="")


def _questions(answers: Iterable[GivenAnswer]) -> tuple[Question, ...]:
    of_each: dict[str, list[GivenAnswer]] = {}
    for one in answers:
        of_each.setdefault(one.question, []).append(one)
    return tuple(
        Question(
            question=question,
            choices=dict(Counter(one.choice for one in given)),
            as_recommended=sum(one.as_recommended for one in given),
        )
        for question, given in of_each.items()
    )


def _steps(runs: Iterable[RunFacts]) -> tuple[StepUse, ...]:
    """Return the steps that were executed: those that failed most often first, then by use."""
    used: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for run in runs:
        used.update(run.steps.keys())
        failed.update(step for step, is_failed in run.steps.items() if is_failed)
    found = [StepUse(step=step, runs=number, failed=failed[step]) for step, number in used.items()]
    return tuple(sorted(found, key=lambda one: (-one.failed, -one.runs)))
