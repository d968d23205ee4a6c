"""A deployed version of a service: its start, its requests, and the share of them that failed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

#: The rates of the named queries are over so many s.
RATE_S = 300.0

#: A moment in s since 1970, and the share of requests that failed then (0 to 1).
Sample = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A deployed version: when it was started (s since 1970), how many instances run it now, and
    the share of its requests that failed, in the order of time. ``rates`` are its requests per
    second, in the same form.
    """

    name: str
    started_at: float
    instances: float = 0.0
    errors: tuple[Sample, ...] = ()
    rates: tuple[Sample, ...] = ()

    def between(self, begin: float, end: float) -> float | None:
        """Return the median share of failed requests in a time; None if it is not measured."""
        found = [value for at, value in self.errors if begin <= at <= end]
        return median(found) if found else None

    def served(self, end: float) -> float:
        """Return about how many requests it got before a moment; 0 if that is not measured.

        >>> Version(name="2", started_at=0, rates=((0, 0.5), (60, 0.5), (120, 9))).served(100)
        60.0
        """
        known = [(at, value) for at, value in self.rates if at < end]
        steps = [later - at for (at, _), (later, _) in pairwise(known)]
        return sum(value for _, value in known) * (median(steps) if steps else 0.0)

    def onset(self, limit: float) -> float:
        """Return since when the share has been above a limit; infinite if it never was.

        A time below it that is shorter than that of a rate is no end: errors may come in bursts.

        >>> Version(name="2", started_at=0, errors=((0, 0), (60, 9), (120, 0), (180, 9))).onset(1)
        60
        """
        began = math.inf
        for at, value in reversed(self.errors):
            if value > limit:
                began = at
            elif began < math.inf and began - at > RATE_S:
                break
        return began


def samples(rows: Iterable[tuple[float, float]]) -> tuple[Sample, ...]:
    """Return the values that are figures, in the order of time.

    >>> samples([(60.0, 0.5), (0.0, float("nan"))])
    ((60.0, 0.5),)
    """
    return tuple(sorted((at, value) for at, value in rows if math.isfinite(value)))


def as_share(ratio: float) -> str:
    """Return a ratio as text in percent.

    >>> as_share(0.4138), as_share(0.000438), as_share(0.99996), as_share(0.0)
    ('41 %', '0.044 %', '100 %', '0 %')
    """
    return f"{ratio * 100:.0f} %" if ratio >= 0.1 else f"{ratio * 100:.2g} %"


def clock(at: float) -> str:
    """Return a time in s since 1970 as text, in UTC.

    >>> clock(1_732_071_600)
    '2024-11-20 03:00'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
