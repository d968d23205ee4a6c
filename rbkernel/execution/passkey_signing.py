"""Register approvers' passkeys by invitation, approve with them, and check such approvals again.

A passkey counts only while its person has a line in the file of approvers, with an SSH key that
this person had when the passkey was registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rbkernel.config import Settings
from rbkernel.errors import ActionRefused
from rbkernel.evidence.incident import ActionHistory, Approval
from rbkernel.execution import approvers, assertions
from rbkernel.execution.approvers import Signature
from rbkernel.execution.assertions import Assertion, RelyingParty
from rbkernel.execution.passkeys import File, Passkey


def file_of(settings: Settings) -> File:
    """Return the file of passkeys; raise `ActionRefused` if none is configured."""
    if settings.actions.passkeys is None:
        raise ActionRefused(
            "no file of passkeys is configured, so nobody can approve on a page",
            where="[actions] passkeys",
            next_step="add passkeys to [actions] of rbkernel.toml (docs/how-to/act.md), or approve"
            " with an SSH key: `rbkernel action approve`",
        )
    return File(path=settings.actions.passkeys)


def party_of(settings: Settings) -> RelyingParty:
    """Return the address that passkeys are bound to.

    Raises
    ------
    ActionRefused
        The address allows no passkeys, or the package for them is not installed.
    """
    assertions.library()
    party = RelyingParty.of(settings.gateway.address)
    if assertions.origin(settings.pages.jupyter_url) == party.origin:
        # a script in the output of a notebook could show one action, and have another one signed
        raise ActionRefused(
            f"JupyterLab has the same origin as these pages, {party.origin}, so passkeys are off",
            where="[pages] jupyter_url",
            next_step="give `rbkernel serve` a host name of its own, in [gateway] url",
        )
    return party


def invite(settings: Settings, name: str, lifetime: timedelta, now: datetime) -> str:
    """Return the secret of an invitation to register one passkey for an approver.

    Raises
    ------
    ActionRefused
        Passkeys are not configured, or the person is no approver.
    """
    file, _ = file_of(settings), party_of(settings)
    _keys_of(name, approvers.read(settings.actions.approvers))
    return file.invite(name, lifetime, now)


def listed(settings: Settings, now: datetime) -> list[dict[str, str]]:
    """Return name, id, key and state of each passkey, then of each invitation that is open."""
    found, signers = file_of(settings).read(), approvers.read(settings.actions.approvers)
    return [
        *(
            {
                "name": one.name,
                "id": one.id,
                "key": assertions.fingerprint(one),
                "state": f"registered {one.registered_at:%Y-%m-%d %H:%M} UTC"
                + (f", does not count: {why}" if (why := _dormant(one, signers)) else ""),
            }
            for one in found.passkeys
        ),
        *(
            {"name": one.name, "id": "", "key": "", "state": f"invited until {one.until:%H:%M} UTC"}
            for one in found.invitations
            if not one.used_at and one.until > now
        ),
    ]


def remove(settings: Settings, of: str) -> None:
    """Remove the passkeys of a person, or one id; see `File.remove`."""
    file_of(settings).remove(of)


def must_be_invited(settings: Settings, secret: str, now: datetime) -> None:
    """Raise `NotInvited` if an invitation is not valid."""
    file_of(settings).read().invitation(secret, now)


def options(settings: Settings, secret: str, now: datetime) -> Mapping[str, Any]:
    """Return what a browser needs to make a passkey; the invitation stays unused.

    Raises
    ------
    ActionRefused
        The invitation is not valid.
    """
    party = party_of(settings)
    invited = file_of(settings).read().invitation(secret, now)
    return assertions.registration_options(invited.name, secret, party)


def register(settings: Settings, secret: str, answer: str, now: datetime) -> Passkey:
    """Register the passkey that a browser made, and use the invitation up.

    Raises
    ------
    ActionRefused
        The invitation or the passkey is refused, or the person is no approver any more.
    """
    party, signers = party_of(settings), approvers.read(settings.actions.approvers)

    def make(name: str) -> Passkey:
        known = sorted(_keys_of(name, signers))
        made = assertions.registered(answer, name, secret, party, now)
        return made.model_copy(update={"ssh_keys": tuple(known)})

    return file_of(settings).register(secret, now, make)


def sign(
    settings: Settings, answer: str, history: ActionHistory, signers: str, reason: str = ""
) -> Signature:
    """Return the approval that a browser sent, checked as everybody else will.

    With a reason, the approval breaks the glass.

    Raises
    ------
    ActionRefused
        It is not a signature over this document by a registered passkey of an approver.
    """
    party, made = party_of(settings), Assertion.of_browser(answer)

    def verify(passkey: Passkey) -> int:
        _must_count(passkey, signers)
        return made.verify(passkey, history.digest, party, passkey.sign_count, reason)

    passkey = file_of(settings).use(made.credential, verify)
    return Signature(
        by=passkey.name,
        key=assertions.fingerprint(passkey),
        text=made.as_recorded(passkey),
        signers=signers,
    )


def refusal(settings: Settings, approval: Approval, digest: str, signers: str) -> str:
    """Return why a recorded signature does not prove the approval; empty if it does.

    The passkey must still be registered, with the same key and name.
    """
    try:
        made = Assertion.of_record(approval.signature)
        passkey = file_of(settings).read().passkey(made.credential)
        _must_count(passkey, signers)
        # the counter was compared when the approval was recorded
        made.verify(passkey, digest, party_of(settings), after=0, reason=approval.break_glass)
        if made.public_key != assertions.pem(passkey):
            return "its public key in the record is not the registered one"
        if made.registered_at != passkey.registered_at.isoformat():
            return "it was registered at another time than the record says"
        if approval.key != assertions.fingerprint(passkey) or approval.by != passkey.name:
            return f"it is not by {approval.by}"
    except ActionRefused as error:
        return error.what
    return ""


def _keys_of(name: str, signers: str) -> frozenset[str]:
    """Return the SSH keys of an approver; raise `ActionRefused` if the person is none."""
    found = approvers.keys_of(name, signers)
    if not found:
        raise ActionRefused(
            f"{name} has no line without options in the file of approvers, or another name has the"
            " same key",
            where="[actions] approvers",
            next_step="add a line with this name and the person's public SSH key",
        )
    return found


def _must_count(passkey: Passkey, signers: str) -> None:
    _keys_of(passkey.name, signers)
    if why := _dormant(passkey, signers):
        raise ActionRefused(
            f"the passkey of {passkey.name} does not count: {why}",
            where="[actions] approvers",
            next_step=f"`rbkernel action passkeys --remove {passkey.name}`, then invite the person"
            " who has this name now",
        )


def _dormant(passkey: Passkey, signers: str) -> str:
    known = approvers.keys_of(passkey.name, signers)
    if not known:
        return "its person has no line in the file of approvers"
    if known.isdisjoint(passkey.ssh_keys):
        return "since it was registered, its person got another SSH key in the file of approvers"
    return ""
