"""``rb.causes``: judge the possible causes of a problem of a service, from answers of Prometheus.

Each function takes the results of `rb.promql`, and shows one finding for each possible cause. The
one that holds has the verdict of the problem, and names the culprit in ``which``; the others are ok
(not the cause) or unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks.assessed import Assessed
from rbkernel.checks.frames import Frame
from rbkernel.config.quantities import Measured, Seconds
from rbkernel.model import Finding, Verdict
from rbkernel.sources.monitoring.causes import approvals as of_approvals
from rbkernel.sources.monitoring.causes import cost as of_cost
from rbkernel.sources.monitoring.causes import provider as of_provider
from rbkernel.sources.monitoring.causes import safety as of_safety
from rbkernel.sources.monitoring.causes.cost import Spending
from rbkernel.sources.monitoring.causes.figures import group
from rbkernel.sources.monitoring.causes.suspect import Suspect, findings
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage


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
    created: Frame,
    decided: Frame,
    agents: Frame,
    approvers: Frame,
    queue: str = "",
    silent_s: Seconds = 900.0,
) -> Causes:
    """Judge why tasks wait for a human.

    Parameters
    ----------
    tasks, age
        The findings on the number of tasks and on the age of the oldest. If both are ok, there is
        no cause.
    waiting, oldest, decided
        ``@hitl/waiting``, ``@hitl/oldest_age`` and ``@hitl/decided_rate``.
    created, agents
        ``@hitl/created_rate`` and ``@hitl/created_by_agent``, with baselines.
    approvers
        ``@hitl/decided_by_approver`` over a range, of at least two times ``silent_s``.
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
    """
    suspects = of_approvals.judged(
        waiting=waiting,
        oldest=oldest,
        created=created,
        decided=decided,
        agents=agents,
        approvers=approvers,
        queue=queue,
        by_age=age.wrong and not tasks.wrong,
        silent_s=silent_s,
    )
    return _assessed(agents, suspects, [tasks, age])


@checked
def cost(
    problem: Sequence[Finding],
    *,
    features: Frame,
    tenants: Frame,
    models: Frame,
    requests: Frame,
    steps: Frame,
    retries: Frame,
    tokens: Frame,
) -> Causes:
    """Judge why models cost more than usual.

    Parameters
    ----------
    problem
        The findings on the cost. If all are ok, there is no cause.
    features, tenants, models
        ``@llm/cost_per_hour_by_feature``, ``…_by_tenant`` and ``…_by_model``, with baselines.
    requests, steps, retries, tokens
        ``@llm/request_rate``, ``@agent/steps_per_run``, ``@llm/retries_per_request`` and
        ``@llm/tokens_per_request``, with baselines.

    Returns
    -------
    Causes
        ``loop`` (a feature), ``switch`` (a model; ``instead`` is the one of before), ``tenant``,
        ``larger`` (a feature whose requests are larger), ``traffic`` (more requests, no fault).
    """
    spent = Spending(
        features=group(features, "feature"),
        tenants=group(tenants, "tenant"),
        models=group(models, "model"),
        requests=group(requests, "model"),
        steps=group(steps, "feature"),
        retries=group(retries, "feature"),
        tokens=group(tokens, "feature"),
    )
    return _assessed(features, of_cost.suspects(spent), problem)


@checked
def safety(
    problem: Sequence[Finding],
    *,
    events: Frame,
    sources: Frame,
    reviews: Frame,
    course: Frame,
    deployed: Frame,
    guardrail: str = "",
) -> Causes:
    """Judge why guardrails trigger more often than usual.

    Parameters
    ----------
    problem
        The findings on the share of checks that trigger. If all are ok, there is no cause.
    events, sources
        ``@safety/event_ratio`` and ``@safety/events_by_source``, with baselines.
    reviews
        ``@safety/false_positive_ratio``.
    course
        ``@safety/event_ratio`` over a range, to compare before and after the newest deployment.
    deployed
        ``@deploy/started_at``.
    guardrail
        The guardrail; by default, the one furthest above its usual share.

    Returns
    -------
    Causes
        ``source`` (one source), ``deployed`` (a guardrail with false positives since a deployment),
        ``mistuned`` (one with false positives), ``wave`` (many sources, and reviews confirm the
        events).
    """
    suspects = of_safety.judged(
        events=events,
        sources=sources,
        reviews=reviews,
        course=course,
        deployed=deployed,
        guardrail=guardrail,
    )
    return _assessed(sources, suspects, problem)


@checked
def provider(
    problem: Sequence[Finding],
    *,
    errors: Frame,
    requests: Frame,
    limited: Frame,
    cost: Frame,
    tolerated_pct: Measured = 5.0,
    status: Finding | None = None,
    fallback: str = "",
) -> Causes:
    """Judge why calls of models fail: a provider, one of its models, or we.

    Parameters
    ----------
    problem
        The findings on failed calls. If all are ok, there is no cause.
    errors, requests, limited
        ``@llm/error_ratio``, ``@llm/request_rate`` and ``@llm/rate_limited_ratio``.
    cost
        ``@llm/cost_per_hour_by_model``, for the price of a call.
    tolerated_pct
        The share of failed calls up to which a model is well, in %.
    status
        The finding of `rb.http` on the provider's status page; None if there is none.
    fallback
        The model that takes over; by default, the busiest one that answers.

    Returns
    -------
    Causes
        ``quota``, ``ours``, ``total`` (a provider), ``model``, ``partial``; ``instead``
        is a model that answers.
    """
    suspects = of_provider.judged(
        errors=errors,
        requests=requests,
        limited=limited,
        cost=cost,
        tolerated=tolerated_pct / 100,
        reported_well=None if status is None or status.unknown else status.ok,
        fallback=fallback,
    )
    return _assessed(errors, suspects, problem)


def _assessed(
    frame: pd.DataFrame, suspects: Mapping[str, Suspect], problem: Sequence[Finding]
) -> Causes:
    """Show the findings on the suspects, which have the verdict of the problem."""
    verdict = Verdict.worst(one.verdict for one in problem)
    judged = findings(suspects, verdict, triage().run.runbook)
    instead = next((one.instead for one in suspects.values() if one.holds), "")
    return Causes(frame, {name: keep(one) for name, one in judged.items()}, instead)
