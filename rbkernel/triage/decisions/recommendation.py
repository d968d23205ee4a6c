"""Choose which option of a decision to recommend, from the findings, with the reason. Pure.

Invariant: unknown is never treated as false. A harmless option (one that begins with `wait`, or the
default at the end) is recommended only if no condition before it and no finding of the run is
unknown. Otherwise the option that begins with `escalate` is recommended, or none.
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
    """The option to recommend, or None, with the reason; ``needed`` is False if nothing has to be
    done.
    """

    option: str | None
    reason: str
    needed: bool


@runtime_checkable
class Answered(Protocol):
    """A condition on the answer to another decision."""

    @property
    def state(self) -> bool | None:
        """True or False once the other question is answered; None before."""


@dataclass(frozen=True)
class Truth:
    """Whether a condition holds, None if that is unknown, and the reason."""

    holds: bool | None
    why: str = ""


def by_cause(
    diagnosis: Diagnosis, options: Sequence[str], findings: Iterable[Finding]
) -> Recommendation:
    """Choose the option to recommend by the first cause of a diagnosis.

    The option begins with the verb of the least harmful action for this cause. If there is no
    cause, it begins with ``wait`` if all findings are ok, else with ``escalate``. If no option
    begins with that word, the option is ``escalate``, if there is one, else None.
    """
    well = all(one.ok for one in findings)
    first = diagnosis.first
    if first is None:
        word, reason = WAIT if well else ESCALATE, "no cause was found"
    else:
        word, reason = _verb(diagnosis), first.next_step
    # the action may not be an option here, but in the runbook that the cause opens
    option = _beginning(word, options) or _beginning(ESCALATE, options)
    return Recommendation(option=option, reason=reason, needed=not well)


def offers(options: Sequence[str], diagnosis: Diagnosis) -> bool:
    """Return whether one of the options is the action for the first cause of a diagnosis."""
    return diagnosis.first is not None and _beginning(_verb(diagnosis), options) is not None


def by_conditions(conditions: Mapping[str, Any], findings: Iterable[Finding]) -> Recommendation:
    """Recommend the first option whose condition holds.

    Parameters
    ----------
    conditions
        Option → condition, in order of precedence; see `truth`.
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
        condition_value = _of_option(option, condition)
        if condition_value.holds is None:
            unknown.append(condition_value.why or f"whether to {option}")
        if not condition_value.holds:
            continue
        harmless = option == default and condition is True and _word(option) != ESCALATE
        if harmless or _word(option) == WAIT:
            unknown = unknown or [_unseen(one) for one in folded(found) if one.unknown]
            if unknown:
                escalate = _beginning(ESCALATE, [*conditions])
                return Recommendation(option=escalate, reason=_not_known(unknown), needed=True)
            why = condition_value.why or "no other condition holds"
            return Recommendation(option=option, reason=why, needed=False)
        reasons = [condition_value.why or _led_by(found), _not_known(unknown) if unknown else ""]
        return Recommendation(option=option, reason="; ".join(filter(None, reasons)), needed=True)
    reason = _not_known(unknown) if unknown else "no condition holds"
    option_ = _beginning(ESCALATE, [*conditions]) if unknown else None
    return Recommendation(option=option_, reason=reason, needed=True)


def truth(condition: Any) -> Truth:
    """Return whether a condition of an option holds, with the reason.

    A finding or a result of `rb.assess` holds if it is warning or critical. A list holds if one of
    its conditions holds. ``choice.chose(…)`` holds if one of its options was chosen. A number holds
    unless it is 0; None and NaN are unknown.

    Raises
    ------
    ParameterError
        The condition has another type, such as a text or a column.

    >>> truth([False, None]), truth([None, True]), truth([])
    (Truth(holds=None, why=''), Truth(holds=True, why=''), Truth(holds=False, why=''))
    """
    if isinstance(condition, Finding):
        # without a value, it has only the verdict of the cause that kept it from being checked
        if condition.unknown or (condition.explained_by and condition.value is None):
            return Truth(None, _unseen(condition))
        return Truth(condition.wrong, _words(condition))
    if isinstance(condition, Assessed | list | tuple):
        return _any([truth(one) for one in condition])
    # a frame has an attribute for each column, which may be called "state"
    answered = hasattr(type(condition), "state") and isinstance(condition, Answered)
    value = condition.state if answered else condition
    if value is None or type(value).__name__ == "NAType":
        return Truth(None)
    if isinstance(value, numbers.Real) or type(value).__name__ == "bool":  # numpy's, too
        return Truth(None if math.isnan(value) else bool(value))
    raise ParameterError(
        f"the condition is {_kind(value)}, which is neither true nor false",
        where="rb.decide",
        next_step="give a finding, a comparison, or a list of them; for a column, use .any()"
        " or .all()",
    )


def _of_option(option: str, condition: Any) -> Truth:
    try:
        return truth(condition)
    except ParameterError as error:
        raise ParameterError(
            f"the option {option!r}: {error.what}", where=error.where, next_step=error.next_step
        ) from None


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else f"a {type(value).__name__}"


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
    """Return as the reason what the findings say that made a condition true."""
    return "; ".join(_words(one) for one in leading(findings) if one.wrong)


def _words(finding: Finding) -> str:
    """Return what a finding says: its cause in words; without one, what was measured.

    >>> from rbkernel.model import Verdict
    >>> _words(Finding(title="Lag", verdict=Verdict.CRITICAL, expected="below 2 s", actual="9 s"))
    'Lag: 9 s'
    """
    known = finding.is_cause or finding.cause
    return finding.headline if known else f"{finding.title}: {finding.actual}"


def _unseen(finding: Finding) -> str:
    return f"{finding.title} ({finding.actual})"


def _not_known(what: Iterable[str]) -> str:
    return f"not known: {'; '.join(dict.fromkeys(what))}"
