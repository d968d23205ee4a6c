"""Look at the certificates that a server sends, by a TLS handshake without a login.

A certificate that has expired must be seen, too, so the first handshake verifies nothing, and sends
nothing after it. A second one, with the same address, verifies the chain.
"""

from __future__ import annotations

import _ssl
import re
import socket
import ssl
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from rbkernel.config import Connection
from rbkernel.errors import ParameterError, SourceError
from rbkernel.sources import httpclient
from rbkernel.sources.postgres.connection.reach import SSL_REQUEST
from rbkernel.sources.tls import x509
from rbkernel.sources.tls.x509 import Certificate

_POSTGRES = ("postgres", "postgresql")
_PORTS = {"https": 443, **dict.fromkeys(_POSTGRES, 5432)}
# addresses of one host that are looked at
_MOST_ADDRESSES = 8
# s to wait beyond the time-out, while the sockets are closed
_GRACE_S = 1.0
# bytes of a file of certificates; a chain has a few kB
_LARGEST_FILE = 1_000_000
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
# X509_V_ERR_…, as `openssl verify` documents them: no way to an authority that is known here
_NO_AUTHORITY = {18, 19, 20, 21}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to look; ``name`` is the host that the certificate must be for.

    ``authorities`` is a file of certificate authorities, in place of those of this host.
    """

    host: str
    port: int
    name: str
    postgres: bool = False
    authorities: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Served:
    """The certificate that one address of a server sent, then those of its issuers.

    If it is ``trusted``, the issuers are those that clients find, up to the authority. Else they
    are those that the server sent; None means that no authority is known here that has issued
    them, or that nobody could verify it. ``problem`` says why. ``at`` is the place, with the
    address if the host has several.
    """

    at: str
    chain: tuple[Certificate, ...]
    trusted: bool | None
    problem: str = ""


def place(address: str, *, name: str = "", authorities: Path | None = None) -> Place:
    """Return the place of an address: ``host:port``, or a URL with https or postgresql.

    Raises
    ------
    ParameterError
        The address has no host or no port.

    >>> str(place("shop.example:8443")), str(place("https://shop.example/health"))
    ('shop.example:8443', 'shop.example:443')
    >>> str(place("postgresql://db.example"))
    'db.example:5432'
    """
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = None, 0
    if not host or not port:
        raise ParameterError(
            f"{address!r} is no address", next_step="write host:port, such as shop.example:443"
        )
    return Place(
        host=host,
        port=port,
        name=name or host,
        postgres=parts.scheme in _POSTGRES,
        authorities=authorities,
    )


def of_connection(connection: Connection) -> Place:
    """Return the place of a PostgreSQL server, as its connection names it.

    Raises
    ------
    SourceError
        It has no host, several, or a socket of this machine, which has no TLS.
    """
    host = connection.host or ""
    if not host or host[0] in "/@" or "," in host:
        raise SourceError(
            f"the connection {connection.name} does not name one host with TLS",
            next_step="give the address as host:port",
        )
    return Place(
        host=host,
        port=connection.port,
        name=host,
        postgres=True,
        authorities=connection.sslrootcert,
    )


def look(asked: Place, timeout_s: float) -> tuple[Served, ...]:
    """Look at the certificates of a server, one for each of its addresses that answers.

    A name look-up cannot be interrupted, so the handshakes run in a thread.

    Raises
    ------
    SourceError
        The server did not answer, or not with TLS.
    """
    found: Future[tuple[Served, ...]] = Future()

    def ask() -> None:
        try:
            found.set_result(_looked(asked, timeout_s))
        except BaseException as error:  # noqa: BLE001  # raised again where the answer is awaited
            found.set_exception(error)

    threading.Thread(target=ask, name="rbkernel-tls", daemon=True).start()
    try:
        return found.result(2 * timeout_s + _GRACE_S)
    except (OSError, UnicodeError, ValueError) as error:
        raise SourceError(
            f"{asked} sends no certificate: {httpclient.reason(error, timeout_s)}",
            next_step="see on its host whether the service runs, and whether this port has TLS",
        ) from error


def _looked(asked: Place, timeout_s: float) -> tuple[Served, ...]:
    known = socket.getaddrinfo(asked.host, asked.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in known))[:_MOST_ADDRESSES]
    found: list[Served] = []
    error: Exception | None = None
    for address in addresses:
        at = str(asked) if len(addresses) == 1 else f"{asked} ({address})"
        try:
            found.append(_served(asked, address, at, timeout_s))
        except (OSError, UnicodeError, ValueError) as failed:
            error = error or failed
    if not found and error:
        raise error
    return (replace(found[0], at=str(asked)),) if len(found) == 1 else tuple(found)


def _served(asked: Place, address: str, at: str, timeout_s: float) -> Served:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    with _handshake(asked, address, unverified, timeout_s) as tls:
        sent = tuple(map(x509.read, _chain(tls, "get_unverified_chain")))
    try:
        verifying = ssl.create_default_context(cafile=asked.authorities)
        verifying.check_hostname = False  # the names are compared by themselves
        with _handshake(asked, address, verifying, timeout_s) as tls:
            chain = tuple(map(x509.read, _chain(tls, "get_verified_chain")))
    except ssl.SSLCertVerificationError as error:
        elsewhere = error.verify_code in _NO_AUTHORITY and asked.authorities is None
        trusted = None if elsewhere else False
        return Served(at=at, chain=sent, trusted=trusted, problem=error.verify_message)
    except (OSError, ValueError) as error:
        why = f"it could not be verified: {httpclient.reason(error, timeout_s)}"
        return Served(at=at, chain=sent, trusted=None, problem=why)
    return Served(at=at, chain=chain, trusted=True)


def _handshake(
    asked: Place, address: str, context: ssl.SSLContext, timeout_s: float
) -> ssl.SSLSocket:
    plain = socket.create_connection((address, asked.port), timeout_s)
    try:
        if asked.postgres:
            plain.sendall(SSL_REQUEST)
            answer = plain.recv(1)
            if answer == b"N":
                raise ValueError("the server has TLS switched off (ssl = off)")
            if answer != b"S":
                raise ValueError("the server does not answer as PostgreSQL does")
        return context.wrap_socket(plain, server_hostname=asked.name)
    except BaseException:
        plain.close()
        raise


def _chain(tls: ssl.SSLSocket, which: str) -> list[bytes]:
    """Return the certificates that a server sent, or that were verified, in DER."""
    public = getattr(tls, which, None)
    if public is not None:  # since Python 3.13
        return list(public())
    inner = getattr(tls._sslobj, which)()  # type: ignore[attr-defined]  # not public before
    return [one.public_bytes(_ssl.ENCODING_DER) for one in inner]


def on_disk(file: Path) -> list[Certificate]:
    """Read the certificates of a file in PEM; a key in it is left alone.

    Raises
    ------
    SourceError
        The file cannot be read, or has no certificate.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE)
        found = [
            x509.read(ssl.PEM_cert_to_DER_cert(one[0].decode())) for one in _PEM.finditer(text)
        ]
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{file} cannot be read as certificates: {getattr(error, 'strerror', None) or error}",
            next_step="copy the file of the certificate (not that of its key) to this host",
        ) from error
    if not found:
        raise SourceError(
            f"{file} has no certificate", next_step="give the file of the certificate, in PEM"
        )
    return found
