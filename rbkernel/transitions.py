"""Which state may follow which: one table for each kind of thing that has states. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)


class Transitions(Generic[State]):
    """The table of transitions of one kind of thing.

    Parameters
    ----------
    kind
        What has these states, for the text of an error: "job".
    table
        Each state → the states that may follow it; None → the states in which it may begin.

    >>> class Door(StrEnum):
    ...     OPEN = "open"
    ...     SHUT = "shut"
    ...     GONE = "gone"
    >>> doors = Transitions("door", {
    ...     None: {Door.OPEN}, Door.OPEN: {Door.SHUT}, Door.SHUT: {Door.OPEN, Door.GONE},
    ...     Door.GONE: ()})
    >>> doors.allows(Door.OPEN, Door.SHUT), doors.allows(Door.OPEN, Door.GONE)
    (True, False)
    >>> doors.before(Door.OPEN), doors.final
    ((<Door.SHUT: 'shut'>,), (<Door.GONE: 'gone'>,))
    >>> doors.check(Door.OPEN, Door.GONE)
    Traceback (most recent call last):
    ValueError: door: 'open' cannot become 'gone', only: 'shut'
    """

    def __init__(self, kind: str, table: Mapping[State | None, Collection[State]]) -> None:
        self.kind = kind
        self.table = table

    def allows(self, old: State | None, new: State) -> bool:
        """Whether a thing in the old state may take the new one; None: it is new."""
        return new in self.table[old]

    def check(self, old: State | None, new: State) -> State:
        """Return the new state.

        Raises
        ------
        ValueError
            It may not follow the old one.
        """
        if not self.allows(old, new):
            allowed = ", ".join(sorted(repr(state.value) for state in self.table[old]))
            was = "a new one" if old is None else repr(old.value)
            raise ValueError(
                f"{self.kind}: {was} cannot become {new.value!r}, only: {allowed or 'nothing'}"
            )
        return new

    def before(self, new: State) -> tuple[State, ...]:
        """Return the states that it may follow."""
        return tuple(old for old in self.table if old is not None and self.allows(old, new))

    @property
    def final(self) -> tuple[State, ...]:
        """The states that nothing follows."""
        return tuple(old for old, after in self.table.items() if old is not None and not after)
