"""Where an incident stands: its state in words, and whom it waits for.

Pages, commands and badges show the same words, because all of them ask `standing`. Pure, apart from
the clock: previews and approvals of actions expire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from rbkernel.evidence.incident import (
    ActionHistory,
    ActionState,
    IncidentRecord,
    IncidentState,
    Moment,
    instant,
)
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.incidents.results import verdict
from rbkernel.model import Verdict


class Stage(StrEnum):
    """What an incident waits for, or why it waits for nothing."""

    CLOSED = "closed"  # the work is done
    MERGED = "merged"  # another incident continues it
    RUNS_ONLY = "runs only"  # no incident: only runs by hand that were ok
    EXECUTING = "an action is executed"  # its outcome is awaited
    NOT_KNOWN = "the outcome of an action is not known"  # a human must look
    WAITING = "waiting for a decision"  # a question has no answer
    PREVIEWED = "waiting for an approval"  # of an action
    APPROVED = "waiting to be executed"  # an action has its approvals
    RUNNING = "running"  # a runbook runs
    RESOLVED = "resolved, not closed"  # no alert fires any more
    OPEN = ""  # nothing is awaited


_OVER = {
    IncidentState.CLOSED: Stage.CLOSED,
    IncidentState.MERGED: Stage.MERGED,
    IncidentState.RUNS_ONLY: Stage.RUNS_ONLY,
}
_FOR_PEOPLE = frozenset({Stage.NOT_KNOWN, Stage.WAITING, Stage.PREVIEWED, Stage.APPROVED})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an incident stands.

    ``verdict`` is the worst verdict of its newest runs; None as long as none has a result.
    ``resolved`` is the end of the problem, None if it is not known, or if the incident was reopened
    since.
    """

    stage: Stage
    verdict: Verdict | None
    resolved: Moment | None
    reopened: bool

    @property
    def is_open(self) -> bool:
        """Whether somebody has to work on the incident."""
        return self.stage not in _OVER.values()

    @property
    def is_for_people(self) -> bool:
        """Whether the incident waits for a person: to answer, approve, execute or look."""
        return self.stage in _FOR_PEOPLE

    @property
    def words(self) -> str:
        """The state in words, such as "open, critical, waiting for a decision"."""
        return self._said(self.verdict.value if self.verdict else "")

    @property
    def state(self) -> str:
        """The state in words, without the verdict."""
        return self._said("")

    def _said(self, verdict: str) -> str:
        if not self.is_open:
            return self.stage.value
        opened = "reopened" if self.reopened else "open"
        return ", ".join(filter(None, [opened, verdict, self.stage.value]))

    @property
    def tone(self) -> str:
        """The CSS class of the badge: nothing that is over has the colour of a problem."""
        return (self.verdict.value if self.verdict else "open") if self.is_open else "over"


def standing(record: IncidentRecord, runs: Sequence[RunEntry], waiting: int = 0) -> Standing:
    """Return where an incident stands.

    Parameters
    ----------
    record
        The record of the incident, with what was merged into it, see `whole`.
    runs
        Its runs, also those of incidents that were merged into it.
    waiting
        The number of its questions that have no answer.

    >>> from rbkernel.evidence.incident import Line, tell
    >>> def said(kind, minute):
    ...     at = f"2026-11-20T03:{minute:02}:00+00:00"
    ...     data = {"status": "resolved", "starts_at": at, "ends_at": at}
    ...     return Line(number=1, kind=kind, at=at, by="", data=data)
    >>> lines = [said("opened", 1), said("alert", 2), said("closed", 3), said("reopened", 4)]
    >>> [standing(tell(lines[:n]), ()).words for n in (1, 2, 3, 4)]
    ['open', 'open, resolved, not closed', 'closed', 'reopened']
    >>> standing(tell(lines), (), waiting=1).words, standing(tell(lines), ()).resolved
    ('reopened, waiting for a decision', None)
    """
    reopened = _reopened_at(record)
    resolved = record.resolved
    if resolved and reopened and record.state is not IncidentState.CLOSED:
        resolved = resolved if instant(resolved.at) > instant(reopened) else None
    found = verdict(record, runs)
    over = _OVER.get(record.state)
    if not record.lines and not waiting and found in {None, Verdict.OK}:
        over = Stage.RUNS_ONLY  # a run by hand, which has no record as long as it finds nothing
    return Standing(
        stage=over or _stage(record, runs, waiting, resolved),
        verdict=found,
        resolved=resolved,
        reopened=bool(reopened),
    )


def _stage(
    record: IncidentRecord, runs: Sequence[RunEntry], waiting: int, resolved: Moment | None
) -> Stage:
    actions = _actions(record, runs)
    holds = {
        Stage.EXECUTING: ActionState.EXECUTING in actions,
        Stage.NOT_KNOWN: ActionState.INDETERMINATE in actions,
        Stage.WAITING: waiting > 0,
        Stage.PREVIEWED: ActionState.PREVIEWED in actions,
        Stage.APPROVED: ActionState.APPROVED in actions,
        Stage.RUNNING: any(run.state == LIVE for run in runs),
        Stage.RESOLVED: resolved is not None,
    }
    return next((stage for stage, so in holds.items() if so), Stage.OPEN)


def _actions(record: IncidentRecord, runs: Sequence[RunEntry]) -> set[ActionState]:
    """Return the states of the actions; without those whose outcome a later run has looked at."""
    now = datetime.now(UTC)
    return {
        action.state(now)
        for action in record.actions
        if action.state(now) is not ActionState.INDETERMINATE or not _is_looked_at(action, runs)
    }


def _is_looked_at(action: ActionHistory, runs: Sequence[RunEntry]) -> bool:
    """Return whether the runbook that proposed an action had a result after the action ended.

    Other runbooks, and other parameters, say nothing about its outcome.
    """
    proposer = str(action.facts.get("proposed_in", "")).rpartition(" ")[2]
    about = next((run.about for run in runs if run.run_id == proposer), "")
    is_told = action.recorded is ActionState.INDETERMINATE
    ended = instant(action.lines[-1].at if is_told else action.until)
    return any(
        about
        and run.about == about
        and run.verdict is not Verdict.UNKNOWN
        and instant(run.started_at) > ended
        for run in runs
    )


def _reopened_at(record: IncidentRecord) -> str:
    return next((line.at for line in reversed(record.lines) if line.kind == "reopened"), "")
