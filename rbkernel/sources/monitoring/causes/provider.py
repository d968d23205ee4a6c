"""Why calls of models fail: a provider, one of its models, our quota, or our own side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rbkernel.amounts import percent
from rbkernel.sources.monitoring.causes.figures import group
from rbkernel.sources.monitoring.causes.suspect import Suspect, all_unknown, explained, unknown

if TYPE_CHECKING:
    import pandas as pd

# from this share of failed calls on, a model is down (the template's SEV2)
_DOWN = 0.5
# the outcome of most failures: then it is the cause (own choice)
_MOST = 0.5
# so many calls must be answered to know their price (own choice)
_PRICED = 0.01
# calls in the 5 min of the queries; a share of fewer says nothing (own choice)
_FEWEST, _WINDOW_S = 10, 300
_TOTAL = "A provider that is down"
_MODEL = "One model that is down"
_PARTIAL = "A provider that fails in part"
_QUOTA = "Our own quota"
_OURS = "Our own side"
_TITLES = {"quota": _QUOTA, "ours": _OURS, "total": _TOTAL, "model": _MODEL, "partial": _PARTIAL}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model: the share of its calls that fail (0 to 1), and its calls per s.

    ``limited`` is the share of the calls that are refused because of a limit of rate, and ``price``
    the cost of a call in $; each is None if it is not known.
    """

    provider: str
    name: str
    failing: float
    per_s: float
    limited: float | None = None
    price: float | None = None

    @property
    def counts(self) -> bool:
        """Whether there are enough calls to judge."""
        return self.per_s * _WINDOW_S >= _FEWEST


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The calls of all models, and what the provider's status page says.

    A model is well if at most ``tolerated`` of its calls fail (0 to 1). ``reported_well`` is None
    if no status page was read. ``fallback`` names a model that takes over; empty if none is set up.
    """

    models: Sequence[Model]
    tolerated: float
    reported_well: bool | None = None
    fallback: str = ""

    @property
    def judged(self) -> list[Model]:
        """The models with enough calls."""
        return [one for one in self.models if one.counts]

    def failing(self, models: Iterable[Model]) -> list[Model]:
        """Return the models of which too many calls fail."""
        return [one for one in models if one.failing > self.tolerated]

    @property
    def well(self) -> list[Model]:
        """The models that answer, the busiest first."""
        well = [one for one in self.judged if one.failing <= self.tolerated]
        return sorted(well, key=lambda one: -one.per_s)


def judged(
    *,
    errors: pd.DataFrame,
    requests: pd.DataFrame,
    limited: pd.DataFrame,
    cost: pd.DataFrame,
    tolerated: float,
    reported_well: bool | None,
    fallback: str,
) -> dict[str, Suspect]:
    """Judge the calls of all models, from answers of Prometheus; see `rb.causes.provider`.

    Shares in ``%`` are converted; ``tolerated`` is 0 to 1.
    """
    providers = [*group(errors, "provider").members]
    unseen = [one for one in (group(errors, ""), group(requests, "")) if one.reason]
    if unseen:
        return all_unknown(_TITLES, unseen[0].reason, unseen[0].next_step)
    of_all, of_limited = (0.01 if one.attrs.get("unit") == "%" else 1 for one in (errors, limited))
    prices, models = group(cost, "model").members, []
    busy = group(requests, "model").members
    for provider in providers:
        within = {"provider": provider}
        asked, refused = group(requests, "model", within), group(limited, "model", within)
        for name, failing in group(errors, "model", within).members.items():
            per_s = asked.members[name].now if name in asked.members else 0.0
            share = 1 - failing.now * of_all
            # a call that fails costs nothing
            per_h = busy[name].now * 3600 * share if name in busy and share > _PRICED else 0.0
            models.append(
                Model(
                    provider=provider,
                    name=name,
                    failing=failing.now * of_all,
                    per_s=per_s,
                    limited=refused.members[name].now * of_limited
                    if name in refused.members
                    else None,
                    price=prices[name].now / per_h if name in prices and per_h else None,
                )
            )
    return suspects(
        Calls(models=models, tolerated=tolerated, reported_well=reported_well, fallback=fallback)
    )


def suspects(calls: Calls) -> dict[str, Suspect]:
    """Return what is known of each possible cause: ``quota``, ``ours``, ``total``, ``model``,
    ``partial``.
    """
    if not calls.judged:
        said = "there are too few calls in 5 min to judge"
        return all_unknown(_TITLES, said, "send some test requests to each model")
    quota, ours = _quota(calls), _ours(calls)
    guilty = [one for one in (quota, ours) if one.holds]
    return {
        "quota": quota,
        "ours": ours,
        "total": _total(calls, guilty),
        "model": _model(calls, guilty),
        "partial": _partial(calls, guilty),
    }


def _by_provider(models: Iterable[Model]) -> Mapping[str, list[Model]]:
    ranked = sorted(models, key=lambda one: one.provider)
    return {name: [*some] for name, some in groupby(ranked, key=lambda one: one.provider)}


def _quota(calls: Calls) -> Suspect:
    failing = calls.failing(calls.judged)
    if not failing:
        return Suspect(title=_QUOTA, holds=False, said="no model fails")
    if any(one.limited is None for one in failing):
        why = "how calls fail is not known"
        step = "look at the log for answers with the code 429"
        return unknown(_QUOTA, f"whether a limit of rate refuses them: {why}", step)
    limited = [one for one in failing if (one.limited or 0.0) >= _MOST * one.failing]
    if not limited:
        said = "failed calls are not refused by a limit of rate"
        return Suspect(title=_QUOTA, holds=False, said=said)
    worst = max(limited, key=lambda one: one.limited or 0.0)
    return Suspect(
        title=_QUOTA,
        holds=True,
        said=f"{worst.provider} refuses {percent(worst.limited or 0.0)} of the calls of"
        f" {worst.name} because of our limit of rate: the provider answers",
        which=worst.provider,
        next_step=f"Lower the rate of calls to {worst.provider}, or have the limit raised; see"
        " which feature or tenant asks for more (RUN-013)",
    )


def _ours(calls: Calls) -> Suspect:
    providers = _by_provider(calls.judged)
    failing = [name for name, some in providers.items() if calls.failing(some)]
    down = [name for name, some in providers.items() if _all_down(some)]
    if len(providers) > 1 and len(failing) == len(providers):
        return Suspect(
            title=_OURS,
            holds=True,
            said=f"all providers fail at once ({', '.join(failing)}): they share only our network,"
            " proxy and secrets",
            which=", ".join(failing),
            next_step="Look at our network, proxy and credentials first; a fallback would fail,"
            " too",
        )
    if down and calls.reported_well:
        return Suspect(
            title=_OURS,
            holds=True,
            said=f"all calls to {down[0]} fail, and its status page reports no problem: the"
            " credential may be expired, revoked or not paid for",
            which=down[0],
            next_step=f"Send one request to {down[0]} with our credential from outside the"
            " service; rotate the credential if it is refused (RUN-020)",
        )
    if down and calls.reported_well is None:
        step = "read the status page of the provider, and pass its address as status_url"
        return unknown(_OURS, f"whether the credential for {down[0]} is valid: no status", step)
    said = "its status page reports a problem" if down else "no provider fails with all its models"
    return Suspect(title=_OURS, holds=False, said=said)


def _all_down(models: Sequence[Model]) -> bool:
    return all(one.failing >= _DOWN for one in models)


def _total(calls: Calls, guilty: Sequence[Suspect]) -> Suspect:
    down = {name: some for name, some in _by_provider(calls.judged).items() if _all_down(some)}
    if not down or guilty:
        said = explained(guilty) or "no provider fails with all its models"
        return Suspect(title=_TOTAL, holds=False, said=said)
    name, models = max(down.items(), key=lambda one: sum(model.per_s for model in one[1]))
    others = [one for one in calls.well if one.provider != name]
    failing = min(one.failing for one in models)
    return Suspect(
        title=_TOTAL,
        holds=True,
        said=f"{name} fails with all its models: at least {percent(failing)} of the calls of"
        f" {', '.join(one.name for one in models)}",
        which=name,
        instead=_other(others, calls.fallback),
        next_step=_instead(others, models, calls.fallback),
    )


def _model(calls: Calls, guilty: Sequence[Suspect]) -> Suspect:
    if guilty:
        return Suspect(title=_MODEL, holds=False, said=explained(guilty))
    for provider, models in _by_provider(calls.judged).items():
        down = [one for one in models if one.failing >= _DOWN]
        same = [one for one in calls.well if one.provider == provider]
        if down and same:
            worst = max(down, key=lambda one: one.failing)
            return Suspect(
                title=_MODEL,
                holds=True,
                said=f"{worst.name} fails ({percent(worst.failing)} of the calls);"
                f" {same[0].name} of {provider} answers",
                which=worst.name,
                instead=_other(same, calls.fallback),
                next_step=_instead(same, down, calls.fallback),
            )
    return Suspect(title=_MODEL, holds=False, said="no model is down while its provider answers")


def _partial(calls: Calls, guilty: Sequence[Suspect]) -> Suspect:
    failing = calls.failing(calls.judged)
    in_part = [one for one in failing if one.failing < _DOWN]
    few = [one.name for one in calls.failing(calls.models) if not one.counts]
    if few and not failing:
        said = f"calls of {', '.join(few)} fail, and they are too few to judge"
        return unknown(_PARTIAL, said, f"send some test requests to {few[0]}")
    if guilty or not in_part:
        said = explained(guilty) or "no model fails in part"
        return Suspect(title=_PARTIAL, holds=False, said=said)
    worst = max(in_part, key=lambda one: one.failing)
    return Suspect(
        title=_PARTIAL,
        holds=True,
        said=f"{percent(worst.failing)} of the calls of {worst.name} ({worst.provider}) fail,"
        " and the others are answered",
        which=worst.provider,
        next_step="Retry more often with pauses, and wait longer for answers; do not switch yet",
    )


def _other(well: Sequence[Model], fallback: str) -> str:
    """Return the model to use instead: the fallback, else the busiest one that answers."""
    return fallback or next((one.name for one in well), "")


def _instead(well: Sequence[Model], down: Sequence[Model], fallback: str) -> str:
    """Return the step to another model, with what a call of it costs."""
    other = next((one for one in well if one.name == fallback), None)
    if fallback and other is None:
        return f"Send one test request to {fallback}, of which no calls are measured; then use it"
    other = other or next(iter(well), None)
    if other is None:
        return "Pause the feature: no other model is known to answer"
    prices = [one.price for one in down if one.price]
    more = ""
    if other.price and prices:
        usual = sum(prices) / len(prices)
        more = f"; a call costs ${other.price:.2g} there, ${usual:.2g} here"
    return f"Use {other.name} of {other.provider}, which answers{more}"
