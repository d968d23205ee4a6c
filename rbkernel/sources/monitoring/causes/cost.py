"""Why models cost more: a loop, another model, one tenant, larger requests, or traffic. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rbkernel.amounts import percent
from rbkernel.sources.monitoring.causes.figures import Figure, Group, courses, number
from rbkernel.sources.monitoring.causes.suspect import Suspect, explained, unknown

if TYPE_CHECKING:
    import pandas as pd

# steps or retries above this multiple of the usual are a loop (own choice)
_LOOPS = 2.0
# so many retries for each request are a loop, whatever is usual (the limit of the template's cell)
_RETRIES = 1.0
# a run of fewer steps is no loop (own choice)
_STEPS = 5.0
# repetition that explains a smaller part of the multiple of a feature's cost is not the cause
_EXPLAINS = 0.5
# a model of which more calls failed when it was last called is not one to return to (own choice)
_FAILS = 0.05
# a model that has lost so much of what another one has got was replaced by it (own choice)
_LOST = 0.5
_LAST = 5  # values of a range
# a model whose share in the requests has grown by so much is called in place of another one
_SWITCHED = 0.2
_LOOP = "A feature that repeats its requests"
_SWITCH = "Another model than before"
_TENANT = "One tenant"
_LARGER = "Larger requests"
_TRAFFIC = "More traffic"


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What models cost per hour, in $, by feature, tenant and model; and what is asked of them.

    ``requests`` are requests per s by model, ``steps`` for each run of an agent, ``retries`` and
    ``tokens`` for each request, by feature. ``failing`` is the share of the calls of a model that
    failed when it was last called (0 to 1), by model; a model without calls is missing.
    """

    features: Group
    tenants: Group
    models: Group
    requests: Group
    steps: Group
    retries: Group
    tokens: Group
    failing: Mapping[str, float] = field(default_factory=dict)

    @property
    def each(self) -> Figure | None:
        """The cost of a request; None if there is none, or nothing is known."""
        if self.models.unknown or self.requests.unknown:
            return None
        asked = self.requests.total
        per_h = Figure(now=asked.now * 3600, usual=(asked.usual or 0.0) * 3600)
        each = self.models.total.per(per_h)
        return each if each and each.usual is not None else None


def last_failing(errors: pd.DataFrame) -> dict[str, float]:
    """Return the share of failed calls (0 to 1) of each model when it was last called, by model.

    It is the largest of the last values of the answer, which is one about a range.
    """
    known = courses(errors, "model")
    return {name: max(v for _, v in one.values[-_LAST:]) for name, one in known.items()}


def suspects(spent: Spending) -> dict[str, Suspect]:
    """Return what is known of each possible cause: ``loop``, ``switch``, ``tenant``, ``larger``,
    ``traffic``.

    The first one that holds explains the rise; later ones are then not judged, except a tenant.
    """
    loop = _loop(spent)
    switch = _switch(spent)
    tenant = _tenant(spent)
    larger = _larger(spent, loop, switch, tenant)
    traffic = _traffic(spent, loop, switch, tenant, larger)
    return {
        "loop": loop,
        "switch": switch,
        "tenant": _after(tenant, loop),
        "larger": larger,
        "traffic": traffic,
    }


