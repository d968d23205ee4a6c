"""Write the chapters of a postmortem from an incident's evidence. Pure.

No fact is invented. Each time names its source. A fact that is not on record stays a placeholder
that a human fills in. Text from senders of alerts and from people is escaped, so that Markdown
shows it as plain text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, timedelta

from rbkernel import amounts
from rbkernel.evidence.incident import (
    SEALING,
    ActionState,
    IncidentRecord,
    IncidentState,
    instant,
    shown,
)
from rbkernel.evidence.lineage import last_of_each
from rbkernel.evidence.reading import Record
from rbkernel.evidence.timeline import Entry, utc
from rbkernel.incidents.cause import cause
from rbkernel.incidents.facts import MEETING_WITHIN, MILDEST_REQUIRED, WRITTEN_WITHIN, Known
from rbkernel.incidents.review import review
from rbkernel.model import Decision, Finding, PlanState, Severity, Verdict
from rbkernel.render.documents.markdown import escaped
from rbkernel.render.documents.wording import clock
from rbkernel.runbook.placeholders import placeholder

_SHOWN_FINDINGS = 8


def chapters(known: Known) -> Iterator[tuple[str, str]]:
    """Yield the chapters of a postmortem as pairs: the id of the cell, its Markdown text.

    A chapter without content is left out.
    """
    yield "overview", _overview(known)
    yield "facts", _facts(known)
    yield "in-short", _in_short(known)
    for name, lines in (
        ("impact-told", _impact(known)),
        ("timeline", _timeline(known)),
        ("findings", _findings(known)),
        ("left-open", _left_open(known)),
    ):
        if written := list(lines):
            yield name, "\n".join(written)
    yield (
        "made",
        (
            f"*Made by `rbkernel postmortem {known.record.id}` from the record as of"
            f" {clock(known.made_at.isoformat())}. Run the command again to update it; what"
            " people wrote is kept.*"
        ),
    )


def moment(at: str) -> str:
    """Convert a time, in any time zone, to a text in UTC.

    >>> moment("2026-11-20T04:02:11+01:00"), moment("soon")
    ('2026-11-20 03:02:11 UTC', 'soon')
    """
    return clock(utc(at))


def quoted(words: object) -> str:
    """Escape text from senders of alerts or from people, so that Markdown shows it as plain text.

    >>> quoted("# <b>lag</b> ‹PLACEHOLDER: x›")
    '\\\\# &lt;b&gt;lag&lt;/b&gt; (PLACEHOLDER: x)'
    """
    return escaped(str(words).replace("‹", "(").replace("›", ")"))


def _overview(known: Known) -> str:
    title = quoted(known.title) if known.title else placeholder("title of the incident")
    return (
        f"# Postmortem: {title}\n\n"
        "Without blame: what happened, why it could happen, and what prevents it. Times, runs and"
        f" findings come from the record of {known.record.id}. Fill in the places marked ‹…›:"
        " the record has no information about them."
    )


def _facts(known: Known) -> str:
    record = known.record
    began = instant(known.began.at).astimezone(UTC)
    end = instant(known.ended.at).astimezone(UTC) if known.ended else began
    days = f"{began:%Y-%m-%d}" + (f" to {end:%Y-%m-%d}" if end.date() != began.date() else "")
    rows = [
        ("Incident", record.id),
        ("Date", days if known.began.at else placeholder("YYYY-MM-DD")),
        ("Duration", _duration(known)),
        ("Severity", quoted(record.severity) or placeholder("was it P0, P1, P2 or P3?")),
        ("Service", quoted(record.service)),
        ("Alerts", ", ".join(dict.fromkeys(quoted(one.name) for one in record.alerts))),
        ("Runs", ", ".join(f"{run.runbook} {run.verdict.value}" for run in known.runs)),
        ("State", _state(record)),
        ("Postmortem", _review(record)),
        ("Times", _times(known)),
        ("Break-glass", "; ".join(_broken_glass(record))),
        ("To be written", _deadline(known, WRITTEN_WITHIN)),
        ("Meeting", _deadline(known, MEETING_WITHIN)),
    ]
    lines = (f"| **{name}** | {value} |" for name, value in rows if value)
    return "\n".join(["| | |", "|---|---|", *lines])


def _in_short(known: Known) -> str:
    """Return cause, decision, repair and end in a few sentences, as far as they are on record."""
    said = [_cause(known), *_decisions(known), *_repairs(known)]
    if known.ended:
        took = (shown(known.ended.at) - shown(known.began.at)).total_seconds()
        said.append(f"It was over after {amounts.duration(took)}.")
    return "\n".join(["**In short, from the record:**\n", *(f"- {one}" for one in said if one)])


def _cause(known: Known) -> str:
    """Return what is wrong as the incident's page says it: a cause only if a run found one."""
    journals = {run.run_id: run for run in known.runs}
    found = cause(known.record, known.entries, journals)
    if found.finding is None or not found.finding.wrong:
        return "No run found a cause."
    named, words = quoted(found.runbook), quoted(found.words)
    if not found.finding.is_cause:
        return f"**Found, cause not known,** by {named}: {words}"
    return f"**Cause,** as {named} found it: {words}"


