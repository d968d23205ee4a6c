"""An authenticator in software: it makes passkeys and signs, and lies if a test wants it to."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from rbkernel.execution import assertions
from rbkernel.execution.assertions import url64

HOST, ORIGIN = "localhost", "http://localhost:8790"
_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One passkey of one person, on one device."""

    host: str = HOST
    origin: str = ORIGIN
    count: int = 0
    counts: bool = True
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    id: bytes = field(default_factory=lambda: secrets.token_bytes(20))

    def register(self, secret: str, **lies: Any) -> str:
        """Answer as ``navigator.credentials.create`` does."""
        numbers = self.key.public_key().public_numbers()
        point = {-2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        cose = cbor2.dumps(
            {1: 2, 3: lies.get("algorithm", -7), -1: 1, **point, **lies.get("key", {})}
        )
        data = self._data(_ATTESTED, lies) + bytes(15) + b"\x01" + len(self.id).to_bytes(2)
        data += self.id + cose
        client = self._client("webauthn.create", assertions.registration_challenge(secret), lies)
        kind, statement = "none", {}
        if lies.get("attested"):
            signed = data + hashlib.sha256(client).digest()
            signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
            kind, statement = "packed", {"alg": -7, "sig": signature}
        attestation = {"fmt": kind, "attStmt": statement, "authData": data}
        return self._answer(
            clientDataJSON=url64(client), attestationObject=url64(cbor2.dumps(attestation))
        )

    def approve(self, digest: str, **lies: Any) -> str:
        """Answer as ``navigator.credentials.get`` does."""
        return self._signed(assertions.approval_challenge(digest), lies)

    def break_glass(self, digest: str, reason: str, **lies: Any) -> str:
        """Answer as ``navigator.credentials.get`` does, to what the page's script asks."""
        return self._signed(assertions.break_glass_challenge(digest, reason), lies)

    def _signed(self, challenge: bytes, lies: dict[str, Any]) -> str:
        self.count += self.counts
        data = self._data(0, lies)
        client = self._client("webauthn.get", challenge, lies)
        signed = data + hashlib.sha256(client).digest()
        signature = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return self._answer(
            clientDataJSON=url64(client), authenticatorData=url64(data), signature=url64(signature)
        )

    def _data(self, flags: int, lies: dict[str, Any]) -> bytes:
        flags |= lies.get("flags", _PRESENT | _VERIFIED)
        host = hashlib.sha256(lies.get("host", self.host).encode()).digest()
        return bytes(host) + bytes([flags]) + int(lies.get("count", self.count)).to_bytes(4)

    def _client(self, kind: str, challenge: bytes, lies: dict[str, Any]) -> bytes:
        said = {
            "type": lies.get("type", kind),
            "challenge": url64(lies.get("challenge", challenge)),
            "origin": lies.get("origin", self.origin),
            "crossOrigin": lies.get("cross_origin", False),
        }
        return json.dumps(said).encode()

    def _answer(self, **response: str) -> str:
        named = url64(self.id)
        return json.dumps({"id": named, "rawId": named, "type": "public-key", "response": response})
