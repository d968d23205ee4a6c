"""From the shipped alert rules to sealed evidence, for each fault of the service side.

The real Prometheus evaluates the rules, the real Alertmanager sends what fires, the gateway starts
the runbook, and a worker executes and seals it. Nobody does anything. The last lines of the output
are a table of all faults.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.evidence import reading, runs
from rbkernel.gateway.jobs.records import Job
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.runbook import catalogue
from rbkernel.sandbox import control, drill_results
from rbkernel.sandbox.drill_gateway import drill_gateway
from rbkernel.sandbox.home import Home
from rbkernel.sandbox.shop import monitoring
from tests.conftest import missing_part
from tests.support.waiting import until

pytestmark = pytest.mark.soak
# rules look at 20 s and wait up to 40 s more; then a kernel starts
PATIENCE_S = 120.0
#: Fault → the runbook that an alert of it must start. What it must say is in its front matter.
CHAIN = {
    "errors-after-deploy": "RUN-008",
    "errors-upstream": "RUN-008",
    "errors-pool": "RUN-008",
    "errors-before-deploy": "RUN-008",
    "latency-provider": "RUN-009",
    "latency-database": "RUN-009",
    "latency-traffic": "RUN-009",
    "hitl-approver-absent": "RUN-012",
    "hitl-agent-loop": "RUN-012",
    "llm-cost-loop": "RUN-013",
    "llm-cost-tenant": "RUN-013",
    "llm-cost-model": "RUN-013",
    "safety-source": "RUN-014",
    "safety-guardrail": "RUN-014",
    "provider-outage": "RUN-015",
    "provider-partial": "RUN-015",
    "credential-rotated": "RUN-020",
    "flag-wrong": "RUN-023",
    "certificate-ending": "RUN-028",
    "log-disk-filling": "RUN-029",
}
#: Faults that users do not feel, so that no alert may fire.
QUIET = ("errors-of-clients", "traffic-spike")
_COLUMNS = ("fault", "alerts", "runbook", "verdict", "recommended", "sealed", "s", "wrong")


@dataclass(frozen=True)
class Chain:
    """A sandbox with its service side, a gateway that gets its alerts, and the table of results."""

    settings: Settings
    store: Store
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def alerts(self) -> set[str]:
        """Return the names of the alerts that Alertmanager knows as active."""
        port = control.status().service_ports["alertmanager"]
        active = httpx.get(f"http://127.0.0.1:{port}/api/v2/alerts").raise_for_status().json()
        return {one["labels"]["alertname"] for one in active}

    def ended(self, before: set[str], runbook: str) -> list[Job]:
        """Return the jobs of a runbook that ended, and are not among those of before."""
        jobs = [job for job in self.store.jobs() if job.id not in before]
        return [job for job in jobs if job.runbook == runbook and job.state in job.ENDED]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Chain]:
    """One sandbox and one gateway for all faults."""
    if any(monitoring.missing_programs()):
        missing_part("prometheus is not installed: `make debian`")
    folder = tmp_path_factory.mktemp("chain")
    (folder / "rbkernel.toml").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RBKERNEL_SANDBOX", str(folder / "home"))
        patch.setenv("RBKERNEL_CONFIG", str(folder / "rbkernel.toml"))
        patch.setenv("RBKERNEL_EVIDENCE", str(folder / "evidence"))
        control.up(with_service=True)
        try:
            with drill_gateway(settings := config.load(), folder) as gateway:
                port = control.status().service_ports["alertmanager"]
                monitoring.send_alerts_to(Home.configured(), port, gateway.url)
                store = Store.open(gateway.store_url)
                made = Chain(settings, store)
                yield made
                store.close()
        finally:
            control.down()
    _print(pytestconfig, made.rows)


def _print(pytestconfig: pytest.Config, rows: list[tuple[str, ...]]) -> None:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    with capture.global_and_fixture_disabled():
        for row in [("",), _COLUMNS, *rows]:
            print("  ".join(f"{one:{width}}" for one, width in zip(row, widths, strict=False)))


@pytest.fixture
def calm(chain: Chain) -> Iterator[Chain]:
    """No fault and no alert, before the test and after it."""
    yield chain
    control.heal()
    until(lambda: not chain.alerts(), "the alerts to be resolved", timeout_s=PATIENCE_S)
    running: Callable[[], bool] = lambda: any(  # noqa: E731
        job.state not in job.ENDED for job in chain.store.jobs()
    )
    until(lambda: not running(), "the runs to end", timeout_s=PATIENCE_S)


@pytest.mark.parametrize("fault", CHAIN)
def test_an_alert_of_the_fault_starts_the_right_runbook(calm: Chain, fault: str) -> None:
    runbook = catalogue.find(CHAIN[fault], calm.settings.catalogue.paths)
    before = {job.id for job in calm.store.jobs()}
    began = time.monotonic()
    truth = control.inject(fault).truth
    until(
        lambda: bool(calm.ended(before, runbook.id)),
        f"{runbook.id} to end, of {sorted(calm.alerts())}",
        timeout_s=PATIENCE_S,
    )
    seconds = time.monotonic() - began
    [job, *_] = calm.ended(before, runbook.id)
    record = reading.read(runs.find(calm.settings.evidence_root, job.run_id))
    # the truth of the fault is the drill's, but the parameters are those of the alert
    drills = [one for one in runbook.front_matter.drill if one.fault == fault and not one.harmless]
    wrong = [list(drill_results.problems(one.filled(truth), record)) for one in drills]
    least = min(wrong, key=len, default=[])
    calm.rows.append(
        (
            *(fault, ", ".join(sorted(calm.alerts())), runbook.id, job.verdict or ""),
            drill_results.recommended(record),
            *(job.head[:12], f"{seconds:.0f}", "; ".join(least) or ("" if drills else "no drill")),
        )
    )
    assert (job.state, bool(job.head)) == (JobState.DONE, True)
    assert not least, [one.headline for one in record.findings if one.wrong]
    if not drills:
        pytest.skip(f"{runbook.id} has no drill that says what it must find of this fault")


@pytest.mark.parametrize("fault", QUIET)
def test_no_alert_fires(calm: Chain, fault: str) -> None:
    before = {job.id for job in calm.store.jobs()}
    control.inject(fault)
    # the `for:` of the rules on rates, twice
    deadline = time.monotonic() + 2 * 300 / monitoring.TIME_SCALE
    until(lambda: time.monotonic() > deadline or bool(calm.alerts()))
    assert calm.alerts() == set()
    assert {job.id for job in calm.store.jobs()} == before
