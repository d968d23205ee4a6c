"""Every template runs as it comes, and never says ok of a placeholder; filled in, it judges."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.model import Finding, Verdict
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.runbook import catalogue, frontmatter_text, scaffold
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.placeholders import unfilled
from rbkernel.triage import metrics

FORMS = scaffold.templates()
FILLED = {
    "id": "RUN-900",
    "title": "Checkout is slow",
    "summary": "The checkout answers late.",
    "severity": "P1",
    "owner": "Team Checkout",
    "last_tested": None,
    "scope": {"handles": ["late answers"], "does_not_handle": ["no answers"]},
    "prerequisites": [
        {"tool": "python3", "version": ">= 3.0"},
        {"tool": "python3", "version": ">= 99"},
        {"tool": "no-such-tool-here"},
        {"connection": "db", "role": "pg_monitor"},
        {"connection": "db", "role": "pg_execute_server_program"},
        "VPN",
    ],
    "metrics": [
        {"name": "Slots", "diagnostic": "connections/saturation", "column": "used_pct"},
        {
            "name": "Rows, few",
            "query": "SELECT count(*) AS n FROM orders",
            "column": "n",
            "warning": "< 10x",
            "baseline": 1_000_000,
        },
        {
            "name": "Rows, many",
            "query": "SELECT count(*) AS n FROM orders",
            "column": "n",
            "critical": "> 3",
        },
        {"name": "No such table", "query": "SELECT n FROM nowhere", "column": "n", "warning": 1},
        {"name": "Elsewhere", "warning": "> 5%", "panel": "Grafana"},
    ],
    "escalation": {
        "provide": "the sealed run",
        "levels": [
            {"level": "L2", "after_attempts": 2, "contact": "the lead"},
            {"level": "L3", "after": "1 h", "contact": "the manager"},
        ],
    },
    "rollback": [
        {"name": "Undo", "command": "kubectl rollout undo deployment/api", "undo": "redo"}
    ],
    "failure_modes": None,
}


@pytest.fixture
def endpoint() -> Iterator[str]:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # as http.server calls it
            self.send_response(200 if self.path == "/well" else 503)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", FORMS)
def test_an_untouched_template_runs_and_is_unknown(
    name: str, shop: Settings, evidence: Path
) -> None:
    outcome = runner.run(str(FORMS[name].path), {}, shop)
    assert not outcome.failure
    assert {cell.status for cell in outcome.record.cells} == {"done"}
    assert outcome.verdict is Verdict.UNKNOWN
    found = findings(outcome)
    left = len(dict.fromkeys(FORMS[name].placeholders))
    assert found["Placeholders"].actual == f"{left} of {left} to fill in"
    for finding in found.values():
        told = f"{finding.title}{finding.actual}{finding.expected}"
        assert finding.verdict is not Verdict.OK or not unfilled(told)


def test_plain_papermill_runs_one(shop: Settings, evidence: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(FORMS["service"].path), str(output)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    text = output.read_text(encoding="utf-8")
    assert "Placeholders" in text
    assert "service.ipynb" in json.dumps(nbformat.read(output, 4).cells[3].outputs[0].data)


def test_filled_in_it_looks_judges_and_proposes(
    shop: Settings, evidence: Path, tmp_path: Path, endpoint: str
) -> None:
    notebook = catalogue.parse(FORMS["incident"].document)
    health = [
        {"name": "Well", "url": f"{endpoint}/well", "contains": "ok"},
        {"name": "Ill", "url": f"{endpoint}/ill", "meaning": "it takes traffic"},
    ]
    head = notebook.cells[0]
    head.source = frontmatter_text.edit(head.source, {**FILLED, "health": health})
    for cell in notebook.cells[1:]:
        cell.source = cell.source.replace("TEMPLATE-INCIDENT", "RUN-900")
        if cell.id == "resolve-2-decide":
            cell.source += "\nchoice.choose('roll back')"
    path = tmp_path / "checkout.ipynb"
    nbformat.write(notebook, path)
    facts = {"users_affected_pct": 40, "data_at_risk": False, "attempts": 2}
    outcome = runner.run(str(path), facts, shop)
    assert not outcome.failure
    verdicts = {title: found.verdict.value for title, found in findings(outcome).items()}
    expected = {
        "Prerequisite: python3 >= 3.0": "ok",
        "Prerequisite: python3 >= 99": "warning",
        "Prerequisite: no-such-tool-here": "warning",
        "Prerequisite: db pg_monitor": "ok",
        "Prerequisite: db pg_execute_server_program": "warning",
        "Health: Well": "ok",
        "Health: Ill": "critical",
        "Rows, few": "warning",
        "Rows, many": "critical",
        "No such table": "unknown",
        "Metrics to check yourself": "unknown",
        "Checklists": "unknown",
        "Severity": "critical",
        "Escalation, by attempts and time": "warning",
    }
    assert {title: verdicts.get(title) for title in expected} == expected
    assert findings(outcome)["Severity"].actual == "High: users_affected_pct >= 10"
    due = findings(outcome)["Escalation, by attempts and time"]
    assert due.next_step == "call the lead; provide: the sealed run"
    plans = [event.data for event in outcome.record.of_kind("plan")]
    [undo] = [plan for plan in plans if plan["title"] == "Undo"]
    assert undo["state"] == "proposed"
    assert undo["command"] == "kubectl rollout undo deployment/api"


KUBECTL = """\
#!/bin/sh
case "$1 $2" in
  "get pods") printf 'NAME   READY  STATUS  RESTARTS  AGE\\napi-1  %s\\n' "{pod}" ;;
  "rollout status") echo 'deployment "api" {rollout}' ;;
