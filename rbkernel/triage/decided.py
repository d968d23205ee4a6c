"""The answers in the record of this run's incident: read, written and followed by the kernel."""

from __future__ import annotations

import asyncio
import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rbkernel.errors import EvidenceError
from rbkernel.evidence import current, incident, manifest
from rbkernel.evidence.incident import RBKERNEL, Answers, DoneByHand
from rbkernel.model import Decision, Origin, Verdict
from rbkernel.triage.context import triage

if TYPE_CHECKING:
    from rbkernel.triage.decide import OpenDecision

# how often a waiting kernel looks whether somebody answered elsewhere
_LOOK_S = 2.0


def user() -> str:
    """Return the name of the user who runs this kernel."""
    return getpass.getuser()


def answers() -> Answers:
    """Return the answers in the record of this run's incident.

    Raises
    ------
    EvidenceError
        The record cannot be read.
    """
    return incident.answers(current().root, triage().run.incident)


def answer(asked: Decision, option: str) -> Answers:
    """Write an answer into the incident's record, and return all answers.

    Raises
    ------
    AlreadyDecided
        Somebody has given another answer before.
    EvidenceError
        The record cannot be written.
    """
    run = triage().run
    incident.answer(
        current().root,
        run.incident,
        asked,
        option,
        by=user(),
        origin=Origin.NOTEBOOK,
        run_id=run.id,
        runbook=run.runbook,
        redactor=current().redactor,
    )
    return answers()


def ask_again(asked: Decision, *, replaces: str, by: str = "", why: str = "") -> Answers:
    """Ask an answered question again in the incident's record, and return all answers.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    incident.ask_again(
        current().root,
        triage().run.incident,
        asked,
        by=by or user(),
        origin=Origin.NOTEBOOK,
        replaces=replaces,
        why=why,
        redactor=current().redactor,
    )
    return answers()


def no_longer_counts(asked: Decision, known: Answers) -> str:
    """Return why the earlier answer does not count for the present situation; empty if it does.

    It does not if a finding is worse or new, another culprit is the cause, or another option is
    recommended now. It counts if things only got better, and if no answer is needed now.
    """
    found = known.to(asked.identity)
    if found is None or not asked.is_waiting:
        return ""
    changes = _changes(found.findings, asked.findings, only_worse=True)
    if asked.recommended and asked.recommended != found.recommended:
        before = found.recommended or "nothing"
        changes.append(f"recommended now: {asked.recommended} (before: {before})")
    if not changes:
        return ""
    told = found.told(datetime.now(UTC))
    return f"Asked again. Before, it was {told}. Since then: {'; '.join(changes)}."


def ask_again_because(asked: Decision, known: Answers, why: str) -> Answers:
    """Ask a question again because its answer does not count any more; return all answers.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    found = known.to(asked.identity)
    at = found.at if found else ""
    return ask_again(asked, replaces=at, by=RBKERNEL, why=why.removeprefix("Asked again. "))


def since(record: Decision, known: Answers) -> str:
    """Return how long ago a question was answered, and which findings have changed since."""
    found = known.to(record.identity)
    if found is None or record.choice is None:
        return ""
    told = found.told(datetime.now(UTC))
    changed = _changes(found.findings, record.findings)
    note = f" Note: {found.note}." if found.note else ""
    return f"{told[0].upper()}{told[1:]}.{note}" + (
        f" Since then: {'; '.join(changed)}." if changed else ""
    )


def _changes(
    then: tuple[tuple[str, str], ...],
    today: tuple[tuple[str, str], ...],
    *,
    only_worse: bool = False,
) -> list[str]:
    """Return the findings that changed their verdict, as texts.

    >>> _changes((("Lag", "critical"),), (("Lag", "ok"), ("Slots", "warning")))
    ['Lag: critical → ok', 'Slots: warning']
    >>> _changes((("Lag", "critical"),), (("Lag", "ok"),), only_worse=True)
    []
    """
    was, changed = dict(then), []
    for title, verdict in today:
        before = was.get(title, Verdict.OK.value)
        rises = _rank(verdict) > _rank(before)
        if verdict != before and (rises or not only_worse):
            changed.append(
                f"{title}: {before} → {verdict}" if title in was else f"{title}: {verdict}"
            )
    return changed


def _rank(verdict: str) -> int:
    return Verdict(verdict).rank if verdict in list(Verdict) else Verdict.UNKNOWN.rank


def done(plan: str) -> DoneByHand | None:
    """Return what the incident's record says about a plan that was carried out; None if nothing."""
    try:
        return incident.known(current().root, triage().run.incident).done.get(plan)
    except EvidenceError:
        return None  # `rb.decide` has said that the record cannot be read


def noted_for_another(plan: str, note: str) -> DoneByHand | None:
    """Return the other plan for which the incident's record has the same note, if there is one.

    *Run All* repeats the note of a cell, also if its plan has other targets now.
    """
    try:
        done_in = incident.known(current().root, triage().run.incident).done
    except EvidenceError:
        return None
    mine = plan in done_in and done_in[plan].note == note
    others = (one for one in done_in.values() if one.note == note and one.plan != plan)
    return None if mine else next(others, None)


def mark_done(plan: str, title: str, note: str) -> None:
    """Write into the incident's record that a person carried out a plan.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    run = triage().run
    incident.mark_done(
        current().root,
        run.incident,
        plan,
        title,
        note,
        by=user(),
        origin=Origin.NOTEBOOK,
        run_id=run.id,
        redactor=current().redactor,
    )


def follow(decision: OpenDecision) -> None:
    """Update a question on the screen while its kernel is idle, when somebody answers elsewhere."""
    is_first = not _followed
    _followed[decision.record.id] = decision
    if is_first:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel runs this code, so nothing would be displayed
            return
        loop.call_later(_LOOK_S, _look, loop, _stamp())


_followed: dict[str, OpenDecision] = {}


def _look(loop: asyncio.AbstractEventLoop, before: tuple[int, int]) -> None:
    if current().broken:
        return
    stamp = _stamp()
    if stamp != before:
        try:
            known = answers()
        except EvidenceError:
            stamp = before  # look again: a click would show the error
        else:
            for decision in [*_followed.values()]:
                decision.update(known)
    loop.call_later(_LOOK_S, _look, loop, stamp)


def _stamp() -> tuple[int, int]:
    """Return size and time of the incident's record, which change with every line."""
    path = current().root / triage().run.incident / manifest.INCIDENT
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_size, found.st_mtime_ns
