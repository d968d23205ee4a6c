"""Faults of the service side: they change the conditions under which the shop is simulated.

Each fault is active when the Prometheus of the sandbox shows it, and healed when it no longer does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from rbkernel.errors import SandboxError
from rbkernel.queries import catalogue, values
from rbkernel.sandbox.access import HOST, RATE_WINDOW, STAND_INS, Access
from rbkernel.sandbox.faults import waiting
from rbkernel.sandbox.shop import conditions
from rbkernel.sandbox.shop.conditions import NEW_VERSION, VERSION
from rbkernel.sandbox.shop.simulation import AGENT, SERVICE

# s until all rates are those of after a change, with some more for a busy machine
_PATIENCE_S = 60.0
# s between two questions; Prometheus has new values once a second
_BETWEEN_S = 0.3
_DEPLOYED = "deployed_at"


@dataclass(frozen=True)
class Shown:
    """A named query: some value beyond ``limit`` shows a fault, and none beyond ``calm`` none.

    With ``below``, smaller values are beyond. ``labels`` are those that the value must have.
    """

    query: str
    limit: float
    calm: float
    labels: tuple[tuple[str, str], ...] = ()
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A fault of the service side.

    Parameters
    ----------
    name, summary, look_alike_of
        As of `catalogue.Fault`.
    changes
        Fields of `Conditions` that the fault sets.
    shown
        What shows the fault.
    truth
        What a runbook must find.
    deploys
        Whether the new version is deployed: ``before`` the other changes, or ``after`` they show.
    trace
        What the trace of a request of the fault has, as the search of Jaeger asks for it; the truth
        then has its id as ``trace_id``.
    """

    name: str
    summary: str
    changes: Mapping[str, Any]
    shown: Shown
    truth: Mapping[str, Any] = field(default_factory=dict)
    look_alike_of: str | None = None
    deploys: str = ""
    trace: Mapping[str, str] = field(default_factory=dict)


def _status(code: int) -> dict[str, str]:
    return {"tags": json.dumps({"http.status_code": str(code)})}


# a version is deployed once: what another fault did under its number would count, too
_GOOD_VERSION = "2.15.1"
_DEPLOYMENT = {"version": NEW_VERSION, "version_before": VERSION}
_ERRORS = Shown("http/error_ratio", 0.04, 0.005)
_SLOW = Shown("http/latency_p95", 1.5, 0.5)
_COST = Shown("llm/cost_per_hour", 60, 35)

