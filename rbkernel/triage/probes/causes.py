"""``rb.causes``: judge the possible causes of a problem of a service, from answers of Prometheus.

Each function asks named queries, and shows one finding for each possible cause. The one that holds
has the verdict of the problem, and names the culprit in ``which``; the others are ok (not the
cause) or unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.assessed import Assessed
from rbkernel.checks.frames import Frame
from rbkernel.config.quantities import Measured, Seconds
from rbkernel.model import Finding, Verdict
from rbkernel.sources.monitoring.causes import approvals as of_approvals
from rbkernel.sources.monitoring.causes import cost as of_cost
from rbkernel.sources.monitoring.causes import latency as of_latency
from rbkernel.sources.monitoring.causes import provider as of_provider
from rbkernel.sources.monitoring.causes import safety as of_safety
from rbkernel.sources.monitoring.causes.cost import Spending
from rbkernel.sources.monitoring.causes.figures import group
from rbkernel.sources.monitoring.causes.latency import Times
from rbkernel.sources.monitoring.causes.suspect import Suspect, findings
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage
from rbkernel.triage.probes.monitoring import Days, promql

# decisions are compared over so many times of silence
_SILENCES = 16
# a model that failed in so many s before now has recovered only if it has calls
_RECENT_S = 3600.0
# a model to return to must have answered in so many s before now
_LAST_CALLS_S = 7200.0


class Causes(Assessed):
    """The findings on the possible causes of a problem, by their names.

    Parameters
    ----------
    frame
        The figures of those who may be the culprit.
    findings
        Name of the cause → its finding.
    instead
        What to use in place of the culprit, such as a model; empty if that is not known.
    """

    def __init__(
        self, frame: pd.DataFrame, findings: Mapping[str, Finding], instead: str = ""
    ) -> None:
        super().__init__(frame, findings)
        self.instead = instead


@checked
def approvals(
    tasks: Finding,
    age: Finding,
    *,
    waiting: Frame,
    oldest: Frame,
    service: str,
    source: str = "",
    until: str = "",
    baseline_days: Days = 7,
    queue: str = "",
    silent_s: Seconds = 900.0,
) -> Causes:
    """Judge why tasks wait for a human.

    Asks for ``@hitl/created_rate``, ``@hitl/created_by_agent``, ``@hitl/decided_rate`` and
    ``@hitl/decided_by_approver``, and shows the answers.

    Parameters
    ----------
    tasks, age
        The findings on the number of tasks and on the age of the oldest. If both are ok, there is
        no cause.
    waiting, oldest
        The answers to ``@hitl/waiting`` and ``@hitl/oldest_age``.
    service, source, until, baseline_days
        As for `promql`.
    queue
        The queue; by default, the one with the most tasks, or with the oldest if only its age is
        wrong.
    silent_s
        An approver who has decided nothing for this long, in s, is absent, if three decisions or
        more were to be expected.

    Returns
    -------
    Causes
        ``loop`` (an agent), ``absent`` (approvers), ``more`` (the queue grows by ordinary work).
        The frame has the tasks that each agent creates.
    """
    asked = partial(promql, source=source, until=until, service=service)
    agents = asked("@hitl/created_by_agent", baseline_days=baseline_days)
    suspects = of_approvals.judged(
        waiting=waiting,
        oldest=oldest,
        created=asked("@hitl/created_rate", baseline_days=baseline_days),
        decided=asked("@hitl/decided_rate", baseline_days=baseline_days),
        agents=agents,
        approvers=asked("@hitl/decided_by_approver", last_s=_SILENCES * silent_s),
        queue=queue,
        by_age=age.wrong and not tasks.wrong,
        silent_s=silent_s,
    )
    return _assessed(agents, suspects, tasks, age)


@checked
def cost(
    rise: Finding,
    *,
    service: str,
    source: str = "",
    until: str = "",
    baseline_days: Days = 7,
) -> Causes:
    """Judge why models cost more than usual.

    Asks for ``@llm/cost_per_hour_by_feature``, ``…_by_tenant`` and ``…_by_model``,
    ``@llm/request_rate``, ``@agent/steps_per_run``, ``@llm/retries_per_request``,
    ``@llm/tokens_per_request`` and ``@llm/error_ratio``, and shows the answers.

    Parameters
    ----------
    rise
        The finding on the cost. If it is ok, there is no cause.
    service, source, until, baseline_days
        As for `promql`.

    Returns
    -------
    Causes
        ``loop`` (a feature), ``switch`` (a model; ``instead`` is the one of before), ``tenant``,
        ``larger`` (a feature whose requests are larger), ``traffic`` (more requests, no fault). The
        frame has the cost of each feature.
    """
    asked = partial(
        promql, source=source, until=until, baseline_days=baseline_days, service=service
    )
    features = asked("@llm/cost_per_hour_by_feature")
    errors = promql(
        "@llm/error_ratio", source=source, until=until, last_s=_LAST_CALLS_S, service=service
    )
    spent = Spending(
        features=group(features, "feature"),
        tenants=group(asked("@llm/cost_per_hour_by_tenant"), "tenant"),
        models=group(asked("@llm/cost_per_hour_by_model"), "model"),
        requests=group(asked("@llm/request_rate"), "model"),
        steps=group(asked("@agent/steps_per_run"), "feature"),
        retries=group(asked("@llm/retries_per_request"), "feature"),
        tokens=group(asked("@llm/tokens_per_request"), "feature"),
        failing=of_cost.last_failing(errors),
    )
    return _assessed(features, of_cost.suspects(spent), rise)


@checked
def safety(
    more: Finding,
    *,
    events: Frame,
    service: str,
    source: str = "",
    until: str = "",
    baseline_days: Days = 7,
    guardrail: str = "",
    range_s: Seconds = 7200.0,
) -> Causes:
    """Judge why guardrails trigger more often than usual.

    Asks for ``@safety/events_by_source``, ``@safety/reviews``,
    ``@safety/event_ratio`` over a range and ``@deploy/started_at``, and shows the answers.

    Parameters
    ----------
    more
        The finding on the share of checks that trigger. If it is ok, there is no cause.
    events
        The answer to ``@safety/event_ratio``, with baselines.
    service, source, until, baseline_days
        As for `promql`.
    guardrail
        The guardrail; by default, the one furthest above its usual share.
    range_s
        How far to look back, in s, to compare before and after the newest deployment.

    Returns
    -------
    Causes
        ``source`` (one source), ``deployed`` (a guardrail with false positives since a deployment),
        ``mistuned`` (one with false positives), ``wave`` (many sources, and reviews confirm the
        events). The frame has the events of each source.
    """
    asked = partial(promql, source=source, until=until, service=service)
    sources = asked("@safety/events_by_source", baseline_days=baseline_days)
    suspects = of_safety.judged(
        events=events,
        sources=sources,
        reviews=asked("@safety/reviews"),
        course=asked("@safety/event_ratio", last_s=range_s),
        deployed=asked("@deploy/started_at"),
        guardrail=guardrail,
    )
    return _assessed(sources, suspects, more)


@checked
def provider(
    failed: Finding,
    *,
    errors: Frame,
    service: str,
    source: str = "",
    until: str = "",
    tolerated_pct: Measured = 5.0,
    status: Finding | None = None,
    fallback: str = "",
) -> Causes:
    """Judge why calls of models fail: a provider, one of its models, or we.

    Asks for ``@llm/request_rate``, ``@llm/rate_limited_ratio`` and
    ``@llm/cost_per_hour_by_model``, and shows the answers.

    Parameters
    ----------
    failed
        The finding on failed calls. If it is ok, there is no cause.
    errors
        The answer to ``@llm/error_ratio``.
    service, source, until
        As for `promql`.
    tolerated_pct
        The share of failed calls up to which a model is well, in %.
    status
        The finding of `rb.http` on the provider's status page; None if there is none. A page that
        reports no problem may be late: it blames nobody.
    fallback
        The model that takes over; by default, the busiest one that answers, to be confirmed.

    Returns
    -------
    Causes
        ``quota``, ``ours``, ``total`` (a provider), ``model``, ``partial``; ``instead`` is a model
        that answers. ``silent`` is unknown while a model that failed in the last hour has no calls,
        also if ``failed`` is ok. The frame has the failed calls of each model.
    """
    asked = partial(promql, source=source, until=until, service=service)
    requests = asked("@llm/request_rate")
    suspects = of_provider.judged(
        errors=errors,
        requests=requests,
        limited=asked("@llm/rate_limited_ratio", unit="%"),
        cost=asked("@llm/cost_per_hour_by_model"),
        tolerated=tolerated_pct / 100,
        reported_well=None if status is None or status.unknown else status.ok,
        fallback=fallback,
    )
    silent = of_provider.silent(
        errors=asked("@llm/error_ratio", unit="%", last_s=_RECENT_S),
        asked=asked("@llm/request_rate", last_s=_RECENT_S),
        requests=requests,
        tolerated=tolerated_pct / 100,
    )
    return _assessed(errors, suspects, failed, always={"silent": silent})


@checked
def latency(
    slow: Finding,
    *,
    service: str,
    source: str = "",
    until: str = "",
    baseline_days: Days = 7,
    models: bool = True,
    upstreams: bool = True,
) -> Causes:
    """Judge why requests are slow.

    Asks for ``@http/latency_p95``, ``@http/latency_p95_by_route``, ``@llm/latency_p95``,
    ``@upstream/latency_p95``, ``@db/latency_p95`` and ``@http/request_rate``, and shows the
    answers.

    Parameters
    ----------
    slow
        The finding on the latency. If it is ok, there is no cause.
    service, source, until, baseline_days
        As for `promql`.
    models, upstreams
        Whether the service calls models, and other systems. What is not measured is unknown, and
        then more traffic is no cause, either; what the service does not call is neither asked for
        nor unknown.

    Returns
    -------
    Causes
        ``provider`` (of models), ``upstream`` (another system), ``database``, ``traffic``. The
        frame has the latency of each route.
    """
    asked = partial(
        promql, source=source, until=until, baseline_days=baseline_days, service=service
    )
    times = Times(
        requests=group(asked("@http/latency_p95"), ""),
        models=of_latency.slowest(asked("@llm/latency_p95"), "provider")
        if models
        else of_latency.NOT_CALLED,
        systems=of_latency.slowest(asked("@upstream/latency_p95"), "upstream")
        if upstreams
        else of_latency.NOT_CALLED,
        queries=group(asked("@db/latency_p95"), ""),
        rate=group(asked("@http/request_rate"), ""),
    )
    return _assessed(asked("@http/latency_p95_by_route"), of_latency.suspects(times), slow)


def _assessed(
    frame: pd.DataFrame,
    suspects: Mapping[str, Suspect],
    *problem: Finding,
    always: Mapping[str, Suspect] | None = None,
) -> Causes:
    """Show the findings on the suspects, which have the verdict of the problem.

    Those of ``always`` are judged without a problem, too.
    """
    verdict, topic = Verdict.worst(one.verdict for one in problem), triage().run.runbook
    judged = findings(suspects, verdict, topic)
    judged |= {name: one.finding(verdict, topic) for name, one in (always or {}).items()}
    instead = next((one.instead for one in suspects.values() if one.holds), "")
    return Causes(frame, {name: keep(one) for name, one in judged.items()}, instead)
