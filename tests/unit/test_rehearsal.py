"""`rbkernel route` reads an alert in whatever form somebody has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rbkernel.config import Settings
from rbkernel.errors import Unreadable
from rbkernel.gateway.rehearsal import rehearse

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
    [one] = rehearse(json.dumps(body).encode(), "", Settings())
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
    [one] = rehearse(json.dumps(body).encode(), "", Settings())
    assert one.labels["alertname"] == name


def test_labels_without_a_name_are_labels() -> None:
    [one] = rehearse(b'{"cluster": "orders"}', "", Settings())
    assert one.labels == {"cluster": "orders"}


def test_whoever_names_the_sender_is_told_what_is_wrong() -> None:
    with pytest.raises(Unreadable, match="event: is missing"):
        rehearse(b'{"name": "X"}', "pagerduty", Settings())
