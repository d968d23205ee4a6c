"""Read and write what is recorded about an action, and look at its server again.

A line is written after a check of the record under the lock of the evidence folder, so that nothing
can change between the check and the line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rbkernel.config import Settings
from rbkernel.config.actions import ActionRule
from rbkernel.evidence import incident, store
from rbkernel.evidence.incident import (
    ActionHistory,
    ActionState,
    Answers,
    Approval,
    IncidentRecord,
    IncidentState,
    instant,
)
from rbkernel.execution import (
    approvers,
    boundary,
    kinds,
    named_person,
    passkey_signing,
    policy,
    proposal,
    undo,
)
from rbkernel.execution.configured.place import os_user
from rbkernel.execution.contents import Contents
from rbkernel.execution.document import Preview
from rbkernel.execution.proposal import Proposal, refused
from rbkernel.redact import Redactor

PENDING = frozenset({ActionState.PREVIEWED, ActionState.APPROVED})
AGAIN = "`rbkernel action request PLAN` records a new preview, which must be approved"

Check = Callable[[ActionHistory | None], str]


class Ledger:
    """The actions of an evidence folder, with the connections and the policy of a configuration.

    Parameters
    ----------
    settings
        The configuration.
    redactor
        Removes secrets from the texts of a document.
    read
        Reads the configuration again before a step is recorded; None if it cannot have changed.
    runs_kernels
        Whether this process starts kernels.
    """

    def __init__(
        self,
        settings: Settings,
        redactor: Redactor,
        *,
        read: Callable[[], Settings] | None = None,
        runs_kernels: bool = False,
    ) -> None:
        self.settings = settings
        self.contents = Contents(settings, redactor)
        self._redactor = redactor
        self._read = read or (lambda: settings)
        self._runs_kernels = runs_kernels

    @property
    def root(self) -> Path:
        """The evidence folder."""
        return self.settings.evidence_root

    def find(self, plan: str) -> Proposal:
        """Return the newest proposal of a plan; raise `ActionRefused` if it cannot be executed."""
        found = self.named(plan)
        if why := self.refusal(found):
            raise refused(found, why)
        return found

    def refusal(self, found: Proposal) -> str:
        """Return why a proposal cannot be executed, also by the answers; empty if it may be.

        Raises
        ------
        EvidenceError
            The record of its incident cannot be read.
        """
        if found.undoes:
            return undo.refusal(self.root, found, now()) or self._unsigned(found)
        answers = incident.answers(self.root, found.incident) if found.incident else Answers()
        return proposal.refusal(found, answers)

    def _unsigned(self, found: Proposal) -> str:
        """Return why nobody is known to have approved what an undo undoes; empty if people have.

        Whoever writes into the evidence folder can write that anything was executed. If the policy
        asks nobody for that action, nothing is signed.
        """
        undone, rule = self._undone(found)
        if not rule.approvers:
            return ""
        if not undone.approvals:
            return "nobody has approved what it undoes"
        why = self.unproven(undone, rule, requested=False)
        return f"what it undoes is not proven: {why}" if why else ""

    def waits(self, found: Proposal) -> bool:
        """Return whether a cool-down counts: not for the undo of what people have approved."""
        return not found.undoes or not self._undone(found)[1].approvers

    def _undone(self, found: Proposal) -> tuple[ActionHistory, ActionRule]:
        """Return what an undo undoes, with its rule; one that wants signatures if there is none."""
        history, severity = next(
            (one, record.severity)
            for record in incident.list_incidents(self.root)
            for one in record.actions
            if one.digest == found.undoes
        )
        action = str(history.facts.get("action"))
        rule = self.settings.actions.rule(action, severity)
        return history, rule or ActionRule.model_construct(action=action)

    def named(self, plan: str) -> Proposal:
        """Return the newest proposal of a plan, in the incident that its incident was merged into.

        Raises
        ------
        ActionRefused
            There is no such plan.
        """
        found = proposal.find(self.root, plan, undo.proposals(self.root, plan))
        # what is undone is in the record of the incident in which it was done
        seen = {"", found.incident if found.undoes else ""}
        while found.incident not in seen:
            seen.add(found.incident)
            into = incident.look(self.root, found.incident).merged_into
            found = replace(found, incident=into or found.incident)
        return found

    def recorded(self, found: Proposal) -> ActionHistory | None:
        """Return the newest action that was previewed for a plan, in any incident; None if none.

        A line counts only in the record of the incident that its document names, so that nobody can
        copy an approval into another record.
        """
        histories = [
            one
            for record in incident.list_incidents(self.root)
            for one in record.actions
            if one.plan == found.plan and one.facts.get("incident") in record.parts
        ]
        return max(histories, key=lambda one: instant(one.lines[0].at), default=None)

    def rule(self, found: Proposal) -> ActionRule:
        """Return the rule of the policy for a proposal; raise `ActionRefused` if there is none."""
        severity = incident.look(self.root, found.incident).severity
        rule = self.settings.actions.rule(found.action, severity)
        if rule is None:
            raise refused(
                found,
                policy.no_rule(found.action, severity),
                "add a rule, see docs/how-to/act.md, or copy its text",
            )
        return rule

    def changed_since(
        self, found: Proposal, rule: ActionRule, approved: ActionHistory | None = None
    ) -> str:
        """Return what changed while this step waited or looked at the server; empty if nothing.

        The question of the document that is approved counts, whatever a journal says by now.

        Raises
        ------
        ActionRefused, ConfigError, EvidenceError
            No rule allows the action any more, or the configuration or a record cannot be read.
        """
        fresh = Ledger(self._read(), self._redactor)
        if fresh.rule(found) != rule:
            return "the policy, or the severity of the incident, changed in this moment"
        if why := self.refusal(found) or (self._overruled(approved) if approved else ""):
            return why
        place = kinds.get(found.action).place
        same = place(self.settings, found) == place(fresh.settings, found)
        return "" if same else "its connection changed in this moment"

    def _overruled(self, approved: ActionHistory) -> str:
        """Return why an answer forbids an action, by the document that was approved."""
        asked = proposal.question(approved.facts.get("answers"))
        name = str(approved.facts.get("incident"))
        return proposal.overruled(asked, incident.answers(self.root, name))

    def boundary(self, found: Proposal) -> str:
        """Say what is known about kernels that could act without an approval; see `boundary`."""
        return boundary.known(found, runs_kernels=self._runs_kernels)

    def no_passkeys(self, found: Proposal) -> str:
        """Return why passkeys do not count for an action in this process; empty if they do."""
        is_none = self.boundary(found) == boundary.NONE
        return boundary.ONE_USER if is_none and not self.settings.actions.one_user else ""

    def must_take_passkeys(self, found: Proposal) -> None:
        """Raise `ActionRefused` if passkeys do not count for an action in this process."""
        if why := self.no_passkeys(found):
            raise refused(found, why, boundary.APART)

    def preview(self, found: Proposal, *, rehearsed: bool = False) -> Preview:
        """Resolve the targets of a proposal again, and foretell the effect.

        With ``rehearsed``, for people to see: a dry run is made, if there is one.
        """
        kind = kinds.get(found.action)
        place = kind.place(self.settings, found)
        preview = kind.preview(place, found)
        return kind.rehearse(place, preview) if rehearsed and kind.rehearse else preview

    def void(
        self, found: Proposal, history: ActionHistory, rule: ActionRule, preview: Preview
    ) -> str:
        """Return why a recorded preview is not valid any more; empty if it is."""
        why = self.unproven(history, rule)
        return why or self.contents.differs(found, history.facts, rule, preview, now())

    def unproven(self, history: ActionHistory, rule: ActionRule, *, requested: bool = True) -> str:
        """Return why the document or a signature in the record does not count; empty if all do.

        With ``requested``, the person who asked must have signed, if the policy wants another one.
        Signatures are checked against the present file of approvers, so that a removed approver
        counts no more, but at the time of the signature, because a key may have expired since.
        """
        if not history.is_intact:
            return "its document in the record was altered"
        if not rule.approvers:
            return ""
        signers = approvers.read(self.settings.actions.approvers)

        def by_passkey(one: Approval) -> str:
            return passkey_signing.refusal(self.settings, one, history.digest, signers)

        def by_name(one: Approval, purpose: str) -> str:
            text = approvers.signed_text(history.document, one.break_glass)
            return named_person.refusal(self.settings, one, text, purpose, signers)

        return approvers.unproven(
            history,
            signers,
            requested=requested and not rule.proposer_may_approve,
            identities=rule.identities,
            by_passkey=by_passkey,
            by_name=by_name,
        )

    def append(
        self,
        found: Proposal,
        digest: str,
        state: ActionState,
        check: Check | None = None,
        *,
        by: str = "",
        origin: str = "",
        **fields: Any,
    ) -> ActionHistory:
        """Record a step of an action, if it is allowed at this moment.

        Parameters
        ----------
        found
            The proposal.
        digest
            The digest of the action's document.
        state
            The new state.
        check
            Returns why the step is refused, empty if it is allowed. It gets the newest action of
            the plan, read while the evidence folder is locked. None for an outcome, which is
            always recorded.
        by
            Who takes the step; by default the OS user.
        origin
            Where this person is, if not at the command line.
        **fields
            Further fields of the line.

        Raises
        ------
        ActionRefused
            The step is refused; nothing was recorded.
        """
        home = found.incident if state is ActionState.PREVIEWED else self._home(digest)

        def must_be_allowed(record: IncidentRecord) -> None:
            self._must_be_whole(found, record)
            history = self.recorded(found)
            if history and state is not ActionState.PREVIEWED and history.digest != digest:
                raise refused(found, "a newer preview of it was recorded", AGAIN)
            if check and (why := check(history)):
                raise refused(found, why)

        store.prepare(self.root, group=self.settings.evidence.group_access)
        where = {"origin": origin} if origin else {}
        said = {"plan": found.plan, "title": found.title, "connection": found.connection}
        incident.append(
            *(self.root, home, "action"),
            by=by or os_user(),
            redactor=self._redactor,
            check=must_be_allowed if check else None,
            **{**said, "digest": digest, "state": state, **where, **fields},
        )
        record = incident.look(self.root, home)
        return next(one for one in record.actions if one.digest == digest)

    def _must_be_whole(self, found: Proposal, record: IncidentRecord) -> None:
        """Raise `ActionRefused` if no step may be recorded: a damaged line may be an intent."""
        if record.state is IncidentState.CLOSED:
            raise refused(found, f"the record of {record.id} is closed")
        if record.damaged:
            raise refused(found, f"the record of {record.id} is damaged: {record.damaged[0]}")

    def _home(self, digest: str) -> str:
        """Return the id of the incident in whose record an action is."""
        return next(
            record.id
            for record in incident.list_incidents(self.root)
            for one in record.actions
            if one.digest == digest and one.facts.get("incident") in record.parts
        )

    def executions(self, found: Proposal) -> list[str]:
        """Return when the action of a proposal was executed on its connection, in any incident."""
        records = incident.list_incidents(self.root)
        histories = (one for record in records for one in record.actions)
        return policy.executions(histories, found.action, found.connection)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
