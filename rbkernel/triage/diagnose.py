"""`rb.diagnose`: examine a server's sessions and replication, and show the causes of problems."""

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
from rbkernel.triage.changes.lasting import Lasting
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage


class Diagnosed(Diagnosis):
    """The result of `diagnose`, for `rb.decide` and `rb.actions`; it has already been shown."""

    @property
    def waits(self) -> pd.DataFrame:
        """The waits of the busy sessions, in the columns of ``activity/waits``.

        Pass the frame to `rb.figure.of`. If nothing was sampled, the frame has no rows, and the
        reason is attached.
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
        """Show nothing as the last value of a cell: `rb.diagnose` has shown the causes."""


@checked
def diagnose(db: str, *, standby: str = "", seconds: Pause = 0.0) -> Diagnosed:
    """Examine a server, and put the causes of its problems first among the findings.

    Later findings that a cause explains are folded under this cause. A cause that was seen earlier,
    for example when the alert arrived, and is over by now, is a separate finding.

    Parameters
    ----------
    db
        Connection name.
    standby
        Connection name of its standby, which is also examined, and compared with the server.
    seconds
        How long to sample the waits of the busy sessions; 0 for no sampling.

    Returns
    -------
    Diagnosed
        Pass it as ``recommended=`` to `rb.decide`, and as the sessions to `rb.actions`; ``waits``
        is a frame for `rb.figure.of`. The causes that this runbook is about come first. If a
        standby is named, the result is the diagnosis of one of the two servers: of the server with
        a cause that this runbook is about, else of the server with the more urgent verdict.
    """
    triage().diagnosed[db] = standby
    diagnoses = looked(db, standby, seconds=seconds)
    for seen in diagnoses:
        for finding in _findings(seen):
            keep(finding)
    # the causes that this runbook is about come first, even if others are worse
    topic = triage().run.runbook
    worst = max(diagnoses, key=lambda seen: (seen.explains(topic), seen.verdict.rank))
    causes = sorted(worst.causes, key=lambda cause: topic not in cause.explains)
    return Diagnosed(
        situation=worst.situation,
        causes=tuple(causes),
        sampled=diagnoses[0].sampled,
        reached=worst.reached,
    )


def found_again() -> list[Finding]:
    """Repeat every `diagnose` of this run, and return the findings; nothing is shown."""
    asked = triage().diagnosed.items()
    every = [seen for db, standby in asked for seen in looked(db, standby)]
    return [finding for seen in every for finding in _findings(seen)]


def _findings(seen: Diagnosis) -> list[Finding]:
    run, name = triage(), seen.situation.connection
    run.lasting[name] = Lasting.of(seen, run.lasting.get(name))
    return [*earlier.findings(run, name, seen), *_over(name, len(seen.causes))]


def looked(db: str, standby: str = "", *, seconds: float = 0.0) -> tuple[Diagnosis, ...]:
    """Return the diagnosis of a server and, if its standby is named, of the standby."""
    run = triage()
    primary = run.settings.primary_of(db)
    return diagnosis.looked(db, run.session, standby=standby, primary=primary, seconds=seconds)


def _over(db: str, many: int) -> Iterable[Finding]:
    """Return an ok finding for each cause that only an earlier diagnosis found."""
    known = triage().findings
    title = diagnosis.title(db, max(many, 1))
    while title in known:
        yield diagnosis.none_found(title)
        many = max(many, 1) + 1
        title = diagnosis.title(db, many)
