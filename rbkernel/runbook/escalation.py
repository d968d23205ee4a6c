"""When a level of a runbook's escalation is due. Pure."""

from __future__ import annotations

from rbkernel.model import Severity
from rbkernel.runbook.frontmatter_sections import EscalationLevel
from rbkernel.runbook.placeholders import unfilled


def is_due(level: EscalationLevel, attempts: int, lasted_s: float, severity: str) -> bool:
    """Tell whether a level is due, by what can be counted.

    >>> late = EscalationLevel(level="L3", after="1 h", severity="Critical")
    >>> is_due(late, 0, 3601, "SEV1"), is_due(late, 0, 3601, "SEV3"), is_due(late, 0, 60, "SEV1")
    (True, False, False)
    >>> is_due(late, 0, 3601, "")  # nobody knows how bad it is
    True
    >>> is_due(EscalationLevel(level="L2", after_attempts=2), 2, 0, "low")
    True
    """
    if severity and level.severity and not unfilled(level.severity) and _milder(severity, level):
        return False
    tried = level.after_attempts is not None and attempts >= level.after_attempts
    late = level.after_s is not None and lasted_s >= level.after_s
    return tried or late


def _milder(severity: str, level: EscalationLevel) -> bool:
    """Tell whether a severity is milder than a level asks for; words that are none are not.

    >>> [_milder("SEV3", EscalationLevel(severity=words)) for words in ("P1", "P0 only")]
    [True, False]
    """
    scale = list(Severity)
    try:
        return scale.index(Severity.parse(severity)) > scale.index(Severity.parse(level.severity))
    except ValueError:
        return False
