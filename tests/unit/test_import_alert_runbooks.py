"""An alert's runbook covers its alert: Markdown pages and rule files in the styles that teams use.

The pages are imported and compared with the rules by the commands that a user calls.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rbkernel.importer.reading import blocks, source
from rbkernel.importer.stated import alertnames
from rbkernel.runbook import catalogue
from rbkernel.runbook.alerts import Alert
from rbkernel.runbook.links import Link, follow, known
from tests.support.markdown_corpus import called, command, imported

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Page:
    """A Markdown file, and the alert that it is for; ``url`` is the alert's runbook_url."""

    path: str
    text: str
    alert: str
    url: str = ""
    style: str = "prometheus"


CORPUS = Path(__file__).parents[1] / "corpora/alert_runbooks.yaml"
PAGES = [Page(**one) for one in yaml.safe_load(CORPUS.read_text(encoding="utf-8"))]


def rule_file(folder: Path, style: str, pages: list[Page]) -> Path:
    """Write the rules of some alerts, as Prometheus, its operator or Grafana has them."""
    rules: list[dict[str, Any]] = []
    for page in pages:
        kind = {"title": page.alert} if style == "grafana" else {"alert": page.alert}
        more = {"annotations": {"runbook_url": page.url}} if page.url else {}
        rules.append({**kind, "expr": "vector(1)", "labels": {"severity": "s1"}, **more})
    body: dict[str, Any] = {"groups": [{"name": "g", "rules": rules}]}
    if style == "operator":
        body = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "spec": body}
    path = folder / f"{style}.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Import all pages, compare them with the rules; alert → the runbooks that it leads to."""
    runbooks, rules = tmp_path / "runbooks", tmp_path / "rules"
    rules.mkdir()
    config = tmp_path / "rbkernel.toml"
    config.write_text(f"[catalogue]\npaths = [{str(runbooks)!r}]\n")
    monkeypatch.setenv("RBKERNEL_CONFIG", str(config))
    for page in PAGES:
        path = tmp_path / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.text)
        command(str(path), "-o", str(runbooks))
    for style in ("prometheus", "operator", "grafana"):
        rule_file(rules, style, [page for page in PAGES if page.style == style])
    said, _ = called("coverage", "--rules", str(rules), "--json", code=None)
    return {row["alert"]: tuple(row["runbooks"]) for row in json.loads(said)["alerts"]}


def test_coverage_finds_the_runbook_of_every_alert(
    compared: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    made = catalogue.runbooks([tmp_path / "runbooks"])[0]
    of_page = {one.source: one.id for one in made if one.source}
    assert len(of_page) == len(PAGES) >= 20
    imported_ones = {  # a bundled runbook may cover the alert, too
        alert: [id for id in ids if id in of_page.values()]  # noqa: A001
        for alert, ids in compared.items()
    }
    assert imported_ones == {page.alert: [of_page[source.name_of(page.path)]] for page in PAGES}


@pytest.mark.parametrize(
    "title",
    [
        "Overview",
        "PostgreSQL",
        "GitHub",
        "OpenShift",
        "RabbitMQ",
        "JavaScript",
        "CockroachDB",
        "ElasticSearch",
        "GitHubActions",
        "OpenTelemetryCollector",
        "High error rate",
        "Restart the workers",
        "RUN-001: Pool exhaustion",
        "[Alert Name]",
        "error-handling",
        "blue-green",
        "Alert handling",
        "Alerts",
    ],
)
def test_another_title_is_no_alert(title: str) -> None:
    [one] = imported(f"# {title}\n\nWhat it is for.\n".encode(), name="notes.md")
    assert "alert:" not in one.notebook.cells[0].source


@pytest.mark.parametrize("path", ["README.md", "docs/runbooks.md", "GitHub.md", "on-call.md"])
def test_another_file_name_is_no_alert(path: str) -> None:
    assert not alertnames.of_file(path)


def test_a_name_that_is_only_mentioned_is_no_trigger() -> None:
    text = "# Old page\n\nSee also KubePodCrashLooping. **Trigger:** errors > 5% for 5min\n"
    parts = blocks.read(text.splitlines(keepends=True), lambda _: False)
    assert not [*alertnames.of_parts(parts)]


def test_two_pages_of_one_name_are_not_confused(tmp_path: Path) -> None:
    """A link that fits several runbooks leads to none of them."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "latency.md"
        path.write_text(f"# Latency of {folder}\n")
        command(str(path))
    found = [catalogue.read(tmp_path / folder / "latency.ipynb") for folder in ("a", "b")]
    url = "https://docs.example/latency.md"
    alert = Alert(name="X", group="g", path=tmp_path / "r.yml", line=1, url=url)
    assert follow(alert, known(found[:1], [])) == (Link.RUNBOOK, found[0].id)
    front = found[1].front_matter.model_copy(update={"id": "RUN-901"})
    second = dataclasses.replace(found[1], front_matter=front)
    assert follow(alert, known([found[0], second], [])) == (Link.ELSEWHERE, "")


def test_the_part_of_a_split_file_is_found_by_its_heading(tmp_path: Path) -> None:
    path = tmp_path / "all.md"
    path.write_text("# Runbook: Disk is full\n\nx\n\n# Runbook: Queue is slow\n\ny\n")
    command(str(path), "-o", str(tmp_path / "out"), "--split")
    made = catalogue.runbooks([tmp_path / "out"])[0]
    slow = next(one for one in made if one.front_matter.title == "Queue is slow")
    url = "https://git.example/all.md#queue-is-slow"
    alert = Alert(name="X", group="g", path=tmp_path / "r.yml", line=1, url=url)
    assert follow(alert, known(made, [])) == (Link.RUNBOOK, slow.id)


class TestTitleAndId:
    @pytest.mark.parametrize("front", ["---\ntitle: {}\n---\n", '+++\ntitle = "{}"\n+++\n'])
    def test_the_title_of_a_site_is_used_where_no_heading_is_the_title(self, front: str) -> None:
        [one] = imported((front.format("Queue is full") + "\n## Meaning\n\nX.\n").encode())
        assert one.title == "Queue is full"
        [other] = imported((front.format("Site") + "\n# QueueFull\n\nX.\n").encode())
        assert other.title == "QueueFull"

    def test_an_id_that_is_taken_is_replaced_and_the_report_says_so(self, tmp_path: Path) -> None:
        config = tmp_path / "a.md"
        config.write_text("# RUN-777: One\n\nx\n")
        command(str(config), "-o", str(tmp_path / "out"))
        second = tmp_path / "b.md"
        second.write_text("---\nid: RUN-777\ntitle: Two\n---\n\ny\n")
        said = command(str(second), "-o", str(tmp_path / "out"), "--report", str(tmp_path / "r.md"))
        assert "RUN-777 Two" not in said
        assert "the id RUN-777 is taken" in (tmp_path / "r.md").read_text()
        third = tmp_path / "c.md"
        third.write_text("---\nid: RUN-778\ntitle: Three\n---\n\ny\n")
        assert "RUN-778 Three" in command(str(third), "-o", str(tmp_path / "out"))

    @pytest.mark.parametrize("heading", ["Purpose", "Overview", "Summary", "About", "Meaning"])
    def test_the_summary_is_what_the_section_on_the_purpose_says(self, heading: str) -> None:
        text = (
            "# T\n\nThis page was moved here from the old wiki in 2019, do not edit it there.\n\n"
            f"## {heading}\n\nMessages are not delivered.\n"
        )
        [one] = imported(text.encode())
        assert "summary: Messages are not delivered." in one.notebook.cells[0].source
