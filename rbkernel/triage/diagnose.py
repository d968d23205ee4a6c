"""`rb.diagnose`: look at a server, and show what causes its trouble."""

from __future__ import annotations

from collections.abc import Iterable

from rbkernel.arguments import checked
from rbkernel.model import Finding
from rbkernel.postgres import diagnosis
from rbkernel.postgres.diagnosis import Diagnosis
from rbkernel.triage.check import keep
from rbkernel.triage.context import triage


class Diagnosed(Diagnosis):
    """What `diagnose` found, to recommend and to plan by; it has been shown."""

    def _ipython_display_(self) -> None:
        """Show nothing as the last value of a cell."""


@checked
def diagnose(db: str) -> Diagnosed:
    """Look at a server once, and keep what causes its trouble as the first of the findings.

    Later findings that a cause explains are folded under it.

    Parameters
    ----------
    db
        Connection name.

    Returns
    -------
    Diagnosed
        Pass it as ``recommended=`` to `rb.decide`, and as the sessions to `rb.actions`.
    """
    seen = diagnosis.diagnose(triage().session(db))
    for finding in [*diagnosis.findings(seen), *_over(db, len(seen.causes))]:
        keep(finding)
    return Diagnosed(situation=seen.situation, causes=seen.causes)


def _over(db: str, many: int) -> Iterable[Finding]:
    """Return the causes of an earlier look that this one does not find any more, as ok."""
    known = triage().findings
    title = diagnosis.title(db, max(many, 1))
    while title in known:
        yield diagnosis.none_found(title)
        many = max(many, 1) + 1
        title = diagnosis.title(db, many)