def _decisions(known: Known) -> Iterator[str]:
    answered = {
        one.question: one
        for run in known.runs
        for one in known.answers.in_run(run.run_id, run.decisions)
        if one.choice
    }
    for one in answered.values():
        who = f" ({quoted(one.by_whom)})" if one.by_whom else ""
        yield f"**Decided:** {quoted(one.question)} {quoted(one.choice)}{who}"


def _repairs(known: Known) -> Iterator[str]:
    """Yield what people recorded as done, and the actions that rbkernel executed."""
    for done in known.done.values():
        by = f"{moment(done.at)} by {quoted(done.by)}"
        yield f"**Done:** {quoted(done.title)} ({by}): {quoted(done.note)}"
    for action in known.record.actions:
        if action.recorded in (ActionState.VERIFIED, ActionState.FAILED):
            result = f": {quoted(action.result)}" if action.result else ""
            yield f"**Executed,** {action.recorded}: {quoted(action.title)}{result}"


def _times(known: Known) -> str:
    """Return how long after the start people answered, decided and acted, as far as recorded."""
    answers = (
        one.at
        for run in known.runs
        for one in known.answers.in_run(run.run_id, run.decisions)
        if one.choice and one.at
    )
    acknowledged = known.record.acknowledged
    firsts = (
        ("acknowledged", acknowledged.at if acknowledged else ""),
        ("decided", min(answers, key=instant, default="")),
        ("repaired", min((one.at for one in known.done.values()), key=instant, default="")),
        ("over", known.ended.at if known.ended else ""),
    )
    began = known.began.at
    return ", ".join(
        f"{name} after {amounts.duration((shown(at) - shown(began)).total_seconds())}"
        for name, at in firsts
        if at and began and instant(at) >= instant(began)
    )


def _review(record: IncidentRecord) -> str:
    found = review(record)
    return f"{found.state}, owner: {quoted(found.owner) or 'nobody yet'}"


def _broken_glass(record: IncidentRecord) -> Iterator[str]:
    """Yield who approved an action alone, when, and why."""
    for action in record.actions:
        if one := action.broken_glass:
            what = f"{quoted(action.title)} approved alone by {quoted(one.by)}"
            yield f"{what} at {moment(one.at)}: {quoted(one.break_glass)}"


def _duration(known: Known) -> str:
    began, end = known.began, known.ended
    start = f"{moment(began.at)} ({quoted(began.source)})"
    if end is None:
        return f"from {start} to {placeholder('when was it resolved (UTC)? It is not recorded')}"
    took = amounts.duration((shown(end.at) - shown(began.at)).total_seconds())
    return f"{took}: from {start} to {moment(end.at)} ({quoted(end.source)})"


def _state(record: IncidentRecord) -> str:
    if record.merged_into:
        return f"merged into {quoted(record.merged_into)}"
    if not record.closed_at:
        return IncidentState.OPEN
    closing = next(line for line in reversed(record.lines) if line.kind == "closed")
    why = f": {quoted(record.resolution)}" if record.resolution else ""
    return f"closed {moment(record.closed_at)} by {quoted(closing.by)}{why}"


def _deadline(known: Known, within: timedelta) -> str:
    hours = f"{within / timedelta(hours=1):.0f} h"
    start, due = known.deadline_from, known.due(within)
    when = f"within {hours} after it was resolved; the record does not contain that time"
    if start and due:
        when = f"by {clock(due.isoformat())}: {hours} after {quoted(start.source)}"
    return when + _whether_required(known)


def _whether_required(known: Known) -> str:
    if known.severity is None:
        return " (required for P0 and P1)"
    required = Severity.place(known.severity) <= Severity.place(MILDEST_REQUIRED)
    return "" if required else " (required for P0 and P1 only)"


