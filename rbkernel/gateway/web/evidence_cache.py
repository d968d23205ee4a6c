"""Cache the evidence that pages show: each journal is read once, until it changes.

During a storm, everybody on call may request a page every other second. So parsed data is cached,
with the size and the modification time of its file as the key. Only one thread uses the cache.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rbkernel.errors import EvidenceError, RbkernelError
from rbkernel.evidence import incident as incidents
from rbkernel.evidence import manifest, reading, runs, store
from rbkernel.evidence.incident import IncidentRecord, Known
from rbkernel.evidence.manifest import Head
from rbkernel.evidence.questions import Asked, asked
from rbkernel.evidence.reading import Record
from rbkernel.evidence.runs import RunEntry
from rbkernel.evidence.verify import verify_folder
from rbkernel.execution import proposal
from rbkernel.execution.proposal import Proposal
from rbkernel.gateway.web.progress import Progress, progress, steps
from rbkernel.model import INCIDENT_ID, Finding
from rbkernel.render.documents import report, wording
from rbkernel.render.documents.blocks import Figure, Image, Reader
from rbkernel.render.documents.contents import Section, section
from rbkernel.render.documents.pictures import picture_of
from rbkernel.render.documents.wording import Plan
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import Runbook

# a list of runs may be this old; in a storm it changes many times a second
_LIST_S = 1.0
# how long the result of verifying a seal is reused
_VERIFIED_S = 30.0
_CATALOGUE_S = 30.0
# runs of an incident whose questions are shown; a storm may start thousands of runs
_MOST_ASKING = 1_000
# runs whose journals the timeline of an incident tells; of earlier ones, it has the record's lines
_MOST_TOLD = 40
# cached entries of each kind: a whole run may take megabytes, a line of a list takes little
_KEPT = {
    "summary": 24,
    "record": 24,
    "asked": 2_000,
    "journal": 100,
    "picture": 24,
    "proposals": 2_000,
    "verified": 200,
    "catalogue": 1,
    "entry": 5_000,
    "incident": 5_000,
}


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The evidence of one run as its page shows it, and whether it is sealed.

    ``head``, the hash of the seal, is None before the seal. ``problems`` holds the errors that
    verification found; it is empty when the evidence is unchanged since the seal.
    ``proposed_at`` says when each plan got its last state, by the id of the plan.
    """

    section: Section
    stage: str
    progress: Progress
    head: Head | None
    signer: str
    problems: tuple[str, ...]
    proposed_at: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether the run's kernel is alive."""
        return self.stage == runs.LIVE


