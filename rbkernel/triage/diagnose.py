"""`rb.diagnose`: look at a server, and show what causes its trouble."""

from __future__ import annotations

from collections.abc import Iterable

from rbkernel.model import Finding, Verdict, now
from rbkernel.postgres import diagnosis
from rbkernel.postgres.causes import Cause
from rbkernel.postgres.diagnosis import Diagnosis
from rbkernel.triage.arguments import checked
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
    for finding in [*findings(db, seen), *_over(db, len(seen.causes))]:
        keep(finding)
    return Diagnosed(situation=seen.situation, causes=seen.causes)


def findings(db: str, seen: Diagnosis) -> list[Finding]:
    """Return the causes as findings, the most harmful first; one that is ok where there is none."""
    if not seen.causes:
        return [_none(_title(db, 0))]
    return [_finding(_title(db, place), cause) for place, cause in enumerate(seen.causes)]


def _finding(title: str, cause: Cause) -> Finding:
    return Finding(
        title=title,
        verdict=cause.verdict,
        expected="none",
        actual=cause.headline,
        cause=cause.mechanism,
        which=", ".join(f"pid {culprit.pid}" for culprit in cause.culprits[:5]),
        next_step=cause.next_step,
        opens=cause.opens,
        value=float(cause.victims.count),
        at=now(),
        explains=cause.explains,
    )


def _none(title: str) -> Finding:
    return Finding(title=title, verdict=Verdict.OK, expected="none", actual="none found", at=now())


def _over(db: str, many: int) -> Iterable[Finding]:
    """Return the causes of an earlier look that this one does not find any more, as ok."""
    known = triage().findings
    title = _title(db, max(many, 1))
    while title in known:
        yield _none(title)
        many = max(many, 1) + 1
        title = _title(db, many)


def _title(db: str, place: int) -> str:
    return f"Cause on {db}" if place == 0 else f"Cause {place + 1} on {db}"
