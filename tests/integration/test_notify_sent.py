"""Notifications that a real receiver gets, through apprise, from evidence as runs leave it."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbkernel.cli import main
from rbkernel.config import Settings
from rbkernel.evidence import bundle
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident.seal import seal_record
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import Notifier
from tests.integration.receiver import Receiver, receiver
from tests.support.journal_builder import INCIDENT, RUN_ID, whole_run
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
PATIENCE_S = 30.0


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as got:
        monkeypatch.setenv("RB_TEST_CHAT", got.url)
        yield got


@pytest.fixture
def settings(evidence: Path, chat: Receiver) -> Settings:
    return Settings.model_validate(
        {
            "gateway": {"url": "https://rb.example"},
            "notify": {"targets": {"chat": {"name": "chat", "url_env": "RB_TEST_CHAT"}}},
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/store.sqlite")
    yield opened
    opened.close()


def a_run_ends(root: Path) -> str:
    """Leave behind what a run of the gateway leaves; return the head of its seal."""
    said = {"by": "rbkernel", "run_id": RUN_ID, "runbook": "RUN-005", "attempt": 1}
    records.append(root, INCIDENT, "opened", by="rbkernel", title="Lag", severity="critical")
    for state in ("queued", "started"):
        records.append(root, INCIDENT, "run", state=state, **said)  # type: ignore[arg-type]
    journal = whole_run(root)
    options = ("wait", "resume replay")
    journal.event("decision", id="d1", question="What now?", options=options, state="parked")
    head = bundle.seal(root, RUN_ID).head
    records.append(root, INCIDENT, "run", state="ended", **said)  # type: ignore[arg-type]
    return head


def test_a_message_with_finding_decision_and_head_and_a_link_that_opens(
    settings: Settings, store: Store, chat: Receiver, evidence: Path
) -> None:
    notifier = Notifier(settings, store)  # a target begins when it is first seen
    head = a_run_ends(evidence)
    assert notifier.sweep() == 1
    [message] = chat.messages
    assert message["title"] == "RUN-005 CRITICAL: Replay lag: 31.5 s"
    assert message["type"] == "failure"
    for words in ("What now? wait, resume replay", f"Head: {head}", f"{INCIDENT}: Lag"):
        assert words in message["message"]
    link = message["message"].splitlines()[-1].rpartition(" ")[2]
    assert link.startswith(f"https://rb.example/rbkernel/runs/{RUN_ID}?link={RUN_ID}~")
    # told once, also by the next one, after a crash
    assert notifier.sweep() == 0
    assert Notifier(settings, store).sweep() == 0
    # what was told is in the record, and neither the address nor the link's signature
    [line] = [one for one in records.read(evidence, INCIDENT).lines if one.kind == "notified"]
    assert (line.data["whom"], line.data["how"]) == ("chat", "JSON")
    assert head in line.data["text"]
    assert f"sealed/{RUN_ID}" in line.data["events"]
    written = (evidence / INCIDENT / "incident.jsonl").read_text()
    for secret in ("S3cretOfTheChat", "127.0.0.1", "?link="):
        assert secret not in written
    # a record that is closed and sealed gets no further line for having been told of
    records.append(evidence, INCIDENT, "closed", by="ann")
    sealed = seal_record(evidence, INCIDENT)
    assert notifier.sweep() == 1
    assert sealed.head in chat.messages[-1]["message"]
    assert records.read(evidence, INCIDENT).lines[-1].kind == "sealed"


def test_what_this_process_records_is_sent_without_waiting_for_the_next_look(
    settings: Settings,
    store: Store,
    chat: Receiver,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rbkernel.gateway.notify.notifier._LOOK_EVERY_S", 3_600.0)
    with Notifier(settings, store) as notifier:
        a_run_ends(evidence)
        notifier.wake()
        until(lambda: len(chat.messages) == 1)
    assert chat.messages[0]["title"] == "RUN-005 CRITICAL: Replay lag: 31.5 s"


def test_a_receiver_that_is_down_gets_it_later(
    settings: Settings,
    store: Store,
    chat: Receiver,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = io.StringIO()  # where everything would go that a user's logging prints
    root, handler = logging.getLogger(), logging.StreamHandler(log)
    monkeypatch.setattr(root, "handlers", [*root.handlers, handler])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    clock = [time.time()]
    monkeypatch.setattr("rbkernel.gateway.notify.outbox.time.time", lambda: clock[0])
    chat.refusals = 2
    notifier = Notifier(settings, store)
    a_run_ends(evidence)
    for wait_s, sent in ((6, 0), (11, 0), (0, 1)):
        assert notifier.sweep() == sent
        assert notifier.sweep() == 0  # not at once
        clock[0] += wait_s
    assert chat.tried == 3
    assert len(chat.messages) == 1
    assert "the service answered 500" in log.getvalue()
    for secret in ("S3cretOfTheChat", str(chat.port)):
        assert secret not in log.getvalue()


def test_a_storm_comes_as_a_few_messages_and_a_digest(
    settings: Settings, store: Store, chat: Receiver, evidence: Path
) -> None:
    calm = settings.notify.model_copy(update={"burst": 3, "every_s": 0.5})
    notifier = Notifier(settings.model_copy(update={"notify": calm}), store)
    for number in range(40):
        said = {"by": "rbkernel", "run_id": f"20261120T0302{number:02d}Z-3fa9c1"}
        name = f"INC-{number}"
        records.append(evidence, name, "run", state="started", runbook="RUN-005", **said)  # type: ignore[arg-type]
        if number < 2:
            assert notifier.sweep() == 1
    assert notifier.sweep() == 1
    assert notifier.sweep() == 0
    titles = [message["title"] for message in chat.messages]
    assert titles[:2] == ["RUN-005 started"] * 2
    assert titles[2:] == ["38 events in 38 incidents, delayed by the rate limit"]
    records.append(evidence, "INC-9", "run", by="rbkernel", state="ended", run_id=RUN_ID)
    deadline = time.monotonic() + PATIENCE_S
    while not notifier.sweep():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "INC-9" in chat.messages[-1]["message"]


def test_two_gateways_tell_everything_once(
    settings: Settings, store: Store, chat: Receiver, evidence: Path
) -> None:
    notifiers = [Notifier(settings, store) for _ in range(2)]
    for notifier in notifiers:
        notifier.start()
    try:
        a_run_ends(evidence)
        deadline = time.monotonic() + PATIENCE_S
        while not any("Head:" in message["message"] for message in chat.messages):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(3)
    finally:
        for notifier in notifiers:
            notifier.stop()
    told = "\n".join(message["message"] for message in chat.messages)
    assert told.count("Head:") == told.count("What now?") == 1


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: object
    out: str
    err: str


def rbkernel(capsys: pytest.CaptureFixture[str], *arguments: str) -> Done:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["rbkernel", "notify", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
    return Done(ending.value.code, *capsys.readouterr())


def test_the_command(
    tmp_path: Path,
    evidence: Path,
    chat: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RBKERNEL_STORE_URL", f"sqlite:///{tmp_path}/store.sqlite")
    none = rbkernel(capsys, "--test")
    assert none.code == 3
    assert "[notify.targets" in none.err
    file = tmp_path / "rbkernel.toml"
    file.write_text(
        '[notify.targets.chat]\nurl_env = "RB_TEST_CHAT"\n'
        '[notify.targets.night]\nurl_env = "RB_TEST_NIGHT"\nevents = ["decision"]\n'
    )
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    tested = rbkernel(capsys, "--test")
    assert tested.code == 3
    assert "chat   sent through JSON" in tested.out
    assert "RB_TEST_NIGHT" in tested.out
    [message] = chat.messages
    assert message["title"] == "A test of rbkernel's notifications"
    assert rbkernel(capsys, "--test", "chat").code == 0
    monkeypatch.setenv("RB_TEST_NIGHT", os.environ["RB_TEST_CHAT"])
    a_run_ends(evidence)
    once = rbkernel(capsys, "--once")
    assert once.code == 0, once.err
    assert "sent 2 messages" in once.out
    shown = rbkernel(capsys)
    assert shown.code == 0
    assert "decision" in shown.out
    assert "S3cretOfTheChat" not in "".join((tested.out, once.out, shown.out))
