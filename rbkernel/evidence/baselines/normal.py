"""The usual value of a figure at an hour of the day, from earlier samples. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# fewer samples, or samples of fewer days, may be those of one odd week
NEEDED, DAYS = 7, 5
AROUND = timedelta(hours=1)
_DAY = timedelta(days=1)
_SATURDAY = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A figure that an earlier run measured, and when, with the time zone."""

    at: datetime
    value: float


@dataclass(frozen=True, kw_only=True)
class Normal:
    """The usual value at an hour; ``median`` is None if there are too few samples.

    ``among`` says which days the samples are of.
    """

    median: float | None
    samples: int
    days: int
    among: str

    @property
    def words(self) -> str:
        """The number of samples as text, or what is missing.

        >>> Normal(median=None, samples=3, days=3, among="all days").words
        'no baseline yet: 3 of 7 samples at this hour'
        >>> Normal(median=None, samples=9, days=3, among="all days").words
        'no baseline yet: samples of 3 of 5 days at this hour'
        >>> Normal(median=2.0, samples=9, days=9, among="9 workdays").words
        'the median of 9 earlier runs at this hour, on 9 workdays'
        """
        if self.median is not None:
            return f"the median of {self.samples} earlier runs at this hour, on {self.among}"
        if self.samples < NEEDED:
            return f"no baseline yet: {self.samples} of {NEEDED} samples at this hour"
        return f"no baseline yet: samples of {self.days} of {DAYS} days at this hour"


def is_near(at: datetime, now: datetime) -> bool:
    """Tell whether two times are at most an hour apart on the clock, whatever their days.

    >>> def at(clock):
    ...     return datetime.fromisoformat(f"2026-11-20T{clock}:00+00:00")
    >>> [is_near(at(clock), at("23:30")) for clock in ("22:30", "00:29", "00:31", "12:00")]
    [True, True, False, False]
    """
    apart = (at - now) % _DAY
    return min(apart, _DAY - apart) <= AROUND


def normal(earlier: Sequence[Sample], now: datetime) -> Normal:
    """Return the usual value of a figure at this hour.

    Samples of the same kind of day (workday or weekend, in UTC) are used if there are enough of
    them, else those of all days.

    Parameters
    ----------
    earlier
        Samples of other days, at any hour.
    now
        The present time.
    """
    near = [one for one in earlier if is_near(one.at, now)]
    alike = [one for one in near if _is_weekend(one.at) == _is_weekend(now)]
    if _is_enough(alike):
        return _of(alike, "weekends" if _is_weekend(now) else "workdays")
    return _of(near, "days")


def _of(chosen: Sequence[Sample], kind: str) -> Normal:
    enough = _is_enough(chosen)
    return Normal(
        median=statistics.median(one.value for one in chosen) if enough else None,
        samples=len(chosen),
        days=_days(chosen),
        among=f"{_days(chosen)} {kind}",
    )


def _is_enough(chosen: Sequence[Sample]) -> bool:
    return len(chosen) >= NEEDED and _days(chosen) >= DAYS


def _days(chosen: Sequence[Sample]) -> int:
    return len({one.at.astimezone(UTC).date() for one in chosen})


def _is_weekend(at: datetime) -> bool:
    return at.astimezone(UTC).weekday() >= _SATURDAY
