"""RB7: outdated content: old tests, tools that no longer exist, placeholders left over."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping

from rbkernel.lint.document import Document
from rbkernel.lint.rule import (
    Found,
    Level,
    Surroundings,
    in_cell,
    in_field,
    rule,
    rule_with_surroundings,
)
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.placeholders import hints

# days, including a week of grace
_SCHEDULES = {
    "daily": 8,
    "weekly": 14,
    "monthly": 38,
    "quarterly": 99,
    "half-yearly": 190,
    "every six months": 190,
    "yearly": 372,
    "annually": 372,
}
# days, used if the schedule names no interval; escalation paths change when people change
_BY_CATEGORY = {
    "incident": 190,
    "recovery": 190,
    "escalation": 190,
    "deployment": 372,
    "maintenance": 372,
}
# schedules that require a test only after a change, so that time does not matter
_ON_CHANGE = re.compile(
    r"\b(?:each|every|major|any) (?:change|commit|release)|\bafter\b.*changes?\b"
)
_NO_TEXT = re.compile(r"`[^`]*`|‹[^›]*›")
_LEFT_OVER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX|YYYY-MM-DD|lorem ipsum)\b"
    r"|\[(?:Service|Team|Name|System|Link|URL|Description|Contact|Action|Your|Insert)[^\]\n]*\](?!\()"
)
# removed names and versions, from PostgreSQL's release notes and Kubernetes' deprecation guide
DEPRECATED: Mapping[str, str] = {
    r"\bpg_(?:start|stop)_backup\b": "pg_backup_start and pg_backup_stop, since PostgreSQL 15",
    r"\bpg_xlog\w*": "the names with wal, since PostgreSQL 10",
    r"\brecovery\.conf\b": "recovery.signal and standby.signal, since PostgreSQL 12",
    r"\bpg_stat_activity\.waiting\b": "wait_event, since PostgreSQL 9.6",
    r"\bkubectl rolling-update\b": "kubectl rollout, since Kubernetes 1.18",
    r"\bkubectl run\b[^\n]*--generator": "kubectl create, since Kubernetes 1.18",
    r"\bhelm (?:init|delete --purge|serve)\b": "helm 3, which has no tiller",
    r"\bdocker-compose\b": "docker compose, since 2023",
    r"\bapt-key\b": "signed-by in the sources list, since Debian 12",
}

_ANY_DEPRECATED = re.compile("|".join(DEPRECATED))


@rule_with_surroundings("RB701", "test-is-old", Level.WARNING, "tested", forms=False)
def stale(document: Document, around: Surroundings) -> Iterator[Found]:
    """The last test is older than the schedule allows (anti-pattern: outdated).

    `testing_schedule` says monthly, quarterly, yearly …; without one it is half a year for
    incidents, recovery and escalation, and a year for the rest. With *after each change*,
    a test does not expire with time: it is out of date when the runbook has changed since.

    Why: systems change, and an untested runbook becomes incorrect.

    Instead: run the drill in the sandbox, correct the runbook, and update `last_tested`.
    """
    front = document.front
    if front is None or front.last_tested is None:
        return
    limit = allowed_days(front)
    age = (around.today - front.last_tested).days
    if limit is not None and age > limit:
        message = f"the last test was {age} days ago; at most {limit} are allowed"
        yield in_field(document, "last_tested", message, "run the drill, then update the date")


def allowed_days(front: FrontMatter) -> int | None:
    """Return the number of days after which a test is old; None if only a change makes it old."""
    schedule = front.testing_schedule.lower()
    for word, days in _SCHEDULES.items():
        if word in schedule:
            return days
    if _ON_CHANGE.search(schedule):
        return None
    return _BY_CATEGORY[front.category] if front.category else None


@rule("RB702", "changed-since-test", Level.WARNING, "tested", forms=False)
def changed(document: Document) -> Iterator[Found]:
    """The change log has an entry that is newer than the last test.

    Why: the current version has not been tested.

    Instead: run the drill again, and write the date into `last_tested`.
    """
    front = document.front
    days = [change.date for change in front.change_log if change.date] if front else []
    if front and front.last_tested and days and max(days) > front.last_tested:
        message = f"the runbook was changed on {max(days)}, after the last test"
        yield in_field(document, "last_tested", message, "run the drill again")


@rule_with_surroundings("RB703", "date-in-future", Level.ERROR, "maintained", forms=False)
def future(document: Document, around: Surroundings) -> Iterator[Found]:
    """A date of the front matter is in the future.

    Why: a test date in the future would make an untested runbook count as tested.

    Instead: correct the date.
    """
    front = document.front
    if front is None:
        return
    # time zones: tomorrow here may be today elsewhere
    latest = around.today + datetime.timedelta(days=1)
    if front.last_tested and front.last_tested > latest:
        yield in_field(
            document, "last_tested", f"{front.last_tested} is in the future", "correct the date"
        )
    for change in front.change_log:
        if change.date and change.date > latest:
            yield in_field(
                document, "change_log", f"{change.date} is in the future", "correct the date"
            )


@rule_with_surroundings("RB704", "deprecated", Level.WARNING, "maintained")
def deprecated(document: Document, around: Surroundings) -> Iterator[Found]:
    """The runbook uses a tool or a name that no longer exists (anti-pattern: outdated).

    A team adds its own in `[lint.deprecated]` of rbkernel.toml: a regular expression, and what to
    use instead.

    Why: the command fails during an incident.

    Instead: use the replacement that the message names.
    """
    ours = DEPRECATED if _ANY_DEPRECATED.search(document.text) else {}
    for pattern, instead in {**ours, **around.deprecated}.items():
        for cell in document.cells:
            for found in re.finditer(pattern, cell.source):
                line = cell.source.count("\n", 0, found.start()) + 1
                yield in_cell(cell, line, f"{found[0]} is outdated", f"use {instead}")


@rule("RB705", "placeholder", Level.WARNING, "complete", forms=False)
def placeholders(document: Document) -> Iterator[Found]:
    """A placeholder is not filled in: `‹PLACEHOLDER: …›`, TODO, TBD, YYYY-MM-DD, [Team Name].

    A template may contain placeholders; a runbook may not.

    Why: the reader finds a placeholder instead of the answer.

    Instead: fill in the placeholder, or remove it.
    """
    for cell in document.cells:
        some = _LEFT_OVER.search(cell.source) or hints(cell.source)
        for line, text in cell.lines if some else ():
            left = [f"‹{hint}›" for hint in hints(text)]
            if cell.kind != "code":
                left += [found[0] for found in _LEFT_OVER.finditer(_NO_TEXT.sub("", text))]
            if left:
                message = f"placeholders that are not filled in: {', '.join(left)}"
                yield in_cell(
                    cell, line, message, "replace each placeholder by a value, or remove it"
                )