class EvidenceCache:
    """Reads an evidence folder for the pages, and caches what it read.

    Parameters
    ----------
    root
        The evidence folder.
    signers
        The file that says whose signatures are trusted.
    """

    def __init__(self, root: Path, signers: Path) -> None:
        self.root = root
        self._signers = signers
        self._kept: dict[str, OrderedDict[Hashable, Any]] = {kind: OrderedDict() for kind in _KEPT}
        self._entries: tuple[float, list[RunEntry]] = (float("-inf"), [])

    def entries(self) -> list[RunEntry]:
        """Return all runs, open and sealed, in the order of their start.

        Raises
        ------
        EvidenceError
            `HEADS` is damaged.
        """
        read_at, found = self._entries
        if time.monotonic() - read_at > _LIST_S:
            found = runs.list_runs(self.root, self._open_entry)
            self._entries = (time.monotonic(), found)
        return found

    def known(self) -> set[str]:
        """Return the ids of all runs and incidents in the evidence folder.

        Raises
        ------
        EvidenceError
            `HEADS` is damaged.
        """
        found = self.entries()
        ids = {entry.run_id for entry in found} | {entry.incident for entry in found}
        return ids | set(self.recorded())

    def recorded(self) -> list[str]:
        """Return the ids of all incidents that have a record."""
        paths = self.root.glob(f"INC-*/{manifest.INCIDENT}")
        return [path.parent.name for path in paths if INCIDENT_ID.fullmatch(path.parent.name)]

    def record(self, incident: str) -> IncidentRecord | None:
        """Return an incident's record; None if the incident has no record yet.

        Raises
        ------
        EvidenceError
            The record cannot be read.
        """
        path = self.root / incident / manifest.INCIDENT
        if not INCIDENT_ID.fullmatch(incident) or not path.is_file():
            return None
        kept: IncidentRecord = self._keep(
            "incident", (incident, _stamp(path)), lambda: incidents.read(self.root, incident)
        )
        return kept

    def remaining(self, incident: str) -> IncidentRecord:
        """Return the record of an incident, or of the incident that it was merged into.

        Raises
        ------
        EvidenceError
            A record cannot be read.
        """
        return incidents.remaining(self._look, incident)

    def _look(self, incident: str) -> IncidentRecord:
        return self.record(incident) or incidents.tell([], incident)

    def decided(self, incident: str) -> Known:
        """Return what people decided and did in an incident; nothing if its id is unknown.

        Raises
        ------
        EvidenceError
            A record cannot be read.
        """
        return incidents.known_in(self._look, self.remaining(incident))

    def asked(self, entries: Sequence[RunEntry], incident: str) -> tuple[Asked, ...]:
        """Return the questions that the newest of these runs asked, with their answers.

        Raises
        ------
        EvidenceError
            A journal or a record cannot be read.
        """
        return asked(self.found(entries).values(), self.decided(incident).answers)

    def found(self, entries: Sequence[RunEntry]) -> dict[str, Record]:
        """Return the findings and questions of the newest of these runs, by the id of the run.

        The records have no cells and events, so that many of them can be kept.

        Raises
        ------
        EvidenceError
            A journal cannot be read.
        """
        newest = [entry for entry in entries if entry.is_readable][-_MOST_ASKING:]
        return {entry.run_id: self._found(entry) for entry in newest}

    def _found(self, entry: RunEntry) -> Record:
        record: Record = self._keep(
            "asked",
            (entry.folder, _stamp(entry.folder / store.JOURNAL)),
            lambda: replace(
                reading.read(entry.folder, outputs=False), cells=(), events=(), widgets={}
            ),
        )
        return record

    def journals(self, entries: Sequence[RunEntry]) -> list[Record]:
        """Return the journals of the newest of these runs, without outputs.

        Raises
        ------
        EvidenceError
            A journal cannot be read.
        """
        newest = [entry for entry in entries if entry.is_readable][-_MOST_TOLD:]
        return [
            self._keep(
                "journal",
                (entry.folder, _stamp(entry.folder / store.JOURNAL)),
                partial(reading.read, entry.folder, outputs=False),
            )
            for entry in newest
        ]

    def picture(self, run_id: str, finding: Finding) -> Figure | Image | None:
        """Return the figure of a run that shows one of its findings; None if there is none.

        Raises
        ------
        EvidenceError
            There is no such run, or its journal cannot be read.
        """
        folder = runs.find(self.root, run_id)
        key = (folder, _stamp(folder / store.JOURNAL), finding.title)
        picture: Figure | Image | None = self._keep(
            "picture", key, lambda: picture_of(self._record(folder), finding)
        )
        return picture

    def plans(self, run_id: str, known: Known) -> tuple[Plan, ...]:
        """Return the plans that a run proposed, in their last state.

        Raises
        ------
        EvidenceError
            There is no such run, or its journal cannot be read.
        """
        return wording.plans(self._record(runs.find(self.root, run_id)), Reader(), known.done)

    def proposals(self, entry: RunEntry) -> tuple[Proposal, ...]:
        """Return the plans of a run that rbkernel can execute; none if its journal is unreadable.

        Raises
        ------
        EvidenceError
            The journal cannot be read.
        """
        if not entry.is_readable:
            return ()
        found: tuple[Proposal, ...] = self._keep(
            "proposals",
            (entry.folder, _stamp(entry.folder / store.JOURNAL)),
            lambda: tuple(proposal.of_run(reading.read(entry.folder), entry.incident)),
        )
        return tuple(one for one in found if one.action)

    def catalogue(self, folders: Sequence[Path]) -> tuple[list[Runbook], list[RbkernelError]]:
        """Return the runbooks, the most needed first, and the errors of unreadable documents."""
        age = time.monotonic() // _CATALOGUE_S
        known, problems = self._keep("catalogue", age, lambda: catalogue.runbooks(folders))
        return catalogue.by_need(known), problems

    def progress(self, entry: RunEntry) -> Progress:
        """Return the progress of a run.

        Raises
        ------
        EvidenceError
            The run's journal cannot be read.
        """
        live = entry.state == runs.LIVE
        record = self._record(entry.folder)
        return progress(record.cells, steps(reading.snapshot_of(record)), live=live)

    def summary(self, run_id: str) -> RunSummary:
        """Return the summary of a run's evidence, with the result of its verification.

        Raises
        ------
        EvidenceError
            There is no such run, or its evidence cannot be read.
        """
        folder = runs.find(self.root, run_id)
        live = store.kernel_is_alive(folder)
        summary: RunSummary = self._keep(
            "summary",
            (folder, live, _stamp(folder / store.JOURNAL)),
            lambda: self._read(run_id, live=live),
        )
        if not summary.head:
            return summary
        problems = self._keep(
            "verified", (folder, time.monotonic() // _VERIFIED_S), lambda: self._verify(folder)
        )
        return replace(summary, problems=problems)

    def _read(self, run_id: str, *, live: bool) -> RunSummary:
        with report.fit_for_a_report(run_id):
            [source] = report.sources(self.root, run_id)
            record = source.record
            document = reading.snapshot_of(record)
            unsealed = runs.LIVE if live else runs.OPEN
            return RunSummary(
                section=section(record, source.executed, Reader()),
                stage=runs.SEALED if source.head else unsealed,
                progress=progress(record.cells, steps(document), live=live),
                head=source.head,
                signer=_signer(record.folder) if source.head else "",
                problems=(),
                proposed_at={
                    str(event.data.get("id")): event.at for event in record.of_kind("plan")
                },
            )

    def _verify(self, folder: Path) -> tuple[str, ...]:
        try:
            return tuple(str(found) for found in verify_folder(folder, signers=self._signers))
        except EvidenceError as error:
            return (str(error),)

    def _record(self, folder: Path) -> Record:
        record: Record = self._keep(
            "record", (folder, _stamp(folder / store.JOURNAL)), lambda: reading.read(folder)
        )
        return record

    def _open_entry(self, folder: Path) -> RunEntry:
        key = (folder, store.kernel_is_alive(folder), _stamp(folder / store.JOURNAL))
        entry: RunEntry = self._keep("entry", key, lambda: runs.open_entry(folder))
        return entry

    def _keep(self, kind: str, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the cached value for a key; if there is none, create and cache the value."""
        kept = self._kept[kind]
        if key not in kept:
            kept[key] = make()
            if len(kept) > _KEPT[kind]:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_size, found.st_mtime_ns


def _signer(folder: Path) -> str:
    """Return the name of the signer that a run's seal states; the signature is not checked."""
    path = folder / manifest.SUMS
    try:
        return manifest.read_listing(path.read_bytes(), str(path)).signer
    except (OSError, EvidenceError):
        return ""
