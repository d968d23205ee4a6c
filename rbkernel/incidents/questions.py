"""Answer the questions of an incident from outside of its notebooks: by command, or on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbkernel.errors import EvidenceError, ParameterError
from rbkernel.evidence import incident, reading, runs
from rbkernel.evidence.incident import Answer, Answers
from rbkernel.evidence.questions import Asked, asked
from rbkernel.model import INCIDENT_ID, RUN_ID, Origin
from rbkernel.redact import Redactor


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions of an incident, or of one of its runs, with their answers."""

    incident: str
    asked: tuple[Asked, ...]
    answers: Answers

    @property
    def waiting(self) -> tuple[Asked, ...]:
        """The questions that need an answer and have none."""
        return tuple(one for one in self.asked if one.decision.is_waiting)

    def with_identity(self, identity: str) -> Asked:
        """Return the question with this identity.

        Raises
        ------
        EvidenceError
            No run of the incident asks this question any more.
        """
        found = [one for one in self.asked if identity and one.decision.identity == identity]
        if not found:
            raise EvidenceError(
                "this question is not asked any more: nothing was recorded",
                where=self.incident,
                next_step="open the page again: it shows the questions that are open now",
            )
        return found[-1]


def questions(root: Path, what: str) -> Questions:
    """Return the questions of an incident or of a run.

    Raises
    ------
    EvidenceError
        There is no such incident or run, or its evidence cannot be read.
    """
    if RUN_ID.fullmatch(what):
        return _of_run(root, what)
    if not INCIDENT_ID.fullmatch(what):
        raise EvidenceError(
            f"{what!r} is neither an incident id nor a run id",
            next_step="`rbkernel incident list` lists all incidents, `rbkernel evidence list` all"
            " runs",
        )
    entries = [entry for entry in runs.of_incident(root, what) if entry.is_readable]
    known = incident.answers(root, what) if entries else incident.answers(root, _there(root, what))
    found = asked([reading.read(entry.folder) for entry in entries], known)
    return Questions(incident=what, asked=found, answers=known)


def _there(root: Path, name: str) -> str:
    incident.read(root, name)  # raises an error if there is neither a run nor a record
    return name


def _of_run(root: Path, run_id: str) -> Questions:
    record = reading.read(runs.find(root, run_id))
    if not INCIDENT_ID.fullmatch(record.incident):
        return Questions(incident="", asked=(), answers=Answers())
    known = incident.answers(root, record.incident)
    return Questions(incident=record.incident, asked=asked([record], known), answers=known)


def answer(
    root: Path,
    found: Questions,
    question: Asked,
    choice: str,
    *,
    by: str,
    origin: Origin,
    note: str = "",
    again: bool = False,
    asked_again_at: str | None = None,
    rests_on: str | None = None,
    redactor: Redactor | None = None,
) -> Answer:
    """Answer one of the questions, in the record of its incident.

    Parameters
    ----------
    root
        The evidence folder.
    found
        The questions as the person has seen them.
    question
        One of them.
    choice
        One of its options.
    by, origin
        Who answers, and where.
    note
        Why.
    again
        Whether to replace the answer that the person has seen.
    asked_again_at
        When the question was last asked again, as the person has seen it; None if unknown.
    rests_on
        The situation that the person has seen, see `Decision.rests_on`; None if it is that of
        ``question``.
    redactor
        Removes secrets from the note.

    Raises
    ------
    AlreadyDecided
        Somebody has given another answer.
    ParameterError
        The choice is not an option.
    EvidenceError
        A newer run has found another situation, or the record cannot be written.
    """
    decision = question.decision
    seen_in = decision.rests_on if rests_on is None else rests_on
    newest = _newest(root, found, question)
    if newest.decision.rests_on != seen_in:
        raise EvidenceError(
            f"run {newest.run_id} has found another situation since: no answer was recorded",
            where=decision.question,
            next_step=f"look at the page of {found.incident}, or `rbkernel decide"
            f" {found.incident}`, and answer there",
        )
    if choice not in decision.options:
        raise ParameterError(
            f"{choice!r} is not one of the options: {', '.join(decision.options)}",
            where=decision.question,
            next_step="use one of the options",
        )
    seen = found.answers.to(decision.identity)
    if again and seen:
        ask_again(root, found, question, by=by, origin=origin, replaces=seen.at, redactor=redactor)
    return incident.answer(
        root,
        found.incident,
        decision,
        choice,
        by=by,
        origin=origin,
        run_id=question.run_id,
        runbook=question.runbook,
        note=note,
        asked_again_at=asked_again_at,
        redactor=redactor,
    )


