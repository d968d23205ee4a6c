"""From an alert on disk to its incident and its jobs; whatever step dies is gone on from."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.config.queue import Grouping, Queue, RouteRule, Schedule
from rbkernel.errors import EvidenceError
from rbkernel.evidence import caveats
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident import AlertStatus
from rbkernel.evidence.verify import has_seals, unsealed, verify_folder
from rbkernel.gateway.intake import generic
from rbkernel.gateway.intake.inbox import Inbox, RawDelivery, Receipt
from rbkernel.gateway.jobs.alert import Alert, Delivery
from rbkernel.gateway.jobs.context import GatewayContext
from rbkernel.gateway.jobs.dispatch import Dispatcher
from rbkernel.gateway.jobs.incident_log import IncidentLog
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.schedules import Scheduler, incident_of
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.jobs.storage.tables import jobs
from rbkernel.kernel import secrets
from rbkernel.model import Severity, Verdict
from rbkernel.run.outcome import Ending, Outcome
from tests.support.gateways import QUICK, alert, make_place

pytestmark = pytest.mark.slow


class Desk:
    """A gateway without processes: everything up to the queue."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.evidence_root
        self.store = Store.open(settings.store_url)
        self.context = GatewayContext.of(settings, self.store)
        self.ledger = self.context.ledger
        self.dispatcher = Dispatcher(self.context)

    def take(self, *alerts: Alert) -> None:
        self.store.receive(Delivery(source="generic", alerts=alerts))
        while self.dispatcher.sweep():
            pass

    def run(self, *, outcome: Outcome = Outcome.DONE, verdict: str = "ok") -> list[Job]:
        """Make one attempt at all that may be run now."""
        made = []
        for attempt in self.ledger.promote():
            job = self.ledger.begin(attempt.job, attempt.number, "w")
            assert job is not None
            self.ledger.end(job.id, attempt.number, Ending(outcome=outcome, verdict=verdict))
            made.append(job)
        return made

    def record(self) -> records.IncidentRecord:
        (one,) = records.list_incidents(self.root)
        return one


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    place = make_place(tmp_path)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(place.evidence))
    monkeypatch.setenv("RBKERNEL_STORE_URL", place.store_url)
    return config.load()


@pytest.fixture
def desk(settings: Settings) -> Desk:
    return Desk(settings)


def test_an_alert_opens_an_incident_and_has_one_job(desk: Desk) -> None:
    desk.take(alert("Quick", "a", severity="critical", service="shop"))
    (job,) = desk.store.jobs()
    assert (job.state, job.priority, job.parameters) == (JobState.WAITING, 1, {"which": "a"})
    assert desk.store.job_of_run(job.run_id) == job
    desk.context.incident_log.record_job(job)
    record = desk.record()
    assert (record.title, record.severity, record.service) == ("Quick", "critical", "shop")
    assert [run.state for run in record.runs] == ["queued"]
    assert desk.store.counts().alerts == {"done": 1}


def test_a_more_severe_alert_raises_its_incident_and_its_run(desk: Desk) -> None:
    desk.take(alert("Quick", "a", severity="warning"))
    assert desk.record().severity == "medium"
    desk.take(alert("Quick", "a", severity="critical", pod="2"))
    desk.take(alert("Quick", "a", severity="info", pod="3"))
    (job,) = desk.store.jobs()
    assert (desk.record().severity, job.priority) == ("critical", 1)


