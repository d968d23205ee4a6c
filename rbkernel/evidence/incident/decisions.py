"""The answers to the questions of an incident, as its record holds them. Pure.

The first answer to a question counts, in whatever run it was given. A later one does not, unless
somebody asked the question again before: that is a line of its own, so the record keeps both.
An answer counts only in the situation that the person saw (`rbkernel.model.situation_identity`),
until the incident is closed or reopened, or an alert fires again after it was resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rbkernel import amounts
from rbkernel.evidence.incident.actions import ActionHistory, actions_of
from rbkernel.evidence.incident.line import Line, instant, shown
from rbkernel.evidence.incident.states import AlertStatus
from rbkernel.evidence.incident.text import RBKERNEL
from rbkernel.model import Decision, DecisionState, Origin

DECIDED, ASKED_AGAIN = "decided", "asked again"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to a question; ``replaced_at`` is empty as long as the answer counts.

    ``rests_on`` is the situation that the person saw. ``place`` is the option's place in the sorted
    options, because its text may have been redacted. ``over`` says why it no longer counts, and
    ``withdrawn`` whether a person asked the question again.
    """

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
    rests_on: str = ""
    place: int = -1
    replaced_at: str = ""
    over: str = ""
    withdrawn: bool = False

    def option(self, options: Iterable[str]) -> str | None:
        """Return the chosen one of these options; None if it is none of them."""
        every = sorted(options)
        if self.choice in every:
            return self.choice
        return every[self.place] if 0 <= self.place < len(every) else None

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
    """What a record says about one question: its answers, and whether it was asked again.

    ``acted`` is the verified action that did what was chosen, until the question is asked again.
    """

    identity: str
    answers: tuple[Answer, ...] = ()
    asked_again_at: str = ""
    acted: ActionHistory | None = None

    @property
    def answer(self) -> Answer | None:
        """The answer that counts; None if the question is open."""
        last = self.answers[-1] if self.answers else None
        return last if last and not last.replaced_at else None

    def answered(self, new: Answer) -> Question:
        """Return the question after an answer: the first one in a situation counts."""
        if self.answer and self.answer.rests_on == new.rests_on:
            return self
        before = self.ended(new.at, "answered for another situation")
        return replace(before, answers=(*before.answers, new), asked_again_at="")

    def acted_on(self, new: Answer, action: ActionHistory) -> Question:
        """Return the question after a verified action, which answers it only if nobody has.

        If somebody chose something else meanwhile, or in another situation, that counts.
        """
        known = self if self.answer else self.answered(new)
        chosen_ = known.answer
        names = ("question", "rests_on", "choice")
        is_same = chosen_ and all(getattr(chosen_, one) == getattr(new, one) for one in names)
        return replace(known, acted=action) if is_same else known

    def asked_again(self, line: Line) -> Question:
        """Return the question after a line that asks it again."""
        by_person = line.by != RBKERNEL
        over = f"asked again by {line.by}" if by_person else line.text("why") or "asked again"
        return self.ended(line.at, over, withdrawn=by_person)

    def ended(self, at: str, over: str, *, withdrawn: bool = False) -> Question:
        """Return the question after something since which its answer no longer counts."""
        if self.answer is None:
            return self
        earlier = replace(self.answer, replaced_at=at, over=over, withdrawn=withdrawn)
        return replace(self, answers=(*self.answers[:-1], earlier), asked_again_at=at, acted=None)


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

    def acted(self, identity: str) -> ActionHistory | None:
        """Return the verified action that did what was chosen; None if there is none."""
        found = self.questions.get(identity)
        return found.acted if found else None

    def last(self, identity: str) -> Answer | None:
        """Return the last answer to a question, also if it no longer counts."""
        found = self.questions.get(identity)
        return found.answers[-1] if found and found.answers else None

    def has(self, identity: str, at: str) -> bool:
        """Tell whether the record holds this answer, even if it was replaced later."""
        found = self.questions.get(identity)
        return found is not None and any(one.at == at for one in found.answers)

    def applied(self, decision: Decision) -> Decision:
        """Return a decision of a run's journal as the incident's record knows it now.

        The record counts more than the journal, which may have been written before the answer. An
        answer counts only in the situation that it was given for. An answer that only the journal
        has (the record could not be written) counts until the question is asked again.

        >>> asked = Decision(id="", question="", options=("wait", "go"), identity="q")
        >>> data = {"identity": "q", "choice": "go", "origin": "page"}
        >>> said = Line(number=1, kind="decided", at="2026-11-20T03:02:00Z", by="ann", data=data)
        >>> answers_of([said]).applied(asked).choice, answers_of([]).applied(asked).choice
        ('go', None)
        """
        question = self.questions.get(decision.identity)
        if question is None or not decision.identity:
            return decision
        answer = question.answer
        if answer and answer.rests_on == decision.rests_on:
            return chosen(decision, answer)
        if decision.choice is None or self._only_in_run(decision, question):
            return decision
        return replace(decision, state=DecisionState.OPEN, choice=None, at="", by="", origin="")

    def _only_in_run(self, decision: Decision, question: Question) -> bool:
        """Tell whether only the run's journal has this answer, and the record nothing newer."""
        newer = (one.replaced_at or one.at for one in question.answers)
        return not self.has(decision.identity, decision.at) and all(
            instant(decision.at) > instant(at) for at in newer
        )

    def in_run(self, run_id: str, decisions: Iterable[Decision]) -> tuple[Decision, ...]:
        """Return the decisions of a run's journal as a view of that run shows them.

        An answer that was given to the run stays, also if the situation has changed since; it does
        not stay if a person withdrew it.
        """
        return tuple(self._in_run(run_id, decision) for decision in decisions)

    def _in_run(self, run_id: str, decision: Decision) -> Decision:
        now, question = self.applied(decision), self.questions.get(decision.identity)
        if now.choice or question is None:
            return now
        given = [
            one
            for one in question.answers
            if (decision.choice and one.at == decision.at)
            or (decision.state is DecisionState.PARKED and one.run_id == run_id)
        ]
        return chosen(decision, given[-1]) if given and not given[-1].withdrawn else now


