"""The record of an incident: written once, told as it is, proven as far as it is sealed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident
from rbkernel.evidence.bundle import seal
from rbkernel.evidence.incident import append, list_incidents, read
from rbkernel.evidence.incident.seal import seal_record
from rbkernel.evidence.runs import list_runs
from rbkernel.evidence.timeline import timeline
from rbkernel.evidence.verify import unsealed, verify_folder
from rbkernel.incidents.status import next_due
from rbkernel.render import verification
from tests.support.crash import dies_at
from tests.support.journal_builder import INCIDENT, RUN_ID, other_run, whole_run
from tests.support.tiers import first as first_cases

pytestmark = pytest.mark.slow

FIRED, ENDED = "2026-11-20T03:02:00Z", "2026-11-20T03:41:00Z"


def alert(status: str = "firing", starts_at: str = FIRED, **more: Any) -> dict[str, Any]:
    return {
        "source": "alertmanager",
        "status": status,
        "fingerprint": "ab" * 8,
        "starts_at": starts_at,
        "ends_at": ENDED if status == "resolved" else None,
        "labels": {"alertname": "PostgresReplicationLag", "cluster": "shop"},
        "annotations": {"summary": "replay is 31 s behind"},
        "url": "",
        "identity": f"{status}{starts_at}",
        **more,
    }


def record_of(root: Path) -> Path:
    return root / INCIDENT / "incident.jsonl"


def test_the_first_line_opens_the_incident(tmp_path: Path) -> None:
    line = append(tmp_path / "evidence", INCIDENT, "alert", by="rbkernel", **alert())
    assert (line.number, line.kind, line.is_new) == (2, "alert", True)
    told = read(tmp_path / "evidence", INCIDENT)
    assert [(one.kind, one.by) for one in told.lines] == [
        ("opened", "rbkernel"),
        ("alert", "rbkernel"),
    ]
    assert (told.state, told.title, told.closed_at, told.damaged) == ("open", "", "", ())
    assert (told.began.at, told.began.source) == (FIRED, "alert PostgresReplicationLag")


def test_an_incident_tells_what_its_lines_add_up_to(tmp_path: Path) -> None:
    opened: dict[str, Any] = {
        "title": "Lag",
        "severity": "high",
        "service": "orders",
        "group_key": "{}:{x}",
    }
    append(tmp_path, INCIDENT, "opened", by="rbkernel", **opened)
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **alert())
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-005"}
    append(tmp_path, INCIDENT, "run", by="rbkernel", **run, state="queued", why="alert")
    append(tmp_path, INCIDENT, "run", by="rbkernel", **run, state="started", attempt=1)
    append(tmp_path, INCIDENT, "status", by="ann", status="Identified", impact="late reports")
    append(tmp_path, INCIDENT, "note", by="ann", text="replay was paused by hand")
    assert read(tmp_path, INCIDENT).resolved is None
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **alert("resolved"))
    append(tmp_path, INCIDENT, "closed", by="ann", resolution="resumed")
    told = read(tmp_path, INCIDENT)
    assert {name: getattr(told, name) for name in opened} == opened
    assert (told.state, told.resolution) == ("closed", "resumed")
    (one,) = told.alerts
    assert (one.status, one.fired, one.last_resolved_at) == ("resolved", 1, ENDED)
    assert (told.runs[0].state, told.runs[0].attempt, told.runs[0].why) == ("started", 1, "alert")
    assert [(note.by, note.text) for note in told.notes] == [("ann", "replay was paused by hand")]
    assert (told.statuses[0].impact, told.statuses[0].eta) == ("late reports", "")
    assert str(told.duration) == "0:39:00"
    append(tmp_path, INCIDENT, "reopened", by="ann", why="it came back")
    assert [one.state for one in list_incidents(tmp_path)] == ["open"]


def test_what_is_said_again_is_written_once(tmp_path: Path) -> None:
    run: dict[str, Any] = {"run_id": RUN_ID, "runbook": "RUN-005", "state": "started", "attempt": 1}
    lines_of: tuple[tuple[str, dict[str, Any]], ...] = (
        ("opened", {"title": "Lag"}),
        ("alert", alert()),
        ("run", run),
        ("merged", {"from": "INC-2"}),
    )
    for kind, said in lines_of:
        first = append(tmp_path, INCIDENT, kind, by="rbkernel", **said)
        again = append(tmp_path, INCIDENT, kind, by="another", **said)
        assert (first.is_new, again.is_new, again.number) == (True, False, first.number)
    lines = len(read(tmp_path, INCIDENT).lines)
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **alert("resolved"))
    append(tmp_path, INCIDENT, "run", by="rbkernel", **{**run, "attempt": 2})
    other: dict[str, Any] = {"from": "INC-3"}
    append(tmp_path, INCIDENT, "merged", by="rbkernel", **other)
    for _ in range(2):  # what has no natural key may be said twice
        append(tmp_path, INCIDENT, "note", by="ann", text="again")
        append(tmp_path, INCIDENT, "alert", by="ann", source="by hand", status="firing")
    assert len(read(tmp_path, INCIDENT).lines) == lines + 7
    assert read(tmp_path, INCIDENT).merged_from == ("INC-2", "INC-3")


def test_secrets_are_taken_out_before_they_are_written(tmp_path: Path) -> None:
    token = "sha256-like " + "0f" * 32
    said = alert(
        labels={"alertname": "X", "dsn": "postgresql://ops:geheim1@db1/shop", "password": "hut"},
        annotations={"summary": "ALTER ROLE x PASSWORD 'geheim1'"},
        identity="0f" * 32,
    ) | {"starts_at": datetime(2026, 11, 20, 3, 2, tzinfo=UTC)}
    append(tmp_path, INCIDENT, "alert", by="rbkernel", **said)
    append(tmp_path, INCIDENT, "note", by="ann", text="PGPASSWORD=geheim1 psql works", more=token)
    written = record_of(tmp_path).read_text()
    assert "geheim1" not in written
    assert "hut" not in written
    assert '"identity": "' + "0f" * 32 in written
    assert read(tmp_path, INCIDENT).alerts[0].first_firing_at == "2026-11-20T03:02:00+00:00"


@pytest.mark.parametrize("incident_id", ["../INC-1", "INC-", "", "INC-1/..", "INC-1\n"])
def test_only_incident_ids_are_incident_ids(tmp_path: Path, incident_id: str) -> None:
    with pytest.raises(EvidenceError, match="is not an incident id"):
        append(tmp_path, incident_id, "note", by="ann", text="x")
    with pytest.raises(EvidenceError, match="is not an incident id"):
        read(tmp_path, incident_id)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_is_a_programming_error(tmp_path: Path) -> None:
    for kind in ("sealed", "remark"):
        with pytest.raises(ValueError, match="unknown kind of line"):
            append(tmp_path, INCIDENT, kind, by="ann")
    with pytest.raises(ValueError, match="time at which it is written"):
        append(tmp_path, INCIDENT, "note", by="ann", at="2026-11-20T03:02:00Z")


def test_a_line_that_a_crash_cut_hurts_no_line_after_it(tmp_path: Path) -> None:
    append(tmp_path, INCIDENT, "note", by="ann", text="first")
    with record_of(tmp_path).open("ab") as file:
        file.write(b'{"at": "2026-11-20T03:0')
    assert [str(one) for one in read(tmp_path, INCIDENT).damaged] == ["line 3 is cut off"]
    append(tmp_path, INCIDENT, "note", by="ann", text="second")
    told = read(tmp_path, INCIDENT)
    assert [note.text for note in told.notes] == ["first", "second"]
    assert [str(one) for one in told.damaged] == ["line 3 is not a line of a record"]


def test_damage_is_told_and_hides_no_other_line(tmp_path: Path) -> None:
    append(tmp_path, INCIDENT, "note", by="ann", text="first")
    with record_of(tmp_path).open("ab") as file:
        for bad in (b"\xff", b"", b"[" * 100_000, b"9" * 5000, b"[]", b'{"at": 7, "kind": "x"}'):
            file.write(bad + b"\n")
    append(tmp_path, INCIDENT, "note", by="ann", text="last")
    told = read(tmp_path, INCIDENT)
    assert [note.text for note in told.notes] == ["first", "last"]
    assert [one.number for one in told.damaged] == [3, 4, 5, 6, 7, 8]
    record_of(tmp_path).unlink()
    os.mkfifo(record_of(tmp_path))
    assert [str(one) for one in list_incidents(tmp_path)[0].damaged] == [
        "the record cannot be read"
    ]
    with pytest.raises(EvidenceError, match=r"is not a regular file.*Next: "):
        read(tmp_path, INCIDENT)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"at": "2026-13-45"}, "has an invalid time: at 2026-13-45"),
        ({"at": "tomorrow"}, "has an invalid time: at tomorrow"),
        ({"text": {}}, "has a field of the wrong type: text"),
        ({"kind": "status", "status": 7}, "has a field of the wrong type: status"),
        ({"kind": "alert", "starts_at": "soon"}, "has an invalid time: starts_at soon"),
        ({"kind": "alert", "labels": "x"}, "has a field of the wrong type: labels"),
        ({"kind": "closed", "resolution": []}, "has a field of the wrong type: resolution"),
    ],
)
def test_values_that_cannot_be_are_damage(tmp_path: Path, line: dict[str, Any], told: str) -> None:
    append(tmp_path, INCIDENT, "note", by="ann", text="first")
    written = incident.entry("note", "eve") | line
    path = record_of(tmp_path)
    path.write_bytes(incident.with_lines(path.read_bytes(), written))
    found = read(tmp_path, INCIDENT)
    assert [str(one) for one in found.damaged] == [f"line 3 {told}"]
    assert (len(found.lines), found.state, found.alerts, found.statuses) == (2, "open", (), ())


def test_a_time_of_the_future_is_told(tmp_path: Path) -> None:
    append(tmp_path, INCIDENT, "note", by="ann", text="first")
    path, soon = record_of(tmp_path), datetime.now(UTC) + timedelta(minutes=2)
    lines = [
        incident.entry("status", "eve", at, status="Identified")
        for at in (soon.isoformat(), "2099-01-01T00:00:00+00:00")
    ]
    path.write_bytes(incident.with_lines(path.read_bytes(), *lines))
    found = read(tmp_path, INCIDENT)
    assert len(found.statuses) == 2
    (damage,) = found.damaged
    assert (damage.number, "in the future" in damage.what) == (4, True)
    due = next_due(found, datetime.now(UTC))
    assert due is not None
    assert due.at == soon + timedelta(minutes=30)


WRITER = """
import sys
import time
from pathlib import Path
from rbkernel.evidence.incident import append
for number in range(25):
    append(Path(sys.argv[1]), sys.argv[2], "alert", by=sys.argv[3], identity=f"alert {number}")
    append(Path(sys.argv[1]), sys.argv[2], "note", by=sys.argv[3], text=f"{number}")
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    whole_run(tmp_path)
    command = [sys.executable, "-c", WRITER, str(tmp_path), INCIDENT]
    writers = [subprocess.Popen([*command, name]) for name in ("ann", "bob", "eve")]
    seal(tmp_path, RUN_ID)
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    told = read(tmp_path, INCIDENT)
    assert (len(told.notes), told.damaged) == (75, ())
    assert len([line for line in told.lines if line.kind == "alert"]) == 25
    assert [line.kind for line in told.lines].count("opened") == 1
    assert verify_folder(tmp_path) == ()


