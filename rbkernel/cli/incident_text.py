"""Format incidents as text for a terminal.

Control characters in texts of alerts and people are shown as escapes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

from rbkernel.displaytext import short_line
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import (
    ActionHistory,
    ActionState,
    AlertHistory,
    IncidentRecord,
    IncidentState,
    instant,
)
from rbkernel.evidence.runs import RunEntry
from rbkernel.evidence.timeline import Entry
from rbkernel.incidents.status import Draft, Due
from rbkernel.incidents.workflow import Closed, Incident
from rbkernel.model import Decision
from rbkernel.render.documents.wording import clock, lasted

# in a storm, open decisions must stay on the screen
_MOST_ALERTS, _MOST_ENTRIES = 15, 100
# the most consecutive alerts that are shown
_MOST_IN_A_ROW = 3
_LONGEST_NAME, _LONGEST_VALUE = 120, 80


def due_words(due: Due | None) -> str:
    """Return a text that says when the next status update is due; empty if none is due."""
    return "" if due is None else ("OVERDUE: " if due.overdue else "") + due.words


def to_look_at(record: IncidentRecord, due: Due | None) -> str:
    """Return remarks about an incident for a list: a damaged record, an outdated report, etc."""
    damaged = "DAMAGED RECORD" if record.damaged else ""
    older = "REPORT OUTDATED" if caveats.too_late(record) else ""
    goes_on = f"merged into {short_line(record.merged_into)}" if record.merged_into else ""
    return "; ".join(filter(None, [damaged, older, goes_on, due_words(due)]))


def incident_lines(
    found: Incident, due: Due | None, postmortem: Due | None = None
) -> Iterator[str]:
    """Yield the lines that `rbkernel incident show` prints about an incident."""
    yield from _head(found, due)
    if postmortem:
        yield _line_of(postmortem)
    firing_first = sorted(found.whole.alerts, key=lambda alert: alert.status)
    shown = [_alert(alert) for alert in firing_first[:_MOST_ALERTS]]
    yield from _block("Alerts", [*shown, *_others(len(firing_first) - len(shown), "alerts")])
    ran = [_run(run, found.continues.get(run.run_id, "")) for run in found.runs]
    yield from _block("Runs", ran)
    yield from _block(
        "Waiting for a decision",
        [
            f"{one.runbook} {short_line(one.server)}: {short_line(one.decision.question)}"
            f"{_recommended(one.decision)}"
            f" `rbkernel decide {one.run_id}`"
            for one in found.waiting
        ],
    )
    yield from _block(
        "Decided",
        [
            f"{one.runbook}: {short_line(one.decision.question)} {short_line(one.decision.choice)}"
            f" ({short_line(one.decision.by_whom)})"
            for one in found.asked
            if one.decision.choice
        ],
    )
    now = datetime.now(UTC)
    yield from _block("Actions", [_action(one, now) for one in found.record.actions])
    entries = list(_folded(found.timeline))
    earlier = _others(len(entries) - _MOST_ENTRIES, "earlier entries")
    latest = _timeline(entries[-_MOST_ENTRIES:])
    yield from _block("Timeline (UTC)", [*earlier, *latest])
    if found.record.merged_into:
        yield ""
        yield f"Next: `rbkernel incident show {found.record.merged_into}`"
    elif found.record.state is IncidentState.OPEN:
        yield ""
        yield f"Next: `rbkernel incident status {found.record.id} --draft`, and when it is over"
        yield f"      `rbkernel incident close {found.record.id}`"


def _action(action: ActionHistory, now: datetime) -> str:
    """Describe an action, and the command that goes on with it, if one does."""
    state = action.state(now)
    commands = {ActionState.PREVIEWED: "approve", ActionState.APPROVED: "execute"}
    plan = shlex.quote(short_line(action.plan))  # a line of the record may hold any text
    command = f" `rbkernel action {commands[state]} {plan}`" if state in commands else ""
    by = ", ".join(one.by for one in action.approvals)
    said = [
        f"{action.facts.get('title', action.plan)}: {state}",
        f"approved by {by}" if by else "",
        f"alone (break-glass: {glass.break_glass})" if (glass := action.broken_glass) else "",
        action.result,
    ]
    return f"{short_line('; '.join(filter(None, said)))}{command}"


def _recommended(decision: Decision) -> str:
    return f" Recommended: {short_line(decision.recommended)}." if decision.recommended else ""


def drafted(name: str, made: Draft, due: Due | None) -> Iterator[str]:
    """Yield the lines of a status update's draft, then the events since the last update."""
    yield from map(short_line, made.text.splitlines())
    yield ""
    yield "Not recorded yet. Fill in the places marked ‹ ›: the record has no information for them."
    yield f"Record it: rbkernel incident status {name} {made.status} --impact … --action … --eta …"
    if due:
        yield f"{due.words[0].upper()}{due.words[1:]}."
    yield from _block("Since the last update (UTC)", list(_timeline(made.since)))


def closed(what: Closed) -> Iterator[str]:
    """Yield the lines that `rbkernel incident close` prints: first, the path of the report."""
    yield str(what.attachment)
    if what.was_closed:
        by = f"by {short_line(what.closed_by)} at {clock(what.closed_at)}"
        yield f"  {what.incident} was already closed {by}; sealed and exported again"
    else:
        yield f"  {what.incident} is closed; attach this report to a ticket (any browser opens it)"
    if what.finished:
        yield "  an interrupted seal was completed"
    yield f"  archive to verify: {what.archive}"
    for run_id in what.sealed_runs:
        yield f"  sealed run {run_id}"
    yield f"head {what.record.head}: store this value elsewhere, in the ticket or a chat"
    signer = what.record.signer
    if what.record.missing:
        yield from (f"  {short_line(one)}" for one in what.record.missing)
    else:
        yield f"  signed by {signer}" if signer else "  not signed"
    for remark in what.mind:
        yield f"Note: {short_line(remark)}"
    yield f"Next: `rbkernel postmortem {what.incident}`"


