"""Pure: runs → incidents, as the console lists them: the newest first, each with its worst."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rbkernel.evidence import caveats
from rbkernel.evidence.incident import IncidentRecord
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.model import Verdict


@dataclass(frozen=True, kw_only=True)
class IncidentLine:
    """One incident in a list, with its runs in the order of their start.

    ``record`` is its own, None as long as it has none.
    """

    id: str
    runs: tuple[RunEntry, ...]
    record: IncidentRecord | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The most urgent of what its runs found; None as long as none has ended."""
        ended = [run.verdict for run in self.runs if run.state != LIVE]
        if not ended:
            return None
        worst = Verdict.worst(ended)
        return caveats.judged(self.record, worst) if self.record else worst

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to know before the verdict is trusted."""
        return caveats.caveats_of(self.record) if self.record else ()

    @property
    def live(self) -> bool:
        """Whether one of its runs is live."""
        return any(run.state == LIVE for run in self.runs)

    @property
    def newest(self) -> str:
        """When its last run began, else when it was opened: such as ``20261120T030211``."""
        if self.runs:
            return self.runs[-1].run_id[:15]
        opened = self.record.opened_at if self.record else ""
        return re.sub("[-:]", "", opened)[:15]

    def holds(self, words: Sequence[str]) -> bool:
        """Whether the list shows each of these words for this incident."""
        runs = (f"{run.runbook} {run.title} {run.verdict} {run.run_id}" for run in self.runs)
        record = self.record
        whose = (record.title, record.service, record.severity) if record else ()
        stage = (record.merged_into or record.state,) if record else ()
        shown = " ".join([self.id, *whose, *stage, *runs]).lower()
        return all(word.lower() in shown for word in words)


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a list: what it shows, of how many."""

    lines: tuple[IncidentLine, ...]
    number: int
    pages: int
    total: int


def incidents(
    runs: Iterable[RunEntry],
    recorded: Iterable[str],
    record: Callable[[str], IncidentRecord | None],
) -> tuple[IncidentLine, ...]:
    """Gather runs by incident; the incident with the newest run comes first.

    Parameters
    ----------
    runs
        All runs.
    recorded
        The incidents that have a record: an alert may have come, and no run yet.
    record
        Gives an incident's record.
    """
    by_incident: dict[str, list[RunEntry]] = {incident: [] for incident in recorded}
    for run in runs:
        by_incident.setdefault(run.incident, []).append(run)
    lines = [_line(incident, by_incident, record(incident)) for incident in by_incident]
    return tuple(sorted(lines, key=lambda line: line.newest, reverse=True))


def _line(
    incident: str, runs: Mapping[str, Sequence[RunEntry]], record: IncidentRecord | None
) -> IncidentLine:
    parts = record.parts if record else (incident,)
    of_it = [run for part in parts for run in runs.get(part, ())]
    of_it.sort(key=lambda run: run.run_id)
    return IncidentLine(id=incident, runs=tuple(of_it), record=record)


def page_of(lines: Sequence[IncidentLine], number: int, length: int) -> ListPage:
    """Return one page of a list; a number out of range gives the nearest page.

    >>> page_of((), 3, 25)
    ListPage(lines=(), number=1, pages=1, total=0)
    """
    pages = max(1, -(-len(lines) // length))
    number = min(max(number, 1), pages)
    shown = tuple(lines[(number - 1) * length : number * length])
    return ListPage(lines=shown, number=number, pages=pages, total=len(lines))
