"""The file of passkeys: who was invited to register one, and the passkeys of approvers.

Whoever can write this file can approve actions, as with the file of approvers.

Ordering rules: each change is made under a lock, and replaces the file atomically. An invitation
is used up by the change that adds its passkey. A counter is raised before the approval that it
belongs to is recorded, so that a signature that was used once never counts again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from rbkernel.errors import ActionRefused, EvidenceError
from rbkernel.evidence import store

_MODE = 0o600
_WRITABLE_BY_OTHERS = 0o022
_MOST_BYTES = 1024 * 1024


class NotInvited(ActionRefused):
    """Somebody without a valid invitation wants to register a passkey."""


class Passkey(BaseModel):
    """A passkey of an approver.

    ``id`` and ``public_key`` (COSE) are base64url. ``host`` is the host name that the passkey is
    bound to. ``sign_count`` is the counter of its last use; 0 for a passkey that does not count.
    ``ssh_keys`` are the fingerprints of the person's SSH keys when it was registered: somebody who
    has the same name later is another person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    id: str
    public_key: str
    host: str
    sign_count: int
    registered_at: AwareDatetime
    ssh_keys: tuple[str, ...] = ()


class Invitation(BaseModel):
    """An invitation to register one passkey; the file holds only the SHA-256 of its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    until: AwareDatetime
    used_at: AwareDatetime | None = None


class Registry(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passkeys: tuple[Passkey, ...] = ()
    invitations: tuple[Invitation, ...] = ()

    def passkey(self, key: str) -> Passkey:
        """Return the passkey with this id; raise `ActionRefused` if it is not registered."""
        for one in self.passkeys:
            if one.id == key:
                return one
        raise ActionRefused(
            "this passkey is not registered, or was removed",
            next_step="ask an administrator for an invitation (`rbkernel action invite`)",
        )

    def invitation(self, secret: str, now: datetime) -> Invitation:
        """Return the invitation with this secret; raise `NotInvited` if it is not valid."""
        found = next((one for one in self.invitations if one.sha256 == _hashed(secret)), None)
        if found is None:
            raise _not_invited("there is no such invitation")
        if found.used_at:
            raise _not_invited(
                f"this invitation was used at {found.used_at:%H:%M} UTC. If this was not you, tell"
                " an administrator now: somebody else may approve in your name"
            )
        if now >= found.until:
            raise _not_invited("this invitation has expired")
        return found


@dataclass(frozen=True, kw_only=True)
class File:
    """The file on disk, `[actions] passkeys` of the configuration; it may not exist yet."""

    path: Path

    def read(self) -> Registry:
        """Read the file.

        Raises
        ------
        ActionRefused
            It cannot be read, is damaged, or other users can write it or its folder.
        """
        try:
            self._must_be_ours(self.path.parent.stat(), "its folder", "chmod 700 on the folder")
            with self.path.open("rb") as file:
                self._must_be_ours(os.fstat(file.fileno()), "it", "chmod 600 on the file")
                text = file.read(_MOST_BYTES)
            return Registry.model_validate_json(text)
        except FileNotFoundError:
            return Registry()
        except (OSError, ValidationError) as error:
            raise self._refused(
                f"it cannot be read: {error}", "restore it, or move it away and invite again"
            ) from error

    def _must_be_ours(self, found: os.stat_result, what: str, mend: str) -> None:
        if found.st_uid not in (os.geteuid(), 0):
            raise self._refused(
                f"{what} belongs to another user", "use the OS user of `rbkernel serve`"
            )
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise self._refused(f"other users can write {what}", f"run {mend}")

    def invite(self, name: str, lifetime: timedelta, now: datetime) -> str:
        """Add an invitation, and return its secret, which is stored nowhere."""
        secret = secrets.token_urlsafe(32)
        made = Invitation(name=name, sha256=_hashed(secret), until=now + lifetime)

        def add(old: Registry) -> Registry:
            # those that ended long ago are of no use
            recent = (one for one in old.invitations if one.until > now - timedelta(days=30))
            return old.model_copy(update={"invitations": (*recent, made)})

        self._change(add)
        return secret

    def register(self, secret: str, now: datetime, make: Callable[[str], Passkey]) -> Passkey:
        """Use an invitation up, and add the passkey that ``make`` returns for its name.

        Raises
        ------
        ActionRefused
            The invitation is not valid, or the passkey is refused or known: nothing was changed.
        """
        made: list[Passkey] = []

        def add(old: Registry) -> Registry:
            invited = old.invitation(secret, now)
            passkey = make(invited.name)
            if any(one.id == passkey.id for one in old.passkeys):
                raise _not_invited("this passkey is registered already")
            made.append(passkey)
            used = invited.model_copy(update={"used_at": now})
            return Registry(
                passkeys=(*old.passkeys, passkey),
                invitations=tuple(used if one is invited else one for one in old.invitations),
            )

        self._change(add)
        return made[0]

    def use(self, key: str, verify: Callable[[Passkey], int]) -> Passkey:
        """Check a signature with ``verify``, and keep the counter that it returns.

        Raises
        ------
        ActionRefused
            The passkey is not registered, or ``verify`` refuses the signature.
        """

        def count(old: Registry) -> Registry:
            found = old.passkey(key)
            used = found.model_copy(update={"sign_count": verify(found)})
            kept = tuple(used if one is found else one for one in old.passkeys)
            return old.model_copy(update={"passkeys": kept})

        return self._change(count).passkey(key)

    def remove(self, of: str) -> None:
        """Remove the passkeys with this name or id, and the open invitations of the name.

        Raises
        ------
        ActionRefused
            There is none.
        """

        def take(old: Registry) -> Registry:
            kept = tuple(one for one in old.passkeys if of not in (one.name, one.id))
            left = tuple(one for one in old.invitations if one.used_at or one.name != of)
            new = Registry(passkeys=kept, invitations=left)
            if new == old:
                raise ActionRefused(
                    f"there is no passkey and no open invitation of {of!r}",
                    where=str(self.path),
                    next_step="`rbkernel action passkeys` lists them",
                )
            return new

        self._change(take)

    def _change(self, make: Callable[[Registry], Registry]) -> Registry:
        """Replace the content of the file under a lock."""
        try:
            with store.locked(self.path.with_name(f".{self.path.name}.lock")):
                # a file of another owner would be replaced by one that its owner cannot read
                if self.path.exists() and self.path.stat().st_uid != os.geteuid():
                    raise self._refused(
                        "it belongs to another user", "use the OS user of `rbkernel serve`"
                    )
                old = self.read()
                new = make(old)
                if new != old:
                    text = new.model_dump_json(indent=2)
                    store.write_atomically(self.path, f"{text}\n".encode(), mode=_MODE)
                return new
        except (OSError, EvidenceError) as error:
            raise self._refused(
                f"it cannot be written: {error}",
                "name a file in a folder of the OS user of `rbkernel serve`",
            ) from error

    def _refused(self, why: str, next_step: str) -> ActionRefused:
        return ActionRefused(
            f"the file of passkeys is not used: {why}", where=str(self.path), next_step=next_step
        )


def _not_invited(why: str) -> NotInvited:
    return NotInvited(
        f"{why}; no passkey was registered",
        next_step="ask an administrator for a new invitation (`rbkernel action invite`)",
    )


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
