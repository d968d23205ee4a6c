"""A scenario: a fault, and the truth that every runbook must find. Pure.

The author of the scenario writes the truth; it is never computed from a look at the server.
`Scenario.inject` makes it on a `Stage`, and `Stage.heal` undoes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rbkernel.model import Verdict
from rbkernel.sandbox.access import Server
from rbkernel.sandbox.faults.stage import Stage

WRONG = frozenset({Verdict.WARNING, Verdict.CRITICAL})


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is behind a scenario.

    Parameters
    ----------
    says
        Regular expression of what the headline must name: the culprit. Empty where all is well.
    alone
        The same for a runbook that looks at one of two servers (RUN-001, RUN-007), where that shows
        less; it may then be a warning.
    opens
        The runbook that is right; every other one must name it. Empty where there is none.
    verdicts
        What may be concluded.
    step
        Verb of the recommended action, and the applications that it acts on. Empty where nothing
        may be proposed.
    may
        Applications that an option beside the recommended one may act on. Every session of another
        application is a victim, or has nothing to do with it, and must be in no plan.
    frees
        How many sessions the step frees in the end; None if it frees slots or no session.
    stays
        How many sessions of the scenario still wait for a lock after the step.
    unseen
        Whether the truth is not visible to the diagnostic role.
    seen_by
        The runbooks that can see it; empty: all.
    rows
        Regular expression of how the option begins that RUN-006 must recommend about the two tables
        of orders: to wait where they hold the same, to resolve the cause where that keeps them from
        being compared, or from being equal. Where it is to patch, the patch makes them equal.
    """

    says: str = ""
    alone: str = ""
    opens: str = ""
    verdicts: frozenset[Verdict] = WRONG
    step: tuple[Literal["cancel", "terminate"], tuple[str, ...]] | None = None
    may: tuple[str, ...] = ()
    frees: int | None = None
    stays: int = 0
    unseen: bool = False
    seen_by: tuple[str, ...] = ()
    rows: str = "wait"

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.says


HEALTHY = Truth(verdicts=frozenset({Verdict.OK}))
CRITICAL = frozenset({Verdict.CRITICAL})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Something that goes wrong, or only seems to.

    Parameters
    ----------
    name, summary
        A short name, and one sentence.
    inject
        Makes it; it is there when this returns.
    truth
        What is behind it.
    on
        The server whose connection an alert would name.
    db, standby, standby_name
        What the runbooks are asked about, where it is not the sandbox's primary with its standby.
    target_db
        The server of the new table, for RUN-006; empty where it is that of the old one.
    recheck_after_s
        s between two looks at a row that differs, for RUN-006.
    needs
        What must be there: ``spare``, a second standby; ``pooler``, a pgbouncer.
    within_s
        s that the first finding may take, where the server does not answer; what is asked after
        that must not wait again.
    """

    name: str
    summary: str
    inject: Callable[[Stage], None]
    truth: Truth
    on: Server = "primary"
    db: str = ""
    standby: str = "sandbox-standby"
    standby_name: str = "sandbox-standby"
    target_db: str = ""
    recheck_after_s: float = 1.0
    needs: tuple[Literal["spare", "pooler"], ...] = ()
    within_s: float | None = None
