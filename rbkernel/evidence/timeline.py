"""Build the timeline of an incident from its record and the journals of its runs. Pure.

Each entry names its source and has the time of the event, not of the report: the alert's own time,
or the journal's time. The timeline contains each execution in a journal (every *Run All*) with its
beginning, end and findings, and single cells that ran again, failed or were interrupted. A finding
is listed when it is first not ok, whenever its verdict changes (also between two runs), and in
each execution that finds it not ok again. Entries from a run's journal replace the record's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from rbkernel.evidence import reading
from rbkernel.evidence.executions import Execution, executions
from rbkernel.evidence.incident import (
    ASKED_AGAIN,
    CONTINUED,
    DECIDED,
    DONE,
    POSTMORTEM,
    SEALING,
    TICKET,
    AlertStatus,
    IncidentRecord,
    Line,
    RunState,
    answers_of,
    instant,
    sent_time,
)
from rbkernel.evidence.notebook import first_line
from rbkernel.evidence.reading import CellRun, Event, Record
from rbkernel.model import DecisionState, PlanState, Verdict


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event in the timeline of an incident.

    ``at`` is UTC, ISO 8601. ``kind`` is the kind of the record's line, or run, cell, finding,
    decision, plan or done. ``source`` is the run, the sender or the person. ``run_id`` is empty
    for an event outside a run; ``verdict`` is empty for an event without a verdict.
    """

    at: str
    kind: str
    what: str
    source: str
    run_id: str = ""
    verdict: str = ""

    @property
    def short_source(self) -> str:
        """The source, with the run's id shortened to its distinguishing part."""
        return self.source.replace(self.run_id, self.run_id[-6:]) if self.run_id else self.source


def timeline(record: IncidentRecord, runs: Sequence[Record]) -> tuple[Entry, ...]:
    """Return the events of an incident, oldest first.

    Parameters
    ----------
    record
        The record of the incident.
    runs
        The records of its runs, open or sealed, read from their journals.
    """
    known = {run.run_id for run in runs}
    recorded = [entry for line in record.lines for entry in _of_line(line, known)]
    told = _Told(record.lines)
    ran = [entry for run in runs for entry in _of_run(run, told)]
    entries = [*recorded, *ran, *_findings(runs)]
    return tuple(sorted(entries, key=lambda entry: (instant(entry.at), _RANK.get(entry.kind, 1))))


def utc(at: str) -> str:
    """Convert a time from the record to UTC; return an invalid time unchanged.

    >>> utc("2026-11-20T04:02:00+01:00"), utc("soon")
    ('2026-11-20T03:02:00+00:00', 'soon')
    """
    moment = instant(at)
    return at if moment == instant("") else moment.astimezone(UTC).isoformat()


# order of simultaneous events: an alert before the incident that it opens, a seal last
_RANK = {"alert": 0, "sealed": 2, SEALING: 2, "closed": 2}


def _of_line(line: Line, known: Iterable[str]) -> Iterator[Entry]:
    """Yield the timeline entry for a line of the record, unless a run's journal has the event."""
    if line.kind == "alert":
        yield _alert(line)
    elif line.kind == "run":
        if line.text("state") == RunState.QUEUED or line.text("run_id") not in known:
            yield _run_line(line)
    else:
        run_id, verdict = line.text("run_id"), line.text("verdict")
        yield Entry(
            at=utc(line.at),
            kind=_KINDS.get(line.kind, line.kind),
            what=words(line),
            source=line.by,
            run_id=run_id,
            verdict=verdict,
        )


def words(line: Line) -> str:
    """Return the text of a timeline entry about a line that is neither an alert nor a run."""
    return _WORDS.get(line.kind, _anything)(line)


def alert_name(line: Line) -> str:
    """Return the alert's name as its sender gave it, else its fingerprint."""
    return str(_mapping(line, "labels").get("alertname") or line.text("fingerprint"))


