"""What is usual at this time: by the last days, and by the same day of the weeks before. Pure.

The last days know nothing of weekends and of work that comes once a week; the same day of the week
has few values, and one of them may be an incident. So both are compared. That of the weekday is
used if it is steady, otherwise that of the last days if both say the same of the value. If they
disagree about it, nothing is usual: the answer is unknown, and says both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from rbkernel import amounts
from rbkernel.sources.monitoring.series import Series

#: How many weeks back the same weekday is asked for.
WEEKS = 4
# so many values of the same weekday, within this factor of each other, are steady; two baselines
# within the factor say the same (own choices)
_STEADY, _FACTOR = 2, 2.0
Identity = frozenset[tuple[str, str]]


class Usual(NamedTuple):
    """A baseline (NaN if it is not known), the days of which it is one, and whether it is disputed:
    the last days and the same weekday disagree.
    """

    value: float
    of: str
    disputed: bool = False


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The values of a series at this time of the last days, and of the same weekday before.

    ``asked`` is of how many days values were asked for.
    """

    asked: int
    days: Sequence[float] = ()
    weeks: Sequence[float] = ()
    weekday: str = "day of the week"

    @property
    def by_days(self) -> float:
        """The median of the last days; NaN with values of less than half of them."""
        return median(self.days) if self.days and 2 * len(self.days) >= self.asked else math.nan

    def usual(self, now: float) -> Usual:
        """Return the baseline with which a value is compared.

        >>> Baseline(asked=7, days=[5, 5, 5, 5]).usual(9)
        Usual(value=5.0, of='4 days', disputed=False)
        >>> sunday = Baseline(asked=7, days=[0, 0, 0, 0, 0, 0, 6], weeks=[6], weekday="Sunday")
        >>> sunday.usual(6)
        Usual(value=nan, of='disputed: 0 by the last days, 6 by the last Sunday', disputed=True)
        >>> sunday.usual(60).of, sunday.usual(0).of
        ('1 Sunday', '7 days')
        >>> Baseline(asked=7, days=sunday.days, weeks=[6, 7], weekday="Sunday").usual(6)
        Usual(value=6.5, of='2 Sundays', disputed=False)
        """
        by_days, of_days = self.by_days, amounts.count(len(self.days), "day")
        if not self.weeks:
            return Usual(by_days, of_days)
        by_week, of_weeks = median(self.weeks), amounts.count(len(self.weeks), self.weekday)
        if len(self.weeks) >= _STEADY and _alike(self.weeks):
            return Usual(by_week, of_weeks)
        # without values on most days, a series was usually not there
        low, high = sorted((0.0 if math.isnan(by_days) else by_days, by_week))
        if _alike((low, high)):
            return Usual(by_week if math.isnan(by_days) else by_days, of_days)
        beyond = high if now > _FACTOR * high else low if now <= low else math.nan
        if math.isnan(beyond):
            said = "none" if math.isnan(by_days) else f"{by_days:g}"
            last = f"{by_week:g} by the last {self.weekday}"
            return Usual(math.nan, f"disputed: {said} by the last days, {last}", disputed=True)
        return Usual(beyond, of_weeks if beyond == by_week else of_days)


def _alike(values: Iterable[float]) -> bool:
    """Return whether values are within a factor of each other.

    >>> _alike([5, 9]), _alike([5, 11]), _alike([0, 0]), _alike([0, 1])
    (True, False, True, False)
    """
    low, *_, high = sorted(values)
    return low == high or 0 < high <= _FACTOR * low


def baselines(
    days: Sequence[Series], weeks: Sequence[Series], *, asked: int, at: float
) -> Mapping[Identity, Baseline]:
    """Return the baseline of each series, from the values of the last days and of the last weeks.

    Parameters
    ----------
    days, weeks
        The series with a value of each of the last days, and of this day of each week.
    asked
        Of how many days values were asked for.
    at
        The moment whose value is compared, in s since 1970.
    """
    of_days = {one.identity: _values(one) for one in days}
    of_weeks = {one.identity: _values(one) for one in weeks}
    weekday = f"{datetime.fromtimestamp(at, UTC):%A}"
    return {
        one: Baseline(
            asked=asked,
            days=of_days.get(one, ()),
            weeks=of_weeks.get(one, ()),
            weekday=weekday,
        )
        for one in {**of_days, **of_weeks}
    }


def _values(one: Series) -> list[float]:
    return [v for _, v in one.samples if isinstance(v, float) and math.isfinite(v)]
