"""What the notifier reads from disk: which records changed, and the facts that events need."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rbkernel.config import Settings
from rbkernel.errors import EvidenceError, RunbookError
from rbkernel.evidence import incident, manifest, reading, runs, seals
from rbkernel.evidence.incident import Answers, IncidentRecord
from rbkernel.incidents import windows
from rbkernel.incidents.windows import Declared
from rbkernel.model import INCIDENT_ID
from rbkernel.runbook import catalogue
from rbkernel.runbook.frontmatter import FrontMatter

# how long to wait if no time passes that makes an event due
_LONGEST_WAIT = timedelta(hours=6)
log = logging.getLogger("rbkernel.notify")


class Watch:
    """Tracks which incidents to check for events: their record changed, or a time has come."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sizes: dict[str, tuple[int, int]] = {}
        self._again: dict[str, datetime] = {}

    def changed(self, now: datetime) -> Iterator[str]:
        """Yield the ids of the incidents to check for events now."""
        for path in sorted(self._root.glob(f"INC-*/{manifest.INCIDENT}")):
            id_ = path.parent.name
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            size = (stat.st_size, stat.st_mtime_ns)
            waited = self._again.get(id_, now + _LONGEST_WAIT) <= now
            if not INCIDENT_ID.fullmatch(id_) or (self._sizes.get(id_) == size and not waited):
                continue
            self._sizes[id_] = size
            yield id_

    def wait_s(self, now: datetime) -> float:
        """Return how long no time passes that makes an event due, in seconds."""
        waits = ((again - now).total_seconds() for again in self._again.values())
        return max(0.0, min(waits, default=_LONGEST_WAIT.total_seconds()))

    def seen(self, id_: str, *, look_again: datetime | None) -> None:
        """Store when to check an incident again even if its record does not change."""
        self._again.pop(id_, None)
        if look_again is not None:
            self._again[id_] = look_again


class OnDisk:
    """Reads facts for events from the evidence folder and the catalogue; caches them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._heads: dict[str, str] | None = None
        self._runbooks: dict[str, FrontMatter | None] = {}

    def windows(self) -> Sequence[Declared]:
        """Return all maintenance windows; none if they cannot be read."""
        try:
            return windows.windows(self._settings)
        except OSError as error:
            log.warning("nothing is silenced: the maintenance windows cannot be read: %s", error)
            return ()

    def parts(self, record: IncidentRecord) -> list[IncidentRecord]:
        """Return an incident's record, and those of all incidents that were merged into it.

        A record that cannot be read is damaged.
        """
        parts = {record.id: record}
        left = list(record.merged_from)
        while left:
            if (id_ := left.pop()) in parts:
                continue
            try:
                parts[id_] = incident.read(self._settings.evidence_root, id_)
            except EvidenceError as error:
                parts[id_] = incident.tell([], id_, [incident.Damage(number=0, what=error.what)])
            left += parts[id_].merged_from
        return list(parts.values())

    def run(self, run_id: str) -> reading.Record | None:
        """Return the record of a run from its journal; None if it cannot be read."""
        try:
            return reading.read(runs.find(self._settings.evidence_root, run_id))
        except EvidenceError:
            return None  # the event then says that nothing is known about the run

    def answers(self, record: IncidentRecord) -> Answers:
        """Return the answers in a record, and in those that were merged into it."""
        try:
            return incident.answers(self._settings.evidence_root, record.id)
        except EvidenceError:
            return incident.answers_of(record.lines)

    def head(self, seal_id: str) -> str:
        """Return the hash of a seal, which is to be published; empty if there is no such seal."""
        if self._heads is None:
            heads: Iterable[manifest.Head] = seals.read_heads(self._settings.evidence_root)
            self._heads = {head.run_id: head.sha256 for head in heads}
        return self._heads.get(seal_id, "")

    def front_matter(self, runbook: str) -> FrontMatter | None:
        """Return the front matter of a runbook; None if there is no such runbook."""
        if runbook not in self._runbooks:
            try:
                found = catalogue.find(runbook, self._settings.catalogue.paths)
                self._runbooks[runbook] = found.front_matter
            except RunbookError:
                self._runbooks[runbook] = None
        return self._runbooks[runbook]

    def draft(self, record: IncidentRecord, now: datetime) -> str:
        """Return the draft of an incident's next status update, from its record and its runs."""
        from rbkernel.incidents import status, workflow  # import nbformat

        try:
            entries = workflow.look(self._settings.evidence_root, record.id).timeline
        except EvidenceError:
            entries = ()  # the record alone
        return status.draft(record, entries, now).text
