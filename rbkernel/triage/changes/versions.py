"""Which version of a service brought its errors, and which version was the last good one. Pure.

A deployment is to blame only if the errors began with it: they were not there before, no other
running version has them, and they did not begin long after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

from rbkernel import amounts
from rbkernel.model import Finding, Verdict, now

# values of the last 5 min are what is now; the rates of the named queries are over 5 min, too
_NOW_S = 300.0
# what was before a deployment, and how long after it errors may begin and still be its (own choice)
_BEFORE_S, _AFTER_S = 900.0, 1800.0
# so few failed requests in that time say nothing (own choice)
_FEW = 5
# a version is known to be good after so many values, one each minute (own choice)
_ENOUGH = 5
_ERRORS, _BEGAN, _GOOD, _STOOD = (
    "errors of the running version",
    "errors since the deployment",
    "last good version",
    "time since the deployment",
)
_SEE_METRICS = "see `rbkernel doctor`: which named queries does Prometheus answer?"

#: A moment in s since 1970, and the share of requests that failed then (0 to 1).
Sample = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A deployed version: when it was started (s since 1970), how many instances run it now, and
    the share of its requests that failed, in the order of time. ``rate`` is how many requests per
    second it gets now; NaN if unknown.
    """

    name: str
    started_at: float
    instances: float = 0.0
    errors: tuple[Sample, ...] = ()
    rate: float = math.nan

    def between(self, begin: float, end: float) -> float | None:
        """Return the median share of failed requests in a time; None if it is not measured."""
        found = [value for at, value in self.errors if begin <= at <= end]
        return median(found) if found else None

    def onset(self, limit: float) -> float:
        """Return since when the share has been above a limit; one value below it is no end.

        >>> Version(name="2", started_at=0, errors=((0, 0), (60, 9), (120, 0), (180, 9))).onset(1)
        60
        """
        began, below = math.inf, 0
        for at, value in reversed(self.errors):
            below = 0 if value > limit else below + 1
            if below > 1:
                break
            began = at if value > limit else began
        return began


