"""The page of a run, with its findings, next steps, decisions and commands to copy."""

from __future__ import annotations

from collections.abc import Sequence

from rbkernel.errors import EvidenceError
from rbkernel.evidence import caveats
from rbkernel.evidence.incident import Known
from rbkernel.evidence.questions import Asked, acted_since
from rbkernel.gateway.jobs.records import Attempt, Job, StoredAlert
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.web import actions
from rbkernel.gateway.web.evidence_cache import RunSummary
from rbkernel.gateway.web.forms import Form
from rbkernel.gateway.web.site import Answer, Request, Site
from rbkernel.model import Decision, Finding, Verdict
from rbkernel.render.documents import wording
from rbkernel.render.documents.blocks import Figure, Image

_ALERTS_SHOWN = 20
_LIVE_REFRESH_S = 2
# an ended run may still be sealed, and its alerts may still resolve
_REFRESH_S = 5
_SEALED_REFRESH_S = 0


def show(site: Site, request: Request) -> Answer:
    """Return the page of a run, open or sealed.

    Raises
    ------
    EvidenceError
        There is no such run, or its evidence cannot be read.
    """
    try:
        summary = site.cache.summary(request.what)
    except EvidenceError:
        if answer := _without_evidence(site, request.what):
            return answer
        raise
    sealing = _is_being_sealed(site, summary)
    incident = summary.section.incident
    known = site.cache.decided(incident)
    decisions = known.answers.in_run(request.what, summary.section.decisions)
    record = site.cache.record(incident)
    entries = [one for one in site.cache.entries() if one.run_id == request.what]
    acts = actions.cards(site, entries, incident, request.person)
    figures = [one for one in summary.section.blocks if isinstance(one, Figure | Image)]
    return site.render(
        "run.html.j2",
        acts=acts,
        summary=summary,
        verdict=_verdict(summary),
        headline=_headline(summary),
        mind=_mind(site, summary),
        # for a live run, steps that it has not reached yet are no warning
        warnings=() if summary.live else summary.section.warnings,
        figures=figures,
        findings=_findings(summary.section.findings),
        waiting=_asked(summary, known, [one for one in decisions if one.is_waiting]),
        decided=_asked(summary, known, [one for one in decisions if one.choice]),
        not_needed=[one for one in decisions if not (one.is_waiting or one.choice)],
        plans=[
            wording.after(plan, summary.proposed_at.get(plan.id, ""), known.done.get(plan.id))
            for plan in summary.section.plans
        ],
        form=Form.of(site, request, f"runs/{request.what}", record),
        alerts=_alerts(site, request.what),
        xsrf=request.xsrf,
        sealing=sealing,
        refresh_s=_LIVE_REFRESH_S if sealing or acts.is_executing else _refresh_s(summary),
    )


def _asked(summary: RunSummary, known: Known, decisions: Sequence[Decision]) -> list[Asked]:
    run = summary.section
    return [
        Asked(
            run_id=run.run_id,
            runbook=run.runbook,
            decision=one,
            asked_again_at=known.answers.asked_again_at(one.identity),
            acted=acted_since(run.started_at, known.answers, one),
        )
        for one in decisions
    ]


def _is_being_sealed(site: Site, summary: RunSummary) -> bool:
    """Return whether a worker will seal this run in a moment: its kernel has ended, its job not."""
    if summary.live or summary.head or site.store is None:
        return False
    job = site.store.job_of_run(summary.section.run_id)
    current = job is not None and job.run_id == summary.section.run_id
    return bool(current and job and job.state == JobState.RUNNING)


def _mind(site: Site, summary: RunSummary) -> str:
    """Return the caveats of this run from the incident's record."""
    record = site.cache.record(summary.section.incident)
    runs = record.runs if record else ()
    found = (run for run in runs if run.run_id == summary.section.run_id)
    return next((caveats.of_run(record, run) for run in found if record), "")


def _without_evidence(site: Site, run_id: str) -> Answer | None:
    """Return the page of a run without evidence, from the store; None if it is not there."""
    store = site.store
    job = store.job_of_run(run_id) if store else None
    if store is None or job is None:
        return None
    if job.run_id == run_id and job.state in Job.LIVE:
        return _starting(site, job)
    attempts = store.attempts(job.id)
    tried = next((one for one in attempts if one.run_id == run_id), None)
    # a run with a verdict had evidence: that it is missing is an error
    if tried is None or tried.verdict or run_id in site.cache.known():
        return None
    waits = job.run_id not in {one.run_id for one in attempts}
    return _not_started(site, job, tried, waits=waits)


def _starting(site: Site, job: Job) -> Answer:
    return site.render(
        "message.html.j2",
        what=f"{job.runbook} is about to start",
        where=f"{job.incident}, attempt {job.attempt}",
        next_step="wait: this page shows findings as soon as the run has any",
        command="",
        back="",
        refresh_s=_LIVE_REFRESH_S,
    )


def _not_started(site: Site, job: Job, tried: Attempt, *, waits: bool) -> Answer:
    """Return the page of an attempt that ended before its kernel started."""
    return site.render(
        "not_started.html.j2",
        job=job,
        tried=tried,
        followed=job.run_id != tried.run_id,
        waits=waits,
        refresh_s=_REFRESH_S,
    )


def _findings(found: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Split findings into those that the page shows, and ok findings that it folds away."""
    passed = [finding for finding in found if finding.verdict is Verdict.OK]
    other = [finding for finding in found if finding.verdict is not Verdict.OK]
    return (other, passed) if other and len(passed) > 1 else (list(found), [])


def _verdict(summary: RunSummary) -> str:
    """Return the worst verdict of a run so far; "running" for a live run without findings."""
    if not summary.live:
        return summary.section.verdict.value
    found = summary.section.findings
    return Verdict.worst(finding.verdict for finding in found).value if found else "running"


def _headline(summary: RunSummary) -> str:
    if summary.live and not summary.section.findings:
        return "No check has run yet"
    return f"{summary.section.headline}{' (so far)' if summary.live else ''}"


def _refresh_s(summary: RunSummary) -> int:
    if summary.live:
        return _LIVE_REFRESH_S
    # a question of a sealed run may be answered elsewhere
    return (
        _SEALED_REFRESH_S
        if summary.head and not (summary.section.decisions or summary.section.plans)
        else _REFRESH_S
    )


def _alerts(site: Site, run_id: str) -> list[StoredAlert]:
    job = site.store.job_of_run(run_id) if site.store else None
    return site.store.alerts(job=job.id, limit=_ALERTS_SHOWN) if site.store and job else []