def _loop(spent: Spending) -> Suspect:
    if why := spent.features.unknown:
        return unknown(_LOOP, f"whether a feature loops: {why}", spent.features.advice)
    name = spent.features.leader()
    if not name:
        said = "no single feature accounts for the rise"
        return Suspect(title=_LOOP, holds=False, said=said)
    steps, retries = spent.steps.members.get(name), spent.retries.members.get(name)
    signs = [
        f"{kind} {number(figure.now)} ({figure.compared()})"
        for kind, figure, least, alone in (
            ("steps for each run:", steps, _STEPS, math.inf),
            ("retries for each request:", retries, 0.1 * _RETRIES, _RETRIES),
        )
        if figure and _repeats(figure, least, alone)
    ]
    if signs and not _explains(spent.features.members[name], steps, retries):
        said = f"{name} accounts for the rise, and its repetition ({', '.join(signs)}) for less"
        return Suspect(title=_LOOP, holds=False, said=f"{said} than half of it")
    if signs:
        return Suspect(
            title=_LOOP,
            holds=True,
            said=f"{name} repeats its requests, {', '.join(signs)}; it accounts for"
            f" {percent(min(1.0, spent.features.share_of_rise(name)))} of the rise, and costs"
            f" ${number(spent.features.members[name].now)} per h",
            which=name,
            next_step=f"Disable the feature flag of {name}; then find the loop",
        )
    if not retries or retries.usual is None:
        why = spent.retries.unknown or f"there are no values of {name}"
        return unknown(
            _LOOP, f"whether {name} retries more than usual: {why}", spent.retries.advice
        )
    if (steps and steps.usual is None) or (not steps and spent.steps.reason):
        why = spent.steps.unknown
        return unknown(_LOOP, f"whether {name} takes more steps: {why}", spent.steps.advice)
    said = f"{name} accounts for the rise, with as many steps and retries as usual"
    return Suspect(title=_LOOP, holds=False, said=said)


def _repeats(figure: Figure, least: float, alone: float) -> bool:
    """Return whether a figure is a sign: above ``least``, or ``alone`` if it is usually none."""
    times = figure.times
    if times is None:  # usually none, or not known
        return figure.usual is not None and figure.now >= alone
    return times >= _LOOPS and figure.now >= least


def _explains(cost: Figure, steps: Figure | None, retries: Figure | None) -> bool:
    """Return whether more work for each request explains most of the multiple of the cost."""
    if cost.times is None:
        return bool(retries) and (retries.now if retries else 0.0) >= _RETRIES
    work = (steps.times or 1.0) if steps else 1.0
    if retries:
        work *= (1 + retries.now) / (1 + (retries.usual or 0.0))
    return math.log(work) >= _EXPLAINS * math.log(cost.times)


def _switch(spent: Spending) -> Suspect:
    each = spent.each
    if each is None or each.usual is None:
        why = spent.models.unknown or spent.requests.unknown or "there are no requests"
        step = spent.models.advice if spent.models.unknown else spent.requests.advice
        return unknown(_SWITCH, f"what a request costs: {why}", step)
    if not each.up:
        said = f"a request costs ${each.now:.2g}, {each.compared()}"
        return Suspect(title=_SWITCH, holds=False, said=said)
    name = spent.models.leader()
    if not name or _share_grew(spent.requests, name) < _SWITCHED:
        said = "the requests go to the same models as usual"
        return Suspect(title=_SWITCH, holds=False, said=said)
    share, before = spent.requests.share(name), _usual_share(spent.requests, name)
    said = f"{name} now gets {percent(share)} of the requests ({percent(before)} usually)"
    cost = (
        f"a request costs ${each.now:.2g} ({each.compared()}); the number of requests is"
        f" {spent.requests.total.compared()}"
    )
    usual = _replaced(spent.requests, name)
    if not usual:
        why = f"which model {name} replaces: {said}, and none that is still known gets fewer"
        return unknown(_SWITCH, f"{why}; {cost}", "ask the owner of the feature what was deployed")
    failing = spent.failing.get(usual)
    if failing is None or failing > _FAILS:
        how = (
            "it has had no calls"
            if failing is None
            else f"{percent(failing)} of its last calls failed"
        )
        return replace(
            unknown(
                _SWITCH,
                f"whether {usual} answers: {said} in place of {usual}, and {how}; {cost}",
                f"look whether {usual} is down (RUN-015) before you switch back to it",
            ),
            opens="RUN-015",
        )
    return Suspect(
        title=_SWITCH,
        holds=True,
        said=f"{said}, in place of {usual}: {cost}",
        which=name,
        instead=usual,
        next_step=f"Switch back from {name} to {usual}, unless the change was meant: then tell the"
        " owner of the costs",
    )


def _replaced(requests: Group, name: str) -> str:
    """Return the model that has lost what another one has got; empty if none has."""
    members = requests.members
    least = min(members, key=lambda one: members[one].rise)
    return least if -members[least].rise >= _LOST * members[name].rise else ""


