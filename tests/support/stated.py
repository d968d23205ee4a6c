"""What an import makes of one stated condition, against what the corpus says it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rbkernel.runbook.frontmatter_sections import EscalationLevel, Metric
from rbkernel.runbook.quantities import Threshold, converted, duration_s, threshold
from tests.support.markdown_corpus import code_of, front_of, imported

CORPUS = Path(__file__).parents[1] / "corpora/stated_conditions.yaml"
Phrase = dict[str, Any]


def phrases(half: str) -> list[tuple[str, Phrase]]:
    """Return the phrases of one half, each with its category."""
    told = yaml.safe_load(CORPUS.read_text(encoding="utf-8"))
    return [(category, one) for category, halves in told.items() for one in halves[half]]


def understood(category: str, phrase: Phrase) -> bool:
    """Import a document with one phrase, and say whether it became what it must be."""
    [one] = imported(f"# Orders\n\n## Check the service\n\n{phrase['say']}\n".encode())
    front, code = front_of(one), code_of(one)
    if category == "expectations":
        named = ("json=", "rows=", "answers=", "contains=", "expect=", "rb.check(")
        checked = any(name in code for name in named)
        return not checked if phrase.get("text") else str(phrase["call"]) in code
    if category == "thresholds":
        found = front.metrics
        return not found if phrase.get("text") else _has_metric(found, phrase)
    levels = front.escalation.levels
    return (
        not levels if phrase.get("text") else any(_is_level(one, phrase["level"]) for one in levels)
    )


def _has_metric(metrics: tuple[Metric, ...], phrase: Phrase) -> bool:
    [one] = metrics if len(metrics) == 1 else [None]
    if one is None or one.name.lower() != phrase["name"].lower():
        return False
    found, wanted = threshold(one.critical or one.warning), threshold(phrase["limit"])
    return bool(found and wanted and _equal(found, wanted))


def _equal(one: Threshold, other: Threshold) -> bool:
    value = converted(one.value, one.unit, other.unit)
    return (one.below, one.for_s, value) == (other.below, other.for_s, other.value)


def _is_level(level: EscalationLevel, wanted: Phrase) -> bool:
    same_time = "after" not in wanted or level.after_s == duration_s(wanted["after"])
    rest = {name: value for name, value in wanted.items() if name != "after"}
    return same_time and all(getattr(level, name) == value for name, value in rest.items())
