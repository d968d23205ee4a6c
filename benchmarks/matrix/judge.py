"""Compare the result of a runbook with the truth of a scenario. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.matrix.cells import Result
from rbkernel.model import Finding, Verdict, leading
from rbkernel.sandbox.faults.scenario import WRONG, Scenario

# s that all further cells may take where nobody answers: figures, and samples of the other server
_AFTERWARDS_S = 5.0
_OF_ONE_SERVER = {"RUN-001", "RUN-006", "RUN-007", "RUN-009", "RUN-010", "RUN-018"}
OF_ROWS = "RUN-006"
_VERBS = {"Terminate": "terminate", "Cancel": "cancel"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One runbook on one scenario: ``ok``, ``unknown`` or ``WRONG``, and why."""

    mark: str
    why: str = ""


def judge(
    scenario: Scenario,
    result: Result,
    acts: frozenset[int],
    may: frozenset[int],
    innocent: frozenset[int],
) -> Cell:
    """Compare the result of a runbook with the truth.

    Parameters
    ----------
    scenario
        With its truth.
    result
        The result of the runbook.
    acts
        Process ids of the sessions that the recommended action is for.
    may
        Process ids that another option may act on.
    innocent
        Process ids that no cause may name as culprits.
    """
    truth = scenario.truth
    if result.error:
        return Cell(mark="WRONG", why=result.error)
    if victims := _targets(result) - acts - may:
        return Cell(mark="WRONG", why=f"{len(victims)} victims in a plan")
    if accused := _accused(result) & innocent:
        return Cell(mark="WRONG", why=f"a cause accuses {len(accused)} innocent sessions")
    if result.verdict is Verdict.UNKNOWN and truth.verdicts != {Verdict.UNKNOWN}:
        unseen = [one.actual for one in leading(result.findings)]
        return Cell(mark="unknown", why="; ".join(unseen))
    wrong = [*_concluded(scenario, result), *_recommended(scenario, result, acts)]
    return Cell(mark="WRONG", why="; ".join(wrong)) if wrong else Cell(mark="ok")


def _concluded(scenario: Scenario, result: Result) -> Iterator[str]:
    truth = scenario.truth
    alone = bool(truth.alone) and result.runbook in _OF_ONE_SERVER
    says = truth.alone if alone else truth.says
    if result.verdict not in (WRONG if alone else truth.verdicts):
        yield f"{result.verdict.value}: {result.headline}"
        return
    if truth.well:
        return
    if not _names(says, result.headline):
        yield f"the headline does not name it: {result.headline}"
    if not _names(says, result.title):
        yield f"the notification does not name it: {result.title}"
    opens = (alone and truth.opens_alone) or truth.opens
    if opens not in {"", result.runbook, *_opened(result.findings)}:
        yield f"names {', '.join(_opened(result.findings)) or 'no runbook'}, not {opens}"
    if scenario.within_s is not None and result.first_s is not None:
        if result.first_s > scenario.within_s:
            yield f"the first finding took {result.first_s:.1f} s"
        if result.took_s - result.first_s > _AFTERWARDS_S:
            yield f"took {result.took_s:.1f} s in all: it waited again"


def _recommended(scenario: Scenario, result: Result, acts: frozenset[int]) -> Iterator[str]:
    step = scenario.truth.step
    if result.runbook == OF_ROWS:
        recommended = result.decision.recommended if result.decision else None
        if not re.match(scenario.truth.rows, recommended or ""):
            yield f"recommends {recommended!r}, not to {scenario.truth.rows}"
        return
    if result.runbook != scenario.truth.opens or result.decision is None:
        return
    if step is None:
        if scenario.truth.may:
            return  # whoever it is for, which `_targets` has been held against
        if (
            result.decision.recommended
            and result.decision.recommended.split()[0] in _VERBS.values()
        ):
            yield f"recommends to {result.decision.recommended}"
        return
    verb, _ = step
    if not (result.decision.recommended or "").startswith(verb):
        yield f"recommends {result.decision.recommended!r}, not to {verb}"
    planned = {
        target["pid"]
        for plan in result.plans
        if _VERBS.get(plan.title.split()[0]) == verb
        for target in plan.targets
    }
    if planned != acts:
        yield f"the plan to {verb} is for {sorted(planned) or 'nobody'}, not for {sorted(acts)}"


def _targets(result: Result) -> frozenset[int]:
    return frozenset(
        int(target["pid"]) for plan in result.plans for target in plan.targets if "pid" in target
    )


def _accused(result: Result) -> frozenset[int]:
    """Return the process ids that causes name as culprits."""
    named = (finding.which for finding in result.findings if finding.is_cause)
    return frozenset(int(pid) for which in named for pid in re.findall(r"pid (\d+)", which))


def _opened(findings: Iterable[Finding]) -> list[str]:
    """Return the runbooks that the findings which are not explained name."""
    unexplained = (one for one in findings if one.opens and not one.explained_by)
    return list(dict.fromkeys(one.opens for one in unexplained))


def _names(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
