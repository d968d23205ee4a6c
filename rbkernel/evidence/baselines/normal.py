"""The usual value of a figure at an hour of the day, from earlier samples. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# samples of fewer days may be those of one odd week
NEEDED = 7
AROUND = timedelta(hours=1)
DAY = timedelta(days=1)
_SATURDAY = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A figure that an earlier run measured, and when, with the time zone."""

    at: datetime
    value: float


@dataclass(frozen=True, kw_only=True)
class Normal:
    """The usual value at an hour; ``median`` is None if there are too few days.

    ``among`` says which days the samples are of. On ``cut_days`` days not all runs were read.
    """

    median: float | None
    days: int
    among: str
    cut_days: int = 0

    @property
    def words(self) -> str:
        """What the usual value rests on as text, or what is missing.

        >>> Normal(median=2.0, days=9, among="workdays").words
        'the median of 9 workdays at this hour'
        >>> Normal(median=None, days=3, among="days").words
        'no baseline yet: 3 of 7 days at this hour'
        >>> Normal(median=None, days=3, among="days", cut_days=5).words
        'no baseline yet: 3 of 7 days at this hour; on 5 days there were too many runs to read all'
        """
        if self.median is not None:
            return f"the median of {self.days} {self.among} at this hour"
        cut = f"; on {self.cut_days} days there were too many runs to read all"
        few = f"no baseline yet: {self.days} of {NEEDED} days at this hour"
        return few + (cut if self.cut_days else "")


def normal(earlier: Sequence[Sample], now: datetime, cut_days: int = 0) -> Normal:
    """Return the usual value of a figure at this hour.

    Samples of the same kind of day (workday or weekend, in UTC) are used if there are enough of
    them, else those of all days.

    Parameters
    ----------
    earlier
        One sample of each day, at this hour.
    now
        The present time.
    cut_days
        On how many days not all runs at this hour were read.
    """
    alike = [one for one in earlier if _is_weekend(one.at) == _is_weekend(now)]
    kind = "weekend days" if _is_weekend(now) else "workdays"
    chosen, among = (alike, kind) if len(alike) >= NEEDED else (earlier, "days")
    median = statistics.median(one.value for one in chosen) if len(chosen) >= NEEDED else None
    return Normal(median=median, days=len(chosen), among=among, cut_days=cut_days)


def _is_weekend(at: datetime) -> bool:
    return at.astimezone(UTC).weekday() >= _SATURDAY
