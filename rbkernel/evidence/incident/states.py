"""The states of an incident, its alerts, runs and actions, as a record holds them. Pure."""

from __future__ import annotations

from enum import StrEnum

from rbkernel.transitions import Transitions


class IncidentState(StrEnum):
    """The state of an incident, which follows from the lines of its record."""

    RUNS_ONLY = "runs only"  # only manual runs, all ok: no incident was opened
    OPEN = "open"  # an alert, a person, a schedule or a run that is not ok opened it
    MERGED = "merged"  # another incident continues it
    CLOSED = "closed"  # the work is done; it can be reopened


INCIDENT_TRANSITIONS = Transitions(
    "incident",
    {
        None: {IncidentState.RUNS_ONLY, IncidentState.OPEN},
        IncidentState.RUNS_ONLY: {
            IncidentState.OPEN,
            IncidentState.MERGED,
            IncidentState.CLOSED,
        },
        IncidentState.OPEN: {
            IncidentState.RUNS_ONLY,  # its only run has now ended, and was ok
            IncidentState.MERGED,
            IncidentState.CLOSED,
        },
        IncidentState.MERGED: {IncidentState.CLOSED},
        IncidentState.CLOSED: {
            IncidentState.OPEN,
            IncidentState.MERGED,  # it was merged before it was closed
        },
    },
)


class AlertStatus(StrEnum):
    """The state of an alert as its sender reports it; reports come in any order."""

    FIRING = "firing"  # the alert's condition is true
    RESOLVED = "resolved"  # the alert's condition is no longer true


class AlertOutcome(StrEnum):
    """What the gateway did about an alert."""

    NONE = ""  # no reaction yet
    STARTED = "started"  # a job was queued
    ATTACHED = "attached"  # attached to a job that was already live
    STORM = "storm"  # one of many alerts without a runbook, attached to the job of another alert
    RESOLVED = "resolved"  # a firing alert was resolved
    NOTHING_OPEN = "nothing open"  # resolved, but no firing alert was received
    STALE = "stale"  # firing, received after its resolved alert
    NO_RUN = "no run"  # no runbook could run
    BY_RULE = "by rule"  # an entry of [[routes]] says that no runbook runs


class RunState(StrEnum):
    """The states of a run, in the order in which it passes through them.

    A run that is WITHDRAWN was not needed any more: nothing ran, and it has no history.
    """

    QUEUED = "queued"  # it waits for a worker
    STARTED = "started"  # a worker executes it
    ENDED = "ended"  # it has an outcome
    SEALED = "sealed"  # its evidence is sealed
    WITHDRAWN = "withdrawn"  # it was not needed any more


class ActionState(StrEnum):
    """The state of an action that rbkernel may execute, from its proposal to its outcome.

    EXPIRED, and INDETERMINATE after a crash, are never written: they follow from the time. Nor is
    UNDONE: it follows from the outcome of another action.
    """

    PROPOSED = "proposed"  # a runbook proposed it; its preview is not recorded
    PREVIEWED = "previewed"  # its preview is recorded, and waits for approvals
    APPROVED = "approved"  # it has all approvals that the policy requires
    REJECTED = "rejected"  # somebody rejected it
    EXPIRED = "expired"  # it was not approved, or not executed, in time
    EXECUTING = "executing"  # the intent is recorded; the outcome is not
    VERIFIED = "verified"  # executed, and its effect was seen
    FAILED = "failed"  # not executed, or executed without the effect
    INDETERMINATE = "indeterminate"  # the outcome is not known: a human must look
    UNDONE = "undone"  # verified, and then the action that undoes it was verified


ACTION_TRANSITIONS = Transitions(
    "action",
    {
        None: {ActionState.PROPOSED},
        ActionState.PROPOSED: {ActionState.PREVIEWED},
        ActionState.PREVIEWED: {
            ActionState.APPROVED,
            ActionState.REJECTED,
            ActionState.EXPIRED,
        },
        ActionState.APPROVED: {
            ActionState.EXECUTING,
            ActionState.REJECTED,
            ActionState.EXPIRED,
        },
        ActionState.EXECUTING: {
            ActionState.VERIFIED,
            ActionState.FAILED,
            ActionState.INDETERMINATE,
        },
        # an action is executed once: after these states, a new preview is a new action
        ActionState.VERIFIED: {ActionState.UNDONE},
        ActionState.UNDONE: (),
        ActionState.REJECTED: (),
        ActionState.EXPIRED: (),
        ActionState.FAILED: {ActionState.UNDONE},
        ActionState.INDETERMINATE: (),
    },
)
