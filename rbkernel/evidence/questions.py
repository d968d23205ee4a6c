"""The questions that the runs of an incident asked, with their answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rbkernel.evidence.incident import Answers
from rbkernel.evidence.reading import Record
from rbkernel.model import Decision


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, as the newest run that asked it has it, with the answer from the record.

    ``asked_again_at`` is empty, unless the question was asked again and is open since. ``about``
    are the parameters of the run, such as the server.
    """

    run_id: str
    runbook: str
    decision: Decision
    asked_again_at: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A short name of the question, which does not change while others are answered."""
        return self.decision.identity[:6]

    @property
    def server(self) -> str:
        """What the question is about: the parameters of its run that are texts."""
        return ", ".join(
            f"{name} {value}" for name, value in self.about.items() if value and value is not True
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
        about = (run.runbook, _parameters(run))
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
                about=run.run.parameters if run.run else {},
            )
    return tuple(found.values())


def _parameters(run: Record) -> str:
    given = run.run.parameters if run.run else {}
    return repr(sorted((name, str(value)) for name, value in given.items()))