def _alert(line: Line) -> Entry:
    """Return the timeline entry of an alert, at the time that the sender gave.

    >>> data = {"status": "resolved", "starts_at": "2026-11-20T03:02:00Z", "source": "grafana",
    ...         "ends_at": "2026-11-20T03:41:00Z", "labels": {"alertname": "Lag"}}
    >>> entry = _alert(Line(number=1, kind="alert", at="2026-11-20T03:41:30Z", by="", data=data))
    >>> entry.at, entry.what, entry.source
    ('2026-11-20T03:41:00+00:00', 'alert resolved: Lag', 'grafana')
    """
    resolved = line.text("status") == AlertStatus.RESOLVED
    annotations = _mapping(line, "annotations")
    summary = "" if resolved else annotations.get("summary") or annotations.get("description")
    return Entry(
        at=utc(sent_time(line, "ends_at" if resolved else "starts_at")),
        kind="alert",
        what=_said(
            f"alert {AlertStatus.RESOLVED if resolved else AlertStatus.FIRING}",
            alert_name(line),
            str(summary or ""),
        ),
        source=line.text("source"),
    )


def _run_line(line: Line) -> Entry:
    attempt = line.data.get("attempt")
    again = f" (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else ""
    state = line.text("state") + again
    what = _said(
        f"{line.text('runbook') or 'run'} {state}", *_texts(line, "verdict", "why", "mind")
    )
    return Entry(
        at=utc(line.at),
        kind="run",
        what=what,
        source=line.by,
        run_id=line.text("run_id"),
        verdict=line.text("verdict"),
    )


def _texts(line: Line, *names: str) -> list[str]:
    return [line.text(name) for name in names]


def _said(*parts: str) -> str:
    """Join the non-empty parts of a timeline entry's text.

    >>> _said("note", "", "x")
    'note: x'
    """
    return ": ".join(part for part in parts if part)


def _status(line: Line) -> str:
    parts = [f"{name.capitalize()}: {line.text(name)}" for name in ("impact", "action")]
    eta = f"ETA: {line.text('eta')}" if line.text("eta") else ""
    said = [part for part in (*parts, eta) if not part.endswith(": ")]
    return ". ".join([f"status {line.text('status')}", *filter(None, said)])


def _sealed(line: Line) -> str:
    if line.data.get("record"):
        return "sealed: the record of the incident"
    named = " ".join(filter(None, (line.text("runbook"), line.text("title"))))
    return _said("sealed", named, line.text("verdict"))


def when_alerted(line: Line) -> str:
    """Describe the state of a server at the time when an alert arrived.

    >>> data = {"connection": "orders", "causes": ["refund-job blocks 9 sessions"]}
    >>> when_alerted(Line(number=1, kind="situation", at="", by="rbkernel", data=data))
    'orders when the alert arrived: refund-job blocks 9 sessions'
    """
    causes = line.data.get("causes")
    said = [str(one) for one in causes] if isinstance(causes, list) else []
    return (
        f"{line.text('connection')} when the alert arrived: {'; '.join(said) or 'no cause found'}"
    )


def wrong_when_alerted(record: IncidentRecord) -> list[str]:
    """Return the problems that servers had when alerts arrived, one sentence per problem.

    >>> from rbkernel.evidence.incident import tell
    >>> data = {"connection": "orders", "verdict": "critical", "causes": ["it blocks 9 sessions"]}
    >>> at = "2026-11-20T03:02:11.5+00:00"
    >>> wrong_when_alerted(tell([Line(number=1, kind="situation", at=at, by="", data=data)]))
    ['03:02:11 UTC, orders when the alert arrived: it blocks 9 sessions']
    """
    wrong = {Verdict.WARNING.value, Verdict.CRITICAL.value}
    return [
        f"{instant(line.at).astimezone(UTC):%H:%M:%S} UTC, {when_alerted(line)}"
        for line in record.lines
        if line.kind == "situation" and line.text("verdict") in wrong
    ]


