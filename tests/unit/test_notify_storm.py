"""What a storm leaves of each incident: the close, the order, the heads, and what does not wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.config.notify import Notify, Target
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident.seal import seal_record
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import apprise_channel as channel
from rbkernel.gateway.notify.events import Event, due
from rbkernel.gateway.notify.messages import Words, level_of
from rbkernel.gateway.notify.notifier import Notifier
from rbkernel.gateway.notify.outbox import Claimed, Outbox, receivers
from rbkernel.model import Severity
from tests.support.journal_builder import INCIDENT, RUN_ID
from tests.unit.test_notify import ADDRESS, ALL, Told, event

WORDS = Words(None, ADDRESS)
HEADS = ("ab" * 32, "cd" * 32)


def in_order(*told: Event) -> list[Event]:
    """Return events that happened a minute apart, as the store has them: in no such order."""
    began = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
    times = [(began + timedelta(minutes=number)).isoformat() for number in range(len(told))]
    return [replace(one, at=at) for one, at in zip(told, times, strict=True)][::-1]


@pytest.mark.parametrize(
    ("by", "title"),
    [
        ("rbkernel", f"{INCIDENT} was closed: all alerts are resolved"),
        ("ann", f"{INCIDENT} was closed by ann: all alerts are resolved"),
    ],
)
def test_a_closed_incident_is_told_as_closed_once(tmp_path: Path, by: str, title: str) -> None:
    def sealed(*known: str) -> list[Event]:
        record = records.read(tmp_path, INCIDENT)
        return list(due(record, Told(), known=known, now=datetime.now(UTC)).events)

    records.append(tmp_path, INCIDENT, "opened", by="rbkernel", title="Lag")
    seal_record(tmp_path, INCIDENT)
    [opened] = sealed()
    assert WORDS.message([opened]).title == "The incident's record is sealed"
    closing = records.closing(by, resolution="all alerts are resolved")
    seal_record(tmp_path, INCIDENT, closing=closing)
    [closed] = sealed(opened.key)
    run_sealed = event("sealed", head=HEADS[1])
    message = WORDS.message([run_sealed, closed])
    assert message.title == title
    assert message.body.startswith(f"The incident's record is sealed.\nHead: {HEADS[0]}\n")
    records.append(tmp_path, INCIDENT, "note", by="ann", text="one more word")
    seal_record(tmp_path, INCIDENT)
    [again] = sealed(opened.key, closed.key)
    assert WORDS.message([again]).title == "The incident's record is sealed"


def test_a_long_resolution_is_told_whole() -> None:
    resolution = " ".join(f"word{number}" for number in range(60))
    closed = event("sealed", closed=True, resolution=resolution, head=HEADS[0])
    message = WORDS.message([closed])
    assert len(message.title) == 150
    assert message.body.startswith(f"{INCIDENT} was closed: {resolution}\n")


@pytest.mark.parametrize(
    ("others", "called"),
    [(0, "Bee5"), (1, "Bee5 and 1 more alert"), (55, "Bee5 and 55 more alerts")],
)
def test_a_message_says_how_many_alerts_there_are(others: int, called: str) -> None:
    alerts = [f"Bee{number}" for number in range(others + 1)]
    started = event("started", title="Bee5", alerts=alerts)
    found = event("finding", title="Bee5", alerts=alerts)
    assert WORDS.message([started]).title == f"RUN-005 started: {called}"
    assert f"{INCIDENT}: {called} {ADDRESS}" in WORDS.message([found]).body
    # the newest of them knows of the most
    assert f"{INCIDENT}: {called}\n" in WORDS.digest([event("started", title="Bee5"), found]).body


def test_a_digest_tells_what_happened_in_its_order_with_severity_and_heads() -> None:
    told = in_order(
        event("started"),
        event("finding", verdict="ok", checks=3),
        event("sealed", head=HEADS[0]),
        event("sealed", "INC-2", head=HEADS[1]),
    )
    assert WORDS.digest(told).body.splitlines() == [
        "INC-2: Lag",
        f"- RUN-005 is sealed, head: {HEADS[1]}",
        f"{ADDRESS}/rbkernel/incidents/INC-2",
        "",
        f"{INCIDENT}: Lag",
        "- RUN-005 started: Lag (critical)",
        "- RUN-005 OK: no problem found",
        f"- RUN-005 is sealed, head: {HEADS[0]}",
        f"{ADDRESS}/rbkernel/incidents/{INCIDENT}",
        "",
        f"Newest head (covers all earlier seals): {HEADS[1]}",
        f"{ADDRESS}/rbkernel",
    ]


def test_a_digest_that_is_too_long_keeps_what_is_most_telling_and_the_newest_head() -> None:
    begun = [event("started", runbook=f"RUN-{number}") for number in range(5)]
    body = WORDS.digest(in_order(*begun, event("finding"))).body
    assert "RUN-005 CRITICAL" in body
    assert "- and 2 more\n" in body
    seals = [event("sealed", f"INC-{number}", head=f"{number:064}") for number in range(40)]
    body = WORDS.digest(
        [replace(one, facts={**one.facts, "title": "x" * 300}) for one in seals]
    ).body
    assert len(body) <= 3000
    assert f"earlier seals): {39:064}\nAnd 30 more incidents:\n" in body


def test_what_is_sealed_was_found_before() -> None:
    def line(kind: str, second: int, **said: Any) -> records.Line:
        at = f"2026-11-20T03:00:{second:02}+00:00"
        named = {"run_id": RUN_ID, "runbook": "RUN-005", **said}
        return records.Line(number=1, kind=kind, at=at, by="rbkernel", data=named)

    # the gateway writes down that a run has ended when its process is gone
    record = records.tell(
        [line("sealed", 0), line("run", 1, state="ended", verdict="ok")], INCIDENT
    )
    found = due(record, Told(), known=(), now=datetime.now(UTC)).events
    told = [line for line in WORDS.digest(found).body.splitlines() if line.startswith("- ")]
    assert [line.split()[2] for line in told] == ["OK:", "is"]


def test_the_record_has_the_words_of_a_digest_that_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(tmp_path / "evidence"))
    settings = Settings()
    monkeypatch.setattr(channel, "send", lambda *_message: "Chat")
    told = [event("started", f"INC-{number}", title=f"Lag {number}") for number in range(1, 13)]
    for one in told:
        records.append(settings.evidence_root, one.incident, "opened", by="rbkernel")
    notifier = Notifier(settings, Store.open(f"sqlite:///{tmp_path}/store.sqlite"))
    assert notifier._deliver(ALL, notifier.words.digest(told))

    def text(incident: str) -> str:
        return records.read(settings.evidence_root, incident).lines[-1].text("text")

    page = f"{settings.gateway.address}/rbkernel"
    started = "- RUN-005 started: Lag 1 (critical)"
    assert text("INC-1").splitlines() == ["INC-1: Lag 1", started, f"{page}/incidents/INC-1"]
    # of what a digest only counts, that is the text
    assert text("INC-12").splitlines() == ["And 2 more incidents:", page]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(Store.open(f"sqlite:///{tmp_path}/store.sqlite"))


def test_what_is_critical_does_not_wait_for_what_is_calm(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("rbkernel.gateway.notify.outbox.time.time", lambda: clock[0])
    limits = Notify(burst=2, every_s=60)

    def told(number: int, severity: Severity, *kinds: str) -> list[Event]:
        named = [event(kind, f"INC-{number}") for kind in kinds or ("finding",)]
        return [replace(one, severity=severity) for one in named]

    def claim(target: Target, *events: Event) -> Claimed | None:
        outbox.add(events, [target])
        return outbox.claim(target.name, limits)

    def incidents(claimed: Claimed | None) -> Sequence[str]:
        return [one.incident for one in claimed.events] if claimed else []

    for number in (1, 2):
        claimed = claim(ALL, *told(number, Severity.LOW))
        assert claimed
        outbox.sent("all", claimed.events)
        clock[0] += 1
    assert claim(ALL, *told(3, Severity.LOW)) is None
    for number in (4, 5):
        # with all of its incident, and in its turn
        critical = claim(
            ALL, *told(number, Severity.CRITICAL), *told(number, Severity.LOW, "sealed")
        )
        assert incidents(critical) == [f"INC-{number}"] * 2
        assert critical
        outbox.sent("all", critical.events)
        clock[0] += 1
    # up to the same limit, and what is calm does not pay for it
    assert claim(ALL, *told(6, Severity.CRITICAL)) is None
    clock[0] += 60
    assert incidents(outbox.claim("all", limits)) == ["INC-3", "INC-6"]


def test_what_ran_for_another_alert_is_no_all_clear() -> None:
    def line(kind: str, **said: Any) -> records.Line:
        at = "2026-11-20T03:00:00+00:00"
        return records.Line(number=1, kind=kind, at=at, by="rbkernel", data=said)

    joined = [line("alert", fingerprint=str(number), outcome="storm") for number in range(2)]
    ended = line("run", run_id=RUN_ID, runbook="RUN-000", state="ended", verdict="ok")
    record = records.tell([line("alert", fingerprint="own"), ended, *joined], INCIDENT)
    [found] = due(record, Told(), known=(), now=datetime.now(UTC)).events
    message = WORDS.message([found])
    assert "but note" in message.title
    assert "2 alerts without a runbook came in a storm" in message.body


def test_that_one_person_approved_alone_reaches_somebody_and_says_why() -> None:
    alone = event("break-glass", by="ann", reason="nobody is here", action="End it", needed="2")
    calm = Target(name="calm", url_env="X", severities=["SEV2"])
    seals = Target(name="seals", url_env="X", events=["sealed"])
    assert receivers(alone, [calm, seals]) == ["calm"]
    assert receivers(alone, [seals]) == ["seals"]
    others = [event(incident=f"INC-20261120-{n}") for n in range(4)]
    assert "Why: nobody is here" in Words(None, ADDRESS).digest([alone, *others]).body


def test_an_alert_that_nothing_checked_is_never_green() -> None:
    fine = replace(event(verdict="ok"), severity=Severity.MEDIUM)
    unknown = event("unhandled", alert="Disk", not_run="no runbook", ran=False)
    unknown = replace(unknown, severity=Severity.MEDIUM)
    unknown.facts.pop("verdict")  # type: ignore[attr-defined]  # an alert has none
    assert level_of([fine]) == "success"
    assert level_of([fine, unknown]) == level_of([unknown]) == "warning"


def test_an_ok_run_is_no_all_clear_for_another_alert(tmp_path: Path) -> None:
    root = tmp_path / "evidence"
    said: dict[str, Any] = {
        "source": "a",
        "fingerprint": "f",
        "status": "firing",
        "identity": "i" * 64,
    }
    why: dict[str, Any] = {
        "labels": {"alertname": "Disk"},
        "outcome": "no run",
        "why": "no such db",
    }
    records.append(root, INCIDENT, "alert", by="rbkernel", **said, **why)
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-005", "verdict": "ok", "attempt": 1}
    records.append(root, INCIDENT, "run", by="rbkernel", state="ended", **run)
    record = records.read(root, INCIDENT)
    found = due(record, Told(), known=(), now=datetime.now(UTC)).events
    [ended] = [one for one in found if one.kind == "finding"]
    message = Words(None, ADDRESS).message([ended])
    assert "but note: alert Disk: no runbook ran: no such db" in message.title
    assert message.level == "warning"
