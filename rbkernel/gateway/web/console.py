"""The console page: live runs, incidents, queue, quarantine and catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rbkernel.displaytext import visible
from rbkernel.errors import EvidenceError, StoreError
from rbkernel.evidence.runs import LIVE, OPEN, SEALED, RunEntry
from rbkernel.gateway.jobs.records import Counts, Job, Quarantined, Worker
from rbkernel.gateway.jobs.states import JobState
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.web.formatting import lasted
from rbkernel.gateway.web.overview import (
    Filter,
    Fold,
    IncidentLine,
    counted,
    folded,
    incidents,
    page_of,
    summary,
)
from rbkernel.gateway.web.progress import Progress
from rbkernel.gateway.web.site import Answer, Request, Site
from rbkernel.incidents.cause import cause
from rbkernel.incidents.standing import Stage

_INCIDENTS_PER_PAGE = 25
_JOBS_SHOWN = 20
_QUARANTINED_SHOWN = 10
_LIVE_REFRESH_S, _REFRESH_S = 2, 5
_MOST_WORDS = 8
# so many open incidents are shown with questions and causes, and folded
_MOST_OPEN, _MOST_RUNS_ONLY = 500, 50


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A live run in the console; ``words`` describe its state if it has no ``progress``."""

    run_id: str
    name: str
    incident: str
    since: str
    words: str
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A delivery in quarantine, with its bytes as text."""

    of: Quarantined

    @property
    def text(self) -> str:
        """The beginning of the delivery as text, safe to display."""
        return visible(self.of.beginning.decode(errors="replace"))

    @property
    def more_bytes(self) -> int:
        """The number of the delivery's bytes that are not shown."""
        return max(0, self.of.size_bytes - len(self.of.beginning))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The queue as the console shows it; ``problem`` says why the store cannot be read."""

    counts: Counts = field(default_factory=Counts)
    running: tuple[Job, ...] = ()
    waiting: tuple[Job, ...] = ()
    failed: tuple[Job, ...] = ()
    workers: tuple[Worker, ...] = ()
    quarantined: tuple[Unreadable, ...] = ()
    problem: StoreError | None = None

    def silent_s(self, worker: str, lease_s: float) -> float | None:
        """Return the time since a worker's last heartbeat if it exceeds the lease."""
        heard = {one.id: one.silent_s for one in self.workers}.get(worker, 0.0)
        return heard if heard > lease_s else None

    def has_worker(self, lease_s: float) -> bool:
        """Return whether any worker is running; true if that is unknown."""
        takes = (one.kernels and one.silent_s <= lease_s for one in self.workers)
        return self.problem is not None or any(takes)


def show(site: Site, request: Request) -> Answer:
    """Return the console page.

    Raises
    ------
    EvidenceError
        The list of runs is damaged.
    """
    entries = site.cache.entries()
    queue = _queue(site.store) if site.store else None
    lease_s = site.settings.queue.lease_s
    live = [
        *(_live(site, entry) for entry in entries if entry.state == LIVE),
        *(_without_kernel(entries, queue, lease_s) if queue else ()),
    ]
    words = request.query.get("q", "").split()[:_MOST_WORDS]
    wanted = _filter(request.query.get("state", ""))
    every = _told(site, incidents(entries, site.cache.recorded(), site.cache.record))
    fits = [line for line in every if line.fits(wanted) and line.holds(words)]
    number = request.query.get("sheet", "")
    rows = folded(sorted(fits, key=lambda line: line.place))
    page = page_of(rows, int(number) if number.isdecimal() else 1, _INCIDENTS_PER_PAGE)
    runbooks, unreadable = site.cache.catalogue(site.settings.catalogue.paths)
    return site.render(
        "console.html.j2",
        live=live,
        live_state=LIVE,
        summary=summary(every, len(live)),
        found=replace(page, lines=tuple(_with_causes(site, row) for row in page.lines)),
        number=len(fits),
        words=visible(" ".join(words)),
        wanted=wanted,
        filters=counted(every),
        runs=len(entries),
        broken=[entry for entry in entries if entry.problem],
        queue=queue,
        no_worker=queue is not None and not queue.has_worker(lease_s),
        runbooks=runbooks,
        unreadable=unreadable,
        refresh_s=_LIVE_REFRESH_S if live else _REFRESH_S,
    )


