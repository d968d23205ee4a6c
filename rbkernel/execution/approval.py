"""Show an action, ask for its approval, approve it and reject it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rbkernel.config.actions import ActionRule, Identity
from rbkernel.errors import RbkernelError
from rbkernel.evidence import incident
from rbkernel.evidence.incident import ActionHistory, ActionState, IncidentState, instant
from rbkernel.evidence.runs import list_runs
from rbkernel.execution import (
    approvers,
    document,
    named_person,
    passkey_signing,
    policy,
    proposal,
    undo,
)
from rbkernel.execution.approvers import Signature
from rbkernel.execution.document import Preview
from rbkernel.execution.ledger import AGAIN, PENDING, Ledger, now
from rbkernel.execution.named_person import Person
from rbkernel.execution.proposal import Proposal, refused
from rbkernel.model import Origin

# the fewest characters of a digest that say which document was seen
_SHORTEST = 16
# signed to learn whose key it is, and used for nothing else
_WHOSE = "whose key is this?\n"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A proposed action: what it would do now, and what is recorded about it.

    ``rule`` is the rule of the policy; None if no rule allows the action. ``refusal`` says why the
    action cannot be previewed, ``void`` why the recorded preview is not valid any more; both are
    empty if all is well.
    """

    proposal: Proposal
    rule: ActionRule | None
    preview: Preview | None
    recorded: ActionHistory | None
    refusal: str
    void: str


def proposed(ledger: Ledger, only: str = "") -> list[tuple[Proposal, ActionHistory | None]]:
    """Return the proposals of one incident, or of all that are not closed, with their histories."""
    records = {one.id: one for one in incident.list_incidents(ledger.root)}
    closed = {name for name, one in records.items() if one.state is IncidentState.CLOSED}
    # the incident of a run that is not sealed may have no record yet
    known = {only} if only else {one.incident for one in list_runs(ledger.root)} - closed
    found = [
        (one, ledger.recorded(one)) for one in proposal.in_incidents(ledger.root, frozenset(known))
    ]
    undone = ((one, ledger.recorded(one)) for one in undo.proposals(ledger.root, incidents=known))
    return [*found, *((one, history) for one, history in undone if history)]


def show(ledger: Ledger, plan: str) -> Shown:
    """Resolve the targets of a plan again, and compare them with the recorded preview.

    Nothing is recorded. If the server cannot be examined, ``refusal`` says so.

    Raises
    ------
    ActionRefused
        There is no such plan.
    """
    found = ledger.named(plan)
    history = ledger.recorded(found)
    rule, preview, refusal = None, None, ledger.refusal(found)
    try:
        if not refusal:
            rule = ledger.rule(found)
            preview = ledger.preview(found, rehearsed=True)
            refusal = _refusal(preview, rule)
    except RbkernelError as error:
        refusal = error.what
    pending = history is not None and history.state(now()) in PENDING
    return Shown(
        proposal=found,
        rule=rule,
        preview=preview,
        recorded=history,
        refusal=refusal,
        void=ledger.void(found, history, rule, preview)
        if pending and history and rule and preview
        else "",
    )


def request(
    ledger: Ledger,
    plan: str,
    key: Path | None = None,
    *,
    by: str = "",
    person: Person | None = None,
    origin: str = "",
) -> ActionHistory:
    """Record the preview of an action, for people to approve; one that is still valid is kept.

    Parameters
    ----------
    ledger
        The actions.
    plan
        The plan's id, or its beginning.
    key
        The SSH key of the person who asks; needed if the policy wants another person to approve.
    by
        Who asks, if no key says it; by default the OS user.
    person
        Who asks, as somebody else says; it counts where the policy takes this instead of a key.
    origin
        Where the person asks, if not by command.

    Raises
    ------
    ActionRefused
        The policy forbids the action, a target changed, or it is executed already.
    """
    found = ledger.find(plan)
    if origin:
        ledger.must_take_passkeys(found)
    rule = ledger.rule(found)
    is_signed = bool(rule.approvers) and not rule.proposer_may_approve
    said = person if person and person.identity in rule.identities else None
    if is_signed and said:  # the server is asked only for somebody who may ask
        named_person.must_count(ledger.settings, said, _approvers(ledger))
    elif is_signed:
        _needed(found, key)
    preview = ledger.preview(found, rehearsed=True)
    if why := _refusal(preview, rule):
        raise refused(found, why)
    known = ledger.recorded(found)
    if known and known.state(now()) in PENDING and not ledger.void(found, known, rule, preview):
        return known
    at = now()
    sign = _signing(ledger, found, key, said, at) if is_signed else None
    who = sign(_WHOSE) if sign else None
    asked = {"requested_by": who.by, "requested_key": who.key} if who else {}
    text = ledger.contents.document(found, rule, preview, asked, at)

    def check(history: ActionHistory | None) -> str:
        return ledger.changed_since(found, rule) or _not_again(found, history, previous=known)

    return ledger.append(
        *(found, document.digest(text), ActionState.PREVIEWED, check),
        by=who.by if who else by,
        document=text,
        signature=sign(text).text if sign else "",
        signers=who.signers if who else "",
        origin=origin,
    )


