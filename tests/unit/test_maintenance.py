"""Maintenance windows: nobody is notified, everything is recorded, and the end alerts again."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rbkernel import config
from rbkernel.cli import main
from rbkernel.config import Settings
from rbkernel.config.maintenance import Window
from rbkernel.config.notify import Notify, Target
from rbkernel.errors import ConfigError, EvidenceError
from rbkernel.evidence import incident as records
from rbkernel.evidence.timeline import timeline
from rbkernel.evidence.verify import verify_folder
from rbkernel.gateway.jobs.store import Store
from rbkernel.gateway.notify import silence
from rbkernel.gateway.notify.events import due
from rbkernel.gateway.notify.notifier import Notifier
from rbkernel.incidents import windows
from rbkernel.incidents.windows import Declared
from tests.support.journal_builder import INCIDENT, RUN_ID
from tests.unit.test_notify import Told

# apprise's plugins import it
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def window(
    match: dict[str, str] | None = None,
    begins: datetime = NOON,
    ends: datetime = NOON + HOUR,
    reason: str = "upgrade",
) -> Window:
    return Window(begins=begins, ends=ends, match=match or {}, reason=reason)


def declared(*given: Window) -> list[Declared]:
    return [Declared(window=one, by="ann") for one in given]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("from = 2026-12-01T22:00:00Z\nto = 2026-12-01T21:00:00Z", "before it begins"),
        ("from = 2026-12-01T22:00:00Z\nto = 2026-12-01T22:00:00Z", "before it begins"),
        ("from = 2026-12-01T22:00:00\nto = 2026-12-01T23:00:00Z", "from: has no time zone"),
        ('from = "2026-12-01T22:00:00Z"\nto = "2026-12-01T23:00"', "to: has no time zone"),
        ("from = 2026-12-01\nto = 2026-12-02", "from: should be a time such as"),
        ("from = 5\nto = 6", "from: should be a time such as"),
        ('from = "soon"\nto = "later"', "from: should be a time such as"),
        ("from = 2026-12-01T22:00:00Z\nto = 2027-12-01T22:00:00Z", "longer than 31 days"),
        ("from = 2026-12-01T22:00:00Z", "to: is missing"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    fields: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rbkernel.toml"
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    file.write_text(f'[[maintenance]]\n{fields}\nmatch = {{}}\nreason = "upgrade"\n')
    with pytest.raises(ConfigError, match=r"maintenance\.0") as refused:
        config.load()
    assert problem in refused.value.what
    whole = "from = 2026-12-01T22:00:00+01:00\nto = 2026-12-01T22:00:00Z\n"
    file.write_text(f'[[maintenance]]\n{whole}reason = "upgrade"\n')
    with pytest.raises(ConfigError, match=r"maintenance\.0\.match: is missing"):
        config.load()
    file.write_text(f'[[maintenance]]\n{whole}match = {{service = "shop"}}\nreason = "upgrade"\n')
    (one,) = config.load().maintenance
    assert one.ends - one.begins == HOUR


def test_every_alert_must_be_in_a_window() -> None:
    lag, pay = {"alertname": "LagHigh", "service": "db"}, {"alertname": "PayDown"}
    on_lag = declared(window({"alertname": "Lag*"}))
    assert silence.silence_of([lag], on_lag, NOON)
    assert silence.silence_of([lag, pay], on_lag, NOON) is None
    assert silence.silence_of([pay], declared(window({"service": "*db"})), NOON) is None
    shorter = window({"alertname": "Pay*"}, ends=NOON + HOUR / 2)
    both = silence.silence_of([lag, pay], [*on_lag, *declared(shorter)], NOON)
    assert both is not None
    assert both.until == NOON + HOUR / 2
    # a run that no alert started is silenced by nothing less than everything
    assert silence.silence_of([], on_lag, NOON) is None
    assert silence.silence_of([], declared(window()), NOON)
    for outside in (NOON - HOUR / 60, NOON + HOUR):
        assert silence.silence_of([lag], on_lag, outside) is None


class Desk:
    """A notifier with one target, and an incident whose run has ended critical."""

    def __init__(self, folder: Path, *given: Window) -> None:
        target = Target(name="all", url_env="CHAT")
        self.settings = Settings(maintenance=given, notify=Notify(targets={"all": target}))
        self.root = self.settings.evidence_root
        self.notifier = Notifier(self.settings, Store.open(f"sqlite:///{folder}/store.sqlite"))
        self.alert("firing")
        for state in ("started", "ended"):
            run = {"run_id": RUN_ID, "runbook": "RUN-005", "verdict": "critical"}
            self.say("run", state=state, attempt=1, **run)

    def say(self, kind: str, **said: Any) -> None:
        records.append(self.root, INCIDENT, kind, by="rbkernel", **said)

    def alert(self, status: str, name: str = "LagHigh") -> None:
        now = datetime.now(UTC).isoformat()
        ends = {"ends_at": now} if status == "resolved" else {}
        said = {"source": "alertmanager", "fingerprint": name, "status": status, **ends}
        identity = f"{status} {name}"
        self.say("alert", identity=identity, labels={"alertname": name}, starts_at=now, **said)

    def pending(self, now: datetime) -> int:
        self.notifier.look(now)
        return self.notifier.outbox.waiting("all").pending

    @property
    def silenced(self) -> list[str]:
        lines = records.read(self.root, INCIDENT).lines
        return [
            f"{one.text('until')} {one.text('reason')}" for one in lines if one.kind == "silenced"
        ]


@pytest.fixture
def now(evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> datetime:
    monkeypatch.setenv("CHAT", "json://localhost")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return datetime.now(UTC)


def long_window(now: datetime, **match: str) -> Window:
    return window(match, now - HOUR, now + 8 * HOUR)


def test_what_is_not_over_when_the_window_ends_is_notified_then(
    tmp_path: Path, now: datetime
) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    assert desk.pending(now + 2 * HOUR) == 0
    assert desk.silenced == [f"{planned.ends.isoformat()} upgrade"]
    # recorded, and shown
    record = records.read(desk.root, INCIDENT)
    assert record.runs[0].verdict == "critical"
    assert any("silenced until" in one.what for one in timeline(record, []))
    # later than news is sent otherwise
    assert desk.pending(planned.ends - timedelta(seconds=1)) == 0
    assert desk.pending(planned.ends) > 0


def test_what_is_over_when_the_window_ends_is_never_notified(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    desk.alert("resolved")
    assert desk.pending(now + 2 * HOUR) == 0
    assert desk.pending(planned.ends) == 0
    assert desk.pending(planned.ends + HOUR) == 0


def test_another_alert_breaks_the_silence(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    desk.alert("firing", "PayDown")
    assert desk.pending(now + HOUR) > 0


def test_a_window_that_is_ended_early_alerts_again(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path)
    on_lag = window({"alertname": "Lag*"}, now - HOUR, now + 8 * HOUR)
    one = windows.declare(desk.root, on_lag, "ann")
    assert desk.pending(now + HOUR / 60) == 0
    assert windows.end(desk.root, one.id, "bob", now + HOUR).window.ends == now + HOUR
    assert desk.pending(now + HOUR) > 0
    # the end is in the record, so that escalations count from it
    until = (now + HOUR).isoformat()
    assert desk.silenced[-1].startswith(until)
    found = silence.silent_until(records.read(desk.root, INCIDENT), now + 3 * HOUR)
    assert found == now + HOUR
    with pytest.raises(EvidenceError, match="no window"):
        windows.end(desk.root, one.id, "bob", now + 2 * HOUR)


def test_a_closed_incident_gets_no_line(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, planned := long_window(now))
    desk.say("closed", resolution="done")
    assert desk.pending(now + HOUR) == 0
    assert desk.pending(planned.ends + HOUR) == 0
    assert not desk.silenced


def test_escalations_begin_with_the_end_of_the_window(evidence: Path) -> None:
    records.append(evidence, INCIDENT, "opened", by="rbkernel", title="Lag")
    said = {"run_id": RUN_ID, "runbook": "RUN-005", "attempt": 1, "state": "started"}
    records.append(evidence, INCIDENT, "run", by="rbkernel", **said)  # type: ignore[arg-type]
    told = Told(escalation={"levels": [{"level": "L2", "after": "1 h", "contact": "Lead"}]})
    record, ended = records.read(evidence, INCIDENT), datetime.now(UTC) + 5 * HOUR
    kinds = [
        [
            one.kind
            for one in due(record, told, known=[], now=ended + after, silent_until=ended).events
        ]
        for after in (HOUR / 2, HOUR)
    ]
    assert ["escalation" in one for one in kinds] == [False, True]


def test_a_damaged_file_of_windows_silences_nothing(evidence: Path) -> None:
    one = windows.declare(evidence, window(), "ann")
    with (evidence / windows.FILE).open("a") as file:
        file.write('nonsense\n{"id": "M-1", "by": "x", "from": "2026-11-20T03:00:00Z"}\n[]\n{"cut')
    other = windows.declare(evidence, window(reason="password=Hunter2Hunter2"), "bob")
    found = windows.windows(Settings())
    assert [each.id for each in found] == [one.id, other.id]
    assert "Hunter2" not in (evidence / windows.FILE).read_text()


def test_the_commands_declare_list_and_end(
    evidence: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rbkernel", "maintenance", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    for arguments, problem in (
        (("upgrade",), "no alerts are named"),
        (("upgrade", "--all", "--match", "a=b"), "both --match and --all"),
        (("upgrade", "--match", "shop"), "is not name=value"),
        (("upgrade", "--all", "--for", "soon"), "not the length of a period"),
        (("upgrade", "--all", "--for", "32d"), "longer than 31 days"),
        ((" ", "--all"), "reason"),
    ):
        code, _, err = run("add", *arguments)
        assert (code, problem in err) == (3, True), err
    code, out, _ = run("add", "upgrade to 18.1", "--match", "service=shop", "--for", "90min")
    assert code == 0
    name = out.split()[0]
    (found,) = json.loads(run("list", "--json")[1])
    assert (found["id"], found["state"], found["reason"]) == (name, "active", "upgrade to 18.1")
    assert found["match"] == {"service": "shop"}
    length = datetime.fromisoformat(found["to"]) - datetime.fromisoformat(found["from"])
    assert length == timedelta(minutes=90)
    assert "service=shop" in run("list")[1]
    assert run("end", name)[0] == 0
    assert json.loads(run("list", "--json")[1])[0]["state"] == "over"
    assert run("end", name)[0] == 3


def test_the_file_of_windows_is_no_foreign_file_for_verify(evidence: Path) -> None:
    windows.declare(evidence, window(), "ann")
    (evidence / "HEADS").write_text("")
    assert not [one for one in verify_folder(evidence) if one.file.name == windows.FILE]
