"""Capture the situation of a server (its state and all its sessions) when an alert arrives.

A run begins seconds later: it needs the queue, a process and a kernel. By then a lock storm may be
over, and its cause can no longer be seen. So the situation is captured as soon as the alert has its
incident, and is kept in the incident's record.

Rules. A capture runs in a separate thread, so that it delays nothing else. Each server has one
capture at a time, and a further alert within `_FRESH_S` shares its result. An incident gets at most
one capture of a server in `_EVERY_S`, so that a storm of alerts causes no storm of captures. A
capture may take `_LIMIT_S`. An error is written into the record, and affects nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from rbkernel.config import Connection, Settings
from rbkernel.errors import DatabaseError, RbkernelError
from rbkernel.kernel import secrets
from rbkernel.redact import Redactor
from rbkernel.sources.postgres import diagnosis, situation
from rbkernel.sources.postgres.connection.session import Session
from rbkernel.sources.postgres.diagnosis import Diagnosis

# s: a capture takes 0.1 s on a healthy server; a run starts after about 3 s
_LIMIT_S = 10.0
# s for the login and for each statement
_PATIENCE_S = 3.0
# s within which an alert shares the capture of the previous alert
_FRESH_S = 5.0
# s between two situations of a server in an incident's record
_EVERY_S = 60.0
_NAME = "rbkernel/alert"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request to capture the situation of the server that an alert is about."""

    connection: str
    incident: str
    alert: str
    received_at: datetime


Tell = Callable[[Ask, Diagnosis, Redactor], None]


@dataclass
class _Server:
    """The captures of one server: requests that wait for a capture, and the last result.

    ``asked`` holds the time of the last request of each incident.
    """

    asked: dict[tuple[str, str], float] = field(default_factory=dict)
    waiting: list[Ask] = field(default_factory=list)
    busy: bool = False
    last: Diagnosis | None = None
    at: float = 0.0


class SituationCapture:
    """Captures the situations of servers, in one thread per server, and has them recorded."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self._settings = settings
        self._tell = tell
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, ...], _Server] = {}

    def look(self, ask: Ask) -> None:
        """Request a capture of a server, unless the incident just had one; return at once."""
        connection = self._settings.connections.get(ask.connection)
        if connection is None:
            return
        key, now = (ask.incident, ask.connection), time.monotonic()
        with self._lock:
            server = self._servers.setdefault(_address(connection), _Server())
            recent = {one: at for one, at in server.asked.items() if now - at < _EVERY_S}
            server.asked = {key: now, **recent}
            if key in recent:
                return
            server.waiting.append(ask)
            if server.busy:
                return
            server.busy = True
        name = f"rbkernel-witness-{ask.connection}"
        threading.Thread(
            target=self._capture, args=(connection, server), name=name, daemon=True
        ).start()

    def _capture(self, connection: Connection, server: _Server) -> None:
        """Capture a server's situation and answer all waiting requests, until none is left."""
        redactor = self._redactor  # created first: it learns passwords that are fetched later
        while True:
            if server.last is None or time.monotonic() - server.at > _FRESH_S:
                looking = _Look(connection)
                server.last, server.at = looking.result(_LIMIT_S), time.monotonic()
                asked = self._take(server)
                self._tell_all(asked, server.last, redactor)
                looking.join()  # a capture that exceeds the time-out still holds its connection
            else:
                self._tell_all(self._take(server), server.last, redactor)
            with self._lock:
                if not server.waiting:
                    server.busy = False
                    return

    def _take(self, server: _Server) -> list[Ask]:
        with self._lock:
            taken, server.waiting = server.waiting, []
        return taken

    def _tell_all(self, asked: list[Ask], seen: Diagnosis, redactor: Redactor) -> None:
        for ask in asked:
            try:
                self._tell(ask, _of(ask.connection, seen), redactor)
            except RbkernelError as error:
                _log.warning(
                    "the state of the server %s could not be recorded in %s: %s",
                    ask.connection,
                    ask.incident,
                    error,
                )
            except Exception:  # noqa: BLE001  # nobody waits for this thread
                _log.exception(
                    "the state of the server %s could not be recorded in %s",
                    ask.connection,
                    ask.incident,
                )

    @cached_property
    def _redactor(self) -> Redactor:
        return secrets.redactor(self._settings, os.environ, later=True)


class _Look:
    """One capture of a server's situation, in a thread that may exceed the time-out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection.model_copy(
            update={
                "connect_timeout_s": min(connection.connect_timeout_s, _PATIENCE_S),
                "statement_timeout_s": min(connection.statement_timeout_s, _PATIENCE_S),
            }
        )
        self._seen: Diagnosis | None = None
        self._thread = threading.Thread(target=self._work, name="rbkernel-look", daemon=True)
        self._thread.start()

    def result(self, limit_s: float) -> Diagnosis:
        """Return the captured situation, or the reason why there is none within the time limit."""
        self._thread.join(limit_s)
        return self._seen or _nothing_seen(
            self._connection, f"reading the state of the server took longer than {limit_s:.0f} s"
        )

    def join(self) -> None:
        """Wait until the capture's thread has ended."""
        self._thread.join()

    def _work(self) -> None:
        try:
            with closing(Session(self._connection, application_name=_NAME)) as session:
                self._seen = diagnosis.diagnose(session)
        except RbkernelError as error:
            self._seen = _nothing_seen(self._connection, str(error))
        except Exception as error:  # noqa: BLE001  # the record reports every error
            _log.exception("reading the state of the server %s failed", self._connection.name)
            self._seen = _nothing_seen(self._connection, f"a bug in rbkernel: {error!r}")


def _of(connection: str, seen: Diagnosis) -> Diagnosis:
    """Return a capture's result, with its connection replaced by another one to the same server."""
    if seen.situation.connection == connection:
        return seen
    return diagnosis.judged(replace(seen.situation, connection=connection))


def _nothing_seen(connection: Connection, why: str) -> Diagnosis:
    error = DatabaseError(why, where=f"connection {connection.name}")
    return diagnosis.judged(situation.unanswered(connection.name, error))


def _address(connection: Connection) -> tuple[str, ...]:
    """Return a key for a connection's server: connections to the same server have the same key."""
    return tuple(map(str, (connection.service, connection.host, connection.port)))
