"""Record that a person carried out a plan of a run, from outside of its notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbkernel.errors import ParameterError
from rbkernel.evidence import incident, reading, runs
from rbkernel.evidence.incident import DoneByHand
from rbkernel.evidence.reading import Record
from rbkernel.model import RUN_ID, Origin, PlanState
from rbkernel.redact import Redactor


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A plan that a run proposes."""

    id: str
    title: str
    run_id: str


def proposed(root: Path, what: str) -> tuple[Proposed, ...]:
    """Return the plans that a run, or the runs of an incident, propose or have recorded as done.

    Raises
    ------
    EvidenceError
        There is no such run, or a journal cannot be read.
    """
    if RUN_ID.fullmatch(what):
        folders = [runs.find(root, what)]
    else:
        folders = [one.folder for one in runs.of_incident(root, what) if one.is_readable]
    found = [plan for folder in folders for plan in _of(reading.read(folder))]
    return tuple({plan.id: plan for plan in found}.values())


def _of(record: Record) -> list[Proposed]:
    last = {str(event.data.get("id")): event.data for event in record.of_kind("plan")}
    return [
        Proposed(id=name, title=str(data.get("title", "")), run_id=record.run_id)
        for name, data in last.items()
        if _is_proposed(data)
    ]


def _is_proposed(data: Mapping[str, Any]) -> bool:
    has_text = bool(data.get("sql") or data.get("command"))
    return has_text and data.get("state") in {PlanState.PROPOSED, PlanState.DONE}


def find(plans: Sequence[Proposed], text: str) -> Proposed:
    """Return the plan that a person means, by its id or the beginning of its title.

    Raises
    ------
    ParameterError
        No plan, or more than one, fits.
    """
    word = text.strip().casefold()
    fitting = [plan for plan in plans if plan.id == word] or [
        plan for plan in plans if word and plan.title.casefold().startswith(word)
    ]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{plan.id} {plan.title!r}" for plan in plans)
    raise ParameterError(
        f"{text!r} fits {len(fitting)} plans" if fitting else f"no plan {text!r} is proposed",
        next_step=f"use one of {listed}" if plans else "answer the question of the plan first",
    )


def record(
    root: Path,
    name: str,
    plan: Proposed,
    note: str,
    *,
    by: str,
    origin: Origin,
    redactor: Redactor | None = None,
) -> DoneByHand:
    """Record that a person carried out a plan; nothing is executed.

    Raises
    ------
    ParameterError
        The note is empty.
    EvidenceError
        The record of the incident ``name`` cannot be written.
    """
    if not note.strip():
        raise ParameterError(
            "the note is empty: nothing was recorded",
            where=plan.title,
            next_step="say what you did, and what the server answered",
        )
    return incident.mark_done(
        root,
        name,
        plan.id,
        plan.title,
        note,
        by=by,
        origin=origin,
        run_id=plan.run_id,
        redactor=redactor,
    )
