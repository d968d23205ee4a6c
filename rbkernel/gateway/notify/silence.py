"""Maintenance windows: whether an incident is silenced, and what happens when that ends. Pure.

An incident is silenced while each of its alerts fits an active window. Its events are not stored
then, so that they are due again when the window has ended: people are notified of an incident that
is not over by then, and never of one that began and ended within the window. The record says since
when, until when and why (a line `silenced`), and the end is read from there: it holds although
somebody removes the window from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rbkernel.evidence.incident import IncidentRecord, IncidentState, instant
from rbkernel.incidents.windows import Declared


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


def of_incident(
    record: IncidentRecord, windows: Iterable[Declared], now: datetime
) -> Silence | None:
    """Return why an incident is silenced now; None if it is not."""
    labels = [{"service": record.service, **alert.labels} for alert in record.alerts]
    return silence_of(labels, windows, now)


def silent_until(record: IncidentRecord, now: datetime) -> datetime | None:
    """Return until when an incident was silenced, at most until now; None if it never was."""
    return min(instant(record.silenced.text("until")), now) if record.silenced else None


def lasts(record: IncidentRecord, now: datetime) -> bool:
    """Tell whether the record says that an open incident is silenced now."""
    line = record.silenced
    is_closed = record.state is IncidentState.CLOSED
    return line is not None and not is_closed and instant(line.text("until")) > now


def is_over(record: IncidentRecord) -> bool:
    """Tell whether nobody needs to learn of an incident any more."""
    return record.state is IncidentState.CLOSED or record.resolved is not None