def outdated(record: IncidentRecord) -> Iterator[str]:
    """Yield a warning if the report of a closed incident lacks runs that ended later.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> at = "2026-11-20T03:00:00+00:00"
    >>> closed = tell([Line(number=1, kind="closed", at=at, by="ann", data={})], "INC-1")
    >>> next(outdated(closed))[:43]
    'Note: INC-1 was closed at 2026-11-20 03:00:'
    """
    if record.closed_at:
        yield (
            f"Note: {record.id} was closed at {clock(record.closed_at)}, so the exported"
            " report lacks this run"
        )
        yield f"Next: `rbkernel incident close {record.id}` exports report and archive again"


def _head(found: Incident, due: Due | None) -> Iterator[str]:
    record, stands = found.record, found.standing
    yield " ".join(
        filter(None, [record.id, stands.words.upper(), short_line(found.title, _LONGEST_NAME)])
    )
    named = [("severity", record.severity), ("service", record.service)]
    said = [f"{name} {short_line(value)}" for name, value in named if value]
    if said:
        yield f"  {', '.join(said)}"
    yield f"  began    {clock(record.began.at)} ({short_line(record.began.source)})"
    if stands.resolved and found.whole.duration is not None:
        over, took = stands.resolved, lasted(found.whole.duration)
        yield f"  resolved {clock(over.at)} ({short_line(over.source)}), after {took}"
    if by := record.acknowledged:
        yield f"  acknowledged {clock(by.at)} by {short_line(by.by)}"
    if record.closed_at:
        how = f": {short_line(record.resolution)}" if record.resolution else ""
        yield f"  closed   {clock(record.closed_at)}{how}"
    if record.merged_into:
        yield f"  merged into {short_line(record.merged_into)}"
    for caveat in caveats.caveats_of(found.whole):
        yield f"  NOTE: {short_line(caveat)}"
    for damage in record.damaged:
        yield f"  DAMAGED: incident.jsonl, {damage}; `rbkernel evidence verify {record.id}`"
    if record.unfinished:
        yield (
            f"  NOT SEALED: the seal of {clock(record.unfinished.at)} was interrupted;"
            f" `rbkernel incident close {record.id}` completes it"
        )
    if record.statuses:
        last = record.statuses[-1]
        status = f"{short_line(last.status)} since {clock(last.at)}"
        yield f"  status   {status}, by {short_line(last.by)}"
    if due:
        yield _line_of(due)


def _line_of(due: Due) -> str:
    return f"  {'OVERDUE  ' if due.overdue else 'next     '}{due.words}"


def _block(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {one}" for one in lines)


def _others(count: int, what: str) -> list[str]:
    return [f"… and {count} more {what} (--json shows all)"] if count > 0 else []


def _run(run: RunEntry, continues: str) -> str:
    found = "RUNNING" if run.is_beginning else run.verdict.value.upper()
    name = " ".join(filter(None, [run.runbook, short_line(run.title)])) or "a run"
    said = [f"{found:9} {name}: {run.run_id}"]
    said += [
        run.state,
        f"continues {short_line(continues)}" if continues else "",
        short_line(run.problem),
    ]
    return ", ".join(filter(None, said))


def _alert(alert: AlertHistory) -> str:
    labels = ", ".join(
        f"{short_line(name, _LONGEST_VALUE)}={short_line(value, _LONGEST_VALUE)}"
        for name, value in alert.labels.items()
        if name != "alertname"
    )
    times = f"since {clock(alert.first_firing_at)}"
    if alert.last_resolved_at:
        times += f", resolved {clock(alert.last_resolved_at)}"
    name = short_line(alert.name, _LONGEST_NAME)
    return f"{alert.status.upper():9} {name}, {times}{f' ({labels})' if labels else ''}"


def _folded(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Shorten each sequence of consecutive alerts in a timeline; other entries are unchanged.

    Equal alerts become one entry with their number. Only the first few different alerts of a
    sequence are shown; the others are counted.

    >>> def alert(what):
    ...     return Entry(at="2026-11-20T03:00:00+00:00", kind="alert", what=what, source="generic")
    >>> [one.what for one in _folded(map(alert, ["A", "A", *"BCDE"]))]
    ['A (2 times)', 'B', 'C', '… and 2 more alerts (--json shows all)']
    """
    for kind, row in groupby(entries, key=lambda entry: entry.kind):
        if kind != "alert":
            yield from row
            continue
        same: dict[tuple[str, str], list[Entry]] = {}
        for entry in row:
            same.setdefault((entry.what, entry.source), []).append(entry)
        groups = list(same.values())
        for first, *again in groups[:_MOST_IN_A_ROW]:
            times = f" ({1 + len(again)} times)" if again else ""
            yield replace(first, what=f"{first.what}{times}")
        rest = [entry for some in groups[_MOST_IN_A_ROW:] for entry in some]
        for what in _others(len(rest), "alerts"):
            yield replace(rest[-1], what=what)


def _timeline(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield a line for each timeline entry, and a line for each new day."""
    day = ""
    for entry in entries:
        at = instant(entry.at).astimezone(UTC)
        if f"{at:%Y-%m-%d}" != day:
            day = f"{at:%Y-%m-%d}"
            yield day
        yield f"{at:%H:%M:%S} {short_line(entry.what)} [{short_line(entry.short_source)}]"
