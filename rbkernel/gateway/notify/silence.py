"""Maintenance windows: whether an incident is silenced, and what happens when that ends. Pure.

An incident is silenced while each of its alerts fits an active window. Its events are not stored
then, so that they are due again when the window has ended: people are notified of an incident that
is not over by then, and never of one that began and ended within the window. The record says since
when, until when and why (a line `silenced`), and the end is read from there: it holds although
somebody removes the window from the configuration. A silence that is not on record is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rbkernel.config.queue import Grouping
from rbkernel.evidence.incident import SILENCED, IncidentRecord, IncidentState, instant
from rbkernel.gateway.jobs.grouping import service_name
from rbkernel.incidents.windows import Declared
from rbkernel.model import Verdict


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Why nobody is notified now, who declared that, and until when at the latest."""

    until: datetime
    reason: str
    by: str


def silence_of(
    labels: Sequence[Mapping[str, Any]], windows: Iterable[Declared], now: datetime
) -> Silence | None:
    """Return why alerts with these labels are silenced now; None if one of them is not.

    Without any labels, as for a run that no alert started, only a window that fits everything
    counts.
    """
    active = [one for one in windows if one.window.covers(now)]
    longest: list[Declared] = []
    for each in labels or [{}]:
        fitting = [
            one for one in active if (one.window.fits(each) if labels else not one.window.match)
        ]
        if not fitting:
            return None
        longest.append(max(fitting, key=lambda one: one.window.ends))
    first = min(longest, key=lambda one: one.window.ends)
    return Silence(until=first.window.ends, reason=first.window.reason, by=first.by)


def labels_of(labels: Mapping[str, Any], rules: Grouping) -> Mapping[str, Any]:
    """Return the labels of an alert that a window may name: its own, and its service.

    >>> labels_of({"app": "shop"}, Grouping())["service"], labels_of({"job": "a"}, Grouping())
    ('shop', {'job': 'a'})
    """
    service = service_name(labels, rules)
    return {"service": service, **labels} if service else labels


def of_incident(
    parts: Sequence[IncidentRecord], windows: Iterable[Declared], rules: Grouping, now: datetime
) -> Silence | None:
    """Return why an incident is silenced now; None if it is not, or if one record is damaged.

    Parameters
    ----------
    parts
        The incident's record, and those of all incidents that were merged into it.
    windows
        All windows.
    rules
        The labels that name a service.
    now
        The current time.
    """
    if any(one.damaged for one in parts):
        return None  # a damaged line may have been about an alert that no window explains
    labels = [labels_of(alert.labels, rules) for one in parts for alert in one.alerts]
    return silence_of(labels, windows, now)


def silences(record: IncidentRecord, now: datetime) -> list[tuple[datetime, datetime]]:
    """Return when an incident has been silenced until now, as periods in order.

    A period begins with its line in the record. It ends at the latest with the next line, which
    says that the silence goes on or that it ended.
    """
    lines = [line for line in record.lines if line.kind == SILENCED]
    begins = [instant(line.at) for line in lines]
    return [
        (begin, min(instant(line.text("until")), later))
        for line, begin, later in zip(lines, begins, [*begins, now][1:], strict=True)
    ]


def is_over(parts: Sequence[IncidentRecord]) -> bool:
    """Tell whether nobody needs to learn of an incident any more, from the records of its parts.

    That is so if it is closed, or if everything is resolved and each run ended ok. A resolved alert
    says little after a run has found something: its exporter may be down.
    """
    if parts[0].state is IncidentState.CLOSED:
        return True
    runs = [run for one in parts for run in one.runs]
    return (
        parts[0].resolved is not None
        and all(one.resolved for one in parts if one.alerts)
        and not any(one.damaged for one in parts)
        and all(run.verdict == Verdict.OK for run in runs)
    )
