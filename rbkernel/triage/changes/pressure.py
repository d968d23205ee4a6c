"""`rb.pressure`: does a resource of a service run out by its load, slow calls, or a leak?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from rbkernel.arguments import checked
from rbkernel.checks.answer import provenance
from rbkernel.checks.frames import Frame
from rbkernel.config.quantities import Number
from rbkernel.model import Finding, Verdict, now
from rbkernel.triage.check import keep

# own choices: a leak grows by this factor and this much, in most of its steps, while the load does
# not grow by this factor
_GREW, _BY, _STEADY, _LOADED = 1.3, 0.1, 0.7, 1.2
# so many values show a course
_ENOUGH = 12
# calls are slower if they take this many times as long as at the beginning, and this many s longer;
# a leak grows step by step: one step is less than this share of its growth (own choices)
_SLOWER, _SLOWER_S, _AT_ONCE = 1.5, 0.05, 0.5
# slower calls and more load explain a growth if they multiply to this part of it (own choice)
_EXPLAINS = 0.5
# after a fall to less than this share, as by a restart, it begins anew
_FELL = 0.5

Ratio = Annotated[Number, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """The result of `pressure`, which has already been shown.

    ``leak`` is about use that grows without load, ``full`` about a resource that is used up, for
    whatever reason, ``held`` about calls to another system that have become slow, and hold it.
    ``loaded`` says whether its load has grown, so that more instances help; None if that is
    unknown.
    """

    leak: Finding
    full: Finding
    held: Finding
    loaded: bool | None

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.pressure` has shown the findings."""


@checked
def pressure(
    title: str, used: Frame, load: Frame, *, calls: Frame | None = None, full: Ratio = 0.85
) -> Pressure:
    """Judge why a resource is used up: by more load, by slow calls, or by a leak.

    Only a leak is ended by a restart.

    Parameters
    ----------
    title
        The resource, such as ``Connection pool``.
    used
        The result of `rb.promql` with ``last_s``: the share of the resource in use (0 to 1).
    load
        The result of `rb.promql` for the same time: what uses it, such as requests per second.
    calls
        The answer to ``@upstream/latency_p95`` for the same time: a slow call holds a connection
        for as long. None if the service calls no other system.
    full
        The share from which on it counts as used up.

    Returns
    -------
    Pressure
        With three findings; they are unknown if the share was not measured long enough.
    """
    said = [origin.reason for one in (used, load) if (origin := provenance(one))]
    reason = "; ".join(dict.fromkeys(filter(None, said)))
    found = Course(
        title=title,
        used=_highest(used),
        load=_highest(load),
        calls=None if calls is None else _by_system(calls),
        full=full,
        reason=reason,
    )
    return Pressure(
        held=keep(found.held()),
        leak=keep(found.leak()),
        full=keep(found.used_up()),
        loaded=found.by_load,
    )


def _by_system(frame: pd.DataFrame) -> dict[str, list[float]]:
    if "upstream" not in frame:
        return {}
    return {str(name): _highest(rows) for name, rows in frame.groupby("upstream")}


def _highest(frame: pd.DataFrame) -> list[float]:
    """Return the largest value of each moment, in the order of time."""
    if frame.empty:
        return []
    values = frame.groupby("sampled_at")["value"].max().sort_index()
    return [float(one) for one in values if math.isfinite(one)]


