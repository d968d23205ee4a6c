"""Sign the document of an action with an SSH key, and check who signed it.

The signature covers the whole document, so that ``ssh-keygen -Y verify`` alone proves it later.
Requests and approvals have namespaces of their own: a signature of one is never the other. A name
is never taken from the caller: it is the name that the file of approvers gives to the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rbkernel.config.actions import Identity
from rbkernel.config.people import Said
from rbkernel.errors import ActionRefused, EvidenceError
from rbkernel.evidence import manifest, signing
from rbkernel.evidence.incident import ActionHistory, Approval
from rbkernel.execution import assertions

REQUEST, APPROVAL = "rbkernel-action-request", "rbkernel-action-approval"
BREAK_GLASS = "rbkernel-action-break-glass"
# begins what the record keeps in the place of a signature, if somebody else said who it was; then
# who said it
UNSIGNED = "not signed: "
SAID_BY: Mapping[Said, str] = {
    "proxy": "the proxy at",
    "oidc": "the OpenID provider",
    "jupyterhub": "JupyterHub at",
}
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
# the file is copied into the record with each signature
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A checked signature: the signer's name, the key's fingerprint, and the evidence for both."""

    by: str
    key: str
    text: str
    signers: str


def read(approvers: Path | None) -> str:
    """Return the text of the file of approvers.

    Raises
    ------
    ActionRefused
        The file is not configured, cannot be read, or is too long.
    """
    try:
        text = approvers.read_text(encoding="utf-8") if approvers else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ActionRefused(
            f"the file of approvers cannot be read: {error}",
            where=str(approvers),
            next_step="write a line for each approver: name, then public key (see ssh-keygen(1),"
            " ALLOWED SIGNERS)",
        ) from error
    if not text.strip() or len(text.encode()) > _MOST_BYTES:
        raise ActionRefused(
            "the file of approvers is empty" if not text.strip() else "the file is over 64 KiB",
            where=str(approvers or "[actions] approvers"),
            next_step="write a line for each approver: name, then public key",
        )
    return text


def sign(key: Path, document: str, namespace: str, signers: str, at: datetime) -> Signature:
    """Sign a document, and check the signature as everybody else will.

    Parameters
    ----------
    key
        The private key; with ``.pub``, a key in the SSH agent.
    document
        The text to sign.
    namespace
        `REQUEST` or `APPROVAL`.
    signers
        The text of the file of approvers.
    at
        The time of the signature.

    Raises
    ------
    ActionRefused
        The key cannot be used, or is not the key of exactly one approver.
    """
    try:
        text = signing.sign(key, document.encode(), namespace).decode()
    except EvidenceError as error:
        raise ActionRefused(
            f"the key cannot sign: {error.what}",
            where=str(key),
            next_step="name your private key with --key, or its .pub if it is in the SSH agent",
        ) from error
    by = _name_of(text, signers, at)
    if not by:
        raise ActionRefused(
            "this key does not belong to exactly one approver",
            where=str(key),
            next_step="have its public key added to the file [actions] approvers of rbkernel.toml,"
            " on a line with one name",
        )
    if why := refusal(document, namespace, by=by, text=text, signers=signers, at=at):
        raise ActionRefused(
            f"the signature is not accepted: {why}",
            where=str(key),
            next_step="check the line of this key in the file of approvers: namespaces, valid-after"
            " and valid-before",
        )
    return Signature(by=by, key=fingerprint(text), text=text, signers=signers)


def refusal(
    document: str, namespace: str, *, by: str, text: str, signers: str, at: datetime
) -> str:
    """Return why a signature does not prove that this person signed; empty if it does."""
    if _name_of(text, signers, at) != by:
        return f"it is not by {by}"
    with tempfile.TemporaryDirectory() as folder:
        signature, allowed = Path(folder, "sig"), Path(folder, "signers")
        signature.write_text(text, encoding="utf-8")
        allowed.write_text(signers, encoding="utf-8")
        try:
            signing.verify(document.encode(), signature, by, allowed, namespace=namespace, at=at)
        except EvidenceError as error:
            return error.what
    return ""


def purpose_of(approval: Approval) -> str:
    """Return what an approval is for: `APPROVAL` or `BREAK_GLASS`."""
    return BREAK_GLASS if approval.break_glass else APPROVAL


def signed_text(document: str, reason: str) -> str:
    """Return the text that an approval covers: the document, and the reason to break the glass."""
    return f"{document}break-glass: {reason}\n" if reason else document


def identity(signature: str) -> Identity:
    """Return how the person of a recorded approval is known.

    >>> identity("{}"), identity("not signed: x"), identity("-----BEGIN SSH SIGNATURE-----")
    ('passkey', 'proxy', 'ssh')
    >>> identity("not signed: JupyterHub at https://hub.example.org said bob")
    'jupyterhub'
    """
    if assertions.is_recorded(signature):
        return "passkey"
    if not signature.startswith(UNSIGNED):
        return "ssh"
    said = signature.removeprefix(UNSIGNED)
    return next((one for one, words in SAID_BY.items() if said.startswith(words)), "proxy")


