"""Certificates of an authority of the tests' own, and servers that send them."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_LEAD = timedelta(days=30)


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shop, Ltd"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


@dataclass(frozen=True)
class Made:
    """A certificate with its key, and the certificates of those who issued it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuers: tuple[x509.Certificate, ...] = ()

    @cached_property
    def chain(self) -> bytes:
        """The certificate and those of its issuers, except the root's, in PEM."""
        return b"".join(one.public_bytes(_PEM) for one in (self.certificate, *self.issuers[:-1]))

    def write(self, folder: Path, *, chain: bool = True) -> tuple[Path, Path]:
        """Write the certificate (with its chain) and the key, and return both paths."""
        folder.mkdir(exist_ok=True)
        cert, key = folder / "server.crt", folder / "server.key"
        cert.write_bytes(self.chain if chain else self.certificate.public_bytes(_PEM))
        key.touch(mode=0o600)
        plain = serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain))
        return cert, key


def issued(name: str, days: float, by: Made | None = None, *, names: tuple[str, ...] = ()) -> Made:
    """Issue a certificate that ends in some days; one without names is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(by.certificate.subject if by else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(timedelta(), timedelta(days=days)) - _LEAD)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        found = [_general(one) for one in names]
        made = made.add_extension(x509.SubjectAlternativeName(found), critical=False)
    signed = made.sign(by.key if by else key, hashes.SHA256())
    return Made(signed, key, (by.certificate, *by.issuers) if by else ())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Server:
    """A TLS server on loopback that sends the certificate which it has loaded."""

    def __init__(
        self,
        made: Made,
        folder: Path,
        *,
        chain: bool = True,
        at: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.folder, self._chain = folder, chain
        self.file, self._key = made.write(folder, chain=chain)
        self._listening = socket.create_server(at)
        self.address = "{}:{}".format(*self._listening.getsockname())
        self.reload()
        self._thread = threading.Thread(target=self._serve)

    def renew(self, made: Made) -> None:
        """Replace the files, as a renewal does; the server does not read them."""
        made.write(self.folder, chain=self._chain)

    def reload(self) -> None:
        """Read the files again."""
        loaded = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        loaded.load_cert_chain(self.file, self._key)
        self._context = loaded

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            with plain, suppress(OSError):
                self._context.wrap_socket(plain, server_side=True).close()

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Serve while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._listening.close()
