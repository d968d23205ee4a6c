"""Evaluate conditions over facts: ``pending HITL tasks > 50, or oldest > 4h``. Pure.

A condition is a name that is true (``data_at_risk``), a comparison with a limit in any unit of its
quantity, or several of these joined by ``and``, ``or`` and commas. A name matches a fact with the
same words in any order and case, without a unit at its end (``oldest`` matches ``oldest_s``). The
result is None if a part is not understood or its fact is unknown: then a person must decide.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rbkernel.runbook.placeholders import unfilled
from rbkernel.runbook.quantities import converted, needs_unit, threshold

Fact = str | float | bool | None

_COMPARISON = re.compile(r"(?P<name>[^<>=≤≥]+?)\s*(?P<sign>>=|<=|==|=|≥|≤|>|<)\s*(?P<limit>.+)")
_OR = re.compile(r"\s*(?:,\s*or\s|;|\bor\b|\|\|)\s*", re.IGNORECASE)
_AND = re.compile(r"\s*(?:,\s*and\s|\band\b|&&)\s*", re.IGNORECASE)
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "≥": operator.ge,
    "<=": operator.le,
    "≤": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "=": operator.eq,
}
# a unit at the end of a fact's name
_SUFFIXES = {"s": "s", "ms": "ms", "min": "min", "h": "h", "pct": "%", "mb": "MB", "bytes": "B"}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measured fact with its unit; the value is None if it could not be measured."""

    value: float | None
    unit: str = ""


Facts = Mapping[str, Fact | Quantity]


def judge(words: str, facts: Facts) -> bool | None:
    """Tell whether a condition is true; None if only a person can decide.

    >>> judge("attempts >= 2", {"attempts": 2}), judge("data_at_risk", {"data_at_risk": False})
    (True, False)
    >>> judge("attempts >= 2", {}), judge("all is lost", {"all": True})
    (None, None)
    >>> queue = {"HITL tasks pending": 3, "oldest": Quantity(value=32400, unit="s")}
    >>> judge("pending HITL tasks > 50, or oldest > 4h", queue)
    True
    >>> judge("pending HITL tasks > 50 and oldest > 4h", queue)
    False
    >>> judge("oldest > 4h", {"oldest_h": 9}), judge("oldest > 4h", {"oldest": 9})
    (True, None)
    >>> judge("pending HITL tasks > 50 or oldest > 4h", {"hitl_tasks_pending": 51})
    True
    """
    alternatives = [_all(part, facts) for part in _OR.split(words.strip()) if part]
    if True in alternatives:
        return True
    return None if None in alternatives or not alternatives else False


def unknown(words: str, facts: Facts) -> list[str]:
    """Return the names in a condition that cannot be evaluated; free text is returned whole.

    >>> unknown("attempts >= 2 or data_at_risk", {"attempts": 1})
    ['data_at_risk']
    """
    parts = (part for some in _OR.split(words.strip()) for part in _AND.split(some) if part)
    return [_name(part) for part in parts if _one(part, facts) is None]


def comparisons(words: str) -> list[tuple[str, str]]:
    """Return the comparisons in a condition as (name, limit as text).

    >>> comparisons("pending > 50, or oldest > 4h")
    [('pending', '> 50'), ('oldest', '> 4h')]
    """
    parts = (part for some in _OR.split(words.strip()) for part in _AND.split(some) if part)
    found = (_COMPARISON.fullmatch(part.strip()) for part in parts)
    return [(one["name"].strip(), f"{one['sign']} {one['limit']}") for one in found if one]


def _all(words: str, facts: Facts) -> bool | None:
    parts = [_one(part, facts) for part in _AND.split(words) if part]
    if False in parts:
        return False
    return None if None in parts else True


def _one(words: str, facts: Facts) -> bool | None:
    found = _COMPARISON.fullmatch(words.strip())
    if found is None:
        fact = next(_called(words, facts), None)
        value = fact.value if isinstance(fact, Quantity) else fact
        return None if value is None or unfilled(value) else bool(value)
    limit = threshold(found["limit"])
    for fact in _called(found["name"], facts):
        value = _in_unit(fact, limit.unit) if limit else None
        if limit and value is not None:
            return _SIGNS[found["sign"]](value, limit.value)
    return None


def _called(name: str, facts: Facts) -> Iterator[Fact | Quantity]:
    """Yield the facts with this name; a unit at the end of a fact's name becomes its unit."""
    wanted = _plain(name)
    for called, fact in facts.items():
        if _plain(called) == wanted:
            yield fact
            continue
        stem, _, suffix = called.rpartition("_")
        if stem and suffix.lower() in _SUFFIXES and _plain(stem) == wanted:
            number = _number(fact) if not isinstance(fact, Quantity) else fact.value
            yield Quantity(value=number, unit=_SUFFIXES[suffix.lower()])


def _in_unit(fact: Fact | Quantity, unit: str) -> float | None:
    """Return a fact in the unit of a limit; None if it is unknown or cannot be converted."""
    quantity = fact if isinstance(fact, Quantity) else Quantity(value=_number(fact))
    if quantity.value is None:
        return None
    if quantity.unit and unit:
        return converted(quantity.value, quantity.unit, unit)
    # a limit of 4h cannot be compared with a number of unknown unit
    return None if unit and needs_unit(unit) else quantity.value


def _number(fact: Fact) -> float | None:
    if fact is None or unfilled(fact):
        return None
    try:
        return float(fact)
    except ValueError:
        return None


def _name(words: str) -> str:
    found = _COMPARISON.fullmatch(words.strip())
    return (found["name"] if found else words).strip()


def _plain(name: str) -> list[str]:
    """Return the sorted words of a name: equal for ``pending tasks`` and ``tasks_pending``."""
    return sorted(filter(None, re.split(r"[\s_.-]+", name.lower())))
