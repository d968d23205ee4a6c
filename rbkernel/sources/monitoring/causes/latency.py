"""Why requests are slow: another system, the database, or more requests than usual. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rbkernel import amounts
from rbkernel.sources.monitoring.causes.figures import Figure, Group, group
from rbkernel.sources.monitoring.causes.suspect import Suspect, all_unknown, explained, unknown

if TYPE_CHECKING:
    import pandas as pd

# a part of a request is its cause if it accounts for this share of the additional time; a request
# makes several queries, so that those of the database need less (own choices)
_PART, _PART_OF_QUERIES = 0.3, 0.05
#: The times of systems of a kind that the service does not call.
NOT_CALLED = Group(members={"": Figure(now=0.0, usual=0.0)})
_NO_CALLS = "look at the last hour: systems behind an open circuit breaker have no calls, either"
_MODELS = "A slow provider of models"
_SYSTEMS = "Another slow system"
_DATABASE = "A slow database"
_TRAFFIC = "More requests than usual"
_TITLES = {
    "provider": _MODELS,
    "upstream": _SYSTEMS,
    "database": _DATABASE,
    "traffic": _TRAFFIC,
}


@dataclass(frozen=True, kw_only=True)
class Times:
    """The 95th percentiles of a service, in s: now, and as usual at this hour.

    ``requests``, ``queries`` (of the database) and ``rate`` (requests per s) have one member each,
    ``models`` one for each provider, ``systems`` one for each other system that is called.
    """

    requests: Group
    models: Group
    systems: Group
    queries: Group
    rate: Group

    @property
    def slower(self) -> float:
        """By how much the requests are slower than usual, in s."""
        return self.requests.total.rise


def slowest(frame: pd.DataFrame, by: str) -> Group:
    """Return the figures of the slowest series of each member, such as the models of a provider.

    Series without calls have no percentile, and do not count. A series without a baseline was not
    called at this hour, which is not 0 s: it is a member of its own, by the name of the series.

    Parameters
    ----------
    frame, by
        As for `group`.
    """
    called = frame.dropna(subset=["value"]) if "value" in frame else frame
    if called.empty and not frame.empty:
        return Group(members={}, reason="there are no calls now", next_step=_NO_CALLS)
    called.attrs = {**called.attrs, "gone": []}  # a series that is gone has no time, not 0 s
    whole = group(called, "series")
    found: dict[str, Figure] = {}
    for row in called.to_dict("records") if whole.members else ():
        series, figure = str(row["series"]), whole.members[str(row["series"])]
        if math.isfinite(row.get("baseline", math.nan)):
            name = str(row[by])
            found[name] = max(found.get(name, figure), figure, key=lambda one: one.rise)
        else:
            found[series] = Figure(now=figure.now)
    return replace(whole, members=found)


def suspects(times: Times) -> dict[str, Suspect]:
    """Judge what makes requests slow: one of these, or none.

    The part that has become slower by most is the cause. Traffic is it only if it is known that no
    part has become slower: a slow part may bring retries, and so more requests.
    """
    if times.requests.unknown:
        return all_unknown(_TITLES, times.requests.unknown, times.requests.advice)
    provider = _called(_MODELS, times.models, times)
    system = _called(_SYSTEMS, times.systems, times)
    database = _queries(times)
    parts = {"provider": provider, "upstream": system, "database": database}
    rises = dict(zip(parts, map(_rise, (times.models, times.systems, times.queries)), strict=True))
    held = [name for name, one in parts.items() if one.holds]
    first = max(held, key=lambda name: rises[name], default="")
    for name in held:
        if name != first:
            said = f"{parts[name].said}; {explained([parts[first]])}"
            parts[name] = Suspect(title=parts[name].title, holds=False, said=said)
    return {**parts, "traffic": _traffic(times, parts.values())}


def _rise(group: Group) -> float:
    return max((one.rise for one in group.members.values() if one.up), default=0.0)


def _called(title: str, group: Group, times: Times) -> Suspect:
    if group.reason:
        return unknown(title, group.reason, group.next_step)
    if group is NOT_CALLED:
        return Suspect(title=title, holds=False, said="the service calls none")
    least = _PART * times.slower
    slowest = max(group.members, key=lambda name: _order(group.members[name]))
    figure = group.members[slowest]
    if not figure.up or figure.rise < least:
        if new := [n for n, one in group.members.items() if one.usual is None and one.now >= least]:
            said = f"whether calls of {', '.join(new[:3])} are slower: {group.unknown}"
            return unknown(title, said, group.advice)
        said = f"calls of {slowest} take {_compared(figure)}"
        return Suspect(title=title, holds=False, said=said)
    return Suspect(
        title=title,
        holds=True,
        said=f"calls of {slowest} take {_compared(figure)}; requests {_of(times)}",
        which=slowest,
        next_step=f"do without {slowest}: use its fallback, open its circuit breaker, or turn off"
        " the flag of the feature that needs it",
        opens="RUN-023",
    )


def _order(figure: Figure) -> tuple[bool, bool, float]:
    """Return by what the slowest is found: first those that are slower than usual."""
    return bool(figure.up), figure.usual is not None, figure.rise


def _queries(times: Times) -> Suspect:
    if times.queries.unknown:
        return unknown(_DATABASE, times.queries.unknown, times.queries.advice)
    figure = times.queries.total
    if not figure.up or figure.rise < _PART_OF_QUERIES * times.slower:
        return Suspect(title=_DATABASE, holds=False, said=f"its queries take {_compared(figure)}")
    more = f", with {_load(times)}" if times.rate.total.up else ""
    return Suspect(
        title=_DATABASE,
        holds=True,
        said=f"queries of the database take {_compared(figure)}; requests {_of(times)}{more}",
        next_step="see which statements are slow, or what they wait for",
        opens="RUN-009",
    )


def _traffic(times: Times, others: Collection[Suspect]) -> Suspect:
    if times.rate.unknown:
        return unknown(_TRAFFIC, times.rate.unknown, times.rate.advice)
    if not times.rate.total.up:
        return Suspect(title=_TRAFFIC, holds=False, said=_load(times))
    if why := explained(others):
        return Suspect(title=_TRAFFIC, holds=False, said=f"{_load(times)}; {why}")
    if unseen := next((one for one in others if one.holds is None), None):
        said = f"{_load(times)}; whether another part is slower is not known: {unseen.said}"
        return unknown(_TRAFFIC, said, unseen.next_step)
    return Suspect(
        title=_TRAFFIC,
        holds=True,
        said=f"there are {_load(times)}, and they wait for each other; requests {_of(times)}",
        next_step="add instances, or limit the rate; see first that the database has room",
        opens="RUN-024",
    )


def _load(times: Times) -> str:
    return f"{times.rate.total.compared()} number of requests"


def _of(times: Times) -> str:
    return f"take {_compared(times.requests.total)}"


def _compared(figure: Figure) -> str:
    """Return a time and the usual one.

    >>> _compared(Figure(now=4.2, usual=0.8)), _compared(Figure(now=75.5))
    ('4.2 s, usually 800 ms', '1 min 15 s')
    """
    usual = f", usually {_time(figure.usual)}" if figure.usual is not None else ""
    return f"{_time(figure.now)}{usual}"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.2g} s" if seconds < 10 else amounts.duration(seconds)
