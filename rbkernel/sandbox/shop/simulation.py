"""Simulate the requests of the shop, and count what they do. Pure, with a fixed seed.

Each tick of the clock has so many requests, calls of models, runs of agents and tasks for humans as
the time that it stands for. What they do is drawn at random; how long they take is only counted.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Mapping

from rbkernel.sandbox.shop.conditions import VERSION, VERSION_BEFORE, Conditions
from rbkernel.sandbox.shop.metrics import Counters, Series
from rbkernel.sandbox.shop.requests import Answered, Call, Kept

SERVICE = "shop"
SEED = 7
DAY_S = 86_400
#: Requests per s of each route, its method, and the upstream that it calls.
ROUTES: Mapping[str, tuple[float, str, str]] = {
    "/search": (16.0, "GET", "catalogue"),
    "/orders": (12.0, "GET", ""),
    "/checkout": (8.0, "POST", "payments"),
    "/account": (4.0, "GET", ""),
}
UPSTREAMS = ("catalogue", "payments")
POOL = 20
# of a good day
_BAD_SHARE, _CLIENT_SHARE, _TIMEOUT_SHARE = 0.0004, 0.01, 0.0004
#: Calls per s of each feature; its usual and its expensive model, as provider and model.
FEATURES = {
    "chat": (4.0, ("northwind", "nw-small"), ("northwind", "nw-large")),
    "search-answers": (2.0, ("contoso", "ct-mini"), ("contoso", "ct-mini")),
}
AGENT = "support-agent"
_AGENT_RUNS, _AGENT_STEPS = 0.5, 4
_AGENT_MODEL = ("northwind", "nw-small")
# dollars for 1000 tokens of input, and of output
_PRICES = {"nw-small": (0.0005, 0.0015), "nw-large": (0.01, 0.03), "ct-mini": (0.0004, 0.0012)}
TENANTS = ("acme", "globex", "initech")
#: Tasks for a human per s of each agent, and the queue that gets them.
AGENTS = {"refund-agent": (0.5, "refunds"), "claims-agent": (0.3, "claims")}
#: Approvers of each queue, and how many tasks per s each of them can decide.
APPROVERS = {"refunds": ("ann", "ben"), "claims": ("cleo",)}
_DECISIONS = {"ann": 0.4, "ben": 0.2, "cleo": 0.4}
# more tasks wait only because of a fault; s that the old ones have waited
_MOST_WAITING, _OLD_S = 20, 10_800.0
GUARDRAILS = {"pii": 0.02, "prompt-injection": 0.02, "toxicity": 0.02}
# checks per s of each guardrail: so many that a few events by chance are no rise of a source
_CHECKS = 60
SOURCES = {"web": 0.6, "api": 0.3, "partner-feed": 0.1}
LOGINS = (("shop_app", "payments"), ("shop_app", "mail"))
FLAGS = {"new-checkout": True, "ai-answers": True, "read-from-new-orders": False}
LOG = "/var/log/shop/shop.log"
HOST_NAME = "shop-1"
# a request that gets no connection of the pool
_NO_CONNECTION = Call(
    "postgres",
    "wait for a connection of the pool",
    5.0,
    error=f"no connection of the pool within 5 s: {POOL} of {POOL} are in use",
)


class Simulation:
    """The shop, tick by tick; `counters` is what it has counted, `gauges` what it is now.

    ``kept`` gets the requests, for traces and log lines.
    """

    def __init__(
        self, counters: Counters, *, now: float, seed: int = SEED, kept: Kept | None = None
    ) -> None:
        self.counters = counters
        self.kept = kept
        self._now = now
        self._random = random.Random(seed)  # noqa: S311 - traffic, not secrets
        self._begun = now
        self._left: dict[str, float] = defaultdict(float)
        self._tasks: dict[str, deque[float]] = {queue: deque() for queue in APPROVERS}
        self._used = 0.0
        for system in (system for _, system in LOGINS):
            self._count("login_failures_total", 0, login="shop_app", system=system)

    def tick(self, seconds: float, now: float, conditions: Conditions) -> None:
        """Simulate what happens in these seconds, which end now."""
        self._now = now
        self._requests(seconds, conditions)
        self._models(seconds, conditions)
        self._humans(seconds, now, conditions)
        self._safety(seconds, conditions)
        self._count("log_bytes_total", conditions.log_bytes * seconds, path=LOG)
        busy = min(0.97, 0.3 * conditions.traffic) * seconds
        for mode, spent_s in {"user": busy, "idle": seconds - busy}.items():
            self._count("node_cpu_seconds_total", spent_s, instance=HOST_NAME, cpu="0", mode=mode)
        for login, system in LOGINS:
            refused = conditions.refused.get(system, 0.0)
            for _ in range(self._times(f"login {system}", 1.0 * seconds)):
                name = "login_failures_total" if self._chance(refused) else "login_success_total"
                self._count(name, login=login, system=system)

    def request(self, route: str, conditions: Conditions) -> int:
        """Simulate one request, and return the code of its answer."""
        version = VERSION
        if conditions.deployed_at is not None and self._chance(0.5):
            version = conditions.new_version
        _, method, upstream = ROUTES[route]
        answered = self._answer(route, version, upstream, conditions)
        code, took_s = answered.code, answered.took_s
        self._count(
            "http_requests_total", version=version, route=route, method=method, code=str(code)
        )
        self._observe("http_request_duration_seconds", took_s, version=version, route=route)
        if self.kept:
            operation = f"{method} {route}"
            of = {"service": SERVICE, "operation": operation, "version": version}
            self.kept.add(answered, at=self._now, **of)
        return code

    def _requests(self, seconds: float, conditions: Conditions) -> None:
        for route, (per_s, _, _) in ROUTES.items():
            for _ in range(self._times(route, per_s * conditions.traffic * seconds)):
                self.request(route, conditions)
        busy_s = 0.03 * conditions.database_slower * 40 * conditions.traffic
        self._used = POOL if conditions.pool_timeouts else min(POOL - 1.0, 2 + busy_s)
        self._count("db_pool_timeouts_total", 0)

    def _answer(self, route: str, version: str, upstream: str, conditions: Conditions) -> Answered:
        if self._chance(conditions.pool_timeouts):
            self._count("db_pool_timeouts_total")
            return Answered(code=503, took_s=5.0, calls=[_NO_CONNECTION])
        query_s = self._about(0.012) * conditions.database_slower
        self._observe("db_query_duration_seconds", query_s)
        calls = [Call("postgres", f"SELECT {route[1:]}", query_s)] * 2
        # more requests than the instances can handle wait for each other
        waited_s = 0.05 * max(0.0, conditions.traffic - 3) ** 2
        took_s = self._about(0.04) + 2 * query_s + self._about(waited_s)
        if upstream:
            outcome, call_s = self._called(upstream, conditions)
            took_s += call_s
            calls.append(_call(upstream, outcome, call_s))
            if route == "/search":  # a part of the answer comes from a model
                model_s = self._about(conditions.provider_slow_s.get("contoso", 0.0))
                took_s += model_s
                calls.append(Call("contoso", "contoso: POST /chat/completions", model_s))
            if outcome != "ok":
                code = 504 if outcome == "timeout" else 502
                return Answered(code=code, took_s=took_s, calls=calls)
        if self._chance(conditions.client_errors.get(route, _CLIENT_SHARE)):
            return Answered(code=400, took_s=took_s, calls=calls)
        bad = conditions.version_errors if version == conditions.new_version else 0.0
        if self._chance(max(bad, _BAD_SHARE)):
            error = f"{route[1:]}: KeyError: 'discount'"
            return Answered(code=500, took_s=took_s, calls=calls, error=error)
        return Answered(code=200, took_s=took_s, calls=calls)

    def _called(self, upstream: str, conditions: Conditions) -> tuple[str, float]:
        failed = self._chance(conditions.upstream_errors.get(upstream, _TIMEOUT_SHARE))
        took_s = self._about(0.06) + self._about(conditions.upstream_slow_s.get(upstream, 0.0))
        outcome = ("timeout" if self._chance(0.5) else "error") if failed else "ok"
        self._count("upstream_requests_total", upstream=upstream, outcome=outcome)
        self._observe("upstream_request_duration_seconds", took_s, upstream=upstream)
        return outcome, took_s

    def _models(self, seconds: float, conditions: Conditions) -> None:
        for feature, (per_s, usual, expensive) in FEATURES.items():
            model = expensive if conditions.model_switched and feature == "chat" else usual
            for tenant in TENANTS:
                factor = conditions.tenant_calls.get(tenant, 1.0)
                calls = per_s / len(TENANTS) * factor * seconds
                for _ in range(self._times(f"{feature} {tenant}", calls)):
                    self._model(feature, tenant, model, conditions)
        for tenant in TENANTS:
            runs = _AGENT_RUNS / len(TENANTS) * seconds
            for _ in range(self._times(f"agent {tenant}", runs)):
                steps = max(1, round(self._about(_AGENT_STEPS) * conditions.agent_steps))
                self._count("agent_runs_total", feature=AGENT, tenant=tenant, outcome="ok")
                self._count("agent_steps_total", steps, feature=AGENT, tenant=tenant)
                for _ in range(steps):
                    self._model(AGENT, tenant, _AGENT_MODEL, conditions)

    def _model(
        self, feature: str, tenant: str, model: tuple[str, str], conditions: Conditions
    ) -> None:
        provider, name = model
        of_model = {"provider": provider, "model": name}
        share = conditions.provider_errors.get(provider, 0.002)
        slow_s = conditions.provider_slow_s.get(provider, 0.0)
        self._count("llm_retries_total", 0, feature=feature, tenant=tenant)
        for _ in range(3):
            failed = self._chance(share)
            outcome = self._random.choice(("error", "timeout", "rate_limited")) if failed else "ok"
            who = {"feature": feature, "tenant": tenant, **of_model}
            self._count("llm_requests_total", **who, outcome=outcome)
            took_s = self._about(0.8) + self._about(slow_s)
            self._observe("llm_request_duration_seconds", took_s, feature=feature, **of_model)
            if outcome == "ok":
                self._paid(who, name)
                return
            self._count("llm_retries_total", feature=feature, tenant=tenant)

    def _paid(self, who: Mapping[str, str], model: str) -> None:
        tokens = {"input": round(self._about(900)), "output": round(self._about(250))}
        for direction, number in tokens.items():
            self._count("llm_tokens_total", number, **who, direction=direction)
        of_input, of_output = _PRICES[model]
        cost = (tokens["input"] * of_input + tokens["output"] * of_output) / 1000
        self._count("llm_cost_dollars_total", cost, **who)

    def _humans(self, seconds: float, now: float, conditions: Conditions) -> None:
        for agent, (per_s, queue) in AGENTS.items():
            factor = conditions.agent_tasks.get(agent, 1.0)
            for _ in range(self._times(agent, per_s * factor * seconds)):
                self._tasks[queue].append(now)
                self._count("hitl_tasks_created_total", queue=queue, agent=agent)
        for queue, approvers in APPROVERS.items():
            while not conditions.agent_tasks and len(self._tasks[queue]) > _MOST_WAITING:
                self._tasks[queue].pop()  # a fault that is healed leaves nothing behind
            for approver in approvers:
                can = 0.0 if approver in conditions.absent else _DECISIONS[approver] * seconds
                self._count("hitl_tasks_decided_total", 0, **_decided(queue, approver))
                for _ in range(self._times(approver, can)):
                    if self._tasks[queue]:
                        self._tasks[queue].popleft()
                        self._count("hitl_tasks_decided_total", **_decided(queue, approver))

    def _safety(self, seconds: float, conditions: Conditions) -> None:
        for guardrail, share in GUARDRAILS.items():
            wrong = conditions.guardrail_share.get(guardrail, 0.0)
            for _ in range(self._times(guardrail, _CHECKS * seconds)):
                self._count("guardrail_checks_total", guardrail=guardrail)
                for source, part in SOURCES.items():
                    factor = conditions.safety_sources.get(source, 1.0)
                    if self._chance(share * part * factor):
                        self._event(guardrail, source, "confirmed" if factor > 1 else "")
                if self._chance(wrong):
                    self._event(guardrail, self._random.choice([*SOURCES]), "false_positive")

    def _event(self, guardrail: str, source: str, reviewed: str) -> None:
        labels = {"guardrail": guardrail, "source": source, "verdict": "blocked"}
        self._count("safety_events_total", **labels)
        outcome = reviewed or ("false_positive" if self._chance(0.1) else "confirmed")
        of = {"guardrail": guardrail, "source": source}
        self._count("safety_reviews_total", **of, outcome=outcome)

    def gauges(self, now: float, conditions: Conditions) -> dict[Series, float]:
        """Return what the shop is now."""
        deployed = {VERSION_BEFORE: self._begun - 9 * DAY_S, VERSION: self._begun - 2 * DAY_S}
        running = [VERSION]
        if conditions.deployed_at is not None:
            deployed[conditions.new_version] = conditions.deployed_at
            running.append(conditions.new_version)
        size = 20e9
        found = {
            _series("db_pool_connections", state="in_use"): round(self._used),
            _series("db_pool_connections", state="idle"): POOL - round(self._used),
            _series("db_pool_connections", state="max"): POOL,
            **{_series("build_info", version=one): 1 for one in running},
            **{_series("deployed_timestamp_seconds", version=v): at for v, at in deployed.items()},
            **{
                _series("feature_flag_enabled", flag=flag): float(conditions.flags.get(flag, usual))
                for flag, usual in FLAGS.items()
            },
            _series("outbox_pending"): self._random.randrange(5),
            _series("outbox_oldest_age_seconds"): self._random.random(),
        }
        for queue, tasks in self._tasks.items():
            old = conditions.waiting.get(queue, 0)
            found[_series("hitl_tasks", queue=queue)] = len(tasks) + old
            age = _OLD_S if old else now - tasks[0] if tasks else 0.0
            found[_series("hitl_oldest_task_age_seconds", queue=queue)] = age
        host = (("instance", HOST_NAME), ("mountpoint", "/var/log"))
        site = (("instance", "https://shop.example"),)
        end = self._begun + conditions.certificate_s
        found[Series("probe_ssl_earliest_cert_expiry", site)] = end
        found[Series("node_filesystem_size_bytes", host)] = size
        found[Series("node_filesystem_avail_bytes", host)] = size * (1 - conditions.disk_used)
        return {series: float(value) for series, value in found.items()}

    def _times(self, what: str, expected: float) -> int:
        """Return how often something happens: on average ``expected``, carried between ticks."""
        whole = self._left[what] + expected
        self._left[what] = whole % 1
        return int(whole)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _about(self, value: float) -> float:
        return value * self._random.uniform(0.5, 1.5)

    def _count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        self.counters.add(name, amount, service=SERVICE, **labels)

    def _observe(self, name: str, seconds: float, /, **labels: str) -> None:
        self.counters.observe(name, seconds, service=SERVICE, **labels)


def _series(name: str, **labels: str) -> Series:
    return Series(name, (("service", SERVICE), *labels.items()))


def _call(upstream: str, outcome: str, took_s: float) -> Call:
    """Return the call of an upstream; of one that does not answer, the upstream has no span."""
    operation = f"{upstream}: POST /v1"
    if outcome == "ok":
        return Call(upstream, operation, took_s, status=200)
    if outcome == "timeout":
        return Call(upstream, operation, took_s, error=f"{upstream}: no answer in time")
    said, theirs = f"{upstream} answered 500", "its own database does not answer"
    return Call(upstream, operation, took_s, status=500, error=said, theirs=theirs)


def _decided(queue: str, approver: str) -> dict[str, str]:
    return {"queue": queue, "approver": approver, "outcome": "approved"}
