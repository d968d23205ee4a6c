"""Answer the questions of an incident: read the answers, and write an answer into the record.

Ordering rule: whether a question is still open is checked while the evidence folder is locked, and
the answer is written before the lock is released. So of two answers at once, exactly one counts.
An answer goes into the record of the incident that continues a merged one, where it counts for the
runs of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rbkernel.errors import AlreadyDecided, EvidenceError
from rbkernel.evidence.incident.decisions import (
    ASKED_AGAIN,
    DECIDED,
    Answer,
    Answers,
    answer_of,
    answers_of,
)
from rbkernel.evidence.incident.done import DONE, DoneByHand, done_of
from rbkernel.evidence.incident.file import AlreadyRecorded, append, look
from rbkernel.evidence.incident.record import IncidentRecord
from rbkernel.evidence.incident.states import IncidentState
from rbkernel.model import INCIDENT_ID, Decision

if TYPE_CHECKING:
    from rbkernel.redact import Redactor

Read = Callable[[str], IncidentRecord]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What people decided and did in an incident; ``done`` is by the id of the plan."""

    answers: Answers
    done: Mapping[str, DoneByHand]


def remaining(read: Read, incident: str) -> IncidentRecord:
    """Return the record of an incident, or of the incident that it was merged into.

    ``read`` returns the record of an incident.
    """
    record, seen = read(incident), {incident}
    while INCIDENT_ID.fullmatch(record.merged_into) and record.merged_into not in seen:
        seen.add(record.merged_into)
        record = read(record.merged_into)
    return record


def answers(root: Path, incident: str) -> Answers:
    """Return all answers that count in an incident, also those of merged incidents.

    Raises
    ------
    EvidenceError
        A record cannot be read.
    """
    read = partial(look, root)
    return answers_in(read, remaining(read, incident))


def known(root: Path, incident: str) -> Known:
    """Return what people decided and did in an incident, also in merged incidents.

    Raises
    ------
    EvidenceError
        A record cannot be read.
    """
    read = partial(look, root)
    return known_in(read, remaining(read, incident))


def known_in(read: Read, record: IncidentRecord) -> Known:
    """Return what people decided and did, from a record and those that were merged into it."""
    parts = [read(part).lines for part in record.merged_from if INCIDENT_ID.fullmatch(part)]
    # the order of lines is that of the lock, also if a clock was wrong; a merged record ends first
    lines = [line for part in (*parts, record.lines) for line in part]
    return Known(answers=answers_of(lines), done=done_of(lines))


def answers_in(read: Read, record: IncidentRecord) -> Answers:
    """Return all answers in a record and in those of the incidents that were merged into it."""
    return known_in(read, record).answers


def answer(
    root: Path,
    incident: str,
    decision: Decision,
    choice: str,
    *,
    by: str,
    origin: str,
    run_id: str,
    runbook: str,
    note: str = "",
    asked_again_at: str | None = None,
    redactor: Redactor | None = None,
) -> Answer:
    """Answer a question of an incident; the same answer again adds its note only.

    The answer counts for the situation in which the question was asked (`Decision.rests_on`).

    Parameters
    ----------
    root
        The evidence folder.
    incident
        The incident of the run that asked.
    decision
        The question, as the run asked it.
    choice
        One of its options.
    by
        The person who answers.
    origin
        Where the person answers, see `rbkernel.model.Origin`.
    run_id, runbook
        The run that asked.
    note
        Why the person chose this option.
    asked_again_at
        When the question was last asked again, as the person has seen it; None if unknown.
    redactor
        Removes secrets from the texts.

    Returns
    -------
    Answer
        The answer that counts now, on disk.

    Raises
    ------
    AlreadyDecided
        Somebody has given another answer before.
    EvidenceError
        The record was changed after its seal, or cannot be written.
    """
    if not decision.identity:
        raise EvidenceError(
            "an earlier version of rbkernel asked this question, so it cannot be answered here",
            where=decision.question,
            next_step=f"answer it in a working copy: `rbkernel open {run_id}`",
        )

    def check(record: IncidentRecord) -> None:
        must_take(root, record)
        every = answers_in(partial(look, root), record)
        known = every.to(decision.identity)
        if asked_again_at not in (None, every.asked_again_at(decision.identity)) and not known:
            raise EvidenceError(
                "the question was asked again since you opened this page: no answer was recorded",
                where=decision.question,
                next_step="look at the page as it is now, and answer there",
            )
        if known is None or known.rests_on != decision.rests_on:
            return
        if known.option(decision.options) == choice:
            same.append(known)
            raise AlreadyRecorded
        raise _refused(known, record.id, choice)

    same: list[Answer] = []
    name = remaining(partial(look, root), incident).id
    try:
        line = append(
            root,
            name,
            DECIDED,
            by=by,
            redactor=redactor,
            check=check,
            identity=decision.identity,
            question=decision.question,
            options=list(decision.options),
            recommended=decision.recommended or "",
            reason=decision.reason,
            choice=choice,
            place=sorted(decision.options).index(choice),
            origin=origin,
            note=note,
            findings=[list(pair) for pair in decision.findings],
            rests_on=decision.rests_on,
            run_id=run_id,
            runbook=runbook,
        )
    except AlreadyRecorded:
        if note.strip():
            append(
                root,
                name,
                "note",
                by=by,
                redactor=redactor,
                check=partial(must_take, root),
                text=note,
                origin=origin,
            )
        return same[0]
    return answer_of(line)


