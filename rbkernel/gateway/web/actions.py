"""Actions on a page: what was previewed, who approved it, and the buttons for the next step.

A page shows what is recorded, and asks no database. The configuration is read again for each page
and each step, so that a changed policy counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rbkernel import config
from rbkernel.config import Settings
from rbkernel.config.actions import ActionRule
from rbkernel.errors import ActionRefused, ConfigError, RbkernelError
from rbkernel.evidence.incident import (
    ActionHistory,
    ActionState,
    Approval,
    IncidentRecord,
    instant,
)
from rbkernel.evidence.runs import RunEntry
from rbkernel.execution import (
    approvers,
    assertions,
    boundary,
    kinds,
    named_person,
    passkey_signing,
    policy,
    undo,
)
from rbkernel.execution import wording as words
from rbkernel.execution.assertions import Assertion
from rbkernel.execution.ledger import Ledger, now
from rbkernel.execution.named_person import Person
from rbkernel.execution.proposal import Proposal
from rbkernel.gateway.web.site import Site

_OVER = frozenset({ActionState.EXECUTING, ActionState.VERIFIED, ActionState.UNDONE})
# long enough for the policy: a person types the reason later
_A_REASON = "a reason that a person types"
_BY_COMMAND = (
    "approve and execute by command (`rbkernel action`), or on a page of `rbkernel serve` with a"
    " link"
)


@dataclass(frozen=True, kw_only=True)
class Card:
    """An action as a page shows it.

    ``step`` is the step that a button takes next: request, approve or execute; empty if the page
    offers none, and then ``advice`` says why, and what to do. ``by_passkey`` says whether a passkey
    may approve it here, and ``by_name`` is the name in which a click does; ``is_named`` says
    whether this person is known by name, and the rule takes that. ``breaks_glass`` says whether one
    person may approve alone, by a click as ``alone_by_name``, and ``broken_glass`` who did, and
    why. ``boundary`` says what an approval is worth here. ``undo`` is the plan with which a button
    undoes the action, empty if none does; ``undo_advice`` then says why. ``rows`` are facts of the
    preview; ``until`` is when the approval, or the execution, will be too late. ``approvals`` are
    name, key, time, and when the passkey was registered.
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
    breaks_glass: bool = False
    broken_glass: str = ""
    by_passkey: bool = False
    by_name: str = ""
    alone_by_name: str = ""
    is_named: bool = False
    boundary: str = ""
    undo: str = ""
    undo_advice: str = ""

    @property
    def challenge(self) -> str:
        """What a passkey signs to approve this action, in base64url."""
        return assertions.url64(assertions.approval_challenge(self.digest))

    @property
    def glass(self) -> str:
        """The beginning of what a passkey signs to break the glass; the reason's hash follows."""
        return f"{assertions.BREAK_GLASS}:{self.digest}:"

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
        asks = self.proposer_may_approve or self.is_named
        return self.step in {"approve", "execute"} and asks

    @property
    def may_reject(self) -> bool:
        """Whether the action is waiting for approvals or for its execution."""
        return self.state in {ActionState.PREVIEWED, ActionState.APPROVED}


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The ways to approve on a page: why there are none by passkey, or in the name of the person.

    ``naming`` is the identity of people who do not sign; empty if nobody has a name here.
    """

    person: Person | None
    naming: str
    no_passkey: str
    no_name: str

    def refused(self, rule: ActionRule) -> dict[str, str]:
        """Return why each way that a rule takes is not open here; an empty text if it is."""
        known = (("passkey", self.no_passkey), (self.naming, self.no_name))
        taken: dict[str, str] = {n: why for n, why in known if n in rule.identities}
        return taken or {"ssh": "the policy takes SSH keys only: `rbkernel action approve`"}


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


def cards(
    site: Site, entries: Sequence[RunEntry], name: str, person: Person | None = None
) -> Cards:
    """Return the actions that some runs of an incident proposed, with what is recorded of them.

    ``person`` is who looks at the page; None if nobody has said who it is.
    """
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
    naming, no_name = _no_name(ledger.settings, person)
    ways = Ways(person=person, naming=naming, no_passkey=no_passkey, no_name=no_name)
    made = []
    for one in found.values():
        history = histories.get(one.plan)
        inverse = next(undo.of(ledger.root, record, history), None) if history else None
        undone = histories.get(inverse.plan) if inverse else None
        card = _card(ledger, one, record, history, problem, ways)
        made.append(
            _undoable(card, ledger, inverse, record, problem, ways)
            if inverse and not undone
            else card
        )
        if inverse and undone:
            made.append(_card(ledger, inverse, record, undone, problem, ways))
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


def _no_name(settings: Settings, person: Person | None) -> tuple[str, str]:
    """Return how people are named here, and why this person cannot approve by that name."""
    naming = settings.pages.naming
    if naming is None:
        return "", "nobody has a name here"
    if person is None:
        return naming.identity, (
            "nobody is signed in: sign in at the top of the page"
            if settings.pages.signin
            else "the proxy names nobody: open the page at its address, and log in"
        )
    try:
        named_person.must_count(settings, person, approvers.read(settings.actions.approvers))
    except ActionRefused as error:
        return naming.identity, f"{error.what}. Next: {error.next_step}"
    return naming.identity, ""


def _card(
    ledger: Ledger,
    found: Proposal,
    record: IncidentRecord,
    history: ActionHistory | None,
    problem: str,
    ways: Ways,
) -> Card:
    state = history.state(now()) if history else ActionState.PROPOSED
    step, advice = _step(ledger, found, record, history, state, ways)
    rule = ledger.settings.actions.rule(found.action, record.severity)
    refused = ways.refused(rule) if rule else {}
    if not problem and (why := ledger.no_passkeys(found)):
        problem = f"{why}. Next: {boundary.APART}"
    if step and problem:
        step, advice = "", problem
    if step == "approve" and refused and all(refused.values()):
        step, advice = "", "; ".join(refused.values())
    is_named = refused.get(ways.naming) == ""
    by_name = alone = ""
    if step == "approve" and is_named and ways.person and rule and history:
        by_name, alone, advice = _in_name_of(ways.person, history, rule)
    by_passkey = refused.get("passkey") == ""
    glass = step == "approve" and rule and rule.break_glass
    before = {"targets": (found.command,)} if found.command else {}
    return Card(
        plan=found.plan,
        title=found.title,
        connection=found.connection,
        state=state,
        step=step,
        advice=advice,
        breaks_glass=bool(glass and (by_passkey or alone)),
        by_passkey=by_passkey,
        is_named=is_named,
        by_name=by_name,
        alone_by_name=alone,
        boundary=ledger.boundary(found) if step in {"approve", "execute"} else "",
        **(_recorded(history) if history else before),
    )


def _in_name_of(person: Person, history: ActionHistory, rule: ActionRule) -> tuple[str, str, str]:
    """Return in which name a click approves, usually and alone; and why it does not."""
    known, at = (history, rule, person.name, person.key), now()
    why = policy.may_approve(*known, at)
    alone = rule.break_glass and not policy.may_break_glass(*known, _A_REASON, at)
    return "" if why else person.name, person.name if alone else "", why


def _undoable(
    card: Card,
    ledger: Ledger,
    inverse: Proposal,
    record: IncidentRecord,
    problem: str,
    ways: Ways,
) -> Card:
    """Return the card of a verified action, whose undo nobody asked for yet."""
    step, advice = _by_policy(ledger, inverse, record, None, ActionState.PROPOSED, ways)
    advice = problem or ledger.no_passkeys(inverse) or advice
    return replace(card, undo="" if advice or not step else inverse.plan, undo_advice=advice)


def _step(
    ledger: Ledger,
    found: Proposal,
    record: IncidentRecord,
    history: ActionHistory | None,
    state: ActionState,
    ways: Ways,
) -> tuple[str, str]:
    """Return the next step that the page offers; if it offers none, why, and what to do."""
    if state in _OVER or (state is ActionState.REJECTED and not found.undoes):
        return "", ""
    if history and not history.is_intact:
        return "", "its document in the record was altered"
    try:
        why = ledger.refusal(found)
    except RbkernelError as error:
        why = error.what
    return ("", why) if why else _by_policy(ledger, found, record, history, state, ways)


def _by_policy(
    ledger: Ledger,
    found: Proposal,
    record: IncidentRecord,
    history: ActionHistory | None,
    state: ActionState,
    ways: Ways,
) -> tuple[str, str]:
    """Return the next step that the policy allows on a page; if none, why, and what to do."""
    rule = ledger.settings.actions.rule(found.action, record.severity)
    if rule is None:
        why = policy.no_rule(found.action, record.severity)
        return "", f"{why}. Add a rule (docs/how-to/act.md), or copy its text"
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
    by_name = ways.refused(rule).get(ways.naming)
    if not rule.proposer_may_approve and by_name != "":
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
        "broken_glass": words.broken_glass(history),
    }
    try:
        if history.is_intact:
            return {**said, **_preview(history)}
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


def _preview(history: ActionHistory) -> dict[str, Any]:
    facts = history.facts
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
        ("Output", "\n".join(history.output)),
    )
    return {"targets": tuple(kind.target(one) for one in facts["targets"]), "rows": rows}
