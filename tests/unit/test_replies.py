"""Replies to the senders of alerts: each state once, in the form that each sender asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel.config import Settings
from rbkernel.config.gateway import Sender
from rbkernel.errors import ConfigError
from rbkernel.evidence import incident as records
from rbkernel.gateway.jobs.execution import environment
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import Notifier
from tests.support.journal_builder import INCIDENT

TOKEN = "s3nder-t0ken-s3nder"
NAMES = ("pagerduty", "grafana", "datadog", "generic")


@dataclass
class Interface:
    """The interfaces of all senders on loopback: what came, and what is answered."""

    url: str = ""
    came: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    drips: threading.Event | None = None

    def bodies(self) -> list[Any]:
        return [body for *_, body in self.came]


@pytest.fixture
def interface() -> Iterator[Interface]:
    got = Interface()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.came.append((self.command, self.path, dict(self.headers), body))
            self.send_response(got.answers.pop(0) if got.answers else 200)
            self.end_headers()
            while got.drips and not got.drips.wait(0.05):
                self.wfile.write(b"x")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield got
        server.shutdown()
        thread.join()


def configured(interface: Interface, *names: str, timeout_s: float = 10.0) -> Settings:
    def sender(name: str) -> dict[str, Any]:
        user = {"user": "oncall@example.org"} if name == "pagerduty" else {}
        reply = {"url": interface.url, "token_env": "RB_TEST_REPLY", "timeout_s": timeout_s}
        return {"secret_env": "RB_TEST_SENDER", "reply": {**reply, **user}}

    return Settings.model_validate({"gateway": {"senders": {name: sender(name) for name in names}}})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/store.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def replying(
    interface: Interface, store: Store, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> Notifier:
    """A notifier with replies to every sender, and an open incident of PagerDuty's alert Q1."""
    monkeypatch.setenv("RB_TEST_REPLY", TOKEN)
    notifier = Notifier(configured(interface, *NAMES), store)
    records.append(evidence, INCIDENT, "opened", by="rbkernel", title="Lag", severity="critical")
    return notifier


def alert(root: Path, source: str, group: str, status: str = "firing") -> None:
    said: Any = {"source": source, "group_key": group, "fingerprint": group, "status": status}
    at = datetime.now(UTC).isoformat()
    records.append(
        *(root, INCIDENT, "alert"), by="rbkernel", identity=f"{group}{status}", starts_at=at, **said
    )


def person(root: Path, kind: str, **said: Any) -> None:
    records.append(root, INCIDENT, kind, by="ann", **said)


def notified(root: Path) -> list[str]:
    lines = records.read(root, INCIDENT).lines
    return [line.text("title") for line in lines if line.kind == "notified"]


def test_pagerduty_stops_calling_once_somebody_took_it(
    replying: Notifier, interface: Interface, evidence: Path
) -> None:
    alert(evidence, "pagerduty", "Q1")
    alert(evidence, "pagerduty", "Q2")
    alert(evidence, "pagerduty", "Q2", "resolved")
    assert replying.sweep() == 0
    person(evidence, "acknowledged", text="on it")
    assert replying.sweep() == 1  # Q2 is over there, and stays so
    [(method, path, headers, body)] = interface.came
    assert (method, path) == ("PUT", "/incidents/Q1")
    assert headers["Authorization"] == f"Token token={TOKEN}"
    assert headers["From"] == "oncall@example.org"
    assert body == {"incident": {"type": "incident_reference", "status": "acknowledged"}}
    assert replying.sweep() == 0
    assert notified(evidence) == ["reply to pagerduty: acknowledged"]
    person(evidence, "closed", resolution="resumed replay")
    assert replying.sweep() == 1
    last = interface.bodies()[-1]["incident"]
    assert last["status"] == "resolved"
    assert last["resolution"].endswith(f"resolved by ann in rbkernel ({INCIDENT}): resumed replay")


def test_each_sender_is_told_in_its_own_form(
    replying: Notifier, interface: Interface, evidence: Path
) -> None:
    for name in NAMES:
        alert(evidence, name, f"group/{name}")
    person(evidence, "closed", resolution="resumed")
    assert replying.sweep() == 4
    came = {path: (headers, body) for _, path, headers, body in interface.came}
    assert set(came) == {
        *("/incidents/group%2Fpagerduty", "/api/annotations", "/api/v1/events", "/")
    }
    headers, body = came["/api/annotations"]
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert body["text"] == f"Lag: resolved by ann in rbkernel ({INCIDENT}): resumed"
    headers, body = came["/api/v1/events"]
    assert (headers["DD-API-KEY"], body["aggregation_key"]) == (TOKEN, "group/datadog")
    _, body = came["/"]
    assert (body["state"], body["group"], body["incident"]) == (
        *("resolved", "group/generic"),
        INCIDENT,
    )


