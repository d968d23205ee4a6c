"""What the statistics use of one run, from its journal. Pure except for reading the snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbkernel.evidence.incident import instant
from rbkernel.evidence.reading import FAILED, INTERRUPTED, NOT_RUN, Record, snapshot_of
from rbkernel.model import DecisionState, Verdict

_WRONG = frozenset({Verdict.WARNING.value, Verdict.CRITICAL.value})


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run. Times are UTC, ISO 8601; empty if unknown.

    ``seconds`` is the time from the first cell to the last one; None for a run in which a person
    executed the cells, because their pauses count in it. ``found_at`` is the time of the first
    finding that is warning or critical. ``asked`` are the questions that needed an answer, and
    ``answered_at`` when the first of them was answered in the run itself. ``plans`` tells for each
    proposed plan whether it names both an undo and a verification. ``steps`` maps the heading of
    each executed step to whether a cell of it failed. ``connections`` are the databases that the
    run named or queried.
    """

    run_id: str
    runbook: str
    incident: str
    title: str = ""
    headless: bool
    verdict: Verdict
    seconds: float | None = None
    found_at: str = ""
    asked: tuple[str, ...] = ()
    answered_at: str = ""
    plans: Mapping[str, bool] = field(default_factory=dict)
    steps: Mapping[str, bool] = field(default_factory=dict)
    connections: frozenset[str] = frozenset()


def facts_of(record: Record, incident: str) -> RunFacts:
    """Return what the statistics use of a run.

    Parameters
    ----------
    record
        The run's journal.
    incident
        The incident in which the run is stored, if its journal does not name one.
    """
    run = record.run
    headless = run.headless if run else True
    found = (one.at for one in record.of_kind("finding") if one.data.get("verdict") in _WRONG)
    answered = (one.at for one in record.decisions if one.choice and one.at)
    return RunFacts(
        run_id=record.run_id,
        runbook=record.runbook,
        incident=record.incident or incident,
        title=run.title if run else "",
        headless=headless,
        verdict=record.verdict,
        seconds=_seconds(record) if headless and (record.complete or record.ended) else None,
        found_at=min(filter(None, found), key=instant, default=""),
        asked=tuple(
            one.question for one in record.decisions if one.state is not DecisionState.NOT_NEEDED
        ),
        answered_at=min(answered, key=instant, default=""),
        plans={str(one.data.get("id")): _is_safe(one.data) for one in record.of_kind("plan")},
        steps=_steps(record),
        connections=frozenset(_connections(record)),
    )


def has_undo(text: str) -> bool:
    """Tell whether the undo of a plan says how to undo it, or that nothing needs to be undone.

    >>> [has_undo(text) for text in ("SELECT pg_wal_replay_pause();", "None needed: it reads.")]
    [True, True]
    >>> [has_undo(text) for text in ("", "None: the work is lost.", "No SQL was given.")]
    [False, False, False]
    """
    said = text.strip()
    return bool(said) and not said.startswith(("None:", "No SQL"))


def _is_safe(plan: Mapping[str, Any]) -> bool:
    return has_undo(str(plan.get("undo") or "")) and bool(plan.get("verify"))


def _seconds(record: Record) -> float | None:
    """Return the time from the start of the first cell to the end of the last one, in s."""
    began = min((one.started_at for one in record.cells if one.started_at), default="")
    ended = max((one.ended_at for one in record.cells if one.ended_at), default="")
    seconds = (instant(ended) - instant(began)).total_seconds() if began and ended else -1.0
    return seconds if seconds >= 0 else None  # the clock was set back, or the journal has no cell


def _connections(record: Record) -> Iterator[str]:
    given = record.run.parameters if record.run else {}
    yield from (value for value in given.values() if isinstance(value, str) and value)
    yield from filter(None, (str(one.data.get("connection")) for one in record.of_kind("query")))


def _steps(record: Record) -> dict[str, bool]:
    """Return the headings of the executed steps, each with whether one of its cells failed."""
    headings = _headings(snapshot_of(record))
    found: dict[str, bool] = {}
    for cell in record.cells:
        heading = headings.get(cell.cell_id or "") or headings.get(cell.code)
        if heading and cell.status != NOT_RUN:
            found[heading] = found.get(heading, False) or cell.status in {FAILED, INTERRUPTED}
    return found


def _headings(snapshot: bytes | None) -> dict[str, str]:
    """Map the ids and sources of a document's code cells to the heading above them."""
    found: dict[str, str] = {}
    heading = ""
    try:
        for cell in json.loads(snapshot or b"{}").get("cells", ()):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                lines = [line for line in source.splitlines() if line.startswith("#")]
                heading = lines[-1].lstrip("#").strip() if lines else heading
            elif cell["cell_type"] == "code" and source.strip():
                found |= {source: heading, str(cell.get("id") or source): heading}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # no notebook: the run counts without its steps
    return found
