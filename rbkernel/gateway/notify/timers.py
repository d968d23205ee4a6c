"""The timers of an incident: when whom to call, and when a status update is due. Pure.

What is due comes from the front matter of the runbooks that ran: the levels of ``escalation``,
``response_time`` and ``communication.every``. Nothing is due for a closed, resolved or merged
incident. The time in which a maintenance window silenced the incident does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from rbkernel import amounts
from rbkernel.config.notify import EventKind
from rbkernel.evidence.incident import (
    ASKED_AGAIN,
    DECIDED,
    DONE,
    IncidentRecord,
    IncidentState,
    Line,
    RunHistory,
    instant,
)
from rbkernel.gateway.notify.silence import silences
from rbkernel.incidents import attempts
from rbkernel.model import Verdict
from rbkernel.runbook.escalation import applies, is_due
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import EscalationLevel
from rbkernel.runbook.quantities import duration_s
from rbkernel.runbook.severity import response_time

# lines that a human writes into the record: they show that somebody responds
_BY_HAND = frozenset(
    {"note", "status", "acknowledged", DECIDED, ASKED_AGAIN, DONE, "action", "closed", "reopened"}
    | {"run"}
)
_NEEDS_SOMEBODY = frozenset({Verdict.WARNING, Verdict.CRITICAL, Verdict.UNKNOWN})
# after so many reminders of one status update, nobody is going to write it
_REMINDERS = 3
_Periods = Sequence[tuple[datetime, datetime]]


@dataclass(frozen=True, kw_only=True)
class Timer:
    """Something that is due at a time; ``facts`` are values for the template, as JSON data.

    ``run`` is the run to look at; None for the incident.
    """

    at: datetime
    kind: EventKind
    key: str
    facts: Mapping[str, Any]
    run: RunHistory | None = None


class Runbooks(Protocol):
    """The interface that finds the front matter of runbooks."""

    def front_matter(self, runbook: str) -> FrontMatter | None:
        """Return the front matter of a runbook; None if there is no such runbook."""


def timers(
    record: IncidentRecord,
    runbooks: Runbooks,
    *,
    known: Collection[str],
    now: datetime,
) -> Iterator[Timer]:
    """Return the timers of an incident that are or will be due.

    Parameters
    ----------
    record
        The incident's record.
    runbooks
        Finds the front matter of the runbooks that ran.
    known
        Keys of events that are already recorded; they show which questions people were told.
    now
        The current time.
    """
    over = {IncidentState.CLOSED, IncidentState.RUNS_ONLY}
    if record.state in over or record.merged_into or record.resolved:
        return
    silent = silences(record, now)
    ran = dict.fromkeys(run.runbook for run in record.runs if run.runbook)
    known_runbooks = {one: found for one in ran if (found := runbooks.front_matter(one))}
    for runbook, front_matter in known_runbooks.items():
        for level in front_matter.escalation.levels:
            yield from _level(record, runbook, front_matter, level, silent)
        yield from _nobody(record, runbook, front_matter, known, silent)
    yield from _update(record, known_runbooks.values(), now, silent)


def _level(
    record: IncidentRecord,
    runbook: str,
    front_matter: FrontMatter,
    level: EscalationLevel,
    silent: _Periods,
) -> Iterator[Timer]:
    """Return the timer of an escalation level: by its time or its attempts, whichever is first."""
    found: list[tuple[datetime, str]] = []
    # the runbook's rule: a level may be for another severity only
    if level.after_s is not None and is_due(level, 0, level.after_s, record.severity):
        why = f"The incident has lasted more than {level.after}"
        found.append((_after(instant(record.began.at), level.after_s, silent), why))
    count, failed = level.after_attempts or 0, attempts.failed_at(record)
    if 0 < count <= len(failed) and is_due(level, count, 0, record.severity):
        tried = "The first attempt has failed" if count == 1 else f"{count} attempts have failed"
        found.append((_after(failed[count - 1], 0.0, silent), tried))
    for at, why in sorted(found)[:1]:
        facts = {
            "level": level.level,
            "contact": level.contact or front_matter.escalation.contact,
            "provide": level.provide or front_matter.escalation.provide,
            "why": why,
            "runbook": runbook,
        }
        named = level.level or level.after or f"{count} attempts"
        key = f"escalation/{runbook}/{named}"
        yield Timer(at=at, kind="escalation", key=key, facts=facts)


def _nobody(
    record: IncidentRecord,
    runbook: str,
    front_matter: FrontMatter,
    known: Collection[str],
    silent: _Periods,
) -> Iterator[Timer]:
    """Yield the timers for a run that needs somebody, as long as nobody responds.

    The response time is that of the incident's severity, else that of the runbook. When it has
    passed, the next level of the escalation is called, then after its response time the one after
    it. Without levels that have a response time, it is one call.
    """
    stated = response_time(front_matter.severity_levels, record.severity)
    answer_s = duration_s(stated or front_matter.response_time)
    waiting = [
        (run, asks)
        for run in record.runs
        if run.runbook == runbook
        and (
            (asks := any(key.startswith(f"decision/{run.run_id}/") for key in known))
            or (run.ended_at and run.verdict in _NEEDS_SOMEBODY)
        )
    ]
    if answer_s is None or not waiting or record.acknowledged:
        return
    run, asks = waiting[-1]
    since = instant(run.ended_at or run.sealed_at)
    if any(_by_hand(line) and instant(line.at) >= since for line in record.lines):
        return
    needs = "needs a decision" if asks else f"found something {run.verdict}"
    if run.verdict == Verdict.UNKNOWN and not asks:
        needs = "could not judge everything"
    for level, within_s in _called(front_matter, record.severity, answer_s):
        facts = {
            "level": level.level,
            "contact": level.contact or front_matter.escalation.contact or front_matter.on_call,
            "provide": level.provide or front_matter.escalation.provide,
            "why": f"{runbook} {needs}, and nobody has responded within {_time(within_s)}",
            "runbook": runbook,
        }
        at = _after(since, within_s, silent)
        named = f"/{level.level}" if level.level else ""
        key = f"escalation/{runbook}/unanswered{named}"
        yield Timer(at=at, kind="escalation", key=key, facts=facts, run=run)


def _called(
    front_matter: FrontMatter, severity: str, answer_s: float
) -> Iterator[tuple[EscalationLevel, float]]:
    """Yield who is called while nobody responds, and after how many seconds.

    The first level is on call: the findings have been sent to it.
    """
    levels = [one for one in front_matter.escalation.levels if applies(one, severity)]
    timed = [one for one in levels if duration_s(one.response_time) is not None]
    for level in timed[1:] or [EscalationLevel()]:
        yield level, answer_s
        answer_s += duration_s(level.response_time) or 0.0


def _time(seconds: float) -> str:
    """Return a response time in words, such as ``15 minutes``.

    >>> _time(900), _time(5400), _time(0)
    ('15 minutes', '1 h 30 min', '0 s')
    """
    whole = seconds >= 120 and seconds % 60 == 0 and seconds < 3600
    return f"{seconds / 60:.0f} minutes" if whole else amounts.duration(seconds)


def _update(
    record: IncidentRecord, runbooks: Iterable[FrontMatter], now: datetime, silent: _Periods
) -> Iterator[Timer]:
    """Return the reminders of the next status update, if a runbook says how often one is sent."""
    from rbkernel.incidents import status  # imports nbformat

    stated = (duration_s(one.communication.every) for one in runbooks)
    every_s = min(filter(None, stated), default=0.0)
    due = status.next_due(record, now, every_s) if every_s else None
    if due is None:
        return
    for number in range(_REMINDERS):
        at = _after(due.late_at, number * every_s, silent)
        facts = {"every_min": round(every_s / 60)}
        yield Timer(at=at, kind="update", key=f"update/{due.at.isoformat()}/{number}", facts=facts)


def _after(since: datetime, seconds: float, silent: _Periods) -> datetime:
    """Return when a time has passed since a moment, without the periods of silence.

    >>> def at(hour):
    ...     return datetime(2026, 11, 20, hour)
    >>> silent = [(at(4), at(6)), (at(8), at(9))]
    >>> [_after(at(hour), 2 * 3600, silent).hour for hour in (1, 3, 5, 7, 9)]
    [3, 7, 9, 10, 11]
    >>> _after(at(5), 0, silent).hour
    6
    >>> _after(at(2), 2 * 3600, [(at(4), at(3))]).hour  # clocks differ
    4
    """
    at = since + timedelta(seconds=seconds)
    for begin, end in silent:
        if begin <= at and end > max(begin, since):
            at += end - max(begin, since)
    return at


def _by_hand(line: Line) -> bool:
    return line.kind in _BY_HAND and line.by not in {"", "rbkernel"}
