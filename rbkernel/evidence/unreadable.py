"""Describe the unreadable lines of a journal for people. Pure.

An unreadable line does not affect the other lines. The loss is reported wherever the run is shown,
and a run with a lost line is never judged ok.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Consecutive lines, ``first`` to ``last``, that cannot be read for the same reason.

    ``lost`` is false if only a part of each line is unreadable.
    """

    first: int
    last: int
    what: str
    lost: bool = True

    def __str__(self) -> str:
        row = self.first != self.last
        lines = f"lines {self.first} to {self.last}" if row else f"line {self.first}"
        return f"{lines} of the journal: {self.what}"


def in_rows(found: Iterable[Unreadable]) -> tuple[Unreadable, ...]:
    """Join unreadable lines of a journal that are consecutive and have the same fault.

    >>> lines = [Unreadable(first=n, last=n, what="no JSON") for n in (3, 4, 5, 9)]
    >>> for one in in_rows(lines):
    ...     print(one)
    lines 3 to 5 of the journal: no JSON
    line 9 of the journal: no JSON
    """
    rows: list[Unreadable] = []
    for one in found:
        before = rows[-1] if rows else None
        if before and replace(one, first=before.first, last=before.last) == before:
            goes_on = one.first == before.last + 1
        else:
            goes_on = False
        if before and goes_on:
            rows[-1] = replace(before, last=one.last)
        else:
            rows.append(one)
    return tuple(rows)