@dataclass(frozen=True, kw_only=True)
class Course:
    """The use of a resource (0 to 1) and its load over the same time. Pure.

    >>> grows = Course(title="Pool", used=[n / 40 for n in range(10, 38)], load=[50.0] * 28)
    >>> grows.leak().actual, grows.used_up().verdict.value
    ('32 % to 85 %, with 1 times the load', 'ok')
    >>> busy = Course(title="Pool", used=[n / 40 for n in range(12, 40)], load=[*range(50, 106, 2)])
    >>> busy.leak().verdict.value, busy.used_up().verdict.value
    ('ok', 'critical')
    """

    title: str
    used: Sequence[float]
    load: Sequence[float]
    calls: Mapping[str, Sequence[float]] | None = None
    full: float = 0.85
    reason: str = ""

    @property
    def _since_fall(self) -> Sequence[float]:
        falls = [n for n, (a, b) in enumerate(pairwise(self.used), 1) if b < a * _FELL]
        return self.used[falls[-1] :] if falls else self.used

    @property
    def _ends(self) -> tuple[float, float]:
        return _ends(self._since_fall)

    @property
    def _leaks(self) -> bool | None:
        """Whether the use grows without load; None if that is unknown."""
        course = self._since_fall
        if len(self.used) < _ENOUGH:
            return None
        if len(course) < _ENOUGH:
            return False  # it fell a moment ago
        first, last = self._ends
        steps = [later - before for before, later in pairwise(course)]
        if not self._grew or sum(one >= 0 for one in steps) < _STEADY * len(steps):
            return False
        if max(steps) >= _AT_ONCE * (last - first) or self._slow:
            return False
        measured = self._loaded is not None and self._slow is not None
        return (self._loaded or 0.0) < _LOADED if measured else None

    @property
    def _grew(self) -> bool:
        first, last = self._ends
        return last >= first * _GREW and last - first >= _BY

    @property
    def _slow(self) -> str | None:
        """The system of which calls have become slower by most, with how much.

        Empty if none has, or too little for the growth: use is load times duration. None if that
        is not measured long enough.
        """
        if self.calls is None:
            return ""
        ends = {
            name: _ends(values) for name, values in self.calls.items() if len(values) >= _ENOUGH
        }
        if not ends:
            return None
        name, (first, last) = max(ends.items(), key=lambda one: one[1][1] - one[1][0])
        if last < first * _SLOWER or last - first < _SLOWER_S:
            return ""
        before, after = self._ends
        if last * (self._loaded or 1.0) * before < _EXPLAINS * after * first:
            return ""
        return f"{name} ({first:.2g} s to {last:.2g} s)"

    @property
    def _loaded(self) -> float | None:
        """How many times the load of the beginning there is at the end; None if unknown."""
        if len(self.load) < _ENOUGH:
            return None
        first, last = _ends(self.load[-len(self._since_fall) :])
        return last / first if first > 0 else None

    @property
    def by_load(self) -> bool | None:
        """Whether it is used up, and by more load than before; None if that is unknown.

        At an unchanged load something holds it: new instances would be held, too.
        """
        if not self.used_up().wrong:
            return False
        return None if self._loaded is None else self._loaded >= _LOADED

    def leak(self) -> Finding:
        """Return the finding on a leak."""
        found = partial(self._found, f"{self.title}: growth without load", "none")
        if self._leaks is None:
            return self._unseen(found)
        first, last = self._ends
        if not self._leaks:
            return found(Verdict.OK, f"{_share(first)} to {_share(last)}")
        said = f"{_share(first)} to {_share(last)}, with {self._loaded:.2g} times the load"
        return found(
            Verdict.CRITICAL if last > self.full else Verdict.WARNING,
            said,
            cause=f"{self.title} grows without more load: {said}. Something is not given back",
            next_step="restart the instances one after the other; it comes back until the leak is"
            " repaired",
            value=last,
        )

    def held(self) -> Finding:
        """Return the finding on calls that have become slow while the use grew."""
        found = partial(self._found, f"{self.title}: held by slow calls", "none")
        if self._slow is None or not self.used:
            return self._unseen(found)
        if not self._slow or not (self._grew or self.used_up().wrong):
            return found(Verdict.OK, "no calls have become slow while it grew")
        return found(
            Verdict.CRITICAL if self.used_up().wrong else Verdict.WARNING,
            self._slow,
            cause=f"calls have become slow, and hold the {self.title.lower()}: {self._slow}",
            which=self._slow.partition(" (")[0],
            next_step="do without the slow system; a restart does not help",
            opens="RUN-023",
        )

    def used_up(self) -> Finding:
        """Return the finding on a resource that is used up."""
        found = partial(self._found, f"{self.title}: in use", f"at most {_share(self.full)}")
        if len(self.used) < _ENOUGH:
            return self._unseen(found)
        _, last = self._ends
        if last <= self.full:
            return found(Verdict.OK, _share(last), value=last)
        load = f", with {self._loaded:.2g} times the load" if self._loaded is not None else ""
        return found(
            Verdict.CRITICAL,
            f"{_share(last)}{load}",
            cause=f"{self.title} is used up: {_share(last)}{load}",
            next_step=self._step,
            value=last,
        )

    @property
    def _step(self) -> str:
        if self._leaks:
            return "restart the instances: it leaks"
        if self._slow:
            return "do without the slow system, which holds it"
        if self._loaded is not None and self._loaded >= _LOADED:
            return "add instances; see first that the database has connections for them"
        return "find out what holds it, such as a slow call: its load does not explain it"

    def _unseen(self, found: partial[Finding]) -> Finding:
        few = f"only {len(self.used)} values, {_ENOUGH} are needed"
        slow = "the time of calls to other systems is not measured" if self._slow is None else ""
        said = self.reason or (few if len(self.used) < _ENOUGH else slow) or "its load is unknown"
        return found(Verdict.UNKNOWN, said, next_step="look at the dashboard")

    def _found(
        self, title: str, expected: str, verdict: Verdict, actual: str, **more: Any
    ) -> Finding:
        return Finding(
            title=title,
            verdict=verdict,
            expected=expected,
            actual=actual,
            at=now(),
            **more,
        )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last quarter.

    >>> _ends([1.0, 1.0, 5.0, 5.0, 9.0, 9.0, 8.0, 8.0])
    (1.0, 8.0)
    """
    quarter = max(1, len(values) // 4)
    return median(values[:quarter]), median(values[-quarter:])


def _share(ratio: float) -> str:
    return f"{ratio * 100:.0f} %"
