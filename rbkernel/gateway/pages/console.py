"""The console: what runs now, incidents, queue, quarantine, catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from rbkernel.errors import EvidenceError, StoreError
from rbkernel.evidence.export.sanitize import plain
from rbkernel.evidence.runs import LIVE, RunEntry
from rbkernel.gateway.pages.overview import incidents, sheet
from rbkernel.gateway.pages.progress import Progress
from rbkernel.gateway.pages.site import Answer, Asked, Site
from rbkernel.gateway.records import Counts, Job, Quarantined, Worker
from rbkernel.gateway.store import Store

_INCIDENTS_A_SHEET = 25
_JOBS_SHOWN = 20
_QUARANTINED_SHOWN = 10
_LIVE_REFRESH_S, _REFRESH_S = 2, 5
_MOST_WORDS = 8


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run that goes on; ``progress`` is None when its journal cannot be read."""

    entry: RunEntry
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A delivery in quarantine, its bytes as text."""

    of: Quarantined

    @property
    def text(self) -> str:
        """The beginning of it, harmless to show."""
        return plain(self.of.beginning.decode(errors="replace"))

    @property
    def more_bytes(self) -> int:
        """How much of it is not shown."""
        return max(0, self.of.size_bytes - len(self.of.beginning))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What the store says, or ``problem``: why it cannot be asked."""

    counts: Counts = field(default_factory=Counts)
    waiting: tuple[Job, ...] = ()
    failed: tuple[Job, ...] = ()
    workers: tuple[Worker, ...] = ()
    quarantined: tuple[Unreadable, ...] = ()
    problem: StoreError | None = None


def show(site: Site, asked: Asked) -> Answer:
    """Return the console.

    Raises
    ------
    EvidenceError
        The list of runs is damaged.
    """
    entries = site.shelf.entries()
    live = [_live(site, entry) for entry in entries if entry.state == LIVE]
    words = asked.query.get("q", "").split()[:_MOST_WORDS]
    every = incidents(entries, site.shelf.recorded(), site.shelf.record)
    lines = [line for line in every if line.holds(words)]
    number = asked.query.get("sheet", "")
    runbooks, unreadable = site.shelf.catalogue(site.settings.catalogue.paths)
    return site.render(
        "console.html.j2",
        live=live,
        found=sheet(lines, int(number) if number.isdecimal() else 1, _INCIDENTS_A_SHEET),
        words=" ".join(words),
        runs=len(entries),
        broken=[entry for entry in entries if entry.problem],
        queue=_queue(site.store) if site.store else None,
        runbooks=runbooks,
        unreadable=unreadable,
        refresh_s=_LIVE_REFRESH_S if live else _REFRESH_S,
    )


def _live(site: Site, entry: RunEntry) -> LiveRun:
    try:
        return LiveRun(entry=entry, progress=site.shelf.progress(entry))
    except EvidenceError:
        return LiveRun(entry=entry, progress=None)


def _queue(store: Store) -> Queue:
    try:
        return Queue(
            counts=store.counts(),
            waiting=tuple(store.jobs(states=Job.NOT_STARTED, limit=_JOBS_SHOWN)),
            failed=tuple(store.jobs(states=(Job.FAILED, Job.GIVEN_UP), limit=_JOBS_SHOWN)),
            workers=tuple(store.workers()),
            quarantined=tuple(
                Unreadable(of=one) for one in store.quarantined(limit=_QUARANTINED_SHOWN)
            ),
        )
    except StoreError as error:
        return Queue(problem=error)