def _filter(word: str) -> Filter:
    return Filter(word) if word in list(Filter) else Filter.ALL


def _told(site: Site, lines: Sequence[IncidentLine]) -> list[IncidentLine]:
    """Return the incidents; the newest that may be open with their questions and causes."""
    still = [line.id for line in lines if line.standing.is_open][:_MOST_OPEN]
    # a run whose checks are ok may ask something, and is open then
    runs_only = [line.id for line in lines if line.standing.stage is Stage.RUNS_ONLY]
    wanted = frozenset([*still, *runs_only[:_MOST_RUNS_ONLY]])
    return [_with_cause(site, line) if line.id in wanted else line for line in lines]


def _with_causes(site: Site, row: Fold) -> Fold:
    return Fold(lines=tuple(_with_cause(site, line) for line in row.lines))


def _with_cause(site: Site, line: IncidentLine) -> IncidentLine:
    """Return an incident with its questions and its cause; without, if a journal is unreadable."""
    if line.cause or line.record.merged_into:
        return line
    try:
        asks = line.standing.is_open or line.standing.stage is Stage.RUNS_ONLY
        asked = site.cache.asked(line.runs, line.id) if asks else ()
        found = cause(line.record, line.runs, site.cache.found(line.runs))
    except EvidenceError:
        return line
    waiting = tuple(one for one in asked if one.decision.is_waiting)
    return IncidentLine(
        id=line.id, record=line.record, runs=line.runs, waiting=waiting, cause=found
    )


def _live(site: Site, entry: RunEntry) -> LiveRun:
    try:
        progress = site.cache.progress(entry)
    except EvidenceError:
        progress = None
    return LiveRun(
        run_id=entry.run_id,
        name=f"{entry.runbook} {entry.title}".strip() or entry.run_id,
        incident=entry.incident,
        since=entry.started_at,
        words=progress.words if progress else "starting",
        progress=progress,
    )


def _without_kernel(entries: Sequence[RunEntry], queue: Queue, lease_s: float) -> Iterator[LiveRun]:
    """Yield the running jobs whose kernel is not alive: they are starting or being sealed.

    A sealed run is still listed if its worker is silent and has not reported the end.
    """
    known = {entry.run_id: entry for entry in entries}
    for job in queue.running:
        entry = known.get(job.run_id)
        silent_s = queue.silent_s(job.worker, lease_s)
        if entry is None or entry.state == OPEN or (entry.state == SEALED and silent_s):
            yield LiveRun(
                run_id=job.run_id,
                name=f"{job.runbook} {entry.title if entry else ''}".strip(),
                incident=job.incident,
                since=job.started_at.isoformat() if job.started_at else "",
                words=_stage(entry, silent_s),
            )


def _stage(entry: RunEntry | None, silent_s: float | None) -> str:
    """Describe what a run without a live kernel is doing, such as "starting"."""
    if silent_s is None:
        return "sealing" if entry else "starting"
    ended = "sealed" if entry and entry.state == SEALED else "ended"
    stage = ended if entry else "started"
    return f"{stage}, but its worker has not responded for {lasted(silent_s)}"


def _queue(store: Store) -> Queue:
    try:
        return Queue(
            counts=store.counts(),
            running=tuple(store.jobs(states=(JobState.RUNNING,), limit=_JOBS_SHOWN)),
            waiting=tuple(store.jobs(states=Job.NOT_STARTED, limit=_JOBS_SHOWN)),
            failed=tuple(
                store.jobs(states=(JobState.FAILED, JobState.GIVEN_UP), limit=_JOBS_SHOWN)
            ),
            workers=tuple(store.workers()),
            quarantined=tuple(
                Unreadable(of=one) for one in store.quarantined(limit=_QUARANTINED_SHOWN)
            ),
        )
    except StoreError as error:
        return Queue(problem=error)
