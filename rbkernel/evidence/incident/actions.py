"""Collect the history of each action from the lines of a record. Pure.

An action is identified by the digest of its document: the canonical form of everything that its
approvers saw. A line whose state may not follow the state before is ignored. So neither a line that
was written twice, nor one that came too late, changes what an action is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from rbkernel.evidence.incident.line import Line, instant
from rbkernel.evidence.incident.states import ACTION_TRANSITIONS, ActionState

# the most that a document can ask for: other numbers are not those of rbkernel
_MOST_APPROVERS, _LONGEST_S = 100, 366 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One person's approval: the signature, and what is needed to check it later.

    ``key`` is the fingerprint of the key; ``signers`` is the text of the file of approvers.
    ``break_glass`` is the reason of a person who approved alone what needs more people; empty
    otherwise.
    """

    by: str
    key: str
    at: str
    signature: str
    signers: str
    break_glass: str = ""


@dataclass(frozen=True, kw_only=True)
class ActionHistory:
    """An action, and everything that was recorded about it.

    ``document`` is the text whose SHA-256 is the digest. Times are ISO 8601. ``until`` is the
    time by which an execution in progress has recorded its outcome. ``result`` describes the last
    outcome in words; ``lines`` are the lines of the record that count.
    """

    plan: str
    digest: str
    document: str
    recorded: ActionState
    approvals: tuple[Approval, ...] = ()
    until: str = ""
    result: str = ""
    lines: tuple[Line, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_intact(self) -> bool:
        """Whether the document is the one of which the digest was taken."""
        return hashlib.sha256(self.document.encode()).hexdigest() == self.digest

    @property
    def approve_by(self) -> datetime:
        """The time until which the action can be approved."""
        return instant(str(self.facts.get("approve_by", "")))

    @property
    def broken_glass(self) -> Approval | None:
        """The approval of a person who approved alone what needs more people; None if none."""
        return next((one for one in self.approvals if one.break_glass), None)

    @property
    def is_approved(self) -> bool:
        """Whether it has the approvals that it needs, or one that breaks the glass."""
        return len(self.approvals) >= self.needed or self.broken_glass is not None

    @property
    def execute_by(self) -> datetime | None:
        """The time until which the approved action can be executed; None before the approval."""
        if not self.is_approved:
            return None
        last = self.approvals[-1].at if self.needed else str(self.facts.get("previewed_at", ""))
        return _later(instant(last), float(self.facts.get("execute_within_s", 0)))

    @property
    def is_verified(self) -> bool:
        """Whether it was executed, and its effect was seen: exactly what its document says."""
        return self.recorded is ActionState.VERIFIED and self.is_intact

    @property
    def has_changed(self) -> bool:
        """Whether it was executed with an outcome, and may have changed something.

        A failed one has, unless its outcome says that nothing was sent.
        """
        sent = self.lines[-1].data.get("sent") is not False
        ended = {ActionState.VERIFIED, ActionState.UNDONE}
        return self.recorded in ended or (self.recorded is ActionState.FAILED and sent)

    @property
    def undoes(self) -> str:
        """The digest of the action that it undoes; empty if it undoes none."""
        return str(self.facts.get("undoes") or "")

    @property
    def done(self) -> str:
        """What a verified action did, when, and who approved it."""
        return f"{self.title}, verified {self.lines[-1].at[11:16]} UTC by {self.who}"

    @property
    def title(self) -> str:
        """What the action does, as its approvers saw it."""
        return str(self.facts.get("title") or self.plan)

    @property
    def who(self) -> str:
        """Who approved the action; if nobody had to, who executed it."""
        began = (one.by for one in self.lines if _state(one) is ActionState.EXECUTING)
        return ", ".join(one.by for one in self.approvals) or next(began, "")

    @property
    def output(self) -> tuple[str, ...]:
        """The last lines that an executed command or request printed, without secrets."""
        said = self.lines[-1].data.get("facts")
        found = said.get("output") if isinstance(said, Mapping) else ()
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def needed(self) -> int:
        """The number of approvals that the action needs."""
        return int(self.facts.get("approvers", 1))

    def state(self, now: datetime) -> ActionState:
        """Return the state of the action at a time.

        An approval that came in time may be executed until `execute_by`. An execution that has not
        recorded its outcome by ``until`` was interrupted.
        """
        if self.recorded is ActionState.PREVIEWED and now > self.approve_by:
            return ActionState.EXPIRED
        if self.recorded is ActionState.APPROVED and self.execute_by and now > self.execute_by:
            return ActionState.EXPIRED
        if self.recorded is ActionState.EXECUTING:
            return ActionState.INDETERMINATE if now > instant(self.until) else self.recorded
        return self.recorded


def actions_of(lines: Iterable[Line]) -> tuple[ActionHistory, ...]:
    """Return the history of each action in a record, in the order of their previews."""
    found: dict[str, ActionHistory] = {}
    for line in lines:
        if line.kind == "action":
            digest = line.text("digest")
            if told := after(found.get(digest), line):
                found[digest] = told
    return tuple(_with_undone(found))


def _with_undone(found: Mapping[str, ActionHistory]) -> Iterator[ActionHistory]:
    """Yield the actions; one whose undo is verified is undone."""
    undone = {one.undoes: one for one in found.values() if one.is_verified and one.undoes}
    for digest, one in found.items():
        by = undone.get(digest)
        if by and ACTION_TRANSITIONS.allows(one.recorded, ActionState.UNDONE):
            said = f"{one.result}; undone {by.lines[-1].at[11:16]} UTC by {by.who}"
            yield replace(one, recorded=ActionState.UNDONE, result=said)
        else:
            yield one


def after(history: ActionHistory | None, line: Line) -> ActionHistory | None:
    """Return the history with one more line; unchanged if the line may not follow.

    Parameters
    ----------
    history
        The history so far; None before the preview.
    line
        A line of the kind ``action``.
    """
    state = _state(line)
    if history is None:
        return _previewed(line) if state is ActionState.PREVIEWED else None
    if state is ActionState.APPROVED:
        return _approved(history, line)
    # no line says that an action is undone: the outcome of its undo does
    if state in {None, ActionState.UNDONE} or not ACTION_TRANSITIONS.allows(
        history.recorded, state
    ):
        return history
    told = replace(history, recorded=state, lines=(*history.lines, line))
    if state is ActionState.EXECUTING:
        return replace(told, until=line.text("until"))
    return replace(told, result=line.text("result"))


def _later(at: datetime, seconds: float) -> datetime:
    """Return a time some seconds later; the same time if the calendar ends before."""
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return at


def _state(line: Line) -> ActionState | None:
    said = line.text("state")
    return ActionState(said) if said in list(ActionState) else None


def _previewed(line: Line) -> ActionHistory:
    """Return a new history; an action that needs no approval is approved at once."""
    facts = _facts(line.text("document"))
    history = ActionHistory(
        plan=line.text("plan"),
        digest=line.text("digest"),
        document=line.text("document"),
        recorded=ActionState.PREVIEWED,
        lines=(line,),
        facts=facts,
    )
    return history if history.needed else replace(history, recorded=ActionState.APPROVED)


def _facts(document: str) -> Mapping[str, Any]:
    """Return the fields of a document; empty if it is not a document, so that nothing is allowed.

    >>> _facts("nonsense"), _facts('{"approvers": -1}')
    ({}, {})
    """
    try:
        said = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and _is_sound(said) else {}


def _is_sound(said: Mapping[str, Any]) -> bool:
    """Return whether the numbers of a document can be computed with."""
    needed, within = said.get("approvers"), said.get("execute_within_s")
    if isinstance(needed, bool) or not isinstance(needed, int):
        return False
    return (
        isinstance(within, int | float)
        and 0 <= needed <= _MOST_APPROVERS
        and 0 <= within <= _LONGEST_S
    )


def _approved(history: ActionHistory, line: Line) -> ActionHistory:
    """Return the history with one more approval, if it came in time, and is another person's."""
    came, reason = instant(line.at), line.text("break_glass")
    own = [one for one in history.approvals if {one.by, one.key} & {line.by, line.text("key")}]
    if history.state(came) is not ActionState.PREVIEWED or (own and not reason):
        return history
    approval = Approval(
        by=line.by,
        key=line.text("key"),
        at=line.at,
        signature=line.text("signature"),
        signers=line.text("signers"),
        break_glass=reason,
    )
    others = (one for one in history.approvals if one not in own)
    told = replace(history, approvals=(*others, approval), lines=(*history.lines, line))
    return replace(told, recorded=ActionState.APPROVED) if told.is_approved else told
