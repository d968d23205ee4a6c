"""The thread of `rbkernel serve` that finds new events in the evidence and notifies people.

It looks at the evidence when this process has written into a record, and every two seconds for what
other processes have written.

No run waits for this thread, and the thread stops no run: it only reads the files of runs. Sending
to a target that does not answer is retried at growing intervals. Each sent message is written into
the incident's own record, without the signatures of links.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

from rbkernel.config import Settings
from rbkernel.config.notify import Target
from rbkernel.errors import (
    ConfigError,
    EvidenceError,
    ExtensionError,
    NotifyError,
    RbkernelError,
    RunbookError,
)
from rbkernel.evidence import incident, manifest, reading, runs, seals
from rbkernel.evidence.incident import Answers, IncidentRecord, IncidentState, instant
from rbkernel.gateway import links
from rbkernel.gateway.jobs.store import Store
from rbkernel.gateway.notify import channels, silence
from rbkernel.gateway.notify.events import WAITS_TOO_LONG, Due, Event, due, of_waiting
from rbkernel.gateway.notify.messages import Message, Words
from rbkernel.gateway.notify.outbox import Claimed, Outbox
from rbkernel.gateway.notify.silence import Silence
from rbkernel.incidents import status, windows, workflow
from rbkernel.incidents.windows import Declared
from rbkernel.model import INCIDENT_ID
from rbkernel.runbook import catalogue
from rbkernel.runbook.frontmatter import FrontMatter

_LOOK_EVERY_S = 2.0
# the pause after each look: a storm of alerts causes no storm of looks
_PAUSE_S = 0.1
# an event that is older when it is first found is not sent: the evidence was copied here, or the
# gateway was down for long
_NEWS = timedelta(hours=6)
_IN_ONE_COMMIT = 200
_LOOK_AT_WINDOWS = timedelta(minutes=1)
log = logging.getLogger("rbkernel.notify")


class Notifier:
    """Finds events and sends notifications; does nothing if no target is configured.

    Parameters
    ----------
    settings
        The configuration.
    store
        The gateway's store.

    Raises
    ------
    NotifyError
        apprise is not installed, or an address or a template cannot be used.
    ConfigError
        An address cannot be fetched.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.targets = tuple(settings.notify.targets.values())
        self.words = Words(settings.notify.templates, settings.gateway.address)
        self.words.check()
        for target in self.targets:
            channels.names(target)
        self.outbox = Outbox(store)
        for name in self.outbox.begin(self.targets):
            log.info("target %s is new: it gets notifications from now on", name)
        self._watch = Watch(settings.evidence_root)
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rbkernel-notify", daemon=True)

    def start(self) -> None:
        """Start the thread that finds events and sends notifications."""
        if self.targets:
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the notifier's thread; unsent events are sent after the next start."""
        self._stop.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """Look for events now, because this process wrote into an incident's record."""
        self._awake.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def sweep(self) -> int:
        """Find and send due events once; return the number of messages sent."""
        self.look()
        return sum(self.send_to(target) for target in self.targets)

    def look(self, now: datetime | None = None) -> None:
        """Find new events in the evidence, and store them in the outbox."""
        now = now or datetime.now(UTC)
        evidence, planned = OnDisk(self.settings), windows.windows(self.settings)
        for ids in batched(self._watch.changed(now), _IN_ONE_COMMIT):
            found = {id_: self._due(id_, evidence, planned, now) for id_ in ids}
            fresh = [event for one in found.values() for event in one.events]
            stale = [event for one in found.values() for event in one.stale]
            self.outbox.add(fresh, self.targets, stale)
            for id_, one in found.items():
                # an event that is stored now may make another event due
                some = one.events or one.stale
                self._watch.seen(id_, look_again=now if some else one.look_again)
        self._look_at_waiting(planned, now)

    def _look_at_waiting(self, planned: Sequence[Declared], now: datetime) -> None:
        """Store an event for each alert that has waited too long for an incident."""
        known = self.outbox.known("")
        waiting = self.outbox.waiting_alerts((now - WAITS_TOO_LONG).timestamp())
        loud = (one for one in waiting if not silence.silence_of([one.alert.labels], planned, now))
        self.outbox.add(
            [one for one in map(of_waiting, loud) if one.key not in known], self.targets
        )

    def _due(self, id_: str, evidence: OnDisk, planned: Sequence[Declared], now: datetime) -> Due:
        """Return the events to send and to leave out; none as long as a window silences it."""
        try:
            record = incident.read(self.settings.evidence_root, id_)
            quiet = silence.of_incident(record, planned, now)
            if quiet is None and silence.lasts(record, now):
                self._say_silenced(
                    record, now, "the window was ended", ""
                )  # before its planned end
                record = incident.read(self.settings.evidence_root, id_)
            until = silence.silent_until(record, now)
            known = self.outbox.known(id_)
            found = due(record, evidence, known=known, now=now, silent_until=until)
            found = without_stale(found, record, until, now)
            return self._held_back(record, found, quiet, now) if quiet and found.events else found
        except EvidenceError as error:
            log.warning("%s: %s", id_, error)
            return Due(events=(), look_again=None)

    def _held_back(self, record: IncidentRecord, found: Due, quiet: Silence, now: datetime) -> Due:
        """Hold the events of a silenced incident back, and record why.

        Nothing is written into a closed record, and nobody will need its events.
        """
        if record.state is IncidentState.CLOSED:
            return Due(events=(), stale=(*found.events, *found.stale), look_again=None)
        self._say_silenced(record, quiet.until, quiet.reason, quiet.by)
        # a window may be ended early: look again within a minute
        soon = min(quiet.until, now + _LOOK_AT_WINDOWS)
        return Due(events=(), stale=found.stale, look_again=soon)

    def _say_silenced(self, record: IncidentRecord, until: datetime, reason: str, by: str) -> None:
        incident.append(
            *(self.settings.evidence_root, record.id, incident.SILENCED),
            by="rbkernel",
            until=until.astimezone(UTC).isoformat(),
            reason=reason,
            declared_by=by,
        )

    def send_to(self, target: Target) -> int:
        """Send a target all events that are due for it; return the number of messages sent."""
        claimed = self.outbox.claim(target.name, self.settings.notify)
        if claimed is None:
            return 0
        messages = list(self._messages(claimed))
        for number, message in enumerate(messages):
            if not self._deliver(target, message):
                for later in messages[number + 1 :]:
                    self.outbox.release(target.name, later.events)
                return number
        return len(messages)

    def _messages(self, claimed: Claimed) -> Iterator[Message]:
        incidents: dict[str, list[Event]] = {}
        for event in claimed.events:
            incidents.setdefault(event.incident, []).append(event)
        if len(incidents) > claimed.messages:
            yield self.words.digest(claimed.events)
        else:
            yield from map(self.words.message, incidents.values())
        while self.words.problems:
            log.warning(
                "a template failed; the built-in one was used: %s", self.words.problems.pop()
            )

    def _deliver(self, target: Target, message: Message) -> bool:
        body = message.with_links(partial(self._link, target), self.words.address)
        try:
            services = channels.send(target, message.title, body, message.level)
        except (NotifyError, ConfigError, ExtensionError) as error:
            last = self.outbox.failed(target.name, message.events, error.what, self.settings.notify)
            log.warning("%s%s", error, " Giving up." if last else "")
            if last:
                self._record(target, message, problem=error.what)
            return False
        self.outbox.sent(target.name, message.events)
        self._record(target, message, how=services)
        return True

    def _link(self, target: Target, what: str) -> str:
        """Return a signed link to a page; if ``what`` is empty, to all pages.

        A target that does not get all events gets no link to all pages, but the plain address.
        """
        if not what and not target.hears_all:
            return f"{self.words.address}/rbkernel"
        return links.link(self.settings, what or links.EVERYTHING)

    def _record(
        self, target: Target, message: Message, *, how: str = "", problem: str = ""
    ) -> None:
        """Write a notification into the record of each open incident that it is about."""
        incidents = dict.fromkeys(event.incident for event in message.events if event.incident)
        for id_ in incidents:
            events = [event for event in message.events if event.incident == id_]
            try:
                if incident.read(self.settings.evidence_root, id_).state == IncidentState.CLOSED:
                    continue  # a further line of a closed record would be unsealed
                incident.append(
                    *(self.settings.evidence_root, id_, "notified"),
                    by="rbkernel",
                    whom=target.name,
                    events=[event.key for event in events],
                    title=message.title,
                    text=message.about(id_),
                    how=how,
                    problem=problem,
                )
            except EvidenceError as error:
                log.warning("a notification was sent but not recorded: %s", error)

    def _work(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            self._awake.wait(min(_LOOK_EVERY_S, self._watch.wait_s(datetime.now(UTC))))
            self._awake.clear()
            if self._stop.is_set():
                return
            try:
                self.sweep()
            except RbkernelError as error:
                log.warning("notifications are delayed: %s", error)
            except Exception:  # top level of the thread: a bug here must not end the notifications
                log.exception("notifications are delayed by a bug in rbkernel; please report it")


def without_stale(found: Due, record: IncidentRecord, until: datetime | None, now: datetime) -> Due:
    """Return due events, of which those that nobody needs to learn of are marked as stale.

    These are events that are old, and those of a window that has silenced an incident (``until``)
    which is over. Events that a window held back count from its end.
    """
    stale = [
        one
        for one in found.events
        if now - max(instant(one.at), until or instant(one.at)) >= _NEWS
        or (until and instant(one.at) <= until and silence.is_over(record))
    ]
    fresh = tuple(one for one in found.events if one not in stale)
    return Due(events=fresh, stale=tuple(stale), look_again=found.look_again)


def batched(ids: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Split ids into tuples of a given size; the last tuple may be smaller.

    >>> list(batched("abc", 2))
    [('a', 'b'), ('c',)]
    """
    left = iter(ids)
    while some := tuple(islice(left, size)):
        yield some


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
            waited = self._again.get(id_, now + _NEWS) <= now
            if not INCIDENT_ID.fullmatch(id_) or (self._sizes.get(id_) == size and not waited):
                continue
            self._sizes[id_] = size
            yield id_

    def wait_s(self, now: datetime) -> float:
        """Return how long no time passes that makes an event due, in seconds."""
        waits = ((again - now).total_seconds() for again in self._again.values())
        return max(0.0, min(waits, default=_NEWS.total_seconds()))

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
        try:
            entries = workflow.look(self._settings.evidence_root, record.id).timeline
        except EvidenceError:
            entries = ()  # the record alone
        return status.draft(record, entries, now).text