def test_a_full_disk_leaves_the_record_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, INCIDENT, "note", by="ann", text="first")
    before = record_of(tmp_path).read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:10]))
    with pytest.raises(EvidenceError, match="No space left on device"):
        append(tmp_path, INCIDENT, "note", by="ann", text="second")
    assert record_of(tmp_path).read_bytes() == before


class TestUnderSeal:
    def test_lines_after_the_last_seal_are_told_and_are_no_problem(self, tmp_path: Path) -> None:
        whole_run(tmp_path)
        seal(tmp_path, RUN_ID)
        assert unsealed(tmp_path) == {}
        append(tmp_path, INCIDENT, "note", by="ann", text="later")
        append(tmp_path, "INC-alerts", "alert", by="rbkernel", **alert())
        assert verify_folder(tmp_path) == ()
        assert unsealed(tmp_path) == {INCIDENT: 1, "INC-alerts": 2}
        lines, ok = verification.verify(tmp_path)
        assert ok
        assert f"not sealed yet: 1 line of the record of {INCIDENT}" in lines[-2]
        assert f"`rbkernel incident close {INCIDENT}` seals" in lines[-2]

    def test_what_was_sealed_cannot_change_though_lines_follow(self, tmp_path: Path) -> None:
        whole_run(tmp_path)
        seal(tmp_path, RUN_ID)
        append(tmp_path, INCIDENT, "note", by="ann", text="later")
        path, told = record_of(tmp_path), record_of(tmp_path).read_bytes()
        for changed in (told.replace(b"critical", b"ok"), told[1:], told.splitlines(True)[0]):
            path.write_bytes(changed)
            (problem,) = verify_folder(tmp_path)
            assert problem.file == path
            assert "its beginning differs from the one in MANIFEST.0001" in problem.what
        path.write_bytes(told + b"# a remark\n")
        (problem,) = verify_folder(tmp_path)
        assert problem.what == "line 4, after the last seal, is not a line of a record"

    def test_a_later_seal_does_not_bless_a_changed_line(self, tmp_path: Path) -> None:
        whole_run(tmp_path)
        seal(tmp_path, RUN_ID)
        path = record_of(tmp_path)
        path.write_bytes(path.read_bytes().replace(b"critical", b"harmless"))
        seal_record(tmp_path, INCIDENT)
        assert {problem.file for problem in verify_folder(tmp_path)} == {path}

    def test_a_record_is_sealed_without_any_run(self, tmp_path: Path) -> None:
        append(tmp_path, INCIDENT, "alert", by="rbkernel", **alert())
        with pytest.raises(EvidenceError, match="neither a sealed run"):
            verify_folder(tmp_path)
        sealed = seal_record(tmp_path, INCIDENT)
        assert sealed.is_new
        assert (sealed.folder / "incident.jsonl").read_bytes() == record_of(tmp_path).read_bytes()
        assert sealed.folder.name.startswith("0001-record-")
        assert sealed.folder.stat().st_mode & 0o777 == 0o500
        head = (tmp_path / "HEADS").read_text().split()
        assert head[:2] == [sealed.head, f"{INCIDENT}/MANIFEST.0001"]
        assert verify_folder(tmp_path) == ()
        assert verification.verify(tmp_path)[0][1:] == ["unsigned: 1 record"]
        assert unsealed(tmp_path) == {}
        assert list_runs(tmp_path) == []
        again = seal_record(tmp_path, INCIDENT)
        assert (again, again.is_new) == (sealed, False)
        (sealed.folder / "incident.jsonl").chmod(0o644)
        (sealed.folder / "incident.jsonl").write_bytes(b"")
        assert [one.file for one in verify_folder(tmp_path)] == [sealed.folder / "incident.jsonl"]

    def test_what_was_never_sealed_is_not_verified(self, tmp_path: Path) -> None:
        append(tmp_path, INCIDENT, "note", by="ann", text="x")
        with pytest.raises(EvidenceError, match=rf"nothing of {INCIDENT} is sealed.*close"):
            verification.verify(tmp_path, INCIDENT)
        line = incident.entry("sealed", "rbkernel", record=RUN_ID, folder=f"0001-record-{RUN_ID}")
        record_of(tmp_path).write_bytes(incident.with_lines(record_of(tmp_path).read_bytes(), line))
        lines, ok = verification.verify(tmp_path, INCIDENT)
        assert (len(lines), ok) == (1, False)
        assert f"says that 0001-record-{RUN_ID} is sealed, but it is missing" in lines[0]
        seal_record(tmp_path, INCIDENT)
        assert verification.verify(tmp_path, INCIDENT)[1]

    def test_there_must_be_a_record(self, tmp_path: Path) -> None:
        with pytest.raises(EvidenceError, match=r"there is no record.*Next: "):
            seal_record(tmp_path, INCIDENT)
        assert not (tmp_path / INCIDENT).exists()

    def test_a_runbook_named_as_a_record_is_a_run(self, tmp_path: Path) -> None:
        journal = whole_run(tmp_path)
        path = journal.folder / "journal.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"runbook": "RUN-005"', b'"runbook": "record"'))
        sealed = seal(tmp_path, RUN_ID)
        assert sealed.folder.name == f"0001-record_-{RUN_ID}"
        assert [run.run_id for run in list_runs(tmp_path)] == [RUN_ID]


