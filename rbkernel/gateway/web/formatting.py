"""Format counts and durations as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def counted(numbers: Mapping[str, int]) -> str:
    """Return counts by name as text.

    >>> counted({"done": 3, "failed": 1}), counted({})
    ('3 done, 1 failed', 'none')
    """
    return ", ".join(f"{number} {name}" for name, number in numbers.items()) or "none"


def lasted(seconds: float) -> str:
    """Return a duration in seconds as text, rounded for readers.

    >>> lasted(4.2), lasted(185), lasted(7500), lasted(200_000)
    ('4 s', '3 min', '2 h 5 min', '2 d 7 h')
    """
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