KINDS: tuple[Kind, ...] = (
    Kind(
        name="errors-after-deploy",
        summary="a new version was deployed, and answers many requests with 500",
        changes={"version_errors": 0.4},
        shown=_ERRORS,
        truth=_DEPLOYMENT,
        deploys="before",
        trace={**_status(500), "operation": "GET /search"},
    ),
    Kind(
        name="errors-upstream",
        summary="calls to another system fail, and the requests that need it with them",
        changes={"upstream_errors": {"payments": 0.6}},
        shown=_ERRORS,
        truth={"upstream": "payments", "route": "/checkout"},
        look_alike_of="errors-after-deploy",
        trace={**_status(502), "operation": "POST /checkout"},
    ),
    Kind(
        name="errors-pool",
        summary="the connection pool of the service is exhausted, and requests get no connection",
        changes={"pool_timeouts": 0.3},
        shown=_ERRORS,
        look_alike_of="errors-after-deploy",
        trace=_status(503),
    ),
    Kind(
        name="errors-before-deploy",
        summary="an upstream fails, and afterwards a good version is deployed",
        changes={"upstream_errors": {"payments": 0.6}, "new_version": _GOOD_VERSION},
        # all rates are those of after the change: the deployment is clearly later
        shown=Shown("http/error_ratio", 0.09, 0.005),
        truth={**_DEPLOYMENT, "version": _GOOD_VERSION, "upstream": "payments"},
        look_alike_of="errors-after-deploy",
        deploys="after",
    ),
    Kind(
        name="errors-of-clients",
        summary="clients send wrong requests to one route, which answers them with 400",
        changes={"client_errors": {"/account": 0.9}},
        shown=Shown("http/error_ratio_by_code", 0.07, 0.03),
        truth={"route": "/account"},
        look_alike_of="errors-after-deploy",
    ),
    Kind(
        name="traffic-spike",
        summary="three times as many requests as usual, which are answered",
        changes={"traffic": 3.0},
        shown=Shown("http/request_rate", 100, 45),
        look_alike_of="latency-traffic",
        trace={**_status(200), "operation": "GET /orders"},
    ),
    Kind(
        name="latency-provider",
        summary="a provider of models answers slowly, and the requests that need it with it",
        changes={"provider_slow_s": {"contoso": 4.0}},
        shown=_SLOW,
        truth={"provider": "contoso", "route": "/search"},
        trace={"operation": "contoso: POST /chat/completions", "minDuration": "3s"},
    ),
    Kind(
        name="latency-database",
        summary="the database answers slowly, and all requests with it",
        changes={"database_slower": 80.0},
        shown=_SLOW,
        look_alike_of="latency-provider",
        trace={"operation": "GET /orders", "minDuration": "1.5s"},
    ),
    Kind(
        name="latency-traffic",
        summary="eight times as many requests as usual wait for each other",
        changes={"traffic": 8.0},
        shown=_SLOW,
        look_alike_of="latency-provider",
    ),
    Kind(
        name="llm-cost-loop",
        summary="an agent makes many times as many steps in each run, and does not end",
        changes={"agent_steps": 25.0},
        shown=_COST,
        truth={"feature": AGENT},
    ),
    Kind(
        name="llm-cost-tenant",
        summary="one tenant makes many times as many calls of models as usual",
        changes={"tenant_calls": {"globex": 15.0}},
        shown=_COST,
        truth={"tenant": "globex"},
        look_alike_of="llm-cost-loop",
    ),
    Kind(
        name="llm-cost-model",
        summary="a feature was switched to an expensive model",
        changes={"model_switched": True},
        shown=_COST,
        truth={"feature": "chat", "model": "nw-large", "model_before": "nw-small"},
        look_alike_of="llm-cost-loop",
    ),
    Kind(
        name="hitl-approver-absent",
        summary="the approvers of a queue decide nothing, and its tasks wait for hours",
        changes={"absent": ("ann", "ben"), "waiting": {"refunds": 120}},
        shown=Shown("hitl/waiting", 100, 30),
        truth={"queue": "refunds", "approvers": ["ann", "ben"]},
    ),
    Kind(
        name="hitl-agent-loop",
        summary="an agent creates task after task for a human",
        changes={"agent_tasks": {"refund-agent": 80.0}},
        shown=Shown("hitl/waiting", 200, 30),
        truth={"queue": "refunds", "agent": "refund-agent"},
        look_alike_of="hitl-approver-absent",
    ),
    Kind(
        name="provider-outage",
        summary="all calls to a provider of models fail",
        changes={"provider_errors": {"northwind": 1.0}},
        shown=Shown("llm/error_ratio", 0.9, 0.03),
        truth={"provider": "northwind"},
    ),
    Kind(
        name="provider-partial",
        summary="a part of the calls to a provider of models fails",
        changes={"provider_errors": {"northwind": 0.35}},
        shown=Shown("llm/error_ratio", 0.25, 0.03),
        truth={"provider": "northwind"},
        look_alike_of="provider-outage",
    ),
    Kind(
        name="safety-source",
        summary="one source sends many requests that the guardrails block",
        changes={"safety_sources": {"partner-feed": 150.0}},
        shown=Shown("safety/event_ratio", 0.1, 0.04),
        truth={"source": "partner-feed"},
    ),
    Kind(
        name="safety-guardrail",
        summary="a guardrail is set too strictly, and blocks harmless requests of all sources",
        changes={"guardrail_share": {"toxicity": 0.5}},
        shown=Shown("safety/event_ratio", 0.2, 0.04),
        truth={"guardrail": "toxicity"},
        look_alike_of="safety-source",
    ),
    Kind(
        name="certificate-ending",
        summary="the certificate of the site ends in 5 days",
        changes={"certificate_s": 5 * 86_400.0},
        shown=Shown("tls/expires_in", 600_000, 2_000_000, below=True),
        truth={"instance": "https://shop.example"},
    ),
    Kind(
        name="log-disk-filling",
        summary="the service writes a hundred times as much log, and the disk of the logs fills",
        changes={"disk_used": 0.93, "log_bytes": 4_000_000.0},
        shown=Shown("logs/growth", 2_000_000, 60_000),
        truth={"mountpoint": "/var/log", "instance": "shop-1"},
    ),
    Kind(
        name="flag-wrong",
        summary="a feature flag is on that must be off until the migration is done",
        changes={"flags": {"read-from-new-orders": True}},
        shown=Shown("flags/state", 0.5, 0, (("flag", "read-from-new-orders"),)),
        truth={"flag": "read-from-new-orders"},
    ),
    Kind(
        name="credential-rotated",
        summary="a credential was changed in the other system, and the service uses the old one",
        changes={"refused": {"payments": 1.0}},
        shown=Shown("login/failure_ratio", 0.8, 0),
        truth={"login": "shop_app", "system": "payments"},
    ),
)


