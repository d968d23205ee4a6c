"""Read the lengths of periods that people give as options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rbkernel.errors import ParameterError


def length_of(words: str, option: str) -> timedelta:
    """Return the length of a period that an option of a command gives.

    Raises
    ------
    ParameterError
        The words are not a duration, or longer than the calendar.
    """
    from rbkernel.runbook.quantities import duration_s

    try:
        length = timedelta(seconds=duration_s(words) or 0.0)
        _ = datetime.now(UTC) - length
    except OverflowError:
        length = timedelta()
    if length <= timedelta():
        raise ParameterError(
            f"{words!r} is not the length of a period",
            where=option,
            next_step="write a number with a unit, such as 30d, 12h or 4 weeks",
        )
    return length
