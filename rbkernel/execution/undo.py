"""Propose to undo actions that were verified: the inverse, from the document that was executed.

An undo is an action of its own, with a preview, approvals by the same rule, and an execution. Its
document names the digest of the action that it undoes. It is recorded in the incident of that
action, and only once it is verified, that action is undone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rbkernel.errors import ActionRefused, EvidenceError
from rbkernel.evidence import incident, reading, runs
from rbkernel.evidence.incident import ActionHistory, ActionState, IncidentRecord, instant
from rbkernel.execution import kinds
from rbkernel.execution.proposal import Proposal
from rbkernel.model import PlanState, plan_id

# states in which an action may have changed something that is still so
_CHANGED = frozenset({ActionState.EXECUTING, ActionState.VERIFIED, ActionState.INDETERMINATE})


def proposals(
    root: Path, plan: str = "", incidents: Collection[str] | None = None
) -> Iterator[Proposal]:
    """Yield the proposal to undo each action that can be undone.

    Parameters
    ----------
    root
        The evidence folder.
    plan
        The first characters of the ids of these proposals.
    incidents
        The incidents of the actions; None for all.
    """
    for record, one in _actions(root):
        if incidents is None or record.id in incidents:
            yield from of(root, record, one, plan)


def of(
    root: Path, record: IncidentRecord, history: ActionHistory, plan: str = ""
) -> Iterator[Proposal]:
    """Yield the proposal to undo an action of a record; none if it has no undo.

    An action that is undone already has one, too: `refusal` says so. ``plan`` is as in `proposals`.
    """
    facts = history.facts
    kind = kinds.of(facts)
    done = history.recorded in {ActionState.VERIFIED, ActionState.UNDONE} and history.is_intact
    title, connection = f"Undo: {history.title}", str(facts.get("connection"))
    name = plan_id(title, connection, history.digest)
    if not done or kind is None or kind.inverse is None or history.undoes:
        return
    if not name.startswith(plan):
        return
    try:
        fields = kind.inverse(facts)
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # somebody else than rbkernel wrote this document
    runbook, _, run_id = str(facts.get("proposed_in")).rpartition(" ")
    yield Proposal(
        plan=name,
        title=title,
        connection=connection,
        risk="",
        incident=record.id,
        run_id=run_id,
        runbook=runbook,
        **_where(root, run_id),
        at=history.lines[-1].at,
        state=PlanState.PROPOSED,
        undoes=history.digest,
        **{"action": str(facts["action"]), **fields},
    )


def _where(root: Path, run_id: str) -> dict[str, Any]:
    """Return whose the run is that proposed the action, and where it was; see `Proposal`.

    If that is not known, the kernel may have been of this OS user.
    """
    for entry in runs.list_runs(root):
        if entry.run_id == run_id:
            with suppress(OSError, EvidenceError):
                host = str(reading.read(entry.folder).kernel.get("host") or "")
                return {"owner": entry.folder.stat().st_uid, "host": host}
    return {"owner": os.geteuid(), "host": ""}


def home_of(root: Path, plan: str, plans: Collection[str]) -> str:
    """Return the incident of the undo of one of some executed plans; empty if it is none of these.

    Parameters
    ----------
    root
        The evidence folder.
    plan
        The id of the undo.
    plans
        The ids of the plans that were executed.
    """
    executed = (pair for pair in _actions(root) if pair[1].plan in plans)
    undos = (each for record, one in executed for each in of(root, record, one))
    return next((one.incident for one in undos if one.plan == plan), "")


def find(root: Path, plan: str) -> Proposal:
    """Return the proposal that undoes the newest execution of a plan.

    Parameters
    ----------
    root
        The evidence folder.
    plan
        The id of the plan that was executed, or its first characters, at least 4.

    Raises
    ------
    ActionRefused
        No such plan was executed and verified, or it has no undo.
    """
    found = [
        (record, one)
        for record, one in _actions(root)
        if len(plan) >= 4 and one.plan.startswith(plan) and not one.undoes
    ]
    if len({one.plan for _, one in found}) > 1:
        raise ActionRefused(f"several plans begin with {plan!r}", next_step="give the whole id")
    where = f"plan {plan}"
    if not found:
        raise ActionRefused(f"no action of the plan {plan!r} is recorded", where=where)
    record, last = max(found, key=lambda pair: instant(pair[1].lines[0].at))
    for one in of(root, record, last):
        return one
    state = last.recorded
    is_done = state is ActionState.VERIFIED
    raise ActionRefused(
        f"{last.title}: {'it cannot be undone' if is_done else f'it is {state}, and not verified'}",
        where=where,
        next_step=f"`rbkernel action show {plan}` shows the action as it is now",
    )


def refusal(root: Path, found: Proposal, at: datetime) -> str:
    """Return why an action cannot be undone at this time; empty if it can.

    Actions are undone in reverse order: not before a later one that changed the same.
    """
    known = [one for _, one in _actions(root)]
    undone = next((one for one in known if one.digest == found.undoes), None)
    if undone is None or undone.recorded is not ActionState.VERIFIED:
        return f"what it undoes is {undone.recorded if undone else 'not recorded any more'}"
    touched = _touched(undone)
    for one in known:
        if one.undoes == found.undoes or one.state(at) not in _CHANGED or not _later(one, undone):
            continue
        if one.undoes and one.recorded is ActionState.VERIFIED:
            continue  # it restored what a later action had changed
        if _touched(one) & touched:
            return f"undo first what changed the same later: {one.title} (plan {one.plan})"
    return ""


def _touched(history: ActionHistory) -> frozenset[Any]:
    """Return what an action changed; nothing if somebody else than rbkernel wrote its document."""
    kind = kinds.of(history.facts)
    try:
        return kind.touched(history.facts) if kind else frozenset()
    except (KeyError, TypeError, ValueError, AttributeError):
        return frozenset()


def _later(one: ActionHistory, other: ActionHistory) -> bool:
    return _began(one) > _began(other)


def _began(history: ActionHistory) -> datetime:
    """Return when an action began to be executed."""
    began = [one.at for one in history.lines if one.text("state") == ActionState.EXECUTING]
    return instant(began[0] if began else "")


def _actions(root: Path) -> Iterator[tuple[IncidentRecord, ActionHistory]]:
    """Yield all actions with the record of the incident that their documents name."""
    for record in incident.list_incidents(root):
        for one in record.actions:
            if one.facts.get("incident") == record.id:
                yield record, one