def start(kind: Kind, access: Access, _: int) -> dict[str, Any]:
    """Change the conditions, and wait until Prometheus shows it; return what must be found."""
    if not access.service_ports:
        raise SandboxError(
            f"the fault {kind.name} needs the service side of the sandbox",
            where=str(access.home.path),
            next_step="run `rbkernel sandbox down`, then `rbkernel sandbox up --with service`",
        )
    changes, truth = dict(kind.changes), dict(kind.truth)
    if kind.deploys == "before":
        changes[_DEPLOYED] = time.time()
    conditions.change(access.home, kind.name, changes)
    _wait(access, kind.shown, kind.summary, shows=True)
    if kind.deploys == "after":
        changes[_DEPLOYED] = time.time()
        conditions.change(access.home, kind.name, changes)
        deployed = (("version", str(truth["version"])),)
        of_version = Shown("http/request_rate_by_version", 10, 0, deployed)
        _wait(access, of_version, "the new version has requests", shows=True)
    if _DEPLOYED in changes:
        truth[_DEPLOYED] = changes[_DEPLOYED]
    if kind.trace:
        truth["trace_id"] = _trace(kind, access)
    return {"service": SERVICE, **truth}


def stop(kind: Kind, access: Access, _: int) -> None:
    """Take the changes back, and wait until Prometheus no longer shows them."""
    conditions.change(access.home, kind.name, {})
    if access.service_ports:
        _wait(access, kind.shown, f"no longer: {kind.summary}", shows=False)


def _trace(kind: Kind, access: Access) -> str:
    """Return the id of the newest trace of a request of the fault."""
    url = f"http://{HOST}:{access.service_ports['shop']}{STAND_INS['jaeger']}/api/traces"
    found: list[str] = []

    def reached() -> bool:
        asked = {"service": SERVICE, "limit": "1", **kind.trace}
        answer = httpx.get(url, params=asked).raise_for_status().json()
        found[:] = [one["traceID"] for one in answer["data"]]
        return bool(found)

    waiting.until_true(reached, what=f"a trace of: {kind.summary}", timeout_s=_PATIENCE_S)
    return found[0]


def _wait(access: Access, shown: Shown, what: str, *, shows: bool) -> None:
    def reached() -> bool:
        time.sleep(_BETWEEN_S)
        found = _values(access, shown)
        sign = -1 if shown.below else 1
        if shows:
            return any(sign * value > sign * shown.limit for value in found)
        return bool(found) and all(sign * value <= sign * shown.calm for value in found)

    waiting.until_true(reached, what=what, timeout_s=_PATIENCE_S)


def _values(access: Access, shown: Shown) -> list[float]:
    """Ask the Prometheus of the sandbox; return the values of the series with the labels.

    Without an answer, there are none, and the caller asks again.
    """
    query = catalogue.queries()[shown.query]
    text = values.inserted(query.text, dict.fromkeys(query.takes, SERVICE))
    url = f"http://{HOST}:{access.service_ports['prometheus']}/api/v1/query"
    asked = {"query": catalogue.with_window(text, RATE_WINDOW)}
    try:
        result = httpx.get(url, params=asked).raise_for_status().json()["data"]["result"]
    except httpx.HTTPError:
        return []
    return [float(one["value"][1]) for one in result if {*shown.labels} <= {*one["metric"].items()}]
