"""The questions that the runs of an incident asked, with their answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rbkernel.evidence.incident import Answers
from rbkernel.evidence.lineage import last_of_each
from rbkernel.evidence.reading import Record
from rbkernel.model import Decision


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, as the newest run that asked it has it, with the answer from the record.

    ``asked_again_at`` is empty, unless the question was asked again and is open since.
    """

    run_id: str
    runbook: str
    decision: Decision
    asked_again_at: str = ""


def asked(runs: Iterable[Record], answers: Answers) -> tuple[Asked, ...]:
    """Return the questions of the newest runs, in the order in which these runs started.

    A run counts unless it was continued in a working copy, or the same runbook ran again with the
    same parameters.

    Parameters
    ----------
    runs
        All runs of the incident.
    answers
        The answers in the record of the incident.
    """
    newest = {(run.runbook, _parameters(run)): run for run in last_of_each(runs)}
    return tuple(
        Asked(
            run_id=run.run_id,
            runbook=run.runbook,
            decision=answers.applied(decision),
            asked_again_at=answers.asked_again_at(decision.identity),
        )
        for run in sorted(newest.values(), key=lambda run: run.run_id)
        for decision in run.decisions
    )


def _parameters(run: Record) -> str:
    given = run.run.parameters if run.run else {}
    return repr(sorted((name, str(value)) for name, value in given.items()))
