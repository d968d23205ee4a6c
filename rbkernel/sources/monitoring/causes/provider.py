"""Why calls of models fail: a provider, one of its models, our quota, or our own side. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rbkernel.amounts import percent
from rbkernel.sources.monitoring.causes.figures import courses, group
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
# a model of which at most so many calls fail may take over, if no other one is well (own choice)
_USABLE = 0.2
_TOTAL = "A provider that is down"
_MODEL = "One model that is down"
_PARTIAL = "A provider that fails in part"
_QUOTA = "Our own quota"
_OURS = "Our own side"
_SILENT = "Models that failed in the last hour, and are not called now"
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

    @property
    def failed_per_s(self) -> float:
        """The calls per s that fail."""
        return self.per_s * self.failing

    @property
    def refused(self) -> bool:
        """Whether most failed calls are refused by our limit of rate: then the model answers."""
        return bool(self.limited) and (self.limited or 0.0) >= _MOST * self.failing

    @property
    def down(self) -> bool:
        """Whether most calls fail, and not by our limit of rate."""
        return self.failing >= _DOWN and not self.refused


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
    def answering(self) -> list[Model]:
        """The models that can take over: those that are well first, then the busiest."""
        some = [one for one in self.judged if self.answers(one)]
        return sorted(some, key=lambda one: (one.failing > self.tolerated, -one.per_s))

    def answers(self, model: Model) -> bool:
        """Return whether a model can take over: it is well, or nearly, and refuses no calls."""
        well = model.failing <= self.tolerated
        return well or (model.failing <= _USABLE and not model.refused)


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
    ours = _ours(calls)
    total = _total(calls, ours)
    model = _model(calls, [ours, total])
    return {
        "quota": _quota(calls),
        "ours": ours,
        "total": total,
        "model": model,
        "partial": _partial(calls, [ours, total, model]),
    }


def silent(
    *, errors: pd.DataFrame, asked: pd.DataFrame, requests: pd.DataFrame, tolerated: float
) -> Suspect:
    """Return whether all models that have failed have calls again, which alone show a recovery.

    Parameters
    ----------
    errors, asked
        The share of failed calls (in %), and calls per s, of each model over a range.
    requests
        Calls per s of each model now.
    tolerated
        The share of failed calls up to which a model is well, 0 to 1.
    """
    calls, of_errors = courses(asked, "model"), courses(errors, "model")
    if not calls or not of_errors:
        why = "which models failed in the last hour: there are no values"
        return unknown(_SILENT, why, "send some test requests to each model")
    fewest = _FEWEST / _WINDOW_S
    busy = {name: [at for at, v in one.values if v >= fewest] for name, one in calls.items()}
    # both ranges may be some seconds apart
    failed = [
        name
        for name, one in of_errors.items()
        for at, v in one.values
        if v > tolerated * 100
        and any(abs(at - when) < _WINDOW_S / 2 for when in busy.get(name, ()))
    ]
    now = group(requests, "model").members
    quiet = [name for name in dict.fromkeys(failed) if name not in now or now[name].now < fewest]
    if not quiet:
        return Suspect(title=_SILENT, holds=False, said="each model that failed has calls again")
    names = ", ".join(quiet)
    return unknown(
        _SILENT,
        f"whether {names} has recovered: it failed, and has fewer than {_FEWEST} calls in 5 min",
        f"send at least {_FEWEST} test requests to {names} before you switch back",
    )


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
    limited = [one for one in failing if one.refused]
    if not limited:
        said = "failed calls are not refused by a limit of rate"
        return Suspect(title=_QUOTA, holds=False, said=said)
    refused = sum(one.failed_per_s for one in limited)
    if refused < _MOST * sum(one.failed_per_s for one in failing):
        names = ", ".join(one.name for one in limited)
        said = f"calls of {names} are refused by a limit of rate, and most failed calls are others"
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
    """Return whether it is we: only if no provider answers; a status page may lag behind."""
    providers = _by_provider(calls.judged)
    down = [name for name, some in providers.items() if _all_down(some)]
    if len(down) > 1 and len(down) == len(providers):
        return Suspect(
            title=_OURS,
            holds=True,
            said=f"all providers fail at once ({', '.join(down)}): they share only our network,"
            " proxy and secrets",
            which=", ".join(down),
            next_step="Look at our network, proxy and credentials first; a fallback would fail,"
            " too",
        )
    if not down:
        return Suspect(title=_OURS, holds=False, said="no provider fails with all its models")
    names = ", ".join(down)
    if calls.reported_well is None:
        step = "read the status page of the provider, and pass its address as status_url"
        return unknown(_OURS, f"whether the credential for {names} is valid: no status", step)
    if calls.reported_well:
        return unknown(
            _OURS,
            f"whether {names} refuses our credential: all its calls fail, and the status page"
            " reports no problem, which may be late",
            "look in our log for answers with the code 401 or 403; rotate the credential if there"
            " are some (RUN-020)",
        )
    return Suspect(title=_OURS, holds=False, said="the status page reports a problem")


def _all_down(models: Sequence[Model]) -> bool:
    return all(one.down for one in models)


def _total(calls: Calls, ours: Suspect) -> Suspect:
    providers = _by_provider(calls.judged)
    down = {name: some for name, some in providers.items() if _all_down(some)}
    if not down or ours.holds:
        said = explained([ours]) or "no provider fails with all its models"
        return Suspect(title=_TOTAL, holds=False, said=said)
    name, models = max(down.items(), key=lambda one: sum(model.per_s for model in one[1]))
    failing = min(one.failing for one in models)
    others = [one for one in calls.answering if one.provider != name]
    instead, step = _instead(calls, others, models)
    said = (
        f"{name} fails with all its models: at least {percent(failing)} of the calls of"
        f" {', '.join(one.name for one in models)}"
    )
    if len(down) == len(providers) and calls.reported_well is not False:
        why = f"{said}; no other provider answers, which would show that it is not our own side"
        return unknown(_TOTAL, why, step)
    return Suspect(title=_TOTAL, holds=True, said=said, which=name, instead=instead, next_step=step)


def _model(calls: Calls, others: Sequence[Suspect]) -> Suspect:
    if said := explained(others):
        return Suspect(title=_MODEL, holds=False, said=said)
    for provider, models in _by_provider(calls.judged).items():
        down = [one for one in models if one.down]
        same = [one for one in calls.answering if one.provider == provider]
        if down and same:
            worst = max(down, key=lambda one: one.failing)
            instead, step = _instead(calls, same, down)
            return Suspect(
                title=_MODEL,
                holds=True,
                said=f"{worst.name} fails ({percent(worst.failing)} of the calls);"
                f" {same[0].name} of {provider} answers",
                which=worst.name,
                instead=instead,
                next_step=step,
            )
    return Suspect(title=_MODEL, holds=False, said="no model is down while its provider answers")


def _partial(calls: Calls, others: Sequence[Suspect]) -> Suspect:
    failing = calls.failing(calls.judged)
    in_part = [one for one in failing if one.failing < _DOWN and not one.refused]
    few = [one.name for one in calls.failing(calls.models) if not one.counts]
    if few and not failing:
        said = f"calls of {', '.join(few)} fail, and they are too few to judge"
        return unknown(_PARTIAL, said, f"send some test requests to {few[0]}")
    if not in_part:
        said = explained(others) or "no model fails in part"
        return Suspect(title=_PARTIAL, holds=False, said=said)
    worst = max(in_part, key=lambda one: one.failing)
    said = f"{percent(worst.failing)} of the calls of {worst.name} ({worst.provider}) fail"
    if why := explained(others):
        return Suspect(title=_PARTIAL, holds=False, said=f"{said}, too; {why}")
    return Suspect(
        title=_PARTIAL,
        holds=True,
        said=f"{said}, and the others are answered",
        which=worst.provider,
        next_step="Retry a few times with pauses that grow, and wait longer for answers; do not"
        " switch yet",
    )


def _instead(calls: Calls, answering: Sequence[Model], down: Sequence[Model]) -> tuple[str, str]:
    """Return the model to use instead (empty: none), and the step to it, with what a call costs."""
    named = next((one for one in calls.models if one.name == calls.fallback), None)
    busiest = next(iter(answering), None)
    if named and not calls.answers(named):
        also = f"; {busiest.name} of {busiest.provider} answers" if busiest else ""
        said = f"the fallback {named.name} fails, too ({percent(named.failing)} of its calls)"
        return "", f"Pause the feature: {said}{also}"
    if calls.fallback and (named is None or not named.counts):
        said = f"Send one test request to {calls.fallback}, of which few or no calls are measured"
        return calls.fallback, f"{said}; then use it"
    other = named or busiest
    if other is None:
        return "", "Pause the feature: no other model is known to answer"
    prices = [one.price for one in down if one.price]
    more = ""
    if other.price and prices:
        usual = sum(prices) / len(prices)
        more = f"; a call costs ${other.price:.2g} there, ${usual:.2g} here"
    if other.failing > calls.tolerated:
        more = f", except {percent(other.failing)} of its calls{more}"
    check = (
        "" if named else ". Confirm first that it can do this work, and that the flag leads there"
    )
    return other.name, f"Use {other.name} of {other.provider}, which answers{more}{check}"
