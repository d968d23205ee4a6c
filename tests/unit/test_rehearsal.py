"""`rbkernel route` reads an alert in whatever form somebody has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nbformat import writes
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.config import Connection, Settings
from rbkernel.config.settings import Catalogue as CatalogueSettings
from rbkernel.errors import Unreadable
from rbkernel.gateway.intake.dry_run import dry_run_of
from rbkernel.gateway.jobs import route_checks
from rbkernel.runbook import catalogue

pytestmark = pytest.mark.slow

LABELS = {"alertname": "PostgresReplicationLag", "cluster": "orders"}


@pytest.mark.parametrize(
    "body",
    [
        LABELS,
        {"labels": LABELS},
        {"labels": LABELS, "annotations": {"summary": "s"}},
        {"name": LABELS["alertname"], "labels": {"cluster": "orders"}, "id": "1"},
    ],
)
def test_labels_alone_or_what_a_sender_posts(body: dict[str, Any]) -> None:
    [one] = dry_run_of(json.dumps(body).encode(), "", Settings())
    assert one.labels["alertname"] == LABELS["alertname"]
    assert one.labels["cluster"] == "orders"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"name": "X"}, "X"),
        ({"name": "X", "status": "firing", "summary": "s"}, "X"),
        ({"title": "[Triggered] Lag", "transition": "Triggered"}, "Lag"),
    ],
)
def test_what_a_sender_posts_in_plain_texts_is_no_labels(body: dict[str, str], name: str) -> None:
    [one] = dry_run_of(json.dumps(body).encode(), "", Settings())
    assert one.labels["alertname"] == name


def test_it_says_the_likely_cause_and_what_to_do_first() -> None:
    orders = Connection(name="orders", host="h", default=True)
    settings = Settings(connections={"orders": orders})
    [one] = dry_run_of(b'{"alertname": "PostgresLocks"}', "", settings)
    [locks] = (t for t in catalogue.find("RUN-007", []).front_matter.triggers if t.alert)
    assert f"\n    likely cause: {locks.cause}\n    first: {locks.first_action}\n" in one.text()
    [route] = one.to_json()["routes"]
    assert (route["cause"], route["first_action"]) == (locks.cause, locks.first_action)


def test_labels_without_a_name_are_labels() -> None:
    [one] = dry_run_of(b'{"cluster": "orders"}', "", Settings())
    assert one.labels == {"cluster": "orders"}


def test_the_answer_and_its_reason_come_before_what_cannot_be_read(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"broken{number}.ipynb").write_text('{"cells": [')
    made = document("RUN-905", ["rb.query('SELECT 1', db)"], connections="", trigger="Lag")
    (tmp_path / "lag.ipynb").write_text(made, encoding="utf-8")
    settings = Settings(
        catalogue=CatalogueSettings(paths=(tmp_path,)),
        connections={"orders": Connection(name="orders", host="h", default=True)},
    )
    [one] = dry_run_of(b'{"alertname": "Unknown"}', "", settings)
    lines = one.text().splitlines()
    assert lines[0] == "Unknown starts 1 run"
    assert lines[4] == "  because RUN-000: the default for alerts without a runbook"
    assert lines[-1] == "  3 notebooks cannot be read, but may be the runbook for this alert"
    assert one.text().count("cannot be read") == 1
    assert sum("broken" in why for why in one.routing.why) == 3  # for a machine, and the record


@pytest.mark.parametrize("listed", ["", 'connections: {db: "*"}'])
@pytest.mark.parametrize("cell", ["rb.query('SELECT 1', db)", "%%sql db\nSELECT 1"])
def test_an_unknown_connection_that_a_label_gives_is_told(
    tmp_path: Path, listed: str, cell: str
) -> None:
    text = document("RUN-905", [cell], connections=listed, trigger="Lag")
    (tmp_path / "lag.ipynb").write_text(text, encoding="utf-8")
    settings = Settings(
        catalogue=CatalogueSettings(paths=(tmp_path,)),
        connections={"orders": Connection(name="orders", host="h", default=True)},
    )
    [one] = dry_run_of(b'{"alertname": "Lag", "cluster": "order"}', "", settings)
    assert "db='order' is not a configured connection; did you mean orders?" in one.text()
    assert [route.runbook for route in one.routing.routes] == ["RUN-000"]
    [one] = dry_run_of(b'{"alertname": "Lag", "cluster": "orders"}', "", settings)
    assert [(r.runbook, r.connections) for r in one.routing.routes] == [("RUN-905", ("orders",))]
    # a trigger that matches the label in full gives the connection's name: known beforehand
    matched = document("RUN-905", [cell], connections=listed, trigger="Lag", cluster="order")
    (tmp_path / "lag.ipynb").write_text(matched, encoding="utf-8")
    [problem] = route_checks.examine(settings).problems
    assert "no connection is called 'order' (value of the parameter db)" in problem.what


def document(
    id: str,  # noqa: A002  # it is its id
    cells: list[str],
    *,
    connections: str,
    trigger: str,
    cluster: str = "",
) -> str:
    """Return a runbook whose trigger gives a label as its connection."""
    match = f"\n    match: {{cluster: {cluster}}}" if cluster else ""
    front = (
        f"---\nid: {id}\ntitle: Lag\nsummary: It looks.\ncategory: maintenance\nseverity: P3\n"
        f"owner: Tests\n{connections}\ntriggers:\n  - alert: {trigger}{match}\n"
        "    parameters: {db: labels.cluster}\n---"
    )
    parameters = new_code_cell('db: str = ""', metadata={"tags": ["parameters"]})
    code = [new_code_cell(source) for source in cells]
    return str(writes(new_notebook(cells=[new_raw_cell(front), parameters, *code])))


def test_whoever_names_the_sender_is_told_what_is_wrong() -> None:
    with pytest.raises(Unreadable, match="event: is missing"):
        dry_run_of(b'{"name": "X"}', "pagerduty", Settings())
