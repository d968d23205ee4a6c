"""Maintenance windows: nobody is notified, everything is recorded, and the end alerts again."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel import config
from rbkernel.cli import main
from rbkernel.config import Settings
from rbkernel.config.maintenance import Window
from rbkernel.config.notify import Notify, Target
from rbkernel.config.queue import Grouping
from rbkernel.errors import ConfigError, EvidenceError
from rbkernel.evidence import incident as records
from rbkernel.evidence.incident import text
from rbkernel.evidence.timeline import timeline
from rbkernel.evidence.verify import verify_folder
from rbkernel.execution import document
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import silence
from rbkernel.gateway.notify.notifier import Notifier
from rbkernel.gateway.notify.watch import OnDisk
from rbkernel.incidents import windows
from rbkernel.incidents.windows import Declared
from tests.support.journal_builder import INCIDENT, RUN_ID, whole_run
from tests.unit.test_notify import Told

OTHER = "INC-20261120-0002"

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


def test_a_pattern_fits_only_alerts_that_have_the_label() -> None:
    assert not window({"team": "*"}).fits({"alertname": "LagHigh"})
    assert window({"team": "*"}).fits({"team": ""})
    with pytest.raises(ValidationError, match="at least 1 character"):
        window({"team": ""})


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

    def __init__(self, folder: Path, *given: Window, verdict: str = "critical") -> None:
        target = Target(name="all", url_env="CHAT")
        self.settings = Settings(maintenance=given, notify=Notify(targets={"all": target}))
        self.root = self.settings.evidence_root
        self.store = Store.open(f"sqlite:///{folder}/store.sqlite")
        self.alerts = 0
        self.restart()
        self.alert("firing")
        for state in ("started", "ended"):
            run = {"run_id": RUN_ID, "runbook": "RUN-005", "verdict": verdict}
            self.say("run", state=state, attempt=1, **run)

    def restart(self) -> None:
        self.notifier = Notifier(self.settings, self.store)

    def say(self, kind: str, incident: str = INCIDENT, **said: Any) -> None:
        records.append(self.root, incident, kind, by="rbkernel", **said)

    def alert(
        self, status: str, name: str = "LagHigh", incident: str = INCIDENT, **labels: str
    ) -> None:
        self.alerts += 1  # without times of the sender, those of the lines count
        said = {"source": "alertmanager", "fingerprint": name, "status": status}
        said |= {"identity": f"{status} {name} {self.alerts}"}
        self.say("alert", incident, labels={"alertname": name, **labels}, **said)

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
    # a runbook of the catalogue would escalate
    monkeypatch.setattr(OnDisk, "front_matter", lambda *_: None)
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


@pytest.mark.parametrize("verdict", ["ok", "critical"])
def test_what_is_over_when_the_window_ends_is_never_notified(
    tmp_path: Path, now: datetime, verdict: str
) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"), verdict=verdict)
    assert desk.pending(now + HOUR) == 0
    desk.alert("resolved")
    assert desk.pending(now + 2 * HOUR) == 0
    # a resolved alert does not end what a run has found
    is_over = verdict == "ok"
    assert (desk.pending(planned.ends) == 0) == is_over
    assert (desk.pending(planned.ends + HOUR) == 0) == is_over


def test_a_question_is_not_over(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"), verdict="ok")
    desk.alert("resolved")
    journal = whole_run(desk.root, RUN_ID)
    journal.event("decision", id="d1", question="What now?", options=["a", "b"], state="parked")
    assert desk.pending(now + HOUR) == 0
    assert desk.pending(planned.ends) > 0


def test_an_alert_that_was_resolved_for_a_while_is_notified(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"), verdict="ok")
    assert desk.pending(now + HOUR) == 0
    desk.alert("resolved")
    assert desk.pending(now + 2 * HOUR) == 0
    desk.alert("firing")
    assert desk.pending(planned.ends) > 0


def _alone(desk: Desk) -> None:
    """One person approves alone what needs two."""
    facts = {"title": "End it", "approvers": 2, "execute_within_s": 600.0}
    text = document.canonical({**facts, "approve_by": "2100-01-01T00:00:00+00:00"})
    said = {"plan": "p1", "digest": document.digest(text)}
    desk.say("action", state="previewed", document=text, **said)
    desk.say("action", state="approved", key="k", break_glass="nobody else is here", **said)


@pytest.mark.parametrize("way", ["closed", "silenced and closed", "down for a day", "resolved"])
def test_nothing_holds_back_that_one_person_approved_alone(
    tmp_path: Path, now: datetime, way: str
) -> None:
    given = () if way == "down for a day" else (long_window(now, alertname="Lag*"),)
    desk = Desk(tmp_path, *given, verdict="ok")
    if way != "closed":
        desk.pending(now)
    before = desk.notifier.outbox.waiting("all").pending
    _alone(desk)
    if "closed" in way:
        desk.say("closed", resolution="done")
    desk.alert("resolved")
    later = {"down for a day": 24 * HOUR, "resolved": 9 * HOUR}.get(way, HOUR / 60)
    assert desk.pending(now + later) == before + 1
    assert desk.pending(now + later) == before + 1


def test_what_is_closed_within_the_window_and_reopened_is_notified(
    tmp_path: Path, now: datetime
) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    desk.say("closed", resolution="done")
    assert desk.pending(now + 2 * HOUR) == 0
    desk.say("reopened", why="the alert is firing")
    assert desk.pending(now + 3 * HOUR) == 0
    assert desk.pending(planned.ends) > 0


def test_a_gateway_that_was_down_when_the_window_ended_notifies_later(
    tmp_path: Path, now: datetime
) -> None:
    desk = Desk(tmp_path, planned := long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    desk.restart()
    assert desk.pending(planned.ends + 9 * HOUR) > 0


def test_another_alert_breaks_the_silence(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, long_window(now, alertname="Lag*"))
    assert desk.pending(now + HOUR) == 0
    desk.alert("firing", "PayDown")
    assert desk.pending(now + HOUR) > 0
    # nobody has ended the window
    assert desk.silenced[-1].endswith("no window covers all of it any more")


def test_an_alert_has_the_service_of_its_own_labels(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, long_window(now, service="shop"))
    desk.say("opened", OTHER, service="shop")
    desk.alert("firing", "LagHigh", OTHER, app="shop")
    desk.say("run", OTHER, state="started", attempt=1, run_id="r2", runbook="RUN-005")
    before = desk.pending(now + HOUR)  # those of the other incident, whose alert has no service
    assert [line.kind for line in records.read(desk.root, OTHER).lines][-1] == "silenced"
    desk.alert("firing", "PayDown", OTHER, app="payments")
    assert desk.pending(now + HOUR) > before


def test_a_merged_incident_breaks_the_silence(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, long_window(now, alertname="Lag*"))
    desk.alert("firing", "LagOfOther", OTHER)
    desk.say("merged", **{"from": OTHER, "severity": ""})
    desk.say("merged", OTHER, into=INCIDENT)
    assert desk.pending(now + HOUR) == 0
    desk.alert("firing", "PayDown", OTHER)
    desk.say("note", text="looked at again")
    assert desk.pending(now + HOUR) > 0


def test_a_merged_incident_that_cannot_be_read_breaks_the_silence(
    tmp_path: Path, now: datetime
) -> None:
    desk = Desk(tmp_path, planned := long_window(now), verdict="ok")
    desk.alert("resolved")
    record = records.read(desk.root, INCIDENT)
    parts = OnDisk(desk.settings).parts(record)
    assert silence.of_incident(parts, declared(planned), Grouping(), now)
    assert silence.is_over(parts)
    desk.say("merged", **{"from": OTHER, "severity": ""})
    parts = OnDisk(desk.settings).parts(records.read(desk.root, INCIDENT))
    assert silence.of_incident(parts, declared(planned), Grouping(), now) is None
    assert not silence.is_over(parts)


def test_a_silence_that_is_not_on_record_is_none(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, long_window(now, alertname="Lag*"))

    def full(*_: object, **__: object) -> None:
        raise EvidenceError("the disk is full")

    monkeypatch.setattr(records, "append", full)
    assert desk.pending(now + HOUR) > 0


def test_the_end_of_a_window_is_notified_although_it_cannot_be_recorded(
    tmp_path: Path, now: datetime, level: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    one = windows.declare(desk.root, long_window(now, alertname="Lag*"), "ann")
    assert desk.pending(now) == 0

    def full(*_: object, **__: object) -> None:
        raise EvidenceError("the disk is full")

    windows.end(desk.root, one.id, "bob", now + HOUR)
    with monkeypatch.context() as patched:
        patched.setattr(records, "append", full)
        for _ in range(2):
            assert desk.pending(now + HOUR) > 0
    assert len(desk.silenced) == 1
    # it is recorded as soon as that is possible, because escalations wait for it
    desk.pending(now + HOUR + timedelta(minutes=1))
    assert len(desk.silenced) == 2


def test_windows_that_cannot_be_read_silence_nothing(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, long_window(now, alertname="Lag*"))

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(windows, "windows", fails)
    assert desk.pending(now + HOUR) > 0


def test_an_incident_that_cannot_be_read_is_looked_at_again(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)

    def fails(*_: object) -> None:
        raise EvidenceError("I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(records, "read", fails)
        assert desk.pending(now) == 0
    assert desk.pending(now + timedelta(minutes=1)) > 0


def test_a_window_that_is_ended_early_alerts_again(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path)
    on_lag = window({"alertname": "Lag*"}, now - HOUR, now + 8 * HOUR)
    one = windows.declare(desk.root, on_lag, "ann")
    assert desk.pending(now + HOUR / 60) == 0
    assert windows.end(desk.root, one.id, "bob", now + HOUR).window.ends == now + HOUR
    assert desk.pending(now + HOUR) > 0
    assert desk.silenced[-1].startswith((now + HOUR).isoformat())
    with pytest.raises(EvidenceError, match="no window"):
        windows.end(desk.root, one.id, "bob", now + 2 * HOUR)


def test_a_closed_incident_gets_no_line(tmp_path: Path, now: datetime) -> None:
    desk = Desk(tmp_path, planned := long_window(now))
    desk.say("closed", resolution="done")
    assert desk.pending(now + HOUR) == 0
    assert desk.pending(planned.ends + HOUR) == 0
    assert not desk.silenced


@pytest.fixture
def level(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each runbook escalates after four hours."""
    levels = [{"level": "L2", "after": "4 h", "contact": "Lead"}]
    told = Told(escalation={"levels": levels})
    monkeypatch.setattr(OnDisk, "front_matter", lambda _, runbook: told.front_matter(runbook))