def _usual_share(requests: Group, name: str) -> float:
    total = requests.total.usual
    figure = requests.members.get(name)
    return (figure.usual or 0.0) / total if figure and total else 0.0


def _share_grew(requests: Group, name: str) -> float:
    if name not in requests.members:
        return 0.0
    return requests.share(name) - _usual_share(requests, name)


def _tenant(spent: Spending) -> Suspect:
    tenants = spent.tenants
    if why := tenants.unknown:
        return unknown(_TENANT, f"whether one tenant accounts for it: {why}", tenants.advice)
    name = tenants.culprit()
    if not name:
        return Suspect(title=_TENANT, holds=False, said="no single tenant accounts for the rise")
    figure = tenants.members[name]
    return Suspect(
        title=_TENANT,
        holds=True,
        said=f"{name} accounts for {percent(min(1.0, tenants.share_of_rise(name)))} of the rise,"
        f" and costs ${number(figure.now)} per h ({figure.compared()});"
        " the other tenants are as usual",
        which=name,
        next_step=f"Compare with this day of last week, and ask {name}; if it is not meant, limit"
        " its rate, and leave the feature on for the others",
    )


def _larger(spent: Spending, *others: Suspect) -> Suspect:
    if said := explained(others):
        return Suspect(title=_LARGER, holds=False, said=said)
    each = spent.each
    if each is None:
        return unknown(_LARGER, "what a request costs usually is not known", "")
    if not each.up:
        said = f"a request costs ${each.now:.2g}, {each.compared()}"
        return Suspect(title=_LARGER, holds=False, said=said)
    grown = [name for name, one in spent.tokens.members.items() if one.up]
    if not grown:
        why = spent.tokens.unknown or "no feature uses more tokens for each request"
        return unknown(
            _LARGER,
            f"a request costs ${each.now:.2g} ({each.compared()}), and why is not known: {why}",
            "compare the prices of the models with those of last week",
        )
    name = max(grown, key=spent.features.share_of_rise)
    if name != spent.features.leader():
        return unknown(
            _LARGER,
            f"a request costs ${each.now:.2g} ({each.compared()}), and why is not known:"
            f" {', '.join(grown)} uses more tokens, and does not account for the rise",
            "compare the prices of the models with those of last week",
        )
    tokens = spent.tokens.members[name]
    return Suspect(
        title=_LARGER,
        holds=True,
        said=f"{name} uses {tokens.now:,.0f} tokens for each request ({tokens.compared()}); no"
        " loop, no other model, and no single tenant",
        which=name,
        next_step=f"Ask the owner of {name} why its requests are larger, and limit its tokens",
    )


def _traffic(spent: Spending, *others: Suspect) -> Suspect:
    if said := explained(others):
        return Suspect(title=_TRAFFIC, holds=False, said=said)
    if unseen := next((one for one in others if one.holds is None), None):
        return unknown(_TRAFFIC, f"not known, since it is not known {unseen.said}", "")
    requests = spent.requests.total
    if not requests.up:
        said = f"the number of requests is {requests.compared()}"
        return Suspect(title=_TRAFFIC, holds=False, said=said)
    if name := spent.features.culprit():
        return unknown(
            _TRAFFIC,
            f"whether it is meant: {name} alone costs {spent.features.members[name].compared()},"
            f" and the number of requests is {requests.compared()}",
            f"ask the owner of {name} whether that is meant",
        )
    return Suspect(
        title=_TRAFFIC,
        holds=True,
        said=f"the number of requests is {requests.compared()}, and each costs as much as before;"
        " no feature, tenant or model stands out: this is traffic, and no fault",
        next_step="Tell the owner of the costs; stop nothing",
    )


def _after(tenant: Suspect, loop: Suspect) -> Suspect:
    """Return the suspect about a tenant, which a loop in its name does not make guilty."""
    if not (tenant.holds and loop.holds):
        return tenant
    said = f"{loop.which} repeats its requests: that explains the rise of {tenant.which}, too"
    return Suspect(title=_TENANT, holds=False, said=said)
