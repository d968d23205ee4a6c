"""Services of which a real Prometheus has known values: their versions, errors, pool and flags.

The values go on for some time after now, so that a run that begins late sees the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

STEP_S = 30
BEFORE_S, AFTER_S = 2.5 * 3600, 1800
# shares of the requests that end within so many seconds, at the usual speed
_BUCKETS = {"0.1": 0.5, "0.25": 0.9, "0.5": 0.97, "1": 1.0, "2.5": 1.0, "10": 1.0}
Course = Callable[[float], float]


def always(value: float) -> Course:
    """Return a course that stays at a value."""
    return lambda _: value


ONE, USUAL, FEW = always(1.0), always(40.0), always(0.001)


def since(minutes: float, value: float, before: float = 0.0) -> Course:
    """Return a course that has a value since so many minutes before now (0), and another before."""
    return lambda at: value if at >= -60 * minutes else before


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version: deployed and ended so many minutes before now, and its errors over time (0..1).

    ``requests`` per second; ``slow`` is the factor of the time that a request takes.
    """

    version: str
    ago_min: float
    errors: Course = FEW
    until_min: float | None = None
    requests: Course = USUAL
    slow: Course = ONE

    def serves(self, at: float) -> bool:
        return -60 * self.ago_min <= at and (self.until_min is None or at < -60 * self.until_min)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service and what is known of it; times are in s from now, and negative before it."""

    name: str
    releases: tuple[Release, ...]
    pool: Course | None = None
    database_s: float | None = None
    upstream: float | None = None
    upstream_s: Course | None = None
    flags: Mapping[str, tuple[Course, ...]] = field(default_factory=dict)


def history(services: Iterator[Service] | list[Service], now: float | None = None) -> str:
    """Return the values of services, in the format of OpenMetrics."""
    now = time.time() if now is None else now
    families: dict[tuple[str, str], list[str]] = {}
    for one in services:
        for (kind, family), lines in _families(one, now).items():
            families.setdefault((kind, family), []).extend(lines)
    written = [
        line
        for (kind, family), lines in families.items()
        for line in (f"# TYPE {family} {kind}", *lines)
    ]
    return "\n".join([*written, "# EOF", ""])


def _families(one: Service, now: float) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}

    def gauge(name: str, labels: str, course: Course, serves: Course = ONE) -> None:
        text = f'{name}{{service="{one.name}"{labels}}}'
        lines = found.setdefault(("gauge", name), [])
        lines += [f"{text} {course(at):.12g} {now + at:.0f}" for at in _moments() if serves(at)]

    def counter(name: str, labels: str, rate: Course, serves: Course = ONE) -> None:
        text = f'{name}_total{{service="{one.name}"{labels}}}'
        total, lines = 0.0, found.setdefault(("counter", name), [])
        for at in _moments():
            if serves(at):
                total += rate(at) * STEP_S
                lines.append(f"{text} {total:.10g} {now + at:.0f}")

    for release in one.releases:
        _of_release(release, gauge, counter, now)
    requests = one.releases[-1].requests
    if one.pool:
        gauge("db_pool_connections", ',state="in_use"', lambda at: 20 * one.pool(at))  # type: ignore[misc]
        gauge("db_pool_connections", ',state="max"', always(20))
    if one.database_s is not None:
        for le in (*_BUCKETS, "+Inf"):
            within = float(le != "+Inf" and one.database_s <= float(le)) or float(le == "+Inf")
            _bucket(found, "db_query_duration_seconds", one.name, le, requests, within, now)
    if one.upstream is not None:
        bad = one.upstream
        for outcome, share in (("ok", 1 - bad), ("error", bad)):
            labels = f',upstream="bank",outcome="{outcome}"'
            counter("upstream_requests", labels, _part(requests, share))
        _of_calls(one, found, now)
    for flag, instances in one.flags.items():
        for number, state in enumerate(instances):
            labels = f',flag="{flag}",instance="i{number}"'
            gauge("feature_flag_enabled", labels, state)
    _of_latency(one, found, now)
    return found


def _part(course: Course, share: float) -> Course:
    return lambda at: course(at) * share


def _of_release(
    release: Release, gauge: Callable[..., None], counter: Callable[..., None], now: float
) -> None:
    version = f',version="{release.version}"'
    begun = now - 60 * release.ago_min
    gauge("deployed_timestamp_seconds", version, always(begun), release.serves)
    gauge("build_info", version, always(1), release.serves)
    for code in ("200", "503"):
        labels = f'{version},route="/orders",method="POST",code="{code}"'
        counter("http_requests", labels, _answers(release, code), release.serves)


def _answers(release: Release, code: str) -> Course:
    def rate(at: float) -> float:
        failing = release.errors(at)
        return release.requests(at) * (failing if code == "503" else 1 - failing)

    return rate


def _of_latency(one: Service, found: dict[tuple[str, str], list[str]], now: float) -> None:
    """Write the time of the requests: that of the newest version that serves counts."""

    def within(le: str) -> Course:
        def share(at: float) -> float:
            serving = [release for release in one.releases if release.serves(at)]
            if not serving or le == "+Inf":
                return 1.0
            limit = float(le) / serving[-1].slow(at)
            return next((part for edge, part in _BUCKETS.items() if float(edge) >= limit), 1.0)

        return share

    for le in (*_BUCKETS, "+Inf"):
        share = within(le)
        requests = one.releases[-1].requests
        _bucket(found, "http_request_duration_seconds", one.name, le, requests, share, now)


def _of_calls(one: Service, found: dict[tuple[str, str], list[str]], now: float) -> None:
    """Write the time of the calls of the upstream ``bank``; 0.1 s if none is given."""
    takes, name = one.upstream_s or always(0.1), f'{one.name}",upstream="bank'
    for le in (*_BUCKETS, "+Inf"):

        def within(at: float, le: str = le) -> float:
            return float(le == "+Inf" or takes(at) <= float(le))

        requests = one.releases[-1].requests
        _bucket(found, "upstream_request_duration_seconds", name, le, requests, within, now)


def _bucket(
    found: dict[tuple[str, str], list[str]],
    name: str,
    service: str,
    le: str,
    requests: Course,
    share: Course | float,
    now: float,
) -> None:
    text = f'{name}_bucket{{service="{service}",le="{le}"}}'  # without _sum and _count
    total, lines = 0.0, found.setdefault(("gauge", f"{name}_bucket"), [])
    for at in _moments():
        total += requests(at) * STEP_S * (share(at) if callable(share) else share)
        lines.append(f"{text} {total:.10g} {now + at:.0f}")


def _moments() -> range:
    return range(-int(BEFORE_S), int(AFTER_S) + 1, STEP_S)