def action_step(line: Line) -> str:
    """Describe a step of an action: who it needs, how it was proved, and how it ended.

    >>> data = {"state": "approved", "title": "Terminate 1 session", "connection": "orders",
    ...         "key": "SHA256:abc", "digest": "9b1c0d77e2aa55"}
    >>> action_step(Line(number=1, kind="action", at="", by="bob", data=data))
    'action approved with the SSH key SHA256:abc: Terminate 1 session, on orders (9b1c0d77e2aa)'
    """
    key, glass = line.text("key"), line.text("break_glass")
    proved = f" alone (break-glass: {glass})" if glass else ""
    if key.startswith("SHA256:"):
        proved += f" with the SSH key {key}"
    elif key:
        proved += f" with the {key}" if key.startswith("passkey") else f" ({key})"
    on = f", on {line.text('connection')}" if line.text("connection") else ""
    what = f"{line.text('title')}{on} ({line.text('digest')[:12]})"
    limits = line.text("boundary")
    boundary = f"boundary: {limits}" if limits else ""
    return _said(f"action {line.text('state')}{proved}", what, line.text("result"), boundary)


def _ticket(line: Line) -> str:
    """Return the text of a timeline entry about the ticket of an action item.

    >>> data = {"state": "made", "title": "Add an alert", "link": "https://t/1"}
    >>> _ticket(Line(number=1, kind=TICKET, at="", by="ann", data=data))
    'ticket made: Add an alert: https://t/1'
    """
    ending = line.text("link") or line.text("problem")
    return _said(f"ticket {line.text('state')}", line.text("title"), ending)


def _merged(line: Line) -> str:
    if line.data.get("into"):
        return f"merged into {line.text('into')}"
    return f"{line.text('from')} was merged into this incident"


def _notified(line: Line) -> str:
    """Return the text of a timeline entry that says who was notified, and of what.

    >>> data = {"whom": "on-call", "title": "RUN-005 CRITICAL: Replay is paused"}
    >>> _notified(Line(number=1, kind="notified", at="", by="rbkernel", data=data))
    'notified on-call: RUN-005 CRITICAL: Replay is paused'
    """
    verb = "could not notify" if line.text("problem") else "notified"
    said = _said(f"{verb} {line.text('whom')}", line.text("title"))
    return " ".join(filter(None, [said, line.text("problem") and f"({line.text('problem')})"]))


def _anything(line: Line) -> str:
    said = [f"{name}: {value}" for name, value in line.data.items() if value not in ("", None)]
    return _said(line.kind, "; ".join(said))


def _decided(line: Line) -> str:
    """Return the text of a timeline entry about an answer.

    >>> data = {"question": "What now?", "choice": "wait", "origin": "page", "note": "load falls"}
    >>> _decided(Line(number=1, kind="decided", at="", by="ann", data=data))
    'decided: What now? wait (on the page): load falls'
    """
    said = f"decided: {line.text('question')} {line.text('choice')}{_where(line)}"
    return _said(said, line.text("note"))


def _where(line: Line) -> str:
    """Return where a person wrote a line, if it was not in a terminal."""
    return {"page": " (on the page)", "notebook": " (in the notebook)"}.get(line.text("origin"), "")


def _continued(line: Line) -> str:
    """Return the text of a timeline entry that says that a run is continued, or why it is not.

    >>> data = {"run_id": "r", "runbook": "RUN-005", "refused": "the runbook has changed"}
    >>> _continued(Line(number=1, kind="continued", at="", by="rbkernel", data=data))
    'RUN-005 is not continued, run r: the runbook has changed'
    """
    verb = "is not continued" if line.text("refused") else "is continued"
    said = f"{line.text('runbook')} {verb}, run {line.text('run_id')}"
    return _said(said, line.text("why"), line.text("refused"))


