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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Self

from rbkernel.config import Settings
from rbkernel.config.notify import Target
from rbkernel.errors import (
    ConfigError,
    EvidenceError,
    ExtensionError,
    NotifyError,
    RbkernelError,
)
from rbkernel.evidence import incident
from rbkernel.evidence.incident import IncidentRecord, IncidentState, instant
from rbkernel.gateway import links
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.gateway.notify import channels, replies, silence, written
from rbkernel.gateway.notify.events import WAITS_TOO_LONG, Due, Event, due, of_waiting
from rbkernel.gateway.notify.messages import Message, Words
from rbkernel.gateway.notify.outbox import Claimed, Outbox, Receiver
from rbkernel.gateway.notify.silence import Silence
from rbkernel.gateway.notify.watch import OnDisk, Watch
from rbkernel.incidents.windows import Declared

_LOOK_EVERY_S = 2.0
# the pause after each look: a storm of alerts causes no storm of looks
_PAUSE_S = 0.1
# an event that is older when it is first found is not sent: the evidence was copied here, or the
# gateway was down for long
_NEWS = timedelta(hours=6)
# the event that is always sent: neither a window nor its age holds it back
_NEVER_QUIET = "break-glass"
_IN_ONE_COMMIT = 200
_LOOK_AT_WINDOWS = timedelta(minutes=1)
log = logging.getLogger("rbkernel.notify")