def _impact(known: Known) -> Iterator[str]:
    updates = [one for one in known.record.statuses if one.impact]
    if updates:
        yield "**From the status updates:**\n"
    for one in updates:
        yield f"- {moment(one.at)}, {quoted(one.by)} ({quoted(one.status)}): {quoted(one.impact)}"


def _timeline(known: Known) -> Iterator[str]:
    yield "## Timeline\n"
    entries = [entry for entry in known.timeline if entry.kind not in {"sealed", SEALING}]
    if not entries:
        yield "The record has no events."
        return
    times = [moment(entry.at).removesuffix(" UTC") for entry in entries]
    days = {at[:10] for at in times}
    day = f"{days.pop()}, " if len(days) == 1 else ""
    yield f"| time ({day}UTC) | what happened | who, or which run |\n|---|---|---|"
    for at, entry in zip(times, entries, strict=True):
        shown = at[11:] if day else at
        yield f"| {quoted(shown)} | {quoted(entry.what)} | {quoted(_source(entry))} |"


def _source(entry: Entry) -> str:
    """Return a timeline entry's source, with a run id shortened to its last six characters."""
    return entry.source.replace(entry.run_id, entry.run_id[-6:]) if entry.run_id else entry.source


def _findings(known: Known) -> Iterator[str]:
    if not known.runs:
        return
    yield "## Results of the runs\n"
    yield "Start here to look for the root cause; a finding is not yet the root cause."
    for run in known.runs:
        yield f"\n{_heading(run)}\n"
        yield from _found(run)


def _heading(run: Record) -> str:
    about = run.run
    named = f"{run.runbook} {about.title}" if about else run.runbook or "a notebook"
    at = about.started_at if about else str(run.kernel.get("at", ""))
    goes_on = f", continues `{quoted(about.continues)}`" if about and about.continues else ""
    return f"**{quoted(named)}: {run.verdict.value}** ({moment(at)}, run `{run.run_id}`{goes_on})"


def _found(run: Record) -> Iterator[str]:
    wrong = [finding for finding in run.findings if finding.verdict is not Verdict.OK]
    ok = len(run.findings) - len(wrong)
    for finding in sorted(wrong, key=lambda one: -one.verdict.rank)[:_SHOWN_FINDINGS]:
        yield f"- {_finding(finding)}"
    left_out = max(0, len(wrong) - _SHOWN_FINDINGS)
    rest = [f"{left_out} more in the run's report"] if left_out else []
    rest += [f"{ok} check{'' if ok == 1 else 's'} passed"] if ok else []
    rest += ["no checks"] if not run.findings else []
    rest += [] if run.complete else ["the run did not finish"]
    if rest:
        yield f"- {'; '.join(rest)}"


def _finding(finding: Finding) -> str:
    said = f"{quoted(finding.title)}: {quoted(finding.actual)}"
    expected = f"expected {quoted(finding.expected)}" if finding.expected else ""
    if finding.cause and finding.cause not in (finding.title, finding.actual):
        said, expected = quoted(finding.cause), "; ".join(filter(None, [said, expected]))
    return f"**{finding.verdict.value}:** {said}{f' ({expected})' if expected else ''}"


def _left_open(known: Known) -> Iterator[str]:
    """Yield lines about the unanswered questions and proposed actions of the last runs."""
    executed = {
        action.plan for action in known.record.actions if action.recorded is ActionState.VERIFIED
    }
    left = [line for run in last_of_each(known.runs) for line in _open(run, known, executed)]
    if left:
        yield "**Open in the record.** Is each of these already done, or still to do?\n"
        yield from left


def _open(run: Record, known: Known, executed: Collection[str]) -> Iterator[str]:
    where = f"{quoted(run.runbook)}, run `{run.run_id}`"
    for decision in known.answers.in_run(run.run_id, run.decisions):
        if decision.is_waiting:
            yield f"- {quoted(decision.question)} {_options(decision)} ({where})"
    last = {str(event.data.get("id")): event for event in run.of_kind("plan")}
    for name, event in last.items():
        done = known.done.get(name)
        is_done = done is not None and instant(done.at) > instant(event.at)
        if event.data.get("state") == PlanState.PROPOSED and not (is_done or name in executed):
            title = quoted(event.data.get("title", ""))
            yield f"- proposed, not recorded as done: {title} ({where})"


def _options(decision: Decision) -> str:
    said: Iterable[str] = (
        f"{quoted(option)} (recommended)" if option == decision.recommended else quoted(option)
        for option in decision.options
    )
    return f"not answered: {', '.join(said)}"
