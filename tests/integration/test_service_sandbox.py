"""The service side of the sandbox: a real Prometheus and Alertmanager over the simulated shop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.evidence import reading, runs
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.model import Verdict
from rbkernel.queries import catalogue
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.runbook.catalogue import find
from rbkernel.sandbox import control, processes
from rbkernel.sandbox.access import PROMETHEUS
from rbkernel.sandbox.drill_gateway import drill_gateway
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import monitoring
from rbkernel.sandbox.shop.conditions import NEW_VERSION
from rbkernel.sources.monitoring import examination
from tests.conftest import missing_part
from tests.support.waiting import until

pytestmark = pytest.mark.slow
# Prometheus and Alertmanager look once a second; the gateway then starts a run
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A sandbox with its service side, and nothing else configured."""
    if any(monitoring.missing_programs()):
        missing_part("prometheus is not installed: `make debian`")
    folder = tmp_path_factory.mktemp("service")
    (folder / "rbkernel.toml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(folder / "home"))
        patch.setenv("RBKERNEL_CONFIG", str(folder / "rbkernel.toml"))
        patch.setenv("RBKERNEL_EVIDENCE", str(folder / "evidence"))
        control.up(with_service=True)
        yield config.load()
        control.down()
        home = Home.configured()
        assert processes.find(home) == []
        assert [one.name for one in home.path.iterdir()] == ["lock"]


@pytest.fixture
def calm(settings: Settings) -> Iterator[Settings]:
    yield settings
    control.heal()


def url(part: str) -> str:
    return f"http://127.0.0.1:{control.status().service_ports[part]}"


def asked(query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url('prometheus')}/api/v1/query", params={"query": query})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found


def fired() -> set[str]:
    return {one["metric"]["alertname"] for one in asked('ALERTS{alertstate="firing"}')}


def look(settings: Settings, fault: str = "") -> Outcome:
    if fault:
        control.inject(fault)
    path = find("RUN-008", settings.catalogue.paths).path
    return runner.run(str(path), {"service": "shop", "last_s": 300}, settings)


def test_a_good_day(settings: Settings) -> None:
    """All named queries are answered from the first second on, and no alert is on."""
    source = settings.sources[PROMETHEUS]
    assert examination.examine_names(source, {}).actual == f"all {len(catalogue.queries())} answer"
    week = "sum(rate(http_requests_total[20s] offset 7d))"
    assert float(asked(week)[0]["value"][1]) == pytest.approx(40, rel=0.05)
    # the present goes on where the past ended: no counter was reset, no series is there twice
    assert all(one["value"][1] == "0" for one in asked("resets(http_requests_total[5m])"))
    assert asked("count(build_info)")[0]["value"][1] == "1"
    assert fired() == set()
    status = control.status()
    assert (status.state, status.problems) == ("up", ())
    assert {*monitoring.PARTS} <= {*status.pids}


def test_flags_are_switched_as_in_unleash(calm: Settings) -> None:
    def state() -> dict[str, bool]:
        found = httpx.get(f"{url('shop')}/api/admin/features").json()["features"]
        return {one["name"]: one["enabled"] for one in found}

    assert state()["new-checkout"]
    for to in ("off", "on"):
        httpx.post(f"{url('shop')}/api/admin/features/new-checkout/{to}").raise_for_status()
        assert state()["new-checkout"] == (to == "on")
    assert httpx.post(f"{url('shop')}/api/admin/features/nothing/on").status_code == 404


def test_the_pool_makes_the_shop_unready(calm: Settings) -> None:
    assert httpx.get(f"{url('shop')}/health/ready").status_code == 200
    control.inject("errors-pool")
    answer = httpx.get(f"{url('shop')}/health/ready")
    assert (answer.status_code, answer.json()["status"][:13]) == (503, "database pool")
    assert httpx.get(f"{url('shop')}/health/live").status_code == 200


class TestErrorRate:
    """RUN-008 tells apart what looks the same in the error rate."""

    @pytest.mark.parametrize(
        ("fault", "finding", "names", "recommended"),
        [
            (
                "errors-after-deploy",
                "Errors of a new version",
                NEW_VERSION,
                "roll back (RUN-022)",
            ),
            (
                "errors-upstream",
                "Errors of an upstream",
                "payments",
                "open the circuit breaker of the upstream",
            ),
            (
                "errors-before-deploy",
                "Errors of an upstream",
                "payments",
                "open the circuit breaker of the upstream",
            ),
            (
                "errors-pool",
                "Requests without a connection",
                "",
                "find out who holds the connections (RUN-001)",
            ),
        ],
    )
    def test_names_the_cause_and_the_step(
        self, calm: Settings, fault: str, finding: str, names: str, recommended: str
    ) -> None:
        record = look(calm, fault).record
        found = next(one for one in record.findings if one.title == finding)
        assert found.wrong
        assert names in found.which + found.actual + found.cause
        assert record.decisions[0].recommended == recommended
        version = next(one for one in record.findings if one.title == "Errors of a new version")
        assert version.wrong == (fault == "errors-after-deploy")

    @pytest.mark.parametrize(
        ("fault", "recommended"),
        [
            ("", "wait, and look again"),
            ("errors-of-clients", "tell the owners of the clients"),
            ("traffic-spike", "wait, and look again"),
        ],
    )
    def test_no_alarm(self, calm: Settings, fault: str, recommended: str) -> None:
        outcome = look(calm, fault)
        assert outcome.verdict is Verdict.OK, [one.headline for one in outcome.record.findings]
        assert outcome.record.decisions[0].recommended == recommended

    def test_another_service_is_unknown(self, calm: Settings) -> None:
        path = find("RUN-008", calm.catalogue.paths).path
        outcome = runner.run(str(path), {"service": "no-such-service"}, calm)
        assert outcome.verdict is Verdict.UNKNOWN
        assert not outcome.failure
        assert outcome.record.decisions[0].recommended == "escalate"


def test_an_alert_starts_the_right_runbook_and_is_sealed(calm: Settings, tmp_path: Path) -> None:
    """Prometheus fires, Alertmanager sends, the gateway starts RUN-008, and seals its run."""
    home = Home.configured()
    with drill_gateway(calm, tmp_path) as gateway:
        port = control.status().service_ports["alertmanager"]
        monitoring.send_alerts_to(home, port, gateway.url)
        control.inject("errors-after-deploy")
        store = Store.open(gateway.store_url)
        try:

            def ended() -> bool:
                return any(job.state in job.ENDED for job in store.jobs())

            until(ended, "the run ends", timeout_s=PATIENCE_S)
            [job] = [job for job in store.jobs() if job.runbook == "RUN-008"]
        finally:
            store.close()
    assert "HighErrorRate" in fired()
    assert (job.state, job.verdict) == (JobState.DONE, "critical")
    record = reading.read(runs.find(calm.evidence_root, job.run_id))
    assert record.decisions[0].recommended == "roll back (RUN-022)"
    assert job.head
