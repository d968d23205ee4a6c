"""The questions that the runs of an incident asked, with their answers. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbkernel.evidence.incident import ActionHistory, Answers, instant
from rbkernel.evidence.reading import Record
from rbkernel.model import Decision


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, as the newest run that asked it has it, with the answer from the record.

    ``acted`` is the verified action that did what was chosen, if the run was before it.
    ``asked_again_at`` is empty, unless the question was asked again and is open since. ``about``
    are the parameters of the run, such as the server.
    """

    run_id: str
    runbook: str
    decision: Decision
    asked_again_at: str = ""
    acted: ActionHistory | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A short name of the question, which does not change while others are answered."""
        return self.decision.identity[:6]

    @property
    def server(self) -> str:
        """What the question is about: the parameters of its run that have a value."""
        return ", ".join(
            f"{name} {value}"
            for name, value in self.about.items()
            if value and value is not True and name != "incident"
        )


def asked(runs: Iterable[Record], answers: Answers) -> tuple[Asked, ...]:
    """Return the questions as the newest runs have them that asked them, in these runs' order.

    A newer run of the same runbook with the same parameters replaces a question only once it has
    asked it, too, or is complete: one that has just begun does not take a question away.

    Parameters
    ----------
    runs
        All runs of the incident.
    answers
        The answers in the record of the incident.
    """
    found: dict[tuple[str, ...], Asked] = {}
    for run in sorted(runs, key=lambda run: run.run_id):
        about = subject(run)
        if run.complete:
            found = {name: one for name, one in found.items() if name[:2] != about}
        for decision in run.decisions:
            name = (*about, decision.identity or decision.question)
            found.pop(name, None)
            found[name] = Asked(
                run_id=run.run_id,
                runbook=run.runbook,
                decision=answers.applied(decision),
                asked_again_at=answers.asked_again_at(decision.identity),
                acted=acted_since(run.run.started_at if run.run else "", answers, decision),
                about=run.run.parameters if run.run else {},
            )
    return tuple(found.values())


def acted_since(began: str, answers: Answers, decision: Decision) -> ActionHistory | None:
    """Return the action that answered a decision, if a run that began before did not see it."""
    action = answers.acted(decision.identity)
    return action if action and instant(action.lines[-1].at) > instant(began) else None


def about(run: Record) -> str:
    """Return a hash of the subject of a run; empty if the run has not begun."""
    return hashlib.sha256(repr(subject(run)).encode()).hexdigest()[:16] if run.run else ""


def subject(run: Record) -> tuple[str, str]:
    """Return the runbook and the parameters of a run, which newer runs of the same replace."""
    given = run.run.parameters if run.run else {}
    return run.runbook, repr(sorted((name, str(value)) for name, value in given.items()))