def chosen(decision: Decision, answer: Answer) -> Decision:
    """Return a decision with an answer of the record; unchanged if that is none of its options."""
    option = answer.option(decision.options)
    if option is None:
        return decision
    return replace(
        decision,
        state=DecisionState.CHOSEN,
        choice=option,
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
    alerts = _Alerts()
    lines = list(lines)
    verified = {id(one.lines[-1]): one for one in actions_of(lines) if one.is_verified}
    for line in lines:
        if over := alerts.again(line) if line.kind == "alert" else _ENDS.get(line.kind, ""):
            found = {name: question.ended(line.at, over) for name, question in found.items()}
        # a question of an earlier version has no identity, and cannot be answered
        if line.kind in {DECIDED, ASKED_AGAIN} and line.text("identity"):
            identity = line.text("identity")
            known = found.get(identity, Question(identity=identity))
            found[identity] = (
                known.answered(answer_of(line)) if line.kind == DECIDED else known.asked_again(line)
            )
        if (action := verified.get(id(line))) and (new := _answer_by(action)):
            known = found.get(new.identity, Question(identity=new.identity))
            found[new.identity] = known.acted_on(new, action)
    return Answers(found)


def _answer_by(action: ActionHistory) -> Answer | None:
    """Return the answer that a verified action is: it was approved for a question; None if not."""
    said = action.facts.get("answers")
    options = said.get("options") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(options, list) or not said.get("identity"):
        return None
    recommended = str(said.get("recommended"))
    # the option for which the plan is made; nobody chose one of several
    chosen_ = [recommended] if recommended in options else [str(one) for one in options]
    if len(chosen_) != 1:
        return None
    return Answer(
        identity=str(said["identity"]),
        question=str(said.get("question")),
        choice=chosen_[0],
        at=action.lines[-1].at,
        by=action.who,
        origin=Origin.ACTION,
        recommended=recommended,
        run_id=str(action.facts.get("proposed_in", "")).rpartition(" ")[2],
        rests_on=str(said.get("rests_on")),
    )


_ENDS = {"closed": "the incident was closed", "reopened": "the incident was reopened"}


class _Alerts:
    """Which alerts of a record fire, and which were resolved, in the order of its lines."""

    def __init__(self) -> None:
        self._firing: set[str] = set()
        self._resolved: dict[str, str] = {}

    def again(self, line: Line) -> str:
        """Return why answers no longer count after this message; empty if they still do.

        That is so if an alert fires again, or any alert does after all had been resolved. A message
        that arrives late, with the start of an alert that is resolved already, changes nothing.
        """
        name, start = f"{line.text('source')} {line.text('fingerprint')}", line.text("starts_at")
        if line.text("status") == AlertStatus.RESOLVED:
            self._firing.discard(name)
            self._resolved[name] = start
            return ""
        if start and self._resolved.get(name) == start:
            return ""
        is_again = name in self._resolved or bool(self._resolved and not self._firing)
        if is_again:
            self._resolved.clear()
        self._firing.add(name)
        return "its alert fired again" if is_again else ""


def answer_of(line: Line) -> Answer:
    """Return the answer that a line of the record holds."""
    names = ("identity", "question", "choice", "origin", "note", "recommended", "reason", "run_id")
    said: dict[str, Any] = {name: line.text(name) for name in (*names, "rests_on")}
    place = line.data.get("place")
    return Answer(
        at=line.at,
        by=line.by,
        findings=_findings(line.data.get("findings")),
        place=place if isinstance(place, int) else -1,
        **said,
    )


def _findings(value: Any) -> tuple[tuple[str, str], ...]:
    pairs = value if isinstance(value, list) else []
    return tuple(
        (str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2
    )
