"""The incidents of the console's list: their causes, their order, filters and folds. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from rbkernel import amounts
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import IncidentRecord, instant, tell, whole
from rbkernel.evidence.questions import Asked
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.incidents.cause import Cause
from rbkernel.incidents.standing import Standing, standing
from rbkernel.model import Severity, Verdict

# open incidents with the same cause are folded from this number on
_FOLDED_FROM = 3


class Filter(StrEnum):
    """The filters of the list, as the address of the console names them."""

    ALL = ""
    OPEN = "open"
    WAITING = "waiting"  # for a person, who answers, approves, executes or looks
    OVER = "over"  # closed, merged, or only runs that were ok


@dataclass(frozen=True, kw_only=True)
class IncidentLine:
    """One incident in the console's list, with its runs in the order of their start.

    ``record`` is the one with what was merged into it, see `whole`. ``waiting`` are its questions
    without an answer. ``cause`` is None if it was not asked for.
    """

    id: str
    record: IncidentRecord
    runs: tuple[RunEntry, ...]
    waiting: tuple[Asked, ...] = ()
    cause: Cause | None = None

    @cached_property
    def standing(self) -> Standing:
        """Where the incident stands."""
        return standing(self.record, self.runs, len(self.waiting))

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """Caveats about how far the incident's verdict can be trusted."""
        return caveats.caveats_of(self.record)

    @property
    def live(self) -> bool:
        """Whether a run of the incident is live."""
        return any(run.state == LIVE for run in self.runs)

    @property
    def owner(self) -> str:
        """Who acknowledged the incident; empty if nobody did."""
        return self.record.acknowledged.by if self.record.acknowledged else ""

    @property
    def newest(self) -> str:
        """When the last run (without runs: the incident) began, such as ``20261120T030211``."""
        if self.runs:
            return self.runs[-1].run_id[:15]
        return re.sub("[-:]", "", self.record.opened_at)[:15]

    @property
    def about(self) -> tuple[str, ...]:
        """What the incident is about: databases, service and severity, without repetition."""
        databases = self.cause.databases if self.cause else ()
        named = (*databases, self.record.service, self.record.severity)
        return tuple(dict.fromkeys(filter(None, named)))

    @property
    def name(self) -> str:
        """The title of the incident; without one, its first alert or its first run."""
        alerts = [alert.name for alert in self.record.alerts]
        titles = [f"{run.runbook} {run.title}".strip() for run in self.runs]
        return self.record.title or next(iter([*alerts, *titles]), self.id)

    @property
    def words(self) -> str:
        """What the list says of the incident first: the cause, else the name."""
        return self.cause.words if self.cause else self.name

    @property
    def place(self) -> tuple[int, ...]:
        """The urgency, the most urgent first: open, waiting, the verdict, then the severity."""
        stands = self.standing
        if not stands.is_open:
            return (1,)
        rank = stands.verdict.rank if stands.verdict else Verdict.UNKNOWN.rank
        return 0, -stands.is_for_people, -rank, Severity.place(self.record.severity)

    def fits(self, wanted: Filter) -> bool:
        """Return whether the incident is one of those that a filter wants."""
        is_open = self.standing.is_open
        fits = {
            Filter.OPEN: is_open,
            Filter.WAITING: self.standing.is_for_people,
            Filter.OVER: not is_open,
        }
        return fits.get(wanted, True)

    def holds(self, words: Sequence[str]) -> bool:
        """Return whether each of these words occurs in the incident's line of the list."""
        runs = (f"{run.runbook} {run.title} {run.verdict} {run.run_id}" for run in self.runs)
        record = self.record
        whose = (record.title, record.service, record.severity, self.owner)
        about = (self.cause.words, *self.cause.databases) if self.cause else ()
        stage = (record.merged_into or self.standing.words,)
        shown = " ".join([self.id, *whose, *about, *stage, *runs]).lower()
        return all(word.lower() in shown for word in words)


