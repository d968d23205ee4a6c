"""A scenario: a problem on the sandbox, and the results that every runbook must find. Pure.

The author of the scenario writes the expected results; they are never computed from the server.
`Scenario.inject` creates the scenario on a `Stage`, and `Stage.heal` undoes it.
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
    """The expected results of a scenario: what each runbook must find and may propose.

    Parameters
    ----------
    says
        Regular expression that the headline must match: it names the culprit. Empty if nothing is
        wrong.
    alone
        The regular expression for a runbook that examines only one of two servers (RUN-001,
        RUN-007), if it can see less of the problem there. With ``alone``, a warning is allowed as
        the verdict of such a runbook.
    opens
        The runbook for the problem, which every other runbook must name; empty if there is none.
    opens_alone
        The runbook that a runbook of only one server must name instead; empty if it is the same.
    verdicts
        The allowed verdicts.
    step
        Verb of the recommended action, and the applications that it acts on. Empty if no action
        may be proposed.
    may
        Applications that other options may act on. No plan may contain a session of any other
        application, because such a session is a victim or not involved.
    frees
        The number of sessions that the step frees in the end; None if it frees slots or no session.
    stays
        The number of sessions of the scenario that still wait for a lock after the step.
    unseen
        Whether the diagnostic role cannot see the problem.
    seen_by
        The runbooks that can see the problem; empty if all can.
    rows
        Regular expression that matches the beginning of the option that RUN-006 must recommend:
        ``wait`` if the two orders tables are equal, ``resolve`` if a cause prevents comparing or
        copying them, ``patch`` if the repair script makes them equal.
    """

    says: str = ""
    alone: str = ""
    opens: str = ""
    opens_alone: str = ""
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
        """Whether the scenario expects that no runbook finds a problem."""
        return not self.says


HEALTHY = Truth(verdicts=frozenset({Verdict.OK}))
CRITICAL = frozenset({Verdict.CRITICAL})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A problem of the sandbox's servers, or a state that only looks like a problem.

    Parameters
    ----------
    name, summary
        A short name, and one sentence.
    inject
        Creates the scenario, which is active when this returns.
    truth
        The expected results.
    on
        The server whose connection an alert would name.
    db, standby, standby_name
        The parameters of the runbooks, if they are not the sandbox's primary and standby.
    target_db
        The server of the new table, for RUN-006; empty if it is the server of the old table.
    recheck_after_s
        Seconds between two comparisons of a row that differs, for RUN-006.
    needs
        The requirement: ``spare``, a second standby; ``pooler``, a pgbouncer.
    within_s
        Seconds that the first finding may take if the server does not answer; later queries must
        not wait again.
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