def _signing(
    ledger: Ledger, found: Proposal, key: Path | None, said: Person | None, at: datetime
) -> Callable[[str], Signature]:
    """Return what signs the request: the key of the person who asks, or who named them."""
    signers = _approvers(ledger)
    if said:
        return lambda text: named_person.sign(
            ledger.settings, said, text, approvers.REQUEST, signers, at
        )
    return lambda text: approvers.sign(_needed(found, key), text, approvers.REQUEST, signers, at)


def _approvers(ledger: Ledger) -> str:
    return approvers.read(ledger.settings.actions.approvers)


# signs the document of an action, and the reason to break the glass, if any; the second argument
# is the text of the file of approvers
Sign = Callable[[ActionHistory, str], Signature]


def approve(ledger: Ledger, plan: str, seen: str, key: Path, *, reason: str = "") -> ActionHistory:
    """Approve an action with an SSH signature over its document.

    Parameters
    ----------
    ledger
        The actions.
    plan
        The plan's id, or its beginning.
    seen
        The digest that the approver saw, or its beginning, at least 16 characters.
    key
        The private key of the approver.
    reason
        Why this person alone approves what needs more people (break-glass); empty otherwise.

    Raises
    ------
    ActionRefused
        What the approver saw has changed or expired, or this person may not approve it.
    """

    def sign(history: ActionHistory, signers: str) -> Signature:
        text, purpose = _covered(history, reason)
        return approvers.sign(key, text, purpose, signers, now())

    return _approve(ledger, plan, seen, sign, "ssh", reason)


def approve_with_passkey(
    ledger: Ledger, plan: str, seen: str, answer: str, *, reason: str = ""
) -> ActionHistory:
    """Approve an action with what a browser answered about a passkey; see `approve`.

    Raises
    ------
    ActionRefused
        As for `approve`, or the answer is not a signature over this action.
    """
    sign = partial(passkey_signing.sign, ledger.settings, answer, reason=reason)
    return _approve(ledger, plan, seen, sign, "passkey", reason, origin=Origin.PAGE)


def approve_by_name(
    ledger: Ledger, plan: str, seen: str, person: Person, *, reason: str = ""
) -> ActionHistory:
    """Approve an action by a click of a person whom somebody else named; see `approve`.

    Raises
    ------
    ActionRefused
        As for `approve`, or the policy does not take the word of who named the person.
    """

    def sign(history: ActionHistory, signers: str) -> Signature:
        text, purpose = _covered(history, reason)
        return named_person.sign(ledger.settings, person, text, purpose, signers, now())

    return _approve(ledger, plan, seen, sign, person.identity, reason, origin=Origin.PAGE)


def _covered(history: ActionHistory, reason: str) -> tuple[str, str]:
    """Return the text that an approval covers, and its purpose."""
    purpose = approvers.BREAK_GLASS if reason else approvers.APPROVAL
    return approvers.signed_text(history.document, reason), purpose