def test_a_sender_that_fails_is_told_later_and_one_that_refuses_is_not(
    replying: Notifier,
    interface: Interface,
    store: Store,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alert(evidence, "pagerduty", "Q1")
    person(evidence, "acknowledged")
    interface.answers = [503, 200]
    assert replying.sweep() == 0
    assert replying.sweep() == 0  # not at once
    assert len(interface.came) == 1
    assert replying.outbox.waiting("reply:pagerduty").problem == "127.0.0.1 refused it with 503"
    monkeypatch.setattr(
        "rbkernel.gateway.notify.outbox.time.time", lambda: datetime.now(UTC).timestamp() + 200
    )
    assert Notifier(replying.settings, store).sweep() == 1
    person(evidence, "closed")
    interface.answers = [404]
    assert replying.sweep() == 0
    assert replying.outbox.waiting("reply:pagerduty").given_up == 1
    assert TOKEN not in "".join(one.read_text() for one in evidence.rglob("*.jsonl"))


def test_a_sender_that_never_ends_its_answer_is_left_after_the_time_out(
    replying: Notifier, interface: Interface, store: Store, evidence: Path
) -> None:
    alert(evidence, "pagerduty", "Q1")
    person(evidence, "acknowledged")
    interface.drips = threading.Event()
    try:
        settings = configured(interface, "pagerduty", timeout_s=0.3)
        assert Notifier(settings, store).sweep() == 0
    finally:
        interface.drips.set()
    assert "no answer within 0.3 s" in replying.outbox.waiting("reply:pagerduty").problem


def test_a_token_that_cannot_be_sent_holds_up_no_other_sender(
    replying: Notifier, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert(evidence, "pagerduty", "Q1")
    person(evidence, "acknowledged")
    monkeypatch.setenv("RB_TEST_REPLY", "“quoted”")
    assert replying.sweep() == 0
    problem = replying.outbox.waiting("reply:pagerduty").problem
    assert "UnicodeEncodeError" in problem
    assert "quoted" not in problem


def test_what_was_merged_into_it_is_answered_too_and_only_once(
    replying: Notifier, interface: Interface, evidence: Path
) -> None:
    other = "INC-20260101-9999"
    records.append(evidence, other, "opened", by="rbkernel", title="Disk", severity="critical")
    said: Any = {"source": "pagerduty", "group_key": "Q9", "fingerprint": "Q9", "status": "firing"}
    at = datetime.now(UTC).isoformat()
    records.append(evidence, other, "alert", by="rbkernel", identity="q9", starts_at=at, **said)
    records.append(evidence, other, "merged", by="ann", into=INCIDENT)
    person(evidence, "merged", **{"from": other})
    person(evidence, "acknowledged")
    assert replying.sweep() == 1
    assert [path for _, path, *_ in interface.came] == ["/incidents/Q9"]


def test_a_new_gateway_repeats_no_replies_of_the_past(
    interface: Interface, store: Store, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RB_TEST_REPLY", TOKEN)
    records.append(evidence, INCIDENT, "opened", by="rbkernel", title="Lag", severity="critical")
    alert(evidence, "pagerduty", "Q1")
    person(evidence, "closed")
    assert Notifier(configured(interface, "pagerduty"), store).sweep() == 0
    assert interface.came == []


@pytest.mark.parametrize(
    ("name", "reply", "problem"),
    [
        ("alertmanager", {"url": "https://am"}, "has no interface for replies"),
        ("pagerduty", {}, "the e-mail address"),
        ("grafana", {}, "https address"),
        ("grafana", {"url": "http://grafana.example.org"}, "https address"),
        ("generic", {"url": "https://a:b@hooks.example.org"}, "secret into the file"),
        ("generic", {"url": "https://hooks.example.org", "user": "a@b"}, "PagerDuty only"),
    ],
)
def test_a_reply_that_cannot_be(name: str, reply: dict[str, str], problem: str) -> None:
    fields = {"name": name, "secret_env": "X", "reply": {"token_env": "Y", **reply}}
    with pytest.raises(ValidationError, match=problem):
        Sender.model_validate(fields)


def test_runs_do_not_get_the_token(interface: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_TEST_REPLY", TOKEN)
    assert "RB_TEST_REPLY" not in environment(configured(interface, "pagerduty"))


def test_without_its_token_the_gateway_does_not_start(interface: Interface, store: Store) -> None:
    with pytest.raises(ConfigError, match="RB_TEST_REPLY is not set"):
        Notifier(configured(interface, "pagerduty"), store)
