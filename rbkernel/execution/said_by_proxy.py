"""Take the word of the pages' proxy for who a person is, and check later that rbkernel took it.

Nobody signs. The record says so, and bears a code (HMAC-SHA-256) under the secret that only the
proxy and `rbkernel serve` have: so a kernel, which can write the record, cannot add an approval.
The code is over one document, one purpose, one person and one time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from rbkernel.config import Settings
from rbkernel.config.proxy import Proxy
from rbkernel.errors import ActionRefused, ConfigError
from rbkernel.evidence.incident import Approval, instant
from rbkernel.execution import approvers, assertions, document
from rbkernel.execution.approvers import UNSIGNED, Signature

# the most between the click and its line in the record, whose time counts
_WRITTEN_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class Person:
    """A person as the proxy at an address named them."""

    name: str
    address: str

    @property
    def whose(self) -> str:
        """What is known about the person, as the record says it after the name."""
        return f"said by the proxy at {self.address}"

    @property
    def key(self) -> str:
        """What stands in the record in the place of a key's fingerprint."""
        return f"the proxy at {self.address} said {self.name}; not signed"


def proxy_of(settings: Settings) -> Proxy:
    """Return the proxy whose word counts for approvals.

    Raises
    ------
    ActionRefused
        There is none, or its word proves nothing here.
    """
    proxy = settings.pages.proxy
    if proxy is None:
        raise ActionRefused(
            "no proxy says here who a person is",
            where="[pages.proxy]",
            next_step="add [pages.proxy] to rbkernel.toml, and start `rbkernel serve` again",
        )
    origin = assertions.origin(settings.gateway.address)
    if settings.pages.jupyter_url and assertions.origin(settings.pages.jupyter_url) == origin:
        # a script in the output of a notebook could click in the name of whoever looks at it
        raise ActionRefused(
            f"JupyterLab has the same origin as these pages, {origin}, so nobody can approve by the"
            " word of a proxy",
            where="[pages] jupyter_url",
            next_step="give `rbkernel serve` a host name of its own, in [gateway] url",
        )
    return proxy


def must_count(settings: Settings, person: Person, signers: str) -> None:
    """Raise `ActionRefused` if a person, named by the proxy, cannot approve.

    Parameters
    ----------
    settings
        The configuration.
    person
        The person.
    signers
        The text of the file of approvers.
    """
    proxy_of(settings)
    if not approvers.keys_of(person.name, signers):
        raise ActionRefused(
            f"{person.name} has no line without options in the file of approvers, or another name"
            " has the same key",
            where="[actions] approvers",
            next_step="add a line with this name, as the proxy writes it, and the person's public"
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
        Who clicked, as the proxy says.
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
        The person is no approver, or the word of a proxy does not count here.
    ConfigError
        The proxy's secret cannot be fetched.
    """
    must_count(settings, person, signers)
    claim = _claim(person.name, person.key, document.digest(text), purpose, at.isoformat())
    made = f"{claim}{_CODE}{_code(proxy_of(settings), claim)}\n"
    return Signature(by=person.name, key=person.key, text=made, signers=signers)


def refusal(settings: Settings, approval: Approval, text: str, purpose: str, signers: str) -> str:
    """Return why the record does not prove that the proxy named this person; empty if it does."""
    claim, _, code = approval.signature.rstrip("\n").rpartition(_CODE)
    at = claim.rpartition("at: ")[2].strip()
    if claim != _claim(approval.by, approval.key, document.digest(text), purpose, at):
        return "the record of the click says something else"
    if not timedelta(0) <= instant(approval.at) - instant(at) <= _WRITTEN_WITHIN:
        return "the click was at another time than the record says"
    try:
        if not hmac.compare_digest(_code(proxy_of(settings), claim).encode(), code.encode()):
            return "rbkernel did not record this click, or the secret of the proxy changed since"
        if not approvers.keys_of(approval.by, signers):
            return "this person has no line in the file of approvers"
    except (ActionRefused, ConfigError) as error:
        return error.what
    return ""


_CODE = "code: "


def _claim(name: str, key: str, digest: str, purpose: str, at: str) -> str:
    return f"{UNSIGNED}{key}\nperson: {name}\npurpose: {purpose}\ndigest: {digest}\nat: {at}\n"


def _code(proxy: Proxy, claim: str) -> str:
    return hmac.digest(proxy.secret(), claim.encode(), hashlib.sha256).hex()
