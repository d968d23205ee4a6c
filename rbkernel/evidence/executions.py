"""Split a journal into executions: each *Run All* of a kernel is one execution. Pure.

`rb.start` begins an execution; the cells before `rb.start` in the notebook belong to that
execution. A notebook without `rb.start` is one execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rbkernel.evidence.reading import DONE, NOT_RUN, CellRun, Event, Record, latest, run_of
from rbkernel.model import Run, Verdict


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of a notebook; ``number`` counts from 1. Times are UTC, ISO 8601.

    ``run`` is None if `rb.start` did not run. ``ended_at`` is empty if no cell ran.
    """

    number: int
    is_last: bool
    run: Run | None
    started_at: str
    cells: tuple[CellRun, ...]
    events: tuple[Event, ...]

    @property
    def ended_at(self) -> str:
        """The time at which the last cell ended."""
        return max((cell.ended_at for cell in self.cells), default="")

    @property
    def cells_to_tell(self) -> tuple[tuple[CellRun, bool], ...]:
        """The cells that failed or ran again, each with a flag: whether the cell had run before."""
        seen: set[str] = set()
        found = []
        for cell in self.cells:
            key = _key(cell)
            if cell.status != NOT_RUN and (key in seen or cell.status != DONE):
                found.append((cell, key in seen))
            seen.add(key)
        return tuple(found)

    @property
    def complete(self) -> bool:
        """Whether the execution reached its end, which means that `rb.summary` ran."""
        return any(event.kind == "summary" for event in self.events)

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst finding.

        It is at least unknown when `rb.summary` did not run or a cell failed.
        """
        found = {str(one.data["title"]): one for one in self.events if one.kind == "finding"}
        verdicts = [Verdict(one.data["verdict"]) for one in found.values()]
        whole = self.complete and all(cell.status == DONE for cell in latest(self.cells))
        return Verdict.worst(verdicts if whole else [*verdicts, Verdict.UNKNOWN])


def executions(record: Record) -> tuple[Execution, ...]:
    """Split a journal into its executions; the result has at least one execution."""
    starts = [event for event in record.events if event.kind == "run"]
    bounds = [0, *_beginnings(record.cells, starts), len(record.cells)]
    positions = [0, *(record.events.index(event) for event in starts[1:]), len(record.events)]
    return tuple(
        Execution(
            number=number + 1,
            is_last=number == max(len(starts), 1) - 1,
            run=run_of(starts[number]) if starts else None,
            started_at=_started_at(record, starts, number),
            cells=record.cells[first:last],
            events=record.events[start:end],
        )
        for number, ((first, last), (start, end)) in enumerate(
            zip(pairwise(bounds), pairwise(positions), strict=True)
        )
    )


def _started_at(record: Record, starts: Sequence[Event], number: int) -> str:
    at = run_of(starts[number]).started_at if starts else ""
    return at or str(record.kernel.get("at", ""))


def _beginnings(cells: Sequence[CellRun], starts: Iterable[Event]) -> list[int]:
    """Return the index of the first cell of each execution; the first execution is left out.

    An execution begins with the first of the cells that stand before its `rb.start`.
    """
    places = [_place(cells, event) for event in starts]
    first = places[0] if places else 0
    before_start = {_key(cell) for cell in cells[:first]}
    found = []
    for earlier, place in pairwise(places):
        begin = place
        while begin > earlier + 1 and _key(cells[begin - 1]) in before_start:
            begin -= 1
        found.append(begin)
    return found


def _place(cells: Sequence[CellRun], event: Event) -> int:
    """Return the index of the cell that recorded an event; if unknown, the number of cells."""
    found = (index for index, cell in enumerate(cells) if cell.msg_id == event.parent)
    return next(found, len(cells))


def _key(cell: CellRun) -> str:
    return cell.cell_id or cell.code
