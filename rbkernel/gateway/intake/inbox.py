"""Read the bodies that senders delivered, and commit them to the store, in a separate thread.

This thread removes secrets from alerts before they are stored or routed. Threads that serve
requests never wait for a disk or parse a body. Each commit takes all deliveries that arrived during
the previous commit, so that they share one wait for the disk. Ordering rule: a receipt is given
only for what the store has on disk. In every other case the sender is asked to send again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rbkernel.errors import (
    ExtensionError,
    Overloaded,
    RbkernelError,
    StoreError,
    TooLarge,
    Unreadable,
)
from rbkernel.gateway import intake
from rbkernel.gateway.intake import clean, limits
from rbkernel.gateway.intake.fields import Reading
from rbkernel.gateway.jobs.storage.store import Store
from rbkernel.redact import Redactor

_AT_ONCE = 256
_BYTES_AT_ONCE = 8 * 1024 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RawDelivery:
    """One authenticated request, as it was sent."""

    source: str
    raw: bytes
    encoding: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was stored of a delivery: its alerts, or its raw bytes in quarantine, or both.

    ``quarantine_number`` is the number of the raw bytes in quarantine. ``ignored`` names unknown
    fields of the alerts.
    """

    new: int = 0
    repeated: int = 0
    truncated: int = 0
    quarantine_number: int | None = None
    problem: str = ""
    ignored: str | None = None


@dataclass
class _Waiting:
    raw_delivery: RawDelivery
    answer: asyncio.Future[Receipt]
    loop: asyncio.AbstractEventLoop


_Read = tuple[_Waiting, RawDelivery, Reading | Unreadable]


class Inbox:
    """Stores deliveries, and returns receipts for the stored ones."""

    def __init__(
        self,
        store: Store,
        redactor: Redactor,
        *,
        most_bytes: int,
        most_alerts: int,
        commit_timeout_s: float,
    ) -> None:
        self._store = store
        self._redactor = redactor
        self._most_bytes = most_bytes
        self._most_alerts = most_alerts
        self._timeout_s = commit_timeout_s
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="rbkernel-inbox", daemon=True)

    def start(self) -> None:
        """Start the thread that reads and stores deliveries."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Commit the waiting deliveries, then stop; do not wait for a hanging store."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    async def take(self, raw_delivery: RawDelivery) -> Receipt:
        """Queue a delivery, and return a receipt once the delivery is on disk.

        Raises
        ------
        TooLarge
            The decompressed body is longer than the limit.
        StoreError
            The delivery cannot be stored.
        Overloaded
            The disk did not keep up. The delivery may still be stored, and the sender should retry.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Receipt] = loop.create_future()
        waiting = _Waiting(raw_delivery, answer, loop)
        self._queue.put(waiting)
        try:
            return await asyncio.wait_for(answer, self._timeout_s)
        except TimeoutError:
            # if the store hangs, deliveries whose senders have given up must not fill the memory
            waiting.raw_delivery = dataclasses.replace(raw_delivery, raw=b"")
            raise Overloaded(
                f"the store took longer than {self._timeout_s:g} s",
                where="the gateway's store",
                next_step="send it again; check the disk and the load of the gateway",
            ) from None

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            together, ended = self._batch(first)
            self._settle(together)
            if ended:
                return

    def _batch(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return deliveries to commit together, and whether the inbox is closing."""
        together, size = [first], self._weight(first.raw_delivery)
        while len(together) < _AT_ONCE and size < _BYTES_AT_ONCE:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return together, True
            together.append(following)
            size += self._weight(following.raw_delivery)
        return together, False

    def _weight(self, raw_delivery: RawDelivery) -> int:
        """Return the most bytes that a delivery's body can have after decompression."""
        return self._most_bytes if raw_delivery.encoding else len(raw_delivery.raw)

    def _settle(self, together: list[_Waiting]) -> None:
        read: list[_Read] = []
        for one in together:
            # read before the answer is checked: the body is emptied after the answer was given
            raw_delivery = one.raw_delivery
            if one.answer.done():
                continue  # the sender was asked to send again
            try:
                read.append((one, raw_delivery, self._read(raw_delivery)))
            except TooLarge as error:
                _tell(one, error)
        try:
            receipts: Sequence[Receipt | StoreError] = self._keep(read)
        except StoreError as error:
            _log.error("store_failed: %s", error)
            receipts = [error] * len(read)
        except Exception as error:  # noqa: BLE001  # the thread must go on, and answer the sender
            _log.exception("inbox_defect")
            defect = StoreError(f"a bug in rbkernel ({type(error).__name__})", where="the inbox")
            receipts = [defect] * len(read)
        for (one, *_), receipt in zip(read, receipts, strict=True):
            _tell(one, receipt)

    def _read(self, raw_delivery: RawDelivery) -> Reading | Unreadable:
        try:
            body = limits.unpack(raw_delivery.raw, raw_delivery.encoding, self._most_bytes)
            reading = intake.read(
                raw_delivery.source, body, raw_delivery.received_at, most_alerts=self._most_alerts
            )
            return clean.without_secrets(reading, self._redactor)
        except TooLarge:
            raise
        except Unreadable as error:
            return error
        except ExtensionError as error:
            _log.error("%s", error)
            return Unreadable(error.what)
        except Exception as error:  # noqa: BLE001  # what a known sender sent is never lost
            _log.exception("intake_defect")
            whose = intake.SENDERS.origin(raw_delivery.source) or "rbkernel"
            return Unreadable(f"a bug in {whose} ({type(error).__name__})")

    def _keep(self, read: Sequence[_Read]) -> list[Receipt]:
        """Store all deliveries: the alerts in one transaction, then the unreadable bodies."""
        readable = [reading.delivery for *_, reading in read if isinstance(reading, Reading)]
        alerts = [delivery for delivery in readable if delivery.alerts]
        received = iter(self._store.receive_all(alerts) if alerts else ())
        receipts = []
        for _, raw_delivery, reading in read:
            if isinstance(reading, Unreadable):
                receipts.append(self._quarantine(raw_delivery, reading.what))
                continue
            aside = Receipt()
            if reading.problems:
                aside = self._quarantine(raw_delivery, "; ".join(reading.problems))
            kept = next(received) if reading.delivery.alerts else aside
            receipts.append(
                dataclasses.replace(
                    aside,
                    new=kept.new,
                    repeated=kept.repeated,
                    truncated=reading.delivery.truncated,
                    ignored=reading.ignored or None,
                )
            )
        return receipts

    def _quarantine(self, raw_delivery: RawDelivery, reason: str) -> Receipt:
        """Store a body that could not be read, without the secrets that can be found in it."""
        raw = clean.body_without_secrets(self._unpacked(raw_delivery), self._redactor)
        number = self._store.quarantine(raw_delivery.source, raw, self._redactor.text(reason))
        return Receipt(quarantine_number=number, problem=reason)

    def _unpacked(self, raw_delivery: RawDelivery) -> bytes:
        """Return the body of a delivery, decompressed if possible, else as received."""
        try:
            return limits.unpack(raw_delivery.raw, raw_delivery.encoding, self._most_bytes)
        except RbkernelError:
            return raw_delivery.raw


def _tell(one: _Waiting, outcome: Receipt | RbkernelError) -> None:
    """Give a waiting request its receipt or error, in the request's event loop."""

    def tell() -> None:
        if one.answer.done():
            return
        if isinstance(outcome, Receipt):
            one.answer.set_result(outcome)
        else:
            one.answer.set_exception(outcome)

    one.loop.call_soon_threadsafe(tell)
