"""Which incident an alert joins: table of cases over the pure rules."""

from __future__ import annotations

import pytest

from rbkernel.config.queue import Grouping
from rbkernel.gateway.jobs.grouping import Known, Place, place

RULES = Grouping(window_min=30, reopen_min=30)
OLD = Known(id="INC-1", group="g", service="shop", opened_at=0, last_alert_at=600)
YOUNG = Known(id="INC-2", group="h", service="pay", opened_at=300, last_alert_at=900)
MINUTE = 60.0


def closed(one: Known, at: float) -> Known:
    return Known(**{**one.__dict__, "closed_at": at})


@pytest.mark.parametrize(
    ("group", "service", "known", "at", "expected"),
    [
        ("x", "y", [OLD, YOUNG], 901, Place()),
        ("g", "y", [OLD], 99_999, Place(incident="INC-1")),
        ("x", "shop", [OLD], 600 + 30 * MINUTE, Place(incident="INC-1")),
        ("x", "shop", [OLD], 601 + 30 * MINUTE, Place()),
        ("", "", [Known(**{**OLD.__dict__, "group": "", "service": ""})], 601, Place()),
        ("g", "pay", [OLD, YOUNG], 901, Place(incident="INC-1", merged=("INC-2",))),
        ("h", "shop", [OLD, YOUNG], 901, Place(incident="INC-1", merged=("INC-2",))),
        ("g", "x", [OLD, OLD], 901, Place(incident="INC-1")),
        ("g", "x", [closed(OLD, 1_000)], 1_000 + 30 * MINUTE, Place(incident="INC-1")),
        ("g", "x", [closed(OLD, 1_000)], 1_001 + 30 * MINUTE, Place()),
        ("g", "pay", [closed(OLD, 900), YOUNG], 901, Place(incident="INC-2")),
    ],
)
def test_an_alert_joins(
    group: str, service: str, known: list[Known], at: float, expected: Place
) -> None:
    found = place(group, service, known, RULES, at)
    assert (found.incident, found.merged) == (expected.incident, expected.merged)
    reopened = any(one.id == found.incident and one.closed_at for one in known)
    assert ("is reopened" in found.why) == reopened


def test_an_alert_goes_where_its_run_is_live_and_merges_nothing_for_that() -> None:
    found = place("x", "y", [OLD, YOUNG], RULES, 99_999, running={"INC-1", "INC-2"})
    assert (found.incident, found.merged) == ("INC-1", ())
