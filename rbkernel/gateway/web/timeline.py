"""The timeline of an incident as its page shows it: newest first, with alerts folded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rbkernel import amounts
from rbkernel.evidence.timeline import Entry

# so many alerts in a row are shown; more are folded
_MOST_IN_A_ROW = 3
# what a person did, as opposed to what rbkernel and senders wrote
_OF_PEOPLE = frozenset(
    {"decision", "done", "note", "acknowledged", "status", "action", "closed", "reopened"}
)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Entries that follow each other, the newest first; several only if they are folded."""

    entries: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """The newest entry."""
        return self.entries[0]

    @property
    def title(self) -> str:
        """The words for folded entries: how many alerts, what they say, and their names."""
        parts = (entry.what.split(": ") for entry in self.entries)
        names = list(dict.fromkeys(f"{part[0]}: {part[1]}" for part in parts if len(part) > 1))
        return f"{amounts.count(len(self.entries), 'alert')}: {', '.join(names[:_MOST_IN_A_ROW])}"

    @property
    def tone(self) -> str:
        """The CSS class of the mark: the verdict, else whether a person acted."""
        entry = self.first
        if entry.kind == "alert":
            return "ok" if entry.what.startswith("alert resolved") else "warning"
        return entry.verdict or ("person" if entry.kind in _OF_PEOPLE else "plain")


def stretches(entries: Sequence[Entry]) -> list[Stretch]:
    """Return entries, oldest first, as stretches, newest first; long rows of alerts are folded."""
    found: list[Stretch] = []
    for kind, row in groupby(reversed(entries), key=lambda entry: entry.kind):
        some = tuple(row)
        if kind == "alert" and len(some) > _MOST_IN_A_ROW:
            found.append(Stretch(entries=some))
        else:
            found += [Stretch(entries=(entry,)) for entry in some]
    return found