@dataclass(frozen=True, kw_only=True)
class Fold:
    """A row of the list: one incident, or several open ones with the same cause."""

    lines: tuple[IncidentLine, ...]

    @property
    def first(self) -> IncidentLine:
        """The incident whose words stand for all of them."""
        return self.lines[0]

    @property
    def databases(self) -> tuple[str, ...]:
        """What the runs of these incidents looked at."""
        causes = (line.cause for line in self.lines if line.cause)
        return tuple(dict.fromkeys(name for one in causes for name in one.databases))

    @property
    def owners(self) -> tuple[str, ...]:
        """Who acknowledged some of these incidents."""
        return tuple(dict.fromkeys(line.owner for line in self.lines if line.owner))

    @property
    def began(self) -> str:
        """When the first of these incidents began."""
        starts = (line.record.began.at for line in self.lines)
        return min(filter(None, starts), key=instant, default="")

    @property
    def standing(self) -> Standing:
        """Where all of these incidents stand."""
        return self.first.standing


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """One page of a long list; ``total`` counts the rows of all pages."""

    lines: tuple[Fold, ...]
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
    lines = [_line(name, by_incident, record) for name in by_incident]
    return tuple(sorted(lines, key=lambda line: line.newest, reverse=True))


def _line(
    incident: str,
    runs: Mapping[str, Sequence[RunEntry]],
    record: Callable[[str], IncidentRecord | None],
) -> IncidentLine:
    own = record(incident) or tell((), incident=incident)
    of_it = [run for part in own.parts for run in runs.get(part, ())]
    of_it.sort(key=lambda run: run.run_id)
    every = whole(own, filter(None, map(record, own.merged_from)))
    return IncidentLine(id=incident, runs=tuple(of_it), record=every)


def folded(lines: Iterable[IncidentLine]) -> tuple[Fold, ...]:
    """Return the rows of the list: open incidents with the same cause and state are one row."""
    groups: dict[tuple[str, ...], list[IncidentLine]] = {}
    for line in lines:
        stands = line.standing
        alike = stands.is_open and not line.caveats and line.cause is not None
        known = line.cause.kind if alike and line.cause else ()
        kind = (*known, stands.words) if known else (line.id,)
        groups.setdefault(kind, []).append(line)
    rows: list[Fold] = []
    for group in groups.values():
        if len(group) < _FOLDED_FROM:
            rows += [Fold(lines=(line,)) for line in group]
        else:
            rows.append(Fold(lines=tuple(group)))
    return tuple(rows)


def summary(lines: Iterable[IncidentLine], running: int) -> str:
    """Return the first line of the console: how many incidents are open, and for whom they wait.

    >>> summary((), 0), summary((), 2)
    ('Nothing is open', 'Nothing is open, 2 running')
    """
    still = [line for line in lines if line.standing.is_open]
    counts = Counter(line.standing.verdict for line in still)
    waiting = sum(line.standing.is_for_people for line in still)
    parts = [f"{len(still)} open" if still else "Nothing is open"]
    for verdict in (Verdict.CRITICAL, Verdict.UNKNOWN):
        parts += [_some(counts[verdict], len(still), verdict.value)]
    parts += [
        _some(waiting, len(still), "waiting for you"),
        f"{running} running" if running else "",
    ]
    return ", ".join(filter(None, parts))


def _some(number: int, of: int, what: str) -> str:
    """Return how many of some incidents are so, without a number if all are.

    >>> _some(1, 1, "critical"), _some(2, 5, "critical"), _some(0, 5, "critical")
    ('critical', '2 critical', '')
    """
    if not number:
        return ""
    return what if number == of == 1 else f"{number} {what}"


def counted(lines: Sequence[IncidentLine]) -> dict[Filter, str]:
    """Return the label of each filter, with the number of incidents that fit it."""
    names = {
        Filter.ALL: "All",
        Filter.OPEN: "Open",
        Filter.WAITING: "Waiting for you",
        Filter.OVER: "Closed",
    }
    return {one: f"{name} {sum(line.fits(one) for line in lines):,}" for one, name in names.items()}


def listed(fold: Fold, most: int = 12) -> str:
    """Return the names of a row's databases as text, cut after ``most``."""
    names = fold.databases
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {amounts.count(left, 'other')}" if left > 0 else "")


def page_of(rows: Sequence[Fold], number: int, length: int) -> ListPage:
    """Return the page of a list with this number; a number out of range gives the nearest page.

    >>> page_of((), 3, 25)
    ListPage(lines=(), number=1, pages=1, total=0)
    """
    pages = max(1, -(-len(rows) // length))
    number = min(max(number, 1), pages)
    shown = tuple(rows[(number - 1) * length : number * length])
    return ListPage(lines=shown, number=number, pages=pages, total=len(rows))
