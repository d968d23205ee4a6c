"""Which runs of an incident count, and what they leave open: unknown never reads as ok. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rbkernel.evidence import caveats
from rbkernel.evidence.incident import AlertStatus, IncidentRecord, RunHistory, RunState, instant
from rbkernel.evidence.runs import RunEntry
from rbkernel.model import Verdict

_UNDER_WAY = {RunState.QUEUED: "is queued", RunState.STARTED: "is running"}


def newest(runs: Iterable[RunEntry]) -> list[RunEntry]:
    """Return the runs that count: of each runbook and its parameters, the newest with a result.

    A run whose verdict is unknown does not replace one that found something worse, and a run that
    has just begun replaces none.
    """
    found: dict[str, RunEntry] = {}
    for run in sorted(runs, key=lambda run: run.run_id):
        if run.is_beginning:
            continue
        subject = run.about or run.run_id
        before = found.get(subject)
        is_known = run.verdict is not Verdict.UNKNOWN
        if before is None or is_known or before.verdict.rank < run.verdict.rank:
            found[subject] = run
    return list(found.values())


def verdict(record: IncidentRecord, runs: Sequence[RunEntry]) -> Verdict | None:
    """Return the worst verdict of an incident's runs; None as long as none has a result.

    A run replaces earlier ones of the same runbook and parameters, see `newest`. Ok becomes unknown
    as long as something is not known, see `doubts` and `under_way`.
    """
    found = [run.verdict for run in newest(runs)]
    worst = Verdict.worst(found) if found else None
    is_open = any(doubts(record, runs)) or any(under_way(record, runs))
    return Verdict.UNKNOWN if worst is Verdict.OK and is_open else worst


def under_way(record: IncidentRecord, runs: Sequence[RunEntry]) -> Iterator[str]:
    """Yield each run that has no result yet, such as "RUN-007 is queued"."""
    seen = {run.run_id for run in runs}
    for run in runs:
        if run.is_beginning:
            yield f"{run.runbook or 'a notebook'} is running"
    for told in record.runs:
        if told.run_id not in seen and not told.verdict and told.state in _UNDER_WAY:
            yield f"{told.runbook} {_UNDER_WAY[RunState(told.state)]}"


def doubts(record: IncidentRecord, runs: Sequence[RunEntry]) -> Iterator[str]:
    """Yield why the incident may have a problem although its runs found none, as clauses."""
    if caveats.judged(record, Verdict.OK) is not Verdict.OK:
        other = "an alert did not get the runbook that is meant for it"
        yield next(iter(caveats.caveats_of(record)), other)
    seen = {run.run_id for run in runs}
    yield from (
        caveats.of_run(record, told)
        for told in record.runs
        if told.run_id not in seen and _has_failed(record, told)
    )
    yield from _since(record, runs)


def _has_failed(record: IncidentRecord, run: RunHistory) -> bool:
    """Return whether a run ended without a result, and no later attempt of it had one."""
    return (
        run.state == RunState.ENDED
        and not run.verdict
        and bool(run.why)
        and not any(
            one.runbook == run.runbook and one.verdict and (one.attempt or 0) > (run.attempt or 0)
            for one in record.runs
        )
    )


def _since(record: IncidentRecord, runs: Sequence[RunEntry]) -> Iterator[str]:
    """Yield what happened after the newest run with a result began."""
    began = max((run.started_at for run in newest(runs)), key=instant, default="")
    if not began:
        return
    reopened = (line.at for line in record.lines if line.kind == "reopened")
    later = [(at, "the incident was reopened") for at in reopened]
    later += [
        (one.last_firing_at, f"{one.name} fired")
        for one in record.alerts
        if one.status is AlertStatus.FIRING
    ]
    at, what = max(later, key=lambda one: instant(one[0]), default=("", ""))
    if instant(at) > instant(began):
        yield f"{what} at {at[11:16]}, after the last run began at {began[11:16]} UTC"
