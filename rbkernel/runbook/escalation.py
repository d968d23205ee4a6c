"""Decide whether a level of a runbook's escalation is due. Pure."""

from __future__ import annotations

from types import MappingProxyType

from rbkernel.model import Severity
from rbkernel.runbook.conditions import Facts, judge
from rbkernel.runbook.frontmatter_sections import EscalationLevel
from rbkernel.runbook.placeholders import unfilled


def is_due(
    level: EscalationLevel,
    attempts: int,
    lasted_s: float,
    severity: str,
    facts: Facts = MappingProxyType({}),
) -> bool | None:
    """Tell whether an escalation level is due; None if only a person can decide.

    A level with a severity but without a time and a number of attempts is due as soon as that
    severity is reached. A level with a condition (``when``) is due when the facts fulfil it.

    >>> late = EscalationLevel(level="L3", after="1 h", severity="Critical")
    >>> is_due(late, 0, 3601, "SEV1"), is_due(late, 0, 3601, "SEV3"), is_due(late, 0, 60, "SEV1")
    (True, False, False)
    >>> is_due(late, 0, 3601, "")  # the severity is not known: it counts
    True
    >>> is_due(EscalationLevel(level="L2", after_attempts=2), 2, 0, "low")
    True
    >>> at_once = EscalationLevel(level="L2", severity="SEV1")
    >>> is_due(at_once, 0, 0, "P0"), is_due(at_once, 0, 0, "SEV3"), is_due(at_once, 0, 0, "")
    (True, False, None)
    >>> is_due(EscalationLevel(level="L4", when="data may be lost"), 0, 0, "SEV1") is None
    True
    >>> full = EscalationLevel(level="L3", when="pending > 200")
    >>> is_due(full, 0, 0, "", {"pending": 300}), is_due(full, 0, 0, "", {"pending": 3})
    (True, False)
    """
    if not applies(level, severity):
        return False
    wanted = _severity_of(level)
    tried = level.after_attempts is not None and attempts >= level.after_attempts
    late = level.after_s is not None and lasted_s >= level.after_s
    if tried or late:
        return True
    if level.when:
        return judge(level.when, facts)
    timed = level.after_attempts is not None or level.after_s is not None
    if timed or not wanted:
        return False
    return True if severity else None


def applies(level: EscalationLevel, severity: str) -> bool:
    """Tell whether a level is for incidents of a severity; an unknown severity counts.

    >>> [applies(EscalationLevel(level="L4", severity="P0"), one) for one in ("P0", "P1", "")]
    [True, False, True]
    """
    wanted = _severity_of(level)
    return not (severity and wanted and _milder(severity, wanted))


def _severity_of(level: EscalationLevel) -> str:
    """Return the severity of a level, from its field or its name; empty if it names none.

    >>> [_severity_of(EscalationLevel(**one)) for one in ({"level": "P0"}, {"level": "L2"})]
    ['P0', '']
    """
    if level.severity and not unfilled(level.severity):
        return level.severity
    try:
        Severity.parse(level.level)
    except ValueError:
        return ""
    return level.level


def _milder(severity: str, wanted: str) -> bool:
    """Tell whether a severity is milder than another; False if a word is no severity.

    >>> [_milder("SEV3", words) for words in ("P1", "P0 only")]
    [True, False]
    """
    scale = list(Severity)
    try:
        return scale.index(Severity.parse(severity)) > scale.index(Severity.parse(wanted))
    except ValueError:
        return False
