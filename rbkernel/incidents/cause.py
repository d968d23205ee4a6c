"""What is wrong in an incident, in one sentence, from its runs and its record. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rbkernel import amounts
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import IncidentRecord
from rbkernel.evidence.reading import Record
from rbkernel.evidence.runs import RunEntry
from rbkernel.evidence.timeline import wrong_when_alerted
from rbkernel.incidents.results import doubts, newest, under_way
from rbkernel.model import Finding, Verdict, leading

# parameters of runbooks that name what a run looks at, the first that is given counts
_NAMES = ("db", "database", "standby", "service")
# numbers that differ from incident to incident; those in names (replica-1), of ports, and codes of
# HTTP do not
_NUMBERS = re.compile(r"(?<![\w.:-])(?<!port )(?<!HTTP )\d[\d.,:]*(?![\w-])")


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What an incident is about.

    ``words`` is one sentence, and never empty. ``finding`` is None if no run found anything wrong;
    else ``run_id`` names the run that found it, and ``others`` are the runs with something else
    that is as urgent. ``before`` is what an earlier run found wrong, if it is not wrong any more.
    ``databases`` are where it was found, or what the runs looked at if nothing was; ``also`` is
    what else they looked at.
    """

    words: str
    verdict: Verdict
    finding: Finding | None = None
    run_id: str = ""
    runbook: str = ""
    others: tuple[str, ...] = ()
    before: str = ""
    databases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[str, ...]:
        """What is equal for the same cause elsewhere; empty if nothing was found.

        It has the words without numbers and names of databases.

        >>> found = Finding(title="Locks", verdict=Verdict.WARNING, expected="", actual="")
        >>> one = Cause(words="job-7 (pid 42) blocks 9 sessions of a", verdict=Verdict.WARNING,
        ...             finding=found, runbook="RUN-007", databases=("a",))
        >>> one.kind
        ('Locks', 'warning', 'RUN-007', 'job-7 (pid #) blocks # sessions of …')
        """
        if self.finding is None:
            return ()
        text = self.words
        for name in self.databases:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "…", text)
        return self.finding.title, self.verdict.value, self.runbook, _NUMBERS.sub("#", text)


def cause(
    record: IncidentRecord, runs: Sequence[RunEntry], journals: Mapping[str, Record]
) -> Cause:
    """Return what is wrong in an incident; a cause of problems comes before its symptoms.

    Without a run that found something, the words say what is known instead: what servers showed
    when the alert arrived, why nothing ran, or that nothing is known. Unknown never reads as ok.

    Parameters
    ----------
    record
        The record of the incident, with what was merged into it, see `whole`.
    runs
        Its runs.
    journals
        The journals of these runs by their id, as far as they can be read.
    """
    last = [journals[run.run_id] for run in newest(runs) if run.run_id in journals]
    databases = _databases(journals.values())
    found = [(one, run) for run in last for one in leading(run.findings)]
    found.sort(key=lambda pair: _urgency(*pair), reverse=True)
    if found and (found[0][0].wrong or not _known(record, runs)):
        first, run = found[0]
        same = [of for one, of in found if one.headline == first.headline]
        other = (
            of.run_id
            for one, of in found
            if one.verdict is first.verdict and one.headline != first.headline
        )
        where = _databases(same)
        return Cause(
            words=_unknown(first) if first.unknown else first.headline,
            verdict=first.verdict,
            finding=first,
            run_id=run.run_id,
            runbook=run.runbook,
            others=tuple(dict.fromkeys(other)),
            databases=where,
            also=tuple(name for name in databases if name not in where),
        )
    words, verdict = _without_finding(record, runs, last)
    return Cause(
        words=words,
        verdict=verdict,
        run_id=last[-1].run_id if last else "",
        runbook=last[-1].runbook if last else "",
        before=_before(journals.values()),
        databases=databases,
    )


def _urgency(finding: Finding, run: Record) -> tuple[bool, int, bool, str]:
    return finding.wrong, finding.verdict.rank, finding.is_cause, run.run_id


def _known(record: IncidentRecord, runs: Sequence[RunEntry]) -> str:
    """Return what is known about a problem although no run found one; else empty."""
    if not newest(runs):
        seen = wrong_when_alerted(record)
        if seen:
            return seen[-1]
    return ""


def _unknown(finding: Finding) -> str:
    """Return what could not be checked, and why.

    >>> _unknown(Finding(title="Replay lag", verdict=Verdict.UNKNOWN, expected="",
    ...                  actual="connection refused"))
    'Not known: Replay lag: connection refused'
    """
    said = [finding.headline, finding.actual if finding.actual != finding.headline else ""]
    return ": ".join(["Not known", *filter(None, said)])


def _without_finding(
    record: IncidentRecord, runs: Sequence[RunEntry], last: Sequence[Record]
) -> tuple[str, Verdict]:
    """Return the words for an incident in which no run found anything, and their verdict."""
    if seen := _known(record, runs):
        return seen, Verdict.UNKNOWN
    notes = caveats.caveats_of(record)
    checks = sum(len(run.findings) for run in last)
    ended = newest(runs)
    if ended and all(run.verdict is Verdict.OK for run in ended) and checks:
        passed = f"{amounts.all_of(checks, 'check')} passed"
        return _passed(record, runs, passed)
    if ended:
        failed = [run for run in ended if run.verdict is not Verdict.OK] or ended
        names = ", ".join(dict.fromkeys(run.runbook or "a notebook" for run in failed))
        return f"Not known: {names} did not come to a result", Verdict.UNKNOWN
    if notes:
        return f"Not known: {notes[0]}", Verdict.UNKNOWN
    if runs:
        names = ", ".join(dict.fromkeys(run.runbook or "a notebook" for run in runs))
        return f"Not known yet: {names} is running", Verdict.UNKNOWN
    alerts = dict.fromkeys(alert.name for alert in record.alerts)
    about = ", ".join(alerts) or record.title
    return f"Not known{f': {about}' if about else ''}: no runbook has run", Verdict.UNKNOWN


def _passed(record: IncidentRecord, runs: Sequence[RunEntry], passed: str) -> tuple[str, Verdict]:
    """Return the words for an incident whose runs are all ok: only without a doubt, no problem."""
    if doubt := next(doubts(record, runs), ""):
        return f"Not known: {passed}, but {doubt}", Verdict.UNKNOWN
    if left := next(under_way(record, runs), ""):
        return f"No problem found so far: {passed}, but {left}", Verdict.UNKNOWN
    return f"No problem found: {passed}", Verdict.OK


def _before(journals: Iterable[Record]) -> str:
    """Return the newest cause that a run found, which is over by now; empty if none did."""
    for run in sorted(journals, key=lambda run: run.run_id, reverse=True):
        first = next(iter(leading(run.findings)), None)
        if first and first.wrong:
            return first.headline
    return ""


def _databases(journals: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of the databases, standbys or services that runs looked at."""
    found: dict[str, None] = {}
    for run in journals:
        given = run.run.parameters if run.run else {}
        named = next((str(given[name]) for name in _NAMES if given.get(name)), "")
        found |= dict.fromkeys(filter(None, [named]))
    return tuple(found)