def _newest(root: Path, found: Questions, question: Asked) -> Asked:
    """Return a question as the newest run of the incident asks it."""
    identity = question.decision.identity
    every = questions(root, found.incident).asked if identity else ()
    return next((one for one in reversed(every) if one.decision.identity == identity), question)


def ask_again(
    root: Path,
    found: Questions,
    question: Asked,
    *,
    by: str,
    origin: Origin,
    replaces: str,
    why: str = "",
    redactor: Redactor | None = None,
) -> None:
    """Ask an answered question again; ``replaces`` is the time of the answer that was seen.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    incident.ask_again(
        root,
        found.incident,
        question.decision,
        by=by,
        origin=origin,
        replaces=replaces,
        why=why,
        redactor=redactor,
    )


def choose(found: Questions, text: str, *, again: bool = False) -> Asked:
    """Return the question that a person means: by its short name or its beginning, or the only one.

    It is one of the open questions; with ``again``, one of the answered ones.

    Raises
    ------
    ParameterError
        No question, or more than one, fits.
    """
    answered = [one for one in found.asked if one.decision.choice]
    candidates = answered if again else found.waiting or found.asked
    if not candidates:
        raise ParameterError(
            "no question is answered yet" if again else "no run has asked a question",
            where=found.incident,
            next_step="answer it without --again" if again else "run a runbook first",
        )
    fitting = list(candidates)
    if text:
        # an answered question may be meant, too: the error then says who answered it
        every = [*candidates, *(one for one in found.asked if one not in candidates)]
        fitting = [one for one in every if one.decision.identity.startswith(text.strip())]
        fitting = fitting or [one for one in every if _begins(one.decision.question, text)]
    if len(fitting) != 1:
        listed = "; ".join(map(_listed, fitting or candidates))
        many = f"{found.incident} has {len(fitting)} such questions"
        raise ParameterError(
            many if fitting else f"{found.incident} has no such question: {text!r}",
            where="rbkernel decide",
            next_step=f"use --question with the first word of one of these: {listed}",
        )
    return fitting[0]


def _begins(question: str, text: str) -> bool:
    return question.casefold().startswith(text.strip().casefold())


def _listed(one: Asked) -> str:
    about = ", ".join(filter(None, [one.server, f"run {one.run_id}"]))
    return f"{one.name} {one.decision.question} ({about})"


def pick(text: str, names: Sequence[str], *, where: str) -> str:
    """Return the name that a person means by its number, the name itself, or its beginning.

    Raises
    ------
    ParameterError
        No name, or more than one, fits.

    >>> names = ["resume replay", "wait", "wait an hour"]
    >>> pick("1", names, where=""), pick("RES", names, where=""), pick("wait", names, where="")
    ('resume replay', 'resume replay', 'wait')
    """
    word = text.strip().casefold()
    exact = [name for name in names if name.casefold() == word]
    if exact:
        return exact[0]
    if word.isascii() and word.isdecimal() and 1 <= int(word) <= len(names):
        return names[int(word) - 1]
    fitting = [name for name in dict.fromkeys(names) if word and name.casefold().startswith(word)]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{number} {name!r}" for number, name in enumerate(names, 1))
    what = f"{text!r} fits {' and '.join(map(repr, fitting))}" if fitting else f"no {text!r}"
    raise ParameterError(what, where=where, next_step=f"use one of {listed}")
