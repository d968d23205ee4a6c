"""Derive the events that people are notified of from an incident's evidence. Pure.

An event is due because of a line in `incident.jsonl`, or because time has passed. Its key is the
same in every process, however often the event is derived. So a crash loses no event, and no event
is notified twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from rbkernel import amounts
from rbkernel.config.notify import EventKind
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import (
    SEVERE,
    AlertOutcome,
    Answers,
    IncidentRecord,
    IncidentState,
    Line,
    RunHistory,
    RunState,
    instant,
)
from rbkernel.evidence.reading import Record
from rbkernel.evidence.timeline import alert_name, wrong_when_alerted
from rbkernel.gateway.jobs.records import StoredAlert
from rbkernel.gateway.jobs.states import AlertState
from rbkernel.gateway.notify.timers import timers
from rbkernel.model import (
    SEVERITY_LABELS,
    DecisionState,
    Finding,
    Severity,
    Verdict,
    by_urgency,
)
from rbkernel.runbook.frontmatter import FrontMatter

_OVER = frozenset({RunState.ENDED, RunState.SEALED})
_RBKERNEL = "rbkernel"
# a run that has not started after this time is an event: nothing has checked its alert
WAITS_TOO_LONG = timedelta(minutes=5)
# a situation is captured in a tenth of a second, unless its server is slow
SITUATION_WAIT = timedelta(seconds=1)
_ENDINGS = frozenset({"closed", "reopened"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event that people are notified of; ``page`` is the run or incident to look at.

    ``kind`` is an `EventKind`, or the name of the sender that gets a reply (`replies`). ``facts``
    are the values for the templates, as JSON data.
    """

    key: str
    kind: str
    at: str
    incident: str
    severity: Severity
    page: str
    facts: Mapping[str, Any]


class Evidence(Protocol):
    """The interface that reads facts for events; an unavailable fact is None or empty."""

    def run(self, run_id: str) -> Record | None:
        """Return the record of a run from its journal; None if it cannot be read."""

    def answers(self, record: IncidentRecord) -> Answers:
        """Return the answers in a record, and in those that were merged into it."""

    def head(self, seal_id: str) -> str:
        """Return the hash of a seal, which is to be published; empty if there is no such seal."""

    def front_matter(self, runbook: str) -> FrontMatter | None:
        """Return the front matter of a runbook; None if there is no such runbook."""

    def draft(self, record: IncidentRecord, now: datetime) -> str:
        """Return the draft of an incident's next status update."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """The events that are due now; ``look_again`` is when time alone makes another event due.

    ``stale`` are events that are not sent, but known from now on.
    """

    events: tuple[Event, ...]
    look_again: datetime | None
    stale: tuple[Event, ...] = ()


def due(
    record: IncidentRecord,
    evidence: Evidence,
    *,
    known: Collection[str],
    now: datetime,
) -> Due:
    """Return the events of an incident that people have not been notified of yet.

    Parameters
    ----------
    record
        The incident's record.
    evidence
        Runs, heads and runbooks; queried only for new events.
    known
        Keys of events that are already recorded.
    now
        The current time, with its time zone.
    """
    said = _Incident(record, evidence, frozenset(known), now)
    events = [*said.unhandled(), *said.broken_glass(), *said.of_runs(), *said.raised()]
    events += said.of_seals()
    timed = [*said.started(), *said.timed(), *said.not_started()]
    late = [event for at, event in timed if at <= now and event.key not in known]
    later = [at for at, _event in timed if at > now]
    return Due(events=(*events, *late), look_again=min(later, default=None))


def of_waiting(stored: StoredAlert) -> Event:
    """Return the event for an alert that has waited too long for its incident's record."""
    alert = stored.alert
    reason = (
        stored.problem or "the alert is not processed yet: check that `rbkernel serve` is running"
    )
    if stored.state == AlertState.PLACED:
        reason = (
            f"the record of {stored.incident} cannot be written: see the log of `rbkernel serve`"
        )
    name = alert.name or alert.fingerprint
    severity = next((alert.labels[one] for one in SEVERITY_LABELS if alert.labels.get(one)), "")
    return Event(
        key=f"unhandled/{alert.identity[:16]}",
        kind="unhandled",
        at=stored.received_at.isoformat(),
        incident="",
        severity=severity_of(severity, None),
        page="",
        facts={"title": name, "alert": name, "not_run": reason, "ran": False},
    )


