"""`rb.diagnose`: look at a server, and show what causes its trouble."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.checks import frames
from rbkernel.checks.frames import failed_frame
from rbkernel.config.quantities import Pause
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding
from rbkernel.sources.postgres import diagnosis, diagnostics
from rbkernel.sources.postgres.diagnosis import Diagnosis
from rbkernel.sources.postgres.sampling import WAITS
from rbkernel.triage import earlier
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage


class Diagnosed(Diagnosis):
    """What `diagnose` found, to recommend and to plan by; it has been shown."""

    @property
    def waits(self) -> pd.DataFrame:
        """What the busy sessions waited for, in the columns of ``activity/waits``.

        For `rb.figure.of`; without rows, and with the reason, where nothing was sampled.
        """
        if self.sampled is not None:
            return frames.to_frame(self.sampled)
        nothing = DatabaseError("nothing was sampled", next_step="pass seconds=5 to rb.diagnose")
        return failed_frame(
            list(diagnostics.get(WAITS).columns),
            nothing,
            name=WAITS,
            connection=self.situation.connection,
            sql="",
        )

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell."""


@checked
def diagnose(db: str, *, standby: str = "", seconds: Pause = 0.0) -> Diagnosed:
    """Look at a server, and keep what causes its trouble as the first of the findings.

    Later findings that a cause explains are folded under it. What an earlier look has shown, such
    as the one when the alert arrived, and what is over by now, is a finding of its own.

    Parameters
    ----------
    db
        Connection name.
    standby
        Connection name of its standby, to be looked at as well, and compared with it.
    seconds
        How long to look, to learn what the busy sessions wait for; 0 for a fast look.

    Returns
    -------
    Diagnosed
        Pass it as ``recommended=`` to `rb.decide`, and as the sessions to `rb.actions`; ``waits``
        is a frame for `rb.figure.of`. The causes that this runbook is about come first. With a
        standby, it is the diagnosis of the server that has such a cause, else of the one whose
        cause is more urgent.
    """
    run = triage()
    told = looked(db, standby, seconds=seconds)
    for seen in told:
        name = seen.situation.connection
        for finding in [*earlier.findings(run, name, seen), *_over(name, len(seen.causes))]:
            keep(finding)
    # this runbook asks about its own topic, whatever else is wrong
    topic = run.run.runbook
    worst = max(told, key=lambda seen: (seen.explains(topic), seen.verdict.rank))
    causes = sorted(worst.causes, key=lambda cause: topic not in cause.explains)
    return Diagnosed(
        situation=worst.situation,
        causes=tuple(causes),
        sampled=told[0].sampled,
        reached=worst.reached,
    )


def looked(db: str, standby: str = "", *, seconds: float = 0.0) -> tuple[Diagnosis, ...]:
    """Return the diagnosis of a server and, if one is named, of its standby."""
    run = triage()
    primary = run.settings.primary_of(db)
    return diagnosis.looked(db, run.session, standby=standby, primary=primary, seconds=seconds)


def _over(db: str, many: int) -> Iterable[Finding]:
    """Return the causes of an earlier look that this one does not find any more, as ok."""
    known = triage().findings
    title = diagnosis.title(db, max(many, 1))
    while title in known:
        yield diagnosis.none_found(title)
        many = max(many, 1) + 1
        title = diagnosis.title(db, many)
