"""Tables of the allowed transitions between states, such as those of a job. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)


class Transitions(Generic[State]):
    """The allowed transitions between the states of a kind of object, such as a job.

    Parameters
    ----------
    kind
        The name of the kind, for the text of an error: "job".
    table
        Maps each state to the states that may follow it, and None to the initial states.

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
        """Whether an object may change from the old to the new state. None means a new object."""
        return new in self.table[old]

    def check(self, old: State | None, new: State) -> State:
        """Return the new state if it may follow the old one.

        Raises
        ------
        ValueError
            The new state may not follow the old one.
        """
        if not self.allows(old, new):
            allowed = ", ".join(sorted(repr(state.value) for state in self.table[old]))
            was = "a new one" if old is None else repr(old.value)
            raise ValueError(
                f"{self.kind}: {was} cannot become {new.value!r}, only: {allowed or 'nothing'}"
            )
        return new

    def before(self, new: State) -> tuple[State, ...]:
        """Return the states that the given state may follow."""
        return tuple(old for old in self.table if old is not None and self.allows(old, new))

    @property
    def final(self) -> tuple[State, ...]:
        """The final states, which no other state may follow."""
        return tuple(old for old, after in self.table.items() if old is not None and not after)
