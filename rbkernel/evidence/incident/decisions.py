"""The answers to the questions of an incident, as its record holds them. Pure.

The first answer to a question counts, in whatever run it was given. A later one does not, unless
somebody asked the question again before: that is a line of its own, so the record keeps both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rbkernel import amounts
from rbkernel.evidence.incident.line import Line, shown
from rbkernel.model import Decision, DecisionState

DECIDED, ASKED_AGAIN = "decided", "asked again"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to a question; ``replaced_at`` is empty as long as the answer counts."""

    identity: str
    question: str
    choice: str
    at: str
    by: str
    origin: str
    note: str = ""
    recommended: str = ""
    reason: str = ""
    findings: tuple[tuple[str, str], ...] = ()
    run_id: str = ""
    replaced_at: str = ""

    def told(self, now: datetime) -> str:
        """Return who answered what, and how long ago.

        >>> one = Answer(identity="", question="What now?", choice="wait", by="ann",
        ...              at="2026-11-20T03:02:00+00:00", origin="page")
        >>> one.told(datetime.fromisoformat("2026-11-20T03:05:00+00:00"))
        "answered 3 min ago by ann (page): 'wait'"
        """
        ago = amounts.duration(max(0.0, (now - shown(self.at)).total_seconds()))
        where = f" ({self.origin})" if self.origin else ""
        return f"answered {ago} ago by {self.by}{where}: {self.choice!r}"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a record says about one question: its answers, and whether it was asked again."""

    identity: str
    answers: tuple[Answer, ...] = ()
    asked_again_at: str = ""

    @property
    def answer(self) -> Answer | None:
        """The answer that counts; None if the question is open."""
        last = self.answers[-1] if self.answers else None
        return last if last and not last.replaced_at else None

    def answered(self, line: Line) -> Question:
        """Return the question after a line that answers it; only the first such line counts."""
        if self.answer:
            return self
        return replace(self, answers=(*self.answers, answer_of(line)), asked_again_at="")

    def asked_again(self, line: Line) -> Question:
        """Return the question after a line that asks it again."""
        if self.answer is None:
            return self
        earlier = replace(self.answer, replaced_at=line.at)
        return replace(self, answers=(*self.answers[:-1], earlier), asked_again_at=line.at)


@dataclass(frozen=True)
class Answers:
    """All questions that were answered in an incident, by their identity."""

    questions: Mapping[str, Question] = field(default_factory=dict)

    def to(self, identity: str) -> Answer | None:
        """Return the answer that counts for a question; None if the question is open."""
        found = self.questions.get(identity)
        return found.answer if found else None

    def asked_again_at(self, identity: str) -> str:
        """Return when a question was asked again, if it is open since; else an empty text."""
        found = self.questions.get(identity)
        return found.asked_again_at if found else ""

    def has(self, identity: str, at: str) -> bool:
        """Tell whether the record holds this answer, even if it was replaced later."""
        found = self.questions.get(identity)
        return found is not None and any(one.at == at for one in found.answers)

    def applied(self, decision: Decision) -> Decision:
        """Return a decision of a run's journal as the incident's record knows it now.

        The record counts more than the journal, which may have been written before the answer.

        >>> asked = Decision(id="", question="", options=("wait", "go"), identity="q")
        >>> data = {"identity": "q", "choice": "go", "origin": "page"}
        >>> said = Line(number=1, kind="decided", at="2026-11-20T03:02:00Z", by="ann", data=data)
        >>> answers_of([said]).applied(asked).choice, answers_of([]).applied(asked).choice
        ('go', None)
        """
        question = self.questions.get(decision.identity)
        if question is None or not decision.identity:
            return decision
        if answer := question.answer:
            return chosen(decision, answer)
        if not question.asked_again_at or decision.is_waiting:
            return decision
        return replace(decision, state=DecisionState.OPEN, choice=None, at="", by="", origin="")

    def all_applied(self, decisions: Iterable[Decision]) -> tuple[Decision, ...]:
        """Return the decisions of a run's journal as the incident's record knows them now."""
        return tuple(map(self.applied, decisions))


def chosen(decision: Decision, answer: Answer) -> Decision:
    """Return a decision with an answer of the record; unchanged if that is none of its options."""
    if answer.choice not in decision.options:
        return decision
    return replace(
        decision,
        state=DecisionState.CHOSEN,
        choice=answer.choice,
        at=answer.at,
        by=answer.by,
        origin=answer.origin,
    )


def answers_of(lines: Iterable[Line]) -> Answers:
    """Return the answers in the lines of a record, or of several merged records.

    >>> def line(kind, **data):
    ...     data = {"identity": "q", **data}
    ...     return Line(number=1, kind=kind, at="2026-11-20T03:02:00Z", by="ann", data=data)
    >>> first, second = line("decided", choice="wait"), line("decided", choice="go")
    >>> again = line("asked again")
    >>> answers_of([first, second]).to("q").choice
    'wait'
    >>> answers_of([first, again]).to("q"), answers_of([first, again, second]).to("q").choice
    (None, 'go')
    """
    found: dict[str, Question] = {}
    for line in lines:
        # a question of an earlier version has no identity, and cannot be answered
        if line.kind in {DECIDED, ASKED_AGAIN} and line.text("identity"):
            identity = line.text("identity")
            known = found.get(identity, Question(identity=identity))
            found[identity] = (
                known.answered(line) if line.kind == DECIDED else known.asked_again(line)
            )
    return Answers(found)


def answer_of(line: Line) -> Answer:
    """Return the answer that a line of the record holds."""
    names = ("identity", "question", "choice", "origin", "note", "recommended", "reason", "run_id")
    said = {name: line.text(name) for name in names}
    return Answer(at=line.at, by=line.by, findings=_findings(line.data.get("findings")), **said)


def _findings(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value if isinstance(value, list) else []
    return tuple(
        (str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2
    )
