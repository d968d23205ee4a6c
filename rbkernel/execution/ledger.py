"""Read and write what is recorded about an action, and look at its server again.

A line is written after a check of the record under the lock of the evidence folder, so that nothing
can change between the check and the line.
"""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rbkernel.config import Settings
from rbkernel.config.actions import ActionRule
from rbkernel.errors import ActionRefused
from rbkernel.evidence import incident, store
from rbkernel.evidence.incident import ActionHistory, ActionState, IncidentRecord, IncidentState
from rbkernel.evidence.incident.actions import latest
from rbkernel.execution import document, kinds, policy, proposal, server
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.proposal import Proposal
from rbkernel.redact import Redactor
from rbkernel.sources.postgres.connection.session import Session

PENDING = frozenset({ActionState.PREVIEWED, ActionState.APPROVED})
RUNNING = frozenset({ActionState.EXECUTING, ActionState.UNDOING})
AGAIN = "`rbkernel action request PLAN` records a new preview, which must be approved"
# texts of applications and people; everything else identifies a target exactly
_FREE_TEXT = frozenset({"application", "username", "database", "client", "query", "relation"})
_PROPOSED = ("plan", "title", "action", "arguments", "connection", "sql", "risk")

Check = Callable[[ActionHistory | None], str]


class Ledger:
    """The actions of an evidence folder, with the connections and the policy of a configuration.

    Parameters
    ----------
    settings
        The configuration.
    redactor
        Removes secrets from the texts of a document.
    """

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self.settings = settings
        self._redactor = redactor

    @property
    def root(self) -> Path:
        """The evidence folder."""
        return self.settings.evidence_root

    def find(self, plan: str) -> Proposal:
        """Return the newest proposal of a plan; raise `ActionRefused` if it cannot be executed."""
        found = self.named(plan)
        if why := proposal.refusal(found):
            raise refused(found, why)
        return found

    def named(self, plan: str) -> Proposal:
        """Return the newest proposal of a plan, in the incident that its incident was merged into.

        Raises
        ------
        ActionRefused
            There is no such plan.
        """
        found = proposal.find(self.root, plan)
        into = incident.look(self.root, found.incident).merged_into if found.incident else ""
        return replace(found, incident=into) if into else found

    def recorded(self, found: Proposal) -> ActionHistory | None:
        """Return the newest action that was previewed for a proposal; None if there is none."""
        return latest(incident.look(self.root, found.incident).actions, found.plan)

    def rule(self, found: Proposal) -> ActionRule:
        """Return the rule of the policy for a proposal; raise `ActionRefused` if there is none."""
        severity = incident.look(self.root, found.incident).severity
        rule = self.settings.actions.rule(found.action, severity)
        if rule is None:
            raise refused(
                found,
                policy.no_rule(found.action, severity),
                "add a rule, see docs/how-to/act.md, or copy the SQL",
            )
        return rule

    @contextmanager
    def session(self, found: Proposal) -> Iterator[Session]:
        """Yield a session with the diagnostic role, which only looks."""
        connection = self.settings.connection(found.connection)
        session = Session(connection, application_name=server.APPLICATION)
        try:
            yield session
        finally:
            session.close()

    def preview(self, found: Proposal) -> Preview:
        """Resolve the targets of a proposal again, and foretell the effect."""
        with self.session(found) as session:
            return kinds.get(found.action).preview(session, found)

    def document(
        self, found: Proposal, rule: ActionRule, preview: Preview, more: Facts, at: datetime
    ) -> str:
        """Return the text that will be approved: everything that an approver must see."""
        shown = {name: getattr(found, name) for name in _PROPOSED}
        kind = kinds.get(found.action)
        return document.canonical(
            {
                "format": document.FORMAT,
                **shown,
                "title": self._plain(found.title),
                "risk": self._plain(found.risk),
                "incident": found.incident,
                "proposed_in": f"{found.runbook} {found.run_id}".strip(),
                "role": self.settings.connection(found.connection).for_actions().user,
                "server": preview.server,
                "targets": [self._target(one) for one in preview.targets],
                "effect": preview.effect,
                "foretold": preview.foretold,
                "loss": preview.loss,
                "statement": preview.statement,
                "values": preview.values,
                "undo": preview.undo,
                "verification": kind.verification,
                **policy.terms(rule),
                **more,
                "nonce": secrets.token_hex(16),
                "previewed_at": at.isoformat(),
                "approve_by": (at + timedelta(minutes=rule.approve_within_min)).isoformat(),
            }
        )

    def _target(self, target: Facts) -> Facts:
        return {
            name: self._plain(value) if name in _FREE_TEXT else value
            for name, value in target.items()
        }

    def _plain(self, value: Any) -> Any:
        return self._redactor.value([value])[0]

    def void(self, found: Proposal, history: ActionHistory, preview: Preview) -> str:
        """Return why a recorded preview is not valid any more; empty if it is."""
        if not history.is_intact:
            return "its document in the record was altered"
        now = {name: getattr(found, name) for name in _PROPOSED}
        now |= {"title": self._plain(found.title), "risk": self._plain(found.risk)}
        altered = [name for name in _PROPOSED if history.facts.get(name) != now[name]]
        if altered:
            return f"the plan in the runbook was altered: {', '.join(altered)}"
        if why := kinds.get(found.action).changed(history.facts, preview):
            return why
        approved = {name: history.facts.get(name) for name in ("statement", "values")}
        if document.canonical(approved) != document.canonical(
            {"statement": preview.statement, "values": preview.values}
        ):
            return "the statement is not the approved one: another version of rbkernel wrote it"
        return ""

    def append(
        self,
        found: Proposal,
        digest: str,
        state: ActionState,
        check: Check | None = None,
        *,
        by: str = "",
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
        **fields
            Further fields of the line.

        Raises
        ------
        ActionRefused
            The step is refused; nothing was recorded.
        """

        def must_be_allowed(record: IncidentRecord) -> None:
            if check is None:
                return
            if record.state is IncidentState.CLOSED or not record.is_proven:
                why = "closed" if record.is_proven else "damaged: its seal does not match"
                raise refused(found, f"the record of {found.incident} is {why}")
            history = latest(record.actions, found.plan)
            if history and state is not ActionState.PREVIEWED and history.digest != digest:
                raise refused(found, "a newer preview of it was recorded", AGAIN)
            if why := check(history):
                raise refused(found, why)

        store.prepare(self.root, group=self.settings.evidence.group_access)
        said = {"plan": found.plan, "title": found.title, "connection": found.connection}
        incident.append(
            *(self.root, found.incident, "action"),
            by=by or getpass.getuser(),
            redactor=self._redactor,
            check=must_be_allowed,
            **{**said, "digest": digest, "state": state, **fields},
        )
        record = incident.look(self.root, found.incident)
        return next(one for one in record.actions if one.digest == digest)

    def executions(self, found: Proposal) -> list[str]:
        """Return when the action of a proposal was executed on its connection, in any incident."""
        records = incident.list_incidents(self.root)
        histories = (one for record in records for one in record.actions)
        return policy.executions(histories, found.action, found.connection)


def refused(found: Proposal, why: str, next_step: str = "") -> ActionRefused:
    """Return the error that says why a step of an action is refused."""
    return ActionRefused(
        f"{found.title}: {why}",
        where=f"plan {found.plan}",
        next_step=next_step or f"`rbkernel action show {found.plan}` shows the action as it is now",
    )


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