esac
"""


ALLOWED = """
[commands.pods]
argv = ["kubectl", "get", "pods", "-l", "app={service}"]
arguments = {service = "[a-z]+"}
[commands.rollout]
argv = ["kubectl", "rollout", "status", "deployment/{service}", "--watch=false"]
arguments = {service = "[a-z]+"}
[actions.commands.scale]
argv = ["kubectl", "scale", "deployment/{service}", "--replicas={replicas}"]
verify = "exit code"
values = {service = ["api"], replicas = {min = 2, max = 4}}
"""


@pytest.mark.parametrize(
    ("pod", "rollout", "verdict"),
    [
        ("0/1    CrashLoopBackOff  7  9m", "exceeded its progress deadline", Verdict.CRITICAL),
        ("1/1    Running           0  9m", "successfully rolled out", Verdict.OK),
    ],
)
def test_the_pods_of_a_service_decide_what_is_recommended(
    shop: Settings,
    evidence: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pod: str,
    rollout: str,
    verdict: Verdict,
) -> None:
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL.format(pod=pod, rollout=rollout))
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}")
    file = tmp_path / "rbkernel.toml"
    file.write_text(ALLOWED)
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    given = {"service": "api", "version": "1.4.2"}
    outcome = runner.run(str(FORMS["service"].path), given, config.load())
    assert not outcome.failure
    found = findings(outcome)
    assert {found[title].verdict for title in ("Pods", "Last rollout")} == {verdict}
    [asked] = [one for one in outcome.record.decisions if one.question == "What should be done?"]
    assert (asked.recommended == "roll back") is (verdict is Verdict.CRITICAL)
    plans = [event.data for event in outcome.record.of_kind("plan")]
    [back] = [one for one in plans if one["title"] == "Deploy the stable version again"]
    assert back["command"].endswith("--service=api --version=1.4.2")
    of = {one["title"]: one for one in plans}
    assert of["Scale down"]["action"] == "run:scale"
    assert of["Scale down"]["command"] == "kubectl scale deployment/api --replicas=2"
    # a value that the configuration forbids, and a command that it has not, are to copy
    assert of["Scale up"]["command"] == "kubectl scale deployment/api --replicas=5"
    assert "replicas = '5' is not a whole number from 2 to 4" in of["Scale up"]["risk"]
    assert not of["Scale up"]["action"]
    assert of["Restart"]["command"] == "kubectl rollout restart deployment/api"
    assert "rbkernel does not execute it" not in of["Restart"]["risk"]


# `rbkernel drill --record` writes the result
@pytest.mark.parametrize("field", sorted(FrontMatter.model_fields.keys() - {"drill_result"}))
def test_every_field_stands_in_a_template(field: str) -> None:
    heads = [form.cells[0][1] for form in FORMS.values()]
    assert any(f"\n{field}:" in head for head in heads)


@pytest.mark.parametrize("name", FORMS)
def test_every_metric_with_a_diagnostic_can_be_judged(name: str) -> None:
    measured = [one for one in FORMS[name].front_matter.metrics if one.diagnostic]
    assert [one.name for one in measured if metrics.rule_of(one) is None] == []
    assert measured or name == "postmortem"


def test_there_is_a_template_for_each_seed_and_for_afterwards() -> None:
    assert set(FORMS) == {"module", "service", "ai_system", "procedure", "incident", "postmortem"}


def findings(outcome: Outcome) -> dict[str, Finding]:
    return {found.title: found for found in outcome.record.findings}
