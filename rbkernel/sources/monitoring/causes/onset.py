"""When a trouble began, from the values of a range. Pure.

A rate looks back over its window. Until the window lies wholly after the beginning, its values mix
the time before and after it: an outage looks like a failure in part, and a new culprit like none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rbkernel import amounts
from rbkernel.checks.answer import provenance
from rbkernel.sources.monitoring.causes.figures import Course
from rbkernel.sources.monitoring.causes.suspect import Suspect, unknown

if TYPE_CHECKING:
    import pandas as pd

# values that differ by this share of the larger one are of another level (own choice)
_MOVED = 0.5
# a value this near to the old level, as a share of the way to the new one, is still of the old one
_NEAR = 0.1
_EARLY = "A beginning that is too recent to judge"
_WINDOW_S = 300.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class Onset:
    """When a series left its level: at the latest at ``began``, seen at ``ends`` (s since 1970).

    ``window_s`` is the time over which its values look back.
    """

    began: float
    ends: float
    window_s: float

    @property
    def ago_s(self) -> float:
        """How long ago it began, in s."""
        return self.ends - self.began

    @property
    def early(self) -> bool:
        """Whether the newest value still mixes the time before and after the beginning."""
        return self.ago_s < self.window_s

    def suspect(self, what: str, between: str) -> Suspect:
        """Return the suspect that says when to look again.

        Parameters
        ----------
        what
            What began, such as "calls of m fail".
        between
            What cannot be told yet, such as "an outage from failures in part".
        """
        if not self.early:
            return settled()
        # a minute more: the newest value may be one scrape old
        again = datetime.fromtimestamp(self.began + self.window_s + 60, UTC).strftime("%H:%M UTC")
        ago = amounts.duration(self.ago_s)
        return Suspect(
            title=_EARLY,
            holds=True,
            said=f"{what}, which began about {ago} ago: too early to tell {between}",
            next_step=f"look again at {again}; what is measured now mixes before and after",
        )


def settled() -> Suspect:
    """Return the suspect for values of which the whole window is of one time."""
    return Suspect(title=_EARLY, holds=False, said="it did not begin just now")


def window_s(frame: pd.DataFrame) -> float:
    """Return over how many s the values of an answer look back: the longest range of its query."""
    origin = provenance(frame)
    ranges = re.findall(r"\[(\d+)([smh])\]", origin.sql if origin else "")
    return max((int(number) * _UNITS[unit] for number, unit in ranges), default=_WINDOW_S)


def onset(course: Course, window_s: float, within_s: float | None = None) -> Onset | None:
    """Return when the newest level of a series began; None if it was so all the time.

    Parameters
    ----------
    course
        The values of the series; the newest one is compared with the others.
    window_s
        The time over which each value looks back, in s.
    within_s
        How far to look back, in s; by default two windows, which is enough to see a mixture.

    >>> rising = Course(values=[(60.0 * n, max(0.0, min(1.0, (n - 20) / 5))) for n in range(24)])
    >>> found = onset(rising, 300)
    >>> found.ago_s, found.early
    (120.0, True)
    >>> onset(Course(values=[(60.0 * n, 0.4) for n in range(24)]), 300) is None
    True
    """
    if not course.values:
        return None
    ends, now = course.values[-1]
    since = ends - (within_s or 2 * window_s)
    known = [one for one in course.values if one[0] >= since]
    _, old = max(known, key=lambda one: abs(one[1] - now))
    if abs(now - old) <= _MOVED * max(abs(now), abs(old)):
        return None
    still = max(at for at, value in known if abs(value - old) <= _NEAR * abs(now - old))
    began = min(at for at, _ in known if at > still)
    return Onset(began=began, ends=ends, window_s=window_s)


def unless_early(early: Suspect, suspects: Mapping[str, Suspect]) -> dict[str, Suspect]:
    """Return the suspects with ``early``; while it holds, nothing is known of the others."""
    if not early.holds:
        return {"early": early, **suspects}
    others = {
        name: unknown(one.title, early.said, early.next_step) for name, one in suspects.items()
    }
    return {"early": early, **others}
