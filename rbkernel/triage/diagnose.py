"""`rb.diagnose`: look at a server, and show what causes its trouble."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from rbkernel.arguments import checked
from rbkernel.config.quantities import Pause
from rbkernel.errors import DatabaseError
from rbkernel.model import Finding
from rbkernel.postgres import diagnosis, diagnostics, frames
from rbkernel.postgres.diagnosis import Diagnosis
from rbkernel.postgres.sampling import WAITS
from rbkernel.postgres.session import failed_frame
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
def diagnose(db: str, *, seconds: Pause = 0.0) -> Diagnosed:
    """Look at a server, and keep what causes its trouble as the first of the findings.

    Later findings that a cause explains are folded under it. What an earlier look has shown, such
    as the one when the alert arrived, and what is over by now, is a finding of its own.

    Parameters
    ----------
    db
        Connection name.
    seconds
        How long to look, to learn what the busy sessions wait for; 0 for a fast look.

    Returns
    -------
    Diagnosed
        Pass it as ``recommended=`` to `rb.decide`, and as the sessions to `rb.actions`; ``waits``
        is a frame for `rb.figure.of`.
    """
    run = triage()
    seen = diagnosis.diagnose(run.session(db), seconds=seconds)
    for finding in [*earlier.findings(run, db, seen), *_over(db, len(seen.causes))]:
        keep(finding)
    return Diagnosed(situation=seen.situation, causes=seen.causes, sampled=seen.sampled)


def _over(db: str, many: int) -> Iterable[Finding]:
    """Return the causes of an earlier look that this one does not find any more, as ok."""
    known = triage().findings
    title = diagnosis.title(db, max(many, 1))
    while title in known:
        yield diagnosis.none_found(title)
        many = max(many, 1) + 1
        title = diagnosis.title(db, many)