def sealing_and_crash(root: Path, moment: int) -> int:
    names = ("append", "move", "write_atomically", "write_folder", "remove_folder")
    return dies_at(moment, names, lambda: seal_record(root, INCIDENT))


@pytest.mark.parametrize("between", ["nothing", "a line", "a run"])
def test_a_seal_of_the_record_that_died_is_made_good_by_the_next(
    tmp_path: Path, between: str
) -> None:
    moment, code = 0, 9
    while code == 9:
        moment += 1
        root = tmp_path / str(moment)
        append(root, INCIDENT, "note", by="ann", text="it began")
        whole_run(root, other_run(0))
        seal(root, other_run(0))
        code = sealing_and_crash(root, moment)
        if between == "a line":
            append(root, INCIDENT, "note", by="ann", text="meanwhile")
        elif between == "a run":
            whole_run(root)
            seal(root, RUN_ID)
        seal_record(root, INCIDENT)
        assert verify_folder(root) == (), moment
        assert unsealed(root) == {}
        assert read(root, INCIDENT).damaged == ()
        assert [run.state for run in list_runs(root)] == ["sealed"] * (1 + (between == "a run"))
    assert (code, moment > 8) == (0, True)


def test_what_is_exported_is_there() -> None:
    assert all(hasattr(incident, name) for name in incident.__all__)


