"""Execute an approved action, and undo it: intent first, then the change, then the outcome."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta

from rbkernel.config import Connection
from rbkernel.config.actions import ActionRule
from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import approvers, kinds, policy, server
from rbkernel.execution.approval import pending
from rbkernel.execution.ledger import AGAIN, Check, Ledger, now, refused
from rbkernel.execution.outcome import NotSent, Outcome
from rbkernel.execution.proposal import Proposal


def execute(ledger: Ledger, plan: str, seen: str) -> ActionHistory:
    """Execute an approved action: exactly what was approved, and at most once.

    Parameters
    ----------
    ledger
        The actions.
    plan
        The plan's id, or its beginning.
    seen
        The digest to execute, or its beginning, at least 8 characters.

    Returns
    -------
    ActionHistory
        The action with its outcome, which may be a failure.

    Raises
    ------
    ActionRefused
        Something changed, or the action is not approved: nothing was executed.
    """
    found = ledger.find(plan)
    rule, history = ledger.rule(found), pending(ledger, found, seen)
    connection = ledger.settings.connection(found.connection).for_actions()
    if why := policy.may_execute(history, rule, now()):
        raise refused(found, why)
    if why := ledger.void(found, history, ledger.preview(found)):
        raise refused(found, f"{why}. Nothing was executed", AGAIN)

    def check(latest: ActionHistory | None) -> str:
        return refusal(ledger, found, rule, latest, now())

    kind = kinds.get(found.action)
    begun = _begin(ledger, found, history, ActionState.EXECUTING, check, connection)
    with ledger.session(found) as session:
        outcome = carried_out(
            lambda: _in_time(begun) and kind.execute(connection, history.facts),
            lambda: kind.watch(session, history.facts, rule.watch_s),
        )
    return _end(ledger, found, history, outcome)


def undo(ledger: Ledger, plan: str) -> ActionHistory:
    """Undo a verified action, as its approved document says.

    Raises
    ------
    ActionRefused
        The action is irreversible, or was not executed and verified.
    """
    found = ledger.find(plan)
    history, kind = ledger.recorded(found), kinds.get(found.action)
    if history is None:
        raise refused(found, "it was not executed by rbkernel")
    change, watch = kind.undo, kind.watch_undo
    if change is None or watch is None:
        raise refused(found, "it is irreversible")
    connection = ledger.settings.connection(found.connection).for_actions()

    def check(latest: ActionHistory | None) -> str:
        return policy.may_undo(latest, now()) if latest else "it was not executed by rbkernel"

    begun = _begin(ledger, found, history, ActionState.UNDOING, check, connection)
    with ledger.session(found) as session:
        outcome = carried_out(
            lambda: _in_time(begun) and change(connection, history.facts),
            lambda: watch(session, history.facts, float(history.facts["watch_s"])),
        )
    return _end(ledger, found, history, outcome)


def refusal(
    ledger: Ledger, found: Proposal, rule: ActionRule, latest: ActionHistory | None, at: datetime
) -> str:
    """Return why the record or the policy forbids an execution; empty if they allow it.

    Without approvers, their file is not read; without a cool-down, other incidents are not.
    """
    if latest is None:
        return "its preview is not recorded"
    if why := policy.may_execute(latest, rule, at):
        return why
    if rule.approvers:
        signers = approvers.read(ledger.settings.actions.approvers)
        if why := unproven(latest, rule, signers):
            return why
    executed = ledger.executions(found) if rule.cool_down_s else ()
    return policy.too_soon(rule, executed, at)


def unproven(history: ActionHistory, rule: ActionRule, signers: str) -> str:
    """Return why a signature that the policy needs does not count; empty if all of them do.

    They are checked against the present file of approvers, so that a removed approver counts no
    more, but at the time of the signature, because a key may have expired since.
    """
    checks = [
        (approvers.APPROVAL, one.by, one.key, one.signature, one.at) for one in history.approvals
    ]
    if not rule.proposer_may_approve:
        first = history.lines[0]
        by, key = (str(history.facts.get(f"requested_{one}", "")) for one in ("by", "key"))
        checks.append((approvers.REQUEST, by, key, first.text("signature"), first.at))
    for namespace, by, key, text, at in checks:
        why = approvers.refusal(
            history.document, namespace, by=by, text=text, signers=signers, at=approvers.utc(at)
        )
        if why or approvers.fingerprint(text) != key:
            return f"the signature of {by or 'the person who asked'} is not valid: {why}"
    return ""


def _begin(
    ledger: Ledger,
    found: Proposal,
    history: ActionHistory,
    state: ActionState,
    check: Check,
    connection: Connection,
) -> ActionHistory:
    """Record the intent. From here on, the action is never begun again."""
    longest = float(history.facts["watch_s"]) + server.GRACE_S
    longest += 2 * (connection.connect_timeout_s + connection.statement_timeout_s)
    return ledger.append(
        *(found, history.digest, state, check),
        until=now() + timedelta(seconds=longest),
        boundary=_boundary(found.owner, os.geteuid()),
    )


def _in_time(begun: ActionHistory) -> bool:
    """Raise an error if others may already read the action as indeterminate.

    Raises
    ------
    NotSent
        This process was stopped, or waited long for the lock of the evidence folder.
    """
    if begun.state(now()) is ActionState.INDETERMINATE:
        raise NotSent("recording the intent took too long: nothing was executed")
    return True


def _boundary(kernel: int, executor: int) -> str:
    """Say whether a kernel could have executed the action without any approval.

    >>> _boundary(1000, 1000)
    'none: kernels run as the OS user that executes actions, so the approval is a convenience'
    >>> _boundary(1000, 998)
    'the OS user: kernels run as user id 1000, actions as 998'
    """
    if kernel == executor:
        return (
            "none: kernels run as the OS user that executes actions, so the approval is a"
            " convenience"
        )
    return f"the OS user: kernels run as user id {kernel}, actions as {executor}"


def _end(
    ledger: Ledger, found: Proposal, history: ActionHistory, outcome: Outcome
) -> ActionHistory:
    return ledger.append(
        *(found, history.digest, outcome.state),
        result=outcome.result,
        facts=dict(outcome.facts),
    )


def carried_out(change: Callable[[], object], watch: Callable[[], Outcome]) -> Outcome:
    """Make a change once, and return its outcome; an error does not hide what happened.

    If the server refused the change, but its effect is there, somebody must look: the outcome is
    indeterminate.
    """
    problem = ""
    try:
        change()
    except ActionRefused as error:  # nothing was sent, or its precondition did not hold
        return Outcome(state=ActionState.FAILED, result=error.what)
    except RbkernelError as error:
        problem = error.what
    try:
        seen = watch()
    except RbkernelError as error:
        said = "; ".join(filter(None, [problem, f"its effect cannot be seen: {error.what}"]))
        return Outcome(state=ActionState.INDETERMINATE, result=said)
    if not problem:
        return seen
    failed = seen.state is ActionState.FAILED
    return Outcome(
        state=ActionState.FAILED if failed else ActionState.INDETERMINATE,
        result=f"{problem}; {seen.result}",
        facts=seen.facts,
    )
