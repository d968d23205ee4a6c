"""Coverage: rule files as they are written, and the right table for a public-style one."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbkernel.errors import AlertRulesError, RbkernelError
from rbkernel.model import Verdict
from rbkernel.runbook import alerts, catalogue
from rbkernel.runbook.alerts import Alert, AlertSeverity
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.coverage import figure, report
from rbkernel.runbook.coverage.comparison import Coverage, compare
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.links import Link, follow, known
from rbkernel.runbook.registry import Entry
from rbkernel.sandbox.shop import monitoring
from tests.conftest import missing_part

RULES = Path(__file__).parents[1] / "corpora/alerts"
MIXINS = RULES / "mixins.yml"
FRONT: dict[str, Any] = {
    "id": "RUN-900",
    "title": "Lag",
    "summary": "x",
    "category": "incident",
    "severity": "SEV2",
    "owner": "x",
    "response_time": "5 minutes",
    "triggers": [{"alert": "Postgres*Lag"}],
}


def runbook(**changes: Any) -> Runbook:
    front = FrontMatter.model_validate({**copy.deepcopy(FRONT), **changes})
    return Runbook(path=Path(f"{front.id}.ipynb"), document=b"", front_matter=front, parameters={})


def alert(
    name: str = "PostgresLag", severity: str = "critical", url: str = "", **labels: str
) -> Alert:
    labels = {"severity": severity, **labels}
    return Alert(name=name, group="g", path=MIXINS, line=1, labels=labels, url=url)


def ours() -> list[Runbook]:
    return catalogue.runbooks([])[0]


@pytest.fixture(scope="module")
def mixins() -> Coverage:
    return compare(alerts.read(MIXINS), ours(), folders=[catalogue.packaged("notebooks")])


def test_the_rule_file_is_large_enough_and_recording_rules_are_no_alerts() -> None:
    found = alerts.read(MIXINS)
    assert len(found) == 55
    assert not [one for one in found if ":" in one.name]
    lines = MIXINS.read_text().splitlines()
    for one in found:
        assert f"alert: {one.name}" in lines[one.line - 1]
    assert Counter(one.severity for one in found) == {
        AlertSeverity.CRITICAL: 18,
        AlertSeverity.WARNING: 30,
        AlertSeverity.INFO: 7,
    }


def test_the_shipped_rules_lead_to_the_bundled_runbooks(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [monitoring.rules()]}))
    known = ours()
    found = compare(alerts.read(rules), known, folders=[catalogue.packaged("notebooks")])
    assert {row.alert.name: row.gaps for row in found.rows if row.gaps} == {}
    assert all(row.covered for row in found.rows)
    assert [one.name for one in found.must_have if not one.runbooks] == []
    assert [one.id for one in known] == [f"RUN-{number:03}" for number in range(31)]


def test_the_table_of_a_public_style_rule_file(mixins: Coverage) -> None:
    led = {row.alert.name: row.runbooks for row in mixins.rows if row.covered}
    assert led == {
        "PostgreSQLTooManyConnections": ("RUN-001",),
        "PostgreSQLMaxConnectionsReached": ("RUN-001",),
        "PostgreSQLReplicationLag": ("RUN-005",),
        "PostgreSQLReplicationLagHigh": ("RUN-005",),
        "PostgreSQLLocksWaiting": ("RUN-007",),
        "PostgreSQLSlowQueries": ("RUN-009",),
        "PostgreSQLCacheHitRatio": ("RUN-009",),
        "OrdersReconciliationDiff": ("RUN-006",),
        "PostgreSQLReplicationSlotInactive": ("RUN-018",),
        "PostgreSQLArchiveFailing": ("RUN-018",),
        "PostgreSQLTransactionIdWraparound": ("RUN-019",),
        "PostgreSQLDown": ("RUN-010",),
        "OutboxBacklog": ("RUN-011",),
        "KubeClientCertificateExpiration": ("RUN-028",),
        "NodeFilesystemAlmostOutOfSpace": ("RUN-029",),
        "NodeFilesystemSpaceFillingUp": ("RUN-029",),
    }
    dead = {row.alert.name for row in mixins.rows if row.link is Link.DEAD}
    assert dead == {"PostgreSQLTransactionIdWraparound"}
    assert {row.alert.name for row in mixins.rows if row.link is Link.RUNBOOK} == {
        "PostgreSQLTooManyConnections",
        "PostgreSQLReplicationLag",
        "PostgreSQLDown",
        "KubeClientCertificateExpiration",
    }
    verdicts = Counter(report.verdict(row) for row in mixins.rows)
    assert verdicts == {Verdict.CRITICAL: 10, Verdict.WARNING: 27, Verdict.OK: 18}
    slow = {row.alert.name for row in mixins.rows for gap in row.gaps if "requires" in gap.what}
    assert slow == {
        "KubeClientCertificateExpiration",
        "NodeFilesystemAlmostOutOfSpace",
        "PostgreSQLReplicationLag",
        "OrdersReconciliationDiff",
        "PostgreSQLTransactionIdWraparound",
    }
    # the rule file has no alert for them
    without = "008 012 013 014 015 020 021 022 023 024 025 027 030"
    assert [one.id.removeprefix("RUN-") for one in mixins.without_alert] == without.split()
    assert mixins.verdict is Verdict.CRITICAL


def test_the_printed_table_has_every_alert_and_the_worst_first(mixins: Coverage) -> None:
    lines = report.table(mixins)
    named = [line for line in lines if line[2]]
    assert len(named) == 55
    marks = [line[0] for line in named]
    assert marks == sorted(marks, key=["CRITICAL", "WARNING", "OK"].index)
    [line] = [line for line in lines if line[2] == "PostgreSQLLocksWaiting"]
    assert line == ("OK", "warning", "PostgreSQLLocksWaiting", "RUN-007", "")
    told = list(report.rest(mixins))
    assert told[-1].startswith("CRITICAL: 16 of 48 alerts that need a runbook have one")
    assert not [line for line in told if "must-have, deployment: Hotfix" in line]


def test_a_prometheus_rule_resource_and_a_list_of_them() -> None:
    found = {one.name: one for one in alerts.read(RULES / "prometheus_rule.yaml")}
    assert set(found) == {"PostgresLocks", "BillingLag"}
    assert found["PostgresLocks"].labels["severity"] == "warning"  # of the group
    assert found["BillingLag"].severity is AlertSeverity.CRITICAL


def test_grafanas_states_raise_alerts_of_their_own(tmp_path: Path) -> None:
    waits = runbook(triggers=[{"alert": "DatasourceNoData"}])
    rules = tmp_path / "rules.yaml"
    rule = {"title": "Lag", "uid": "a"}
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    assert not compare(alerts.read(rules), [waits]).without_alert
    kept = {**rule, "noDataState": "OK", "execErrState": "Error"}
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [kept]}]}))
    assert compare(alerts.read(rules), [waits]).without_alert


def test_grafanas_name_of_the_rule_counts_in_coverage() -> None:
    lag = alert("DatasourceError", rulename="PostgresReplicationLag")
    assert compare([lag], [runbook()]).rows[0].covered
    assert not compare([alert("Other", rulename="PostgresLag")], [runbook()]).rows[0].covered


def test_grafanas_export() -> None:
    lag, errors = alerts.read(RULES / "grafana_export.json")
    assert (lag.name, lag.group, lag.labels["cluster"]) == (
        "PostgresReplicationLag",
        "orders",
        "orders",
    )
    assert errors.severity is AlertSeverity.CRITICAL
    first, second = compare([lag, errors], ours()).rows
    assert (first.runbooks, first.link) == (("RUN-005",), Link.RUNBOOK)
    assert not second.covered


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("groups: [", "line 2"),
        ("a: 1", "no groups"),
        ("", "no groups"),
        ("groups: [{name: x, rules: [3]}]", "a rule is not a mapping"),
        ("groups:\n{{ range .Values.rules }}\n- name: x", "render the chart"),
    ],
)
def test_a_file_that_holds_no_rules_is_an_error(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(AlertRulesError, match=words) as caught:
        alerts.read(path)
    assert caught.value.where == str(path)


def test_broken_utf8_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_bytes(b"groups: \xff")
    with pytest.raises(AlertRulesError, match="cannot be read"):
        alerts.read(path)


def test_files_folders_and_globs_are_rule_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.yml", "a.yaml", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert alerts.files([Path("*.yml"), Path("b.yml")]) == [Path("b.yml")]
    assert [path.name for path in alerts.files([tmp_path])] == ["a.yaml", "b.yml"]
    assert [path.name for path in alerts.files([tmp_path / "*.yaml"])] == ["a.yaml"]
    with pytest.raises(AlertRulesError, match="no rule file"):
        alerts.files([Path("*.rules")])


@pytest.mark.parametrize(
    ("severity", "response", "gap"),
    [
        ("critical", "5 minutes", False),
        ("critical", "Immediate", False),
        ("critical", "6 minutes", True),
        ("warning", "< 30 min", False),
        ("warning", "1 hour", True),
        ("info", "Next business day", False),
        ("info", "3 days", True),
        ("critical", "", True),
        ("critical", "soon", True),
    ],
)
def test_a_runbook_must_answer_as_soon_as_the_alert_asks(
    severity: str, response: str, gap: bool
) -> None:
    found = compare([alert(severity=severity)], [runbook(response_time=response)])
    assert bool(found.rows[0].gaps) is gap


def test_what_is_missing_is_worse_for_a_critical_alert() -> None:
    verdicts = [
        compare([alert(severity=word)], [], not_needed=_waived()).verdict
        for word in ("page", "warning", "", "info")
    ]
    assert verdicts == [Verdict.CRITICAL, Verdict.WARNING, Verdict.WARNING, Verdict.OK]


def _waived() -> dict[str, str]:
    return {one.name: "others do it" for one in compare([], []).must_have}


def test_everything_covered_is_ok() -> None:
    found = compare([alert()], [runbook()], not_needed=_waived())
    assert found.verdict is Verdict.OK
    assert found.rows[0].runbooks == ("RUN-900",)


def test_a_label_that_only_the_series_knows_may_fit() -> None:
    some = runbook(triggers=[{"alert": "PostgresLag", "match": {"cluster": "orders-*"}}])
    assert compare([alert()], [some]).rows[0].how == "labels"
    assert compare([alert(cluster="orders-eu")], [some]).rows[0].how == "trigger"
    assert compare([alert(cluster="billing")], [some]).rows[0].how == ""


def test_a_trigger_for_everything_covers_nothing_and_waits_for_nothing() -> None:
    found = compare([alert()], [runbook(triggers=[{"alert": "*"}])])
    assert not found.rows[0].covered
    assert found.without_alert == ()


def test_runbooks_that_no_alert_starts() -> None:
    some = [
        runbook(triggers=[{"alert": "Gone"}]),
        runbook(id="RUN-901", triggers=[]),
        runbook(id="RUN-902", triggers=["somebody telephones"]),
        runbook(id="RUN-903", triggers=[], category="maintenance"),
        runbook(id="RUN-904"),
        runbook(id="RUN-905", triggers=[]),
    ]
    found = compare([alert(), alert(name="Other", url="RUN-905")], some)
    assert [one.id for one in found.without_alert] == ["RUN-900", "RUN-901"]


def test_an_alert_that_needs_no_runbook_does_not_lower_the_ratio() -> None:
    found = compare([alert(), alert(name="Fyi", severity="info")], [runbook()])
    assert "1 of 1 alerts that need a runbook have one" in report.summary(found)


def test_a_critical_alert_needs_an_incident_runbook() -> None:
    [row] = compare([alert()], [runbook(category="maintenance")]).rows
    assert [gap.verdict for gap in row.gaps] == [Verdict.WARNING]
    assert (
        compare([alert(severity="warning")], [runbook(category="maintenance")]).rows[0].gaps == ()
    )


@pytest.mark.parametrize(
    ("url", "link", "name"),
    [
        ("", Link.NONE, ""),
        ("RUN-900", Link.RUNBOOK, "RUN-900"),
        ("https://wiki.example.org/x/run-900#step-2", Link.RUNBOOK, "RUN-900"),
        ("https://wiki.example.org/RUN-777", Link.DEAD, ""),
        ("https://git.example.org/blob/main/RUN-900.ipynb", Link.RUNBOOK, "RUN-900"),
        ("https://git.example.org/blob/main/gone.ipynb", Link.DEAD, ""),
        ("https://wiki.example.org/postgres", Link.ELSEWHERE, ""),
        ("mixins.yml", Link.ELSEWHERE, ""),
        ("gone.md", Link.DEAD, ""),
        ("https://x.example.org/{{ $labels.alertname }}", Link.ELSEWHERE, ""),
    ],
)
def test_where_a_runbook_url_leads(url: str, link: Link, name: str) -> None:
    assert follow(alert(url=url), known([runbook()], [])) == (link, name)


def test_must_haves_are_known_by_category_and_title() -> None:
    there = compare([], [
        runbook(title="Database server down"),
        runbook(id="RUN-901", category="deployment", title="Deployment rollback"),
        runbook(id="RUN-902", category="deployment", title="Production deployment"),
        runbook(id="RUN-903", category="maintenance", title="Backup and restore"),
        runbook(id="RUN-904", category="recovery", title="Failover and restart"),
    ]).must_have  # fmt: skip
    assert {one.name: one.runbooks for one in there if one.runbooks} == {
        "Service down": ("RUN-900",),
        "Rollback": ("RUN-901",),
        "Standard release": ("RUN-902",),
        "Database backup": ("RUN-903",),
        "Failover": ("RUN-904",),
        "Service restart": ("RUN-904",),
    }


def test_a_registered_id_needs_a_runbook() -> None:
    registry = {
        "MON-1": Entry(title="linked"),
        "MON-2": Entry(title="not linked"),
        "RISK-1": Entry(title="high", level="High"),
        "RISK-2": Entry(title="low", level="low"),
        "RUN-010": Entry(title="planned"),
    }
    found = compare([], [runbook(linked_ids=["MON-1"])], registry=registry)
    assert set(found.unanswered) == {"MON-2", "RISK-1"}


@pytest.mark.slow
def test_the_heat_map_counts_what_the_table_says(mixins: Coverage) -> None:
    judged, informing = figure.heat_map(mixins.rows).data
    row = list(judged.y).index("postgresql")
    assert list(judged.text[row]) == ["5 of 5", "6 of 7", ""]
    assert list(informing.text[row]) == ["", "", "0 of 1"]
    assert judged.z[row][0] == pytest.approx(1.0)
    assert "PostgreSQLDeadlocks" in judged.customdata[row][1]


def test_the_heat_map_is_a_page_that_needs_no_network(mixins: Coverage, tmp_path: Path) -> None:
    path = tmp_path / "coverage.html"
    figure.write(figure.heat_map(mixins.rows), path)
    page = path.read_text(encoding="utf-8")
    assert "16 of 48 alerts that need a runbook have one" in page
    assert "<script src=" not in page


@pytest.mark.slow
def test_the_heat_map_is_a_picture(mixins: Coverage, tmp_path: Path) -> None:
    path = tmp_path / "coverage.png"
    try:
        figure.write(figure.heat_map(mixins.rows[:20]), path)
    except RbkernelError as error:
        missing_part(str(error))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_another_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RbkernelError, match=r"\.html or \.png"):
        figure.write(figure.heat_map([]), tmp_path / "x.pdf")


def test_the_same_rules_in_another_order_give_the_same(mixins: Coverage) -> None:
    again = compare(
        reversed(alerts.read(MIXINS)), ours()[::-1], folders=[catalogue.packaged("notebooks")]
    )
    assert {row.alert.name: row.runbooks for row in again.rows} == {
        row.alert.name: row.runbooks for row in mixins.rows
    }
    assert replace(again, rows=()).verdict is replace(mixins, rows=()).verdict


@pytest.mark.parametrize("part", ["lag", "runbook-lag"])
def test_the_anchor_of_a_heading_that_begins_with_runbook(part: str) -> None:
    pages = [
        replace(runbook(), source="wiki/Databases.md"),
        replace(runbook(id="RUN-901", title="Bloat", triggers=[]), source="wiki/Databases.md"),
    ]
    url = f"https://git.example/wiki/Databases.md#{part}"
    assert follow(alert(url=url), known(pages, [])) == (Link.RUNBOOK, "RUN-900")


def test_a_response_time_is_said_of_the_runbook_that_has_it() -> None:
    slow = [runbook(response_time="20 minutes"), runbook(id="RUN-901", response_time="")]
    said = [gap.what for row in compare([alert()], slow).rows for gap in row.gaps]
    assert "RUN-900 has 20 minutes, RUN-901 has no response time; critical requires 5 min" in said