_KINDS: Mapping[str, str] = {DECIDED: "decision", ASKED_AGAIN: "decision"}
_WORDS: Mapping[str, Callable[[Line], str]] = {
    "opened": lambda line: _said("record opened", line.text("title")),
    "situation": when_alerted,
    "note": lambda line: _said(f"note{_where(line)}", line.text("text")),
    "acknowledged": lambda line: _said(f"acknowledged{_where(line)}", line.text("text")),
    DECIDED: _decided,
    DONE: lambda line: _said(PlanState.DONE + _where(line), line.text("title"), line.text("note")),
    ASKED_AGAIN: lambda line: _said(f"asked again: {line.text('question')}", line.text("why")),
    CONTINUED: _continued,
    "status": _status,
    "sealed": _sealed,
    SEALING: lambda line: f"not {_sealed(line)}: the seal was interrupted",
    "merged": _merged,
    "action": action_step,
    "notified": _notified,
    TICKET: _ticket,
    POSTMORTEM: lambda line: f"postmortem {line.text('state')}, owner {line.text('owner')}",
    "silenced": lambda line: _said(f"silenced until {line.text('until')}", line.text("reason")),
    "closed": lambda line: _said("incident closed", line.text("resolution")),
    "reopened": lambda line: _said("incident reopened", line.text("why")),
}


def _mapping(line: Line, name: str) -> Mapping[str, Any]:
    value = line.data.get(name)
    return value if isinstance(value, Mapping) else {}


