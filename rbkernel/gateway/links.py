"""Signed links to pages: each opens one run, one incident or all pages until it expires.

A link carries ``what~expires~signature``: a run id, an incident id or `EVERYTHING`; the second at
which the link expires; and the HMAC-SHA-256 of both. The server stores nothing, so a link works on
every host that knows the secret, and a new secret invalidates all links.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rbkernel.config import Settings
from rbkernel.errors import ConfigError, EvidenceError, LinkError
from rbkernel.evidence import incident, runs
from rbkernel.model import INCIDENT_ID, RUN_ID

EVERYTHING = "everything"
PARAMETER = "link"
_PURPOSE = b"rbkernel link 1"
_FORM = b"rbkernel form 1"
_TOKEN = re.compile(r"([0-9A-Za-z-]{1,80})~(\d{1,12})~([0-9A-Za-z_-]{43})", re.ASCII)
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a signed link opens, and when the link expires (in seconds since 1970)."""

    what: str
    expires: int

    @property
    def path(self) -> str:
        """The path of the page that the link opens, relative to the console's address.

        >>> Grant(what="INC-1", expires=0).path, Grant(what="everything", expires=0).path
        ('/incidents/INC-1', '')
        """
        if RUN_ID.fullmatch(self.what):
            return f"/runs/{self.what}"
        return f"/incidents/{self.what}" if INCIDENT_ID.fullmatch(self.what) else ""


def sign(what: str, expires: int, secret: bytes) -> str:
    """Return the signed token that opens a run, an incident or all pages until a time.

    >>> sign("INC-1", 1800000000, b"0123456789abcdef")
    'INC-1~1800000000~KhJQ7DDdRWEH-SydrZQ2OKZURqqGdbOX_GljBsbj_6g'
    """
    text = f"{what}~{expires}"
    code = hmac.new(secret, b"\n".join([_PURPOSE, text.encode()]), hashlib.sha256).digest()
    return f"{text}~{base64.urlsafe_b64encode(code).decode().rstrip('=')}"


def read(token: str, secret: bytes, now_s: float) -> Grant:
    """Return what a signed token opens; raise an error if the token is not valid now.

    Raises
    ------
    LinkError
        The token was altered or cut, was signed with another secret, or has expired.

    >>> token = sign("INC-1", 1800000000, b"0123456789abcdef")
    >>> read(token, b"0123456789abcdef", 1799999999.0)
    Grant(what='INC-1', expires=1800000000)
    """
    found = _TOKEN.fullmatch(token)
    if not found:
        raise LinkError("this link is incomplete", next_step=_ASK)
    what, expires = found[1], int(found[2])
    # bytes: `compare_digest` raises an error for text that is not ASCII
    if not hmac.compare_digest(sign(what, expires, secret).encode(), token.encode()):
        raise LinkError("this link was altered, or signed with another secret", next_step=_ASK)
    if expires <= now_s:
        raise LinkError("this link has expired", next_step=_ASK)
    return Grant(what=what, expires=expires)


def form_token(grant: Grant, page: str, secret: bytes) -> str:
    """Return the token that the forms of a page must send back, for what opened the page.

    It stays the same with a newer link to the same, so a page that is open still works. Another web
    site cannot know it: it can read neither the page nor the cookie with the link.

    >>> grant = Grant(what="INC-1", expires=1800000000)
    >>> one = form_token(grant, "INC-1", b"0123456789abcdef")
    >>> one == form_token(grant, "INC-2", b"0123456789abcdef"), len(one)
    (False, 43)
    """
    text = f"{page}~{grant.what}"
    code = hmac.new(secret, b"\n".join([_FORM, text.encode()]), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(code).decode().rstrip("=")


def opens(grants: Iterable[Grant], *wanted: str) -> bool:
    """Return whether one of the grants is for all pages, or for one of these ids.

    ``wanted`` are the ids that open a page: a run's id, and the id of the run's incident.

    >>> grants = [Grant(what="INC-1", expires=0)]
    >>> opens(grants, "20261120T030211Z-3fa9c1", "INC-1"), opens(grants, EVERYTHING), opens([], "")
    (True, False, False)
    """
    held = {grant.what for grant in grants}
    return EVERYTHING in held or any(one in held for one in wanted if one)


_ASK = "ask an operator of rbkernel for a new link: `rbkernel link RUN` prints one"


def link(settings: Settings, what: str, *, hours: float | None = None) -> str:
    """Return the address of a page with a signature that opens it.

    Parameters
    ----------
    settings
        The configuration: the gateway's public address, and the secret.
    what
        A run id, an incident id, or `EVERYTHING` for the console and all below it.
    hours
        How long the link is valid; None for the configured time.

    Raises
    ------
    LinkError
        ``what`` is none of the three.
    ConfigError
        The secret cannot be read.
    """
    if what != EVERYTHING and not (RUN_ID.fullmatch(what) or INCIDENT_ID.fullmatch(what)):
        raise LinkError(
            f"{what!r} is neither a run id nor an incident id",
            next_step="`rbkernel evidence list` shows the ids of runs and incidents; `rbkernel"
            " link` without an id prints a link to all pages",
        )
    lasts_h = settings.pages.link_hours if hours is None else hours
    grant = Grant(what=what, expires=int(time.time() + lasts_h * 3600))
    token = sign(grant.what, grant.expires, secret_of(settings))
    return f"{settings.gateway.address}/rbkernel{grant.path}?{PARAMETER}={token}"


def must_be_there(root: Path, what: str) -> None:
    """Raise an error if the run or incident that a link is to open is unknown.

    Raises
    ------
    EvidenceError
        There is no such incident; or no such run, and no incident expects a run with this id.
    """
    if INCIDENT_ID.fullmatch(what):
        if not (root / what).is_dir():
            incident.read(root, what)
        return
    try:
        runs.find(root, what)
    except EvidenceError:
        known = (run.run_id for one in incident.list_incidents(root) for run in one.runs)
        if what not in known:
            raise


def secret_of(settings: Settings) -> bytes:
    """Return the secret that signs links: the configured secret, else one stored on this machine.

    Raises
    ------
    ConfigError
        The secret cannot be fetched or created, or other users can read its file.
    """
    return settings.pages.link_secret() or _own_secret(secret_file())


def secret_file() -> Path:
    """Return the path of the file, in the user's state folder, with this machine's link secret."""
    return platformdirs.user_state_path("rbkernel") / "link_secret"


def _own_secret(path: Path) -> bytes:
    try:
        if not path.is_file():
            _make_secret(path)
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                "other users can read the secret that signs links",
                where=str(path),
                next_step="delete the file: a new secret is created, old links stop working",
            )
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"the secret that signs links cannot be read: {error}",
            where=str(path),
            next_step="delete the file, or configure another secret in [pages]",
        ) from error


def _make_secret(path: Path) -> None:
    """Write a new link secret to the file, unless another process has just written the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(_SECRET_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
