"""Check what a browser answers about a passkey: registrations, and signatures over a digest. Pure.

Only this module imports ``webauthn``. A signature is accepted only if it is over the challenge of
this document, made on the configured address, by a person whom the passkey has verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rbkernel.errors import ActionRefused
from rbkernel.execution.passkeys import Passkey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

# the purpose is part of what is signed; the length needs no padding in base64
_APPROVAL, _REGISTRATION = "rbkernel-action-approval", "rbkernel-passkey-register"
# ES256: phones and security keys have it, and `openssl dgst -sha256 -verify` checks it
BREAK_GLASS = "rbkernel-action-break-glass"
_ALGORITHMS = (-7,)
_LONGEST = 16 * 1024
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RelyingParty:
    """The host name that passkeys are bound to, and the origin of the pages."""

    id: str
    origin: str

    @classmethod
    def of(cls, address: str) -> RelyingParty:
        """Return the relying party of the pages at an address, never of a request's host name.

        Raises
        ------
        ActionRefused
            Browsers do not allow passkeys on this address.

        >>> RelyingParty.of("https://Runbooks.example.org:443/x")
        RelyingParty(id='runbooks.example.org', origin='https://runbooks.example.org')
        >>> RelyingParty.of("http://localhost:8790").origin
        'http://localhost:8790'
        """
        parts = urlsplit(address)
        host = parts.hostname or ""
        if not (parts.scheme == "https" or host == "localhost") or _is_no_name(host):
            raise ActionRefused(
                f"passkeys need https and a host name, or localhost; the pages are at {address}",
                where="[gateway] url",
                next_step='set [gateway] url = "https://NAME" (TLS by rbkernel or a proxy), or to'
                " http://localhost:PORT for one machine; the command line needs neither",
            )
        return cls(id=host, origin=origin(address))


def origin(address: str) -> str:
    """Return the origin of an address, as browsers name it."""
    parts = urlsplit(address)
    is_usual = parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme))
    return f"{parts.scheme}://{parts.hostname}{'' if is_usual else f':{parts.port}'}"


def _is_no_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not host or not host.isascii()
    return True


def approval_challenge(digest: str) -> bytes:
    """Return what a passkey signs to approve the document with this digest.

    >>> approval_challenge("9b1c")
    b'rbkernel-action-approval:9b1c\\n'
    """
    return f"{_APPROVAL}:{digest}\n".encode()


def break_glass_challenge(digest: str, reason: str) -> bytes:
    """Return what a passkey signs to approve alone, for a reason, what needs more people.

    >>> break_glass_challenge("9b1c", "x")[:45]
    b'rbkernel-action-break-glass:9b1c:2d711642b726'
    """
    hashed = hashlib.sha256(reason.encode()).hexdigest()
    return f"{BREAK_GLASS}:{digest}:{hashed}\n".encode()


def registration_challenge(secret: str) -> bytes:
    """Return what a passkey answers to when it is registered with this invitation."""
    return f"{_REGISTRATION}:{hashlib.sha256(secret.encode()).hexdigest()}\n".encode()


def registration_options(name: str, secret: str, party: RelyingParty) -> dict[str, Any]:
    """Return the argument of ``navigator.credentials.create``, with bytes in base64url."""
    user = hashlib.sha256(f"{party.id} {name}".encode()).digest()
    return {
        "challenge": url64(registration_challenge(secret)),
        "rp": {"id": party.id, "name": f"rbkernel at {party.id}"},
        "user": {"id": url64(user), "name": name, "displayName": name},
        "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in _ALGORITHMS],
        "attestation": "none",
        "authenticatorSelection": {"residentKey": "required", "userVerification": "required"},
    }


def registered(answer: str, name: str, secret: str, party: RelyingParty, now: datetime) -> Passkey:
    """Return the passkey in an answer of ``navigator.credentials.create``.

    Raises
    ------
    ActionRefused
        The answer is malformed, is not to this invitation, or comes from another address.
    """
    webauthn = library()
    made = _checked(
        lambda: webauthn.verify_registration_response(
            credential=_loaded(answer),
            expected_challenge=registration_challenge(secret),
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
            supported_pub_key_algs=list(_ALGORITHMS),
        )
    )
    if made.fmt != "none":  # browsers leave out what is not asked for
        raise _not_accepted("it names the model of the device")
    passkey = Passkey(
        name=name,
        id=url64(made.credential_id),
        public_key=url64(made.credential_public_key),
        host=party.id,
        sign_count=made.sign_count,
        registered_at=now,
    )
    fingerprint(passkey)  # refuses a key that is none: nobody has looked at it yet
    return passkey


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """A signature by a passkey, in the terms of WebAuthn; ``credential`` is the passkey's id.

    Only a recorded one has ``public_key`` (PEM) and ``registered_at`` (ISO 8601).
    """

    credential: str
    authenticator_data: bytes
    client_data: bytes
    signature: bytes
    public_key: str = ""
    registered_at: str = ""

    @classmethod
    def of_browser(cls, answer: str) -> Assertion:
        """Read an answer of ``navigator.credentials.get``; raise `ActionRefused` if malformed."""
        return _checked(lambda: cls._of_browser(_loaded(answer)))

    @classmethod
    def _of_browser(cls, said: Any) -> Assertion:
        response = said["response"]
        return cls(
            credential=url64(_bytes(said["rawId"])),
            authenticator_data=_bytes(response["authenticatorData"]),
            client_data=_bytes(response["clientDataJSON"]),
            signature=_bytes(response["signature"]),
        )

    @classmethod
    def of_record(cls, text: str) -> Assertion:
        """Read the text of `as_recorded`; raise `ActionRefused` if malformed."""
        # it also has the public key, and is indented
        said = _checked(lambda: _loaded(text, 2 * _LONGEST))
        names = ("authenticator_data", "client_data", "signature")
        return _checked(
            lambda: cls(
                credential=str(said["credential"]),
                public_key=str(said["public_key"]),
                registered_at=str(said["registered_at"]),
                **{name: base64.b64decode(said[name], validate=True) for name in names},
            )
        )

    def as_recorded(self, passkey: Passkey) -> str:
        """Return the signature and its public key as text, which ``openssl`` alone can check."""
        said = {
            "authenticator_data": _text(self.authenticator_data),
            "client_data": _text(self.client_data),
            "credential": self.credential,
            "public_key": pem(passkey),
            "registered_at": passkey.registered_at.isoformat(),
            "signature": _text(self.signature),
        }
        return f"{json.dumps(said, sort_keys=True, indent=2)}\n"

    def verify(
        self, passkey: Passkey, digest: str, party: RelyingParty, after: int, reason: str = ""
    ) -> int:
        """Check that a passkey approved the document with this digest; return its counter.

        Parameters
        ----------
        passkey
            The registered passkey.
        digest
            The SHA-256 of the document, in hex.
        party
            The address of the pages, as configured.
        after
            The counter of the last use, which must be exceeded; a passkey without counter has 0.
        reason
            Why this person approved alone (break-glass); empty for an approval like any other.

        Raises
        ------
        ActionRefused
            The signature is not accepted.
        """
        webauthn = library()
        alone = break_glass_challenge(digest, reason)
        challenge = alone if reason else approval_challenge(digest)
        if passkey.host != party.id:
            raise _not_accepted(f"the passkey was registered for {passkey.host}, not {party.id}")
        if _checked(lambda: json.loads(self.client_data).get("crossOrigin")):
            raise _not_accepted("it was made in a frame of another site")
        verified = _checked(
            lambda: webauthn.verify_authentication_response(
                credential=self._for_library(),
                expected_challenge=challenge,
                expected_rp_id=party.id,
                expected_origin=party.origin,
                credential_public_key=_bytes(passkey.public_key),
                credential_current_sign_count=after,
                require_user_verification=True,
            )
        )
        if url64(verified.credential_id) != passkey.id:
            raise _not_accepted("it is by another passkey")
        return int(verified.new_sign_count)

    def _for_library(self) -> dict[str, Any]:
        return {
            "id": self.credential,
            "rawId": self.credential,
            "type": "public-key",
            "response": {
                "authenticatorData": url64(self.authenticator_data),
                "clientDataJSON": url64(self.client_data),
                "signature": url64(self.signature),
            },
        }


def is_recorded(text: str) -> bool:
    """Return whether the text of a signature is by a passkey, and not by an SSH key."""
    return text.startswith("{")


def pem(passkey: Passkey) -> str:
    """Return the public key of a passkey as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    made = _public(passkey).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return made.decode()


