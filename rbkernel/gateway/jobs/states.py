"""The states of jobs and alerts in the store, their transitions, and the SQL that changes them."""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from rbkernel.transitions import State, Transitions


class AlertState(StrEnum):
    """How far the gateway has processed an alert."""

    RECEIVED = "received"  # stored, but not processed
    PLACED = "placed"  # incident and jobs are stored; the incident's record lacks the alert
    DONE = "done"  # processing is complete


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
    """The state of a job: waiting, running, or how it ended."""

    WAITING = "waiting"  # waits for room at its connections, or for the time of its next attempt
    QUEUED = "queued"  # a worker may begin its next attempt
    RUNNING = "running"  # a worker executes an attempt
    DONE = "done"  # the runbook finished, whatever its verdict
    FAILED = "failed"  # a cell failed, or the runbook cannot run
    GIVEN_UP = "given up"  # every attempt was interrupted
    WITHDRAWN = "withdrawn"  # nothing ran, and nothing has to


JOB_TRANSITIONS = Transitions(
    "job",
    {
        None: {JobState.WAITING},
        JobState.WAITING: {JobState.QUEUED},
        JobState.QUEUED: {JobState.RUNNING},
        JobState.RUNNING: {
            JobState.WAITING,  # waits for another attempt
            JobState.DONE,
            JobState.FAILED,
            JobState.GIVEN_UP,
            JobState.WITHDRAWN,
        },
        JobState.DONE: (),
        JobState.FAILED: (),
        JobState.GIVEN_UP: (),
        JobState.WITHDRAWN: (),
    },
)


def move(table: sa.Table, transitions: Transitions[State], to: State) -> sa.Update:
    """Return an UPDATE that changes rows to a state if their state allows this transition.

    Rows in other states do not change: of several processes that try, only one succeeds. The caller
    adds the condition that selects the rows.

    >>> from rbkernel.gateway.jobs.storage.tables import jobs
    >>> statement = move(jobs, JOB_TRANSITIONS, JobState.RUNNING)
    >>> print(statement.compile(compile_kwargs={"literal_binds": True}))
    UPDATE rbkernel_jobs SET state='running' WHERE rbkernel_jobs.state IN ('queued')
    """
    return sa.update(table).where(table.c.state.in_(transitions.before(to))).values(state=to)
