"""Authenticate requests, each with the method of its sender. Pure; works on bytes.

Every comparison takes the same time, whatever is wrong. Comparisons use bytes, because a header may
hold anything. No message repeats a secret, a header or a signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rbkernel.config.gateway import Method, Sender
from rbkernel.errors import Unauthenticated

_DIGITS = re.compile(rb"\d{1,15}", re.ASCII)
Header = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a sender authenticates; the secrets are hidden from `repr`."""

    source: str
    method: Method
    secrets: tuple[bytes, ...] = field(repr=False)
    user: str = ""
    signature_header: str = ""
    timestamp_header: str = ""
    window_s: float = 300.0

    @classmethod
    def of(cls, sender: Sender) -> Proof:
        """Return how a configured sender must authenticate; fetch the secrets for that."""
        return cls(
            source=sender.name,
            method=sender.method,
            secrets=tuple(secret.encode() for secret in sender.secrets()),
            user=sender.user,
            signature_header=sender.signature_header,
            timestamp_header=sender.timestamp_header,
            window_s=sender.window_s,
        )

    @property
    def needs_body(self) -> bool:
        """Whether authentication needs the request's body, because the sender signs the body."""
        return self.method == "hmac"

    def check(self, header: Header, body: bytes, now: float) -> None:
        """Raise an error unless this request proves that the sender sent it.

        Parameters
        ----------
        header
            Returns a header by its name, decoded as Latin-1, or None.
        body
            The body as received; ignored unless `needs_body`.
        now
            Seconds since 1970.

        Raises
        ------
        Unauthenticated
            The proof is missing or wrong. The message says which, and never gives the expected
            value.

        >>> import hashlib, hmac
        >>> proof = Proof(source="pagerduty", method="hmac", secrets=(b"new", b"old"),
        ...               signature_header="X-PagerDuty-Signature")
        >>> signed = "v1=" + "0" * 64 + ",v1=" + hmac.digest(b"old", b"{}", "sha256").hex()
        >>> proof.check({"X-PagerDuty-Signature": signed}.get, b"{}", 0)
        >>> proof.check({"X-PagerDuty-Signature": signed}.get, b"{ }", 0)
        Traceback (most recent call last):
        ...
        rbkernel.errors.Unauthenticated: the signature does not match (pagerduty)...
        """
        match self.method:
            case "bearer":
                self._check_authorization(header, b"bearer", self.secrets)
            case "basic":
                pairs = (f"{self.user}:".encode() + secret for secret in self.secrets)
                self._check_authorization(header, b"basic", map(base64.b64encode, pairs))
            case "hmac":
                self._check_signature(header, body, now)

    def _check_authorization(self, header: Header, scheme: bytes, wanted: Iterable[bytes]) -> None:
        given = _bytes(header("Authorization"))
        if given is None:
            raise self._refusal("there is no header Authorization")
        name, _, credentials = given.strip().partition(b" ")
        if name.lower() != scheme:
            raise self._refusal(f"the header Authorization is not {scheme.decode().capitalize()}")
        credentials = credentials.strip()
        if scheme == b"basic":
            credentials = _canonical(credentials)
        if not _is_one_of(credentials, wanted):
            raise self._refusal("the header Authorization contains a wrong secret")

    def _check_signature(self, header: Header, body: bytes, now: float) -> None:
        given = _bytes(header(self.signature_header))
        if given is None:
            raise self._refusal(f"there is no header {self.signature_header}")
        signed = self._timestamp(header, now) + body
        wanted = [hmac.digest(secret, signed, "sha256").hex().encode() for secret in self.secrets]
        offered = [part.strip() for part in given.split(b",")][:16]
        if self.source == "pagerduty":
            offered = [part[3:] for part in offered if part.startswith(b"v1=")]
        elif len(offered) == 1:
            offered = [offered[0].removeprefix(b"sha256=")]
        else:
            offered = []
        # every signature is compared with every secret, even after a match
        matches = [_is_one_of(signature.lower(), wanted) for signature in offered]
        if not any(matches):
            raise self._refusal("the signature does not match")

    def _timestamp(self, header: Header, now: float) -> bytes:
        """Return the signed bytes that precede the body: the timestamp and a colon, or nothing.

        Raises
        ------
        Unauthenticated
            The timestamp is missing, is no Unix time, or differs too much from ``now``.
        """
        if not self.timestamp_header:
            return b""
        given = _bytes(header(self.timestamp_header))
        if given is None or not _DIGITS.fullmatch(given):
            raise self._refusal(f"there is no Unix time in the header {self.timestamp_header}")
        if abs(now - int(given)) > self.window_s:
            raise self._refusal(
                f"the request was signed more than {self.window_s:g} s ago, or in the future",
                "compare the clocks of sender and gateway",
            )
        return given + b":"

    def _refusal(self, what: str, next_step: str = "") -> Unauthenticated:
        advice = next_step or f"compare the sender's settings with [gateway.senders.{self.source}]"
        return Unauthenticated(what, where=self.source, next_step=advice)


def _bytes(header: str | None) -> bytes | None:
    """Return the received bytes of a header, which was decoded as Latin-1."""
    return None if header is None else header.encode("latin-1", "replace")


def _canonical(credentials: bytes) -> bytes:
    """Return base64 text in canonical form, so that padding and line ends do not matter."""
    try:
        return base64.b64encode(base64.b64decode(credentials, validate=True))
    except (binascii.Error, ValueError):
        return b""


def _is_one_of(given: bytes, wanted: Iterable[bytes]) -> bool:
    """Return whether a value equals any of the secrets; takes constant time."""
    digest = hashlib.sha256(given).digest()
    matches = 0
    for one in wanted:
        matches += hmac.compare_digest(digest, hashlib.sha256(one).digest())
    return matches > 0
