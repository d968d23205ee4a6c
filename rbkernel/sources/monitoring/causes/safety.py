"""Why guardrails trigger more often: one source, a guardrail that is wrong, or a wave. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from rbkernel import amounts
from rbkernel.amounts import percent
from rbkernel.sources.monitoring.causes.figures import Course, Figure, Group, courses, group
from rbkernel.sources.monitoring.causes.suspect import Suspect, all_unknown, explained, unknown

if TYPE_CHECKING:
    import pandas as pd

# from this share of false positives among the reviewed events, the guardrail is wrong; up to that
# one, the events are confirmed; between both, and of fewer reviews, nothing is known (own choice)
_MOSTLY, _SELDOM = 0.5, 0.3
_REVIEWED = 10
# a deployment after which a guardrail triggers so many times as often is when it began (own choice)
_JUMP = 2.0
_LOOK = (
    "see what was deployed when it began: roll that back; without a deployment, tune the guardrail,"
    " with a second person"
)
_SOURCE = "One source"
_DEPLOYED = "A deployment that made a guardrail wrong"
_WRONG = "A guardrail that is wrong"
_WAVE = "Events of many sources"
_TITLES = {"source": _SOURCE, "deployed": _DEPLOYED, "mistuned": _WRONG, "wave": _WAVE}
# the queries by name look back so far, in s: values sooner after a change are a mixture
_WINDOW_S = 300.0
# so many values before and after a deployment tell (own choice)
_FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A deployment, and how often the guardrail triggered before and after it (0 to 1).

    ``ago_s`` is how long ago it was, in s.
    """

    version: str
    ago_s: float
    before: float
    after: float

    @property
    def began_it(self) -> bool:
        """Whether the guardrail triggers clearly more often since this deployment."""
        return self.after >= _JUMP * self.before and self.after > 0


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A guardrail: the events of its sources per s, and what reviews say of them.

    ``share`` is the share of its checks that trigger. ``false_positives`` is the share of false
    positives among the reviewed events, 0 to 1, and ``of_source`` that of each source; a text says
    why it is not known. ``deployed`` is the newest deployment in the range; None if there is none,
    and a text if it cannot be told what it changed.
    """

    name: str
    share: Figure
    sources: Group
    false_positives: float | str
    of_source: Mapping[str, float | str] = field(default_factory=dict)
    deployed: Deployed | str | None = None


def judged(
    *,
    events: pd.DataFrame,
    sources: pd.DataFrame,
    reviews: pd.DataFrame,
    course: pd.DataFrame,
    deployed: pd.DataFrame,
    guardrail: str,
) -> dict[str, Suspect]:
    """Judge the guardrail, by default the one furthest above its usual share, from answers of
    Prometheus.

    See `rb.causes.safety`.
    """
    known = group(events, "guardrail")
    name = guardrail or max(known.members, key=lambda one: _rank(known.members[one]), default="")
    if known.unknown or name not in known.members:
        why = known.unknown or f"there are no checks of {name}"
        return all_unknown(_TITLES, why, known.advice)
    within = {"guardrail": name}
    by = group(sources, "source", within)
    return suspects(
        Guardrail(
            name=name,
            share=known.members[name],
            sources=by,
            false_positives=_reviewed(reviews, name, within),
            of_source={
                one: _reviewed(reviews, one, {**within, "source": one}) for one in by.members
            },
            deployed=_newest(deployed, courses(course, "guardrail").get(name)),
        )
    )


def _rank(figure: Figure) -> tuple[bool, float]:
    """Order by how far a figure is above its usual one: first those that are usually none."""
    return (not figure.usual and figure.now > 0, figure.times or 0.0)


def _reviewed(frame: pd.DataFrame, name: str, within: Mapping[str, str]) -> float | str:
    """Return the share of false positives among the reviewed events, or why it is not known."""
    outcomes = group(frame, "outcome", within)
    if outcomes.reason:
        return f"no reviews of {name} in the last hour ({outcomes.reason})"
    number = outcomes.total.now
    if round(number) < _REVIEWED:
        return f"{number:.0f} events of {name} were reviewed in the last hour, which are too few"
    share = outcomes.share("false_positive") if "false_positive" in outcomes.members else 0.0
    if _SELDOM < share < _MOSTLY:
        false = percent(share)
        return f"{false} of the reviewed events of {name} are false positives, which fits both"
    return share


def _newest(frame: pd.DataFrame, course: Course | None) -> Deployed | str | None:
    """Return the newest deployment with the values before and after it, or why that is not known.

    None if it was before the range. The first values after it are left out, since they look back
    before it.
    """
    known = group(frame, "version")
    if course is None or known.reason:
        return known.reason or "how often it triggered in this range is not known"
    versions = known.members
    version = max(versions, key=lambda one: versions[one].now)
    started, end = versions[version].now, course.values[-1][0]
    if started < course.values[0][0]:
        return None
    before, after = course.between(0.0, started), course.between(started + _WINDOW_S, end)
    if min(len(before), len(after)) < _FEWEST:
        ago = amounts.duration(max(0.0, end - started))
        return f"version {version} was deployed {ago} ago, with too few values before or after it"
    return Deployed(
        version=version, ago_s=end - started, before=median(before), after=median(after)
    )


def suspects(guardrail: Guardrail) -> dict[str, Suspect]:
    """Return what is known: ``source``, ``deployed``, ``mistuned`` and ``wave``.

    A guardrail that is wrong since a deployment is ``deployed``, otherwise ``mistuned``.
    """
    if not guardrail.share.up:
        said = f"{guardrail.name} triggers for {guardrail.share.now:g} of its checks, as usual"
        return {name: Suspect(title=one, holds=False, said=said) for name, one in _TITLES.items()}
    source, deployed, wrong = _source(guardrail), _since(guardrail), _wrong(guardrail)
    if deployed.holds:
        wrong = Suspect(title=_WRONG, holds=False, said=explained([deployed]))
    wave = _wave(guardrail, source, deployed, wrong)
    return {"source": source, "deployed": deployed, "mistuned": wrong, "wave": wave}


def _wrong(guardrail: Guardrail) -> Suspect:
    share = guardrail.false_positives
    if isinstance(share, str):
        return unknown(
            _WRONG,
            f"whether the events of {guardrail.name} are false positives: {share}",
            f"review ten of the newest events of {guardrail.name}, then run this again",
        )
    if share <= _SELDOM:
        said = f"reviews confirm {percent(1 - share)} of the events of {guardrail.name}"
        return Suspect(title=_WRONG, holds=False, said=said)
    if isinstance(guardrail.deployed, str):
        return unknown(
            _WRONG,
            f"whether a deployment made {guardrail.name} wrong: {guardrail.deployed};"
            f" {percent(share)} of its reviewed events are false positives",
            _LOOK,
        )
    return Suspect(
        title=_WRONG,
        holds=True,
        said=f"{percent(share)} of the reviewed events of {guardrail.name} are false positives,"
        " and no deployment began it",
        which=guardrail.name,
        next_step=f"Tune {guardrail.name}, with a second person; never switch it off",
    )


def _since(guardrail: Guardrail) -> Suspect:
    deployed, share = guardrail.deployed, guardrail.false_positives
    if isinstance(deployed, str):
        if not isinstance(share, str) and share <= _SELDOM:
            said = f"reviews confirm {percent(1 - share)} of the events of {guardrail.name}"
            return Suspect(title=_DEPLOYED, holds=False, said=said)
        return unknown(_DEPLOYED, f"whether a deployment began it: {deployed}", _LOOK)
    if deployed is None or not deployed.began_it:
        said = f"{guardrail.name} triggers no more often since a deployment in this range"
        return Suspect(title=_DEPLOYED, holds=False, said=said)
    ago = amounts.duration(deployed.ago_s)
    said = (
        f"{guardrail.name} triggers for {percent(deployed.after, digits=1)} of its checks since"
        f" version {deployed.version} was deployed {ago} ago, before for"
        f" {percent(deployed.before, digits=1)}"
    )
    if isinstance(share, str):
        step = f"review ten events; roll back {deployed.version} if they are false positives"
        return unknown(_DEPLOYED, f"{said}. Whether that is wrong is not known: {share}", step)
    if share <= _SELDOM:
        said = f"{said}; but reviews confirm {percent(1 - share)} of the events"
        return Suspect(title=_DEPLOYED, holds=False, said=said)
    return Suspect(
        title=_DEPLOYED,
        holds=True,
        said=f"{said}; {percent(share)} of the reviewed events are false positives",
        which=guardrail.name,
        next_step=f"Roll back version {deployed.version}, with a second person; never switch"
        f" {guardrail.name} off",
    )


def _source(guardrail: Guardrail) -> Suspect:
    sources = guardrail.sources
    if why := sources.unknown:
        return unknown(_SOURCE, f"whether one source causes it: {why}", sources.advice)
    name = sources.culprit()
    if not name:
        said = "no source stands out: the others have risen, too"
        return Suspect(title=_SOURCE, holds=False, said=said)
    figure = sources.members[name]
    causes = f"{name} causes {percent(sources.share(name))} of the events of {guardrail.name}"
    said = f"{causes} ({figure.compared()}); the other sources are as usual"
    reviewed = guardrail.of_source.get(name, f"no reviews of {name}")
    if isinstance(reviewed, str):
        step = f"review ten events of {name}; block it if they are confirmed"
        return unknown(_SOURCE, f"{said}. Whether they are right is not known: {reviewed}", step)
    if reviewed >= _MOSTLY:
        said = f"{causes}, and {percent(reviewed)} of its reviewed events are false positives"
        return Suspect(title=_SOURCE, holds=False, said=said)
    return Suspect(
        title=_SOURCE,
        holds=True,
        said=f"{said}, and reviews confirm {percent(1 - reviewed)} of its events",
        which=name,
        next_step=f"Block {name}, and look for what got past {guardrail.name}",
    )


def _wave(guardrail: Guardrail, *others: Suspect) -> Suspect:
    if said := explained(others):
        return Suspect(title=_WAVE, holds=False, said=said)
    if unseen := next((one for one in others if one.holds is None), None):
        return unknown(_WAVE, f"not known, since it is not known {unseen.said}", unseen.next_step)
    number = sum(one.now > 0 for one in guardrail.sources.members.values())
    return Suspect(
        title=_WAVE,
        holds=True,
        said=f"{guardrail.name} triggers for {amounts.count(number, 'source')}, and reviews"
        " confirm the events: this is a real wave",
        which=guardrail.name,
        next_step="Escalate to security at once; leave all guardrails on",
        opens="RUN-025",
    )
