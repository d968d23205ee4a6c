"""What a runbook told, held against the truth of a scenario. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.matrix.cells import Told
from rbkernel.model import Finding, Verdict, leading
from rbkernel.sandbox.faults.scenario import WRONG, Scenario

# s that all further cells may take where nobody answers: figures, and samples of the other server
_AFTERWARDS_S = 5.0
_OF_ONE_SERVER = {"RUN-001", "RUN-006", "RUN-007"}
OF_ROWS = "RUN-006"
_VERBS = {"Terminate": "terminate", "Cancel": "cancel"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One runbook on one scenario: ``ok``, ``unknown`` or ``WRONG``, and why."""

    mark: str
    why: str = ""


def judge(
    scenario: Scenario,
    told: Told,
    acts: frozenset[int],
    may: frozenset[int],
    innocent: frozenset[int],
) -> Cell:
    """Hold what a runbook told against the truth.

    Parameters
    ----------
    scenario
        With its truth.
    told
        What the runbook came to.
    acts
        Process ids of the sessions that the recommended action is for.
    may
        Those that another option may act on as well.
    innocent
        Those that no cause may accuse.
    """
    truth = scenario.truth
    if told.error:
        return Cell(mark="WRONG", why=told.error)
    if victims := _targets(told) - acts - may:
        return Cell(mark="WRONG", why=f"{len(victims)} victims in a plan")
    if accused := _accused(told) & innocent:
        return Cell(mark="WRONG", why=f"a cause accuses {len(accused)} innocent sessions")
    if told.verdict is Verdict.UNKNOWN and truth.verdicts != {Verdict.UNKNOWN}:
        unseen = [one.actual for one in leading(told.findings)]
        return Cell(mark="unknown", why="; ".join(unseen))
    wrong = [*_concluded(scenario, told), *_recommended(scenario, told, acts)]
    return Cell(mark="WRONG", why="; ".join(wrong)) if wrong else Cell(mark="ok")


def _concluded(scenario: Scenario, told: Told) -> Iterator[str]:
    truth = scenario.truth
    alone = bool(truth.alone) and told.runbook in _OF_ONE_SERVER
    says = truth.alone if alone else truth.says
    if told.verdict not in (WRONG if alone else truth.verdicts):
        yield f"{told.verdict.value}: {told.headline}"
        return
    if truth.well:
        return
    if not _names(says, told.headline):
        yield f"the headline does not name it: {told.headline}"
    if not _names(says, told.title):
        yield f"the notification does not name it: {told.title}"
    if truth.opens not in {"", told.runbook, *_opened(told.findings)}:
        yield f"names {', '.join(_opened(told.findings)) or 'no runbook'}, not {truth.opens}"
    if scenario.within_s is not None and told.first_s is not None:
        if told.first_s > scenario.within_s:
            yield f"the first finding took {told.first_s:.1f} s"
        if told.took_s - told.first_s > _AFTERWARDS_S:
            yield f"took {told.took_s:.1f} s in all: it waited again"


def _recommended(scenario: Scenario, told: Told, acts: frozenset[int]) -> Iterator[str]:
    step = scenario.truth.step
    if told.runbook == OF_ROWS:
        recommended = told.decision.recommended if told.decision else None
        if not re.match(scenario.truth.rows, recommended or ""):
            yield f"recommends {recommended!r}, not to {scenario.truth.rows}"
        return
    if told.runbook != scenario.truth.opens or told.decision is None:
        return
    if step is None:
        if scenario.truth.may:
            return  # whoever it is for, which `_targets` has been held against
        if told.decision.recommended and told.decision.recommended.split()[0] in _VERBS.values():
            yield f"recommends to {told.decision.recommended}"
        return
    verb, _ = step
    if not (told.decision.recommended or "").startswith(verb):
        yield f"recommends {told.decision.recommended!r}, not to {verb}"
    planned = {
        target["pid"]
        for plan in told.plans
        if _VERBS.get(plan.title.split()[0]) == verb
        for target in plan.targets
    }
    if planned != acts:
        yield f"the plan to {verb} is for {sorted(planned) or 'nobody'}, not for {sorted(acts)}"


def _targets(told: Told) -> frozenset[int]:
    return frozenset(
        int(target["pid"]) for plan in told.plans for target in plan.targets if "pid" in target
    )


def _accused(told: Told) -> frozenset[int]:
    """Return the process ids that causes name as culprits."""
    named = (finding.which for finding in told.findings if finding.is_cause)
    return frozenset(int(pid) for which in named for pid in re.findall(r"pid (\d+)", which))


def _opened(findings: Iterable[Finding]) -> list[str]:
    """Return the runbooks that the findings which are not explained name."""
    told = (one for one in findings if one.opens and not one.explained_by)
    return list(dict.fromkeys(one.opens for one in told))


def _names(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
