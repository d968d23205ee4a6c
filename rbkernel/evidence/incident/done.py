"""The plans of an incident that people carried out by hand, as its record holds them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rbkernel.evidence.incident.line import Line

DONE = "done"


@dataclass(frozen=True, kw_only=True)
class DoneByHand:
    """What a person recorded about a plan; ``plan`` is the plan's id."""

    plan: str
    title: str
    note: str
    at: str
    by: str
    origin: str


def done_of(lines: Iterable[Line]) -> dict[str, DoneByHand]:
    """Return what was recorded about each plan, by its id; of several lines, the last.

    A plan's id is a hash of its text, so it is the same in every run that proposes the same change.

    >>> data = {"plan": "p1", "title": "Resume", "note": "resumed on db2", "origin": "page"}
    >>> said = Line(number=1, kind="done", at="2026-11-20T03:02:00Z", by="ann", data=data)
    >>> done_of([said])["p1"].note
    'resumed on db2'
    """
    return {line.text("plan"): _done(line) for line in lines if line.kind == DONE}


def _done(line: Line) -> DoneByHand:
    names = ("plan", "title", "note", "origin")
    return DoneByHand(at=line.at, by=line.by, **{name: line.text(name) for name in names})
