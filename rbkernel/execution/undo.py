"""Propose to undo actions that were executed: the inverse, from the document that was executed.

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
from rbkernel.execution.document import Facts
from rbkernel.execution.proposal import Proposal
from rbkernel.model import PlanState, plan_id

# states in which an action, besides those with an outcome, may have changed something
_UNKNOWN = frozenset({ActionState.EXECUTING, ActionState.INDETERMINATE})


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
    title, connection = f"Undo: {history.title}", str(facts.get("connection"))
    name = plan_id(title, connection, history.digest)
    fields = _inverse(history) if name.startswith(plan) else None
    if fields is None:
        return
    runbook, _, run_id = str(facts.get("proposed_in")).rpartition(" ")
    yield Proposal(
        plan=name,
        title=title,
        connection=connection,
        risk=_risk(root, history),
        incident=record.id,
        run_id=run_id,
        runbook=runbook,
        **_where(root, run_id),
        at=history.lines[-1].at,
        state=PlanState.PROPOSED,
        undoes=history.digest,
        **{"action": str(facts["action"]), **fields},
    )


def _inverse(history: ActionHistory) -> Facts | None:
    """Return the fields of the proposal that undoes an action; None if it cannot be undone."""
    kind = kinds.of(history.facts)
    if not (history.has_changed and history.is_intact) or history.undoes:
        return None
    try:
        return kind.inverse(history.facts) if kind and kind.inverse else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # it has none, or somebody else than rbkernel wrote this document


def _risk(root: Path, history: ActionHistory) -> str:
    """Say which later actions changed the same, and cannot be undone first."""
    later = [one for one in _later_ones(root, history) if _inverse(one) is None]
    said = "; ".join(f"{one.title} (plan {one.plan}, {one.recorded})" for one in later)
    return f"Later actions may have changed the same, and have no undo: {said}" if said else ""


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
        No such plan was executed with an outcome, or it has no undo.
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
    raise ActionRefused(
        f"{last.title}:"
        f" {'it cannot be undone' if last.has_changed else f'it is {state}, and not verified'}",
        where=where,
        next_step=f"`rbkernel action show {plan}` shows the action as it is now",
    )


def refusal(root: Path, found: Proposal, at: datetime) -> str:
    """Return why an action cannot be undone at this time; empty if it can.

    Actions are undone in reverse order: not before a later one that changed the same, and that can
    be undone.
    """
    undone = next((one for _, one in _actions(root) if one.digest == found.undoes), None)
    if undone is None or not undone.has_changed or undone.recorded is ActionState.UNDONE:
        return f"what it undoes is {undone.recorded if undone else 'not recorded any more'}"
    for one in _later_ones(root, undone):
        if one.state(at) is ActionState.EXECUTING:
            return f"wait for the outcome of {one.title} (plan {one.plan}), which changes the same"
        if _inverse(one) is not None:
            return f"undo first what changed the same later: {one.title} (plan {one.plan})"
    return ""


def _later_ones(root: Path, history: ActionHistory) -> list[ActionHistory]:
    """Return later actions that may have changed the same, except those that are undone."""
    touched = _touched(history)
    return [
        one
        for _, one in _actions(root)
        if one.undoes != history.digest
        and (one.has_changed or one.recorded in _UNKNOWN)
        and one.recorded is not ActionState.UNDONE
        # a verified undo restored what a later action had changed
        and not (one.undoes and one.recorded is ActionState.VERIFIED)
        and _later(one, history)
        and _touched(one) & touched
    ]


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