@dataclass(frozen=True, kw_only=True)
class Deployments:
    """The versions of a service, as they were deployed, at a moment ``at`` (s since 1970).

    ``service`` begins the title of each finding. ``limit`` is the share of failed requests (0 to 1)
    up to which a version is good; ``reason`` says why nothing is known of them.
    """

    versions: tuple[Version, ...]
    at: float
    limit: float
    service: str = "service"
    reason: str = ""

    @property
    def current(self) -> Version | None:
        """The version that was deployed last, of those that run; None if none is known to run."""
        running = [one for one in self.versions if one.instances > 0]
        return max(running, key=lambda one: one.started_at, default=None)

    @property
    def earlier(self) -> list[Version]:
        """The versions before the current one, the newest first."""
        return [] if self.current is None else self._before(self.current)

    @property
    def good(self) -> Version | None:
        """The newest earlier version that was measured, and whose errors were within the limit."""
        return next((one for one in self.earlier if self.was_good(one)), None)

    def was_good(self, one: Version) -> bool | None:
        """Return whether a version's errors were within the limit, before the current one came.

        None if too little of it is measured.
        """
        end = self.current.started_at if self.current else math.inf
        values = [value for at, value in one.errors if at < end]
        return median(values) <= self.limit if len(values) >= _ENOUGH else None

    def now(self, one: Version) -> float | None:
        """Return the share of a version's requests that fail now; None if it is not measured."""
        return one.between(self.at - _NOW_S, math.inf)

    def errors(self) -> Finding:
        """Return the finding on the errors of the running version.

        >>> Deployments(versions=(), at=0, limit=0.01, reason="no Prometheus").errors().actual
        'no Prometheus'
        """
        found = partial(self._found, _ERRORS, f"at most {_share(self.limit)} of its requests fail")
        if (current := self.current) is None:
            said = self.reason or "no version is known to run"
            return found(Verdict.UNKNOWN, said, next_step=_SEE_METRICS)
        value = self.now(current)
        if value is None:
            said = self.reason or f"of {current.name}, no request is measured"
            return found(Verdict.UNKNOWN, said, next_step=_SEE_METRICS)
        wrong = value > self.limit
        requests = current.rate * _NOW_S
        if wrong and requests * value < _FEW:
            said = f"{_share(value)} of only {requests:.0f} requests to {current.name}"
            step = "wait for more requests, or read the log: so few failures say nothing"
            return found(Verdict.UNKNOWN, said, next_step=step)
        return found(
            Verdict.CRITICAL if wrong else Verdict.OK,
            f"{_share(value)} of {current.name}",
            cause=f"{_share(value)} of the requests to {current.name} fail" if wrong else "",
            which=current.name if wrong else "",
            next_step="see whether they began with the deployment" if wrong else "",
            value=value,
        )

    def began(self) -> Finding:
        """Return the finding on whether the deployment of the running version brought its errors.

        It is ok if there are no errors, or if they have another origin: ``actual`` says which.
        """
        errors = self.errors()
        found = partial(self._found, _BEGAN, "none that began with it")
        current = self.current
        if current is None or errors.unknown:
            return found(Verdict.UNKNOWN, errors.actual, next_step=errors.next_step)
        if errors.ok:
            return found(Verdict.OK, f"none: {errors.actual}")
        if origin := self._elsewhere(current):
            return found(Verdict.OK, f"errors, but not by the deployment: {origin}")
        first = self._first_bad(current)
        begin = first.started_at
        values = [one.between(begin - _BEFORE_S, begin) for one in self._before(first)]
        before = max((one for one in values if one is not None), default=None)
        if before is None:
            return found(
                Verdict.UNKNOWN,
                f"what failed before {first.name} was deployed is not measured",
                next_step="compare with the dashboard; give a longer look_back_s",
            )
        still = "" if first is current else f", also those to {current.name}"
        cause = (
            f"{first.name} was deployed at {clock(begin)} UTC, and since then requests fail"
            f"{still}: {_share(errors.value or 0.0)}, before it {_share(before)}"
        )
        return found(
            Verdict.CRITICAL,
            cause,
            cause=cause,
            which=current.name,
            next_step="take the deployment back: a rollback, or its feature flag",
            opens="RUN-022",
            explains=("RUN-022",),
            value=errors.value,
        )

    def _first_bad(self, one: Version) -> Version:
        """Return the version with which the errors of a version began: it, or one before it."""
        for other in self._before(one):
            value = other.between(one.started_at - _NOW_S, one.started_at)
            if value is not None:
                return self._first_bad(other) if value > self.limit else one
        return one

    def _elsewhere(self, current: Version) -> str:
        """Return why the errors are not by the deployment; empty if nothing says so."""
        first = self._first_bad(current)
        # of the same minutes: what began just before the deployment is not in the older values
        since = max(self.at - _NOW_S, first.started_at)
        for other in self._before(first):
            value = other.between(since, math.inf)
            if other.instances > 0 and value is not None and value > self.limit:
                return f"{other.name}, which runs too, fails {_share(value)} of its requests"
        late = first.onset(self.limit) - first.started_at
        if late > _AFTER_S:
            return f"they began {amounts.duration(late)} after {first.name} was deployed"
        return ""

    def last_good(self) -> Finding:
        """Return the finding on the version to go back to: unknown if none is known to be good."""
        found = partial(self._found, _GOOD, "one that was measured")
        errors = self.errors()
        if errors.ok and self.current:
            return found(Verdict.OK, f"{self.current.name}, which runs")
        if (began := self.began()).ok:
            return found(Verdict.OK, f"not needed: {began.actual}")
        if good := self.good:
            begun = clock(good.started_at)
            return found(Verdict.OK, f"{good.name}, deployed {begun} UTC", which=good.name)
        names = ", ".join(one.name for one in self.earlier)
        said = self.reason or (
            f"none of {names} is known to be good" if names else "no earlier version is known"
        )
        return found(
            Verdict.UNKNOWN,
            said,
            next_step="ask who deployed last; give a longer look_back_s",
        )

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Return a line for each version, the newest first: name, start, instances, errors."""
        ordered = sorted(self.versions, key=lambda one: one.started_at, reverse=True)
        return tuple(
            (
                one.name,
                clock(one.started_at),
                f"{one.instances:g}",
                _known(self.now(one)),
                _known(one.between(-math.inf, self._ended(one))),
            )
            for one in ordered
        )

    def _before(self, one: Version) -> list[Version]:
        older = (other for other in self.versions if other.started_at < one.started_at)
        return sorted(older, key=lambda other: other.started_at, reverse=True)

    def stood(self, name: str, least_s: float) -> Finding:
        """Return the finding on how long a version has been deployed; too short is a warning.

        >>> new = Version(name="2", started_at=60, instances=1)
        >>> one = Deployments(versions=(new,), at=360, limit=0.01)
        >>> [one.stood("2", least_s).verdict.value for least_s in (300, 900)]
        ['ok', 'warning']
        """
        found = partial(self._found, _STOOD, f"{amounts.duration(least_s)} with {name}")
        runs = next((one for one in self.versions if one.name == name and one.instances > 0), None)
        if runs is None:
            said = self.reason or f"{name or 'the version'} is not known to run"
            return found(Verdict.UNKNOWN, said, next_step="deploy it there first")
        stood_s = self.at - runs.started_at
        said, short = amounts.duration(stood_s), stood_s < least_s
        return found(
            Verdict.WARNING if short else Verdict.OK,
            said,
            cause=f"{name} has served {self.service} for {said} only" if short else "",
            next_step=f"wait {amounts.duration(least_s - stood_s)}" if short else "",
            value=stood_s,
        )

    def _found(
        self, title: str, expected: str, verdict: Verdict, actual: str, **more: Any
    ) -> Finding:
        return Finding(
            title=f"{self.service}: {title}",
            verdict=verdict,
            expected=expected,
            actual=actual,
            at=now(),
            **more,
        )

    def _ended(self, one: Version) -> float:
        later = (other.started_at for other in self.versions if other.started_at > one.started_at)
        return min(later, default=math.inf)


def samples(rows: Iterable[tuple[float, float]]) -> tuple[Sample, ...]:
    """Return the values that are figures, in the order of time.

    >>> samples([(60.0, 0.5), (0.0, float("nan"))])
    ((60.0, 0.5),)
    """
    return tuple(sorted((at, value) for at, value in rows if math.isfinite(value)))


def _share(ratio: float) -> str:
    """Return a ratio as text in percent.

    >>> _share(0.25), _share(0.0004)
    ('25 %', '0.04 %')
    """
    return f"{ratio * 100:.3g} %"


def _known(ratio: float | None) -> str:
    return "not measured" if ratio is None else _share(ratio)


def clock(at: float) -> str:
    """Return a time in s since 1970 as text, in UTC.

    >>> clock(1_732_071_600)
    '2024-11-20 03:00'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