class _Told:
    """The answers and actions that the record of the incident holds, so journals need not."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._answers = answers_of(lines)
        self._done = {(line.text("plan"), line.text("note")) for line in lines if line.kind == DONE}

    def has(self, event: Event) -> bool:
        """Tell whether the record holds this event of a journal."""
        data = {name: str(value) for name, value in event.data.items()}
        if event.kind == "decision":
            return self._answers.has(data.get("identity", ""), data.get("at", ""))
        return event.kind == "done" and (data.get("plan"), data.get("note")) in self._done


def _of_run(run: Record, told: _Told) -> Iterator[Entry]:
    """Yield the timeline entries of a run's journal.

    They are the beginning and end of each execution, with its findings, decisions, plans, actions
    and notes. Answers and actions that the incident's record holds are left out.
    """
    name = run.runbook or "a notebook"
    entry = _Teller(run, name)
    for one in executions(run):
        yield from _of_execution(run, one, entry)
    for event in run.events:
        if told.has(event):
            continue
        if shown := _event(event, entry):
            yield shown


def _of_execution(run: Record, one: Execution, entry: _Teller) -> Iterator[Entry]:
    named = _named(run.runbook or "a notebook", one.run.title if one.run else "")
    continues = f", continues {one.run.continues}" if one.run and one.run.continues else ""
    again = f" again (execution {one.number})" if one.number > 1 else ""
    yield entry(one.started_at, "run", f"{named}: started{again}{continues}")
    for cell, repeated in one.cells_to_tell:
        yield entry(cell.started_at, "cell", _cell(cell, repeated=repeated))
    if one.ended_at:
        whole = run.complete if one.is_last else one.complete
        verdict = run.verdict if one.is_last else one.verdict
        unfinished = "so far, not complete" if one.is_last else "ended without a summary"
        said = "ended" if whole else unfinished
        number = f" (execution {one.number})" if one.number > 1 else ""
        what = f"{named}: {said}{number}: {verdict.value}"
        yield entry(one.ended_at, "run", what, verdict.value)


def _cell(cell: CellRun, *, repeated: bool) -> str:
    """Return the text of a timeline entry for a cell that ran again, failed or was interrupted.

    >>> cell = CellRun(msg_id="", code="lag = look()", cell_id=None, status="interrupted",
    ...                execution_count=1, started_at="", ended_at="", outputs=())
    >>> _cell(cell, repeated=True)
    'cell “lag = look()” run again: interrupted'
    """
    state = "" if cell.status == reading.DONE else cell.status
    again = "run again" if repeated else ""
    return f"cell “{first_line(cell.code)}” {_said(again, state)}"


def _named(name: str, title: str) -> str:
    return f"{name} {title}" if title and title != name else name


class _Teller:
    """Makes the timeline entries of one run: all have the same source."""

    def __init__(self, run: Record, name: str) -> None:
        self.run_id = run.run_id
        self._run = f"{name} {run.run_id}"
        headless = run.run.headless if run.run else True
        self._who = "" if headless else str(run.kernel.get("user", ""))

    def __call__(
        self, at: str, kind: str, what: str, verdict: str = "", *, human: bool = False
    ) -> Entry:
        source = f"{self._who}, in {self._run}" if human and self._who else self._run
        return Entry(
            at=utc(at), kind=kind, what=what, source=source, run_id=self.run_id, verdict=verdict
        )


def _event(event: Event, entry: _Teller) -> Entry | None:
    """Return the timeline entry of a decision, plan, action or note; None for other events."""
    data = {name: "" if value is None else str(value) for name, value in event.data.items()}
    at, state = data.get("at") or event.at, data.get("state", "")
    if event.kind == "decision" and state == DecisionState.CHOSEN:
        said = f"decided: {data.get('question', '')} {data.get('choice', '')}"
        return entry(at, "decision", said, human=True)
    if event.kind == "decision" and state == DecisionState.PARKED:
        advice = f" (recommended: {data['recommended']})" if data.get("recommended") else ""
        return entry(at, "decision", f"waiting for a decision: {data.get('question', '')}{advice}")
    text = data.get("sql") or data.get("command")
    if event.kind == "plan" and state == PlanState.PROPOSED and text:
        on = f", on {data['connection']}" if data.get("connection") else ""
        return entry(event.at, "plan", f"proposed: {data.get('title', '')}{on}")
    if event.kind == "done":
        said = _said(PlanState.DONE, data.get("title", ""), data.get("note", ""))
        return entry(at, "done", said, human=True)
    if event.kind == "note":
        return entry(event.at, "note", _said("note", data.get("text", "")), human=True)
    return None


def _findings(runs: Iterable[Record]) -> Iterator[Entry]:
    """Yield an entry whenever a finding is first not ok, or its verdict changes.

    In a journal with several executions, also yield everything that each execution found not ok.
    """
    looked = sorted(
        ((one, event, run) for run in runs for one, event in _looks(run)),
        key=lambda look: instant(look[1].at),
    )
    before: dict[tuple[str, str, str], tuple[str, str, object]] = {}
    for one, event, run in looked:
        title, verdict = str(event.data.get("title", "")), str(event.data.get("verdict", ""))
        place = (run.runbook, _parameters(one), title)
        was, its_run, its_cell = before.get(place, ("", run.run_id, event.parent))
        before[place] = (verdict, run.run_id, event.parent)
        again = its_run == run.run_id and its_cell != event.parent and verdict != Verdict.OK.value
        if verdict != (was or Verdict.OK.value) or again:
            teller = _Teller(run, run.runbook or "a notebook")
            change = _change(was, verdict)
            said = _said(title, change, str(event.data.get("actual", "")), _cause(event))
            yield teller(event.at, "finding", said, verdict)


def _looks(run: Record) -> Iterator[tuple[Execution, Event]]:
    for one in executions(run):
        for event in one.events:
            if event.kind == "finding":
                yield one, event


def _change(was: str, verdict: str) -> str:
    """Describe the change from a finding's previous verdict, which may be empty, to its new one.

    >>> _change("", "critical"), _change("critical", "critical"), _change("critical", "ok")
    ('critical', 'still critical', 'critical → ok')
    """
    if was == verdict:
        return f"still {verdict}"
    return f"{was} → {verdict}" if was else verdict


def _cause(event: Event) -> str:
    cause = str(event.data.get("cause") or "")
    return "" if cause in {event.data.get("title"), event.data.get("actual")} else cause


def _parameters(one: Execution) -> str:
    """Return an execution's parameters as a text, to distinguish executions of one runbook."""
    given = one.run.parameters if one.run else {}
    return repr(sorted((str(name), str(value)) for name, value in given.items()))