ACKNOWLEDGES = """
import sys
import time
from pathlib import Path
from rbkernel.evidence.incident import append
number = 0
while True:
    append(Path(sys.argv[1]), sys.argv[2], "note", by="ann", text=f"{sys.argv[3]} {number}")
    print(f"{sys.argv[3]} {number}", flush=True)
    number += 1
"""


@pytest.mark.parametrize("kills", first_cases([6, 200]))
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    acknowledged: list[str] = []
    for kill in range(kills):
        command = [sys.executable, "-c", ACKNOWLEDGES, str(tmp_path), INCIDENT, str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            acknowledged.append(writer.stdout.readline().strip())
            time.sleep(dice.random() / 10)
            writer.kill()
            acknowledged += [said for said in writer.stdout.read().splitlines() if said]
    told = read(tmp_path, INCIDENT)
    assert set(acknowledged) <= {note.text for note in told.notes}
    assert {damage.what for damage in told.damaged} <= {"is cut off", "is not a line of a record"}
    assert [line.kind for line in told.lines].count("opened") == 1


IMPOSSIBLE = [
    "0001-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2199-01-01T00:00:00Z",
]


@pytest.mark.parametrize("sent", IMPOSSIBLE)
def test_an_impossible_time_of_a_sender_is_no_start_and_no_end(tmp_path: Path, sent: str) -> None:
    first = append(tmp_path, INCIDENT, "alert", by="rbkernel", **alert(starts_at=sent))
    last = append(
        *(tmp_path, INCIDENT, "alert"),
        by="rbkernel",
        **alert("resolved", starts_at=sent) | {"ends_at": sent},
    )
    told = read(tmp_path, INCIDENT)
    assert (told.damaged, told.alerts[0].first_firing_at) == ((), first.at)
    assert told.resolved is not None
    assert told.resolved.at == last.at
    assert told.duration is not None
    assert abs(told.duration.total_seconds()) < 3600
    assert [entry.at for entry in timeline(told, []) if entry.kind == "alert"] == [
        first.at,
        last.at,
    ]


def test_an_alert_that_began_again_after_an_impossible_time_fires(tmp_path: Path) -> None:
    never = "0001-01-01T00:00:00Z"
    for number, status in enumerate(("firing", "resolved", "firing")):
        append(
            *(tmp_path, INCIDENT, "alert"),
            by="rbkernel",
            **alert(status, starts_at=never, identity=str(number)) | {"ends_at": None},
        )
    assert read(tmp_path, INCIDENT).alerts[0].status == "firing"
