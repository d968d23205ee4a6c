"""`rb.watch_queries`: compare the figures of a service with those before a change, and stop at the
first harm.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from statistics import median
from typing import Annotated, Any

import pandas as pd
from IPython.display import display
from pydantic import Field, ValidationError

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.config.quantities import Seconds
from rbkernel.config.words import advice
from rbkernel.errors import ParameterError
from rbkernel.evidence import current
from rbkernel.model import Finding, Verdict
from rbkernel.queries import catalogue
from rbkernel.render import figure, tables
from rbkernel.runbook.digest import Table
from rbkernel.sources.monitoring.queries import Asked
from rbkernel.triage.changes.expected import Expected, Seen, usual
from rbkernel.triage.changes.repeat import Looked, repeat, watched
from rbkernel.triage.changes.version import RATE_S
from rbkernel.triage.check import keep
from rbkernel.triage.probes import monitoring

_NAMES = ("figure", "before", "now", "worst", "limit")
# so many values of the time before are asked for
_BEFORE = 60


@checked
def watch_queries(
    expected: Mapping[str, Mapping[str, Any]],
    since: str,
    *,
    for_s: Seconds = 900.0,
    every_s: Annotated[Seconds, Field(ge=1)] = 30.0,
    before_s: Seconds = 1800.0,
    source: str = "",
    **values: Any,
) -> Finding:
    """Watch figures of a service for some minutes after a change, and stop at the first harm.

    Prometheus keeps the values, so the time begins with the change: of what has passed already,
    all values are judged at once. A figure is harmful if two values in a row are beyond a limit.

    Parameters
    ----------
    expected
        Title → the fields of `rbkernel.triage.changes.expected.Expected`, such as
        ``{"Error rate": {"query": "@http/error_ratio", "times": 2, "by": 0.005}}``.
    since
        When the change was made: a time such as ``2026-11-20T03:00:00Z``, or what
        ``rb.releases(…).started(version)`` returns. Empty if unknown.
    for_s, every_s
        How long to watch from then on, and the time between two values, in s.
    before_s
        Of how many seconds before the change the median is compared with.
    source, values
        As for `rb.promql`.

    Returns
    -------
    Finding
        ok if nothing was wrong for the whole time; else the first problem, at once. unknown if a
        figure was not measured, before the change or after it.
    """
    limits = {title: _expected(title, one) for title, one in expected.items()}
    for one in limits.values():
        catalogue.get(one.query)  # a misspelt name is reported before the first look
    if not since:
        nothing = Finding(
            title="Time of the change",
            verdict=Verdict.UNKNOWN,
            expected="",
            actual="when the change was made is not known",
            next_step="give since=, or see whether the deployment is in Prometheus",
        )
        return keep(watched(nothing, looks=0, passed_s=0.0, for_s=for_s))
    watch = _Watch(
        expected=limits,
        since=pd.Timestamp(since).timestamp(),
        for_s=for_s,
        every_s=every_s,
        source=source,
        values=values,
    )
    before = {title: watch.before(one, before_s) for title, one in limits.items()}
    left_s = max(0.0, watch.since + for_s - time.time())
    found = repeat(partial(watch.look, before), for_s=left_s, every_s=every_s, all_s=for_s)
    tables.show(
        Table(
            heading="figures since the change",
            names=_NAMES,
            rows=tuple(one.row() for one in watch.seen),
        ),
        kind="watch",
    )
    for one in limits.values():
        display(watch.drawn(one, before_s))
    return keep(found)


def _expected(title: str, fields: Mapping[str, Any]) -> Expected:
    try:
        return Expected(**fields)
    except ValidationError as error:
        raise ParameterError(
            f"rb.watch_queries: {title} {advice(error.errors()[0])}",
            next_step='write "query", and "critical", "times" or both',
        ) from None


@dataclasses.dataclass(kw_only=True)
class _Watch:
    """A watch: the limits by title, the change (s since 1970), and what was seen last."""

    expected: Mapping[str, Expected]
    since: float
    for_s: float
    every_s: float
    source: str
    values: Mapping[str, Any]
    seen: list[Seen] = dataclasses.field(default_factory=list)

    def before(self, one: Expected, before_s: float) -> Mapping[str, float | None]:
        """Return the usual value of each series before the change."""
        step_s = max(1.0, before_s / _BEFORE)
        frame = self._ask(one, Asked(ends=self.since, last_s=before_s, step_s=step_s))
        return {name: usual(values) for name, values in _series(frame)}

    def look(self, before: Mapping[str, Mapping[str, float | None]]) -> Looked:
        """Take one look at all values since the change."""
        self.seen = [
            seen
            for title, one in self.expected.items()
            for seen in self._since(title, one, before[title])
        ]
        passed_s = min(time.time() - self.since, self.for_s)
        values = int(passed_s / self.every_s / 2)  # at least half of them
        found = [one.finding(values) for one in self.seen]
        found = [one for one in found if one.verdict is not Verdict.OK]
        current().event("watch", wrong=[one.headline for one in found])
        return found, {}

    def _since(
        self, title: str, one: Expected, before: Mapping[str, float | None]
    ) -> Iterator[Seen]:
        """Yield a figure for each series of before and since; one if there is none."""
        end = min(time.time(), self.since + self.for_s)
        lasted_s = max(2 * self.every_s, end - self.since)
        frame = self._ask(one, Asked(ends=end, last_s=lasted_s, step_s=self.every_s))
        origin = provenance(frame)
        found = dict(_series(frame))
        requests = self._requests(one, Asked(ends=end, last_s=lasted_s, step_s=self.every_s))
        for name in dict.fromkeys([*found, *before]) or [""]:
            known = catalogue.get(one.query)
            yield Seen(
                title=f"{title} ({name})" if len({*found, *before}) > 1 else title,
                expected=one,
                before=before.get(name),
                since=[pair for pair in found.get(name, ()) if pair[0] > self.since],
                unit=known.unit if known else "",
                reason=origin.reason if origin else "",
                requests=requests,
                until=end,
            )

    def _requests(self, one: Expected, asked: Asked) -> float:
        """Return the usual number of requests in 5 min; NaN if it is not measured."""
        if not one.requests:
            return math.nan
        frame = self._ask(one.model_copy(update={"query": one.requests}), asked)
        values = [value for _, known in _series(frame) for _, value in known]
        return median(values) * RATE_S if values else math.nan

    def drawn(self, one: Expected, before_s: float) -> figure.Picture:
        """Return the figure of a query from before the change until now, with its limit."""
        end = min(time.time(), self.since + self.for_s)
        lasted_s = max(2 * self.every_s, end - self.since)
        asked = Asked(ends=end, last_s=before_s + lasted_s, step_s=self.every_s)
        known = catalogue.get(one.query)
        unit = "%" if known and known.unit == "ratio" else ""
        frame = self._ask(one, asked, unit)
        frame.attrs["unit"] = unit or (known.unit if known else "")
        limit = one.critical and one.critical * (100 if unit else 1)
        return figure.of(frame, limit=limit)

    def _ask(self, one: Expected, asked: Asked, unit: str = "") -> pd.DataFrame:
        takes = catalogue.parameters(one.query)
        given = {name: value for name, value in self.values.items() if name in takes}
        return monitoring.ask("prometheus", one.query, self.source, asked, given, unit=unit)


def _series(frame: pd.DataFrame) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield the name of each series, and its figures with their moments in s since 1970."""
    for name, rows in frame.dropna(subset=["value"]).groupby("series", sort=False):
        times = [at.timestamp() for at in rows["sampled_at"]]
        yield str(name), list(zip(times, rows["value"].astype(float), strict=True))
