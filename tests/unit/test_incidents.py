"""Working with incidents: look, write down, draft, close, open again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from rbkernel.cli import app, incident_text
from rbkernel.cli.output import Ending
from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, ParameterError
from rbkernel.evidence import bundle, caveats, runs, signing
from rbkernel.evidence.incident import Line, append, instant, look, read, tell
from rbkernel.evidence.verify import unsealed, verify_folder
from rbkernel.incidents import status, workflow
from rbkernel.model import Verdict
from rbkernel.render.documents import writing
from rbkernel.run import runner
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, whole_run
from tests.support.kernels import in_tiny_tmpfs

pytestmark = pytest.mark.slow

BEGAN = "2026-11-20T03:00:00+00:00"
LAG = "PostgresReplicationLag"


def alert(state: str, starts_at: str = BEGAN, name: str = LAG) -> dict[str, Any]:
    ended = {"ends_at": "2026-11-20T03:41:00+00:00"} if state == "resolved" else {}
    said = {"source": "alertmanager", "fingerprint": name, "labels": {"alertname": name}}
    return {**said, **ended, "status": state, "starts_at": starts_at, "identity": f"{name}{state}"}


def parked(root: Path, run_id: str = RUN_ID) -> None:
    """A run that waits for a human."""
    journal = whole_run(root, run_id)
    question: dict[str, Any] = {
        "id": "d1",
        "question": "What now?",
        "options": ["wait", "resume replay"],
    }
    journal.event("decision", **question, recommended="resume replay", state="parked")


@pytest.fixture
def settings(evidence: Path, tmp_path: Path) -> Settings:
    """The configuration of a host with a key."""
    found = Settings.model_validate({"evidence": {"signing_key": tmp_path / "home" / "seal_key"}})
    signing.keygen(evidence, found.signing_key, found.allowed_signers, "ops@db1")
    return found


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class TestLook:
    def test_an_incident_shows_its_runs_and_what_waits(self, evidence: Path) -> None:
        append(evidence, INCIDENT, "alert", by="rbkernel", **alert("firing"))
        parked(evidence)
        found = workflow.look(evidence, INCIDENT)
        assert (found.title, found.verdict) == (LAG, "critical")
        assert [(one.run_id, one.decision.question) for one in found.waiting] == [
            (RUN_ID, "What now?")
        ]
        assert found.timeline[0].what == f"alert firing: {LAG}"

    def test_a_later_run_answers_for_an_earlier_one(self, evidence: Path) -> None:
        parked(evidence)
        whole_run(evidence, other_run(40))
        assert workflow.look(evidence, INCIDENT).waiting == ()

    def test_an_incident_that_only_an_open_run_tells_of_is_there(self, evidence: Path) -> None:
        whole_run(evidence)
        (listed,) = workflow.list_all(evidence)
        assert (listed.record.id, listed.record.lines) == (INCIDENT, ())
        assert listed.record.began.at == "2026-11-20T03:02:11+00:00"
        assert workflow.look(evidence, INCIDENT).runs == listed.runs

    def test_a_run_that_only_begins_has_found_nothing(self, tmp_path: Path) -> None:
        fields: dict[str, Any] = {
            "run_id": RUN_ID,
            "incident": INCIDENT,
            "runbook": "RUN-000",
            "title": "",
        }
        begun = runs.RunEntry(
            **fields, state=runs.LIVE, verdict=Verdict.UNKNOWN, started_at=BEGAN, folder=tmp_path
        )
        found = workflow.Incident(record=tell([], INCIDENT), runs=(begun,))
        assert found.verdict == ""
        assert f"  RUNNING   RUN-000: {RUN_ID}, open (live)" in incident_text.incident_lines(
            found, None
        )
        critical = replace(found, runs=(replace(begun, verdict=Verdict.CRITICAL),))
        assert critical.verdict == "critical"

    def test_an_unknown_one_is_an_error_with_a_next_step(self, evidence: Path) -> None:
        with pytest.raises(EvidenceError, match=r"there is no incident.*incident list"):
            workflow.look(evidence, INCIDENT)
        with pytest.raises(EvidenceError, match="is not an incident id"):
            workflow.look(evidence, "../etc")

    def test_the_list_is_in_the_order_in_which_they_began(self, evidence: Path) -> None:
        for name, hour in (("INC-late", "09"), ("INC-early", "02"), ("INC-zone", "04")):
            zone = "+01:30" if name == "INC-zone" else "Z"
            starts_at = f"2026-11-20T{hour}:00:00{zone}"
            append(evidence, name, "alert", by="rbkernel", **alert("firing", starts_at, name))
        order = [one.record.id for one in workflow.list_all(evidence)]
        assert order == ["INC-early", "INC-zone", "INC-late"]


class TestDraft:
    def drafted(self, root: Path) -> status.Draft:
        found = workflow.look(root, INCIDENT)
        return status.draft(found.record, found.timeline, instant("2026-11-20T03:10:00Z"))

    def test_the_status_follows_the_record(self, evidence: Path) -> None:
        append(evidence, INCIDENT, "alert", by="rbkernel", **alert("firing"))
        assert self.drafted(evidence).status == "Investigating"
        whole_run(evidence)
        assert self.drafted(evidence).status == "Identified"
        append(evidence, INCIDENT, "alert", by="rbkernel", **alert("resolved"))
        assert self.drafted(evidence).status == "Monitoring"

    def test_what_a_human_said_is_not_taken_back(self, evidence: Path) -> None:
        append(evidence, INCIDENT, "status", by="ann", status="Monitoring")
        assert self.drafted(evidence).status == "Monitoring"
        append(evidence, INCIDENT, "status", by="ann", status="Resolved")
        assert self.drafted(evidence).status == "Resolved"
        append(evidence, INCIDENT, "alert", by="rbkernel", **alert("firing"))
        assert self.drafted(evidence).status == "Investigating"

    def test_impact_and_eta_are_never_invented(self, evidence: Path) -> None:
        parked(evidence)
        heading, state, impact, action, eta = self.drafted(evidence).text.splitlines()
        assert heading == "INCIDENT UPDATE - 2026-11-20 03:10 UTC"
        assert state == "Status: Identified"
        assert impact.startswith("Impact: ‹fill in: ")
        assert eta.startswith("ETA: ‹fill in: ")
        assert "waiting for a decision: What now? (recommended: resume replay)" in action
        append(evidence, INCIDENT, "status", by="ann", status="Identified", impact="late mails")
        lines = self.drafted(evidence).text.splitlines()
        assert "still “late mails”" in lines[2]
        assert lines[4] == eta

    def test_after_the_end_nothing_is_asked(self, evidence: Path) -> None:
        parked(evidence)
        append(evidence, INCIDENT, "status", by="ann", status="Resolved", eta="06:40")
        *_, action, eta = self.drafted(evidence).text.splitlines()
        assert (action, eta) == ("Action: none", "ETA: none (resolved)")
        append(evidence, INCIDENT, "note", by="ann", text="watching it")
        assert "Action: note: watching it (" in self.drafted(evidence).text

    def test_only_what_happened_since_the_last_update(self, evidence: Path) -> None:
        append(evidence, INCIDENT, "note", by="ann", text="before")
        append(evidence, INCIDENT, "status", by="ann", status="Identified")
        append(evidence, INCIDENT, "note", by="ann", text="after")
        assert [one.what for one in self.drafted(evidence).since] == ["note: after"]


def line(number: int, kind: str, minute: int, **data: Any) -> Line:
    at = (instant(BEGAN) + timedelta(minutes=minute)).isoformat()
    return Line(number=number, kind=kind, at=at, by="ann", data=data)


@pytest.mark.parametrize(
    ("lines", "minute", "due", "overdue"),
    [
        ([("opened", 0, {})], 10, 0, False),
        ([("opened", 0, {})], 31, 0, True),
        ([("opened", 0, {}), ("status", 5, {"status": "Identified"})], 34, 35, False),
        ([("opened", 0, {}), ("status", 5, {"status": "Identified"})], 35, 35, True),
        ([("opened", 0, {}), ("status", 5, {"status": "Resolved"})], 99, None, False),
        ([("opened", 0, {}), ("closed", 5, {})], 99, None, False),
        ([("status", 5, {"status": "Resolved"}), ("reopened", 50, {})], 55, 50, False),
        ([("opened", 0, {}), ("merged", 5, {"into": "INC-2"})], 99, None, False),
    ],
)
def test_an_update_is_due_at_once_and_every_half_hour(
    lines: list[tuple[str, int, dict[str, Any]]], minute: int, due: int | None, *, overdue: bool
) -> None:
    record = tell([line(n, kind, at, **data) for n, (kind, at, data) in enumerate(lines, 1)])
    found = status.next_due(record, instant(BEGAN) + timedelta(minutes=minute))
    if due is None:
        assert found is None
    else:
        assert found is not None
        assert found.at == instant(BEGAN) + timedelta(minutes=due)
        assert found.overdue == overdue


@pytest.mark.parametrize("sealed", [False, True])
def test_the_runbook_says_how_often_an_update_is_due(settings: Settings, *, sealed: bool) -> None:
    root = settings.evidence_root
    append(root, INCIDENT, "opened", by="ann", title="slow", severity="P1", service="")
    whole_run(root, update_every_s=900.0)
    if sealed:
        bundle.seal(root, RUN_ID, key=settings.signing_key)
    [listed] = workflow.list_all(root)
    assert listed.update_every_s == workflow.look(root, INCIDENT).update_every_s == 900
    told = tell([line(1, "opened", 0), line(2, "status", 5, status="Identified")])
    found = status.next_due(told, instant(BEGAN) + timedelta(minutes=21), listed.update_every_s)
    assert found is not None
    assert (found.at, found.overdue) == (instant(BEGAN) + timedelta(minutes=20), True)


def test_without_an_interval_the_default_counts(evidence: Path) -> None:
    append(evidence, INCIDENT, "opened", by="ann", title="slow", severity="P1", service="")
    whole_run(evidence)
    assert workflow.look(evidence, INCIDENT).update_every_s == 0


class TestClose:
    def closed(self, settings: Settings, folder: Path) -> workflow.Closed:
        return workflow.close(settings, INCIDENT, by="ann", resolution="resumed", folder=folder)

    def test_it_seals_what_is_open_and_exports(self, settings: Settings, work: Path) -> None:
        root = settings.evidence_root
        append(root, INCIDENT, "alert", by="rbkernel", **alert("resolved"))
        whole_run(root)
        whole_run(root, other_run(1))
        bundle.seal(root, other_run(1), key=settings.signing_key)
        done = self.closed(settings, work)
        assert done.sealed_runs == (RUN_ID,)
        assert (done.record.signer, done.mind) == ("ops@db1", ())
        assert verify_folder(root, signers=settings.allowed_signers) == ()
        assert unsealed(root) == {}
        told = read(root, INCIDENT)
        assert (told.state, told.resolution) == ("closed", "resumed")
        page = done.attachment.read_text()
        assert "incident closed: resumed" in page
        assert "41 min" in page
        with zipfile.ZipFile(done.archive) as archive:
            names = archive.namelist()
        assert f"{INCIDENT}/{done.record.folder.name}/incident.jsonl" in names

    def test_the_archive_is_verified_by_its_own_words(self, settings: Settings, work: Path) -> None:
        append(settings.evidence_root, INCIDENT, "note", by="ann", text="it went away")
        done = self.closed(settings, work)
        with zipfile.ZipFile(done.archive) as archive:
            archive.extractall(work / "unpacked")
        words = (work / "unpacked/VERIFY.md").read_text()
        script = "\n".join(part.split("```")[0] for part in words.split("```sh\n")[1:])
        command = ["sh", "-e", "-c", script]
        environment = {"PATH": "/usr/bin:/bin", "SIGNERS": str(settings.allowed_signers)}
        unpacked = work / "unpacked"
        checked = subprocess.run(
            command, cwd=unpacked, env=environment, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        assert "Good" in checked.stdout
        record = unpacked / INCIDENT / "incident.jsonl"
        record.write_bytes(record.read_bytes().replace(b"away", b"well"))
        assert subprocess.run(command, cwd=unpacked, env=environment, check=False).returncode != 0

    def test_a_living_kernel_keeps_it_open(self, settings: Settings, work: Path) -> None:
        whole_run(settings.evidence_root)
        journal = whole_run(settings.evidence_root, other_run(1))
        told = rf"not closed.*{other_run(1)}.*Shut Down Kernel"
        with journal.kernel(), pytest.raises(EvidenceError, match=told):
            self.closed(settings, work)
        assert look(settings.evidence_root, INCIDENT).lines == ()
        assert not (settings.evidence_root / "HEADS").exists()
        assert list(work.iterdir()) == []
        assert self.closed(settings, work).sealed_runs == (other_run(1), RUN_ID)

    def test_a_run_that_is_still_to_be_made_keeps_it_open(
        self, settings: Settings, work: Path
    ) -> None:
        root, come = settings.evidence_root, other_run(1)
        run: dict[str, Any] = {"run_id": come, "runbook": "RUN-005", "state": "queued"}
        append(root, INCIDENT, "run", by="rbkernel", attempt=2, **run)
        with pytest.raises(EvidenceError, match=rf"has not finished.*{come}.*--anyway"):
            self.closed(settings, work)
        done = workflow.close(settings, INCIDENT, by="ann", folder=work, anyway=True)
        assert f"RUN-005 {come} has not finished" in done.mind
        append(root, INCIDENT, "run", by="rbkernel", attempt=2, **{**run, "state": "ended"})
        assert any("lacks it" in mind for mind in caveats.caveats_of(read(root, INCIDENT)))

    def test_what_it_took_in_is_its_own(self, settings: Settings, work: Path) -> None:
        root, whole = settings.evidence_root, "INC-20261120-beef"
        parked(root)
        append(root, whole, "alert", by="rbkernel", **alert("firing"))
        took_in: dict[str, Any] = {"from": INCIDENT}
        append(root, whole, "merged", by="rbkernel", **took_in)
        append(root, INCIDENT, "merged", by="rbkernel", into=whole)
        listed = {one.record.id: one for one in workflow.list_all(root)}
        assert (listed[INCIDENT].record.state, listed[whole].verdict) == ("merged", "critical")
        (question,) = workflow.look(root, whole).waiting
        assert question.decision.question == "What now?"
        done = workflow.close(settings, whole, by="ann", folder=work)
        assert any("What now?" in mind for mind in done.mind)
        assert RUN_ID in done.attachment.read_text()
        assert (read(root, INCIDENT).state, unsealed(root)) == ("closed", {})
        assert not verify_folder(root)

    def test_a_later_run_answers_for_one_that_was_taken_in(self, settings: Settings) -> None:
        root, whole, later = settings.evidence_root, "INC-20261120-beef", other_run(40)
        parked(root)
        journal = Journal(root, later)
        journal.run(journal.cell("rb.start()"), whole)
        journal.finding("Replay lag", "ok", "0 s")
        journal.event("summary", verdict="ok")
        took_in: dict[str, Any] = {"from": INCIDENT}
        append(root, whole, "merged", by="rbkernel", **took_in)
        (listed,) = (one for one in workflow.list_all(root) if one.record.id == whole)
        assert [run.run_id for run in listed.runs] == [RUN_ID, later]
        assert listed.verdict == workflow.look(root, whole).verdict == "ok"

    def test_what_is_not_over_is_told(self, settings: Settings, work: Path) -> None:
        append(settings.evidence_root, INCIDENT, "alert", by="rbkernel", **alert("firing"))
        parked(settings.evidence_root)
        assert self.closed(settings, work).mind == (
            f"alert {LAG} is still firing",
            f"not answered: “What now?” (RUN-005 {RUN_ID})",
        )

    @pytest.mark.parametrize(("severity", "required"), [("P0", True), ("P1", True), ("P2", False)])
    def test_it_says_that_a_postmortem_is_required(
        self, settings: Settings, work: Path, severity: str, required: bool
    ) -> None:
        said: dict[str, Any] = {"title": "slow", "severity": severity, "service": ""}
        append(settings.evidence_root, INCIDENT, "opened", by="ann", **said)
        told = [one for one in self.closed(settings, work).mind if "postmortem" in one]
        asked = f"required for {severity}, within 24 h: `rbkernel postmortem {INCIDENT}`"
        assert [asked in one for one in told] == ([True] if required else [])

    def test_a_place_that_cannot_be_written_leaves_it_open(self, settings: Settings) -> None:
        append(settings.evidence_root, INCIDENT, "note", by="ann", text="x")
        with pytest.raises(EvidenceError, match="cannot be in the evidence folder"):
            self.closed(settings, settings.evidence_root)
        assert read(settings.evidence_root, INCIDENT).state == "open"

    @pytest.mark.parametrize("name", [f"{INCIDENT}.html", f"{INCIDENT}.zip"])
    def test_an_attachment_that_cannot_be_written_leaves_it_open(
        self, settings: Settings, work: Path, name: str
    ) -> None:
        whole_run(settings.evidence_root)
        append(settings.evidence_root, INCIDENT, "note", by="ann", text="x")
        (work / name).mkdir()
        with pytest.raises(EvidenceError, match=r"not closed.*there is something with this name"):
            self.closed(settings, work)
        told = read(settings.evidence_root, INCIDENT)
        assert (told.state, [line.kind for line in told.lines]) == (
            "open",
            ["opened", "note", "sealed"],
        )
        (work / name).rmdir()
        assert not self.closed(settings, work).was_closed

    def test_a_full_disk_leaves_it_open(
        self, settings: Settings, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole_run(settings.evidence_root)
        bundle.seal(settings.evidence_root, RUN_ID)
        monkeypatch.setenv("RBKERNEL_EVIDENCE", str(settings.evidence_root))
        command = [sys.executable, "-m", "rbkernel", "incident", "close", INCIDENT, "-o", str(work)]
        closed = in_tiny_tmpfs(work, *command, options="size=8k")
        assert closed.returncode == 3
        assert "is not closed, because its page and archive cannot be written" in closed.stderr
        assert read(settings.evidence_root, INCIDENT).state == "open"

    def test_it_is_open_again_when_its_attachment_fails_after_all(
        self, settings: Settings, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(settings.evidence_root, INCIDENT, "note", by="ann", text="x")
        with monkeypatch.context() as patch:
            patch.setattr(writing, "export", _cannot)
            with pytest.raises(EvidenceError, match=r"not closed.*the disk is gone"):
                self.closed(settings, work)
        told = read(settings.evidence_root, INCIDENT)
        assert told.state == "open"
        assert "the disk is gone" in told.lines[-1].text("why")
        assert self.closed(settings, work).attachment.is_file()
        assert not verify_folder(settings.evidence_root)

    def test_closing_again_goes_on_where_it_stopped(
        self, settings: Settings, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(settings.evidence_root, INCIDENT, "note", by="ann", text="x")
        with monkeypatch.context() as patch:
            patch.setattr(writing, "export", _dies)
            with pytest.raises(KeyboardInterrupt):
                self.closed(settings, work)
        done = self.closed(settings, work)
        assert (done.was_closed, done.attachment.is_file()) == (True, True)
        kinds = [line.kind for line in read(settings.evidence_root, INCIDENT).lines]
        assert kinds == ["opened", "note", "closed", "sealed"]


def test_a_duration_is_that_of_the_times_as_shown() -> None:
    times = ("2026-11-20T03:00:00.900000+00:00", "2026-11-20T03:10:00.100000+00:00")
    began, ended = (
        Line(number=1, kind=kind, at=at, by="ann", data=data)
        for at, kind, data in zip(
            times, ("opened", "status"), ({}, {"status": "Resolved"}), strict=True
        )
    )
    assert tell([began, ended]).duration == timedelta(minutes=10)


def _cannot(*_arguments: Any, **_named: Any) -> None:
    raise EvidenceError("the disk is gone", where="work", next_step="mount it")


def _dies(*_arguments: Any, **_named: Any) -> None:
    raise KeyboardInterrupt


class TestCommands:
    @pytest.fixture
    def rbkernel(self, evidence: Path, work: Path) -> Callable[..., str]:
        def call(*words: str) -> str:
            result = CliRunner().invoke(app, ["incident", *words], catch_exceptions=False)
            return result.stdout

        return call

    def test_an_incident_from_its_beginning_to_its_end(
        self, rbkernel: Callable[..., str], evidence: Path, work: Path
    ) -> None:
        name = rbkernel("open", "Lag", "--severity", "P1", "--service", "orders").strip()
        whole_run(evidence, RUN_ID, name)
        assert "no status update yet: due at" in rbkernel("show", name)
        rbkernel("note", name, "PGPASSWORD=geheim1 works")
        said = rbkernel("status", name, "identified", "--impact", "late mails").splitlines()
        assert said[0].startswith("INCIDENT UPDATE - 20")
        assert said[1:] == [
            *("Status: Identified", "Impact: late mails", "Action: not stated", "ETA: not stated")
        ]
        assert "next status update due at" in rbkernel("list")
        assert "Not recorded yet" in rbkernel("status", name, "--draft")
        path, *rest = rbkernel("close", name, "--resolution", "resumed").splitlines()
        assert Path(path) == work / f"{name}.html"
        assert any(one.startswith("head ") for one in rest)
        assert "geheim1" not in Path(path).read_text()
        shown = rbkernel("show", name)
        assert f"{name} CLOSED Lag" in shown
        assert "  next     postmortem due at" in shown
        assert json.loads(rbkernel("show", name, "--json"))["postmortem"]["overdue"] is False
        assert json.loads(rbkernel("list", "--open", "--json")) == []
        assert rbkernel("reopen", name, "it came back").strip() == f"{name} is reopened"
        told = json.loads(rbkernel("show", name, "--json"))
        assert (told["state"], told["severity"], told["runs"][0]["run_id"]) == (
            "open",
            "P1",
            RUN_ID,
        )
        assert told["next_update"]["overdue"] is False
        assert told["postmortem"] is None  # it is not over

    def test_bad_input_says_what_to_do(self, rbkernel: Callable[..., str], evidence: Path) -> None:
        name = rbkernel("open", "Lag").strip()
        for words, error, told in (
            (["note", "INC-nope", "x"], EvidenceError, "there is no incident"),
            (["status", name, "Fine"], ParameterError, "use one of Investigating"),
            (["status", name], ParameterError, "no status was given"),
            (["open", "x", "--severity", "bad"], ParameterError, "unknown severity"),
            (["close", name, "-o", "nowhere"], ParameterError, "this is not a folder"),
        ):
            with pytest.raises(error, match=told):
                rbkernel(*words)
        assert [path.name for path in evidence.glob("INC-*")] == [name]

    def test_a_note_comes_from_standard_input(
        self, rbkernel: Callable[..., str], evidence: Path
    ) -> None:
        name = rbkernel("open", "Lag").strip()
        said = CliRunner().invoke(app, ["incident", "note", name, "-"], input="one\ntwo\n")
        assert said.exit_code == 0
        assert [note.text for note in read(evidence, name).notes] == ["one\ntwo"]
        for given, told in (("x" * 65537, "at most 64 KiB.*Next: "), (" \n", "is empty.*Next: ")):
            found = CliRunner().invoke(app, ["incident", "note", name, "-"], input=given)
            assert re.search(told, str(found.exception))
        assert len(read(evidence, name).notes) == 1

    def test_what_says_nothing_is_refused(
        self, rbkernel: Callable[..., str], evidence: Path
    ) -> None:
        with pytest.raises(ParameterError, match=r"title is empty.*Next: give the title"):
            rbkernel("open", "  ")
        name = rbkernel("open", "Lag").strip()
        with pytest.raises(ParameterError, match=r"note is empty.*Next: give the note"):
            rbkernel("note", name, "")
        assert "its title stays “Lag”" in rbkernel("open", "Other", "--id", name)

    def test_a_second_close_says_what_it_does_not_keep(self, rbkernel: Callable[..., str]) -> None:
        name = rbkernel("open", "Lag").strip()
        rbkernel("close", name, "--resolution", "resumed")
        again = rbkernel("close", name, "--resolution", "something else")
        assert f"{name} was already closed by " in again
        assert "Note: your resolution was not recorded" in again
        assert "not on record" not in rbkernel("close", name)

    def test_the_page_shows_each_impact(self, rbkernel: Callable[..., str], work: Path) -> None:
        name = rbkernel("open", "Lag").strip()
        rbkernel("status", name, "Identified", "--impact", "late mails")
        rbkernel("status", name, "Resolved", "--impact", "no harm")
        rbkernel("close", name)
        head = (work / f"{name}.html").read_text().split("incident closed")[0]
        assert "late mails (Identified, " in head
        assert "no harm (Resolved, " in head

    def test_a_run_in_a_closed_incident_says_that_the_page_is_old(
        self,
        rbkernel: Callable[..., str],
        evidence: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        name = rbkernel("open", "Lag").strip()

        def ran(*_words: Any, **_named: Any) -> mock.MagicMock:
            return mock.MagicMock(
                incident=name, verdict=Verdict.OK, duration_s=1.0, sealed=None, failure=""
            )

        monkeypatch.setattr(runner, "run", ran)
        words = ["run", "RUN-005", "--incident", name, "--exit-zero-on-finding"]
        assert "lacks this run" not in CliRunner().invoke(app, words).stdout
        rbkernel("close", name)
        told = CliRunner().invoke(app, words).stdout
        assert "so the exported report lacks this run" in told
        assert f"Next: `rbkernel incident close {name}` exports report and archive again" in told

    def test_a_line_taken_away_is_told_and_nothing_is_added(
        self, rbkernel: Callable[..., str], evidence: Path, work: Path
    ) -> None:
        name = rbkernel("open", "Lag").strip()
        rbkernel("note", name, "x")
        rbkernel("close", name)
        path = evidence / name / "incident.jsonl"
        whole = path.read_bytes()
        assert CliRunner().invoke(app, ["incident", "show", name]).exit_code == 0
        lines = [one for one in whole.splitlines(keepends=True) if b'"closed"' not in one]
        path.write_bytes(b"".join(lines))
        shown = CliRunner().invoke(app, ["incident", "show", name])
        assert isinstance(shown.exception, Ending)
        assert shown.exception.code == 3
        assert "its beginning differs from the one in MANIFEST.0001" in shown.stdout
        assert "do not trust it" in shown.stderr
        assert "DAMAGED RECORD" in rbkernel("list")
        for words in (["note", name, "y"], ["status", name, "Resolved"], ["close", name]):
            with pytest.raises(EvidenceError, match=f"cannot be changed.*evidence verify {name}"):
                rbkernel(*words)
        assert path.read_bytes() == b"".join(lines)
        path.unlink()
        with pytest.raises(EvidenceError, match="it was sealed"):
            rbkernel("note", name, "y")

    def test_a_storm_does_not_hide_what_waits(
        self, rbkernel: Callable[..., str], evidence: Path
    ) -> None:
        for number in range(120):
            said = alert("firing" if number == 119 else "resolved", name=f"Alert{number}")
            append(evidence, INCIDENT, "alert", by="rbkernel", **said)
        told = rbkernel("show", INCIDENT).splitlines()
        assert told[told.index("Alerts") + 1].split()[:2] == ["FIRING", "Alert119,"]
        assert "  … and 105 more alerts (--json shows all)" in told
        assert sum("more alerts (--json shows all) [" in line for line in told) == 1
        assert len(told) < 40
        assert len(json.loads(rbkernel("show", INCIDENT, "--json"))["timeline"]) == 121

    def test_what_alerts_say_does_not_steer_a_terminal(
        self, rbkernel: Callable[..., str], evidence: Path
    ) -> None:
        said = alert("firing", name="\x1b[2J\x1b]0;owned\x07Lag\nRuns\u202e")
        append(evidence, INCIDENT, "alert", by="rbkernel", **said)
        for words in (["show", INCIDENT], ["list"], ["status", INCIDENT, "--draft"]):
            told = rbkernel(*words)
            assert not any(sign in told for sign in "\x1b\x07\u202e")
            assert "Lag Runs" in told
