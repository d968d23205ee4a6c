"""`rbkernel route` reads an alert in whatever form somebody has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rbkernel.config import Settings
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