def fingerprint(passkey: Passkey) -> str:
    """Return the fingerprint of a passkey's public key, as the record names it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _public(passkey).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    hashed = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f"passkey SHA256:{hashed}"


def _public(passkey: Passkey) -> PublicKeyTypes:
    library()
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography

    return _checked(
        lambda: decoded_public_key_to_cryptography(
            decode_credential_public_key(_bytes(passkey.public_key))
        )
    )


def url64(data: bytes) -> str:
    """Return bytes in base64url without padding, as browsers write them."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(f"{text}{'=' * (-len(text) % 4)}", altchars=b"-_", validate=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _loaded(text: str, longest: int = _LONGEST) -> dict[str, Any]:
    if len(text) > longest:
        raise ValueError("it is too long")
    said = json.loads(text)
    if not isinstance(said, dict):
        raise TypeError("it is no object")
    return said


def library() -> Any:
    """Return the package ``webauthn``, imported at the first use: most processes never need it.

    Raises
    ------
    ActionRefused
        It is not installed.
    """
    try:
        import webauthn
    except ImportError as error:
        raise ActionRefused(
            "passkeys need the package webauthn",
            next_step='install rbkernel with its extra: pip install "rbkernel[passkeys]"',
        ) from error
    return webauthn


def _checked(check: Callable[[], T]) -> T:
    """Return what a check of somebody's bytes returns; any error that it raises is a refusal."""
    library()
    from webauthn.helpers.exceptions import WebAuthnException

    # what json, base64 and the parsers of CBOR raise about bytes that are not what they should be
    malformed = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
    try:
        return check()
    except (WebAuthnException, binascii.Error, RecursionError, *malformed) as error:
        raise _not_accepted(str(error) or type(error).__name__) from error


def _not_accepted(why: str) -> ActionRefused:
    return ActionRefused(
        f"the passkey's answer is not accepted: {why}",
        next_step="open the page again at the address in [gateway] url, and try once more",
    )
