"""The service side of the sandbox: a real Prometheus and Alertmanager over the simulated shop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.evidence import reading, runs
from rbkernel.gateway.jobs.records import Job
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
from rbkernel.sandbox.shop.simulation import SERVICE
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


def url(part: str) -> str:
    return f"http://127.0.0.1:{control.status().service_ports[part]}"


def asked(query: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url('prometheus')}/api/v1/query", params={"query": query})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
    return found


def fired() -> set[str]:
    return {one["metric"]["alertname"] for one in asked('ALERTS{alertstate="firing"}')}


@contextmanager
def active(*faults: str) -> Iterator[None]:
    """Inject faults that do not change each other's figures, and heal them afterwards."""
    try:
        for fault in faults:
            control.inject(fault)
        yield
    finally:
        control.heal()


def look(settings: Settings, runbook: str, **values: Any) -> Outcome:
    path = find(runbook, settings.catalogue.paths).path
    outcome = runner.run(str(path), {"service": SERVICE, **values}, settings)
    assert outcome.failure == "", outcome.failure
    return outcome


def recommended(outcome: Outcome) -> str | None:
    """What the run recommends last: a runbook may ask before and after a change."""
    return outcome.record.decisions[-1].recommended


def wrong(outcome: Outcome) -> dict[str, str]:
    """The titles of the findings that are not ok, and what they say."""
    return {
        one.title: f"{one.headline} {one.which}" for one in outcome.record.findings if not one.ok
    }


def test_a_good_day(settings: Settings) -> None:
    """All named queries are answered from the first second on, and no alert is on."""
    source = settings.sources[PROMETHEUS]
    assert examination.examine_names(source, {}).actual == f"all {len(catalogue.queries())} answer"
    week = "sum(rate(http_requests_total[20s] offset 7d))"
    assert float(asked(week)[0]["value"][1]) == pytest.approx(40, rel=0.05)
    # the present goes on where the past ended: no counter was reset, no series is there twice
    resets = asked("resets(http_requests_total[5m])")
    assert resets
    assert all(one["value"][1] == "0" for one in resets)
    assert asked("count(build_info)")[0]["value"][1] == "1"
    assert fired() == set()
    status = control.status()
    assert (status.state, status.problems) == ("up", ())
    assert {*monitoring.PARTS} <= {*status.pids}


def test_flags_are_switched_as_in_unleash(settings: Settings) -> None:
    def state() -> dict[str, bool]:
        found = httpx.get(f"{url('shop')}/api/admin/features").json()["features"]
        return {one["name"]: one["enabled"] for one in found}

    assert state()["new-checkout"]
    for to in ("off", "on"):
        httpx.post(f"{url('shop')}/api/admin/features/new-checkout/{to}").raise_for_status()
        assert state()["new-checkout"] == (to == "on")
    assert httpx.post(f"{url('shop')}/api/admin/features/nothing/on").status_code == 404


def test_another_service_is_unknown(settings: Settings) -> None:
    outcome = look(settings, "RUN-008", service="no-such-service")
    assert outcome.verdict is Verdict.UNKNOWN
    assert recommended(outcome) == "escalate"


def test_more_traffic_and_wrong_requests_are_no_fault(settings: Settings) -> None:
    database = {"db": "sandbox-primary"}
    with active("errors-of-clients", "traffic-spike"):
        for runbook, values, step in (
            ("RUN-008", {"last_s": 300}, "tell the owners of the clients"),
            ("RUN-009", {**database, "every_s": 1}, "wait"),
            ("RUN-024", database, "wait"),
        ):
            outcome = look(settings, runbook, **values)
            assert (outcome.verdict, wrong(outcome)) == (Verdict.OK, {}), runbook
            assert recommended(outcome) == step


def test_the_pool(settings: Settings) -> None:
    """The shop is not ready, and RUN-008 names the pool."""
    assert httpx.get(f"{url('shop')}/health/ready").status_code == 200
    with active("errors-pool"):
        answer = httpx.get(f"{url('shop')}/health/ready")
        assert (answer.status_code, answer.json()["status"][:13]) == (503, "database pool")
        assert httpx.get(f"{url('shop')}/health/live").status_code == 200
        outcome = look(settings, "RUN-008", last_s=300)
    assert "Requests without a connection" in wrong(outcome)
    assert "shop: errors since the deployment" not in wrong(outcome)
    assert recommended(outcome) == "find out who holds the connections (RUN-001)"


def test_an_upstream_fails_before_a_deployment_and_a_provider_is_slow(settings: Settings) -> None:
    """Each runbook names its own of two causes, and none the deployment."""
    with active("errors-before-deploy", "latency-provider"):
        for runbook, cause, names, step in (
            (
                "RUN-008",
                "Errors of an upstream",
                "payments",
                "open the circuit breaker of the upstream",
            ),
            (
                "RUN-009",
                "A slow provider of models",
                "contoso",
                "do without the slow system (RUN-023)",
            ),
            (
                "RUN-022",
                "shop: errors of the running version",
                "",
                "find the cause (RUN-008)",
            ),
        ):
            more = {"db": "sandbox-primary", "every_s": 1} if runbook == "RUN-009" else {}
            outcome = look(settings, runbook, **more)
            assert names in wrong(outcome)[cause]
            assert "shop: errors since the deployment" not in wrong(outcome), runbook
            assert recommended(outcome) == step


def test_a_bad_version(settings: Settings, tmp_path: Path) -> None:
    """The alert starts RUN-008, which is sealed; the other runbooks name the version, too."""
    home = Home.configured()
    with drill_gateway(settings, tmp_path) as gateway:
        port = control.status().service_ports["alertmanager"]
        monitoring.send_alerts_to(home, port, gateway.url)
        with active("errors-after-deploy", "flag-wrong"):
            for runbook, values, step in (
                ("RUN-002", {"version": NEW_VERSION}, "roll back (RUN-022)"),
                ("RUN-003", {"version": NEW_VERSION}, "roll back (RUN-022)"),
                ("RUN-022", {"flag": "new-checkout"}, "turn off the flag (RUN-023)"),
                ("RUN-024", {"db": "sandbox-primary"}, "roll back (RUN-022)"),
            ):
                outcome = look(settings, runbook, **values)
                assert NEW_VERSION in wrong(outcome)["shop: errors since the deployment"], runbook
                assert recommended(outcome) == step
            expected = {"expected": "new-checkout=on, read-from-new-orders=off"}
            outcome = look(settings, "RUN-023", **expected)
            assert "Flag new-checkout" not in wrong(outcome)
            assert "read-from-new-orders" in wrong(outcome)["Flag read-from-new-orders"]
            assert recommended(outcome) == "find out who changed it"
            job = _ended(gateway.store_url)
            assert "HighErrorRate" in fired()
    assert (job.state, job.verdict) == (JobState.DONE, "critical")
    record = reading.read(runs.find(settings.evidence_root, job.run_id))
    assert record.decisions[0].recommended == "roll back (RUN-022)"
    assert job.head


def _ended(store_url: str) -> Job:
    """Wait for the run of RUN-008 that the gateway has started."""
    store = Store.open(store_url)
    try:

        def found() -> list[Job]:
            every = store.jobs()
            return [one for one in every if one.runbook == "RUN-008" and one.state in one.ENDED]

        until(lambda: bool(found()), "the run ends", timeout_s=PATIENCE_S)
        [job] = found()
    finally:
        store.close()
    return job
