"""Tickets of the action items of a postmortem: each once, whatever the tracker answers."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel import config
from rbkernel.cli import main
from rbkernel.config.tickets import Tickets
from rbkernel.errors import ConfigError
from rbkernel.evidence import incident
from rbkernel.evidence.timeline import timeline
from rbkernel.gateway.jobs.execution import environment
from rbkernel.incidents import tickets
from rbkernel.incidents.action_items import items_of
from rbkernel.redact import Redactor
from tests.support.journal_builder import INCIDENT, whole_run

TOKEN = "tr4cker-t0ken-tr4cker"
GITHUB, JIRA = "/repos/team/shop/issues", "/rest/api/2/issue"
HEAD = "## Action items\n\n| | action | owner | due | ticket |\n|---|---|---|---|---|\n"
ROWS = (
    "| ☐ | Add an alert on lag \\| paused | ann | 2026-12-24 | ‹PLACEHOLDER: link› |\n"
    "| ☐ | Fix the pool | ‹PLACEHOLDER: name› | | |\n"
    "| ☑ | Restart it | ann | | |\n"
    "| ☐ | It has one | ann | | https://t.example.org/1 |\n"
    "| ☐ | ‹PLACEHOLDER: what prevents it› | | | |\n"
)


@dataclass
class Tracker:
    """A system of tickets on loopback: what came, and how the next requests are answered."""

    url: str = ""
    came: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: list[tuple[int, bytes] | None] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [body.get("title") or body["fields"]["summary"] for _, _, body in self.came]


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    got = Tracker()
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                got.came.append((self.path, self.headers["Authorization"], body))
                number = len(got.came)
                planned = got.answers.pop(0) if got.answers else (0, b"")
            if planned is None:  # the answer is lost
                self.close_connection = True
                return
            status, said = planned
            made = {"html_url": f"{got.url}/team/shop/issues/{number}", "key": f"SHOP-{number}"}
            self.send_response(status or 201)
            self.end_headers()
            self.wfile.write(said or json.dumps(made).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield got
        server.shutdown()
        thread.join()


@dataclass
class Desk:
    """An incident with a postmortem that people have filled in."""

    folder: Path
    root: Path

    @property
    def notebook(self) -> Path:
        return self.folder / "postmortem.ipynb"

    def configure(self, text: str) -> None:
        (self.folder / "rbkernel.toml").write_text(text)

    def write(self, rows: str) -> None:
        notebook = nbformat.read(self.notebook, as_version=4)
        [cell] = [one for one in notebook.cells if one.id == "actions"]
        cell.source = HEAD + rows
        nbformat.write(notebook, self.notebook)

    def call(self, *words: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            name = [INCIDENT, "-o", str(self.notebook)]
            patch.setattr(sys, "argv", ["rbkernel", "postmortem", *name, *words])
            with pytest.raises(SystemExit) as caught:
                main()
        return int(caught.value.code or 0)

    @property
    def lines(self) -> list[tuple[str, str]]:
        found = incident.look(self.root, INCIDENT).lines
        return [(one.text("state"), one.text("link")) for one in found if one.kind == "ticket"]


@pytest.fixture
def desk(tmp_path: Path, evidence: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> Desk:
    whole_run(evidence)
    incident.append(evidence, INCIDENT, "opened", by="ann", title="Lag")
    monkeypatch.setenv("TRACKER", TOKEN)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(tmp_path / "rbkernel.toml"))
    made = Desk(tmp_path, evidence)
    made.configure(github(tracker))
    assert made.call() == 0
    made.write(ROWS)
    return made


def github(tracker: Tracker, more: str = "") -> str:
    return (
        f'[tickets]\nkind = "github"\nurl = "{tracker.url}{GITHUB}"\ntoken_env = "TRACKER"\n'
        f'labels = ["postmortem"]\n{more}'
    )


def jira(tracker: Tracker, more: str = "") -> str:
    return (
        f'[tickets]\nkind = "jira"\nurl = "{tracker.url}{JIRA}"\ntoken_env = "TRACKER"\n'
        f'project = "SHOP"\n{more}'
    )


def test_each_open_item_becomes_one_issue(desk: Desk, tracker: Tracker, capsys: Any) -> None:
    assert desk.call("--tickets") == 0
    path, secret, body = tracker.came[0]
    assert (path, secret) == (GITHUB, f"Bearer {TOKEN}")
    assert body["title"] == "Add an alert on lag | paused"
    assert body["labels"] == ["postmortem"]
    assert "Owner: ann\nDue: 2026-12-24\n" in body["body"]
    assert f"From the postmortem of {INCIDENT}." in body["body"]
    assert tracker.titles == ["Add an alert on lag | paused", "Fix the pool"]
    assert "PLACEHOLDER" not in json.dumps(tracker.came)
    said = capsys.readouterr().out
    assert f"Fix the pool: {tracker.url}/team/shop/issues/2 (new)" in said
    assert "1 action item not filled in yet" in said
    link = f"{tracker.url}/team/shop/issues/1"
    assert desk.lines[:2] == [("begun", ""), ("made", link)]
    entries = timeline(incident.look(desk.root, INCIDENT), [])
    assert f"ticket made: Fix the pool: {tracker.url}/team/shop/issues/2" in [
        one.what for one in entries
    ]
    record = (desk.root / INCIDENT / "incident.jsonl").read_text()
    assert TOKEN not in record + said
    # a second call makes none twice, also if the text was only moved or spaced
    desk.write(ROWS.replace("Fix the pool", "fix  the Pool"))
    assert desk.call("--tickets") == 0
    assert len(tracker.came) == 2
    assert "(there already)" in capsys.readouterr().out


def test_jira(desk: Desk, tracker: Tracker, capsys: Any) -> None:
    capsys.readouterr()
    desk.configure(jira(tracker, 'user = "bot@example.org"\nissue_type = "Bug"\n'))
    assert desk.call("--tickets", "--json") == 0
    path, secret, body = tracker.came[0]
    assert path == JIRA
    assert base64.b64decode(secret.removeprefix("Basic ")).decode() == f"bot@example.org:{TOKEN}"
    fields = body["fields"]
    assert (fields["project"], fields["issuetype"]) == ({"key": "SHOP"}, {"name": "Bug"})
    assert fields["summary"] == "Add an alert on lag | paused"
    assert "Due: 2026-12-24" in fields["description"]
    links = [one["link"] for one in json.loads(capsys.readouterr().out)["tickets"]]
    assert links == [f"{tracker.url}/browse/SHOP-{number}" for number in (1, 2)]
    assert desk.lines[1] == ("made", f"{tracker.url}/browse/SHOP-1")


def test_a_closed_incident_keeps_the_links(desk: Desk, tracker: Tracker) -> None:
    incident.append(desk.root, INCIDENT, "closed", by="ann", resolution="resumed")
    assert desk.call("--tickets") == 0
    assert desk.call("--tickets") == 0
    assert len(tracker.came) == 2
    assert [state for state, _ in desk.lines] == ["begun", "made"] * 2


def test_two_people_at_once(desk: Desk, tracker: Tracker) -> None:
    system = config.load().tickets
    notebook = nbformat.read(desk.notebook, as_version=4)
    assert system

    def make(_: int) -> object:
        return tickets.make(desk.root, INCIDENT, notebook, system, by="ann", redactor=Redactor())

    with ThreadPoolExecutor(6) as people:
        list(people.map(make, range(6)))
    assert sorted(tracker.titles) == ["Add an alert on lag | paused", "Fix the pool"]


@pytest.mark.parametrize(
    "answer", [None, (500, b"oops"), (201, b"oops"), (201, b"{}"), (201, b'{"html_url": "x"}')]
)
def test_nobody_knows_whether_it_exists(
    desk: Desk, tracker: Tracker, capsys: Any, answer: tuple[int, bytes] | None
) -> None:
    desk.write("| ☐ | Fix the pool | | | |\n")
    tracker.answers = [answer]
    assert desk.call("--tickets") == 1
    assert "look whether it exists" in capsys.readouterr().out
    # not made again by itself
    assert desk.call("--tickets") == 1
    assert len(tracker.came) == 1
    assert "look whether it exists" in capsys.readouterr().out
    assert desk.call("--tickets", "--again") == 0
    assert desk.call("--tickets", "--again") == 0
    assert len(tracker.came) == 2


def test_refused_is_tried_again(desk: Desk, tracker: Tracker, capsys: Any) -> None:
    desk.write("| ☐ | Fix the pool | | | |\n")
    for answer in ((403, b"no"), (302, b"")):
        tracker.answers = [answer]
        assert desk.call("--tickets") == 1
        assert f"refused it with {answer[0]}" in capsys.readouterr().out
    assert desk.call("--tickets") == 0
    assert [state for state, _ in desk.lines] == ["begun", "refused"] * 2 + ["begun", "made"]


def test_a_request_in_progress_is_not_made_again(
    desk: Desk, tracker: Tracker, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write("| ☐ | Fix the pool | | | |\n")
    key = items_of(nbformat.read(desk.notebook, as_version=4)).open[0].key(INCIDENT)
    begun: dict[str, Any] = {
        "item": key,
        "title": "Fix the pool",
        "state": "begun",
        "attempt_id": "one",
    }
    incident.append(desk.root, INCIDENT, "ticket", by="ann", **begun)
    assert desk.call("--tickets", "--again") == 1
    assert not tracker.came
    assert "may be in progress" in capsys.readouterr().out
    # nobody waits for an answer any more; the refusal of a second try says nothing about the first
    monkeypatch.setattr(tickets, "_IN_PROGRESS", 0)
    monkeypatch.setattr(tickets, "_MARGIN_S", 0.0)
    tracker.answers = [(403, b"no")]
    assert desk.call("--tickets", "--again") == 1
    assert desk.call("--tickets") == 1
    assert len(tracker.came) == 1
    assert "look whether it exists" in capsys.readouterr().out


@pytest.mark.parametrize(
    "row",
    [
        "| [] | Add an alert | ann | | |",
        "| ☐ | Add an alert | ann | | tbd |",
        "| ☐ | Run a | b | ann | 2026-12-24 | |",
        "\n| action | who | deadline |\n|---|---|---|\n| Add an alert | ann | |",
    ],
)
def test_a_row_that_is_not_understood_is_told(
    desk: Desk, tracker: Tracker, capsys: Any, row: str
) -> None:
    desk.write(row + "\n")
    assert desk.call("--tickets") == 1
    assert not tracker.came
    assert "not understood, no ticket made: |" in capsys.readouterr().out


def test_a_secret_in_an_item(desk: Desk, tracker: Tracker) -> None:
    desk.write("| ☐ | Remove postgres://shop:hunter2-Tr0ub4dor@db1/shop from the log | | | |\n")
    assert desk.call("--tickets") == 0
    assert "hunter2" not in json.dumps(tracker.came)


def test_without_a_configuration(desk: Desk, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.configure("")
    assert desk.call("--tickets") == 3
    assert "no system of tickets is configured" in capsys.readouterr().err


def test_without_a_token(
    desk: Desk, tracker: Tracker, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "TRACKER" not in environment(config.load())
    monkeypatch.delenv("TRACKER")
    assert desk.call("--tickets") == 3
    assert "TRACKER" in capsys.readouterr().err
    assert tracker.came == []
    assert desk.lines == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "http://git.example.org/repos/a/b/issues"}, "https"),
        ({"url": "https://u:p@git.example.org/repos/a/b/issues"}, "secret"),
        ({"url": "https://git.example.org/a/b"}, "address of the issues"),
        ({"project": "SHOP"}, "field of Jira"),
        ({"issue_type": "Bug"}, "field of Jira"),
        ({"kind": "jira"}, "address of the issues"),
        ({"kind": "jira", "url": "https://j.example.org/rest/api/2/issue"}, "project is missing"),
        ({"kind": "trello"}, "kind"),
        ({"token_env": ""}, "token_env"),
        ({"token": "x"}, "token"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], why: str
) -> None:
    whole = {
        "kind": "github",
        "url": "https://git.example.org/repos/a/b/issues",
        "token_env": "T",
    }
    assert Tickets(**whole)
    file = tmp_path / "rbkernel.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in {**whole, **fields}.items()]
    file.write_text("\n".join(["[tickets]", *lines]))
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    with pytest.raises(ConfigError, match=why):
        config.load()


def test_the_template_has_no_item_that_is_filled_in(desk: Desk) -> None:
    desk.notebook.unlink()
    assert desk.call() == 0
    found = items_of(nbformat.read(desk.notebook, as_version=4))
    assert (found.open, found.to_write) == ((), 3)
