"""Parse durations and thresholds in words: "< 30 min", "Immediate", "> 1.2s for 5min". Pure.

The result is None for a text that is not understood. Such texts are allowed; nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_WORDS = {
    "immediate": 0.0,
    "immediately": 0.0,
    "at once": 0.0,
    # the shortest possible time; before a weekend it is longer
    "next business day": 86400.0,
    "next day": 86400.0,
}
_DURATION = re.compile(
    r"(?:within|after|less than|under|up to|<=?|≤|~)?\s*(\d+(?:\.\d+)?)\s*([a-z]+)"
)
_THRESHOLD = re.compile(
    r"(?P<sign><=?|>=?|≤|≥|above|below|over|under|more than|less than)?\s*"
    r"(?P<currency>[$€£])?\s*(?P<number>-?\d[\d,]*(?:\.\d+)?)\s*"
    r"(?P<factor>k\b|thousand\b|mio\b|million\b|bn\b|billion\b|(?-i:M)\b)?(?P<more>\+)?\s*"
    r"(?P<unit>%|[a-zA-Zµ/]+)?"
    r"(?:\s+for\s+(?P<for>\d+\s*[a-z]+))?",
    re.IGNORECASE,
)
_FACTORS = {"k": 1e3, "thousand": 1e3, **dict.fromkeys(("m", "mio", "million"), 1e6)}
_FACTORS |= {"bn": 1e9, "billion": 1e9}
_INCLUSIVE = {"<=", ">=", "≤", "≥"}
_BELOW = {"<", "<=", "≤", "below", "under", "less than"}


def duration_s(words: str) -> float | None:
    """Parse a duration, and return it in seconds; None if it is not understood.

    >>> [duration_s(text) for text in ("15 minutes", "< 30 min", "Immediate", "1h", "4 hours")]
    [900.0, 1800.0, 0.0, 3600.0, 14400.0]
    >>> duration_s("1 hour (P0 only)"), duration_s("Next business day"), duration_s("soon")
    (3600.0, 86400.0, None)
    """
    text = words.strip().lower()
    plain = re.sub(r"\s*\(.*\)$", "", text)
    if plain in _WORDS:
        return _WORDS[plain]
    found = _DURATION.fullmatch(plain)
    if found is None or found[2] not in _SECONDS:
        return None
    return float(found[1]) * _SECONDS[found[2]]


# for each quantity: lower-case unit → factor to the first unit
_QUANTITIES: tuple[dict[str, float], ...] = (
    {**_SECONDS, **dict.fromkeys(("µs", "us"), 1e-6), "ns": 1e-9},
    {
        **dict.fromkeys(("b", "byte", "bytes"), 1.0),
        # as PostgreSQL, `df`, `du` and `free` count: 1 MB is 1024 kB, the same as 1 MiB
        **{
            f"{prefix}{i}b": 1024.0**power
            for power, prefix in enumerate("kmgtp", 1)
            for i in ("", "i")
        },
    },
    {**dict.fromkeys(("%", "percent", "pct"), 1.0), "ratio": 100.0},
)


def converted(value: float, unit: str, wanted: str) -> float | None:
    """Convert a figure to another unit of the same quantity; None if that is impossible.

    An unknown unit (sessions, rows, $) can only be converted to itself.

    >>> converted(500, "ms", "s"), converted(64, "MB", "bytes"), converted(90, "%", "percent")
    (0.5, 67108864.0, 90.0)
    >>> converted(500, "ms", "MB"), converted(3, "sessions", "rows")
    (None, None)
    >>> converted(5, "%", "ratio"), converted(1, "ratio", "%")
    (0.05, 100.0)
    >>> converted(1048576, "bytes/s", "MB/h"), converted(1, "rows/s", "MB/h")
    (3600.0, None)
    """
    given, target = unit.strip().lower(), wanted.strip().lower()
    if given == target:
        return value
    if "/" in given and "/" in target:
        pairs = zip(given.split("/", 1), target.split("/", 1), strict=True)
        amount, time = (converted(1, *pair) for pair in pairs)
        return value * amount / time if amount and time else None
    for units in _QUANTITIES:
        if given in units and target in units:
            return value * units[given] / units[target]
    return None


def needs_unit(unit: str) -> bool:
    """Whether a limit in this unit can be compared only with figures whose unit is known.

    >>> needs_unit("ms"), needs_unit("GB"), needs_unit("%"), needs_unit("sessions")
    (True, True, True, False)
    """
    return any(unit.strip().lower() in units for units in _QUANTITIES)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A limit; if ``below`` is true, smaller figures violate it. ``unit`` is as written.

    The unit ``x`` means a multiple of the baseline. ``for_s`` is the minimum duration in s. If
    ``inclusive`` is true, a figure at the limit violates it, too, as in ``>= 5``.
    """

    value: float
    below: bool = False
    unit: str = ""
    for_s: float | None = None
    inclusive: bool = field(default=False, repr=False)


