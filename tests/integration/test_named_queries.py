"""Every named query on a real Prometheus: its value, its labels, and what no traffic means."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import rbkernel as rb
from rbkernel.checks.answer import provenance
from rbkernel.config.sources import Source
from rbkernel.errors import ParameterError, QueryError
from rbkernel.model import Verdict
from rbkernel.queries import catalogue
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.sources.monitoring import examination
from rbkernel.triage.context import Triage
from tests.support import monitoring
from tests.support.command import run_command
from tests.support.monitoring import AT, UNTIL

_STEP_S = 15
_BEGIN = AT - 3600 - 300
# per second, by metric and labels
_RATES: dict[str, dict[str, float]] = {
    "http_requests": {
        'version="1",route="/cart",method="GET",code="200"': 6,
        'version="1",route="/cart",method="GET",code="404"': 1,
        'version="2",route="/pay",method="POST",code="200"': 2,
        'version="2",route="/pay",method="POST",code="503"': 1,
    },
    "upstream_requests": {
        'upstream="bank",outcome="ok"': 3,
        'upstream="bank",outcome="timeout"': 1,
        'upstream="mail",outcome="ok"': 2,
    },
    "db_pool_timeouts": {"": 0.5},
    "llm_requests": {
        'feature="chat",tenant="a",provider="p",model="m",outcome="ok"': 3,
        'feature="chat",tenant="a",provider="p",model="m",outcome="rate_limited"': 1,
        'feature="search",tenant="b",provider="q",model="n",outcome="ok"': 2,
    },
    "llm_tokens": {
        'feature="chat",tenant="a",provider="p",model="m",direction="input"': 300,
        'feature="chat",tenant="a",provider="p",model="m",direction="output"': 100,
        'feature="search",tenant="b",provider="q",model="n",direction="input"': 20,
    },
    "llm_cost_dollars": {
        'feature="chat",tenant="a",provider="p",model="m"': 0.01,
        'feature="search",tenant="b",provider="q",model="n"': 0.02,
    },
    "llm_retries": {'feature="chat",tenant="a"': 2},
    "agent_runs": {'feature="chat",tenant="a",outcome="ok"': 0.5},
    "agent_steps": {'feature="chat",tenant="a"': 4},
    "hitl_tasks_created": {'queue="refunds",agent="x"': 0.2, 'queue="claims",agent="y"': 0.1},
    "hitl_tasks_decided": {'queue="refunds",approver="ann",outcome="approved"': 0.1},
    "guardrail_checks": {'guardrail="pii"': 4, 'guardrail="toxic"': 2},
    "safety_events": {'guardrail="pii",source="bot",verdict="blocked"': 1},
    "safety_reviews": {
        'guardrail="pii",source="bot",outcome="confirmed"': 0.3,
        'guardrail="pii",source="bot",outcome="false_positive"': 0.1,
    },
    "log_bytes": {'path="/var/log/shop.log"': 1000},
    "login_failures": {'login="shop_app",system="mail"': 1},
    "login_success": {'login="shop_app",system="mail"': 1, 'login="shop_app",system="db"': 5},
}
_HISTOGRAMS = {
    "http_request_duration_seconds": ('version="1",route="/cart"', 'version="2",route="/pay"'),
    "upstream_request_duration_seconds": ('upstream="bank"', 'upstream="mail"'),
    "db_query_duration_seconds": ("",),
    "llm_request_duration_seconds": ('feature="chat",provider="p",model="m"',),
}
_GAUGES: dict[str, dict[str, float]] = {
    "db_pool_connections": {
        'state="in_use",instance="a"': 9,
        'state="idle",instance="a"': 1,
        'state="max",instance="a"': 12,
        'state="in_use",instance="b"': 1,
        'state="max",instance="b"': 12,
    },
    "build_info": {'version="1",instance="a"': 1, 'version="1",instance="b"': 1},
    "deployed_timestamp_seconds": {
        'version="1",instance="a"': AT - 7200,
        'version="1",instance="b"': AT - 60,
        'version="2"': AT - 600,
    },
    "feature_flag_enabled": {'flag="new-pay",instance="a"': 1, 'flag="new-pay",instance="b"': 0},
    "hitl_tasks": {
        'queue="refunds",instance="a"': 12,
        'queue="refunds",instance="b"': 12,
        'queue="claims"': 0,
    },
    "hitl_oldest_task_age_seconds": {'queue="refunds"': 900},
    "outbox_pending": {'instance="a"': 7, 'instance="b"': 7},
    "outbox_oldest_age_seconds": {"": 33},
}
_OF_HOSTS = {
    'probe_ssl_earliest_cert_expiry{instance="shop:443"}': AT + 86_400,
    'node_filesystem_size_bytes{instance="h",mountpoint="/var/log"}': 100,
    'node_filesystem_avail_bytes{instance="h",mountpoint="/var/log"}': 25,
    'node_filesystem_size_bytes{instance="h",mountpoint="/run",fstype="tmpfs"}': 100,
    'node_filesystem_avail_bytes{instance="h",mountpoint="/run",fstype="tmpfs"}': 1,
}
# s per second, by mode
_PROCESSORS = {
    'instance="h",cpu="0",mode="idle"': 0.9,
    'instance="h",cpu="1",mode="idle"': 0.6,
    'instance="h",cpu="1",mode="user"': 0.4,
}
# 90 % of all within 0.1 s, 96 % within 0.5 s, all within 1 s
_BUCKETS = {"0.1": 9.0, "0.5": 9.6, "1": 10.0, "+Inf": 10.0}
_P95 = 0.1 + 0.4 * 5 / 6

# the answer: the value for each combination of labels
_EXPECTED: dict[str, dict[tuple[str, ...], float]] = {
    "http/error_ratio": {(): 0.1},
    "http/error_ratio_by_route": {("/cart",): 0, ("/pay",): 1 / 3},
    "http/error_ratio_by_code": {("404",): 0.1, ("503",): 0.1},
    "http/error_ratio_by_version": {("1",): 0, ("2",): 1 / 3},
    "http/request_rate": {(): 10},
    "http/request_rate_by_version": {("1",): 7, ("2",): 3},
    "http/latency_p95": {(): _P95},
    "http/latency_p99": {(): 0.5 + 0.5 * 3 / 4},
    "http/latency_p95_by_route": {("/cart",): _P95, ("/pay",): _P95},
    "upstream/error_ratio": {("bank",): 0.25, ("mail",): 0},
    "upstream/latency_p95": {("bank",): _P95, ("mail",): _P95},
    "db/pool_in_use_ratio": {(): 0.75},
    "db/latency_p95": {(): _P95},
    "db/pool_timeouts": {(): 0.5},
    "deploy/started_at": {("1",): AT - 7200, ("2",): AT - 600},
    "deploy/versions": {("1",): 2},
    "flags/state": {("new-pay",): 0.5},
    "llm/error_ratio": {("p", "m"): 0.25, ("q", "n"): 0},
    "llm/rate_limited_ratio": {("p", "m"): 0.25, ("q", "n"): 0},
    "llm/latency_p95": {("p", "m"): _P95},
    "llm/request_rate": {("p", "m"): 4, ("q", "n"): 2},
    "llm/cost_per_hour": {(): 108},
    "llm/cost_per_day": {(): 117},
    "llm/cost_per_hour_by_feature": {("chat",): 36, ("search",): 72},
    "llm/cost_per_hour_by_tenant": {("a",): 36, ("b",): 72},
    "llm/cost_per_hour_by_model": {("m",): 36, ("n",): 72},
    "llm/tokens_per_request": {("chat",): 100, ("search",): 10},
    "llm/retries_per_request": {("chat",): 0.5, ("search",): 0},
    "agent/steps_per_run": {("chat",): 8},
    "hitl/waiting": {("refunds",): 12, ("claims",): 0},
    "hitl/oldest_age": {("refunds",): 900},
    "hitl/created_rate": {("refunds",): 0.2, ("claims",): 0.1},
    "hitl/decided_rate": {("refunds",): 0.1, ("claims",): 0},
    "hitl/created_by_agent": {("refunds", "x"): 0.2, ("claims", "y"): 0.1},
    "hitl/decided_by_approver": {("refunds", "ann"): 0.1},
    "safety/event_ratio": {("pii",): 0.25, ("toxic",): 0},
    "safety/events_by_source": {("pii", "bot"): 1},
    "safety/reviews": {
        ("pii", "bot", "confirmed"): 1080,
        ("pii", "bot", "false_positive"): 360,
    },
    "outbox/pending": {(): 7},
    "outbox/oldest_age": {(): 33},
    "tls/expires_in": {("shop:443",): 86_400},
    "host/cpu_used_ratio": {("h",): 0.25},
    "disk/used_ratio": {("h", "/var/log"): 0.75},
    "logs/growth": {("/var/log/shop.log",): 1000},
    "login/failure_ratio": {("shop_app", "mail"): 0.5, ("shop_app", "db"): 0},
    "login/counted": {("shop_app",): 2},
}
_RATIOS = [name for name, one in catalogue.queries().items() if one.unit == "ratio"]


def _labels(service: str, more: str) -> str:
    return f'{{service="{service}"{"," if more else ""}{more}}}'


def _counter(metric: str, labels: str, per_s: float) -> list[str]:
    moments = range(round(_BEGIN), round(AT) + 1, _STEP_S)
    return [f"{metric}{labels} {per_s * (at - _BEGIN):g} {at}" for at in moments]


def _known() -> str:
    """Return the values in the format of OpenMetrics.

    `calm` has requests and no errors, and `idle` had both, but not in the last hour.
    """
    lines: list[str] = []
    for metric, series in _RATES.items():
        lines.append(f"# TYPE {metric} counter")
        for labels, per_s in series.items():
            lines += _counter(f"{metric}_total", _labels("shop", labels), per_s)
            lines += _counter(f"{metric}_total", _labels("idle", labels), 0)
            if 'code="200"' in labels or 'outcome="ok"' in labels:
                lines += _counter(f"{metric}_total", _labels("calm", labels), per_s)
    lines.append("# TYPE node_cpu_seconds counter")
    for labels, per_s in _PROCESSORS.items():
        lines += _counter("node_cpu_seconds_total", f"{{{labels}}}", per_s)
    for metric, each in _HISTOGRAMS.items():
        lines.append(f"# TYPE {metric} gauge")  # without _sum and _count
        for labels in each:
            for le, per_s in _BUCKETS.items():
                inner = f'{labels}{"," if labels else ""}le="{le}"'
                lines += _counter(f"{metric}_bucket", _labels("shop", inner), per_s)
    gauges = {
        **{f"{m}{_labels('shop', k)}": v for m, one in _GAUGES.items() for k, v in one.items()},
        **_OF_HOSTS,
    }
    lines += [f"{series} {value:.0f} {AT:.0f}" for series, value in sorted(gauges.items())]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with monitoring.prometheus(tmp_path_factory.mktemp("named"), known=_known()) as found:
        yield found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> Triage:
    begin = partial(monitoring.begin_run, tmp_path, monkeypatch)
    return begin(prom={"kind": "prometheus", "url": f"http://{address}"})


def _asked(name: str, service: str) -> dict[str, Any]:
    takes = catalogue.queries()[name].takes
    return {"until": UNTIL, **({"service": service} if takes else {})}


def test_every_name_has_its_value_and_its_labels(run: Triage) -> None:
    assert list(catalogue.queries()) == list(_EXPECTED)
    for name, expected in _EXPECTED.items():
        one = catalogue.queries()[name]
        frame = rb.promql(f"@{name}", **_asked(name, "shop"))
        labels = frame[list(one.labels)].itertuples(index=False, name=None)
        found = dict(zip(labels, frame["value"], strict=True))
        assert found == pytest.approx(expected, rel=1e-3), name
        # no label beyond those of the catalogue
        assert {*frame.columns} == {"series", "sampled_at", "value", *one.labels}, name
        origin = provenance(frame)
        assert origin is not None
        assert (origin.name, frame.attrs["unit"]) == (name, one.unit)


def test_a_ratio_without_requests_is_unknown(run: Triage) -> None:
    for name in _RATIOS:
        if name.startswith(("disk/", "host/", "flags/", "db/pool_in_use")):
            continue  # no rate of the service
        frame = rb.promql(f"@{name}", **_asked(name, "idle"))
        finding = rb.check(name, frame, "value", warn=0.5)
        assert finding.verdict is Verdict.UNKNOWN, name
        assert "no result" in finding.actual, name


def test_requests_without_errors_are_zero(run: Triage) -> None:
    """No series of an error exists: the ratio is 0, for each label."""
    zeros = {
        "http/error_ratio": [()],
        "http/error_ratio_by_route": [("/cart",), ("/pay",)],
        "http/error_ratio_by_version": [("1",), ("2",)],
        "http/error_ratio_by_code": [("none",)],
        "upstream/error_ratio": [("bank",), ("mail",)],
        "llm/error_ratio": [("p", "m"), ("q", "n")],
    }
    for name, labels in zeros.items():
        frame = rb.promql(f"@{name}", service="calm", until=UNTIL)
        known = frame[list(catalogue.queries()[name].labels)].itertuples(index=False, name=None)
        assert sorted(known) == labels, name
        assert frame["value"].tolist() == [0.0] * len(labels), name


def test_values_are_converted_to_the_unit(run: Triage) -> None:
    shop: dict[str, Any] = {"service": "shop", "until": UNTIL}
    assert rb.promql("@http/error_ratio", unit="%", **shop)["value"][0] == pytest.approx(10, 1e-3)
    slow = rb.promql("@http/latency_p95", unit="ms", **shop)
    assert slow["value"][0] == pytest.approx(1000 * _P95, 1e-3)
    assert rb.promql("@hitl/waiting", unit="tasks", **shop)["value"].max() == 12
    for name, unit in (("http/latency_p95", "%"), ("hitl/waiting", "s"), ("logs/growth", "$")):
        with pytest.raises(QueryError, match="cannot be converted"):
            rb.promql(f"@{name}", unit=unit, **shop)


def test_a_wrong_name_or_value_is_an_error(run: Triage) -> None:
    with pytest.raises(QueryError, match="did you mean http/error_ratio"):
        rb.promql("@http/error_rate", service="shop")
    with pytest.raises(ParameterError, match="no keyword 'route'"):
        rb.promql("@http/error_ratio", service="shop", route="/")
    with pytest.raises(QueryError, match=r"needs a value for \{service\}"):
        rb.promql("@http/error_ratio")


def test_the_own_text_is_asked(run: Triage) -> None:
    own = {"http/error_ratio": "vector(0.25)", "hitl/waiting": "nothing_like_it"}
    object.__setattr__(run, "settings", run.settings.model_copy(update={"queries": own}))
    frame = rb.promql("@http/error_ratio", service="shop", unit="%")
    assert frame["value"].tolist() == [25.0]
    missing = rb.promql("@hitl/waiting", service="shop")
    assert "no result" in rb.check("Waiting", missing, "value", warn=1).actual


def test_metrics_of_the_front_matter(run: Triage) -> None:
    """They are about now, so the text is replaced; limits and figures are in the same unit."""
    own = {"http/error_ratio": "vector(0.1)"}
    object.__setattr__(run, "settings", run.settings.model_copy(update={"queries": own}))
    metrics = [
        {"name": "Errors", "promql": "@http/error_ratio", "critical": "> 5%"},
        {"name": "In percent", "promql": "@http/error_ratio", "unit": "%", "warning": "> 11%"},
        {"name": "Typo", "promql": "@http/error_rate", "warning": 1},
    ]
    needed = {"id": "RUN-008", "category": "incident", "severity": "P2", "owner": "Tests"}
    parameters = {"service": "shop"}
    front = FrontMatter.model_validate({**needed, "title": "t", "summary": "s", "metrics": metrics})
    run.run = dataclasses.replace(run.run, parameters=parameters)
    run.document = Runbook(path=Path("x.ipynb"), document=b"", front_matter=front, parameters={})
    rb.metrics()
    assert [(one.verdict, one.value) for one in run.findings.values()] == [
        (Verdict.CRITICAL, pytest.approx(0.1)),
        (Verdict.OK, pytest.approx(10)),
        (Verdict.UNKNOWN, None),
    ]


class TestDoctor:
    def test_says_which_names_answer(self, address: str) -> None:
        """The values are years old: now, nothing answers but what is replaced."""
        source = Source(name="p", kind="prometheus", url=f"http://{address}")
        every = dict.fromkeys(catalogue.queries(), "vector(1)")
        assert examination.examine_names(source, every).actual == f"all {len(every)} answer"
        nothing = examination.examine_names(source, {})
        assert nothing.verdict is Verdict.WARNING
        assert nothing.actual.startswith(f"0 of {len(every)} answer; no result: http/error_ratio,")
        own = {"http/error_ratio": "vector(1)", "outbox/pending": "vector("}
        wrong = examination.examine_names(source, own)
        assert wrong.actual.startswith(f"1 of {len(every)} answer; no result: http/error_ratio_by")
        assert wrong.verdict is Verdict.WARNING
        assert wrong.next_step == "correct outbox/pending under [queries]"

    def test_of_the_command(self, address: str, tmp_path: Path) -> None:
        file = tmp_path / "rbkernel.toml"
        file.write_text(
            f'[sources.prom]\nkind = "prometheus"\nurl = "http://{address}"\n'
            "[queries]\n\"http/error_ratio\" = 'vector(1)'\n"
        )
        done = run_command("doctor", "prom", "--json", environment={"RBKERNEL_CONFIG": str(file)})
        found = json.loads(done.stdout)["prom"]
        assert [one["title"] for one in found][-1] == "named queries"
        assert (found[-1]["verdict"], done.returncode) == ("ok", 0)
        file.write_text(file.read_text().replace("error_ratio", "eror_ratio"))
        told = run_command("doctor", "prom", environment={"RBKERNEL_CONFIG": str(file)})
        assert "did you mean http/error_ratio?" in told.stderr
