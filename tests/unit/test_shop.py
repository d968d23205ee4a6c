"""The simulated shop of the sandbox: the same each time, and good unless a fault changes it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rbkernel.queries import catalogue
from rbkernel.sandbox.faults import service
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import conditions, history, metrics, monitoring, stand_ins
from rbkernel.sandbox.shop.conditions import Conditions
from rbkernel.sandbox.shop.metrics import Counters, Series
from rbkernel.sandbox.shop.requests import Kept, Request
from rbkernel.sandbox.shop.simulation import Simulation
from rbkernel.sources.monitoring import traces
from rbkernel.sources.monitoring.series import read

SECONDS = 60
_THEIRS = "its own database does not answer"


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


@pytest.fixture(scope="module")
def kept() -> list[Request]:
    kept, now = Kept(seed=1), Conditions(upstream_errors={"payments": 0.6})
    simulation = Simulation(Counters(), now=1000.0, kept=kept)
    for second in range(SECONDS):
        simulation.tick(1.0, 1000.0 + second, now)
    return [*kept.requests]


class TestStandIns:
    """What they answer is read as the answers of Loki and Jaeger are."""

    def traces(self, kept: list[Request], path: str, **sought: str) -> list[list[traces.Span]]:
        code, text = stand_ins.jaeger(path, sought, kept)
        assert code == 200, text
        return [[*traces.of_jaeger({"data": [one]})] for one in json.loads(text)["data"]]

    def lines(self, kept: list[Request], query: str) -> list[str]:
        given = {"query": query, "start": "0", "end": "9999", "limit": "5000"}
        code, text = stand_ins.loki("/loki/api/v1/query_range", given, kept)
        assert code == 200, text
        return [str(line) for one in read(json.loads(text)).series for _, line in one.samples]

    def test_the_system_that_failed_first_and_its_line_are_in_the_trace(
        self, kept: list[Request]
    ) -> None:
        sought = {"operation": "POST /checkout", "tags": '{"http.status_code": "502"}'}
        [spans] = self.traces(kept, "/api/traces", limit="1", service="shop", **sought)
        known = [dict(zip(traces.SPANS, row, strict=True)) for row in traces.rows(spans)]
        [first] = [one for one in known if one["failed_first"]]
        assert (first["service"], first["waited"]) == ("payments", False)
        failed = next(one for one in reversed(kept) if one.answered.code == 502)
        assert self.traces(kept, f"/api/traces/{failed.trace}") == [spans]
        own = self.lines(kept, f'{{app="payments"}} |= "{failed.trace}"')
        assert own == [f'level=error trace_id={failed.trace} status=500 msg="{_THEIRS}"']
        every = self.lines(kept, f'{{app=~"shop|payments"}} |= "{failed.trace}" |~ `(?i)ERROR`')
        assert len(every) == 2
        assert self.lines(kept, f'{{app="shop"}} |= "{failed.trace}" != "level=error"')

    def test_what_they_do_not_know_is_refused(self, kept: list[Request]) -> None:
        for query in ('{app="shop"} | json', "rate({app=`shop`}[5m])", "{} |= `a`"):
            assert stand_ins.loki("/loki/api/v1/query_range", {"query": query}, kept)[0] == 400
        assert stand_ins.jaeger("/api/traces", {"lookback": "1h"}, kept)[0] == 400
        assert stand_ins.jaeger("/api/traces/0", {}, kept)[0] == 404


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
    assert rules["HighErrorRate"]["for"] == "20s"
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