def test_only_the_silenced_time_postpones_an_escalation(
    tmp_path: Path, now: datetime, level: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(hours: float) -> datetime:
        """Set the clock of the records; all times are past, because nobody writes future ones."""
        at = now - 20 * HOUR + hours * HOUR
        monkeypatch.setattr(text, "now", at.isoformat)
        return at

    def is_escalated(hours: float) -> bool:
        desk.pending(clock(hours))
        return any(one.startswith("escalation/") for one in desk.notifier.outbox.known(INCIDENT))

    clock(0)
    desk = Desk(tmp_path)
    assert not is_escalated(0)  # people know of it, and it escalates in 4 h
    for begin, end in ((1, 3), (5, 7)):
        planned = window({}, clock(begin), clock(20 + end))
        one = windows.declare(desk.root, planned, "ann")
        desk.restart()
        assert not is_escalated(begin)
        windows.end(desk.root, one.id, "ann", clock(end))
        # nothing but the clock makes it look again
        assert not is_escalated(end)
    assert len(desk.silenced) == 4
    # 1 h before, 2 h between the windows, 1 h after them
    assert not is_escalated(7.9)
    assert is_escalated(8.1)


def test_a_window_that_is_ended_early_is_noticed_within_a_minute(
    tmp_path: Path, now: datetime, level: None
) -> None:
    desk = Desk(tmp_path)
    now += HOUR / 60
    before = desk.pending(now)
    one = windows.declare(desk.root, long_window(now), "ann")
    desk.restart()
    for _ in range(2):  # the second look finds its own line in the record
        assert desk.pending(now) == before
    assert len(desk.silenced) == 1
    windows.end(desk.root, one.id, "ann", now + HOUR)
    assert desk.pending(now + HOUR) == before
    assert len(desk.silenced) == 2


def test_a_damaged_file_of_windows_silences_nothing(evidence: Path) -> None:
    one = windows.declare(evidence, window(), "ann")
    with (evidence / windows.FILE).open("a") as file:
        file.write('nonsense\n{"id": "M-1", "by": "x", "from": "2026-11-20T03:00:00Z"}\n[]\n{"cut')
    other = windows.declare(evidence, window(reason="password=Hunter2Hunter2"), "bob")
    found = windows.windows(Settings())
    # a line that cannot be read may have ended the first one
    assert one.id != other.id
    assert [each.id for each in found] == [other.id]
    assert "Hunter2" not in (evidence / windows.FILE).read_text()


def test_the_commands_declare_list_and_end(
    evidence: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    assert "restart" not in run("list")[1]
    planned = 'from = 2026-12-05T22:00:00Z\nto = 2026-12-05T23:00:00Z\nmatch = {}\nreason = "x"'
    (tmp_path / "own.toml").write_text(f"[[maintenance]]\n{planned}\n")
    with monkeypatch.context() as patched:
        patched.setenv("RBKERNEL_CONFIG", str(tmp_path / "own.toml"))
        assert "restart `rbkernel serve` after a change" in run("list")[1]
    assert run("end", name)[0] == 0
    assert json.loads(run("list", "--json")[1])[0]["state"] == "over"
    assert run("end", name)[0] == 3
    assert "restart `rbkernel serve`" in run("end", "rbkernel.toml")[2]


def test_the_file_of_windows_is_no_foreign_file_for_verify(evidence: Path) -> None:
    windows.declare(evidence, window(), "ann")
    (evidence / "HEADS").write_text("")
    assert not [one for one in verify_folder(evidence) if one.file.name == windows.FILE]
