"""Write the document of an action, and compare it with the present."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from rbkernel import strictjson
from rbkernel.config import Settings
from rbkernel.config.actions import ActionRule
from rbkernel.execution import document, kinds, policy
from rbkernel.execution.document import Facts, Preview
from rbkernel.execution.proposal import Proposal, refused
from rbkernel.redact import Redactor

_PROPOSED = ("plan", "title", "action", "arguments", "connection", "sql", "risk")


class Contents:
    """What the documents of actions say, with the connections of a configuration.

    Parameters
    ----------
    settings
        The configuration.
    redactor
        Removes secrets from the texts of a document.
    """

    def __init__(self, settings: Settings, redactor: Redactor) -> None:
        self._settings = settings
        self._redactor = redactor

    def document(
        self, found: Proposal, rule: ActionRule, preview: Preview, more: Facts, at: datetime
    ) -> str:
        """Return the text that will be approved: everything that an approver must see."""
        return document.canonical(
            {
                "format": document.FORMAT,
                **self._shown(found),
                "incident": found.incident,
                "proposed_in": f"{found.runbook} {found.run_id}".strip(),
                "answers": self._answers(found),
                **({"undoes": found.undoes} if found.undoes else {}),
                **self._present(found, preview),
                "targets": self._targets(found, preview),
                "effect": preview.effect,
                "foretold": preview.foretold,
                **policy.terms(rule),
                **more,
                "nonce": secrets.token_hex(16),
                "previewed_at": at.isoformat(),
                "approve_by": (at + timedelta(minutes=rule.approve_within_min)).isoformat(),
            }
        )

    def _answers(self, found: Proposal) -> Facts:
        exact = {"identity", "rests_on"}
        said = found.answers.items()
        return {name: one if name in exact else self._plain(one) for name, one in said}

    def _targets(self, found: Proposal, preview: Preview) -> list[Facts]:
        kind = kinds.get(found.action)
        data = strictjson.normal(list(preview.targets), str)
        if kind.is_data and self._plain(data) != data:
            raise refused(
                found,
                "a value looks like a secret, and would be in the record of the incident",
                "copy the SQL",
            )
        return [
            {
                name: self._plain(value) if name in kind.free_text else value
                for name, value in one.items()
            }
            for one in preview.targets
        ]

    def _plain(self, value: Any) -> Any:
        return self._redactor.value([value])[0]

    def unwritable(self, text: str) -> str:
        """Return why a text that is signed cannot be recorded as it is; empty if it can."""
        return "" if self._plain(text) == text else "the reason contains a secret: leave it out"

    def differs(
        self, found: Proposal, facts: Facts, rule: ActionRule, preview: Preview, at: datetime
    ) -> str:
        """Return how a document differs from the present; empty if it may still be executed.

        All of it is compared, except what identifies this preview.
        """
        if why := self._altered(found, facts):
            return why
        if policy.changed(facts, rule, at):
            return "the policy changed since its preview"
        if why := kinds.get(found.action).changed(facts, preview):
            return why
        present = {"format": document.FORMAT, "undo": None, **self._present(found, preview)}
        changed = [
            name
            for name, value in present.items()
            if document.canonical({name: value}) != document.canonical({name: facts.get(name)})
        ]
        if "statement" in changed or "values" in changed:
            return "the statement is not the approved one: another version of rbkernel wrote it"
        if changed:
            return f"it changed since its preview: {', '.join(changed)}"
        return policy.too_much(rule, len(facts["targets"]), preview.foretold)

    def _altered(self, found: Proposal, facts: Facts) -> str:
        """Return how the proposal of a document was altered since; empty if it was not."""
        shown = self._shown(found)
        altered = [name for name, value in shown.items() if facts.get(name) != value]
        if altered:
            return f"the plan in the runbook was altered: {', '.join(altered)}"
        if facts.get("undoes", "") != found.undoes:
            return "it is the undo of another action"
        same = (facts.get("answers") or {}) == self._answers(found)
        return "" if same else "its question was altered in the runbook"

    def _shown(self, found: Proposal) -> Facts:
        """Return the fields of the proposal, in which people read no secret."""
        exact = {name: getattr(found, name) for name in _PROPOSED}
        return {**exact, "title": self._plain(found.title), "risk": self._plain(found.risk)}

    def _present(self, found: Proposal, preview: Preview) -> Facts:
        """Return the fields of a document that must be the same when the action is executed."""
        kind = kinds.get(found.action)
        return {
            "role": kind.role(kind.place(self._settings, found)),
            "server": preview.server,
            "loss": preview.loss,
            "statement": preview.statement,
            "values": preview.values,
            "verification": kind.verification,
            **({"undo": preview.undo} if preview.undo else {}),
        }