def test_what_dies_between_two_steps_is_gone_on_from(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise EvidenceError("evidence cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "append", full)
        desk.take(alert("Quick", "a"), alert("Quick", "b"))
    assert desk.store.counts().alerts == {"placed": 2}
    assert not list(desk.root.glob("INC-*"))
    time.sleep(1.1)
    while desk.dispatcher.sweep():
        pass
    Desk(desk.context.settings).dispatcher.sweep()
    assert desk.store.counts().alerts == {"done": 2}
    assert len(desk.store.jobs()) == 2
    kinds = [line.kind for line in desk.record().lines]
    assert kinds == ["opened", "alert", "alert"]


def test_one_alert_that_cannot_go_on_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = IncidentLog.record_alert

    def sometimes(self: IncidentLog, stored: object, severity: Severity | None) -> None:
        if "poison" in str(stored):
            raise ValueError("poison")
        told(self, stored, severity)  # type: ignore[arg-type]  # it is an alert

    monkeypatch.setattr(IncidentLog, "record_alert", sometimes)
    desk.take(alert("Quick", "poison"), alert("Quick", "b"))
    assert desk.store.counts().alerts == {"placed": 1, "done": 1}


def test_a_live_run_takes_later_alerts_and_an_ended_one_does_not(desk: Desk) -> None:
    first = alert("Quick", "a", pod="1")
    desk.take(first, alert("Quick", "a", pod="2"))
    assert len(desk.run()) == 1
    desk.take(alert("Quick", "a", pod="3"))
    assert len(desk.store.jobs()) == 2
    assert desk.store.counts().outcomes == {"started": 2, "attached": 1}
    assert len(desk.store.jobs_for(first.identity)) == 1


def test_a_resolved_alert_is_told_and_annotates(desk: Desk) -> None:
    fires = alert("Quick", "a")
    desk.take(fires)
    desk.take(
        replace(fires, status=AlertStatus.RESOLVED, ends_at=datetime(2026, 11, 20, 4, tzinfo=UTC))
    )
    record = desk.record()
    assert record.resolved is not None
    assert [note.text[:23] for note in record.notes] == ["all alerts are resolved"]
    assert record.state == "open"
    desk.context.incident_log.settle(record.id)
    assert len(desk.record().notes) == 1


def test_an_alert_with_an_id_is_resolved_by_it_whatever_its_labels_are_then(desk: Desk) -> None:
    body = {"name": "Quick", "id": "nightly/7", "labels": {"which": "a", "severity": "critical"}}
    over = body | {"status": "resolved", "labels": {"severity": "ok"}}
    for one in (body, over):
        desk.take(*generic.read(one, datetime.now(UTC)).delivery.alerts)
    assert desk.store.counts().outcomes == {"started": 1, "resolved": 1}
    record = desk.record()
    assert record.resolved is not None
    assert [one.status for one in record.alerts] == ["resolved"]


def test_an_incident_is_closed_by_rule_only_when_nothing_runs_and_reopened(
    settings: Settings,
) -> None:
    rules = Grouping(when_resolved="close")
    desk = Desk(settings.model_copy(update={"grouping": rules}))
    fires = alert("Quick", "a")
    desk.take(fires)
    desk.take(replace(fires, status=AlertStatus.RESOLVED))
    assert desk.record().state == "open"
    desk.run()
    desk.context.incident_log.settle(desk.record().id)
    assert desk.record().state == "closed"
    assert has_seals(desk.root)
    assert not verify_folder(desk.root)
    assert not unsealed(desk.root)
    desk.take(replace(fires, starts_at=fires.starts_at + timedelta(hours=1)))
    assert desk.record().state == "open"
    assert [line.kind for line in desk.record().lines].count("reopened") == 1


def test_an_end_that_comes_first_starts_nothing_later(desk: Desk) -> None:
    fires = alert("Quick", "a")
    desk.take(replace(fires, status=AlertStatus.RESOLVED))
    desk.take(fires)
    assert desk.store.counts().outcomes == {"nothing open": 1, "stale": 1}
    assert not desk.store.jobs()


def test_two_incidents_that_one_alert_belongs_to_become_one(desk: Desk) -> None:
    shop = replace(alert("Quick", "a", service="shop"), group_key="one")
    pay = replace(alert("Quick", "b", service="pay", severity="P1"), group_key="two")
    desk.take(shop)
    desk.take(pay)
    by_service = {record.service: record.id for record in records.list_incidents(desk.root)}
    older, younger = by_service["shop"], by_service["pay"]
    desk.take(replace(alert("Quick", "c", service="shop"), group_key="two"))
    assert records.read(desk.root, older).severity == "high"
    assert records.read(desk.root, older).merged_from == (younger,)
    assert records.read(desk.root, younger).merged_into == older
    desk.take(replace(alert("Quick", "d", service="pay"), group_key="two"))
    assert len(records.read(desk.root, older).alerts) == 3
    assert len(records.list_incidents(desk.root)) == 2


@pytest.mark.parametrize(("verdict", "state"), [("ok", "closed"), ("critical", "open")])
def test_an_incident_is_closed_by_rule_only_when_all_is_well_in_what_it_took_in(
    settings: Settings, verdict: str, state: str
) -> None:
    desk = Desk(settings.model_copy(update={"grouping": Grouping(when_resolved="close")}))
    shop = replace(alert("Quick", "a", service="shop"), group_key="one")
    pay = replace(alert("Quick", "b", service="pay"), group_key="two")
    desk.take(pay)
    desk.run()
    desk.take(shop)
    desk.run(verdict=verdict)
    both = replace(alert("Quick", "c", service="shop"), group_key="two")
    desk.take(both)
    desk.run()
    desk.take(*(replace(one, status=AlertStatus.RESOLVED) for one in (pay, both)))
    assert not any(one.notes for one in records.list_incidents(desk.root))
    desk.take(replace(shop, status=AlertStatus.RESOLVED))
    found = {one.service: one for one in records.list_incidents(desk.root)}
    whole, part = found["pay"], found["shop"]
    assert whole.parts == (whole.id, part.id)
    assert (whole.state, part.state) == (state, "closed" if state == "closed" else "merged")
    assert bool(unsealed(desk.root)) == (state == "open")


def test_services_that_share_an_alerts_name_have_an_incident_each(desk: Desk) -> None:
    for which in ("shop", "pay", "shop"):
        body = {"name": "Quick", "labels": {"which": which, "service": which}}
        desk.take(*generic.read(body, datetime.now(UTC)).delivery.alerts)
    found = records.list_incidents(desk.root)
    assert {(one.service, len(one.alerts)) for one in found} == {("shop", 1), ("pay", 1)}


def test_what_could_not_be_run_as_meant_stands_in_the_record(settings: Settings) -> None:
    anything = RouteRule(alert="*", runbooks=("RUN-911",))
    missing = RouteRule(alert="Unheard", runbooks=("RUN-999",))
    desk = Desk(settings.model_copy(update={"routes": (anything, missing)}))
    desk.take(alert("Unheard", "a"))
    (job,) = desk.run()
    desk.context.incident_log.record_job(job)
    record = desk.record()
    (line,) = (line for line in record.lines if line.kind == "alert")
    (mind,) = caveats.caveats_of(record)
    assert mind.endswith("names RUN-999, but there is no such runbook; RUN-911 runs instead")
    assert line.text("why") == mind
    assert caveats.judged(record, Verdict.OK) is Verdict.UNKNOWN
    assert caveats.judged(record, Verdict.CRITICAL) is Verdict.CRITICAL


def test_alerts_that_no_runbook_is_made_for_share_a_run_only_within_a_service(
    settings: Settings,
) -> None:
    anything = RouteRule(alert="*", runbooks=("RUN-911",))
    desk = Desk(settings.model_copy(update={"routes": (anything,)}))
    for service, name in (("shop", "DiskFull"), ("pay", "CpuHigh"), ("shop", "QueueLong")):
        desk.take(replace(alert(name, "x", service=service), group_key=""))
    found = records.list_incidents(desk.root)
    assert {(one.service, len(one.alerts)) for one in found} == {("shop", 2), ("pay", 1)}
    assert {job.incident for job in desk.store.jobs()} == {one.id for one in found}
    assert desk.store.counts().outcomes == {"started": 2, "attached": 1}


def test_a_storm_of_alerts_that_no_runbook_is_made_for_has_few_runs(settings: Settings) -> None:
    anything = RouteRule(alert="*", runbooks=("RUN-911",))
    changes = {"routes": (anything,), "grouping": Grouping(storm=3)}
    desk = Desk(settings.model_copy(update=changes))
    for number in range(8):
        desk.take(replace(alert(f"Alert{number}", "x"), group_key=f"group {number}"))
    found = {one.id: one for one in records.list_incidents(desk.root)}
    assert sorted(len(one.alerts) for one in found.values()) == [1, 1, 6]
    newest = desk.store.jobs()[0].incident
    (mind, *_) = caveats.caveats_of(found[newest])
    assert mind.startswith("5 alerts without a runbook came in a storm")
    assert caveats.judged(found[newest], Verdict.OK) is Verdict.UNKNOWN
    assert desk.store.counts().outcomes == {"started": 3, "storm": 5}
    desk.take(replace(alert("Alert0", "x", pod="2"), group_key="group 0"))
    found = {one.id: one for one in records.list_incidents(desk.root)}
    assert sorted(len(one.alerts) for one in found.values()) == [1, 2, 6]
    (two,) = (one for one in found.values() if len(one.alerts) == 2)
    assert not any("storm" in mind for mind in caveats.caveats_of(two))
    while desk.run():
        pass
    desk.take(replace(alert("Alert9", "x"), group_key="group 9"))
    assert len(desk.store.jobs()) == 4


def test_an_alert_without_a_runbook_is_recorded_with_the_reason(desk: Desk) -> None:
    desk.take(alert("Unheard", "a"))
    assert not desk.store.jobs()
    (line,) = (line for line in desk.record().lines if line.kind == "alert")
    assert "no default connection is configured" in line.text("why")


def test_an_attempt_has_three_tries_and_a_stranger_cannot_end_it(desk: Desk) -> None:
    desk.take(alert("Quick", "a"))
    ids = set()
    for number in (1, 2, 3):
        with desk.store.writing() as connection:
            connection.execute(sa.update(jobs).values(not_before=0.0))
        (attempt,) = desk.ledger.promote()
        assert attempt.number == number
        assert desk.ledger.begin(attempt.job, number + 1, "other") is None
        job = desk.ledger.begin(attempt.job, number, "w")
        assert job is not None
        assert desk.ledger.begin(attempt.job, number, "other") is None
        ids.add(job.run_id)
        assert not desk.ledger.end(job.id, number - 1, Ending(outcome=Outcome.DONE))
        state = desk.ledger.end(job.id, number, Ending(outcome=Outcome.INTERRUPTED))
    assert state == JobState.GIVEN_UP
    assert len(ids) == 3
    assert not desk.ledger.promote()


def test_urgent_jobs_go_first_and_a_connection_is_not_asked_by_all_at_once(desk: Desk) -> None:
    desk.take(*(alert("Quick", f"w{n}", severity="low") for n in range(4)))
    desk.take(alert("Quick", "urgent", severity="critical"))
    with desk.store.writing() as connection:
        connection.execute(sa.update(jobs).values(connections='["orders"]'))
    attempts = desk.ledger.promote()
    assert [attempt.priority for attempt in attempts] == [1, 4]
    assert not desk.ledger.promote()
    job = desk.ledger.begin(attempts[0].job, 1, "w")
    assert job is not None
    assert job.key == ("urgent",)
    desk.ledger.end(job.id, 1, Ending(outcome=Outcome.DONE))
    assert len(desk.ledger.promote()) == 1


def test_a_schedule_that_is_due_is_one_job_whoever_looks(settings: Settings) -> None:
    now = datetime.now(UTC)
    schedule = Schedule(name="daily", cron="0 0 * * *", runbook="RUN-911", catch_up_min=1440)
    desk = Desk(settings.model_copy(update={"schedules": (schedule,)}))
    complaints: list[str] = []
    for _ in range(2):
        clock = Scheduler(desk.context)
        clock.sweep(complaints.append)
    assert not complaints
    found = [job for job in desk.store.jobs() if job.created_at >= now]
    assert {job.source for job in found} == {"schedule"}
    assert len(found) == 1
    assert incident_of(schedule, now.replace(hour=0, minute=0)) == found[0].incident


@pytest.mark.parametrize(
    ("outcome", "noted", "state"),
    [
        (Outcome.DONE, False, "closed"),
        (Outcome.DONE, True, "open"),
        (Outcome.FAILED, False, "open"),
    ],
)
def test_the_incident_of_a_schedule_is_closed_when_all_is_well(
    settings: Settings, outcome: Outcome, noted: bool, state: str
) -> None:
    schedule = Schedule(name="daily", cron="0 0 * * *", runbook="RUN-911", catch_up_min=1440)
    desk = Desk(settings.model_copy(update={"schedules": (schedule,)}))
    Scheduler(desk.context).sweep(pytest.fail)
    # a window silenced the start of the run
    until = {"until": "2026-11-20T04:00:00+00:00", "reason": "upgrade"}
    records.append(desk.root, desk.record().id, records.SILENCED, by="rbkernel", **until)  # type: ignore[arg-type]
    (job,) = desk.run(outcome=outcome)
    if noted:
        records.append(desk.root, job.incident, "note", by="ann", text="look at this")
    for _ in range(2):
        ended = desk.store.job(job.id)
        assert ended is not None
        desk.context.incident_log.record_job(ended)
    assert desk.record().state == state
    assert [line.kind for line in desk.record().lines].count("closed") == (state == "closed")
    assert bool(unsealed(desk.root)) == (state == "open")


@pytest.mark.parametrize(("lacks", "state"), [([], "open"), (["another"], "closed")])
def test_a_run_that_ends_badly_in_a_closed_incident_opens_it_unless_it_was_known(
    desk: Desk, lacks: list[str], state: str
) -> None:
    desk.take(alert("Quick", "a"))
    records.append(desk.root, desk.record().id, "closed", by="ann", lacks=lacks)
    (job,) = desk.run(outcome=Outcome.FAILED)
    for _ in range(2):
        ended = desk.store.job(job.id)
        assert ended is not None
        desk.context.incident_log.record_job(ended)
    record = desk.record()
    assert record.state == state
    assert [run.run_id for run in caveats.too_late(record)] == ([job.run_id] if lacks else [])
    reopened = [line.text("why") for line in record.lines if line.kind == "reopened"]
    assert len(reopened) == (state == "open")


def test_what_is_old_is_forgotten_and_its_evidence_stays(settings: Settings) -> None:
    desk = Desk(settings.model_copy(update={"queue": Queue()}))
    desk.take(alert("Quick", "a"), alert("Quick", "b"))
    first, *_ = desk.run()
    with desk.store.writing() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id != first.id).values(live="x"))
    assert desk.ledger.forget(time.time() + 60) == 3
    assert [job.id for job in desk.store.jobs()] != [first.id]
    assert desk.record().alerts


