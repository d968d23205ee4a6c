"""Group runs into incidents for the console's list. Pure."""

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
    """One incident in the console's list, with its runs in the order of their start.

    ``record`` is the incident's own record, or None if it has none yet.
    """

    id: str
    runs: tuple[RunEntry, ...]
    record: IncidentRecord | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict of the ended runs; None as long as none has ended.

        A run with a known verdict replaces earlier ones of the same runbook and parameters.
        """
        ended: dict[str, Verdict] = {}
        for run in self.runs:
            if run.state != LIVE:
                name = run.about or run.run_id
                before = ended.get(name, run.verdict)
                is_known = run.verdict is not Verdict.UNKNOWN
                ended[name] = run.verdict if is_known else Verdict.worst([before, run.verdict])
        if not ended:
            return None
        worst = Verdict.worst(ended.values())
        return caveats.judged(self.record, worst) if self.record else worst

    @property
    def caveats(self) -> tuple[str, ...]:
        """Caveats about how far the incident's verdict can be trusted."""
        return caveats.caveats_of(self.record) if self.record else ()

    @property
    def live(self) -> bool:
        """Whether a run of the incident is live."""
        return any(run.state == LIVE for run in self.runs)

    @property
    def newest(self) -> str:
        """When the last run (without runs: the incident) began, such as ``20261120T030211``."""
        if self.runs:
            return self.runs[-1].run_id[:15]
        opened = self.record.opened_at if self.record else ""
        return re.sub("[-:]", "", opened)[:15]

    def holds(self, words: Sequence[str]) -> bool:
        """Return whether each of these words occurs in the incident's line of the list."""
        runs = (f"{run.runbook} {run.title} {run.verdict} {run.run_id}" for run in self.runs)
        record = self.record
        whose = (record.title, record.service, record.severity) if record else ()
        stage = (record.merged_into or record.state,) if record else ()
        shown = " ".join([self.id, *whose, *stage, *runs]).lower()
        return all(word.lower() in shown for word in words)


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a long list; ``total`` counts the lines of all pages."""

    lines: tuple[IncidentLine, ...]
    number: int
    pages: int
    total: int


def incidents(
    runs: Iterable[RunEntry],
    recorded: Iterable[str],
    record: Callable[[str], IncidentRecord | None],
) -> tuple[IncidentLine, ...]:
    """Group runs by incident; the incident with the newest run comes first.

    Parameters
    ----------
    runs
        All runs.
    recorded
        The incidents that have a record, which may exist before the first run.
    record
        Returns an incident's record.
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
    """Return the page of a list with this number; a number out of range gives the nearest page.

    >>> page_of((), 3, 25)
    ListPage(lines=(), number=1, pages=1, total=0)
    """
    pages = max(1, -(-len(lines) // length))
    number = min(max(number, 1), pages)
    shown = tuple(lines[(number - 1) * length : number * length])
    return ListPage(lines=shown, number=number, pages=pages, total=len(lines))
