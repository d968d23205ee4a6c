"""Sign seals and check signatures with OpenSSH, in OpenSSH's formats.

`ssh-keygen` is the only program that reads a key. It cannot prompt, so a key with a passphrase
must be in the agent. A signature proves who sealed a run. Only a published seal hash proves that
no run was removed since.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rbkernel.errors import EvidenceError
from rbkernel.evidence import manifest, store, suspect

NAMESPACE = "rbkernel-evidence"
ALLOWED = "allowed_signers"
_LOCK = ".lock"
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Signer:
    """A key that may sign seals.

    ``line`` is the key's line in an `allowed_signers` file, and can be published. ``fingerprint``
    is the key's fingerprint as OpenSSH prints it.
    """

    name: str
    key: Path
    line: str
    fingerprint: str
    is_new: bool = False


def keygen(root: Path, key: Path, allowed: Path, name: str = "") -> Signer:
    """Create a signing key unless it exists, and add the key to the list of trusted signers.

    Parameters
    ----------
    root
        The evidence folder, whose lock is held while the list of signers changes.
    key
        The path of the private key; the public key lies beside it, with ``.pub``.
    allowed
        The list of signers; the key is added to it.
    name
        The name of the signer in signatures; if empty, the user at this host.

    Raises
    ------
    EvidenceError
        `ssh-keygen` is missing or failed, the name cannot be used, a folder cannot be written.
    """
    name = name or re.sub(r"[^A-Za-z0-9._@+-]", "-", f"{getpass.getuser()}@{socket.gethostname()}")
    if not manifest.is_signer(name):
        raise EvidenceError(
            f"{name!r} cannot be the name of a signer",
            next_step="use letters, digits, dots and dashes, such as --name ops@db1.example.org",
        )
    is_new = not key.exists()
    try:
        if is_new:
            key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))
        signer = signer_of(key, is_new=is_new)
        store.make_root(root)
        with store.locked(root / _LOCK):
            _allow(signer, allowed)
    except OSError as error:
        raise store.evidence_error(error, key) from error
    return signer


def signer_of(key: Path, *, is_new: bool = False) -> Signer:
    """Return the signer to whom a key belongs; the name is the comment in the public key.

    Raises
    ------
    EvidenceError
        There is no such key, or its comment is not a valid name.
    """
    public = public_half(key)
    try:
        kind, data, comment = public.read_text(encoding="utf-8").split(maxsplit=2)
    except FileNotFoundError as error:
        raise EvidenceError(
            "there is no signing key",
            where=str(key),
            next_step="`rbkernel evidence keygen` makes one",
        ) from error
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"the file is not a public key with a comment: {error}",
            where=str(public),
            next_step=_MEND,
        ) from error
    name = comment.split()[0]
    if not manifest.is_signer(name):
        raise EvidenceError(
            "the comment of this public key cannot be the name of a signer",
            where=str(public),
            next_step=_MEND,
        )
    fingerprint = _ssh_keygen("-l", "-f", str(public)).decode().split()[1]
    line = f'{name} namespaces="{NAMESPACE}" {kind} {data}'
    return Signer(name=name, key=key, line=line, fingerprint=fingerprint, is_new=is_new)


_MEND = (
    "`ssh-keygen -y -f KEY > KEY.pub` creates it again; then append a space and a name to its line"
)


def public_half(key: Path) -> Path:
    """Return the path of a key's public half: a path ending in `.pub` is that half already."""
    return key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")


def sign(key: Path, data: bytes, namespace: str = NAMESPACE) -> bytes:
    """Return the signature of these bytes, as OpenSSH writes it.

    Raises
    ------
    EvidenceError
        `ssh-keygen` is missing, or cannot use the key.
    """
    return _ssh_keygen("-q", "-Y", "sign", "-n", namespace, "-f", str(key), given=data)


def refusal(signed: Path, signature: Path, signer: str, allowed: Path) -> str:
    """Return why a file's signature is not trusted; an empty text if it is trusted."""
    if not suspect.is_plain(signature):
        return suspect.why_unreadable(signature)
    if not allowed.is_file():
        return f"cannot be checked: there is no {allowed}"
    identity = ("-n", NAMESPACE, "-I", signer, "-f", str(allowed))
    try:
        _ssh_keygen(
            "-q", "-Y", "verify", *identity, "-s", str(signature), given=signed.read_bytes()
        )
    except EvidenceError as error:
        return f"is not valid: {error.what}"
    return ""


def verify(
    data: bytes, signature: Path, signer: str, allowed: Path, *, namespace: str, at: datetime
) -> None:
    """Check that a person signed these bytes with a key that was allowed at a time.

    Raises
    ------
    EvidenceError
        The signature is not valid, or `ssh-keygen` is missing.
    """
    identity = ("-n", namespace, "-I", signer, "-f", str(allowed), *_verify_time(at))
    _ssh_keygen("-q", "-Y", "verify", *identity, "-s", str(signature), given=data)


def names_of(signature: Path, allowed: Path, *, at: datetime) -> list[str]:
    """Return the names, or patterns of names, of those whose key made a signature.

    Raises
    ------
    EvidenceError
        The key belongs to nobody, or `ssh-keygen` is missing.
    """
    files = ("-s", str(signature), "-f", str(allowed))
    found = _ssh_keygen("-Y", "find-principals", *files, *_verify_time(at))
    return found.decode(errors="replace").split()


def _verify_time(at: datetime) -> tuple[str, str]:
    # in UTC, see the environment of `_ssh_keygen`
    return "-O", f"verify-time={at.astimezone(UTC):%Y%m%d%H%M%S}"


def _allow(signer: Signer, allowed: Path) -> None:
    known = allowed.read_text(encoding="utf-8") if allowed.exists() else ""
    if signer.line in known.splitlines():
        return
    text = f"{known.rstrip()}\n{signer.line}\n".lstrip()
    mode = allowed.stat().st_mode & 0o777 if allowed.exists() else None
    store.write_atomically(allowed, text.encode(), mode=mode)


def _ssh_keygen(*arguments: str, given: bytes = b"") -> bytes:
    """Run `ssh-keygen` without a terminal, so that it cannot ask for a passphrase.

    Raises
    ------
    EvidenceError
        `ssh-keygen` is not installed, failed, or did not end in time.
    """
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            input=given,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=True,
            start_new_session=True,  # no terminal, so no prompt
            env={**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C", "TZ": "UTC"},
        )
    except OSError as error:
        raise EvidenceError(
            f"ssh-keygen cannot be run: {error.strerror}",
            next_step="install OpenSSH's client (Debian: openssh-client)",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EvidenceError(
            f"ssh-keygen did not finish within {_PATIENCE_S:.0f} s",
            next_step="check that the agent (SSH_AUTH_SOCK) responds",
        ) from error
    except subprocess.CalledProcessError as error:
        output = error.stderr.decode(errors="replace").strip() or error.stdout.decode().strip()
        raise EvidenceError(
            f"ssh-keygen failed: {output.splitlines()[-1] if output else error.returncode}",
            next_step="try the same by hand: docs/how-to/verify-evidence.md has the commands",
        ) from error
    return done.stdout
