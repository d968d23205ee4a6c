"""A look when an alert arrives delays nobody, and a storm of alerts is no storm of looks.

The looks themselves are stand-ins here; `test_alert_situation` makes real ones.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from rbkernel.config import Connection, Settings
from rbkernel.gateway.jobs import situation_capture
from rbkernel.gateway.jobs.situation_capture import Ask, SituationCapture
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import diagnosis
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import Diagnosis, judged
from rbkernel.sources.postgres.situation import Situation
from tests.support.waiting import until

SETTINGS = Settings(
    connections={
        name: Connection(name=name, host=host, port=1)
        for name, host in (("orders", "db1"), ("reports", "db1"), ("stock", "db2"))
    }
)


class Looks:
    """Stands in for the look at a server: it lasts until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.at_once = self.most_at_once = 0
        self.go = threading.Event()
        self.told: list[tuple[str, str, str]] = []
        self._lock = threading.Lock()

    def diagnose(self, session: Session) -> Diagnosis:
        with self._lock:
            self.begun.append(session.connection.name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.go.wait(60)
        with self._lock:
            self.at_once -= 1
        return judged(Situation(connection=session.connection.name, at="2026-11-20T03:00:00Z"))

    def tell(self, ask: Ask, seen: Diagnosis, _redactor: Redactor) -> None:
        assert seen.situation.connection == ask.connection
        self.told.append((ask.incident, ask.connection, seen.situation.reason))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(diagnosis, "diagnose", made.diagnose)
    return made


def ask(incident: str, connection: str = "orders") -> Ask:
    return Ask(
        connection=connection, incident=incident, alert="Locks", received_at=datetime.now(UTC)
    )


def test_alerts_of_a_storm_share_a_look_and_wait_for_nobody(looks: Looks) -> None:
    watched = SituationCapture(SETTINGS, looks.tell)
    for number in range(50):
        watched.look(ask(f"INC-{number}"))
        watched.look(ask(f"INC-{number}"))  # the same again
        watched.look(ask(f"INC-{number}", "reports"))  # another database of the same server
    until(lambda: looks.begun == ["orders"], "it looks")
    assert not looks.told
    looks.go.set()
    until(lambda: len(looks.told) == 100, "all are told")
    assert looks.begun == ["orders"]
    assert {told[:2] for told in looks.told} == {
        (f"INC-{number}", name) for number in range(50) for name in ("orders", "reports")
    }


def test_servers_do_not_wait_for_each_other(looks: Looks) -> None:
    watched = SituationCapture(SETTINGS, looks.tell)
    watched.look(ask("INC-1", "orders"))
    watched.look(ask("INC-1", "stock"))
    until(lambda: looks.at_once == 2, "both are looked at")
    looks.go.set()


def test_a_server_that_hangs_is_told_and_not_looked_at_again_meanwhile(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(situation_capture, "_LIMIT_S", 0.05)
    monkeypatch.setattr(situation_capture, "_FRESH_S", 0.0)
    watched = SituationCapture(SETTINGS, looks.tell)
    watched.look(ask("INC-1"))
    until(lambda: len(looks.told) == 1, "it is told that nothing was seen")
    assert "reading the state of the server took longer than" in looks.told[0][2]
    watched.look(ask("INC-2"))
    assert looks.begun == ["orders"]
    looks.go.set()
    until(lambda: len(looks.told) == 2, "the next alert has its look")
    assert looks.most_at_once == 1
    assert looks.told[1] == ("INC-2", "orders", "")


def test_what_cannot_be_told_or_is_not_configured_hurts_nobody(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks.go.set()
    told: list[str] = []

    def tell(ask: Ask, _seen: Diagnosis, _redactor: Redactor) -> None:
        if ask.incident == "INC-1":
            raise OSError("No space left on device")
        told.append(ask.incident)

    watched = SituationCapture(SETTINGS, tell)
    watched.look(ask("INC-0", "nowhere"))
    watched.look(ask("INC-1"))
    watched.look(ask("INC-2"))
    until(lambda: told == ["INC-2"], "the other one is told")
