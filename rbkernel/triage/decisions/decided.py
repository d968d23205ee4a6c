"""The answers in the record of this run's incident: read, written and followed by the kernel."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Container
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from rbkernel import amounts
from rbkernel.displaytext import one_line
from rbkernel.errors import EvidenceError
from rbkernel.evidence import current, incident, manifest
from rbkernel.evidence.incident import RBKERNEL, Answers, DoneByHand, instant, shown
from rbkernel.model import Decision, Origin
from rbkernel.triage.context import triage

if TYPE_CHECKING:
    from rbkernel.triage.decide import OpenDecision

# how often a waiting kernel looks whether somebody answered elsewhere
_LOOK_S = 2.0


def is_closed() -> bool:
    """Tell whether this run's incident is closed, as far as its record can be read."""
    try:
        read = partial(incident.look, current().root)
        record = incident.remaining(read, triage().run.incident)
    except EvidenceError:
        return False
    return record.state is incident.IncidentState.CLOSED


def user() -> str:
    """Return who runs this kernel: the owner of a server of JupyterHub, else the OS user."""
    owner = one_line(os.environ.get("JUPYTERHUB_USER", ""))
    return f"{owner} (JupyterHub)" if owner else getpass.getuser()


def answers() -> Answers:
    """Return the answers in the record of this run's incident.

    Raises
    ------
    EvidenceError
        The record cannot be read.
    """
    return incident.answers(current().root, triage().run.incident)


def first_chosen(identity: str, options: Container[str]) -> str:
    """Return when one of some options of a question was first chosen in this run's incident.

    Empty if none was, or if the record cannot be read.
    """
    try:
        asked = answers().questions.get(identity)
    except EvidenceError:
        return ""
    return next((one.at for one in asked.answers if one.choice in options), "") if asked else ""


def answer(asked: Decision, option: str) -> None:
    """Write an answer into the incident's record.

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


def no_longer_counts(asked: Decision, known: Answers, began: str) -> str:
    """Return why the earlier answer does not count for the present situation; empty if it does.

    It counts only as long as what it rests on is the same: the findings with their verdicts and
    culprits, the recommended option, and whether an answer is needed. If it was acted on, and
    nothing is better, people decide again; a run that ``began`` before the action cannot tell.
    """
    found = known.to(asked.identity)
    if found is None:
        return ""
    if found.rests_on == asked.rests_on:
        acted = known.acted(asked.identity)
        is_after = acted and instant(acted.lines[-1].at) < instant(began)
        return f"{acted.done}, and the situation is as before" if acted and is_after else ""
    changes = _changes(found.findings, asked.findings)
    if (asked.recommended or "") != found.recommended:
        said = asked.recommended or "nothing"
        changes.append(f"recommended now: {said} (before: {found.recommended or 'nothing'})")
    return "; ".join(changes) or "other sessions are the cause, or an answer is needed now"


def earlier(asked: Decision, known: Answers) -> str:
    """Return the remark about an earlier answer that does not count; empty if there is none."""
    found = known.last(asked.identity)
    if found is None or not found.over:
        return ""
    ago = amounts.duration(max(0.0, (datetime.now(UTC) - shown(found.at)).total_seconds()))
    return f"Earlier answer: {found.choice!r} ({ago} ago, by {found.by}). Since then: {found.over}."


def ask_again_because(asked: Decision, known: Answers, why: str) -> Answers:
    """Ask a question again because its answer does not count any more; return all answers.

    Raises
    ------
    EvidenceError
        The record cannot be written.
    """
    found = known.to(asked.identity)
    at = found.at if found else ""
    return ask_again(asked, replaces=at, by=RBKERNEL, why=why)


def since(record: Decision, known: Answers) -> str:
    """Return how long ago a question was answered, or why an earlier answer does not count."""
    found = known.to(record.identity)
    if record.choice is None:
        return earlier(record, known)
    if found is None:
        return ""
    told = found.told(datetime.now(UTC))
    note = f" Note: {found.note}." if found.note else ""
    return f"{told[0].upper()}{told[1:]}.{note}"


def _changes(then: tuple[tuple[str, str], ...], today: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the findings that changed, as texts.

    >>> _changes((("Lag", "critical"),), (("Lag", "ok"), ("Slots", "warning")))
    ['Lag: critical → ok', 'Slots: warning']
    >>> _changes((("Cause (pid 1)", "critical"),), (("Cause (pid 2)", "critical"),))
    ['Cause (pid 2): critical', 'not found now: Cause (pid 1)']
    """
    was, now = dict(then), dict(today)
    changed = [
        f"{title}: {was[title]} → {verdict}" if title in was else f"{title}: {verdict}"
        for title, verdict in now.items()
        if was.get(title) != verdict
    ]
    return [*changed, *(f"not found now: {title}" for title in was if title not in now)]


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


def _look(loop: asyncio.AbstractEventLoop, before: _Stamp) -> None:
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


_Stamp = tuple[tuple[int, int], ...]
# the record of this run's incident, and the record that continues it after a merge
_parts: dict[str, tuple[tuple[int, int], str]] = {}


def _stamp() -> _Stamp:
    """Return sizes and times of the records in which answers are, which change with every line."""
    name = triage().run.incident
    own = _size_and_time(name)
    if name not in _parts or _parts[name][0] != own:
        try:
            rest = incident.remaining(partial(incident.look, current().root), name).id
        except EvidenceError:
            rest = name
        _parts[name] = (own, rest)
    return own, _size_and_time(_parts[name][1])


def _size_and_time(name: str) -> tuple[int, int]:
    try:
        found = (current().root / name / manifest.INCIDENT).stat()
    except OSError:
        return (0, 0)
    return found.st_size, found.st_mtime_ns
