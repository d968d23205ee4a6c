"""Which runbooks an alert starts: front matter, overrides, and labels that nobody may trust."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.config import Connection, Settings
from rbkernel.config.queue import RouteRule
from rbkernel.gateway.jobs.routing import Routing, route
from rbkernel.model import Severity
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Catalogue, Runbook

CONNECTIONS = ("orders-primary", "orders-standby", "billing")


def runbook(
    folder: Path, name: str, triggers: str, *, connections: str = "{db: 'orders-*'}"
) -> Runbook:
    front = (
        f"---\nid: {name}\ntitle: {name}\nsummary: s\ncategory: incident\nseverity: P2\nowner: o\n"
        f"connections: {connections}\ntriggers:\n{triggers}\n---"
    )
    parameters = 'db: str = "orders-primary"\nlimit: int = 3\nwho: str = ""\nincident: str = ""'
    notebook = new_notebook(
        cells=[new_raw_cell(front), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    )
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return catalogue.read(path)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> list[Runbook]:
    folder = tmp_path_factory.mktemp("books")
    given = "{db: labels.cluster, limit: labels.limit, who: labels.who}"
    lag = f"  - {{alert: '*Lag', parameters: {given}}}"
    locks = "  - {alert: PostgresLag, match: {severity: critical}, key: [labels.cluster]}"
    return [
        runbook(folder, "RUN-000", "  - words", connections='{db: "*"}'),
        runbook(folder, "RUN-205", lag),
        runbook(folder, "RUN-207", locks),
        runbook(folder, "RUN-209", "  - {alert: '*', match: {team: '?*'}}"),
    ]


def starts(books: list[Runbook], rules: tuple[RouteRule, ...] = (), **labels: str) -> Routing:
    return route(labels, Catalogue(runbooks=tuple(books)), configured(rules))


def configured(rules: tuple[RouteRule, ...] = (), default: str = "") -> Settings:
    made = {name: Connection(name=name, default=name == default) for name in CONNECTIONS}
    return Settings(routes=rules, connections=made)


def ids(routing: Routing) -> list[str]:
    return [one.runbook for one in routing.routes]


def test_every_runbook_made_for_an_alert_is_started_with_typed_parameters(
    books: list[Runbook],
) -> None:
    routing = starts(
        books, alertname="PostgresLag", severity="critical", cluster="orders-standby", limit="7"
    )
    assert ids(routing) == ["RUN-207", "RUN-205"]
    lag = routing.routes[1]
    assert lag.parameters == {"db": "orders-standby", "limit": 7}
    assert lag.connections == ("orders-standby",)
    assert lag.severity == Severity.CRITICAL
    assert routing.routes[0].key == ("orders-standby",)


@pytest.mark.parametrize("state", ["DatasourceNoData", "DatasourceError"])
def test_grafanas_alert_on_a_rule_starts_what_the_rule_starts(
    books: list[Runbook], state: str
) -> None:
    more = {"severity": "critical", "cluster": "orders-standby", "limit": "7", "who": "x"}

    def started(**labels: str) -> Routing:
        return route({**more, **labels}, Catalogue(runbooks=tuple(books)), configured())

    of_rule = started(alertname=state, rulename="PostgresLag")
    assert ids(of_rule) == ids(started(alertname="PostgresLag"))
    other = started(alertname="Other", rulename="PostgresLag")
    assert ids(other) != ids(of_rule)  # a label of this name says nothing on other alerts


def test_what_is_made_for_everything_comes_after_what_is_made_for_it(books: list[Runbook]) -> None:
    assert ids(starts(books, alertname="DiskFull", team="db")) == ["RUN-209"]
    assert ids(starts(books, alertname="DiskFull")) == ["RUN-000"]
    assert ids(starts(books, alertname="XLag", team="db")) == ["RUN-205"]


@pytest.mark.parametrize(
    ("label", "value", "reason"),
    [
        ("cluster", "billing", "not a connection that the runbook lists"),
        ("cluster", "orders-unknown", "not a configured connection"),
        ("cluster", "postgresql://x:y@h/d", "looks like a secret"),
        ("limit", "7; DROP TABLE x", "must be int"),
        ("who", "a\0b", "not plain text"),
        ("who", "\ud800", "not plain text"),
        ("who", "x" * 2_000, "too long"),
    ],
)
def test_what_a_label_may_not_say_starts_the_overview_instead(
    books: list[Runbook], label: str, value: str, reason: str
) -> None:
    labels = {"alertname": "XLag", "cluster": "orders-primary"} | {label: value}
    routing = route(labels, Catalogue(runbooks=tuple(books)), configured())
    (taken,) = routing.routes
    assert taken.runbook == "RUN-000"
    assert reason in routing.why[0]
    assert reason in routing.mind[0]
    assert routing.mind[-1] == f"RUN-000 runs on {taken.connections[0]} instead"
    assert value not in taken.parameters.values() or value == "billing"


def test_no_connection_no_run_and_the_reason(books: list[Runbook]) -> None:
    routing = route({"alertname": "Nobody"}, Catalogue(runbooks=tuple(books)))
    assert not routing.routes
    assert "not a configured connection" in routing.why[-1]


def test_a_rule_of_the_teams_decides_alone(books: list[Runbook]) -> None:
    rule = RouteRule(
        alert="PostgresLag",
        runbooks=("RUN-205",),
        parameters={"db": "labels.instance", "limit": 9},
        names={"db1:5432": "orders-standby"},
        severity="P0",
    )
    wide = RouteRule(alert="Postgres*", runbooks=("RUN-207",))
    routing = starts(books, (wide, rule), alertname="PostgresLag", instance="db1:5432")
    (only,) = routing.routes
    assert not routing.mind
    assert (only.runbook, only.severity) == ("RUN-205", Severity.CRITICAL)
    assert only.parameters == {"db": "orders-standby", "limit": 9}


def test_a_rule_may_start_nothing_and_one_for_all_comes_last(books: list[Runbook]) -> None:
    nothing = RouteRule(alert="Watchdog", runbooks=())
    everything = RouteRule(alert="*", runbooks=("RUN-205",), key=("labels.alertname",))
    rules = (everything, nothing)
    assert ids(starts(books, rules, alertname="Watchdog")) == []
    assert ids(starts(books, rules, alertname="DiskFull")) == ["RUN-205"]
    assert not starts(books, rules, alertname="DiskFull").routes[0].wide
    assert starts(books, alertname="DiskFull").routes[0].wide
    assert ids(starts(books, rules, alertname="PostgresLag", severity="critical")) == [
        "RUN-207",
        "RUN-205",
    ]


def test_a_rule_that_names_no_runbook_says_so_and_the_next_one_is_tried(
    books: list[Runbook],
) -> None:
    rule = RouteRule(alert="XLag", runbooks=("RUN-999",))
    routing = starts(books, (rule,), alertname="XLag")
    assert ids(routing) == ["RUN-205"]
    assert "no such runbook" in routing.why[0]


TEXT = st.text(max_size=30) | st.sampled_from(
    ["orders-primary", "billing", "*", "labels.x", "../x", "{db}", "<b>"]
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["alertname", "cluster", "limit", "who", "severity"]), TEXT))
def test_whatever_the_labels_say_routes_are_typed_and_within_what_is_listed(
    books: list[Runbook], labels: dict[str, str]
) -> None:
    for rules in ((), (RouteRule(alert="*", runbooks=("RUN-205",)),)):
        known = Catalogue(runbooks=tuple(books))
        one, again = (route(labels, known, configured(rules)) for _ in range(2))
        assert one == again
        for taken in one.routes:
            assert set(taken.connections) <= set(CONNECTIONS)
            assert isinstance(taken.parameters.get("limit", 0), int)
            if taken.runbook != "RUN-000":
                assert all(name.startswith("orders-") for name in taken.connections)
