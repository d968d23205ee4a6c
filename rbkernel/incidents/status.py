"""Format an incident's status updates, say when the next is due, and draft it. Pure.

The layout is that of the template for incident runbooks: one update at once, then one in the
interval of the runbook (`communication.every`; 30 minutes if it names none), and one when the
incident is resolved. A draft repeats the record. Facts that only a human can know (impact, ETA) are
marked for the human, never invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rbkernel.evidence.incident import (
    AHEAD,
    SEALING,
    STATUSES,
    ActionState,
    AlertStatus,
    IncidentRecord,
    IncidentState,
    StatusUpdate,
    instant,
)
from rbkernel.evidence.timeline import Entry
from rbkernel.incidents.facts import MEETING_WITHIN, MILDEST_REQUIRED, WRITTEN_WITHIN
from rbkernel.incidents.review import ReviewState, review
from rbkernel.model import Severity
from rbkernel.render.documents.wording import lasted

EVERY = timedelta(minutes=30)
INVESTIGATING, IDENTIFIED, MONITORING, RESOLVED = STATUSES
_NOT_SAID = "not stated"
_NO_ETA = "none (resolved)"


@dataclass(frozen=True, kw_only=True)
class Due:
    """When the next status update is due, and a text that says so; overdue after ``late_at``."""

    at: datetime
    late_at: datetime
    overdue: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A draft of the next status update; ``since`` are the events since the last update."""

    text: str
    status: str
    since: tuple[Entry, ...]


def next_due(record: IncidentRecord, now: datetime, every_s: float = 0.0) -> Due | None:
    """Return when the next status update is due; None if no further update is due.

    Parameters
    ----------
    record
        The incident.
    now
        The present time.
    every_s
        The interval of updates in s; 0 for 30 minutes.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> at = "2026-11-20T03:00:00+00:00"
    >>> opened = Line(number=1, kind="opened", at=at, by="", data={})
    >>> said = Line(number=2, kind="status", at=at, by="", data={"status": "Identified"})
    >>> next_due(tell([opened]), instant("2026-11-20T03:10:00Z")).words
    'no status update yet: due at 03:00 UTC (10 min ago)'
    >>> next_due(tell([opened, said]), instant("2026-11-20T03:10:00Z")).words
    'next status update due at 03:30 UTC, in 20 min'
    >>> next_due(tell([opened, said]), instant("2026-11-20T03:42:00Z")).words
    'status update was due at 03:30 UTC, 12 min ago'
    >>> next_due(tell([opened, said]), instant("2026-11-20T03:10:00Z"), 900).words
    'next status update due at 03:15 UTC, in 5 min'
    """
    every = timedelta(seconds=every_s) if every_s > 0 else EVERY
    if record.state != IncidentState.OPEN:
        return None
    said = [one for one in record.statuses if instant(one.at) <= now + AHEAD]
    last = said[-1] if said else None
    reopened = next((line.at for line in reversed(record.lines) if line.kind == "reopened"), "")
    if last is None or instant(reopened) > instant(last.at):
        since = instant(reopened or record.opened_at)
        none = "no status update yet" if last is None else "no status update since it was reopened"
        return Due(
            at=since,
            late_at=since + every,
            overdue=now > since + every,
            words=f"{none}: due at {clock(since, now)} ({_ago(since, now)} ago)",
        )
    if last.status == RESOLVED:
        return None
    at = instant(last.at) + every
    if now < at:
        words = f"next status update due at {clock(at, now)}, in {_ago(now, at)}"
    else:
        words = f"status update was due at {clock(at, now)}, {_ago(at, now)} ago"
    return Due(at=at, late_at=at, overdue=now >= at, words=words)


def postmortem_due(record: IncidentRecord, now: datetime, *, is_written: bool) -> Due | None:
    """Return when the postmortem of an incident is due; None if it is written, or none is required.

    It is written if its notebook was executed or its state is completed. Whether the meeting was
    held is not on record.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> at = "2026-11-20T03:00:00+00:00"
    >>> opened = Line(number=1, kind="opened", at=at, by="", data={"severity": "P1"})
    >>> record = tell([opened, Line(number=2, kind="closed", at=at, by="", data={})])
    >>> postmortem_due(record, instant("2026-11-21T05:00:00Z"), is_written=False).words
    'postmortem was due at 03:00 UTC, 2 h ago; meeting by 2026-11-22 03:00 UTC'
    >>> postmortem_due(record, instant("2026-11-21T05:00:00Z"), is_written=True) is None
    True
    """
    ended = record.resolved.at if record.resolved else record.closed_at
    milder = Severity.place(record.severity) > Severity.place(MILDEST_REQUIRED)
    if is_written or milder or not ended or review(record).state is ReviewState.COMPLETED:
        return None
    at = instant(ended) + WRITTEN_WITHIN
    meeting = f"meeting by {clock(instant(ended) + MEETING_WITHIN, now)}"
    said = f"due at {clock(at, now)}"
    words = f"{said}, in {_ago(now, at)}" if now < at else f"was {said}, {_ago(at, now)} ago"
    return Due(at=at, late_at=at, overdue=now > at, words=f"postmortem {words}; {meeting}")


