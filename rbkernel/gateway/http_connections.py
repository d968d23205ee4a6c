"""Limit the number and the idle time of open HTTP connections; close some to make room.

Anybody who reaches the port can open connections. Each connection takes a file descriptor that the
alerts, the store and the runs need. So the number of connections has a limit well below the limit
of the process. At the limit, a new connection is accepted and another one is closed: first a
connection that never authenticated as a sender, then a sender's connection that waits for its next
request. A request of a sender is never cut off.

`Connections` holds the rules and does no IO. `BoundedServer` is tornado's server with these rules.
"""

from __future__ import annotations

import copy
import errno
import logging
import resource
import socket
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar, cast

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop

_log = logging.getLogger(__name__)
_RESERVED = 256  # descriptors reserved for the store, the queue, evidence, runs and notifications
_HIGHEST_LIMIT = 1_048_576  # some programs that runs start close every descriptor below the limit
_ACCEPTED_AT_ONCE = 32  # after these connections, the requests that have arrived are handled
_PAUSE_S = 0.2
_SENDER_IDLE_S = 330.0  # Alertmanager and Prometheus keep an idle connection for 5 minutes
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Key = TypeVar("Key", bound=Hashable)


class Connections(Generic[Key]):
    """The open HTTP connections, ordered by their last activity.

    >>> known = Connections(most=2)
    >>> known.opened("a"), known.opened("b")
    (None, None)
    >>> known.trust("a"), known.rests("a")
    (None, None)
    >>> known.opened("c"), known.opened("d")
    ('b', 'c')
    >>> known.trust("d"), known.opened("e")
    (None, 'a')
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._strangers: dict[Key, None] = {}  # the least recently active connection is first
        self._senders: dict[Key, bool] = {}  # whether a request is under way

    def __contains__(self, key: Key) -> bool:
        return key in self._strangers or key in self._senders

    def __len__(self) -> int:
        return len(self._strangers) + len(self._senders)

    def opened(self, key: Key) -> Key | None:
        """Add a new connection; return the connection to close for lack of room, or None.

        If no other connection can be closed, the new connection itself is returned.
        """
        victim = self.dispensable() if len(self) >= self.most else None
        self._strangers[key] = None
        if victim is None and len(self) > self.most:
            victim = key
        if victim is not None:
            self.closed(victim)
        return victim

    def dispensable(self) -> Key | None:
        """Return the connection to close next; None if each is handling a sender's request."""
        idle = (key for key, busy in self._senders.items() if not busy)
        return next(iter(self._strangers), None) or next(idle, None)

    def begins(self, key: Key) -> None:
        """Note that the headers of a request have arrived on this connection."""
        self._active(key, busy=True)

    def rests(self, key: Key) -> None:
        """Note that a connection waits for its first or next request."""
        self._active(key, busy=False)

    def trust(self, key: Key) -> None:
        """Note that a request on this connection was authenticated as a sender's."""
        if key in self._strangers:
            del self._strangers[key]
            self._senders[key] = True

    def is_sender(self, key: Key) -> bool:
        """Return whether a sender was authenticated on this connection."""
        return key in self._senders

    def closed(self, key: Key) -> None:
        """Forget a connection that has been closed."""
        self._strangers.pop(key, None)
        self._senders.pop(key, None)

    def _active(self, key: Key, *, busy: bool) -> None:
        if key in self._senders:
            del self._senders[key]
            self._senders[key] = busy
        elif key in self._strangers:
            del self._strangers[key]
            self._strangers[key] = None


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the server waits on a connection for the headers of a request, in seconds.

    ``first_s`` counts from the start of the connection, ``next_s`` from the last answer.
    ``sender_s`` replaces ``next_s`` for an authenticated sender.
    """

    first_s: float
    next_s: float
    sender_s: float = _SENDER_IDLE_S

    def of(self, *, first: bool, sender: bool) -> float:
        """Return the time limit for the next request on a connection, in seconds.

        >>> patience = Patience(first_s=10, next_s=75)
        >>> [patience.of(first=first, sender=sender) for first in (True, False)
        ...  for sender in (False, True)]
        [10, 330.0, 75, 330.0]
        """
        if sender:
            return max(self.sender_s, self.next_s)
        return self.first_s if first else self.next_s


class BoundedServer(HTTPServer):
    """An HTTP server that limits the number of open connections and their idle time."""

    def initialize(  # type: ignore[override]  # tornado's own way to give a server its arguments
        self, *args: Any, connections: int, patience: Patience, **options: Any
    ) -> None:
        """Initialize tornado's server with the two additional limits."""
        super().initialize(*args, **options)
        self.open: Connections[HTTP1ServerConnection] = Connections(connections)
        self._patience = patience

    def trust(self, connection: object) -> None:
        """Note that a request on this connection was authenticated as a sender's."""
        self.open.trust(cast("HTTP1ServerConnection", connection))

    # --- accepting

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Start to accept connections on these listening sockets."""
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._listen(listening)

    def _listen(self, listening: socket.socket) -> None:
        loop = IOLoop.current()
        if listening.fileno() in self._sockets and not self._stopped:
            loop.add_handler(listening, self._accept, IOLoop.READ)
            self._handlers[listening.fileno()] = partial(loop.remove_handler, listening)

    def _accept(self, listening: socket.socket, _events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if self._stopped:
                return
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    continue  # the client closed it before it was accepted
                self._pause(listening, error)
                return
            self._take(connection, address)

    def _take(self, connection: socket.socket, address: Any) -> None:
        try:
            self._handle_connection(connection, address)
        except OSError as error:  # the client closed it before TLS began
            _log.info("a connection was closed immediately: %s", error.strerror)
            connection.close()

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        """Stop accepting for a moment, and close idle connections: no file descriptors are left."""
        _log.warning("no connection can be accepted (%s); idle ones were closed", error.strerror)
        for _ in range(1 + len(self.open) // 2):
            self._close(self.open.dispensable())
        self._handlers[listening.fileno()]()
        self._handlers[listening.fileno()] = _nothing
        IOLoop.current().call_later(_PAUSE_S, self._listen, listening)

    # --- from the first byte to the end

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Start to wait for a connection's next request, with the connection's time limit."""
        connection = cast("HTTP1ServerConnection", server_conn)
        request = cast("HTTP1Connection", request_conn)
        first = connection not in self.open
        if first:
            self._make_room(self.open.opened(connection))
        self.open.rests(connection)
        request.params = copy.copy(request.params)
        request.params.header_timeout = self._patience.of(
            first=first, sender=self.open.is_sender(connection)
        )
        began = partial(self.open.begins, connection)
        return _Watched(super().start_request(server_conn, request_conn), began)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection that has ended."""
        self.open.closed(cast("HTTP1ServerConnection", server_conn))
        super().on_close(server_conn)

    def _make_room(self, victim: HTTP1ServerConnection | None) -> None:
        if victim is not None:
            _log.warning(
                "connection limit reached (%d): the longest idle connection was closed",
                self.open.most,
            )
            self._close(victim)

    def _close(self, victim: HTTP1ServerConnection | None) -> None:
        if victim is not None:
            self.open.closed(victim)
            victim.stream.close()


@dataclass
class _Watched(HTTPMessageDelegate):
    """Forwards a request to its handler, and notes when the request's headers have arrived."""

    to: HTTPMessageDelegate
    began: Callable[[], None] = field(repr=False)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Any:
        self.began()
        return self.to.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self.to.data_received(chunk)

    def finish(self) -> None:
        self.to.finish()

    def on_connection_close(self) -> None:
        self.to.on_connection_close()


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as allowed; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _HIGHEST_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _HIGHEST_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    return file_limit()


def file_limit() -> int:
    """Return how many files this process may open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _HIGHEST_LIMIT if soft == resource.RLIM_INFINITY else soft


def room(wanted: int, files: int) -> int:
    """Return how many connections may be open, so that file descriptors remain for other uses.

    >>> [room(1000, files) for files in (64, 256, 1024, 20_000)]
    [32, 128, 768, 1000]
    """
    return max(1, min(wanted, files - min(_RESERVED, files // 2)))


def _nothing() -> None:
    """Do nothing; stands in for a connection's event handler that is not installed."""