def ask_again(
    root: Path,
    incident: str,
    decision: Decision,
    *,
    by: str,
    origin: str,
    replaces: str,
    why: str = "",
    redactor: Redactor | None = None,
) -> None:
    """Ask an answered question again; do nothing if its answer is no longer the one that was seen.

    Parameters
    ----------
    root, incident, decision, by, origin, redactor
        As for `answer`.
    replaces
        The time of the answer that the person has seen.
    why
        Why the question is asked again.

    Raises
    ------
    EvidenceError
        The record was changed after its seal, or cannot be written.
    """

    def check(record: IncidentRecord) -> None:
        must_take(root, record)
        known = answers_in(partial(look, root), record).to(decision.identity)
        if known is None or known.at != replaces:
            raise AlreadyRecorded

    name = remaining(partial(look, root), incident).id
    try:
        append(
            root,
            name,
            ASKED_AGAIN,
            by=by,
            redactor=redactor,
            check=check,
            identity=decision.identity,
            question=decision.question,
            origin=origin,
            why=why,
        )
    except AlreadyRecorded:
        return


def mark_done(
    root: Path,
    incident: str,
    plan: str,
    title: str,
    note: str,
    *,
    by: str,
    origin: str,
    run_id: str,
    redactor: Redactor | None = None,
) -> DoneByHand:
    """Record that a person carried out a plan; the same note again changes nothing.

    Parameters
    ----------
    root, incident, by, origin, redactor
        As for `answer`.
    plan, title
        The id and the title of the plan.
    note
        What was done, and what the server answered.
    run_id
        The run that proposed the plan.

    Raises
    ------
    EvidenceError
        The record was changed after its seal, or cannot be written.
    """
    name = remaining(partial(look, root), incident).id
    line = append(
        root,
        name,
        DONE,
        by=by,
        redactor=redactor,
        check=partial(must_take, root),
        plan=plan,
        title=title,
        note=note,
        origin=origin,
        run_id=run_id,
    )
    return done_of([line])[plan]


def must_be_proven(root: Path, record: IncidentRecord) -> None:
    """Raise an error if a record was changed after its seal: nothing is added to it.

    Raises
    ------
    EvidenceError
        It was changed.
    """
    if not record.is_proven:
        wrong = next(str(damage) for damage in record.damaged if not damage.number)
        raise EvidenceError(
            f"{record.id} cannot be changed: {wrong}",
            where=str(root / record.id),
            next_step=f"`rbkernel evidence verify {record.id}` says what is wrong; restore the"
            " record from a copy or an exported archive, or note it in a new incident",
        )


def must_take(root: Path, record: IncidentRecord) -> None:
    """Raise an error if an incident takes no answers and notes: it is closed, or was changed.

    Raises
    ------
    EvidenceError
        It is closed, or its record was changed after its seal.
    """
    must_be_proven(root, record)
    if record.state is IncidentState.CLOSED:
        raise EvidenceError(
            f"{record.id} is closed, so nothing was recorded",
            where=str(root / record.id),
            next_step=f"`rbkernel incident reopen {record.id} …` reopens it",
        )


def _refused(known: Answer, incident: str, choice: str) -> AlreadyDecided:
    return AlreadyDecided(
        f"{known.choice!r} counts, your {choice!r} was not recorded:"
        f" {known.told(datetime.now(UTC))}",
        where=f"{known.question} ({incident})",
        next_step="to change it, press “Decide again” beside the question, or use `rbkernel"
        f" decide {incident} … --again`",
    )