def update_text(update: StatusUpdate) -> str:
    """Return the text of a status update, ready to send.

    >>> at = "2026-11-20T03:10:42+00:00"
    >>> print(update_text(StatusUpdate(at=at, by="ann", status="Identified", impact="late mail")))
    INCIDENT UPDATE - 2026-11-20 03:10 UTC
    Status: Identified
    Impact: late mail
    Action: not stated
    ETA: not stated
    """
    return _form(
        instant(update.at),
        update.status,
        update.impact or _NOT_SAID,
        update.action or _NOT_SAID,
        update.eta or _NOT_SAID,
    )


def draft(record: IncidentRecord, entries: Sequence[Entry], now: datetime) -> Draft:
    """Return a draft of an incident's next status update, from its record and timeline.

    Parameters
    ----------
    record
        The incident's record.
    entries
        Its timeline.
    now
        The time of the draft.
    """
    last = record.statuses[-1] if record.statuses else None
    since = tuple(one for one in entries if last is None or instant(one.at) > instant(last.at))
    status = _status(record, entries)
    over = status == RESOLVED
    return Draft(
        text=_form(
            now,
            status,
            _for_a_human("what users notice now", last.impact if last else "", last),
            _action_after(since) if over else _action(entries),
            _NO_ETA
            if over
            else _for_a_human("when it will be over", last.eta if last else "", last),
        ),
        status=status,
        since=tuple(one for one in since if one.kind not in {"sealed", SEALING, "status"}),
    )


def clock(at: datetime, now: datetime) -> str:
    """Return a time of day in UTC as text, with the date if it is not today.

    >>> noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    >>> clock(noon, noon), clock(noon - EVERY * 48, noon)
    ('12:00 UTC', '2026-11-19 12:00 UTC')
    """
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _form(at: datetime, status: str, impact: str, action: str, eta: str) -> str:
    return (
        f"INCIDENT UPDATE - {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"Status: {status}\nImpact: {impact}\nAction: {action}\nETA: {eta}"
    )


def _ago(since: datetime, until: datetime) -> str:
    minutes = timedelta(minutes=int((until - since).total_seconds() // 60))
    return lasted(minutes) if minutes >= timedelta(minutes=1) else "less than a minute"


def _status(record: IncidentRecord, entries: Sequence[Entry]) -> str:
    """Return the status that an incident's record supports, for the draft of an update.

    Monitoring: all alerts are resolved, or somebody carried out an action. Identified: there is a
    finding with verdict warning or critical.
    """
    firing = any(alert.status == AlertStatus.FIRING for alert in record.alerts)
    over = bool(record.alerts) and not firing
    verified = any(
        one.recorded is ActionState.VERIFIED and not one.undoes for one in record.actions
    )
    done = verified or any(entry.kind == "done" for entry in entries)
    wrong = any(e.kind == "finding" and e.verdict in {"warning", "critical"} for e in entries)
    derived = MONITORING if over or done else IDENTIFIED if wrong else INVESTIGATING
    said = record.statuses[-1].status if record.statuses else INVESTIGATING
    if said not in STATUSES or (said == RESOLVED and firing):
        return derived  # the problem came back
    return max(derived, said, key=STATUSES.index)


def _action_after(since: Sequence[Entry]) -> str:
    """Describe the last action or note after the incident was resolved; "none" without one."""
    found = [entry for entry in since if entry.kind in {"done", "note", "action"}]
    return f"{found[-1].what} ({_minute(found[-1].at)})" if found else "none"


def _action(entries: Sequence[Entry]) -> str:
    """Describe the last action, decision or proposal in a timeline; without one, the last run."""
    for kinds in ({"done", "decision", "plan", "action"}, {"run"}):
        found = [entry for entry in entries if entry.kind in kinds]
        if found:
            return f"{found[-1].what} ({_minute(found[-1].at)})"
    return "‹fill in: what is being done›"


def _minute(at: str) -> str:
    return f"{instant(at).astimezone(UTC):%H:%M} UTC"


def _for_a_human(question: str, said: str, last: StatusUpdate | None) -> str:
    if said and last:
        return f"‹fill in: still “{said}”, as of {_minute(last.at)}?›"
    return f"‹fill in: {question}›"