class TestSecretsInAlerts:
    """What a sender puts into labels and annotations is on disk without its secrets."""

    LABELS: ClassVar = {
        "alertname": "Quick",
        "which": "a",
        "target": "postgres://app:tulip-garden@db1:5432/shop",
        "password": "lantern",
        "secret": "shop-tls",
    }
    BODY: ClassVar = {
        "status": "firing",
        "labels": LABELS,
        "annotations": {
            "summary": "login of app:marmalade@db1:5432 failed",
            "description": "curl -H 'X-Api-Key: Saffron-71-kettle' …\nDB_PASSWORD=Walnut-pebble-9",
        },
        "url": "https://grafana.example/d/1?token=bramble0123456789",
        "group_key": '{}:{target="postgres://app:tulip-garden@db1:5432/shop"}',
        "starts_at": "2026-11-20T03:00:00Z",
    }
    SECRETS = ("tulip-garden", "lantern", "marmalade", "Saffron-71", "Walnut-pebble", "bramble0123")

    def post(self, desk: Desk, raw: bytes) -> Receipt:
        inbox = Inbox(
            desk.store,
            secrets.redactor(desk.context.settings, {"AN_ENV_TOKEN": "harbour-violin-77"}),
            most_bytes=1_000_000,
            most_alerts=10,
            commit_timeout_s=30,
        )
        inbox.start()
        raw_delivery = RawDelivery(
            source="generic", raw=raw, encoding="", received_at=datetime.now(UTC)
        )
        try:
            return asyncio.run(inbox.take(raw_delivery))
        finally:
            inbox.close(30)

    def on_disk(self, settings: Settings, desk: Desk) -> bytes:
        desk.store.close()
        database = Path(sa.make_url(settings.store_url).database or "")
        files = [*database.parent.glob(f"{database.name}*"), *desk.root.rglob("*.jsonl")]
        assert files
        return b"".join(file.read_bytes() for file in files)

    def test_they_are_routed_and_deduplicated_and_their_secrets_are_not_on_disk(
        self, desk: Desk, settings: Settings
    ) -> None:
        raw = json.dumps(self.BODY).encode()
        first, again = self.post(desk, raw), self.post(desk, raw)
        assert (first.new, again.new, again.repeated) == (1, 0, 1)
        while desk.dispatcher.sweep():
            pass
        (job,) = desk.store.jobs()
        assert (job.runbook, job.parameters) == (QUICK, {"which": "a"})
        resolved = json.dumps({**self.BODY, "status": "resolved"}).encode()
        assert self.post(desk, resolved).new == 1
        while desk.dispatcher.sweep():
            pass
        (end, _) = desk.store.alerts()
        assert (end.outcome, end.incident) == ("resolved", job.incident)
        (start,) = [one for one in desk.store.alerts() if one.fires]
        assert start.alert.labels["target"] == "postgres://app:[redacted:dsn]@db1:5432/shop"
        assert start.alert.labels["secret"] == "shop-tls"
        written = self.on_disk(settings, desk)
        assert QUICK.encode() in written
        assert [one for one in self.SECRETS if one.encode() in written] == []

    def test_two_that_differ_in_a_secret_alone_are_two(self, desk: Desk) -> None:
        other = {**self.BODY, "labels": {**self.LABELS, "password": "thimble"}}
        for body in (self.BODY, other):
            assert self.post(desk, json.dumps(body).encode()).new == 1

    def test_what_cannot_be_read_is_kept_without_its_secrets(
        self, desk: Desk, settings: Settings
    ) -> None:
        raw = b'{"labels": [1], "password": "lantern", "note": "harbour-violin-77", \xff "left": 1'
        number = self.post(desk, raw).quarantine_number
        assert number is not None
        kept = desk.store.quarantined_bytes(number)
        assert kept is not None
        assert b'"left": 1' in kept
        assert b"\xff" in kept
        written = self.on_disk(settings, desk)
        assert not any(one in written for one in (b"lantern", b"harbour-violin-77"))
