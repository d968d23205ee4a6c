"""Pure: what happened in an incident, in its order, from its record and its runs' journals.

Each entry has the time at which it happened, not when it was heard of (an alert's own times, a
journal's), and says whom it comes from. A finding is told when it is first wrong, or not known,
and each time that it changes, also from one run to the next; what a journal tells of a run
replaces what the record says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from rbkernel.evidence.bundle import runbook_of
from rbkernel.evidence.incident import SEALING, IncidentRecord, Line, instant
from rbkernel.evidence.reading import Event, Record
from rbkernel.model import Verdict


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened.

    ``at`` is UTC, ISO 8601; ``kind`` is that of the record's line, or run, finding, decision,
    plan, done; ``source`` is the run, the sender or the person; ``run_id`` is empty for what no
    run told, ``verdict`` for what has none.
    """

    at: str
    kind: str
    what: str
    source: str
    run_id: str = ""
    verdict: str = ""

    @property
    def short_source(self) -> str:
        """The source, with no more of the run's id than tells it apart from others at a glance."""
        return self.source.replace(self.run_id, self.run_id[-6:]) if self.run_id else self.source


def timeline(record: IncidentRecord, runs: Sequence[Record]) -> tuple[Entry, ...]:
    """Return what happened, oldest first.

    Parameters
    ----------
    record
        What the incident's own record tells.
    runs
        What the journals of its runs tell, open or sealed.
    """
    known = {run.run_id for run in runs}
    told = [entry for line in record.lines for entry in _of_line(line, known)]
    ran = [entry for run in runs for entry in _of_run(run)]
    entries = [*told, *ran, *_findings(runs)]
    return tuple(sorted(entries, key=lambda entry: (instant(entry.at), _RANK.get(entry.kind, 1))))


def utc(at: str) -> str:
    """Return a time of the record in UTC; one that is none as it is.

    >>> utc("2026-11-20T04:02:00+01:00"), utc("soon")
    ('2026-11-20T03:02:00+00:00', 'soon')
    """
    told = instant(at)
    return at if told == instant("") else told.astimezone(UTC).isoformat()


# of what happened at the same time: an alert before the incident that it opens, a seal at last
_RANK = {"alert": 0, "sealed": 2, SEALING: 2, "closed": 2}


def _of_line(line: Line, known: Iterable[str]) -> Iterator[Entry]:
    """Return what a line of the record says; nothing for what a journal tells better."""
    if line.kind == "alert":
        yield _alert(line)
    elif line.kind == "run":
        if line.text("state") == "queued" or line.text("run_id") not in known:
            yield _run_line(line)
    else:
        words = _WORDS.get(line.kind, _anything)
        run_id, verdict = line.text("run_id"), line.text("verdict")
        yield Entry(
            at=utc(line.at),
            kind=line.kind,
            what=words(line),
            source=line.by,
            run_id=run_id,
            verdict=verdict,
        )


def _alert(line: Line) -> Entry:
    """Tell an alert at the time that its sender gave it.

    >>> data = {"status": "resolved", "starts_at": "2026-11-20T03:02:00Z", "source": "grafana",
    ...         "ends_at": "2026-11-20T03:41:00Z", "labels": {"alertname": "Lag"}}
    >>> entry = _alert(Line(number=1, kind="alert", at="2026-11-20T03:41:30Z", by="", data=data))
    >>> entry.at, entry.what, entry.source
    ('2026-11-20T03:41:00+00:00', 'alert resolved: Lag', 'grafana')
    """
    resolved = line.text("status") == "resolved"
    labels, annotations = (_mapping(line, name) for name in ("labels", "annotations"))
    summary = "" if resolved else annotations.get("summary") or annotations.get("description")
    name = str(labels.get("alertname") or line.text("fingerprint"))
    return Entry(
        at=utc(line.text("ends_at" if resolved else "starts_at") or line.at),
        kind="alert",
        what=_said(f"alert {'resolved' if resolved else 'fires'}", name, str(summary or "")),
        source=line.text("source"),
    )


def _run_line(line: Line) -> Entry:
    attempt = line.data.get("attempt")
    again = f" (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else ""
    state = line.text("state") + again
    what = _said(f"{line.text('runbook') or 'run'} {state}", line.text("verdict"), line.text("why"))
    return Entry(
        at=utc(line.at),
        kind="run",
        what=what,
        source=line.by,
        run_id=line.text("run_id"),
        verdict=line.text("verdict"),
    )


