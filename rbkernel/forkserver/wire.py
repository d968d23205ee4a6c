"""The protocol between the fork server, its children, and its clients.

The client sends one request, with its three standard streams. The child answers with its process
id. When the program has ended, the server sends the exit status. It keeps the ended process until
the client has closed the connection, so that no signal of the client can reach another process.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

_LENGTH = struct.Struct("!I")
_CREDENTIALS = struct.Struct("iII")  # struct ucred
_STREAMS = 3


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to start a program; its fields correspond to those of `subprocess.Popen`.

    ``ignored`` are the signals that the client ignores: the program must ignore them, too.
    """

    program: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    umask: int
    ignored: list[int]


def send_request(connection: socket.socket, request: Request, streams: list[int]) -> None:
    """Send a request to start a program, and the file descriptors of its standard streams.

    Raises
    ------
    OSError
        The peer closed the connection, or takes too long.
    """
    # surrogates stand for bytes that are not valid text
    body = json.dumps(asdict(request)).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(body))], streams)
    connection.sendall(body)


def receive_request(connection: socket.socket) -> tuple[Request, list[int]]:
    """Receive a request and its streams' descriptors, which child processes do not inherit.

    Raises
    ------
    OSError, ValueError, TypeError
        The peer closed the connection, or sent something else.
    """
    head, streams, _flags, _address = socket.recv_fds(connection, _LENGTH.size, _STREAMS)
    while len(head) < _LENGTH.size:
        head += _some(connection, _LENGTH.size - len(head))
    [length] = _LENGTH.unpack(head)
    body = b""
    while len(body) < length:
        body += _some(connection, length - len(body))
    if len(streams) != _STREAMS:
        raise ValueError(f"{_STREAMS} streams were expected, but {len(streams)} came")
    return Request(**json.loads(body)), streams


class Peer(NamedTuple):
    """The process at the other end of a connection."""

    pid: int
    uid: int
    gid: int


def peer(connection: socket.socket) -> Peer:
    """Return the process that opened a connection, as the operating system reports it."""
    size = _CREDENTIALS.size
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return Peer(*_CREDENTIALS.unpack(said))


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a message as one line of JSON.

    Raises
    ------
    OSError
        The peer closed the connection.
    """
    connection.sendall(json.dumps(message).encode() + b"\n")


def _some(connection: socket.socket, size: int) -> bytes:
    received = connection.recv(size)
    if not received:
        raise ConnectionResetError("the client closed the connection")
    return received
