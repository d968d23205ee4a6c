"""The states of jobs and alerts in the store, and the one way to change them."""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from rbkernel.transitions import State, Transitions


class AlertState(StrEnum):
    """How far the gateway has processed an alert."""

    RECEIVED = "received"  # stored, no more
    PLACED = "placed"  # its incident and its jobs are stored; the incident's record lacks it
    DONE = "done"  # nothing is left to do


ALERT_TRANSITIONS = Transitions(
    "alert",
    {
        None: {AlertState.RECEIVED},
        AlertState.RECEIVED: {AlertState.PLACED, AlertState.DONE},
        AlertState.PLACED: {AlertState.DONE},
        AlertState.DONE: (),
    },
)


class JobState(StrEnum):
    """The state of a job."""

    WAITING = "waiting"  # for room at its connections, or for the time of its next attempt
    QUEUED = "queued"  # a worker may begin its next attempt
    RUNNING = "running"  # a worker executes an attempt
    DONE = "done"  # the runbook finished, whatever it found
    FAILED = "failed"  # a cell failed, or the runbook cannot run
    GIVEN_UP = "given up"  # every attempt was interrupted


JOB_TRANSITIONS = Transitions(
    "job",
    {
        None: {JobState.WAITING},
        JobState.WAITING: {JobState.QUEUED},
        JobState.QUEUED: {JobState.RUNNING},
        JobState.RUNNING: {
            JobState.WAITING,  # for another attempt
            JobState.DONE,
            JobState.FAILED,
            JobState.GIVEN_UP,
        },
        JobState.DONE: (),
        JobState.FAILED: (),
        JobState.GIVEN_UP: (),
    },
)


def move(table: sa.Table, transitions: Transitions[State], to: State) -> sa.Update:
    """Return an UPDATE that moves rows to a state, out of those states that it may follow.

    No other row is changed: of several processes that try, one succeeds. Callers add which rows.

    >>> from rbkernel.gateway.jobs.tables import jobs
    >>> statement = move(jobs, JOB_TRANSITIONS, JobState.RUNNING)
    >>> print(statement.compile(compile_kwargs={"literal_binds": True}))
    UPDATE rbkernel_jobs SET state='running' WHERE rbkernel_jobs.state IN ('queued')
    """
    return sa.update(table).where(table.c.state.in_(transitions.before(to))).values(state=to)
