"""Find the diagnostics of rbkernel that measure the metrics and conditions of a Markdown runbook.

Pure. A diagnostic is named only if the words and the unit are unambiguous; a human decides about
the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rbkernel.runbook import conditions, quantities
from rbkernel.runbook.placeholders import unfilled

# words → unit of the limit, and what measures it
_MEASURED: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        r"replication lag|replay lag",
        "s",
        {"diagnostic": "replication/lag", "column": "replay_lag_s"},
    ),
    (
        r"connection (?:pool|slots|usage|utili[sz]ation)",
        "%",
        {"diagnostic": "connections/saturation", "column": "used_pct"},
    ),
    (
        r"(?:outbox|queue) (?:depth|backlog)",
        "",
        {"diagnostic": "queue/depth", "column": "messages", "agg": "sum"},
    ),
    (
        r"(?=.*\b(?:hitl|human tasks?)\b)(?!.*\boldest\b)",
        "",
        {"diagnostic": "queue/tasks", "column": "tasks", "agg": "sum"},
    ),
    (
        r"(?=.*\b(?:hitl|human tasks?)\b)(?=.*\boldest\b)",
        "s",
        {"diagnostic": "queue/tasks", "column": "oldest_s"},
    ),
)


def metric(row: dict[str, str]) -> dict[str, Any]:
    """Return a metric of the front matter with the diagnostic that measures it, if there is one."""
    row = {field: words for field, words in row.items() if field == "name" or not unfilled(words)}
    limit = quantities.threshold(row.get("critical") or row.get("warning"))
    return {**row, **(_how(row.get("name", ""), limit) or {})} if limit else dict(row)


def metrics(condition: str) -> list[dict[str, Any]]:
    """Return those metrics in a condition that a diagnostic measures.

    If a part of the condition names no subject, the subject of the part before it is used.

    >>> found = metrics("pending HITL tasks > 50, or oldest > 4h")
    >>> [(one["name"], one["warning"]) for one in found]
    [('pending HITL tasks', '> 50'), ('oldest: pending HITL tasks', '> 4h')]
    >>> metrics("llm.cost.per_hour > baseline x 2"), metrics("a user complains")
    ([], [])
    """
    found, subject = [], ""
    for name, limit, words in _parts(condition):
        how = _how(name, limit)
        if how is None and (how := _how(f"{name} {subject}", limit)):
            name = f"{name}: {subject}"
        elif how:
            subject = name
        if how:
            found.append({"name": name, "warning": words, **how})
    return found


def _parts(condition: str) -> Iterator[tuple[str, quantities.Threshold, str]]:
    for name, words in conditions.comparisons(condition):
        if limit := quantities.threshold(words):
            yield name, limit, words


def _how(name: str, limit: quantities.Threshold) -> dict[str, str] | None:
    for pattern, unit, how in _MEASURED:
        fits = quantities.converted(1, limit.unit, unit) is not None
        if fits and re.search(pattern, name, re.IGNORECASE):
            return {**how, **({"unit": unit} if unit else {})}
    return None
