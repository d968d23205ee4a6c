"""Format durations and counts as text for people. Pure functions."""

from __future__ import annotations

import math
import re

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def duration(seconds: float) -> str:
    """Return a duration as text in its two largest units, rounded down.

    >>> [duration(seconds) for seconds in (0, 42.9, 1025, 12_000, 86_400, 200_000)]
    ['0 s', '42 s', '17 min 5 s', '3 h 20 min', '1 d', '2 d 7 h']
    >>> duration(float("inf"))
    'inf s'
    """
    if not math.isfinite(seconds):
        return f"{seconds:g} s"
    left = max(0, int(seconds))
    parts = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        parts.append((number, unit))
    first = next((index for index, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2] if n) or "0 s"


def size(number: float) -> str:
    """Return a number of bytes as text; MB is 1024 kB, as in PostgreSQL.

    >>> size(1_073_741_824), size(5_249_000), size(700)
    ('1 GB', '5.01 MB', '700 bytes')
    """
    for unit, each in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if number >= each:
            return f"{number / each:.3g} {unit}"
    return f"{number:g} bytes"


def percent(share: float, *, digits: int = 0) -> str:
    """Return a share (0 to 1) as text.

    >>> percent(0.354), percent(0.0123, digits=1)
    ('35 %', '1.2 %')
    """
    return f"{100 * share:.{digits}f} %"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in singular or plural.

    >>> count(1, "session"), count(0, "session"), count(6776, "session")
    ('1 session', '0 sessions', '6,776 sessions')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def all_of(number: int, noun: str) -> str:
    """Return "all" and a number with its noun; without "all" for a single thing.

    >>> all_of(1, "check"), all_of(6, "check")
    ('1 check', 'all 6 checks')
    """
    return count(number, noun) if number == 1 else f"all {count(number, noun)}"


def singular(plural: str) -> str:
    """Return the singular of a regular plural; other words, such as units, stay unchanged.

    >>> [singular(word) for word in ("slots", "queries", "indexes", "ms", "MB", "% of the slots")]
    ['slot', 'query', 'index', 'ms', 'MB', '% of the slots']
    """
    if not re.fullmatch(r"[a-z]{2,}[^us]s", plural):
        return plural
    return re.sub(r"ies$", "y", re.sub(r"xes$", "x", plural)).removesuffix("s")


def clause(number: int, noun: str, verb: str) -> str:
    """Return a clause: a number, its noun, and a regular verb.

    >>> clause(1, "session", "wait"), clause(2, "session", "wait")
    ('1 session waits', '2 sessions wait')
    """
    return f"{count(number, noun)} {verb}s" if number == 1 else f"{count(number, noun)} {verb}"
