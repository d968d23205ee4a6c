"""What a figure of a service may be after a change, compared with before it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rbkernel.config.quantities import Number
from rbkernel.model import Finding, Verdict, now
from rbkernel.triage.changes.version import RATE_S, clock

# before a change, so many values are enough for a median (own choice)
_ENOUGH = 5

#: Moments in s since 1970, and values, in the order of time.
Samples = Sequence[tuple[float, float]]


class Expected(BaseModel):
    """The limits of a figure after a change.

    Parameters
    ----------
    query
        PromQL, or a query by name.
    critical
        A value above it is harm, whatever was before.
    times
        A value above so many times the one before the change is harm; with less than 1, a value
        below: 0.5 is half of it.
    by
        The least difference from before that is harm, in the figure's unit: what is rare varies.
    requests, least
        PromQL, or a query by name, of the requests per second that the figure is about, and how
        many of them in 5 min are needed: with fewer, the figure is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str
    critical: Number | None = None
    times: Annotated[Number, Field(gt=0)] | None = None
    by: Annotated[Number, Field(ge=0)] = 0.0
    requests: str = ""
    least: Annotated[Number, Field(ge=1)] = 300.0

    @model_validator(mode="after")
    def _can_fail(self) -> Expected:
        if self.critical is None and self.times is None:
            raise ValueError("needs critical=, times= or both: without one it cannot fail")
        if self.times == 1:
            raise ValueError("times=1 would be exceeded by the smallest change")
        return self

    def limit(self, before: float) -> float:
        """Return the limit that follows from the value before the change.

        >>> error = Expected(query="up", times=2, by=0.005)
        >>> [round(error.limit(before), 4) for before in (0.0, 0.001, 0.1)]
        [0.005, 0.006, 0.2]
        >>> Expected(query="up", times=0.5).limit(80)
        40.0
        """
        assert self.times is not None
        if self.times > 1:
            return max(before * self.times, before + self.by)
        return min(before * self.times, before - self.by)


def usual(values: Samples) -> float | None:
    """Return the median of the values before a change; None if there are too few.

    >>> usual([(0, 1.0)] * 4), usual([(0, 1.0), (1, 1.0), (2, 2.0), (3, 9.0), (4, 3.0)])
    (None, 2.0)
    """
    known = [value for _, value in values if math.isfinite(value)]
    return median(known) if len(known) >= _ENOUGH else None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A figure after a change: its limits, its usual value before, and its values since.

    ``before`` is None if it was not measured, ``reason`` says why there are no values, and ``unit``
    is the one of the values; ``ratio`` is shown in percent. ``requests`` is how many requests of
    5 min the values are about; NaN if that is not measured. ``until`` is the moment up to which was
    asked, in s since 1970.
    """

    title: str
    expected: Expected
    before: float | None
    since: Samples
    unit: str = ""
    reason: str = ""
    requests: float = math.nan
    until: float = -math.inf

    @property
    def _ended(self) -> bool:
        """Whether the last values are missing, by more than the time of a rate."""
        return bool(self.since) and self.until - self.since[-1][0] > RATE_S

    @property
    def _few(self) -> bool:
        """Whether too few requests, or an unknown number of them, make the values say nothing."""
        return bool(self.expected.requests) and not self.requests >= self.expected.least

    @property
    def harm(self) -> tuple[float, float, bool] | None:
        """The moment, the value and whether it is critical, of the first two values in a row that
        are beyond a limit; None if there are none. One alone may be an outlier.
        """
        for (_, first), (at, second) in pairwise(self.since):
            if self._critical(first) and self._critical(second):
                return at, second, True
            if self._beyond(first) and self._beyond(second):
                return at, second, self._critical(second)
        return None

    def _critical(self, value: float) -> bool:
        return self.expected.critical is not None and value > self.expected.critical

    def _beyond(self, value: float) -> bool:
        if self._critical(value):
            return True
        if self.expected.times is None or self.before is None:
            return False
        limit = self.expected.limit(self.before)
        return value > limit if self.expected.times > 1 else value < limit

    def finding(self, values: int = 1) -> Finding:
        """Return the finding; unknown if there are less than so many values, or none from before.

        >>> error = Expected(query="up", times=2, by=0.005, critical=0.02)
        >>> calm = [(60.0 * n, 0.001) for n in range(5)]
        >>> seen = Seen(title="Errors", expected=error, before=0.001, since=calm, unit="ratio")
        >>> seen.finding().actual, seen.finding(values=9).verdict.value
        ('0.1 %, before 0.1 %', 'unknown')
        """
        if self._few and self.since:
            count = "an unknown number" if math.isnan(self.requests) else f"{self.requests:.0f}"
            return self._made(
                Verdict.UNKNOWN,
                f"{self.text(self.since[-1][1])} of {count} of requests in 5 min:"
                f" {self.expected.least:.0f} are needed",
                next_step="wait for more requests, or read the log: so few say nothing",
            )
        if self.harm:
            return self._harmful(*self.harm)
        latest = self.since[-1][1] if self.since else None
        said = f"{self.text(latest)}, before {self.text(self.before)}"
        comparable = self.expected.times is None or self.before is not None
        if self.before == 0 and (self.expected.times or 2) < 1:
            comparable = False  # what was 0 cannot become less
        if self._ended and not self.reason:
            said = f"no value since {clock(self.since[-1][0])[11:]} UTC"
        if self.reason or self._ended or len(self.since) < values or not comparable:
            return self._made(
                Verdict.UNKNOWN,
                self.reason or said,
                next_step="watch the dashboard: nothing here does",
            )
        return self._made(Verdict.OK, said)

    def _harmful(self, at: float, value: float, critical: bool) -> Finding:
        said = f"{self.text(value)}, before {self.text(self.before)}"
        return self._made(
            Verdict.CRITICAL if critical else Verdict.WARNING,
            said,
            cause=f"{self.title} at {clock(at)[11:]} UTC: {said}",
            which=self.title,
            next_step="see whether the new version did it, and take it back",
            opens="RUN-022",
            value=value,
        )

    def _made(self, verdict: Verdict, actual: str, **more: Any) -> Finding:
        return Finding(
            title=self.title,
            verdict=verdict,
            expected=self.limits,
            actual=actual,
            at=now(),
            **more,
        )

    @property
    def limits(self) -> str:
        """The limits, in words."""
        words = []
        if self.expected.critical is not None:
            words.append(f"at most {self.text(self.expected.critical)}")
        if self.expected.times is not None and self.before is not None:
            side = "at most" if self.expected.times > 1 else "at least"
            words.append(
                f"{side} {self.text(self.expected.limit(self.before))}, by what was before"
            )
        return "; ".join(words)

    def text(self, value: float | None) -> str:
        """Return a value with its unit.

        >>> error = Seen(title="", expected=Expected(query="up", times=2), before=0, since=())
        >>> error.text(None), error.text(1234.5)
        ('not measured', '1.23e+03')
        """
        if value is None:
            return "not measured"
        if self.unit == "ratio":
            return f"{value * 100:.3g} %"
        return f"{value:.3g} {self.unit}".strip()

    def row(self) -> tuple[str, ...]:
        """Return the line of a table: title, before, latest, worst, limits."""
        values = [value for _, value in self.since]
        worst = (min if (self.expected.times or 2) < 1 else max)(values, default=None)
        latest = values[-1] if values else None
        return (self.title, *map(self.text, (self.before, latest, worst)), self.limits)
