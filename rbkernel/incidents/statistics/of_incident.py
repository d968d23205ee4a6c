"""What the statistics use of one incident, from its record and those merged into it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rbkernel.evidence.incident import (
    AHEAD,
    DECIDED,
    DONE,
    RBKERNEL,
    SILENCED,
    IncidentRecord,
    IncidentState,
    Line,
    answers_of,
    instant,
    tell,
)

_RESPONSES = frozenset({"acknowledged", DECIDED, DONE})


@dataclass(frozen=True, kw_only=True)
class GivenAnswer:
    """An answer of a person to a question of a runbook; ``recommended`` is empty if none was."""

    runbook: str
    question: str
    choice: str
    recommended: str

    @property
    def as_recommended(self) -> bool:
        """Whether the person chose what the runbook recommended."""
        return bool(self.recommended) and self.choice == self.recommended


@dataclass(frozen=True, kw_only=True)
class IncidentFacts:
    """One incident, together with those merged into it. Times are UTC, ISO 8601.

    ``alerted_at`` is the start of the first alert; empty without an alert. ``responded_at`` is when
    a person first acknowledged, decided, or recorded a plan as carried out. ``ended_at`` is when
    all alerts were resolved or the incident was closed; empty if it is not over. ``by_hand`` are
    the titles of the plans that people carried out. ``connections`` are those whose situation the
    gateway stored. ``broken_glass`` is the number of actions that a person approved alone.
    ``is_silenced`` tells whether a maintenance window silenced it or a part of it.
    """

    id: str
    title: str
    parts: tuple[str, ...]
    began_at: str
    alerted_at: str
    responded_at: str = ""
    ended_at: str = ""
    answers: tuple[GivenAnswer, ...] = ()
    by_hand: tuple[str, ...] = ()
    connections: frozenset[str] = frozenset()
    broken_glass: int = 0
    opened_by_hand: bool = False
    is_silenced: bool = False

    def after_s(self, at: str) -> float | None:
        """Return the seconds from the first alert to a time; None if either is unknown.

        A time just before the alert counts as 0, because clocks differ. If it is earlier, it is
        unknown: it was not the alert that made people respond.
        """
        if not self.alerted_at or not at or instant(at) < instant(self.alerted_at) - AHEAD:
            return None
        return max(0.0, (instant(at) - instant(self.alerted_at)) / timedelta(seconds=1))


def facts_of(record: IncidentRecord, merged: Sequence[IncidentRecord] = ()) -> IncidentFacts:
    """Return what the statistics use of an incident.

    Parameters
    ----------
    record
        The record of the incident that continues.
    merged
        The records of all incidents that were merged into it.
    """
    every = [line for one in (*merged, record) for line in one.lines]
    every.sort(key=lambda line: instant(line.at))
    whole = tell([line for line in every if line.kind != "merged"], record.id)
    human = [line for line in every if line.by not in {"", RBKERNEL}]
    responded = (line.at for line in human if line.kind in _RESPONSES)
    alerted = (alert.first_firing_at for alert in whole.alerts)
    return IncidentFacts(
        id=record.id,
        title=record.title,
        parts=(record.id, *(one.id for one in merged)),
        began_at=whole.began.at,
        alerted_at=min(filter(None, alerted), key=instant, default=""),
        responded_at=min(responded, key=instant, default=""),
        ended_at=_ended_at(record, whole),
        answers=tuple(_answers(every)),
        by_hand=tuple(line.text("title") for line in human if line.kind == DONE),
        connections=frozenset(
            line.text("connection") for line in every if line.kind == "situation"
        ),
        broken_glass=sum(action.broken_glass is not None for action in whole.actions),
        opened_by_hand=any(line.kind == "opened" for line in human),
        is_silenced=any(line.kind == SILENCED for line in every),
    )


def _ended_at(record: IncidentRecord, whole: IncidentRecord) -> str:
    """Return when an incident ended; empty if it is not over.

    Resolved alerts do not count if somebody reopened the incident afterwards: the problem was not
    over. Closing the incident counts only if no alert tells of the end.
    """
    resolved = whole.resolved.at if whole.resolved else ""
    reopened = max((line.at for line in whole.lines if line.kind == "reopened"), default="")
    if resolved and not (reopened and instant(reopened) > instant(resolved)):
        return resolved
    return record.closed_at if record.state is IncidentState.CLOSED else ""


def _answers(lines: Iterable[Line]) -> Iterable[GivenAnswer]:
    """Yield the answers of people, without those that a person withdrew."""
    lines = list(lines)
    runbooks = {
        (line.text("identity"), line.at): line.text("runbook")
        for line in lines
        if line.kind == DECIDED
    }
    for question in answers_of(lines).questions.values():
        for one in question.answers:
            if one.by not in {"", RBKERNEL} and not one.withdrawn:
                yield GivenAnswer(
                    runbook=runbooks.get((one.identity, one.at), ""),
                    question=one.question,
                    choice=one.choice,
                    recommended=one.recommended,
                )
