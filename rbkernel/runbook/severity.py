"""The severity assessment: which level a set of facts has, by the runbook's own conditions.

Pure. From the most severe level down, the first with a condition that holds is the level. A
condition that cannot be judged, because its fact is not known, keeps open whether a more severe
level applies: then the answer is "at least", and never a calm one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rbkernel.model import Severity
from rbkernel.runbook.frontmatter_sections import SeverityLevel
from rbkernel.runbook.placeholders import unfilled

Fact = str | float | bool | None
_CONDITION = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\s*(?P<sign>>=|<=|>|<|==)\s*(?P<value>\S+))?")
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The level, why, and what would have to be known to be sure.

    ``level`` is None when nothing is known that would give one.
    """

    level: SeverityLevel | None
    because: str = ""
    unknown: tuple[str, ...] = ()


def assess(levels: Sequence[SeverityLevel], facts: Mapping[str, Fact]) -> Assessment:
    """Return the level that the facts have.

    Parameters
    ----------
    levels
        As the front matter has them, in any order; one without conditions is what is left.
    facts
        Name → value; None is not known.

    >>> levels = [SeverityLevel(level="SEV1", any_of=["users_pct >= 90", "data_at_risk"]),
    ...           SeverityLevel(level="SEV2", any_of=["users_pct >= 10"]),
    ...           SeverityLevel(level="SEV3")]
    >>> assess(levels, {"users_pct": 40, "data_at_risk": False}).level.level
    'SEV2'
    >>> assess(levels, {"users_pct": 40, "data_at_risk": None}).unknown
    ('data_at_risk',)
    >>> assess(levels, {"users_pct": 0, "data_at_risk": False}).level.level
    'SEV3'
    >>> assess(levels, {}).level is None
    True
    """
    unknown: list[str] = []
    for level in sorted((one for one in levels if not unfilled(one.level)), key=_rank):
        for condition in level.any_of:
            holds = judge(condition, facts)
            if holds:
                return Assessment(level=level, because=condition, unknown=tuple(unknown))
            if holds is None and (name := _fact_of(condition)) not in unknown:
                unknown.append(name)
        if not level.any_of and not unknown:
            return Assessment(level=level, because="no condition of a higher level holds")
    return Assessment(level=None, unknown=tuple(unknown))


def judge(condition: str, facts: Mapping[str, Fact]) -> bool | None:
    """Tell whether a condition holds; None when its fact is not known, or it is not understood.

    >>> judge("attempts >= 2", {"attempts": 2}), judge("data_at_risk", {"data_at_risk": False})
    (True, False)
    >>> judge("attempts >= 2", {}), judge("all is lost", {"all": True})
    (None, None)
    """
    found = _CONDITION.fullmatch(condition.strip())
    value = facts.get(found["name"]) if found else None
    if found is None or value is None or unfilled(value):
        return None
    if found["sign"] is None:
        return bool(value)
    try:
        return _SIGNS[found["sign"]](float(value), float(found["value"].rstrip("%")))
    except ValueError:
        return None


def _fact_of(condition: str) -> str:
    found = _CONDITION.fullmatch(condition.strip())
    return found["name"] if found else condition


def _rank(level: SeverityLevel) -> int:
    return list(Severity).index(Severity.parse(level.level))
