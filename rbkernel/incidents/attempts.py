"""Count the attempts to solve an incident that have failed, from its record. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rbkernel.evidence.incident import DONE, ActionState, IncidentRecord, instant
from rbkernel.model import Verdict

_FAILED = frozenset({ActionState.FAILED, ActionState.INDETERMINATE})
_UNSOLVED = frozenset({Verdict.WARNING, Verdict.CRITICAL})


def failed_at(record: IncidentRecord) -> list[datetime]:
    """Return when each failed attempt turned out to have failed, in order.

    An attempt is an action that was executed, or something that a person did by hand. It failed if
    the action had no effect, or if the next run that ended after it found a warning or something
    critical. Several things that were done before one run count as one attempt.
    """
    failed, tried = [], False
    for at, step in sorted(_steps(record), key=lambda one: one[0]):
        if step in _FAILED or (tried and step in _UNSOLVED):
            failed.append(at)
        tried = step in {DONE, ActionState.VERIFIED}
    return failed


def _steps(record: IncidentRecord) -> Iterator[tuple[datetime, str]]:
    """Return what was done, and the verdicts of runs, with the times."""
    for line in record.lines:
        if line.kind == DONE:
            yield instant(line.at), DONE
    for action in record.actions:
        if action.recorded in {ActionState.VERIFIED, *_FAILED}:
            yield instant(action.lines[-1].at), action.recorded
    for run in record.runs:
        if run.verdict and (ended := run.ended_at or run.sealed_at):
            yield instant(ended), run.verdict
