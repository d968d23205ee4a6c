"""A postmortem says what the record knows, asks for the rest, and keeps what people wrote."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident as incidents
from rbkernel.evidence.bundle import seal
from rbkernel.incidents import postmortem
from rbkernel.incidents.cause import cause
from rbkernel.incidents.chapters import chapters
from rbkernel.incidents.postmortem import Postmortem
from rbkernel.runbook import catalogue
from tests.support.journal_builder import INCIDENT, RUN_ID, Journal, other_run, whole_run

pytestmark = pytest.mark.slow

CORPORA = Path(__file__).parents[1] / "corpora"
FIRING = {
    "source": "alertmanager",
    "fingerprint": "f1",
    "labels": {"alertname": "PostgresReplicationLag"},
    "annotations": {"summary": "standby-2 is 40 s behind"},
    "url": "",
}
# an hour ahead of UTC, as its sender has it
STARTS, ENDS = "2026-11-20T04:00:30+01:00", "2026-11-20T04:41:00+01:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work/postmortem.ipynb"


def say(root: Path, kind: str, **fields: Any) -> None:
    incidents.append(root, INCIDENT, kind, by="ann", **fields)


def alert(root: Path, status: str, identity: str) -> None:
    ends = ENDS if status == "resolved" else None
    say(root, "alert", status=status, identity=identity, starts_at=STARTS, ends_at=ends, **FIRING)


def known_incident(root: Path) -> None:
    """An incident with all that a record can tell: an alert that came and went, one sealed run."""
    say(root, "opened", title="Replication lag", severity="P1", service="shop", group_key="g")
    alert(root, "firing", "a")
    whole_run(root)
    seal(root, RUN_ID)
    say(root, "status", status="Monitoring", impact="Reads are old", action="resumed", eta="")
    say(root, "note", text="Somebody paused the replay for a report")
    alert(root, "resolved", "b")
    say(root, "closed", resolution="replay resumed")


def made(root: Path, path: Path) -> tuple[Postmortem, dict[str, str]]:
    result = postmortem.make(root, INCIDENT, path)
    return result, {cell.id: cell.source for cell in read(path).cells}


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    return notebook


def rows(facts: str) -> dict[str, str]:
    found = re.findall(r"^\| \*\*(.+?)\*\* \| (.*) \|$", facts, re.MULTILINE)
    return dict(found)


def test_times_durations_and_deadlines_are_those_of_the_record(evidence: Path, path: Path) -> None:
    known_incident(evidence)
    result, cells = made(evidence, path)
    facts = rows(cells["facts"])
    assert cells["overview"].startswith("# Postmortem: Replication lag\n")
    assert facts["Date"] == "2026-11-20"
    assert facts["Duration"] == (
        "40 min 30 s: from 2026-11-20 03:00:30 UTC (alert PostgresReplicationLag)"
        " to 2026-11-20 03:41:00 UTC (alert PostgresReplicationLag resolved)"
    )
    assert facts["Severity"] == "P1"
    assert facts["Service"] == "shop"
    assert facts["Alerts"] == "PostgresReplicationLag"
    assert facts["Runs"] == "RUN-005 critical"
    assert facts["State"].endswith("by ann: replay resumed")
    end = datetime(2026, 11, 20, 3, 41, tzinfo=UTC)
    assert facts["To be written"].startswith("by 2026-11-21 03:41:00 UTC: 24 h after alert")
    assert facts["Meeting"].startswith("by 2026-11-22 03:41:00 UTC: 48 h after alert")
    assert "asked of" not in facts["Meeting"]
    assert result.written_by == end + timedelta(hours=24)
    assert result.meeting_by == end + timedelta(hours=48)
    values = cells["parameters"].splitlines()
    assert values[0].startswith(f'incident: str = "{INCIDENT}"')
    assert values[1].startswith('began: str = "2026-11-20T03:00:30"')
    assert values[2].startswith('resolved: str = "2026-11-20T03:41:00"')


def test_the_chapters_come_from_the_evidence(evidence: Path, path: Path) -> None:
    known_incident(evidence)
    _, cells = made(evidence, path)
    assert "ann (Monitoring): Reads are old" in cells["impact-told"]
    assert "**critical:** Replay lag: 31.5 s (expected &lt; 15 s)" in cells["findings"]
    timeline = cells["timeline"].splitlines()[4:]
    said = [line.split(" | ")[1] for line in timeline]
    # a journal made by hand: its findings are older than its run
    order = ["alert firing", "Replay lag: critical", "RUN-005 Replication lag: started"]
    order += ["alert resolved", "Somebody paused", "incident closed"]
    places = [next(i for i, line in enumerate(said) if word in line) for word in order]
    assert places == sorted(places)
    assert not [line for line in said if line.startswith("sealed")]
    assert f"started | RUN-005 {RUN_ID[-6:]} |" in cells["timeline"]
    standing = cells["actions"]
    for item in ("Add a regression test", "Add a runbook entry", "Add an alert"):
        assert f"| ☐ | {item}: ‹PLACEHOLDER: " in standing
    order = ["facts", "impact", "impact-told", "cause", "findings", "timeline", "actions"]
    names = list(cells)
    assert [name for name in names if name in order] == order


def test_what_nobody_told_is_asked_for_and_not_made_up(evidence: Path, path: Path) -> None:
    whole_run(evidence)  # not even sealed: there is no record but the journal
    result, cells = made(evidence, path)
    facts = rows(cells["facts"])
    assert facts["Duration"] == (
        f"from 2026-11-20 03:02:11 UTC (run {RUN_ID})"
        " to ‹PLACEHOLDER: when was it resolved (UTC)? It is not recorded›"
    )
    assert facts["Severity"] == "‹PLACEHOLDER: was it P0, P1, P2 or P3?›"
    assert facts["State"] == "open"
    assert "the record does not contain that time" in facts["Meeting"]
    assert (result.written_by, result.meeting_by) == (None, None)
    assert "Service" not in facts
    assert "impact-told" not in cells
    assert "why could it happen? Ask why five times" in result.to_write
    assert 'resolved: str = "‹PLACEHOLDER' in cells["parameters"]


def test_an_end_before_the_beginning_is_no_duration(evidence: Path, path: Path) -> None:
    say(evidence, "alert", status="firing", identity="a", starts_at=ENDS, **FIRING)
    fields = FIRING | {"starts_at": ENDS, "ends_at": STARTS}
    say(evidence, "alert", status="resolved", identity="b", **fields)
    _, cells = made(evidence, path)
    assert "‹PLACEHOLDER: when was it resolved" in rows(cells["facts"])["Duration"]


def test_a_p3_is_told_that_nobody_asks_for_one(evidence: Path, path: Path) -> None:
    say(evidence, "opened", title="x", severity="P3", service="", group_key="")
    say(evidence, "closed", resolution="")
    _, cells = made(evidence, path)
    due = rows(cells["facts"])["To be written"]
    assert due.endswith("24 h after it was closed (required for P0 and P1 only)")


def test_what_people_wrote_stays_and_what_is_new_comes(evidence: Path, path: Path) -> None:
    whole_run(evidence)
    made(evidence, path)
    notebook = read(path)
    cells = {cell.id: cell for cell in notebook.cells}
    cells["cause"].source = "## Root cause\n\nA report paused the replay."
    cells["timeline"].source += "\n| 02:59 | Ben started the report | ben |"
    own = nbformat.v4.new_markdown_cell("## Our own chapter")
    notebook.cells.insert(3, own)
    notebook.cells.remove(cells["lessons"])
    nbformat.write(notebook, path)

    alert(evidence, "firing", "a")
    say(evidence, "status", status="Investigating", impact="Reads are old", action="", eta="")
    result, after = made(evidence, path)
    assert not result.is_new
    assert after["cause"] == "## Root cause\n\nA report paused the replay."
    assert "Ben started the report" in after["timeline"]
    assert after[own.id] == "## Our own chapter"
    assert "lessons" not in after, "somebody did not want it"
    assert rows(after["facts"])["Alerts"] == "PostgresReplicationLag"
    assert "Reads are old" in after["impact-told"]
    assert list(after).index("impact-told") == list(after).index("impact") + 1
    assert result.outdated == ("Timeline",)
    assert "A report paused the replay." in result.page.read_text()
    assert "Our own chapter" in result.page.read_text()


def test_a_second_call_without_news_changes_no_byte(evidence: Path, path: Path) -> None:
    known_incident(evidence)
    first, _ = made(evidence, path)
    before = path.read_bytes(), first.page.read_bytes(), path.stat().st_mtime_ns
    again, _ = made(evidence, path)
    assert (path.read_bytes(), again.page.read_bytes(), path.stat().st_mtime_ns) == before


def test_what_is_left_open_is_told_of_the_last_look_only(evidence: Path, path: Path) -> None:
    asked = {"id": "d", "question": "What now?", "options": ["wait", "resume"], "at": ""}
    for number in range(3):
        journal = Journal(evidence, other_run(number))
        fields = {"runbook": "RUN-005", "title": "Lag", "incident": INCIDENT, "headless": False}
        goes_on = {"continues": other_run(0) if number else "", "parameters": {}}
        at = "2026-11-20T03:02:11+00:00"
        journal.event("run", None, id=other_run(number), started_at=at, **fields, **goes_on)
        journal.event("decision", None, **asked, recommended="resume", state="parked")
        plan = {"id": "p", "title": "Resume replay", "connection": "s", "sql": "SELECT 1"}
        journal.event("plan", None, **plan, state="proposed")
    _, cells = made(evidence, path)
    assert cells["left-open"].splitlines()[2:] == [
        f"- What now? not answered: wait, resume (recommended) (RUN-005, run `{other_run(2)}`)",
        f"- proposed, not recorded as done: Resume replay (RUN-005, run `{other_run(2)}`)",
    ]


@pytest.mark.parametrize("payload", (CORPORA / "xss.txt").read_text().splitlines())
def test_hostile_text_is_text(payload: str, evidence: Path, path: Path) -> None:
    fields = FIRING | {"labels": {"alertname": payload}, "annotations": {"summary": payload}}
    say(evidence, "opened", title=payload, severity=payload, service=payload, group_key="")
    say(evidence, "alert", status="firing", identity="a", starts_at=STARTS, **fields)
    say(evidence, "note", text=payload)
    say(evidence, "status", status="Monitoring", impact=payload, action="", eta="")
    result, _ = made(evidence, path)
    page = BeautifulSoup(result.page.read_text(), "html.parser")
    assert not page.find_all(["script", "iframe", "img", "object", "embed", "form", "svg", "input"])
    assert not [a for a in page.find_all("a") if not str(a.get("href")).startswith("#")]
    live = [name for tag in page.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert not live
    catalogue.read(path)  # the front matter is still one


def test_no_other_file_is_written_over(evidence: Path, path: Path, tmp_path: Path) -> None:
    known_incident(evidence)
    path.parent.mkdir()
    path.write_bytes(catalogue.find("RUN-005", ()).document)
    with pytest.raises(EvidenceError, match="not an rbkernel postmortem"):
        made(evidence, path)
    path.unlink()
    made(evidence, path)
    incidents.append(evidence, "INC-20261120-0001", "note", by="ann", text="x")
    with pytest.raises(EvidenceError, match=f"the postmortem of {INCIDENT}"):
        postmortem.make(evidence, "INC-20261120-0001", path)
    other = path.with_name("other.ipynb")
    other.with_suffix(".html").write_text("<html>somebody's</html>")
    with pytest.raises(EvidenceError, match="that rbkernel did not write"):
        made(evidence, other)
    with pytest.raises(EvidenceError, match="evidence folder"):
        made(evidence, evidence / "postmortem.ipynb")
    with pytest.raises(EvidenceError, match="is written as a notebook"):
        made(evidence, tmp_path / "x.html")
    with pytest.raises(EvidenceError, match="no record of INC-20261120-0002"):
        postmortem.make(evidence, "INC-20261120-0002", path)


def test_a_postmortem_is_no_runbook_of_the_catalogue(evidence: Path, tmp_path: Path) -> None:
    known_incident(evidence)
    made(evidence, tmp_path / "work/postmortem.ipynb")
    known, problems = catalogue.runbooks([tmp_path / "work"])
    assert not problems
    assert "POSTMORTEM" not in {runbook.id for runbook in known}


def test_the_command_says_where_it_is_and_what_is_left(
    evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_incident(evidence)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["postmortem", INCIDENT], catch_exceptions=False).stdout
    notebook, page, places, written, meeting = said.splitlines()
    assert notebook == str(tmp_path / f"runs/{INCIDENT}/postmortem.ipynb")
    assert page == str(tmp_path / f"runs/{INCIDENT}/postmortem.html")
    assert re.fullmatch(r"\d+ places to fill in, marked ‹…›", places)
    assert written.startswith("written: due by 2026-11-21 03:41 UTC, ")
    assert meeting.startswith("meeting: due by 2026-11-22 03:41 UTC, ")
    arguments = ["postmortem", INCIDENT, "-o", str(tmp_path), "--json"]
    told = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    assert told["notebook"] == str(tmp_path / "postmortem.ipynb")
    assert told["is_new"] is True


def test_nothing_new_is_told(evidence: Path, path: Path) -> None:
    known_incident(evidence)
    words = ["postmortem", INCIDENT, "-o", str(path)]
    path.parent.mkdir()
    told = [CliRunner().invoke(app, words, catch_exceptions=False).stdout for _ in range(2)]
    assert ["nothing new in the record" in one for one in told] == [False, True]
    say(evidence, "note", text="one more thing")
    told.append(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert "updated; what people wrote" in told[2]
    assert not any("updated; what people wrote" in one for one in told[:2])


def test_it_asks_at_most_ten_questions(evidence: Path, path: Path) -> None:
    known_incident(evidence)
    result, _ = made(evidence, path)
    assert 0 < len(result.to_write) <= 10
    assert [one for one in result.to_write if "?" not in one] == []


def test_it_says_what_the_record_knows_of_cause_decision_repair_and_times(
    evidence: Path, path: Path
) -> None:
    known_incident(evidence)
    say(evidence, "acknowledged")
    say(evidence, "done", plan="p1", title="Resume replay", note="t", origin="command")
    _, cells = made(evidence, path)
    short = cells["in-short"]
    assert "**Found, cause not known,** by RUN-005: Replay lag" in short
    assert "**Done:** Resume replay" in short
    assert "It was over after 40 min 30 s." in short
    times = rows(cells["facts"])["Times"]
    assert re.search(r"acknowledged after .*, repaired after .*, over after 40 min 30 s", times)


def test_the_cause_is_that_of_the_incidents_page(evidence: Path) -> None:
    known_incident(evidence)
    known = postmortem.gather(evidence, INCIDENT, datetime.now(UTC))
    found = cause(known.record, known.entries, {run.run_id: run for run in known.runs})
    assert found.words
    assert found.words in dict(chapters(known))["in-short"]
    assert "No run found a cause." in dict(chapters(replace(known, entries=())))["in-short"]


def test_what_is_not_on_record_is_not_said(evidence: Path, path: Path) -> None:
    say(evidence, "opened", title="Something is slow", severity="P1")
    _, cells = made(evidence, path)
    assert cells["in-short"].splitlines()[-1] == "- No run found a cause."
    assert "Times" not in rows(cells["facts"])


def test_the_state_of_a_postmortem_has_an_owner_and_an_end(
    evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_incident(evidence)
    monkeypatch.setenv("RBKERNEL_EVIDENCE", str(evidence))
    monkeypatch.chdir(tmp_path)

    def state(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["incident", "postmortem", INCIDENT, *words])
        return done.exit_code, f"{done.stdout}{done.exception or ''}"

    assert "there is no postmortem yet" in state()[1]
    notebook = Path("runs") / INCIDENT / "postmortem.ipynb"
    postmortem.make(evidence, INCIDENT, notebook)
    assert "postmortem draft, owner nobody yet; 10 questions left" in state()[1]
    assert "nobody owns the postmortem" in state("in review")[1]
    assert state("in review", "--owner", "bob")[0] == 0
    assert "questions are not answered" in state("completed")[1]
    written = notebook.read_text()
    notebook.write_text(re.sub("‹PLACEHOLDER: [^›]*›", "said", written))
    assert "postmortem completed, owner bob; 0 questions left" in state("completed")[1]
    assert "cannot become in review" in state("in review")[1]
    later = postmortem.make(evidence, INCIDENT, tmp_path / "again.ipynb")
    assert rows(read(later.notebook).cells[2].source)["Postmortem"] == "completed, owner: bob"
    assert not incidents.look(evidence, INCIDENT).damaged
