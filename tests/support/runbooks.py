"""Run a runbook on a state of the sandbox, and ask what it said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rbkernel.config import Settings
from rbkernel.model import Finding, leading
from rbkernel.run import runner
from rbkernel.run.runner import Outcome
from rbkernel.sandbox import control
from rbkernel.sandbox.access import Role


@dataclass(frozen=True)
class Found:
    """What a runbook said of a state of the sandbox, and the truth about the injected fault."""

    truth: Mapping[str, Any]
    outcome: Outcome

    @property
    def recommended(self) -> str | None:
        """What the first decision recommends; later ones are about what a person has done."""
        return self.outcome.record.decisions[0].recommended

    @property
    def reason(self) -> str:
        return self.outcome.record.decisions[0].reason

    @property
    def headline(self) -> str:
        """The first line of the box at the top."""
        return leading(self.outcome.record.findings)[0].headline

    def finding(self, title: str) -> Finding:
        return next(one for one in self.outcome.record.findings if one.title == title)

    @property
    def plans(self) -> list[Mapping[str, Any]]:
        return [event.data for event in self.outcome.record.of_kind("plan")]

    def plan(self, title: str) -> Mapping[str, Any]:
        """The first plan whose title begins so."""
        return next(plan for plan in self.plans if plan["title"].startswith(title))

    def sql(self, title: str) -> str:
        """The SQL of that plan, without the semicolon at its end."""
        return str(self.plan(title)["sql"]).rstrip().rstrip(";")

    def command(self, title: str) -> str:
        """The shell command of that plan."""
        return str(self.plan(title)["command"])


def look(runbook: str, settings: Settings, fault: str | None = None, **values: Any) -> Found:
    """Inject a fault, if one is named, and run a runbook on it."""
    truth = control.inject(fault, 1).truth if fault else {}
    outcome = runner.run(runbook, values, settings)
    assert outcome.failure == "", outcome.failure
    return Found(truth, outcome)


def administer(sql: str, role: Role = "postgres") -> None:
    """Run SQL on the primary of the sandbox."""
    with control.connect_as(role) as raw:
        raw.execute(sql.encode())
