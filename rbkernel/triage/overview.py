"""`rb.overview`: run all checks, show them on one screen, and recommend the next runbook."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from IPython.display import display

from rbkernel.arguments import checked
from rbkernel.model import Finding, Verdict, leading
from rbkernel.render import cards
from rbkernel.sources.postgres import overview as looks
from rbkernel.triage import earlier
from rbkernel.triage.context import triage
from rbkernel.triage.diagnose import looked

WATCH, ESCALATE = "none: watch", "escalate"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The result of `overview`, which has already been shown.

    ``opens`` holds the ids of the runbooks to open, the most urgent first, and ``parameters`` the
    connections to pass to each. ``unseen`` holds the titles of unknown findings, ``critical`` those
    of critical findings. ``beyond`` is true if no runbook is about the first cause; the runbooks of
    other findings then do not help. ``findings`` holds all findings.
    """

    opens: tuple[str, ...]
    unseen: tuple[str, ...]
    critical: tuple[str, ...] = ()
    beyond: bool = False
    findings: tuple[Finding, ...] = ()
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """The options for the next step, as `rb.decide` needs them."""
        return [*self.opens, WATCH, ESCALATE]

    @property
    def recommended(self) -> str:
        """The recommended option: the first runbook, or to watch if all is well, else to escalate.

        >>> Overview(opens=(), unseen=("Dead tuples",)).recommended
        'escalate'
        """
        if self.opens and not self.beyond:
            return self.opens[0]
        return ESCALATE if self.beyond or self.unseen or self.critical else WATCH

    @property
    def reason(self) -> str:
        """The command that runs the recommended runbook; empty if none is recommended."""
        return self.commands.get(self.recommended, "")

    @property
    def commands(self) -> dict[str, str]:
        """The commands that run the runbooks to open on the servers with the problems.

        >>> seen = Overview(opens=("RUN-001",), unseen=(), parameters={"RUN-001": {"db": "copy"}})
        >>> seen.reason
        'rbkernel run RUN-001 -p db=copy'
        """
        return {
            runbook: f"rbkernel run {runbook} {looks.as_options(given)}"
            for runbook, given in self.parameters.items()
        }

    @property
    def needed(self) -> bool:
        """Whether a human must decide about the next step."""
        return self.recommended != WATCH

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell: `rb.overview` has shown the findings."""


@checked
def overview(
    db: str, *, standby: str = "", standby_name: str = "", housekeeping: bool = False
) -> Overview:
    """Check for all common problems, and show the findings in one table.

    Parameters
    ----------
    db
        Connection name of the primary, or of the only server.
    standby
        Connection name of a standby to check, too; empty for none.
    standby_name
        application_name of the standby that the primary must have; empty for none.
    housekeeping
        Whether to include checks that are not urgent: indexes, sizes, settings, roles.

    Returns
    -------
    Overview
        The runbooks to open with their parameters, and the titles of unknown findings.
    """
    run = triage()
    found: list[Finding] = []
    if standby and not looks.belongs(run.session(standby), run.session(db)):
        found.append(looks.stranger(standby, db))
        standby = standby_name = ""
    here, *there = looked(db, standby)
    begun = {
        name: looks.begin(run.session(name))
        for name, seen in zip((db, standby), (here, *there), strict=False)
        if seen.reached
    }
    found += looks.survey(
        run.session(db),
        here,
        standby_name=standby_name,
        housekeeping=housekeeping,
        tell=partial(earlier.findings, run, db),
        begun=begun.get(db),
    )
    own = len(found)
    # each server has a separate finding for the same check
    found += [
        dataclasses.replace(finding, title=_on(standby, finding.title))
        for seen in there
        for finding in looks.survey(run.session(standby), seen, begun=begun.get(standby))
    ]
    found = [run.add_finding(finding) for finding in found]
    seen = _seen(found[:own], found[own:], db=db, standby=standby)
    data = {
        "findings": [dataclasses.asdict(finding) for finding in found],
        "opens": seen.opens,
        "parameters": seen.parameters,
    }
    commands = [*seen.commands.values()]
    html, text = cards.overview_card(found, commands), cards.overview_text(found, commands)
    display(cards.bundle("overview", data, html, text), raw=True)
    return seen


def _seen(here: list[Finding], there: list[Finding], *, db: str, standby: str) -> Overview:
    """Return the overview of the findings about a server, and of those about its standby."""
    found = [*here, *there]
    reasons = looks.reasons_to_open(found)
    return Overview(
        opens=tuple(reasons),
        parameters={
            runbook: looks.parameters(
                runbook, standby if reason in there else db, primary=db, standby=standby
            )
            for runbook, reason in reasons.items()
        },
        unseen=tuple(f.title for f in found if f.verdict is Verdict.UNKNOWN),
        critical=tuple(f.title for f in found if f.verdict is Verdict.CRITICAL),
        beyond=any(first.is_cause and not first.opens for first in leading(found)[:1]),
        findings=tuple(found),
    )


def _on(connection: str, title: str) -> str:
    """Return a finding's title with the name of the server added, unless it already ends
    with it.
    """
    return title if title.endswith(f" {connection}") else f"{title}, on {connection}"
