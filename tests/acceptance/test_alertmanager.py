"""The real Alertmanager fires at a gateway that is killed: every alert is there, each run once."""

from __future__ import annotations

import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbkernel.evidence import incident as records
from tests.acceptance.alertmanagers import (
    Gateway,
    alert,
    alertmanagers,
    fire,
    gateway,
    idle_connections,
)
from tests.support.tiers import first
from tests.support.waiting import until


def run_all(one: Gateway, instances: list[str], patience_s: float) -> None:
    """Wait until every alert has its run, and no run is open."""

    def over() -> bool:
        if not one.evidence.is_dir() or any((one.evidence / "open").glob("2*")):
            return False
        return set(one.whole_runs()) == set(instances)

    until(over, "every alert has its run", timeout_s=patience_s)


@pytest.mark.parametrize(
    ("count", "kills", "senders"),
    first([(4, 2, 2), (200, 20, 1)]),
)
def test_a_gateway_that_is_killed_loses_nothing(
    tmp_path: Path, count: int, kills: int, senders: int
) -> None:
    """Two Alertmanagers of one cluster are one sender; what resolves is told, and runs nothing."""
    chance = random.Random(7)  # moments, no secrets
    instances = [f"db{number}" for number in range(count)]
    given = [alert(name) for name in instances]
    for number, told in enumerate(given):
        told["labels"]["batch"] = str(number % max(1, count // 10))
    with (
        gateway(tmp_path) as one,
        alertmanagers(tmp_path, one.url, count=senders, group_by=["batch"]) as urls,
    ):
        fire(urls, given[: count // 2])
        for number in range(kills):
            time.sleep(chance.uniform(0.1, 6.0))
            if number == kills // 2:
                fire(urls, given[count // 2 :])
            one.kill()
        run_all(one, instances, 60.0 + 12.0 * count)
        one.expect_all_once(instances)

        for told in given:
            told["endsAt"] = alert("", resolved=True)["endsAt"]
        fire(urls, given)

        def resolved() -> bool:
            return all(record.resolved for record in records.list_incidents(one.evidence))

        until(resolved, "the incidents are resolved")
        assert one.alerts() == Counter(instances * 2)  # firing, resolved
        assert one.whole_runs() == Counter(instances)
    assert one.kills == kills


IDLE = 2_000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open as many connections as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 500:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_an_alert_arrives_through_two_thousand_idle_connections(tmp_path: Path) -> None:
    """At 1,024 open files; the connection that Alertmanager had before outlives the flood."""
    limited = ("prlimit", "--nofile=1024:1024")
    with (
        gateway(tmp_path, within=limited) as one,
        alertmanagers(tmp_path, one.url, group_by=["instance"]) as urls,
    ):
        fire(urls, [alert("before")])
        until(lambda: one.alerts()["before"] == 1, "the alert before the flood is recorded")
        kept = one.senders()
        with idle_connections(one.port, IDLE):
            until(lambda: "connection limit reached" in one.log, "the limit is met")
            fire(urls, [alert("during")])
            until(lambda: one.alerts()["during"] == 1, "the alert in the flood is recorded")
            assert kept & one.senders()
        run_all(one, ["before", "during"], 120.0)
        one.expect_all_once(["before", "during"])
    assert "Traceback" not in one.log
    assert len(one.log) < 20_000
