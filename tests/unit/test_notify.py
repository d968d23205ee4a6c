"""What is told of an incident, in which words, how often; addresses stay secret."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel.config import Settings
from rbkernel.config.notify import Notify, Target
from rbkernel.errors import ConfigError, NotifyError
from rbkernel.evidence import incident as records
from rbkernel.evidence.reading import Record, read
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import apprise_channel as channel
from rbkernel.gateway.notify.events import SITUATION_WAIT, Event, due
from rbkernel.gateway.notify.messages import Words, level_of
from rbkernel.gateway.notify.notifier import Notifier
from rbkernel.gateway.notify.outbox import Outbox
from rbkernel.incidents import status
from rbkernel.incidents.status import next_due
from rbkernel.model import Severity
from rbkernel.runbook.frontmatter import FrontMatter
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, whole_run

# apprise's plugins import it
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
ADDRESS = "https://rb.example"
OPTIONS = ("wait", "resume replay")


class Told:
    """Facts as a test wants them."""

    def __init__(self, record: Record | None = None, **front_matter: Any) -> None:
        self.record = record
        self.asked = 0
        needed = {"id": "RUN-005", "title": "t", "summary": "s", "owner": "o"}
        given = {**needed, "category": "incident", "severity": "SEV2", **front_matter}
        self.runbook = FrontMatter.model_validate(given) if front_matter else None

    def run(self, run_id: str) -> Record | None:
        self.asked += 1
        return self.record

    def answers(self, record: records.IncidentRecord) -> records.Answers:
        return records.answers_of(record.lines)

    def head(self, seal_id: str) -> str:
        return "ab" * 32

    def front_matter(self, runbook: str) -> FrontMatter | None:
        return self.runbook

    def draft(self, record: records.IncidentRecord, now: datetime) -> str:
        return status.draft(record, (), now).text


def parked(journal: Journal) -> None:
    journal.event("decision", id="d1", question="What now?", options=OPTIONS, state="parked")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "evidence"
    records.append(
        *(root, INCIDENT, "opened"), by="rbkernel", title="Lag of orders", severity="warning"
    )
    return root


def say(root: Path, kind: str = "run", by: str = "rbkernel", **said: Any) -> None:
    if kind == "run":
        said = {"run_id": RUN_ID, "runbook": "RUN-005", "attempt": 1, **said}
    records.append(root, INCIDENT, kind, by=by, **said)


def events(root: Path, told: Told, *known: str, now: datetime | None = None) -> list[Event]:
    now = now or datetime.now(UTC)
    return list(due(records.read(root, INCIDENT), told, known=known, now=now).events)


def test_the_first_message_has_what_was_wrong_when_the_alert_arrived(root: Path) -> None:
    cause = "refund-job (pid 422, idle in transaction for 5 min 46 s) blocks 47 sessions"
    say(root, "situation", connection="orders", verdict="critical", causes=[cause])
    say(root, "situation", connection="stock", verdict="ok", causes=[])
    say(root, state="started")
    message = Words(None, ADDRESS).message(events(root, Told()))
    assert f"UTC, orders when the alert arrived: {cause}\n" in message.body
    assert "stock" not in message.body


def test_the_first_message_waits_a_moment_for_what_was_wrong_when_the_alert_arrived(
    root: Path,
) -> None:
    alerted = {"source": "generic", "fingerprint": "f", "status": "firing", "identity": "i" * 64}
    say(root, "alert", **alerted, outcome="started")
    say(root, state="started")
    [run] = records.read(root, INCIDENT).runs
    began = datetime.fromisoformat(run.started_at)
    at_once = due(records.read(root, INCIDENT), Told(), known=(), now=began)
    assert (at_once.events, at_once.look_again) == ((), began + SITUATION_WAIT)
    [late] = events(root, Told(), now=began + SITUATION_WAIT)
    assert late.facts["seen"] == []
    say(root, "situation", connection="orders", verdict="critical", causes=["it blocks 47"])
    [started] = events(root, Told(), now=began)
    assert "it blocks 47" in started.facts["seen"][0]


def test_a_run_is_told_at_its_start_and_at_its_end(root: Path) -> None:
    say(root, state="queued")
    assert not events(root, Told())
    say(root, state="started")
    [started] = events(root, Told())
    assert (started.kind, started.page) == ("started", RUN_ID)
    journal = whole_run(root)
    parked(journal)
    say(root, state="ended", verdict="critical")
    told = Told(read(journal.folder))
    decision, finding = events(root, told, started.key)
    assert (decision.kind, finding.kind) == ("decision", "finding")
    assert decision.facts["decision"]["question"] == "What now?"
    assert finding.facts["findings"][0]["actual"] == "31.5 s"
    # the alert said warning; what was found is worse
    assert (started.severity, finding.severity) == (Severity.MEDIUM, Severity.CRITICAL)
    # what is known is told no more, and no journal is read for it
    told.asked = 0
    assert not events(root, told, started.key, decision.key, finding.key)
    assert told.asked == 0


def test_a_more_severe_alert_is_told_unless_a_run_of_its_own_tells_it(root: Path) -> None:
    def fires(severity: str, outcome: str) -> None:
        labels = {"alertname": f"Pay {severity}"}
        said: dict[str, Any] = {"severity": severity, "outcome": outcome, "labels": labels}
        say(root, "alert", identity=f"{severity} {outcome}", **said)

    fires("medium", "started")
    say(root, state="started")
    known = f"started/{RUN_ID}"
    fires("high", "started")
    fires("high", "attached")
    assert not events(root, Told(), known)
    fires("critical", "attached")
    [raised] = events(root, Told(), known)
    assert (raised.kind, raised.severity, raised.page) == ("raised", Severity.CRITICAL, INCIDENT)
    message = Words(None, ADDRESS).message([raised])
    assert message.title == "Now CRITICAL: Pay critical"
    assert "was high before this alert" in message.body
    assert not events(root, Told(), known, raised.key)


def test_a_run_whose_journal_is_lost_is_told_as_unknown(root: Path) -> None:
    say(root, state="ended", why="the worker was killed", verdict="unknown")
    [finding] = events(root, Told(None))
    assert finding.facts["verdict"] == "unknown"
    message = Words(None, ADDRESS).message([finding])
    assert message.title == "RUN-005 UNKNOWN: the run did not finish"
    assert "the worker was killed" in message.body


def test_a_run_that_ended_before_its_first_cell_was_no_look(root: Path) -> None:
    say(root, state="ended", why="it cannot be run: no connection is called 'gone'")
    [unhandled] = events(root, Told(None))
    assert unhandled.kind == "unhandled"
    message = Words(None, ADDRESS).message([unhandled])
    assert message.title == "RUN-005 did not run"
    assert "Reason: it cannot be run: no connection is called 'gone'" in message.body
    assert "Next: " in message.body


def test_a_decision_that_nobody_makes_is_escalated(root: Path) -> None:
    journal = whole_run(root)
    parked(journal)
    say(root, state="ended")
    told = Told(
        read(journal.folder), response_time="15 minutes", on_call="#db", escalation="Team Lead"
    )
    keys = [event.key for event in events(root, told)]
    assert keys == [f"decision/{RUN_ID}/d1", f"finding/{RUN_ID}"]
    now = datetime.now(UTC)
    found = due(records.read(root, INCIDENT), told, known=keys, now=now)
    assert not found.events
    assert found.look_again is not None
    assert timedelta(minutes=14) < found.look_again - now < timedelta(minutes=15)
    late = now + timedelta(minutes=16)
    [escalation] = events(root, told, *keys, now=late)
    assert escalation.facts["contact"] == "Team Lead"
    say(root, "note", text="by the gateway")
    assert events(root, told, *keys, now=late)
    say(root, "note", by="ann", text="I am looking")
    assert not events(root, told, *keys, now=late)


def test_who_acknowledged_before_the_run_asked_is_not_called_again(root: Path) -> None:
    say(root, state="started")
    say(root, "acknowledged", by="ann", text="")
    journal = whole_run(root)
    parked(journal)
    say(root, state="ended")
    told = Told(read(journal.folder), response_time="15 minutes")
    keys = [event.key for event in events(root, told)]
    late = datetime.now(UTC) + timedelta(minutes=16)
    assert not events(root, told, *keys, now=late)
    for kind in ("closed", "reopened"):
        say(root, kind, by="rbkernel")
    assert [one.kind for one in events(root, told, *keys, now=late)] == ["escalation"]


def test_the_path_of_escalation_is_followed_until_it_is_over(root: Path) -> None:
    say(root, state="started")
    levels = [{"level": "L2", "after": "1 h", "contact": "Lead"}, {"level": "L9", "after": "9 h"}]
    levels.append({"level": "L3", "after": "1 h", "severity": "P0"})  # the incident is milder
    told = Told(escalation={"levels": levels, "provide": "The sealed run"})
    known = [event.key for event in events(root, told)]
    late = datetime.now(UTC) + timedelta(minutes=61, seconds=30)
    [escalation] = events(root, told, *known, now=late)
    assert escalation.facts["contact"] == "Lead"
    message = Words(None, ADDRESS).message([escalation])
    assert message.title == "Escalate to L2: Lead"
    assert "The incident has lasted more than 1 h. It began 61 min ago" in message.body
    assert "The sealed run" in message.body
    for kind, by in (("closed", "ann"), ("reopened", "ann"), ("closed", "ann")):
        say(root, kind, by=by)
        assert bool(events(root, told, *known, now=late)) == (kind == "reopened")


def test_a_level_is_called_when_its_number_of_attempts_has_failed(root: Path) -> None:
    levels = [{"level": "L2", "after_attempts": 2, "after": "9 h", "contact": "Lead"}]
    told = Told(escalation={"levels": levels})

    def calls() -> list[str]:
        found = events(root, told, now=datetime.now(UTC) + timedelta(minutes=1))
        return [one.facts["why"] for one in found if one.kind == "escalation"]

    def run(number: int, verdict: str) -> None:
        say(root, run_id=f"{RUN_ID[:-1]}{number}", state="ended", verdict=verdict)

    run(1, "critical")  # nobody had tried anything
    for number, verdict in ((2, "ok"), (3, "critical")):
        say(root, "done", by="ann", plan="resume replay", note=str(number))
        say(root, "done", by="ann", plan="restart", note=str(number))
        run(number, verdict)
    assert calls() == []  # one worked, one failed
    say(root, "done", by="ann", plan="resume replay", note="again")
    assert calls() == []  # not known yet
    run(4, "warning")
    assert calls() == ["2 attempts have failed"]


@pytest.mark.parametrize("verdict", ["ok", "warning", "critical", "unknown"])
def test_a_run_that_needs_somebody_is_escalated_if_nobody_responds(
    root: Path, verdict: str
) -> None:
    say(root, state="ended", verdict=verdict)
    told = Told(response_time="15 minutes", on_call="#db")
    late = datetime.now(UTC) + timedelta(minutes=16)
    calls = [one for one in events(root, told, now=late) if one.kind == "escalation"]
    assert len(calls) == (verdict != "ok")
    assert all("nobody has responded within 15 minutes" in one.facts["why"] for one in calls)
    say(root, "acknowledged", by="ann")
    assert "escalation" not in {one.kind for one in events(root, told, now=late)}


def test_each_level_has_its_time_to_respond_then_the_next_is_called(root: Path) -> None:
    say(root, state="ended", verdict="critical")
    levels = [
        {"level": "L1", "contact": "on call", "response_time": "5 minutes"},
        {"level": "L2", "contact": "lead", "response_time": "15 minutes"},
        {"level": "L3", "contact": "manager", "response_time": "30 minutes"},
        {"level": "L4", "contact": "CTO", "response_time": "1 hour", "severity": "P0"},
    ]
    told = Told(response_time="5 minutes", escalation={"levels": levels})
    since = datetime.fromisoformat(records.read(root, INCIDENT).runs[0].ended_at)

    def called(after_min: float) -> list[tuple[str, str]]:
        found = events(root, told, now=since + timedelta(minutes=after_min))
        calls = [one.facts for one in found if one.kind == "escalation"]
        return [(one["level"], one["why"].rpartition("within ")[2]) for one in calls]

    assert called(4) == []
    assert called(6) == [("L2", "5 minutes")]
    assert called(21) == [("L2", "5 minutes"), ("L3", "20 minutes")]
    assert len(called(600)) == 2  # L4 is for P0 only
    say(root, "acknowledged", by="ann")
    assert called(600) == []


@pytest.mark.parametrize(("severity", "after_min"), [("SEV1", 0), ("SEV2", 15), ("SEV3", 40)])
def test_the_response_time_is_that_of_the_severity(
    tmp_path: Path, severity: str, after_min: int
) -> None:
    records.append(tmp_path, INCIDENT, "opened", by="ann", title="slow", severity=severity)
    say(tmp_path, state="ended", verdict="critical")
    levels = [
        {"level": "SEV1", "response_time": "Immediate", "any_of": ["down"]},
        {"level": "SEV2", "response_time": "15 min", "any_of": ["slow"]},
    ]
    told = Told(response_time="40 min", severity_levels=levels)
    since = datetime.fromisoformat(records.read(tmp_path, INCIDENT).runs[0].ended_at)
    for minutes, due_now in ((after_min - 1, False), (after_min + 1, True)):
        found = events(tmp_path, told, now=since + timedelta(minutes=minutes))
        assert ("escalation" in {one.kind for one in found}) is due_now


def test_a_status_update_is_asked_for_with_a_draft(root: Path) -> None:
    say(root, state="started")
    told = Told(communication={"every": "20 minutes"})

    def asked(*known: str, after_min: float) -> list[Event]:
        record = records.read(root, INCIDENT)
        since = record.statuses[-1].at if record.statuses else record.opened_at
        now = datetime.fromisoformat(since) + timedelta(minutes=after_min)
        return [one for one in events(root, told, *known, now=now) if one.kind == "update"]

    assert not asked(after_min=19)
    [first] = asked(after_min=21)
    message = Words(None, ADDRESS).message([first])
    assert message.title == "Status update due: Lag of orders"
    assert "Status: Investigating" in message.body
    assert not asked(first.key, after_min=39)
    [second] = asked(first.key, after_min=41)
    [third] = asked(first.key, second.key, after_min=61)
    assert not asked(first.key, second.key, third.key, after_min=600)  # nobody is going to
    say(root, "status", by="ann", status="Identified", impact="late mail", action="", eta="")
    assert not asked(first.key, second.key, third.key, after_min=19)
    [next_one] = asked(first.key, second.key, third.key, after_min=21)
    assert "late mail" in next_one.facts["draft"]
    assert "update" not in {one.kind for one in events(root, Told(), now=datetime.now(UTC))}


@pytest.mark.parametrize("verdict", ["ok", "warning"])
def test_runs_by_hand_open_an_incident_only_when_they_are_not_ok(
    tmp_path: Path, verdict: str
) -> None:
    sealed = {"run_id": RUN_ID, "runbook": "RUN-005", "verdict": verdict, "title": "t"}
    at = "2026-11-20T03:00:00+00:00"
    lines = [
        records.Line(number=1, kind="opened", at=at, by="rbkernel", data={"title": ""}),
        records.Line(number=2, kind="sealed", at=at, by="rbkernel", data=sealed),
    ]
    record = records.tell(lines, INCIDENT)
    told = Told(escalation={"levels": [{"level": "L2", "after": "1 h", "contact": "Lead"}]})
    found = due(
        record, told, known=[f"finding/{RUN_ID}", f"sealed/{RUN_ID}"], now=datetime.now(UTC)
    )
    opens = verdict != "ok"
    assert record.state == ("open" if opens else "runs only")
    assert [one.kind for one in found.events] == (["escalation"] if opens else [])
    assert bool(next_due(record, datetime.now(UTC))) == opens
    note = records.Line(number=3, kind="note", at=at, by="ann", data={"text": "look"})
    assert records.tell([*lines, note], INCIDENT).state == "open"


def event(kind: Any = "finding", incident: str = INCIDENT, **facts: Any) -> Event:
    verdict = {"verdict": "critical", "findings": [], "complete": True}
    return Event(
        key=f"{kind}/{facts.get('runbook', RUN_ID)}",
        kind=kind,
        at=datetime.now(UTC).isoformat(),
        incident=incident,
        severity=Severity.CRITICAL,
        page=RUN_ID,
        facts={"title": "Lag", "runbook": "RUN-005", **verdict, **facts},
    )


def test_the_end_of_a_run_is_one_message_with_one_link(root: Path) -> None:
    journal = whole_run(root)
    parked(journal)
    say(root, state="ended")
    found = [*events(root, Told(read(journal.folder))), event("sealed", head="ab" * 32)]
    message = Words(None, ADDRESS).message(found)
    assert message.title == "RUN-005 CRITICAL: Replay lag: 31.5 s"
    assert message.level == "failure"
    assert message.body.splitlines() == [
        "RUN-005 asks: What now? wait, resume replay.",
        "RUN-005 is sealed",
        f"Head: {'ab' * 32}",
        "Keep this message: the head proves later that the evidence was not changed.",
        "",
        f"{INCIDENT}: Lag of orders {ADDRESS}/rbkernel/runs/{RUN_ID}",
    ]
    signed = message.with_links(lambda what: f"<{what}>", ADDRESS)
    assert signed.endswith(f" <{RUN_ID}>")


def test_a_message_is_the_cause_the_question_and_the_link() -> None:
    finding = {"verdict": "critical", "headline": "Replay is paused", "actual": "31.5 s behind"}
    asked = {"question": "What now?", "options": [*OPTIONS, "escalate"]}
    about: dict[str, Any] = {"run_id": RUN_ID, "findings": [finding], "sealed": False}
    found = event(**about, next_step="ask who paused it")
    question = event("decision", run_id=RUN_ID, decision={**asked, "recommended": OPTIONS[1]})
    message = Words(None, ADDRESS).message([found, question])
    assert [message.title, *message.body.splitlines()] == [
        "RUN-005 CRITICAL: Replay is paused: 31.5 s behind",
        "RUN-005 asks: What now? Recommended: resume replay. Or: wait, escalate.",
        f"{INCIDENT}: Lag {ADDRESS}/rbkernel/runs/{RUN_ID}",
    ]
    # without a question, the message says more
    assert "CRITICAL Replay is paused: 31.5 s behind" in Words(None, ADDRESS).message([found]).body


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("findings", [0, 1])
def test_what_is_not_known_never_reads_as_ok(complete: bool, findings: int) -> None:
    unseen = {"verdict": "unknown", "headline": "Replay lag", "actual": "connection refused"}
    told = event(verdict="unknown", findings=[unseen] * findings, complete=complete, checks=3)
    for message in (Words(None, ADDRESS).message([told]), Words(None, ADDRESS).digest([told])):
        said = message.title + message.body
        assert "UNKNOWN" in said
        assert "no problem" not in said
        assert "all ok" not in said
        assert ("Replay lag: connection refused" in said) == bool(findings)
    assert level_of([replace(told, severity=Severity.LOW)]) == "warning"


def test_a_run_that_looked_elsewhere_is_no_all_clear() -> None:
    mind = "RUN-005 cannot be run; RUN-000 looks at sandbox-primary instead"
    looked = event("finding", verdict="ok", complete=True, checks=3, mind=mind)
    for message in (Words(None, ADDRESS).message([looked]), Words(None, ADDRESS).digest([looked])):
        assert "no problem found" not in message.title + message.body
        assert f"Note: {mind}" in message.body
        assert level_of([replace(looked, severity=Severity.LOW)]) == "warning"
    assert Words(None, ADDRESS).message([looked]).body.startswith(f"Note: {mind}\n")


def test_what_was_held_back_comes_together() -> None:
    many = [event("finding", f"INC-{number}") for number in range(30)]
    message = Words(None, ADDRESS).digest([*many, event("started", "INC-0")])
    assert message.title == "31 events in 30 incidents, delayed by the rate limit"
    assert "INC-9: Lag" in message.body
    assert "And 20 more incidents:" in message.body
    signed = message.with_links(lambda what: f"<{what}>", ADDRESS)
    assert "<INC-1>" in signed
    assert signed.endswith("<>")
    assert ADDRESS not in signed


def test_what_a_label_says_is_text_and_no_more() -> None:
    said = "a\n\x1b[2J@everyone <!channel> password=hunter2hunter2 " + "x" * 5000
    finding = {"verdict": "critical", "headline": said, "actual": said, "next_step": said}
    message = Words(None, ADDRESS).message([event(findings=[finding] * 9, title=said)])
    text = message.title + message.body
    for bad in ("\x1b", "@everyone", "<!channel", "hunter2"):
        assert bad not in text
    assert len(message.title) <= 150
    assert len(message.body) <= 3000
    assert message.body.endswith(f"{ADDRESS}/rbkernel/runs/{RUN_ID}")


def test_a_template_of_the_teams_own(tmp_path: Path) -> None:
    (tmp_path / "finding.txt.j2").write_text("Look: {{ verdict }}\n{{ incident }}")
    message = Words(tmp_path, ADDRESS).message([event()])
    assert (message.title, message.body.splitlines()[0]) == ("Look: critical", INCIDENT)
    (tmp_path / "finding.txt.j2").write_text("{{ verdict.no.such + 1 }}")
    words = Words(tmp_path, ADDRESS)
    assert words.message([event()]).title.startswith("RUN-005 CRITICAL")  # ours
    assert "finding.txt.j2" in words.problems[0]
    (tmp_path / "digest.txt.j2").write_text("{% for %}")
    with pytest.raises(NotifyError, match="template"):
        Words(tmp_path, ADDRESS).check()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(Store.open(f"sqlite:///{tmp_path}/store.sqlite"))


ALL = Target(name="all", url_env="X")
NIGHT = Target(name="night", url_env="X", events="decision", severities=["SEV1"])


def test_who_is_told_of_some_things_gets_no_link_to_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    notifier = Notifier(Settings(), Store.open(f"sqlite:///{tmp_path}/store.sqlite"))
    console = f"{Settings().gateway.address}/rbkernel"
    assert notifier._link(NIGHT, "") == console
    assert notifier._link(ALL, "").startswith(f"{console}?link=everything~")
    assert notifier._link(NIGHT, INCIDENT).startswith(f"{console}/incidents/{INCIDENT}?link=")


def test_the_seal_of_a_run_waits_for_company_but_not_for_long(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.time()]
    monkeypatch.setattr("rbkernel.gateway.notify.outbox.time.time", lambda: clock[0])
    outbox.add([event("sealed", head="ab" * 32)], [ALL])
    assert outbox.claim("all", Notify()) is None
    outbox.add([event("finding")], [ALL])
    claimed = outbox.claim("all", Notify())
    assert claimed is not None
    assert {one.kind for one in claimed.events} == {"finding", "sealed"}
    outbox.sent("all", claimed.events)
    outbox.add([event("sealed", "INC-2", head="cd" * 32)], [ALL])
    assert outbox.claim("all", Notify()) is None
    clock[0] += 10
    claimed = outbox.claim("all", Notify())
    assert claimed is not None
    outbox.sent("all", claimed.events)
    # who closed an incident waits for the head of its record
    outbox.add([event("sealed", "INC-3", head="ef" * 32, closed=True)], [NIGHT, ALL])
    assert outbox.claim("all", Notify()) is not None


def test_each_target_is_told_what_it_wants_once(outbox: Outbox) -> None:
    calm = replace(event("decision", "INC-2"), severity=Severity.LOW)
    given = [event(), event("decision"), calm]
    for _again in range(2):
        outbox.add(given, [ALL, NIGHT])
    assert outbox.known(INCIDENT) == {given[0].key, given[1].key}
    limits = Notify()
    claimed = outbox.claim("night", limits)
    assert claimed is not None
    assert claimed.events == (given[1],)
    assert outbox.claim("night", limits) is None  # another gateway has it now
    outbox.sent("night", claimed.events)
    assert outbox.claim("night", limits) is None
    claimed = outbox.claim("all", limits)
    assert claimed is not None
    assert {(one.incident, one.key) for one in claimed.events} == {
        (one.incident, one.key) for one in given
    }
    outbox.add([], [ALL], stale=[event("started")])
    assert f"started/{RUN_ID}" not in {one.key for one in claimed.events}
    assert outbox.waiting("all").pending == 3


def test_a_target_that_fails_is_left_alone_for_a_while(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("rbkernel.gateway.notify.outbox.time.time", lambda: clock[0])
    limits = Notify(give_up_h=1)
    outbox.add([event()], [ALL])
    waits = []
    for _try in range(6):
        claimed = outbox.claim("all", limits)
        assert claimed is not None
        assert not outbox.failed("all", claimed.events, "answered 500", limits)
        outbox.add([event("started")], [ALL])  # what is new waits with it
        before = clock[0]
        while outbox.claim("all", limits) is None:
            clock[0] += 1
        waits.append(clock[0] - before)
        clock[0] += 121  # the claim of the loop ends
    assert waits == [5, 10, 20, 40, 60, 60]
    assert outbox.waiting("all").problem == "answered 500"
    clock[0] += 3600
    claimed = outbox.claim("all", limits)
    assert claimed is not None
    assert outbox.failed("all", claimed.events, "answered 500", limits)
    assert outbox.claim("all", limits) is None
    assert outbox.waiting("all").given_up == 2


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"url": "slack://token"}, "secret into the file"),
        ({}, "either url_env or url_command"),
        ({"url_env": "X", "events": "everything"}, "started"),
        ({"url_env": "X", "severities": ["loud"]}, "unknown severity"),
        ({"url_env": "X", "name": "No Name"}, "name"),
    ],
)
def test_a_target_that_cannot_be(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings.model_validate(
            {"notify": {"targets": {"x": {**fields}}}}
            if "name" not in fields
            else {"notify": {"targets": {fields["name"]: {"url_env": "X"}}}}
        )


def test_addresses_come_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(name="chat", url_env="RB_TEST_CHAT")
    with pytest.raises(ConfigError, match="not set"):
        target.urls()
    monkeypatch.setenv("RB_TEST_CHAT", " json://a/ \n json://b/ ")
    assert target.urls() == ("json://a/", "json://b/")
    assert channel.names(target) == "JSON"
    printed = Target(name="chat", url_command=("echo", "json://c/"))
    assert printed.urls() == ("json://c/",)
    failing = Target(name="chat", url_command=("sh", "-c", "echo slack://secret; exit 3"))
    with pytest.raises(ConfigError, match="CalledProcessError") as caught:
        failing.urls()
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("RB_TEST_CHAT", "nonsense://secret")
    with pytest.raises(NotifyError, match="does not understand") as not_known:
        channel.services(target)
    assert "secret" not in str(not_known.value)


def test_without_apprise_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    monkeypatch.setenv("RB_TEST_CHAT", "json://a/")
    with pytest.raises(NotifyError) as caught:
        channel.services(Target(name="chat", url_env="RB_TEST_CHAT"))
    assert "pip install 'rbkernel[notify]'" in caught.value.next_step


def test_an_event_goes_through_the_store_unchanged(outbox: Outbox) -> None:
    one = event("decision", decision={"options": ["a", "b"]})
    outbox.add([one], [ALL])
    claimed = outbox.claim("all", Notify())
    assert claimed is not None
    assert json.dumps(claimed.events[0].facts) == json.dumps(one.facts)
    assert claimed.messages == 5
