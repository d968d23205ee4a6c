"""Format coverage as a table, as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rbkernel import amounts
from rbkernel.model import Verdict
from rbkernel.runbook.alerts import AlertSeverity
from rbkernel.runbook.coverage.comparison import Coverage, Row
from rbkernel.runbook.links import Link

COLUMNS = ("", "severity", "alert", "runbook", "problem")
_HOW = {"trigger": "", "labels": " if its labels fit", "url": " by its URL only"}


def table(covered: Coverage) -> list[tuple[str, ...]]:
    """Return one row per alert, the worst first, and one more row for each further gap."""
    lines: list[tuple[str, ...]] = []
    for row in sorted(covered.rows, key=_urgency):
        runbook = ", ".join(row.runbooks) + _HOW.get(row.how, "")
        gaps = [f"{gap.what}" for gap in row.gaps] or [_nothing(row)]
        mark = verdict(row).value.upper()
        lines.append((mark, row.alert.severity.value, row.alert.name, runbook, gaps[0]))
        lines += [("", "", "", "", more) for more in gaps[1:]]
    return lines


def verdict(row: Row) -> Verdict:
    """Return the worst verdict of an alert's gaps; ok if there is no gap."""
    return Verdict.worst([Verdict.OK, *(gap.verdict for gap in row.gaps)])


def rest(covered: Coverage) -> Iterator[str]:
    """Yield the lines that follow the table of alerts, such as runbooks without an alert."""
    for one in covered.without_alert:
        yield f"WARNING  {one.id} {one.front_matter.title}: no alert starts this runbook"
    for name, entry in covered.unanswered.items():
        yield f"WARNING  {name} {entry.title}: no runbook links this id"
    for need in covered.must_have:
        if not need.runbooks:
            mark, said = ("ok     ", f"not needed: {need.waived}") if need.waived else (
                "WARNING", "no runbook")  # fmt: skip
            yield f"{mark}  must-have, {need.category}: {need.name}: {said}"
    yield ""
    yield from _next(covered)
    yield summary(covered)


def _next(covered: Coverage) -> Iterator[str]:
    """Yield the next steps for the three worst gaps, without duplicates."""
    ranked = sorted(
        ((gap.verdict.rank, gap.next_step) for row in covered.rows for gap in row.gaps),
        reverse=True,
    )
    steps = list(dict.fromkeys(step for _, step in ranked))
    for step in steps[:3]:
        yield f"Next: {step}."
    if len(steps) > 3:
        yield f"({amounts.count(len(steps) - 3, 'more step')}: --json lists all)"


def summary(covered: Coverage) -> str:
    """Return a summary of the coverage in one line."""
    parts = []
    for level in AlertSeverity:
        rows = [row for row in covered.rows if row.alert.severity is level]
        parts.append(f"{level.value} {sum(row.covered for row in rows)} of {len(rows)}")
    parts[-1] += ", where none is needed"
    wanting = [row for row in covered.rows if row.needed]
    total = sum(row.covered for row in wanting)
    dead = sum(row.link is Link.DEAD for row in covered.rows)
    needed = [one for one in covered.must_have if not one.waived]
    there = sum(bool(one.runbooks) for one in needed)
    return (
        f"{covered.verdict.value.upper()}: {total} of {len(wanting)} alerts that need"
        " a runbook have one"
        f" ({', '.join(parts)}); {amounts.count(dead, 'broken runbook_url link')};"
        f" {amounts.count(len(covered.without_alert), 'runbook')} without an alert;"
        f" must-haves covered: {there} of {len(needed)}"
    )


def as_json(covered: Coverage) -> dict[str, Any]:
    """Return the coverage as plain JSON values."""
    return {
        "verdict": covered.verdict.value,
        "alerts": [_row(row) for row in covered.rows],
        "runbooks_without_alert": [one.id for one in covered.without_alert],
        "unanswered_ids": {name: entry.title for name, entry in covered.unanswered.items()},
        "must_have": [vars(one) for one in covered.must_have],
    }


def _row(row: Row) -> dict[str, Any]:
    alert = row.alert
    return {
        "alert": alert.name,
        "group": alert.group,
        "severity": alert.severity.value,
        "file": str(alert.path),
        "line": alert.line,
        "runbooks": list(row.runbooks),
        "how": row.how,
        "runbook_url": alert.url,
        "runbook_url_leads_to": row.link.value,
        "verdict": verdict(row).value,
        "gaps": [vars(gap) for gap in row.gaps],
    }


def _urgency(row: Row) -> tuple[int, int]:
    return -verdict(row).rank, list(AlertSeverity).index(row.alert.severity)


def _nothing(row: Row) -> str:
    if row.covered:
        return ""
    return "documentation is enough" if row.link is Link.ELSEWHERE else "info needs none"
