"""The state of a postmortem and its owner, from the record of the incident. Pure, but `record`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import POSTMORTEM, IncidentRecord
from rbkernel.redact import Redactor
from rbkernel.transitions import Transitions


class ReviewState(StrEnum):
    """The state of a postmortem.

    - ``DRAFT``: its owner writes it.
    - ``IN_REVIEW``: others read it.
    - ``COMPLETED``: it is agreed on, and no place is left to fill in.
    """

    DRAFT = "draft"
    IN_REVIEW = "in review"
    COMPLETED = "completed"


_TRANSITIONS = Transitions(
    "postmortem",
    {
        None: {ReviewState.DRAFT},
        ReviewState.DRAFT: {ReviewState.DRAFT, ReviewState.IN_REVIEW},
        ReviewState.IN_REVIEW: set(ReviewState),
        ReviewState.COMPLETED: {ReviewState.DRAFT},
    },
)


@dataclass(frozen=True, kw_only=True)
class Review:
    """The state of a postmortem; ``owner``, ``by`` and ``at`` are empty if nobody recorded them."""

    state: ReviewState = ReviewState.DRAFT
    owner: str = ""
    by: str = ""
    at: str = ""


def review(told: IncidentRecord) -> Review:
    """Return the state of an incident's postmortem; a draft without an owner if none is recorded.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> line = Line(number=1, kind=POSTMORTEM, at="", by="ann", data={"state": "in review",
    ...             "owner": "bob"})
    >>> review(tell([line], "INC-1")).owner, str(review(tell([line], "INC-1")).state)
    ('bob', 'in review')
    """
    lines = [one for one in told.lines if one.kind == POSTMORTEM]
    states = [one for one in lines if one.text("state") in set(ReviewState)]
    if not states:
        return Review()
    last = states[-1]
    return Review(
        state=ReviewState(last.text("state")), owner=last.text("owner"), by=last.by, at=last.at
    )


def record(
    root: Path,
    told: IncidentRecord,
    state: ReviewState,
    owner: str,
    *,
    left: int,
    by: str,
    redactor: Redactor,
) -> Review:
    """Record the state and the owner of a postmortem, and return them.

    Parameters
    ----------
    root
        The evidence folder.
    told
        The record of the incident.
    state, owner
        As recorded; an empty owner keeps the owner so far.
    left
        How many places of the postmortem are still to fill in.
    by
        Who records it.
    redactor
        Removes secrets from the owner's name.

    Raises
    ------
    EvidenceError
        The state may not follow the state so far, nobody owns the postmortem, or it is said to be
        completed although places are left.
    """
    before = review(told)
    owner = owner or before.owner
    problem, step = "", ""
    if not _TRANSITIONS.allows(before.state, state):
        problem = f"a postmortem that is {before.state} cannot become {state}"
        step = f"use one of: {', '.join(sorted(_TRANSITIONS.table[before.state]))}"
    elif not owner:
        problem, step = "nobody owns the postmortem", "add --owner NAME"
    elif state is ReviewState.COMPLETED and left:
        problem = f"{left} of its questions are not answered, so it is not completed"
        step = "answer them in the notebook: each is marked ‹…›"
    if problem:
        raise EvidenceError(problem, where=told.id, next_step=step)
    line = incident.append(
        root, told.id, POSTMORTEM, by=by, redactor=redactor, state=state, owner=owner
    )
    return Review(state=state, owner=line.text("owner"), by=line.by, at=line.at)
