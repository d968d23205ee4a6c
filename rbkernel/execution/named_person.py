"""Take the word of another for who a person on a page is, and check later that rbkernel took it.

A proxy names the person, or the provider at which they signed in. Nobody signs. The record says so,
and bears a code (HMAC-SHA-256) under the secret that only this proxy, or provider, and `rbkernel
serve` have: so a kernel, which can write the record, cannot add an approval.
The code is over one document, one purpose, one person and one time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from rbkernel.config import Settings
from rbkernel.config.people import NamesPeople, Said
from rbkernel.errors import ActionRefused, ConfigError
from rbkernel.evidence.incident import Approval, instant
from rbkernel.execution import approvers, assertions, document
from rbkernel.execution.approvers import SAID_BY, UNSIGNED, Signature

# the most between the click and its line in the record, whose time counts; a clock that is set
# right between the two may go back
_WRITTEN_WITHIN, _BACK = timedelta(minutes=2), timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person, who named them, and at which address this proxy or provider is."""

    name: str
    address: str
    identity: Said = "proxy"

    @property
    def said_by(self) -> str:
        """Who named the person.

        >>> Person(name="bob", address="10.0.0.5").said_by
        'the proxy at 10.0.0.5'
        """
        return f"{SAID_BY[self.identity]} {self.address}"

    @property
    def whose(self) -> str:
        """What is known about the person, as the record says it after the name."""
        return f"said by {self.said_by}"

    @property
    def key(self) -> str:
        """What stands in the record in the place of a key's fingerprint."""
        return f"{self.said_by} said {self.name}; not signed"


def naming_of(settings: Settings) -> NamesPeople:
    """Return the proxy, or the provider, whose word counts for approvals.

    Raises
    ------
    ActionRefused
        There is none, or its word proves nothing here.
    """
    naming = settings.pages.naming
    if naming is None:
        raise ActionRefused(
            "nothing says here who a person is",
            where="[pages]",
            next_step="add [pages.oidc], [pages.jupyterhub] or [pages.proxy] to rbkernel.toml, and"
            " start `rbkernel serve` again",
        )
    here, jupyter = settings.gateway.address, settings.pages.jupyter_url
    if jupyter and urlsplit(jupyter).hostname == urlsplit(here).hostname:
        # a script in the output of a notebook could click in the name of whoever looks at it, and
        # at another port, its server gets the cookies with which it can click, too
        same = assertions.origin(jupyter) == assertions.origin(here)
        raise ActionRefused(
            f"JupyterLab has the same {'origin' if same else 'host name'} as these pages, {here},"
            " so nobody can approve by a click",
            where="[pages] jupyter_url",
            next_step="give `rbkernel serve` a host name of its own, in [gateway] url",
        )
    return naming


def must_count(settings: Settings, person: Person, signers: str) -> None:
    """Raise `ActionRefused` if a person, who was named, cannot approve.

    Parameters
    ----------
    settings
        The configuration.
    person
        The person.
    signers
        The text of the file of approvers.
    """
    naming_of(settings)
    if not approvers.keys_of(person.name, signers):
        raise ActionRefused(
            f"{person.name} has no line without options in the file of approvers, or another name"
            " has the same key",
            where="[actions] approvers",
            next_step="add a line with this name, as it is written here, and the person's public"
            " SSH key",
        )


def sign(
    settings: Settings, person: Person, text: str, purpose: str, signers: str, at: datetime
) -> Signature:
    """Return what the record keeps of a click, in the place of a signature.

    Parameters
    ----------
    settings
        The configuration.
    person
        Who clicked.
    text
        The document that the person saw.
    purpose
        `approvers.REQUEST`, `approvers.APPROVAL` or `approvers.BREAK_GLASS`.
    signers
        The text of the file of approvers.
    at
        The time of the click.

    Raises
    ------
    ActionRefused
        The person is no approver, or nobody's word counts here.
    ConfigError
        The secret cannot be fetched.
    """
    must_count(settings, person, signers)
    claim = _claim(person.name, person.key, document.digest(text), purpose, at.isoformat())
    made = f"{claim}{_CODE}{_code(naming_of(settings), claim)}\n"
    return Signature(by=person.name, key=person.key, text=made, signers=signers)


def refusal(settings: Settings, approval: Approval, text: str, purpose: str, signers: str) -> str:
    """Return why the record does not prove that this person was named; empty if it does."""
    claim, _, code = approval.signature.rstrip("\n").rpartition(_CODE)
    at = claim.rpartition("at: ")[2].strip()
    if claim != _claim(approval.by, approval.key, document.digest(text), purpose, at):
        return "the record of the click says something else"
    if not -_BACK <= instant(approval.at) - instant(at) <= _WRITTEN_WITHIN:
        return "the click was at another time than the record says"
    try:
        if not hmac.compare_digest(_code(naming_of(settings), claim).encode(), code.encode()):
            return "rbkernel did not record this click, or its secret changed since"
        if not approvers.keys_of(approval.by, signers):
            return "this person has no line in the file of approvers"
    except (ActionRefused, ConfigError) as error:
        return error.what
    return ""


_CODE = "code: "


def _claim(name: str, key: str, digest: str, purpose: str, at: str) -> str:
    return f"{UNSIGNED}{key}\nperson: {name}\npurpose: {purpose}\ndigest: {digest}\nat: {at}\n"


def _code(naming: NamesPeople, claim: str) -> str:
    return hmac.digest(naming.secret(), claim.encode(), hashlib.sha256).hex()