class _Incident:
    """Derives the events of one incident at one point in time."""

    def __init__(
        self,
        record: IncidentRecord,
        evidence: Evidence,
        known: frozenset[str],
        now: datetime,
    ) -> None:
        self.record = record
        self.evidence = evidence
        self.known = known
        self.now = now

    def unhandled(self) -> Iterator[Event]:
        """Yield an event for each firing alert that did not get the intended run."""
        for line in caveats.unhandled(self.record):
            key = f"unhandled/{line.text('identity')[:16] or line.number}"
            if key in self.known:
                continue
            ran = line.text("outcome") != AlertOutcome.NO_RUN
            facts = {"alert": alert_name(line), "not_run": line.text("why"), "ran": ran}
            yield self._event("unhandled", key, line.at, None, facts)

    def broken_glass(self) -> Iterator[Event]:
        """Yield an event for each action that a person approved alone; it is always critical."""
        for action in self.record.actions:
            one, key = action.broken_glass, f"break-glass/{action.digest[:16]}"
            if one is None or key in self.known:
                continue
            needed = amounts.count(action.needed, "approver")
            if not action.facts.get("proposer_may_approve"):
                needed += ", not the person who asked,"
            facts = {
                "by": one.by,
                "reason": one.break_glass,
                "action": action.title,
                "connection": str(action.facts.get("connection", "")),
                "needed": needed,
            }
            made = self._event("break-glass", key, one.at, None, facts)
            yield replace(made, severity=Severity.CRITICAL)

    def not_started(self) -> Iterator[tuple[datetime, Event]]:
        """Yield an event for each queued run, with the time at which it has waited too long."""
        if (
            not self.record.alerts
            or self.record.state == IncidentState.CLOSED
            or self.record.merged_into
        ):
            return
        for run in self.record.runs:
            if run.state != RunState.QUEUED:
                continue
            at = instant(run.queued_at) + WAITS_TOO_LONG
            reason = (
                f"the run was queued at {run.queued_at[:19]} UTC and has not started: check"
                " the queue on the console, and that a worker is running"
            )
            facts = {"not_run": reason}
            key = f"unhandled/{run.run_id}"
            yield at, self._event("unhandled", key, at.isoformat(), run, facts)

    def started(self) -> Iterator[tuple[datetime, Event]]:
        """Yield an event for each run that started.

        It is due when the record has the situation at the time of the alert, which is part of the
        message: a moment later. The message does not wait longer than `SITUATION_WAIT`.
        """
        seen = any(line.kind == "situation" for line in self.record.lines)
        facts = {"seen": wrong_when_alerted(self.record)}
        for run in self.record.runs:
            key = f"started/{run.run_id}"
            if key not in self.known and _said(self.record, run, RunState.STARTED):
                at = instant(run.started_at)
                over = seen or run.state in _OVER or not self.record.alerts
                event = self._event("started", key, run.started_at, run, facts)
                yield at if over else at + SITUATION_WAIT, event

    def of_runs(self) -> Iterator[Event]:
        for run in self.record.runs:
            found = f"finding/{run.run_id}"
            if run.state in _OVER and found not in self.known:
                yield from self._ended(run, found)

    def _ended(self, run: RunHistory, key: str) -> Iterator[Event]:
        journal = self.evidence.run(run.run_id)
        if journal is None and not run.verdict:
            yield self._without_evidence(run, key)
            return
        verdict = Verdict(run.verdict) if run.verdict in list(Verdict) else Verdict.UNKNOWN
        verdict = journal.verdict if journal else verdict
        # the sealed finding came first, even if the run's end is recorded after the seal
        at = min(filter(None, (run.ended_at, run.sealed_at)), key=instant, default="")
        # both events are due at the same time, and the finding's key marks both as known
        answers = self.evidence.answers(self.record)
        for decision in map(answers.applied, journal.decisions) if journal else ():
            if decision.state == DecisionState.PARKED:
                facts = {"decision": asdict(decision), "verdict": verdict.value}
                parked = f"decision/{run.run_id}/{decision.id}"
                yield self._event("decision", parked, at, run, facts, verdict)
        found: dict[str, Any] = {
            "verdict": verdict.value,
            "findings": [_finding(one) for one in _worst_first(journal)],
            "checks": len(journal.findings) if journal else 0,
            "complete": bool(journal and journal.complete),
            "sealed": bool(run.sealed_at),
            # the run may be ok, and yet the incident is not known to be
            "mind": "; ".join([*caveats.of_alerts(self.record), *_minds(self.record, run)]),
        }
        yield self._event("finding", key, at, run, found, verdict)

    def _without_evidence(self, run: RunHistory, key: str) -> Event:
        """Return the event of a run that ended before its first cell."""
        at = run.ended_at or run.sealed_at
        facts = {"not_run": run.why or "unknown", "verdict": Verdict.UNKNOWN.value}
        return self._event("unhandled", key, at, run, facts, Verdict.UNKNOWN)

    def raised(self) -> Iterator[Event]:
        """Yield an event for each alert that raises the incident's severity but starts no run."""
        worst, started = "", False
        for line in self.record.lines:
            started = started or (line.kind == "run" and line.text("state") == RunState.STARTED)
            said = line.text("severity") if line.kind in SEVERE else ""
            if Severity.place(said) >= Severity.place(worst):
                continue
            was, worst = worst, said
            key = f"raised/{said}"
            joins = line.kind == "alert" and line.text("outcome") != AlertOutcome.STARTED
            if started and joins and key not in self.known:
                facts = {"severity": said, "was": was, "alert": alert_name(line)}
                yield self._event("raised", key, line.at, None, facts)

    def of_seals(self) -> Iterator[Event]:
        runs = {run.run_id: run for run in self.record.runs}
        ending: Line | None = None
        for line in self.record.lines:
            ending = line if line.kind in _ENDINGS else ending
            seal = line.text("run_id") or line.text("record")
            key = f"sealed/{seal}"
            if line.kind != "sealed":
                continue
            if key not in self.known and (head := self.evidence.head(seal)):
                run = runs.get(line.text("run_id"))
                facts = {"head": head, **_closing(None if run else ending)}
                yield self._event("sealed", key, line.at, run, facts)
            if line.text("record"):
                ending = None  # each close is notified once, with the next seal of the record

    def timed(self) -> Iterator[tuple[datetime, Event]]:
        """Yield the event of each timer of the incident, with the time when it is due."""
        found = timers(self.record, self.evidence, known=self.known, now=self.now)
        lasted_s = max(0.0, (self.now - instant(self.record.began.at)).total_seconds())
        for timer in found:
            facts = {**timer.facts, "lasted_min": int(lasted_s // 60)}
            if timer.kind == "update" and timer.at <= self.now and timer.key not in self.known:
                facts["draft"] = self.evidence.draft(self.record, self.now)
            at = timer.at.isoformat()
            yield timer.at, self._event(timer.kind, timer.key, at, timer.run, facts)

    def _event(
        self,
        kind: EventKind,
        key: str,
        at: str,
        run: RunHistory | None,
        facts: Mapping[str, Any],
        verdict: Verdict | None = None,
    ) -> Event:
        record = self.record
        return Event(
            key=key,
            kind=kind,
            at=at,
            incident=record.id,
            severity=severity_of(record.severity, verdict or _verdict(run)),
            page=run.run_id if run else record.id,
            facts={
                "title": record.title,
                "service": record.service,
                "began": record.began.at,
                "alerts": [alert.name for alert in record.alerts],
                "runbook": run.runbook if run else "",
                "runbook_title": run.title if run else "",
                "run_id": run.run_id if run else "",
                "attempt": run.attempt if run else None,
                "why": run.why if run else "",
                "mind": "; ".join(_minds(record, run)) if run else "",
                **facts,
            },
        )


def severity_of(words: str, verdict: Verdict | None) -> Severity:
    """Return the severity of an event, from the incident's severity and the run's verdict.

    >>> [severity_of(*one).value for one in (("warning", None), ("low", Verdict.CRITICAL))]
    ['medium', 'critical']
    >>> severity_of("page somebody", None).value  # words of no scale
    'medium'
    """
    try:
        severity = Severity.parse(words)
    except ValueError:
        severity = Severity.MEDIUM
    return Severity.CRITICAL if verdict is Verdict.CRITICAL else severity


def _verdict(run: RunHistory | None) -> Verdict | None:
    return Verdict(run.verdict) if run and run.verdict in list(Verdict) else None


def _minds(record: IncidentRecord, run: RunHistory) -> list[str]:
    return [*filter(None, [caveats.of_storm(record), caveats.of_run(record, run)])]


def _said(record: IncidentRecord, run: RunHistory, state: RunState) -> bool:
    return any(
        line.kind == "run"
        and line.data.get("run_id") == run.run_id
        and line.data.get("state") == state
        for line in record.lines
    )


def _worst_first(journal: Record | None) -> list[Finding]:
    """Return a run's findings that are not ok, the worst first.

    Findings that another finding explains (symptoms of a known cause) are left out.
    """
    every = by_urgency(journal.findings if journal else ())
    return [one for one in every if one.verdict is not Verdict.OK and not one.explained_by]


def _finding(finding: Finding) -> dict[str, Any]:
    names = ("title", "which", "expected", "actual", "next_step", "opens", "headline")
    return {"verdict": finding.verdict.value, **{name: getattr(finding, name) for name in names}}


def _closing(ending: Line | None) -> dict[str, Any]:
    """Return the facts about how the incident was closed, for the event that it was sealed.

    >>> line = Line(number=1, kind="closed", at="", by="ann", data={"resolution": "resumed"})
    >>> _closing(line), _closing(None)["closed"]
    ({'closed': True, 'resolution': 'resumed', 'closed_by': 'ann'}, False)
    """
    if ending is None or ending.kind != "closed":
        return {"closed": False, "resolution": "", "closed_by": ""}
    by = "" if ending.by == _RBKERNEL else ending.by
    return {"closed": True, "resolution": ending.text("resolution"), "closed_by": by}