class Notifier:
    """Finds events, sends notifications to targets and replies to senders of alerts.

    It does nothing if no target and no reply is configured.

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
        An address cannot be fetched, or a token is not set.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.targets = tuple(settings.notify.targets.values())
        self.words = Words(settings.notify.templates, settings.gateway.address)
        self.words.check()
        for target in self.targets:
            channels.names(target)
        self.receivers = replies.receivers(settings)
        for receiver in self.receivers:
            receiver.token()
        self.everybody: tuple[Receiver, ...] = (*self.targets, *self.receivers)
        self.outbox = Outbox(store)
        for name in self.outbox.begin(self.everybody):
            log.info("target %s is new: it gets notifications from now on", name)
        self._watch = Watch(settings.evidence_root)
        self._stop = threading.Event()
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rbkernel-notify", daemon=True)

    def start(self) -> None:
        """Start the thread that finds events and sends notifications."""
        if self.everybody:
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
        """Find and send due events once; return the number of messages and replies sent."""
        self.look()
        sent = sum(self.send_to(target) for target in self.targets)
        return sent + sum(replies.send(self.settings, self.outbox, to) for to in self.receivers)

    def look(self, now: datetime | None = None) -> None:
        """Find new events in the evidence, and store them in the outbox."""
        now = now or datetime.now(UTC)
        evidence = OnDisk(self.settings)
        planned = evidence.windows()
        for ids in batched(self._watch.changed(now), _IN_ONE_COMMIT):
            found = {id_: self._due(id_, evidence, planned, now) for id_ in ids}
            fresh = [event for one in found.values() for event in one.events]
            stale = [event for one in found.values() for event in one.stale]
            answers = [event for id_ in ids for event in self._replies(id_, evidence)]
            self.outbox.add([*fresh, *answers], self.everybody, stale)
            for id_, one in found.items():
                # an event that is stored now may make another event due
                some = one.events or one.stale
                self._watch.seen(id_, look_again=now if some else one.look_again)
        self._look_at_waiting(planned, now)

    def _look_at_waiting(self, planned: Sequence[Declared], now: datetime) -> None:
        """Store an event for each alert that has waited too long for an incident."""
        known = self.outbox.known("")
        waiting = self.outbox.waiting_alerts((now - WAITS_TOO_LONG).timestamp())
        loud = (one for one in waiting if not self._is_silenced(one.alert.labels, planned, now))
        self.outbox.add(
            [one for one in map(of_waiting, loud) if one.key not in known], self.targets
        )

    def _is_silenced(
        self, labels: Mapping[str, str], planned: Sequence[Declared], now: datetime
    ) -> bool:
        of_alert = silence.labels_of(labels, self.settings.grouping)
        return silence.silence_of([of_alert], planned, now) is not None

    def _due(self, id_: str, evidence: OnDisk, planned: Sequence[Declared], now: datetime) -> Due:
        """Return the events to send and to leave out; none as long as a window silences it."""
        soon = now + _LOOK_AT_WINDOWS
        try:
            record = incident.read(self.settings.evidence_root, id_)
            parts = evidence.parts(record) if planned or record.silenced else [record]
            quiet = silence.of_incident(parts, planned, self.settings.grouping, now)
            if quiet is None and record.is_silenced(now):
                self._say_silenced(record, now, "no window covers all of it any more", "")
                record = incident.read(self.settings.evidence_root, id_)
            found = due(record, evidence, known=self.outbox.known(id_), now=now)
            if quiet and (found.events or found.look_again):
                loud = tuple(one for one in found.events if one.kind == _NEVER_QUIET)
                if record.state is IncidentState.CLOSED:
                    # nothing is written into it; its events are news only if it is reopened
                    held = tuple(one for one in found.events if one not in loud)
                    old = () if record.silenced else held
                    return Due(events=loud, stale=old, look_again=None)
                if self._is_on_record(record, quiet, now):
                    # a window may be ended early: look again within a minute
                    return Due(events=loud, look_again=min(quiet.until, soon))
            if record.is_silenced(now):  # its end is not on record yet, and timers wait for it
                found = replace(found, look_again=min(found.look_again or soon, soon))
            return without_stale(found, [record, *parts[1:]], now)
        except EvidenceError as error:
            log.warning("%s: %s", id_, error)
            return Due(events=(), look_again=soon)

    def _replies(self, id_: str, evidence: OnDisk) -> list[Event]:
        """Return the replies that are due to senders of the incident's alerts."""
        if not self.receivers:
            return []
        try:
            parts = evidence.parts(incident.read(self.settings.evidence_root, id_))
        except EvidenceError:
            return []  # `_due` logs it, and looks again
        return replies.due(parts, self.receivers, self.outbox.known(id_))

    def _is_on_record(self, record: IncidentRecord, quiet: Silence, now: datetime) -> bool:
        """Tell whether the record says that the incident is silenced now, after writing that."""
        lasts = record.is_silenced(now)
        if lasts and record.silent_until == quiet.until:
            return True
        return self._say_silenced(record, quiet.until, quiet.reason, quiet.by) or lasts

    def _say_silenced(self, record: IncidentRecord, until: datetime, reason: str, by: str) -> bool:
        """Record until when an incident is silenced; return whether there is a new line."""
        try:
            line = incident.append(
                *(self.settings.evidence_root, record.id, incident.SILENCED),
                by="rbkernel",
                until=until.astimezone(UTC).isoformat(),
                reason=reason,
                declared_by=by,
            )
        except EvidenceError as error:
            log.warning("%s: a maintenance window cannot be recorded: %s", record.id, error)
            return False
        return line.is_new

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
            written.down(
                *(self.settings.evidence_root, id_),
                whom=target.name,
                events=[event.key for event in message.events if event.incident == id_],
                title=message.title,
                text=message.about(id_),
                how=how,
                problem=problem,
            )

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


def without_stale(found: Due, parts: Sequence[IncidentRecord], now: datetime) -> Due:
    """Return due events, of which those that nobody needs to learn of are marked as stale.

    These are old events, and those that a window held back if the incident is over. Events that a
    window held back are never too old, so that they are sent also if the gateway was down when it
    ended. An approval by one person alone is never stale.

    Parameters
    ----------
    found
        The events.
    parts
        The incident's record, and those of all incidents that were merged into it.
    now
        The current time.
    """
    until = parts[0].silent_until
    asked = any(one.kind == "decision" for one in found.events)
    is_over = until is not None and not asked and silence.is_over(parts)
    stale = tuple(
        one
        for one in found.events
        if one.kind != _NEVER_QUIET
        and (is_over if until and instant(one.at) <= until else now - instant(one.at) >= _NEWS)
    )
    fresh = tuple(one for one in found.events if one not in stale)
    return Due(events=fresh, stale=stale, look_again=found.look_again)


def batched(ids: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Split ids into tuples of a given size; the last tuple may be smaller.

    >>> list(batched("abc", 2))
    [('a', 'b'), ('c',)]
    """
    left = iter(ids)
    while some := tuple(islice(left, size)):
        yield some
