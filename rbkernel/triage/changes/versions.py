"""Which version of a service brought its errors, and which version was the last good one. Pure.

A deployment is to blame only if the errors began with it: they were not there before, no other
running version has comparable ones, they did not begin long after it, and nothing else that is
measured explains them. What the figures do not single out is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from rbkernel import amounts
from rbkernel.model import Finding, Verdict, now
from rbkernel.triage.changes.version import RATE_S, Version, as_share, clock

# values of the last 5 min are what is now
_NOW_S = RATE_S
# what was before a deployment, and how long after it errors may begin and still be its (own choice)
_BEFORE_S, _AFTER_S = 900.0, 1800.0
# a share of at least this part of another one is comparable with it (own choice)
_COMPARABLE = 0.5
# so few failed requests, and so few requests, in the time of now say nothing (own choices)
_FEW, _FEW_REQUESTS = 5, 20
# a version is known to be good after so many values, one each minute, and so many requests; the
# last ones must be good, too (own choices)
_ENOUGH, _SERVED = 5, 100
_ERRORS, _BEGAN, _GOOD, _STOOD = (
    "errors of the running version",
    "errors since the deployment",
    "last good version",
    "time since the deployment",
)
_SEE_METRICS = "see `rbkernel doctor`: which named queries does Prometheus answer?"


@dataclass(frozen=True, kw_only=True)
class Deployments:
    """The versions of a service, as they were deployed, at a moment ``at`` (s since 1970).

    ``service`` begins the title of each finding. ``limit`` is the share of failed requests (0 to 1)
    up to which a version is good; ``reason`` says why nothing is known of them. ``others`` says
    what else is wrong, such as another system that fails: it may be the cause, too.
    """

    versions: tuple[Version, ...]
    at: float
    limit: float
    service: str = "service"
    reason: str = ""
    others: str = ""

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
        """The newest version that is known to be good, of those before the errors began."""
        if (first := self._first) is None:
            return None
        return next((one for one in self._before(first) if self.was_good(one)), None)

    def was_good(self, one: Version) -> bool | None:
        """Return whether a version's errors were within the limit, also the last ones before the
        errors of now began, and those of now if it runs.

        None if too little of it is measured, or it got too few requests.
        """
        end = self._first.started_at if self._first else math.inf
        values = [value for at, value in one.errors if at < end]
        if len(values) < _ENOUGH or one.served(end) < _SERVED:
            return None
        still = self.now(one) if one.instances > 0 else None
        worst = max(median(values), median(values[-_ENOUGH:]), still or 0.0)
        return worst <= self.limit

    def now(self, one: Version) -> float | None:
        """Return the share of a version's requests that fail now; None if it is not measured."""
        return one.between(self.at - _NOW_S, math.inf)

    def requests(self, one: Version) -> float | None:
        """Return how many requests a version got in the last 5 min; None if it is not measured."""
        rates = [value for at, value in one.rates if at >= self.at - _NOW_S]
        return median(rates) * _NOW_S if rates else None

    def errors(self) -> Finding:
        """Return the finding on the errors of the versions that run: of the newest that fails.

        >>> Deployments(versions=(), at=0, limit=0.01, reason="no Prometheus").errors().actual
        'no Prometheus'
        """
        found = partial(
            self._found, _ERRORS, f"at most {as_share(self.limit)} of its requests fail"
        )
        if (one := self._suspect) is None:
            said = self.reason or "no version is known to run"
            return found(Verdict.UNKNOWN, said, next_step=_SEE_METRICS)
        value, requests = self.now(one), self.requests(one)
        if value is None or requests is None:
            said = self.reason or f"of {one.name}, no request is measured"
            return found(Verdict.UNKNOWN, said, next_step=_SEE_METRICS)
        if self._wrong(one) is None:
            said = f"{as_share(value)} of only {requests:.0f} requests to {one.name}"
            step = "wait for more requests, or read the log: so few say nothing"
            return found(Verdict.UNKNOWN, said, next_step=step)
        wrong = value > self.limit
        return found(
            Verdict.CRITICAL if wrong else Verdict.OK,
            f"{as_share(value)} of {one.name}",
            cause=f"{as_share(value)} of the requests to {one.name} fail" if wrong else "",
            which=one.name if wrong else "",
            next_step="see whether they began with the deployment" if wrong else "",
            value=value,
        )

    @property
    def _suspect(self) -> Version | None:
        """The newest running version that fails; else one that cannot be judged; else the newest.

        An older version is judged only if it gets requests: it may be about to end.
        """
        if (current := self.current) is None:
            return None
        running = [current, *(one for one in self.earlier if one.instances and self.requests(one))]
        judged = [(self._wrong(one), one) for one in running]
        failing = next((one for wrong, one in judged if wrong), None)
        unclear = next((one for wrong, one in judged if wrong is None and self._matters(one)), None)
        return failing or unclear or current

    def _matters(self, one: Version) -> bool:
        """Whether a version that cannot be judged may hide errors: it fails, or is the newest."""
        return one is self.current or (self.now(one) or math.inf) > self.limit

    def _wrong(self, one: Version) -> bool | None:
        """Return whether a version fails now; None if it is not measured, or by too little."""
        value, requests = self.now(one), self.requests(one)
        if value is None or requests is None:
            return None
        if value > self.limit:
            return True if requests * value >= _FEW else None
        return False if requests >= _FEW_REQUESTS else None

    def began(self) -> Finding:
        """Return the finding on whether the deployment of the running version brought its errors.

        It is ok if there are no errors, or if they have another origin: ``actual`` says which. It
        is unknown if the figures do not single out the deployment.
        """
        errors = self.errors()
        found = partial(self._found, _BEGAN, "none that began with it")
        suspect, first = self._suspect, self._first
        if suspect is None or first is None or errors.unknown:
            return found(Verdict.UNKNOWN, errors.actual, next_step=errors.next_step)
        if errors.ok:
            return found(Verdict.OK, f"none: {errors.actual}")
        if origin := self._elsewhere(suspect, first):
            return found(Verdict.OK, f"errors, but not by the deployment: {origin}")
        if doubt := self._doubt(suspect, first):
            said, step = doubt
            return found(Verdict.UNKNOWN, f"{errors.actual}; {said}", next_step=step)
        before = median(self._shares_before(first))
        still = "" if first is suspect else f", also those to {suspect.name}"
        said = (
            f"{first.name} was deployed at {clock(first.started_at)} UTC, and since then"
            f" requests fail{still}: {as_share(errors.value or 0.0)}, before it {as_share(before)}"
        )
        return found(
            Verdict.CRITICAL,
            said,
            cause=said,
            which=suspect.name,
            next_step="take the deployment back: a rollback, or its feature flag",
            opens="RUN-022",
            explains=("RUN-022",),
            value=errors.value,
        )

    @property
    def _first(self) -> Version | None:
        """The version with which the errors began; without errors, the newest that runs."""
        suspect = self._suspect
        if suspect is None or not self._wrong(suspect):
            return self.current
        return self._first_bad(suspect, self.now(suspect) or 0.0)

    def _first_bad(self, one: Version, share: float) -> Version:
        """Return the version with which such errors began: it, or one before it.

        The last values before it was started count: a median does not see what began then.
        """
        for other in self._before(one):
            begin, end = one.started_at - _NOW_S, one.started_at
            if values := [value for at, value in other.errors if begin <= at <= end]:
                bad = self._like(min(values[-2:]), share)
                return self._first_bad(other, share) if bad else one
        return one

    def _like(self, value: float, share: float) -> bool:
        """Whether a share of failed requests is comparable with another one, and wrong."""
        return value > self._bar(share)

    def _bar(self, share: float) -> float:
        return max(self.limit, share * _COMPARABLE)

    def _shares_before(self, one: Version) -> list[float]:
        """Return the shares of failed requests in the 15 min before a deployment."""
        begin, end = one.started_at - _BEFORE_S, one.started_at
        older = (sample for other in self._before(one) for sample in other.errors)
        return [value for at, value in sorted(older) if begin <= at <= end]

    def _compared(self, one: Version, share: float) -> Version | None:
        """Return an older version that runs, gets enough requests, and has no such errors."""
        return next(
            (
                other
                for other in self._before(one)
                if other.instances > 0
                and (self.requests(other) or 0.0) >= _FEW_REQUESTS
                and (value := self.now(other)) is not None
                and not self._like(value, share)
            ),
            None,
        )

    def _elsewhere(self, suspect: Version, first: Version) -> str:
        """Return why the errors are not by the deployment; empty if nothing says so."""
        share = self.now(suspect) or 0.0
        for other in self._before(first):
            # of the same minutes: what began just before the deployment is not in older values
            value = other.between(max(self.at - _NOW_S, suspect.started_at), math.inf) or 0.0
            failed = value * (self.requests(other) or 0.0)
            if other.instances > 0 and failed >= _FEW and self._like(value, share):
                return f"{other.name}, which runs too, fails {as_share(value)} of its requests"
        limit = self._bar(share)
        begun, late = first.started_at, first.started_at + _AFTER_S
        soon = any(begun <= at <= late and value > limit for at, value in first.errors)
        onset = first.onset(limit)
        # without requests just before, it may have been deployed again with the errors
        served = first.between(onset - _BEFORE_S, onset - 1) is not None
        if late < onset < math.inf and served and not soon:
            passed = amounts.duration(onset - begun)
            return f"they began {passed} after {first.name} was deployed"
        return ""

    def _doubt(self, suspect: Version, first: Version) -> tuple[str, str] | None:
        """Return why it is not known whether the deployment did it, and what to do; None if it is.

        An older version that runs without errors is proof enough against another cause.
        """
        share, before = self.now(suspect) or 0.0, self._shares_before(first)
        if suspect is not self.current:
            newer = self.current.name if self.current else ""
            return f"the newer {newer} does not", f"finish the rollout of {newer}, or escalate"
        if not before:
            step = "compare with the dashboard; give a longer look_back_s"
            return f"what failed before {first.name} was deployed is not measured", step
        if first.onset(self._bar(share)) > first.started_at + _AFTER_S:
            said = f"they come and go, or {first.name} was deployed again"
            return said, "compare with the dashboard"
        if self._compared(first, share):
            return None
        if sum(self._like(value, share) for value in before) > 1:
            return f"requests failed before {first.name}, too", "compare with the dashboard"
        if before[-1] > max(self.limit, 2 * median(before)):
            return f"they may have begun before {first.name}", "compare with the dashboard"
        if self.others:
            return self.others, "see to that first: RUN-008"
        return None

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


def _known(ratio: float | None) -> str:
    return "not measured" if ratio is None else as_share(ratio)
