"""Place values on an axis, choose its ticks, and write values with their units. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from rbkernel import amounts

_STEPS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800),
    *(21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000),
)
_BYTES = {"bytes": 1, "kB": 1 << 10, "MB": 1 << 20, "MiB": 1 << 20, "GB": 1 << 30}
_SECONDS = {"s": 1.0, "ms": 0.001, "min": 60.0}
_BY_SUFFIX = {
    "_s": "s", "_ms": "ms", "_mb": "MB", "_bytes": "bytes", "_pct": "%", "_mb_per_s": "MB/s",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values from ``low`` to ``high`` on px from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the px of a value; values outside are at the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)
        return self.start + share * (self.end - self.start)


def unit_of(column: str) -> str:
    """Return the unit that the name of a column says; empty if it says none.

    >>> unit_of("retained_mb"), unit_of("wal_mb_per_s"), unit_of("sessions")
    ('MB', 'MB/s', '')
    """
    found = [suffix for suffix in _BY_SUFFIX if column.endswith(suffix)]
    return _BY_SUFFIX[max(found, key=len)] if found else ""


def written(value: float, unit: str) -> str:
    """Return a value with its unit, for people.

    >>> [written(*one) for one in ((31.4, "s"), (346, "s"), (0.25, "s"), (1331.2, "MB"))]
    ['31.4 s', '5 min 46 s', '0.25 s', '1.3 GB']
    >>> [written(*one) for one in ((92.25, "%"), (35606, ""), (-3, "s"), (math.nan, "s"))]
    ['92.2 %', '35,606', '-3 s', 'unknown']
    """
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "unlimited"
    if value < 0:
        return f"-{written(-value, unit)}"
    if unit in _SECONDS and value * _SECONDS[unit] >= 100:
        return amounts.duration(value * _SECONDS[unit])
    if unit in _BYTES and value * _BYTES[unit] >= 1024:
        return amounts.size(value * _BYTES[unit])
    return f"{plain(value)} {unit}".rstrip()


def plain(value: float) -> str:
    """Return a number with three digits or more, without exponents.

    >>> [plain(one) for one in (35606.0, 92.25, 6.21094, 0.04, 3.9e-05, 0.0)]
    ['35,606', '92.2', '6.21', '0.04', '0', '0']
    """
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    shown = f"{value:,.{digits}f}"
    return shown.rstrip("0").rstrip(".") if digits else shown


def ticks(low: float, high: float, unit: str, *, most: int = 4) -> list[float]:
    """Return round values between two values, at most so many and one.

    >>> ticks(0, 31, "s"), ticks(0, 500, "s"), ticks(0, 3 << 30, "bytes")[1] == 1 << 30
    ([0, 10, 20, 30], [0.0, 300.0], True)
    """
    if not high > low:
        return [low]
    step = _step((high - low) / most, unit)
    first = math.ceil(low / step - 1e-9)
    return [at * step for at in range(first, math.floor(high / step + 1e-9) + 1)]


def _step(least: float, unit: str) -> float:
    if unit in _SECONDS and least * _SECONDS[unit] > 10:
        each = _SECONDS[unit]
        return next((one for one in _STEPS_S if one >= least * each), 31_536_000) / each
    base = 1.0
    if unit in _BYTES:
        base = 1024.0 ** max(0, math.floor(math.log(max(1.0, 2 * least), 1024)))
    power = 10.0 ** math.floor(math.log10(least / base))
    step = next(one * power for one in (1, 2, 5, 10) if one * power * base >= least * 0.999) * base
    return int(step) if step >= 1 else step


def time_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return places and labels of an axis of times, in s since 1970 and UTC.

    >>> time_ticks(1_700_000_000, 1_700_000_180)
    [(1700000040, '22:14'), (1700000100, '22:15'), (1700000160, '22:16')]
    """
    step = next((one for one in _STEPS_S if one >= (high - low) / 4), _STEPS_S[-1])
    found = [at * step for at in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [(at, clock(at, step)) for at in found[:6]]


def clock(at: float, step: float = 60) -> str:
    """Return a moment as text, as exact as the step between ticks needs.

    >>> clock(1_700_000_000), clock(1_700_000_000, 1), clock(1_700_000_000, 86400)
    ('22:13', '22:13:20', '14 Nov')
    """
    moment = datetime.fromtimestamp(at, UTC)
    if step >= 86_400:
        return f"{moment.day} {moment:%b}"
    if step < 1:
        return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"
    return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"


def since(at: float, now: float) -> str:
    """Return a moment in UTC, with its date if it was not on the day of ``now``.

    >>> since(973, 1004), since(973, 200_000)
    ('00:16:13', '1970-01-01 00:16:13')
    """
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def finite(values: Iterable[float]) -> list[float]:
    """Return the values that can be placed on an axis."""
    return [value for value in values if math.isfinite(value)]


def span(values: Iterable[float], *, zero: bool = True) -> tuple[float, float]:
    """Return the ends of an axis for values, from 0 if wanted, never of length 0.

    >>> span([3, 5]), span([-2, 4]), span([]), span([7, 7], zero=False)
    ((0, 5), (-2, 4), (0, 1), (6.5, 7.5))
    """
    known = [*finite(values), *([0] if zero else [])]
    low, high = (min(known), max(known)) if known else (0, 1)
    if low < high:
        return low, high
    return (low, low + 1) if zero else (low - 0.5, high + 0.5)
