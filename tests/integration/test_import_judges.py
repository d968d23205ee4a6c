"""Checks of an imported runbook, run headless: the failing answer of the document is critical."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.incidents import workflow
from rbkernel.model import Finding, Verdict
from rbkernel.run import runner
from tests.support.markdown_corpus import FOLDER, command

OK, FAILING = b'{"status": "ok"}', b'{"status":"error","database":"unreachable"}'


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve a health endpoint that always answers with this body and status 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def found(text: str, settings: Settings, folder: Path) -> dict[str, Finding]:
    """Import a document, run it headless, and return its findings by title."""
    source = folder / "doc.md"
    source.write_text(text)
    command(str(source))
    outcome = runner.run(str(folder / "doc.ipynb"), {}, settings)
    assert not outcome.failure
    assert all(cell.status == "done" for cell in outcome.record.cells)
    # a title may begin with its heading
    return {finding.title.rpartition(": ")[2]: finding for finding in outcome.record.findings}


@pytest.mark.parametrize(
    ("body", "verdict"), [(OK, Verdict.OK), (FAILING, Verdict.CRITICAL)], ids=["ok", "failing"]
)
def test_a_health_check_judges_the_answer_that_its_document_quotes(
    body: bytes, verdict: Verdict, shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    with answering(body) as url:
        text = (
            f"# Orders\n\n## Verify\n\n```bash\n# Check health\ncurl {url}\n\n# Expected output\n"
            '# {"status": "ok"}\n\n# If failing, output will be\n'
            '# {"status": "error", "database": "unreachable"}\n```\n\n'
            f"## After the fix\n\n```bash\n# Look once more\ncurl {url}\n```\n"
        )
        judged = found(text, shop, tmp_path)
    assert judged["Check health"].verdict is verdict
    assert judged["Look once more"].verdict is verdict


def test_the_template_of_an_incident_is_critical_when_its_service_fails(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    seed = (FOLDER / "seeds" / "incident.md").read_text()
    with answering(FAILING) as url:
        judged = found(seed.replace("https://api.aios.example.com/health", url), shop, tmp_path)
    checks = ("Check system health", "Verify service is responding", "Verify health")
    assert [judged[title].verdict for title in checks] == [Verdict.CRITICAL] * 3


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("1/1  Running", Verdict.OK), ("0/1  CrashLoopBackOff", Verdict.CRITICAL)],
)
def test_a_quoted_table_judges_each_row_of_a_command(
    state: str,
    verdict: Verdict,
    shop: Settings,
    evidence: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'NAME   READY  STATUS'\necho 'api-7  {state}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    file = tmp_path / "rbkernel.toml"
    file.write_text('[commands.pods]\nargv = ["kubectl", "get", "pods"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    text = (
        "# Pods\n\n## Look at the pods\n\n```bash\n# All pods\nkubectl get pods\n```\n\n"
        "Expected output:\n\n```\nNAME   READY  STATUS\napi-1  1/1    Running\n```\n"
    )
    assert found(text, config.load(), tmp_path)["All pods"].verdict is verdict


def test_limits_of_queries_and_of_sentences_are_judged_on_the_server(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    text = (
        "# Database\n\n## Check\n\n"
        "```sql\n-- Databases that are too many\nSELECT count(*) AS databases FROM pg_database;\n"
        "-- should be less than 1\n```\n\n"
        "```sql\n-- Servers in recovery\nSELECT count(*) AS standbys FROM pg_stat_wal_receiver;\n"
        "-- expected: 0\n```\n\n"
        "```sql\n-- Nobody knows\nSELECT count(*) AS n FROM no_such_table;\n-- expected: 0\n```\n\n"
        "Replication lag should be below 3 hours.\n\n"
        "The connection pool is above 0.001% for 5 min when the alert fires.\n\n"
        "## Escalation\n\n- Not resolved within 0 minutes: page @dba\n- Not resolved in 9 hours\n"
    )
    judged = found(text, shop, tmp_path)
    verdicts = {title: one.verdict for title, one in judged.items()}
    assert verdicts["Databases that are too many"] is Verdict.CRITICAL
    assert verdicts["Servers in recovery"] is Verdict.OK
    assert verdicts["Nobody knows"] is Verdict.UNKNOWN
    assert verdicts["Replication lag"] is Verdict.OK
    assert verdicts["connection pool"] is Verdict.UNKNOWN  # beyond it now; for how long is unknown
    escalation = judged["Escalation, by attempts and time"]
    assert escalation.verdict is Verdict.WARNING
    assert escalation.next_step == "call @dba"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [(19, Verdict.OK), (20, Verdict.OK), (21, Verdict.CRITICAL)],
)
def test_a_figure_that_a_command_prints_is_judged_by_its_comment(
    lines: int, verdict: Verdict, evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, file = tmp_path / "failed", tmp_path / "rbkernel.toml"
    failed.write_text("x\n" * lines)
    file.write_text(f'[commands.failed]\nargv = ["bash", "-c", "cat {failed} | wc -l"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(file))
    fence = f"<pre># Failed jobs\ncat {failed} | wc -l  # no more than 20</pre>"
    judged = found(f"# T\n\n## Look\n\n{fence}\n", config.load(), tmp_path)
    assert judged["Failed jobs"].verdict is verdict


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [(499, Verdict.OK), (500, Verdict.WARNING), (900, Verdict.WARNING), (901, Verdict.CRITICAL)],
)
def test_what_is_healthy_ends_in_a_warning(
    figure: int, verdict: Verdict, shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    sql = f"SELECT count(*) AS n FROM generate_series(1, {figure})"
    sql = f"-- Healthy: below 500. Over 900 is critical\n{sql};"
    text = f"{{% highlight sql %}}\n{sql}\n{{% endhighlight %}}"
    judged = found(f"# T\n\n## Look\n\n{text}\n", shop, tmp_path)
    verdicts = [one.verdict for title, one in judged.items() if "below 500" in title]
    assert len(verdicts) == 2
    assert Verdict.worst(verdicts) is verdict


def test_the_interval_of_updates_is_that_of_the_document(
    shop: Settings, evidence: Path, tmp_path: Path
) -> None:
    found("# T\n\n## Communication\n\nPost a status update every 15 minutes.\n", shop, tmp_path)
    [incident] = workflow.list_all(evidence)
    assert incident.update_every_s == 900
