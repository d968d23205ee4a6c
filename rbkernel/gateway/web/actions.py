"""Actions on a page: what was previewed, who approved it, and the buttons for the next step.

A page shows what is recorded, and asks no database. The configuration is read again for each page
and each step, so that a changed policy counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.errors import ActionRefused, ConfigError, RbkernelError
from rbkernel.evidence.incident import (
    ActionHistory,
    ActionState,
    Approval,
    IncidentRecord,
    instant,
)
from rbkernel.evidence.runs import RunEntry
from rbkernel.execution import assertions, boundary, kinds, passkey_signing, policy
from rbkernel.execution import wording as words
from rbkernel.execution.assertions import Assertion
from rbkernel.execution.ledger import Ledger, now
from rbkernel.execution.proposal import Proposal
from rbkernel.gateway.web.site import Site

_BY_COMMAND = (
    "approve and execute by command (`rbkernel action`), or on a page of `rbkernel serve` with a"
    " link"
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """An action as a page shows it.

    ``step`` is the step that a button takes next: request, approve or execute; empty if the page
    offers none, and then ``advice`` says why, and what to do. ``boundary`` says what an approval is
    worth here. ``rows`` are facts of the preview;
    ``until`` is when the approval, or the execution, will be too late. ``approvals`` are name, key,
    time, and when the passkey was registered.
    """

    plan: str
    title: str
    connection: str
    state: ActionState
    digest: str = ""
    targets: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    approvals: tuple[tuple[str, str, str, str], ...] = ()
    needed: int = 0
    until: str = ""
    document: str = ""
    proposer_may_approve: bool = False
    result: str = ""
    step: str = ""
    advice: str = ""
    boundary: str = ""

    @property
    def challenge(self) -> str:
        """What a passkey signs to approve this action, in base64url."""
        return assertions.url64(assertions.approval_challenge(self.digest))

    @property
    def is_previewed(self) -> bool:
        """Whether the action waits for approvals."""
        return self.state is ActionState.PREVIEWED

    @property
    def is_executing(self) -> bool:
        """Whether the outcome is awaited."""
        return self.state is ActionState.EXECUTING

    @property
    def is_indeterminate(self) -> bool:
        """Whether nobody knows the outcome."""
        return self.state is ActionState.INDETERMINATE

    @property
    def may_preview_again(self) -> bool:
        """Whether the page replaces a preview that is void, with one that nobody must sign."""
        return self.step in {"approve", "execute"} and self.proposer_may_approve

    @property
    def may_reject(self) -> bool:
        """Whether the action is waiting for approvals or for its execution."""
        return self.state in {ActionState.PREVIEWED, ActionState.APPROVED}


@dataclass(frozen=True, kw_only=True)
class Cards:
    """The actions of a page, and the address that passkeys are bound to; empty if none may be."""

    cards: tuple[Card, ...]
    host: str = ""
    origin: str = ""

    @property
    def is_executing(self) -> bool:
        """Whether an outcome is awaited."""
        return any(one.is_executing for one in self.cards)


def cards(site: Site, entries: Sequence[RunEntry], name: str) -> Cards:
    """Return the actions that some runs of an incident proposed, with what is recorded of them."""
    found = {one.plan: one for entry in entries for one in site.cache.proposals(entry)}
    record = site.cache.remaining(name)
    histories = {
        one.plan: one
        for one in sorted(record.actions, key=lambda one: instant(one.lines[0].at))
        if one.facts.get("incident") in record.parts
    }
    if not found:
        return Cards(cards=())
    try:
        ledger, problem = ledger_of(site), "" if site.takes_actions else _BY_COMMAND
    except RbkernelError as error:
        ledger, problem = Ledger(site.settings, site.redactor), str(error)
    host, origin, no_passkey = _party(ledger.settings)
    made = [
        _card(ledger, one, record, histories.get(one.plan), problem, no_passkey)
        for one in found.values()
    ]
    return Cards(cards=tuple(made), host=host, origin=origin)


def settings_of(site: Site) -> Settings:
    """Return the configuration of the pages, with policy and connections as they are now.

    Raises
    ------
    ConfigError
        It cannot be read, or another file was found.
    """
    fresh = config.load()
    if fresh.file != site.settings.file:
        raise ConfigError(
            f"the configuration is now {fresh.file}, not {site.settings.file}",
            where=str(site.settings.file),
            next_step="restore the file, or start `rbkernel serve` again",
        )
    known = {"actions": fresh.actions, "connections": fresh.connections}
    return site.settings.model_copy(update=known)


def ledger_of(site: Site) -> Ledger:
    """Return the actions, with the configuration as it is now; see `settings_of`."""
    read = partial(settings_of, site)
    return Ledger(read(), site.redactor, read=read, runs_kernels=site.settings.queue.kernels > 0)


def _party(settings: Settings) -> tuple[str, str, str]:
    """Return host and origin for passkeys, or why nobody can approve on these pages."""
    try:
        passkey_signing.file_of(settings)
        party = passkey_signing.party_of(settings)
    except ActionRefused as error:
        return "", "", f"{error.what}. Next: {error.next_step}"
    return party.id, party.origin, ""


def _card(
    ledger: Ledger,
    found: Proposal,
    record: IncidentRecord,
    history: ActionHistory | None,
    problem: str,
    no_passkey: str,
) -> Card:
    state = history.state(now()) if history else ActionState.PROPOSED
    step, advice = _step(ledger, found, record, history, state)
    if not problem and (why := ledger.no_passkeys(found)):
        problem = f"{why}. Next: {boundary.APART}"
    if step and problem:
        step, advice = "", problem
    if step == "approve" and no_passkey:
        step, advice = "", no_passkey
    return Card(
        plan=found.plan,
        title=found.title,
        connection=found.connection,
        state=state,
        step=step,
        advice=advice,
        boundary=ledger.boundary(found) if step in {"approve", "execute"} else "",
        **(_recorded(history) if history else {}),
    )


def _step(
    ledger: Ledger,
    found: Proposal,
    record: IncidentRecord,
    history: ActionHistory | None,
    state: ActionState,
) -> tuple[str, str]:
    """Return the next step that the page offers; if it offers none, why, and what to do."""
    if state in {ActionState.EXECUTING, ActionState.VERIFIED, ActionState.REJECTED}:
        return "", ""
    if history and not history.is_intact:
        return "", "its document in the record was altered"
    rule = ledger.settings.actions.rule(found.action, record.severity)
    try:
        why = ledger.refusal(found)
    except RbkernelError as error:
        why = error.what
    if why:
        return "", why
    if rule is None:
        why = policy.no_rule(found.action, record.severity)
        return "", f"{why}. Add a rule (docs/how-to/act.md), or copy the SQL"
    try:
        kind = kinds.get(found.action)
        kind.role(kind.place(ledger.settings, found))
    except RbkernelError as error:
        return "", f"{error.what}. Next: {error.next_step}"
    if not rule.approvers:
        return "", f"it needs no approval, so only `rbkernel action execute {found.plan}` does it"
    if state in {ActionState.PREVIEWED, ActionState.APPROVED} and history:
        try:
            why = ledger.unproven(history, rule)
        except ActionRefused as error:
            why = error.what
        if state is ActionState.PREVIEWED:
            return ("", why) if why else ("approve", "")
        why = why or policy.may_execute(history, rule, now())
        return ("", why) if why else ("execute", "")
    if not rule.proposer_may_approve:
        return "", (
            "the policy wants another person to approve it, so the person who asks signs the"
            f" preview: `rbkernel action request {found.plan} --key KEY`"
        )
    return "request", ""


def _recorded(history: ActionHistory) -> dict[str, Any]:
    """Return what is recorded of an action, as its card shows it."""
    state, until = history.state(now()), ""
    if state is ActionState.PREVIEWED:
        until = history.approve_by.isoformat()
    elif state is ActionState.APPROVED and history.execute_by:
        until = history.execute_by.isoformat()
    said: dict[str, Any] = {
        "digest": history.digest,
        "document": history.document,
        "proposer_may_approve": history.facts.get("proposer_may_approve") is True,
        "until": until,
        "needed": history.needed,
        "approvals": tuple((one.by, one.key, one.at, _since(one)) for one in history.approvals),
        "result": history.result,
    }
    try:
        if history.is_intact:
            return {**said, **_preview(history.facts)}
    except (KeyError, TypeError, ValueError, AttributeError, ActionRefused):
        pass  # somebody else than rbkernel wrote this document
    return {**said, "rows": (("Preview", "cannot be shown: the record was altered"),)}


def _since(approval: Approval) -> str:
    """Return when the passkey of an approval was registered; empty if there is none."""
    if not assertions.is_recorded(approval.signature):
        return ""
    try:
        return Assertion.of_record(approval.signature).registered_at
    except ActionRefused:
        return ""  # `Ledger.unproven` says what is wrong with it


def _preview(facts: Mapping[str, Any]) -> dict[str, Any]:
    kind = kinds.get(str(facts["action"]))
    rows = (
        *(((("Answers", words.answers(facts)),)) if facts.get("answers") else ()),
        ("Effect", str(facts["effect"])),
        *kind.foretold(facts),
        ("Lost", str(facts["loss"])),
        ("Undo", words.undo(facts)),
        ("Risk", str(facts["risk"])),
        ("Server", kind.where(facts["server"])),
        ("Policy", words.policy(facts)),
    )
    return {"targets": tuple(kind.target(one) for one in facts["targets"]), "rows": rows}