def _said(*parts: str) -> str:
    """Join what there is.

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


def _merged(line: Line) -> str:
    if line.data.get("into"):
        return f"merged into {line.text('into')}"
    return f"took in {line.text('from')}"


def _notified(line: Line) -> str:
    """Say who was told what.

    >>> told = {"whom": "on-call", "title": "RUN-005 CRITICAL: Replay is paused"}
    >>> _notified(Line(number=1, kind="notified", at="", by="rbkernel", data=told))
    'told on-call: RUN-005 CRITICAL: Replay is paused'
    """
    told = "could not tell" if line.text("problem") else "told"
    said = _said(f"{told} {line.text('whom')}", line.text("title"))
    return " ".join(filter(None, [said, line.text("problem") and f"({line.text('problem')})"]))


def _anything(line: Line) -> str:
    said = [f"{name}: {value}" for name, value in line.data.items() if value not in ("", None)]
    return _said(line.kind, "; ".join(said))


_WORDS: Mapping[str, Callable[[Line], str]] = {
    "opened": lambda line: _said("record opened", line.text("title")),
    "note": lambda line: _said("note", line.text("text")),
    "status": _status,
    "sealed": _sealed,
    SEALING: lambda line: f"not {_sealed(line)}: a seal was begun and did not end",
    "merged": _merged,
    "notified": _notified,
    "closed": lambda line: _said("incident closed", line.text("resolution")),
    "reopened": lambda line: _said("incident reopened", line.text("why")),
}


def _mapping(line: Line, name: str) -> Mapping[str, Any]:
    value = line.data.get(name)
    return value if isinstance(value, Mapping) else {}


def _of_run(run: Record) -> Iterator[Entry]:
    """Return when a run began and ended, and what was decided, proposed, done and noted in it."""
    name = runbook_of(run) or "a notebook"
    began = (run.run.started_at if run.run else "") or str(run.kernel.get("at", ""))
    title = run.run.title if run.run else ""
    continues = f", continues {run.run.continues}" if run.run and run.run.continues else ""
    entry = _Teller(run, name)
    yield entry(began, "run", f"{_named(name, title)}: started{continues}")
    for event in run.events:
        if told := _event(event, entry):
            yield told
    if ended := max((cell.ended_at for cell in run.cells), default=""):
        whole = "ended" if run.complete else "so far, not complete"
        said = f"{_named(name, title)}: {whole}: {run.verdict.value}"
        yield entry(ended, "run", said, run.verdict.value)


def _named(name: str, title: str) -> str:
    return f"{name} {title}" if title and title != name else name


class _Teller:
    """Makes the entries of one run."""

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
    """Return what people decided, did and wrote, and what waits for them."""
    data = {name: "" if value is None else str(value) for name, value in event.data.items()}
    at, state = data.get("at") or event.at, data.get("state", "")
    if event.kind == "decision" and state == "chosen":
        said = f"decided: {data.get('question', '')} {data.get('choice', '')}"
        return entry(at, "decision", said, human=True)
    if event.kind == "decision" and state == "parked":
        advice = f" (recommended: {data['recommended']})" if data.get("recommended") else ""
        return entry(at, "decision", f"waits for a decision: {data.get('question', '')}{advice}")
    if event.kind == "plan" and state == "proposed" and (data.get("sql") or data.get("command")):
        on = f", on {data['connection']}" if data.get("connection") else ""
        return entry(event.at, "plan", f"proposed: {data.get('title', '')}{on}")
    if event.kind == "done":
        said = _said("done by a human", data.get("title", ""), data.get("note", ""))
        return entry(at, "done", said, human=True)
    if event.kind == "note":
        return entry(event.at, "note", _said("note", data.get("text", "")), human=True)
    return None


def _findings(runs: Iterable[Record]) -> Iterator[Entry]:
    """Return each finding when it is first not ok, and whenever its verdict changes."""
    looked = sorted(
        ((event, run) for run in runs for event in run.of_kind("finding")),
        key=lambda one: instant(one[0].at),
    )
    before: dict[tuple[str, str, str], str] = {}
    for event, run in looked:
        title, verdict = str(event.data.get("title", "")), str(event.data.get("verdict", ""))
        place = (runbook_of(run), _parameters(run), title)
        was = before.get(place, Verdict.OK.value)
        known = place in before
        before[place] = verdict
        if verdict != was:
            teller = _Teller(run, runbook_of(run) or "a notebook")
            change = f"{was} → {verdict}" if known else verdict
            said = _said(title, change, str(event.data.get("actual", "")), _cause(event))
            yield teller(event.at, "finding", said, verdict)


def _cause(event: Event) -> str:
    cause = str(event.data.get("cause") or "")
    return "" if cause in {event.data.get("title"), event.data.get("actual")} else cause


def _parameters(run: Record) -> str:
    """Return what tells apart two looks with one runbook at different places."""
    given = run.run.parameters if run.run else {}
    return repr(sorted((str(name), str(value)) for name, value in given.items()))
