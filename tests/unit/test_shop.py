"""The simulated shop of the sandbox: the same each time, and good unless a fault changes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel.queries import catalogue
from rbkernel.sandbox.faults import service
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import conditions, history, metrics, monitoring
from rbkernel.sandbox.shop.conditions import Conditions
from rbkernel.sandbox.shop.metrics import Counters, Series
from rbkernel.sandbox.shop.simulation import Simulation

SECONDS = 60


def simulated(**changes: Any) -> tuple[Counters, dict[Series, float]]:
    """Return counters and gauges after a minute under these conditions."""
    counters, now = Counters(), Conditions(**changes)
    simulation = Simulation(counters, now=1000.0)
    for second in range(SECONDS):
        simulation.tick(1.0, 1000.0 + second, now)
    return counters, simulation.gauges(1000.0 + SECONDS, now)


def by(counters: Counters, name: str, label: str) -> Counter[str]:
    """Return the sums of a counter by the value of a label."""
    found: Counter[str] = Counter()
    for series, value in counters.values.items():
        if series.name == name:
            found[dict(series.labels)[label]] += value  # type: ignore[assignment]  # a float
    return found


class TestSimulation:
    def test_is_the_same_each_time(self) -> None:
        assert simulated()[0].values == simulated()[0].values

    def test_a_good_day(self) -> None:
        counters, gauges = simulated()
        codes = by(counters, "http_requests_total", "code")
        assert codes.total() == pytest.approx(40 * SECONDS, abs=4)
        assert sum(n for code, n in codes.items() if code >= "5") < 0.005 * codes.total()
        assert sum(counters.values[one] for one in counters.values if "timeouts" in one.name) == 0
        waiting = [value for one, value in gauges.items() if one.name == "hitl_tasks"]
        assert max(waiting) < 20

    def test_a_bad_version_fails_alone(self) -> None:
        counters, _ = simulated(deployed_at=1000.0, version_errors=0.4)
        bad = Counters()
        for series, value in counters.values.items():
            if series.name == "http_requests_total" and ("code", "500") in series.labels:
                bad.values[series] = value
        found = by(bad, "http_requests_total", "version")
        assert found[conditions.NEW_VERSION] > 100 > 10 * found[conditions.VERSION]

    def test_an_absent_approver_decides_nothing(self) -> None:
        usual = by(simulated()[0], "hitl_tasks_decided_total", "approver")
        absent = by(simulated(absent=["ann"])[0], "hitl_tasks_decided_total", "approver")
        assert usual["ann"] > 0 == absent["ann"]
        assert absent["cleo"] == usual["cleo"] > 0

    def test_a_switched_model_costs_more(self) -> None:
        usual = by(simulated()[0], "llm_cost_dollars_total", "feature")
        switched = by(simulated(model_switched=True)[0], "llm_cost_dollars_total", "feature")
        assert switched["chat"] > 10 * usual["chat"]
        assert switched["search-answers"] < 2 * usual["search-answers"]


class TestConditions:
    def test_faults_apply_together_and_are_taken_back_alone(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        assert conditions.read(home) == Conditions()
        conditions.change(home, "a", {"traffic": 3.0})
        conditions.change(home, "b", {"disk_used": 0.9})
        assert conditions.read(home) == Conditions(traffic=3.0, disk_used=0.9)
        conditions.change(home, "a", {})
        assert conditions.read(home) == Conditions(disk_used=0.9)

    def test_a_misspelled_field_is_refused_before_it_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValidationError):
            conditions.change(Home(tmp_path), "a", {"trafic": 3.0})
        assert conditions.read(Home(tmp_path)) == Conditions()


@pytest.mark.parametrize("kind", service.KINDS, ids=lambda one: one.name)
def test_a_fault_changes_what_its_query_shows(kind: service.Kind) -> None:
    assert Conditions(**kind.changes) != Conditions()
    query = catalogue.queries()[kind.shown.query]
    assert {label for label, _ in kind.shown.labels} <= {*query.labels}
    beyond = kind.shown.calm > kind.shown.limit
    assert beyond == kind.shown.below


def test_the_present_begins_where_the_past_ends() -> None:
    begun = 1_800_000_000.0
    at_end = history.counted(begun, begun)
    assert {*at_end} == {*history.averages()}
    later = history.counted(begun, begun + 10)
    series = next(one for one in at_end if one.name == "http_requests_total")
    assert later[series] - at_end[series] == pytest.approx(10 * history.averages()[series])


def test_the_rules_are_those_of_production_in_shorter_time() -> None:
    rules = {one["alert"]: one for one in monitoring.rules()["rules"]}
    assert rules["HighErrorRate"]["for"] == "5s"
    assert rules["HighErrorRate"]["expr"].count("[20s]") == 3
    assert "[5m]" not in str(rules)
    assert "offset 1d" in rules["LlmCostSpike"]["expr"]
    assert {one["labels"]["service"] for one in rules.values()} == {"shop"}


def test_values_are_written_as_prometheus_reads_them() -> None:
    counters = Counters()
    counters.add("a_total", 2.0, x='q"\\\n')
    counters.observe("b", 0.3)
    written = metrics.text(counters.values, {Series("c", ()): 1.5})
    assert 'a_total{x="q\\"\\\\\\n"} 2.0\n' in written
    assert 'b_bucket{le="0.25"} 0.0\n' in written
    assert 'b_bucket{le="0.5"} 1.0\n' in written
    assert 'b_bucket{le="+Inf"} 1.0\n' in written
    assert written.endswith("# TYPE c gauge\nc{} 1.5\n")
