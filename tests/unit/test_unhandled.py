"""A critical alert that nothing was run for is notified and shown, whatever the reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from rbkernel import config
from rbkernel.cli import incident_text
from rbkernel.config.notify import Target
from rbkernel.config.queue import Queue, Schedule
from rbkernel.gateway.jobs.schedules import Scheduler
from rbkernel.gateway.jobs.storage.tables import alerts, notification_targets
from rbkernel.gateway.notify.events import WAITS_TOO_LONG, Event, due
from rbkernel.gateway.notify.notifier import Notifier
from rbkernel.gateway.notify.outbox import receivers
from rbkernel.gateway.notify.watch import OnDisk
from rbkernel.incidents import workflow
from rbkernel.model import Severity
from rbkernel.run.outcome import Ending, Outcome
from tests.support.gateways import alert, make_place
from tests.unit.test_dispatch import Desk
from tests.unit.test_unreadable import FRONT, document, write

# apprise's plugins import it
pytestmark = [
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
    pytest.mark.slow,
]
# written for runs: nothing in it says what to do without one
TARGETS = '[notify.targets.phone]\nurl_env = "RB_PHONE"\nevents = ["decision"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = make_place(tmp_path)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(place.evidence))
    monkeypatch.setenv("RBKERNEL_STORE_URL", place.store_url)
    monkeypatch.setenv("RB_PHONE", "json://127.0.0.1:9/")
    configure(tmp_path, TARGETS)
    return tmp_path


def configure(folder: Path, text: str) -> None:
    with (folder / "rbkernel.toml").open("a") as file:
        file.write(f"\n{text}")


def told(desk: Desk, notifier: Notifier) -> list[Event]:
    notifier.look()
    claimed = notifier.outbox.claim("phone", desk.context.settings.notify)
    return list(claimed.events) if claimed else []


def fail(desk: Desk, ending: Ending) -> None:
    """Make all attempts, each with the same end."""
    while True:
        attempts = desk.ledger.promote()
        for attempt in attempts:
            job = desk.ledger.begin(attempt.job, attempt.number, "w")
            assert job is not None
            desk.ledger.end(job.id, attempt.number, ending)
        for job in desk.ledger.unrecorded():
            desk.context.incident_log.record_job(job)
        if not attempts:
            return


def no_default(folder: Path) -> str:
    return "no default connection is configured"


def default_is_gone(folder: Path) -> str:
    configure(folder, '[[routes]]\nalert = "Critical"\nrunbooks = ["RUN-999"]\n')
    return "names RUN-999, but there is no such runbook"


def unknown_connection(folder: Path) -> str:
    rule = '[[routes]]\nalert = "Critical"\nrunbooks = ["RUN-000"]\nparameters = {db = "gone"}\n'
    configure(folder, rule)
    return "db='gone' is not a configured connection"


def unreadable(folder: Path) -> str:
    front = FRONT.replace("DiskFull", "Critical").replace("severity", "severty")
    write(folder / "runbooks/disk.ipynb", document(front))
    return "runbook RUN-104 is unreadable"


def unfilled(folder: Path) -> str:
    front = FRONT.replace("DiskFull", "Critical").replace("labels.cluster", "labels.gone")
    write(folder / "runbooks/disk.ipynb", document(front))
    return "RUN-104 (its trigger Critical) cannot run: the parameter db is empty"


def fallback_unreadable(folder: Path) -> str:
    write(folder / "runbooks/all.ipynb", document(FRONT.replace("RUN-104", "RUN-000") + "x"))
    return "runbook RUN-000 is unreadable"


REASONS: list[Callable[[Path], str]] = [
    no_default,
    default_is_gone,
    unknown_connection,
    unreadable,
    unfilled,
    fallback_unreadable,
]


@pytest.mark.parametrize("broken", REASONS)
def test_an_alert_without_a_run_is_notified_and_shown(
    folder: Path, broken: Callable[[Path], str]
) -> None:
    reason = broken(folder)
    desk = Desk(config.load())
    notifier = Notifier(desk.context.settings, desk.store)
    desk.take(alert("Critical", "x", severity="critical"))
    [unhandled] = told(desk, notifier)
    assert (unhandled.kind, unhandled.severity) == ("unhandled", Severity.CRITICAL)
    message = notifier.words.message([unhandled])
    assert message.title == "Critical: no runbook ran"
    assert reason in message.body
    assert message.level == "failure"
    shown = "\n".join(
        incident_text.incident_lines(workflow.look(desk.root, unhandled.incident), None)
    )
    assert reason in shown
    # the same alert, said again, is no news
    desk.take(alert("Critical", "x", severity="critical"))
    assert not told(desk, notifier)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INTERRUPTED])
def test_a_run_that_fails_before_its_first_cell_is_notified(folder: Path, outcome: Outcome) -> None:
    settings = config.load().model_copy(update={"queue": Queue(attempts=1)})
    desk = Desk(settings)
    notifier = Notifier(settings, desk.store)
    desk.take(alert("Quick", "a", severity="critical"))
    fail(desk, Ending(outcome=outcome, failure="it cannot be run: no connection is called 'x'"))
    [unhandled] = told(desk, notifier)
    message = notifier.words.message([unhandled])
    assert message.title == "RUN-911 did not run"
    assert "no connection is called 'x'" in message.body
    shown = "\n".join(
        incident_text.incident_lines(workflow.look(desk.root, unhandled.incident), None)
    )
    assert "did not run: it cannot be run: no connection is called 'x'" in shown


def test_a_run_that_does_not_start_is_notified(folder: Path) -> None:
    desk = Desk(config.load())
    desk.take(alert("Quick", "a", severity="critical"))
    for job in desk.store.jobs():
        desk.context.incident_log.record_job(job)
    now, evidence = datetime.now(UTC), OnDisk(desk.context.settings)
    found = due(desk.record(), evidence, known=(), now=now)
    assert not found.events
    assert found.look_again is not None
    late = due(desk.record(), evidence, known=(), now=now + WAITS_TOO_LONG)
    [unhandled] = late.events
    assert "has not started" in unhandled.facts["not_run"]


def test_an_alert_that_gets_no_incident_is_notified(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(config.load())
    notifier = Notifier(desk.context.settings, desk.store)
    monkeypatch.setattr(desk.dispatcher, "_decided", lambda _stored: 1 / 0)
    desk.take(alert("Quick", "a", severity="critical"))
    assert not told(desk, notifier)
    began = time.time() - WAITS_TOO_LONG.total_seconds() - 1
    with desk.store.writing() as connection:
        connection.execute(sa.update(alerts).values(received_at=began))
    _begin(notifier, began - 1)
    [unhandled] = told(desk, notifier)
    message = notifier.words.message([unhandled])
    assert message.title == "Quick: no runbook ran"
    assert "not processed yet: division by zero" in message.body
    assert "No incident yet" in message.body


def _begin(notifier: Notifier, since: float) -> None:
    with notifier.outbox._store.writing() as connection:
        connection.execute(sa.update(notification_targets).values(since=since))


def test_an_alert_that_a_route_silences_is_not_notified(folder: Path) -> None:
    configure(folder, '[[routes]]\nalert = "Watchdog"\nrunbooks = []\n')
    desk = Desk(config.load())
    notifier = Notifier(desk.context.settings, desk.store)
    desk.take(alert("Watchdog", "x", severity="critical"))
    assert not told(desk, notifier)
    [line] = [line for line in desk.record().lines if line.kind == "alert"]
    assert line.text("outcome") == "by rule"


def test_a_schedule_that_cannot_run_is_reported(folder: Path) -> None:
    schedule = Schedule(name="daily", cron="* * * * *", runbook="RUN-999")
    settings = config.load().model_copy(update={"schedules": (schedule,)})
    desk = Desk(settings)
    notifier = Notifier(settings, desk.store)
    said: list[str] = []
    assert Scheduler(desk.context).sweep(said.append) == 1
    assert "RUN-999" in said[0]
    fail(desk, Ending(outcome=Outcome.FAILED, failure="it cannot be run: no runbook has that id"))
    [unhandled] = told(desk, notifier)
    assert "no runbook has that id" in unhandled.facts["not_run"]


def test_who_gets_it() -> None:
    heads = Target(name="heads", url_env="X", events=["sealed"])
    calm = Target(name="calm", url_env="X", severities=["low"])
    asked = Target(name="asked", url_env="X", events=["decision"])
    facts = {"alert": "A"}
    unhandled = Event(
        key="k",
        kind="unhandled",
        at="",
        incident="",
        severity=Severity.CRITICAL,
        page="",
        facts=facts,
    )
    assert receivers(unhandled, [heads, calm, asked]) == ["asked"]
    # nobody wants it: all are told
    assert receivers(unhandled, [heads, calm]) == ["heads", "calm"]
    assert receivers(replace(unhandled, severity=Severity.HIGH), [heads, calm]) == []


def test_a_target_begins_with_itself(folder: Path) -> None:
    """What happened before a target was configured is not sent to it; a restart loses nothing."""
    text = (folder / "rbkernel.toml").read_text()
    (folder / "rbkernel.toml").write_text(text.replace(TARGETS, ""))
    desk = Desk(config.load())
    Notifier(desk.context.settings, desk.store)
    desk.take(alert("Old", "x", severity="critical"))
    (folder / "rbkernel.toml").write_text(text)
    settings = config.load()
    first = Notifier(settings, desk.store)
    assert not told(desk, first)
    desk.take(alert("New", "x", severity="critical"))
    # ended before it looked, and nothing is lost
    [unhandled] = told(desk, Notifier(settings, desk.store))
    assert unhandled.facts["alert"] == "New"


def test_a_target_of_an_earlier_version_began_with_its_first_message(folder: Path) -> None:
    desk = Desk(config.load())
    notifier = Notifier(desk.context.settings, desk.store)
    desk.take(alert("Seen", "x", severity="critical"))
    notifier.look()
    desk.take(alert("Missed", "x", severity="critical"))
    with desk.store.writing() as connection:
        connection.execute(sa.delete(notification_targets))
    events = told(desk, Notifier(desk.context.settings, desk.store))
    assert {one.facts["alert"] for one in events} == {"Seen", "Missed"}