def threshold(words: str | float | None) -> Threshold | None:
    """Parse a threshold; None if it is not understood.

    >>> threshold("> 5%")
    Threshold(value=5.0, below=False, unit='%', for_s=None)
    >>> threshold("> 1.2s for 5min")
    Threshold(value=1.2, below=False, unit='s', for_s=300.0)
    >>> threshold("< 5,000").below, threshold("> 2x").unit, threshold("> $40").value
    (True, 'x', 40.0)
    >>> threshold("> 2k").value, threshold("> 3M").value, threshold("10+").inclusive
    (2000.0, 3000000.0, True)
    >>> threshold("> 1.5 million rows").value, threshold("> 2 bn").value
    (1500000.0, 2000000000.0)
    >>> threshold(">= 5").inclusive, threshold("> 5").inclusive
    (True, False)
    >>> threshold(15), threshold("as usual"), threshold(None)
    (Threshold(value=15.0, below=False, unit='', for_s=None), None, None)
    """
    if words is None or isinstance(words, bool):
        return None
    if isinstance(words, int | float):
        return Threshold(value=float(words))
    found = _THRESHOLD.fullmatch(words.strip())
    if found is None:
        return None
    if found["more"] and found["sign"]:
        return None
    factor = _FACTORS.get((found["factor"] or "").lower(), 1.0)
    return Threshold(
        value=float(found["number"].replace(",", "")) * factor,
        below=(found["sign"] or "").lower() in _BELOW,
        unit=found["unit"] or found["currency"] or "",
        for_s=duration_s(found["for"]) if found["for"] else None,
        inclusive=bool(found["more"]) or (found["sign"] or "") in _INCLUSIVE,
    )


_RANGE = re.compile(
    r"(?P<low>\d[\d,]*(?:\.\d+)?)\s*%?\s*(?:[-–—]|to)\s*(?P<high>\d[\d,]*(?:\.\d+)?)"
    r"\s*(?P<unit>%|[a-zA-Zµ/]+)?",
    re.IGNORECASE,
)


def threshold_of_range(words: str | float | None, *, below: bool) -> Threshold | None:
    """Return the limit at which a range such as ``70–85 %`` begins; None for other words.

    If smaller figures are worse, the range begins at its upper end.

    >>> threshold_of_range("70–85 %", below=False).value
    70.0
    >>> threshold_of_range("70–85 %", below=True).value
    85.0
    """
    found = _RANGE.fullmatch(words.strip()) if isinstance(words, str) else None
    if found is None:
        return None
    figure = threshold(f"{found['high' if below else 'low']} {found['unit'] or ''}".strip())
    return replace(figure, below=below, inclusive=True) if figure else None


_BEYOND = re.compile(
    r"(?P<sign><=?|>=?|≤|≥|above|below|over|under|more than|less than)\s*(?:the |its )?SLO"
    r"(?:\s+for\s+(?P<for>\d+\s*[a-z]+))?",
    re.IGNORECASE,
)


def beyond_slo(words: str | float | None, slo: str) -> Threshold | None:
    """Return the limit that ``> SLO`` means, from the text of the objective; else None.

    >>> beyond_slo("> SLO", "p95 < 800ms"), beyond_slo("> SLO", "as good as possible")
    (Threshold(value=800.0, below=False, unit='ms', for_s=None), None)
    >>> beyond_slo("below SLO for 5min", "99.9%").below, beyond_slo("> 5", "99.9%")
    (True, None)
    >>> beyond_slo("> SLO", "p95 < 800ms, errors < 0.1%")  # which of the two?
    """
    found = _BEYOND.fullmatch(words.strip()) if isinstance(words, str) else None
    if found is None:
        return None
    # of several figures, the one after a comparison sign counts: p95 < 800ms
    matches = list(_THRESHOLD.finditer(slo))
    signed = [match for match in matches if match["sign"]] or matches
    limit = threshold(signed[0][0].strip()) if len(signed) == 1 else None
    if limit is None:
        return None
    return Threshold(
        value=limit.value,
        below=found["sign"].lower() in _BELOW,
        inclusive=found["sign"] in _INCLUSIVE,
        unit=limit.unit,
        for_s=duration_s(found["for"]) if found["for"] else None,
    )
