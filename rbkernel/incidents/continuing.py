"""Which runs of an incident are to be continued: those that were answered or acted on.

Of all runs of a runbook with the same parameters, only the newest is continued. The answers and
actions since it ran have a hash, the *basis*: with the same basis, the gateway continues once.
Reading decides nothing: the record of the incident says what was continued (`mark_continued`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rbkernel.errors import EvidenceError, NotNeeded, RunbookChanged
from rbkernel.evidence import incident, reading, runs, suspect
from rbkernel.evidence.incident import (
    ActionHistory,
    Answers,
    IncidentRecord,
    IncidentState,
    continued,
    instant,
    mark_continued,
)
from rbkernel.evidence.questions import subject
from rbkernel.evidence.reading import Record
from rbkernel.runbook.catalogue import Runbook

_HOUR = timedelta(hours=1)
# the gateway continues what people do now, not what they did before an upgrade or a long stop
_WITHIN = timedelta(hours=4)
# a holder of a link can ask again and answer without end
_AN_HOUR = 6


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """A headless run, and what happened since: ``why`` says it, ``basis`` is its hash.

    ``is_due`` tells whether the run is to be continued: an action was verified, or there are new
    answers and no question is open. ``at`` is when the last of these happened. ``is_live`` tells
    whether a run of its runbook has not ended, ``recent`` how often the gateway continued runs of
    its runbook in the last hour.
    """

    run: Record
    incident: str
    basis: str
    why: str
    is_due: bool
    at: datetime
    is_live: bool = False
    recent: int = 0

    def too_much(self, now: datetime) -> EvidenceError | None:
        """Return why only a person continues the run; None if the gateway does."""
        if now - self.at > _WITHIN:
            why = f"it was answered or acted on more than {_WITHIN // _HOUR} hours ago"
        elif self.recent >= _AN_HOUR:
            why = f"runs of {self.run.runbook} were continued {_AN_HOUR} times in the last hour"
        else:
            return None
        return EvidenceError(
            f"run {self.run.run_id} is not continued by itself: {why}",
            where=self.incident,
            next_step=f"`rbkernel resume {self.run.run_id}`",
        )


def continuations(
    of_incident: IncidentRecord, journals: Sequence[Record], answers: Answers
) -> Iterator[Continuation]:
    """Yield the newest run of each runbook and its parameters, if it was headless. Pure.

    Parameters
    ----------
    of_incident
        The record of the incident.
    journals
        Its runs, and those of merged incidents.
    answers
        The answers that count.
    """
    alike: dict[tuple[str, str], list[Record]] = {}
    for run in sorted(journals, key=lambda run: run.run_id):
        alike.setdefault(subject(run), []).append(run)
    for same in alike.values():
        # a run that failed before it asked anything replaces no question
        newest = [run for run in same if run.complete or run.decisions][-1:]
        verified = list(_verified(of_incident.actions, {run.run_id for run in same}))
        yield from (
            _continuation(run, of_incident.id, answers, verified)
            for run in newest
            if run.run and run.run.headless
        )


def _verified(actions: Iterable[ActionHistory], run_ids: set[str]) -> Iterator[ActionHistory]:
    """Yield the verified actions that these runs proposed."""
    for one in actions:
        proposed_in = str(one.facts.get("proposed_in", "")).split()
        if one.is_verified and run_ids.intersection(proposed_in):
            yield one


def _continuation(
    run: Record, name: str, answers: Answers, verified: Iterable[ActionHistory]
) -> Continuation:
    now = [(asked, answers.applied(asked)) for asked in run.decisions]
    new = [one for asked, one in now if one.choice and one.at != asked.at]
    began = instant(run.run.started_at if run.run else "")
    acted = [one for one in verified if instant(one.lines[-1].at) > began]
    # all answers, also those that the run knew: a continuation that cannot read them asks again,
    # and must not be continued with the same ones
    given = sorted((one.identity, one.at) for _, one in now if one.choice)
    since = [list(subject(run)), given, sorted(one.digest for one in acted)]
    said = [f"{one.question} {one.choice} ({one.by or 'somebody'})" for one in new]
    said += [one.done for one in acted]
    times = [instant(one.at) for one in new] + [instant(one.lines[-1].at) for one in acted]
    return Continuation(
        run=run,
        incident=name,
        basis=hashlib.sha256(json.dumps(since).encode()).hexdigest()[:32],
        why="; ".join(said),
        is_due=bool(acted or (new and not any(one.is_waiting for _, one in now))),
        at=max(times, default=began),
    )


def find(root: Path, name: str) -> tuple[Continuation, ...]:
    """Return the runs of an incident that are to be continued, and were neither that nor refused.

    None of a closed incident; for a merged one, those of the incident that continues it.

    Raises
    ------
    EvidenceError
        The record or a journal cannot be read.
    """
    of_incident = incident.remaining(partial(incident.look, root), name)
    if of_incident.state is IncidentState.CLOSED:
        return ()
    parts = [of_incident, *(incident.look(root, one) for one in of_incident.merged_from)]
    due = (one for one in _all(root, of_incident) if one.is_due)
    return tuple(
        replace(one, recent=_recent(parts, one.run.runbook))
        for one in due
        if not any(continued(part, one.basis) for part in parts)
    )


def _recent(parts: Iterable[IncidentRecord], runbook: str) -> int:
    """Return how often the gateway continued runs of a runbook in the last hour."""
    lines = (line for part in parts for line in part.lines if line.kind == incident.CONTINUED)
    mine = (line for line in lines if line.text("job") and line.text("runbook") == runbook)
    since = datetime.now(UTC) - _HOUR
    return sum(instant(line.at) > since for line in mine)


def of_run(root: Path, run: Record) -> Continuation:
    """Return what happened since a run of an open incident, whether it is to be continued or not.

    Raises
    ------
    EvidenceError
        The incident is closed, or its record cannot be read.
    """
    of_incident = still_open(root, run.incident)
    every = {one.run.run_id: one for one in _all(root, of_incident)}
    answers = incident.answers(root, of_incident.id)
    return every.get(run.run_id) or _continuation(run, of_incident.id, answers, ())


def _all(root: Path, of_incident: IncidentRecord) -> Iterator[Continuation]:
    entries = [one for one in runs.of_incident(root, of_incident.id) if one.is_readable]
    live = {one.runbook for one in entries if one.state == runs.LIVE}
    journals = [reading.read(one.folder, outputs=False) for one in entries]
    answers = incident.answers(root, of_incident.id)
    for one in continuations(of_incident, journals, answers):
        yield replace(one, is_live=one.run.runbook in live)


def still_open(root: Path, name: str) -> IncidentRecord:
    """Return the record of an incident, or of the one that continues it, which must be open.

    Raises
    ------
    EvidenceError
        It is closed, or cannot be read.
    """
    found = incident.remaining(partial(incident.look, root), name)
    if found.state is IncidentState.CLOSED:
        raise EvidenceError(
            f"{found.id} is closed",
            where=str(root / found.id),
            next_step=f"`rbkernel incident reopen {found.id}`, and answer its questions again",
        )
    return found


def unchanged(run: Record) -> Path:
    """Return the path of the document that was run, if it is still the same; for a person.

    Raises
    ------
    EvidenceError
        It has changed, or cannot be read.
    """
    path = Path(str(_snapshot(run).get("path", "")))
    document = suspect.read_bytes(path)
    if document is None:
        raise EvidenceError(
            f"the runbook of run {run.run_id} cannot be read: it {suspect.why_unreadable(path)}",
            where=str(path),
            next_step=_again(run),
        )
    must_be_same(run, document, str(path))
    return path


def must_be_same(run: Record, document: bytes, where: str) -> None:
    """Raise `RunbookChanged` if a document is not the one that was run."""
    facts = _snapshot(run)
    # the stored document lacks secrets; its own hash is that of the file
    if hashlib.sha256(document).hexdigest() != facts.get("sha256_as_it_was", facts.get("sha256")):
        raise RunbookChanged(
            f"the runbook has changed since run {run.run_id}: an answer to its question may not"
            " fit any more",
            where=where,
            next_step=_again(run),
        )


def _snapshot(run: Record) -> Mapping[str, Any]:
    snapshot = next(reversed(run.of_kind("snapshot")), None)
    return snapshot.data if snapshot else {}


def _again(run: Record) -> str:
    return f"`rbkernel run {run.runbook} --incident {run.incident}` runs the one of today"


def begin(
    root: Path, name: str, run_id: str, basis: str, runbook: Runbook, *, job: str, why: str
) -> None:
    """Record that a job of the gateway continues a run, with a document of its own catalogue.

    What the run's journal says about its document is compared only: a kernel could write any path.

    Raises
    ------
    NotNeeded
        Somebody continued the run already, the incident is closed, or the runbook has changed,
        which is recorded.
    EvidenceError
        The evidence cannot be read or written now.
    """
    of_incident = incident.remaining(partial(incident.look, root), name)
    if of_incident.state is IncidentState.CLOSED:
        raise NotNeeded(f"{of_incident.id} is closed", where=name, next_step="none")
    run = reading.read(runs.find(root, run_id), outputs=False)
    said = {"run_id": run_id, "runbook": run.runbook, "basis": basis, "by": incident.RBKERNEL}
    try:
        must_be_same(run, runbook.document, str(runbook.path))
    except RunbookChanged as error:
        mark_continued(root, of_incident.id, **said, refused=_refusal(error))
        raise NotNeeded(error.what, where=error.where, next_step=error.next_step) from error
    mark_continued(root, of_incident.id, **said, job=job, why=why)


def refuse(root: Path, one: Continuation, error: EvidenceError) -> None:
    """Record, once, that the gateway does not continue a run, and why.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    mark_continued(
        root,
        one.incident,
        run_id=one.run.run_id,
        runbook=one.run.runbook,
        basis=one.basis,
        by=incident.RBKERNEL,
        refused=_refusal(error),
    )


def _refusal(error: EvidenceError) -> str:
    return f"{error.what}. Next: {error.next_step}"
