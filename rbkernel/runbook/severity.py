"""Determine the severity of a set of facts by the runbook's own conditions. Pure.

Levels are checked from the most severe down; the first level with a true condition applies. If a
fact is unknown, a condition cannot be evaluated and a more severe level may apply. The result is
then "at least" this level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rbkernel.model import Severity
from rbkernel.runbook.conditions import Facts, judge
from rbkernel.runbook.conditions import unknown as not_known
from rbkernel.runbook.frontmatter_sections import SeverityLevel
from rbkernel.runbook.placeholders import unfilled


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The level, the reason, and the unknown facts that could change the level.

    ``level`` is None if the known facts give no level.
    """

    level: SeverityLevel | None
    because: str = ""
    unknown: tuple[str, ...] = ()


def assess(levels: Sequence[SeverityLevel], facts: Facts) -> Assessment:
    """Return the severity level of the facts.

    Parameters
    ----------
    levels
        The levels of the front matter, in any order. The mildest level without conditions applies
        if no other level does. Any other level with only a text (``when``) cannot be evaluated.
    facts
        Name → value; None means unknown. See `rbkernel.runbook.conditions`.

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
    >>> in_words = SeverityLevel(level="P1", when="data at risk")
    >>> assess([in_words, SeverityLevel(level="P3", when="else")], {}).unknown
    ('data at risk',)
    """
    unknown: list[str] = []
    ranked = sorted((one for one in levels if not unfilled(one.level)), key=_rank)
    for level in ranked:
        conditions = level.any_of or _in_words(level, last=level is ranked[-1])
        for condition in conditions:
            if judge(condition, facts):
                return Assessment(level=level, because=condition, unknown=tuple(unknown))
            unknown += [one for one in not_known(condition, facts) if one not in unknown]
        if not conditions and not unknown:
            return Assessment(level=level, because="no condition of a higher level holds")
    return Assessment(level=None, unknown=tuple(unknown))


def response_time(levels: Sequence[SeverityLevel], severity: str) -> str:
    """Return the response time of the level with a severity; empty if none is stated for it.

    >>> levels = [SeverityLevel(level="SEV1", response_time="Immediate"),
    ...           SeverityLevel(level="SEV2", response_time="15 min")]
    >>> response_time(levels, "P1"), response_time(levels, "SEV3"), response_time(levels, "")
    ('15 min', '', '')
    """
    try:
        wanted = Severity.parse(severity)
    except ValueError:
        return ""
    known = (one for one in levels if not unfilled(one.level) and one.response_time)
    return next((one.response_time for one in known if Severity.parse(one.level) is wanted), "")


def _in_words(level: SeverityLevel, *, last: bool) -> tuple[str, ...]:
    """Return the condition in words (``when``) of a level, for a level without ``any_of``.

    Empty for the mildest level, which applies if no other level does.

    >>> _in_words(SeverityLevel(level="P1", when="data at risk"), last=False)
    ('data at risk',)
    """
    return (level.when,) if level.when and not last and not unfilled(level.when) else ()


def _rank(level: SeverityLevel) -> int:
    return list(Severity).index(Severity.parse(level.level))
