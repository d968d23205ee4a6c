"""What Prometheus knows of services that call models, each with a trouble of its own.

Every scenario is a service by that name, so that one Prometheus serves all. Its rates are those of
usual until `SINCE_S` before `AT`, and then those of now; each of the `DAYS` days before had the
usual ones at this hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.monitoring import AT

DAYS = 3
#: How long the trouble has lasted, and how far back today's values go, in s.
SINCE_S, TODAY_S = 1500, 4500
_DAY_S, _WINDOW_S, _STEP_S = 86_400, 600, 60

#: Labels as in PromQL → the value as usual and now.
Figures = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Scenario:
    """A service: the rates of its counters per s, and its gauges; only of today without history."""

    counters: Mapping[str, Figures]
    gauges: Mapping[str, Figures] = field(default_factory=dict)
    history: bool = True


def exposed(scenarios: Mapping[str, Scenario]) -> str:
    """Return the values of all scenarios, in the format of OpenMetrics."""
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for service, one in scenarios.items():
        for kind, metrics in (("counter", one.counters), ("gauge", one.gauges)):
            for metric, figures in metrics.items():
                for labels, (usual, now) in figures.items():
                    name = metric + ("_total" if kind == "counter" else "")
                    series = f'{name}{{service="{service}"{"," if labels else ""}{labels}}}'
                    samples = _samples(usual, now, history=one.history, adds_up=kind == "counter")
                    families[metric, kind] += [f"{series} {v:.10g} {at:.0f}" for at, v in samples]
    lines = [
        line for (name, kind), some in families.items() for line in (f"# TYPE {name} {kind}", *some)
    ]
    return "\n".join([*lines, "# EOF", ""])


def _samples(
    usual: float, now: float, *, history: bool, adds_up: bool
) -> Iterator[tuple[float, float]]:
    begins = [AT - day * _DAY_S - _WINDOW_S for day in range(DAYS, 0, -1)] if history else []
    for begin, length in [*((one, _WINDOW_S) for one in begins), (AT - TODAY_S, TODAY_S)]:
        total = 0.0
        for passed in range(0, length + 1, _STEP_S):
            at = begin + passed
            per_s = now if at > AT - SINCE_S else usual
            total += per_s * _STEP_S
            yield at, total if adds_up else per_s


def approvals(
    agents: Figures, approvers: Figures, tasks: float, oldest: float, *, history: bool = True
) -> Scenario:
    """A queue `refunds` with its agents and approvers, and a small queue that is well."""
    return Scenario(
        {
            "hitl_tasks_created": {
                **{f'queue="refunds",agent="{name}"': one for name, one in agents.items()},
                'queue="mail",agent="writer"': (0.02, 0.02),
            },
            "hitl_tasks_decided": {
                f'queue="refunds",approver="{name}",outcome="approved"': one
                for name, one in approvers.items()
            },
        },
        {
            "hitl_tasks": {'queue="refunds"': (tasks, tasks), 'queue="mail"': (3, 3)},
            "hitl_oldest_task_age_seconds": {
                'queue="refunds"': (oldest, oldest),
                'queue="mail"': (60, 60),
            },
        },
        history,
    )


@dataclass(frozen=True)
class Calls:
    """Calls of a model by a feature for a tenant: how many per s, and what each of them takes."""

    feature: str
    tenant: str
    model: str
    per_s: float
    dollars: float
    tokens: float = 1000
    retries: float = 0.05
    steps: float = 4
    provider: str = "north"


def spending(usual: Iterable[Calls], now: Iterable[Calls], *, history: bool = True) -> Scenario:
    """A service that spends money on models, as usual and now."""
    both: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for place, calls in enumerate((usual, now)):
        for one in calls:
            tenant = f'feature="{one.feature}",tenant="{one.tenant}"'
            model = f'{tenant},provider="{one.provider}",model="{one.model}"'
            runs = one.per_s / one.steps
            for metric, labels, rate in (
                ("llm_requests", f'{model},outcome="ok"', one.per_s),
                ("llm_cost_dollars", model, one.per_s * one.dollars),
                ("llm_tokens", f'{model},direction="input"', one.per_s * one.tokens),
                ("llm_retries", tenant, one.per_s * one.retries),
                ("agent_runs", f'{tenant},outcome="ok"', runs),
                ("agent_steps", tenant, runs * one.steps),
            ):
                both[metric][labels][place] += rate
    figures = {
        metric: {labels: (one[0], one[1]) for labels, one in some.items()}
        for metric, some in both.items()
    }
    return Scenario(figures, history=history)


def guardrails(
    sources: Figures, false_positives: float | None, *, deployed: bool = False
) -> Scenario:
    """A guardrail `jailbreak` with its events by source, and one that is well."""
    reviews = {
        f'guardrail="jailbreak",source="{name}",outcome="{outcome}"': (0.01 * share, 0.1 * share)
        for name in sources
        for outcome, share in (
            ("false_positive", false_positives or 0.0),
            ("confirmed", 1 - (false_positives or 0.0)),
        )
    }
    return Scenario(
        {
            "guardrail_checks": {'guardrail="jailbreak"': (10, 10), 'guardrail="pii"': (10, 10)},
            "safety_events": {
                **{
                    f'guardrail="jailbreak",source="{name}",verdict="blocked"': one
                    for name, one in sources.items()
                },
                'guardrail="pii",source="u1",verdict="flagged"': (0.02, 0.02),
            },
            "safety_reviews": {} if false_positives is None else reviews,
        },
        {
            "deployed_timestamp_seconds": {
                'version="41"': (AT - 90_000, AT - 90_000),
                **({'version="42"': (AT - SINCE_S,) * 2} if deployed else {}),
            }
        },
    )


def provider(**failing: float | tuple[float, str]) -> Scenario:
    """Models by ``provider__model`` → the share of their calls that fails now, and how."""
    requests: dict[str, tuple[float, float]] = {}
    cost: dict[str, tuple[float, float]] = {}
    for name, how in failing.items():
        share, outcome = how if isinstance(how, tuple) else (how, "error")
        of, _, model = name.partition("__")
        labels = f'feature="chat",tenant="a",provider="{of}",model="{model}"'
        requests[f'{labels},outcome="ok"'] = (1, 1 - share)
        requests[f'{labels},outcome="{outcome}"'] = (0, share)
        price = 0.03 if model == "large" else 0.01
        cost[labels] = (price, price * (1 - share))
    return Scenario({"llm_requests": requests, "llm_cost_dollars": cost})


def replaced() -> Scenario:
    """A model that failed until the fallback took all its calls."""
    labels = 'feature="chat",tenant="a",provider="{}",model="{}",outcome="{}"'
    requests = {
        labels.format("north", "small", "error"): (1.0, 0.0),
        labels.format("south", "other", "ok"): (0.0, 1.0),
    }
    return Scenario({"llm_requests": requests})
