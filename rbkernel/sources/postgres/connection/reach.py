"""Check whether a PostgreSQL server answers at an address, and whether TLS works with `sslmode`.

The check opens a socket without a login. Errors of the socket, of the name look-up and of the
certificate check have numbers, while libpq reports only texts. A server answers ``SSLRequest`` with
one byte before any login; any other answer comes from another program.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path

from rbkernel.config import Connection
from rbkernel.sources.postgres.connection.troubles import Trouble

#: Requests TLS: length and code of the message, as PostgreSQL's protocol defines them
SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)
_TLS_WANTED = {"require", "verify-ca", "verify-full"}
_ERRNO: Mapping[int, Trouble] = {
    errno.ECONNREFUSED: Trouble.NOT_LISTENING,
    errno.ETIMEDOUT: Trouble.HOST_SILENT,
    errno.EHOSTUNREACH: Trouble.NO_ROUTE,
    errno.ENETUNREACH: Trouble.NO_ROUTE,
    errno.EADDRNOTAVAIL: Trouble.NO_ROUTE,
    errno.ECONNRESET: Trouble.CLOSED_AT_ONCE,
    errno.EPIPE: Trouble.CLOSED_AT_ONCE,
    errno.ENOENT: Trouble.NO_SOCKET,
    errno.EACCES: Trouble.SOCKET_FORBIDDEN,
}
# X509_V_ERR_…, as `openssl verify` documents them
_EXPIRED = {9, 10}
_OTHER_HOST = {62, 64}


def look(connection: Connection) -> Trouble | None:
    """Check the network connection to a server, without a login.

    Returns
    -------
    Trouble or None
        The problem; None if a login is possible, or if only libpq can determine the address.
    """
    hosts = (connection.host or "").split(",")
    if connection.service or not connection.host or len(hosts) > 1:
        return None
    try:
        with _connected(connection) as found:
            trouble = _spoken_to(found, connection)
        return _another_or_frozen(connection) if trouble is Trouble.FROZEN else trouble
    except (OSError, UnicodeError, ValueError) as error:
        return trouble_of(error)


def trouble_of(error: Exception) -> Trouble:
    """Return the kind of network problem that an error of the socket stands for.

    >>> trouble_of(ConnectionRefusedError(111, "x")).name, trouble_of(TimeoutError()).name
    ('NOT_LISTENING', 'HOST_SILENT')
    >>> trouble_of(socket.gaierror(socket.EAI_AGAIN, "x")).name, trouble_of(UnicodeError()).name
    ('NAME_SERVER_SILENT', 'HOST_UNKNOWN')
    """
    if isinstance(error, socket.gaierror):
        silent = error.errno == socket.EAI_AGAIN
        return Trouble.NAME_SERVER_SILENT if silent else Trouble.HOST_UNKNOWN
    if isinstance(error, TimeoutError):
        return Trouble.HOST_SILENT
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, Trouble.NOT_REACHED)
    return Trouble.HOST_UNKNOWN  # the text is not a valid host name


def certificate_trouble(verify_code: int) -> Trouble:
    """Return the kind of TLS problem that an error code of the certificate check stands for.

    >>> [certificate_trouble(code).name for code in (10, 62, 19)]
    ['EXPIRED', 'OTHER_HOST', 'UNTRUSTED']
    """
    if verify_code in _EXPIRED:
        return Trouble.EXPIRED
    return Trouble.OTHER_HOST if verify_code in _OTHER_HOST else Trouble.UNTRUSTED


def _connected(connection: Connection) -> socket.socket:
    host, port = connection.host or "", connection.port
    if not host.startswith(("/", "@")):
        return socket.create_connection((host, port), connection.connect_timeout_s)
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(connection.connect_timeout_s)
    name = f"{host}/.s.PGSQL.{port}"
    try:
        found.connect(f"\0{name[1:]}" if host.startswith("@") else name)
    except OSError:
        found.close()
        raise
    return found


def _spoken_to(found: socket.socket, connection: Connection) -> Trouble | None:
    """Request TLS from a server, as libpq does, and return the problem that its answer shows, if
    any.
    """
    try:
        found.sendall(SSL_REQUEST)
        answer = found.recv(1)
    except TimeoutError:
        return Trouble.FROZEN
    if not answer:
        return Trouble.CLOSED_AT_ONCE
    if answer not in {b"S", b"N", b"E"}:
        return Trouble.ANOTHER_PROGRAM
    if connection.sslmode not in _TLS_WANTED or found.family == socket.AF_UNIX:
        return None
    if answer != b"S":
        return Trouble.NO_TLS if answer == b"N" else None
    return _encrypted(found, connection)


def _another_or_frozen(connection: Connection) -> Trouble:
    """Return why a server is silent: it is stuck, or another program listens, such as an HTTP
    server.
    """
    with _connected(connection) as found:
        try:
            found.sendall(b"OPTIONS * HTTP/1.0\r\n\r\n")
            answer = found.recv(1)
        except OSError:
            return Trouble.FROZEN
    return Trouble.ANOTHER_PROGRAM if answer not in {b"", b"E"} else Trouble.FROZEN


def _encrypted(found: socket.socket, connection: Connection) -> Trouble | None:
    try:
        context = _context(connection)
        with context.wrap_socket(found, server_hostname=connection.host):
            return None
    except ssl.SSLCertVerificationError as error:
        return certificate_trouble(error.verify_code)
    except ssl.SSLError:
        return Trouble.TLS_FAILED


def _context(connection: Connection) -> ssl.SSLContext:
    """Return the TLS context that checks the certificate as `sslmode` requires."""
    context = ssl.create_default_context()
    context.check_hostname = connection.sslmode == "verify-full"
    authority = connection.sslrootcert or Path("~/.postgresql/root.crt").expanduser()
    if connection.sslmode == "require" and not authority.is_file():
        context.verify_mode = ssl.CERT_NONE
    elif os.fspath(authority) != "system" and authority.is_file():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = connection.sslmode == "verify-full"
        context.load_verify_locations(authority)
    return context
