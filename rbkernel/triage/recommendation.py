"""Which option of a decision the findings speak for, and why. Pure.

Invariant: what is not known never reads as false. A harmless option (one that begins with `wait`,
or the default at the end) is recommended only where no condition before it, and no finding of the
run, is unknown; else the option that begins with `escalate` is, or none.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from rbkernel.checks.assessed import Assessed
from rbkernel.errors import ParameterError
from rbkernel.model import Finding, folded, leading
from rbkernel.sources.postgres.diagnosis import Diagnosis

WAIT, ESCALATE = "wait", "escalate"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """An option, or None, with the reason; ``needed`` is False when nothing has to be done."""

    option: str | None
    reason: str
    needed: bool


@runtime_checkable
class Answered(Protocol):
    """A condition on the answer to another question."""

    @property
    def state(self) -> bool | None:
        """True or False once the question is answered, else None."""


@dataclass(frozen=True)
class Truth:
    """Whether a condition holds (None: nobody knows), and what speaks for that."""

    holds: bool | None
    why: str = ""


def by_cause(
    diagnosis: Diagnosis, options: Sequence[str], findings: Iterable[Finding]
) -> Recommendation:
    """Choose by what a diagnosis found: by the first word of the options.

    That is the verb of the least harmful action of the first cause. Without a cause it is ``wait``
    where all findings are ok, else ``escalate``. None where no option begins with such a word.
    """
    well = all(one.ok for one in findings)
    first = diagnosis.first
    if first is None:
        word, reason = WAIT if well else ESCALATE, "no cause was found"
    else:
        word, reason = _verb(diagnosis), first.next_step
    # what helps may be no option here, but of the runbook that the cause opens
    option = _beginning(word, options) or _beginning(ESCALATE, options)
    return Recommendation(option=option, reason=reason, needed=not well)


def offers(options: Sequence[str], diagnosis: Diagnosis) -> bool:
    """Tell whether one of the options is what the first cause of a diagnosis calls for."""
    return diagnosis.first is not None and _beginning(_verb(diagnosis), options) is not None


def by_conditions(conditions: Mapping[str, Any], findings: Iterable[Finding]) -> Recommendation:
    """Choose the first option whose condition holds.

    Parameters
    ----------
    conditions
        Option → condition, in the order in which they count, see `truth`.
    findings
        All findings of the run.

    >>> from rbkernel.model import Verdict
    >>> late = Finding(title="Lag", verdict=Verdict.CRITICAL, expected="", actual="9 s")
    >>> by_conditions({"escalate": late, "wait": True}, [late]).option
    'escalate'
    >>> unseen = Finding(title="Lag", verdict=Verdict.UNKNOWN, expected="", actual="no answer")
    >>> found = by_conditions({"halt": unseen, "wait": True, "escalate": False}, [unseen])
    >>> found.option, found.reason
    ('escalate', 'not known: Lag (no answer)')
    """
    found = [*findings]
    unknown: list[str] = []
    default = [*conditions][-1]
    for option, condition in conditions.items():
        told = truth(condition)
        if told.holds is None:
            unknown.append(told.why or f"whether to {option}")
        if not told.holds:
            continue
        harmless = option == default and condition is True and _word(option) != ESCALATE
        if harmless or _word(option) == WAIT:
            unknown = unknown or [_unseen(one) for one in folded(found) if one.unknown]
            if unknown:
                escalate = _beginning(ESCALATE, [*conditions])
                return Recommendation(option=escalate, reason=_not_known(unknown), needed=True)
            why = told.why or "no other condition holds"
            return Recommendation(option=option, reason=why, needed=False)
        reasons = [told.why or _led_by(found), _not_known(unknown) if unknown else ""]
        return Recommendation(option=option, reason="; ".join(filter(None, reasons)), needed=True)
    reason = _not_known(unknown) if unknown else "no condition holds"
    option_ = _beginning(ESCALATE, [*conditions]) if unknown else None
    return Recommendation(option=option_, reason=reason, needed=True)


def truth(condition: Any) -> Truth:
    """Tell whether a condition holds.

    A finding, and what `rb.assess` returned, holds when it is wrong (warning or critical). A list
    holds when one of its conditions does. ``choice.chose(…)`` holds as it was answered. A number
    holds unless it is 0; None and NaN are unknown.

    Raises
    ------
    ParameterError
        It is something else, such as a text or a column.

    >>> truth([False, None]), truth([None, True]), truth([])
    (Truth(holds=None, why=''), Truth(holds=True, why=''), Truth(holds=False, why=''))
    """
    if isinstance(condition, Finding):
        if condition.unknown:
            return Truth(None, _unseen(condition))
        return Truth(condition.wrong, condition.headline)
    if isinstance(condition, Assessed | list | tuple):
        return _any([truth(one) for one in condition])
    value = condition.state if isinstance(condition, Answered) else condition
    if value is None or type(value).__name__ == "NAType":
        return Truth(None)
    if isinstance(value, numbers.Real) or type(value).__name__ == "bool":  # numpy's, too
        return Truth(None if math.isnan(value) else bool(value))
    raise ParameterError(
        f"rb.decide: a condition is {type(value).__name__}, which is neither true nor false",
        next_step="give a finding, a comparison, or a list of them; of a column .any() or .all()",
    )


def _any(truths: Sequence[Truth]) -> Truth:
    holding = [one for one in truths if one.holds]
    if holding:
        return Truth(True, "; ".join(dict.fromkeys(one.why for one in holding if one.why)))
    unknown = [one.why for one in truths if one.holds is None]
    return Truth(None, "; ".join(filter(None, unknown))) if unknown else Truth(False)


def _verb(diagnosis: Diagnosis) -> str:
    first = diagnosis.first
    assert first is not None
    return (first.remedy.verb if first.remedy else first.option) or ESCALATE


def _word(option: str) -> str:
    return next(iter(option.split()), "").rstrip(",:").lower()


def _beginning(word: str, options: Sequence[str]) -> str | None:
    return next((option for option in options if _word(option) == word), None)


def _led_by(findings: Sequence[Finding]) -> str:
    """Return what is wrong, where a condition that is a mere True does not say."""
    return "; ".join(one.headline for one in leading(findings) if one.wrong)


def _unseen(finding: Finding) -> str:
    return f"{finding.title} ({finding.actual})"


def _not_known(what: Iterable[str]) -> str:
    return f"not known: {'; '.join(dict.fromkeys(what))}"
