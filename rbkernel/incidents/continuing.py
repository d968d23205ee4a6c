"""Which runs of an incident are to be continued: those that were answered or acted on.

Of all runs of a runbook with the same parameters, only the newest is continued. The answers and
actions since it ran have a hash, the *basis*: with the same basis, the gateway continues once.
Reading decides nothing: the record of the incident says what was continued (`mark_continued`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import incident, reading, runs
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


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """A headless run, and what happened since: ``why`` says it, ``basis`` is its hash.

    ``is_due`` tells whether the run is to be continued: an action was verified, or there are new
    answers and no question is open. ``is_live`` tells whether a run of its runbook has not ended.
    """

    run: Record
    incident: str
    basis: str
    why: str
    is_due: bool
    is_live: bool = False


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
    return Continuation(
        run=run,
        incident=name,
        basis=hashlib.sha256(json.dumps(since).encode()).hexdigest()[:32],
        why="; ".join(said),
        is_due=bool(acted or (new and not any(one.is_waiting for _, one in now))),
    )


def find(root: Path, name: str) -> tuple[Continuation, ...]:
    """Return the runs of an incident that are to be continued, and were not, as far as known.

    None of a closed incident, of runs that a person continued, and of runs that were refused.

    Raises
    ------
    EvidenceError
        The record or a journal cannot be read.
    """
    of_incident = incident.remaining(partial(incident.look, root), name)
    if of_incident.state is IncidentState.CLOSED:
        return ()
    due = (one for one in _all(root, of_incident) if one.is_due)
    known = ((one, continued(of_incident, one.basis)) for one in due)
    return tuple(one for one, line in known if line is None or line.text("job"))


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
    """Return the path of the document that was run, if it is still the same.

    Raises
    ------
    EvidenceError
        It has changed, or cannot be read.
    """
    snapshot = next(reversed(run.of_kind("snapshot")), None)
    facts = snapshot.data if snapshot else {}
    path = Path(str(facts.get("path", "")))
    again = f"`rbkernel run {run.runbook} --incident {run.incident}` runs the one of today"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EvidenceError(
            f"the runbook of run {run.run_id} cannot be read: {error.strerror}",
            where=str(path),
            next_step=again,
        ) from error
    # the stored document lacks secrets; its own hash is that of the file
    if digest != facts.get("sha256_as_it_was", facts.get("sha256")):
        raise EvidenceError(
            f"the runbook has changed since run {run.run_id}: an answer to its question may not"
            " fit any more",
            where=str(path),
            next_step=again,
        )
    return path


def begin(root: Path, name: str, run_id: str, basis: str, *, job: str, why: str) -> Path:
    """Record that a job of the gateway continues a run; return the document to run.

    Raises
    ------
    EvidenceError
        The runbook has changed, the incident is closed, or somebody continued the run already.
    """
    of_incident = still_open(root, name)
    run = reading.read(runs.find(root, run_id), outputs=False)
    path = unchanged(run)
    mark_continued(
        root,
        of_incident.id,
        run_id=run_id,
        runbook=run.runbook,
        basis=basis,
        by=incident.RBKERNEL,
        job=job,
        why=why,
    )
    return path


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
        refused=f"{error.what}. Next: {error.next_step}",
    )