def _approve(
    ledger: Ledger,
    plan: str,
    seen: str,
    sign: Sign,
    known: Identity,
    reason: str,
    *,
    origin: str = "",
) -> ActionHistory:
    found = ledger.find(plan)
    if origin:
        ledger.must_take_passkeys(found)
    rule, history = ledger.rule(found), pending(ledger, found, seen)
    if (state := history.state(now())) is not ActionState.PREVIEWED:
        raise refused(found, f"it is {state}")
    if why := policy.no_identity(rule, known):
        raise refused(found, why)
    if reason and (
        why := policy.no_break_glass(rule, reason) or ledger.contents.unwritable(reason)
    ):
        raise refused(found, why)
    signed = sign(history, _approvers(ledger))

    def check(latest_: ActionHistory | None) -> str:
        if latest_ is None:
            return "its preview is not recorded"
        return (
            ledger.changed_since(found, rule, history)
            or ledger.unproven(latest_, rule)
            or (
                policy.may_break_glass(latest_, rule, signed.by, signed.key, reason, now())
                if reason
                else policy.may_approve(latest_, rule, signed.by, signed.key, now())
            )
        )

    # the server is asked only for an approver who may approve
    if why := check(history):
        raise refused(found, why)
    if why := ledger.void(found, history, rule, ledger.preview(found)):
        raise refused(found, f"{why}. It is not approved", AGAIN)
    if known in approvers.SAID_BY:  # the preview may have taken long, and the time is recorded
        signed = sign(history, _approvers(ledger))
    broken: dict[str, Any] = {"break_glass": reason} if reason else {}
    return ledger.append(
        *(found, history.digest, ActionState.APPROVED, check),
        by=signed.by,
        key=signed.key,
        signature=signed.text,
        signers=signed.signers,
        origin=origin,
        **broken,
    )


def reject(
    ledger: Ledger, plan: str, why: str, *, seen: str = "", by: str = "", origin: str = ""
) -> ActionHistory:
    """Reject an action that is not executed yet; needs neither a key nor the server.

    With ``seen``, a digest, only the action that the person saw is rejected.

    Raises
    ------
    ActionRefused
        Its preview is not recorded, or it is executed, rejected or expired already.
    """
    found = ledger.named(plan)
    history = ledger.recorded(found)
    if history is None:
        raise refused(found, "its preview is not recorded, so there is nothing to reject")
    if seen:
        history = pending(ledger, found, seen)

    def check(latest_: ActionHistory | None) -> str:
        state = latest_.state(now()) if latest_ else ActionState.PROPOSED
        return "" if state in PENDING else f"it is {state}"

    return ledger.append(
        *(found, history.digest, ActionState.REJECTED, check), by=by, result=why, origin=origin
    )


def pending(ledger: Ledger, found: Proposal, seen: str) -> ActionHistory:
    """Return the action that a person saw, as recorded.

    Raises
    ------
    ActionRefused
        No preview is recorded, or the person saw another one.
    """
    history = ledger.recorded(found)
    if history is None:
        raise refused(found, "its preview is not recorded", AGAIN)
    if len(seen) < _SHORTEST or not history.digest.startswith(seen):
        raise refused(
            found,
            f"the recorded preview has the digest {history.digest[:16]}…, not {seen!r}",
        )
    return history


def _refusal(preview: Preview, rule: ActionRule) -> str:
    return policy.too_much(rule, len(preview.targets), preview.foretold) or preview.refusal


def _not_again(
    found: Proposal, history: ActionHistory | None, previous: ActionHistory | None
) -> str:
    """Return why no new preview may be recorded; empty if it may.

    After a success or a rejection, only a new proposal can be previewed.
    """
    if history is None:
        return ""
    if previous is None or history.digest != previous.digest:
        return "somebody else recorded a preview of it in this moment"
    state = history.state(now())
    if state is ActionState.EXECUTING:
        return f"it is {state}"
    before = instant(str(history.facts.get("previewed_at", "")))
    # a person asks for an undo; the plan of a runbook, which was rejected, must be proposed again
    over = {ActionState.VERIFIED} if found.undoes else {ActionState.VERIFIED, ActionState.REJECTED}
    if state in over and instant(found.at) <= before:
        return f"it is {state}; a runbook must propose it again"
    return ""


def _needed(found: Proposal, key: Path | None) -> Path:
    if key is None:
        raise refused(
            found,
            "the policy wants another person to approve it, so the person who asks must sign",
            f"`rbkernel action request {found.plan} --key KEY`, with your private SSH key",
        )
    return key