def identities(history: ActionHistory) -> frozenset[Identity]:
    """Return how those who asked for an action and approved it are known."""
    signatures = [history.lines[0].text("signature"), *(one.signature for one in history.approvals)]
    return frozenset(map(identity, filter(None, signatures)))


def unproven(
    history: ActionHistory,
    signers: str,
    *,
    requested: bool,
    identities: Collection[Identity],
    by_passkey: Callable[[Approval], str],
    by_name: Callable[[Approval, str], str],
) -> str:
    """Return which approval or request of an action is not valid; empty if all are.

    Parameters
    ----------
    history
        The action, as recorded.
    signers
        The text of the file of approvers.
    requested
        Whether the person who asked must have signed, too.
    identities
        The ways to be known that count.
    by_passkey
        Returns why an approval by a passkey is not valid; empty if it is.
    by_name
        Returns why the word of another is not valid for a purpose; empty if it is.
    """

    def signed(one: Approval, namespace: str) -> str:
        at, text = utc(one.at), signed_text(history.document, one.break_glass)
        why = refusal(text, namespace, by=one.by, text=one.signature, signers=signers, at=at)
        return why or ("" if fingerprint(one.signature) == one.key else "it is by another key")

    for one in history.approvals:
        known = identity(one.signature)
        if known not in identities:
            return f"the approval of {one.by} does not count: the policy takes no {known}"
        if known == "ssh":
            if why := signed(one, purpose_of(one)):
                return f"the signature of {one.by} is not valid: {why}"
        elif why := by_passkey(one) if known == "passkey" else by_name(one, purpose_of(one)):
            return f"the approval of {one.by} is not valid: {why}"
    if not requested:
        return ""
    asked = _request(history)
    known = identity(asked.signature)
    is_said = known in SAID_BY and known in identities
    why = by_name(asked, REQUEST) if is_said else signed(asked, REQUEST)
    who = asked.by or "the person who asked"
    return f"the signature of {who} is not valid: {why}" if why else ""


def _request(history: ActionHistory) -> Approval:
    """Return who asked for the approval, in the form of an approval."""
    first, facts = history.lines[0], history.facts
    return Approval(
        by=str(facts.get("requested_by", "")),
        key=str(facts.get("requested_key", "")),
        at=first.at,
        signature=first.text("signature"),
        signers=first.text("signers"),
    )


def keys_of(name: str, signers: str) -> frozenset[str]:
    """Return the fingerprints of a person's SSH keys; none if only an SSH key of this name counts.

    Lines with options do not count: they limit what an SSH key may sign, and when. Nor does a key
    that has another name, too: two names are two people.

    >>> file = "ann ssh-ed25519 AAAA\\n# ssh-rsa AAAA\\nbob valid-before=2026 ssh-rsa AAAA"
    >>> [len(keys_of(name, file)) for name in ("ann", "#", "bob", "eve")]
    [1, 0, 0, 0]
    """
    lines = (line.split() for line in signers.splitlines() if not line.startswith("#"))
    # the name comes first, then the key: type and base64
    keys = [words for words in lines if len(words) > 2 and words[1].startswith(_KEY_TYPES)]
    of_others = {words[2] for words in keys if words[0] != name}
    found: set[str] = set()
    for words in keys:
        if words[0] == name and manifest.is_signer(name):
            if words[2] in of_others:
                return frozenset()
            with suppress(binascii.Error):
                found.add(_hashed(base64.b64decode(words[2], validate=True)))
    return frozenset(found)


def _name_of(text: str, signers: str, at: datetime) -> str:
    """Return the name that the file of approvers gives to the key of a signature; empty if none."""
    with tempfile.TemporaryDirectory() as folder:
        signature, allowed = Path(folder, "sig"), Path(folder, "signers")
        signature.write_text(text, encoding="utf-8")
        allowed.write_text(signers, encoding="utf-8")
        try:
            names = signing.names_of(signature, allowed, at=at)
        except EvidenceError:
            return ""
    # a pattern or a list of names does not say who signed
    return names[0] if len(names) == 1 and manifest.is_signer(names[0]) else ""


def fingerprint(text: str) -> str:
    """Return the fingerprint of the key in an armored signature, as OpenSSH prints it.

    Raises
    ------
    ActionRefused
        The text is not a signature of OpenSSH.
    """
    try:
        lines = [line for line in text.split("\n") if line and not line.startswith("-----")]
        data = base64.b64decode("".join(lines), validate=True)
        # PROTOCOL.sshsig: the magic, a version of 4 bytes, then the public key with its length
        if data[:6] != b"SSHSIG":
            raise ValueError("no magic")
        key = data[14 : 14 + int.from_bytes(data[10:14])]
    except (ValueError, binascii.Error) as error:
        raise ActionRefused("the text is not a signature of OpenSSH") from error
    return _hashed(key)


def _hashed(key: bytes) -> str:
    hashed = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f"SHA256:{hashed}"


def utc(at: str) -> datetime:
    """Return a time of the record, without fractions of a second, as OpenSSH takes it."""
    return datetime.fromisoformat(at).astimezone(UTC).replace(microsecond=0)
