"""Execute an approved action: intent first, then the change, then the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rbkernel.config.actions import ActionRule
from rbkernel.errors import ActionRefused, RbkernelError
from rbkernel.evidence.incident import ActionHistory, ActionState, instant
from rbkernel.execution import approvers, kinds, policy
from rbkernel.execution.approval import pending
from rbkernel.execution.document import Facts
from rbkernel.execution.ledger import AGAIN, Check, Ledger, now
from rbkernel.execution.outcome import Outcome, Unanswered, Unsuccessful
from rbkernel.execution.proposal import Proposal, refused
from rbkernel.sources.postgres.connection import driver


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An execution whose intent is recorded, and which is carried out once.

    ``place`` is what its kind executes it on: see `Kind`. After ``until``, by the clock there,
    nothing is sent.
    """

    found: Proposal
    history: ActionHistory
    rule: ActionRule
    place: Any
    until: datetime


def execute(ledger: Ledger, plan: str, seen: str) -> ActionHistory:
    """Execute an approved action: exactly what was approved, and at most once.

    Parameters
    ----------
    ledger
        The actions.
    plan
        The plan's id, or its beginning.
    seen
        The digest to execute, or its beginning, at least 16 characters.

    Returns
    -------
    ActionHistory
        The action with its outcome, which may be a failure.

    Raises
    ------
    ActionRefused
        Something changed, or the action is not approved: nothing was executed.
    """
    return carry_out(ledger, begin(ledger, plan, seen))


def begin(
    ledger: Ledger, plan: str, seen: str, *, by: str = "", origin: str = "", least: int = 0
) -> Begun:
    """Check an approved action, and record the intent to execute it; nothing is executed yet.

    Parameters
    ----------
    ledger, plan, seen
        See `execute`.
    by
        Who executes it; by default the OS user.
    origin
        Where the person is, if not at the command line.
    least
        The fewest approvals with which this person may execute it.

    Raises
    ------
    ActionRefused
        Something changed, or the action is not approved: nothing was recorded.
    """
    found = ledger.find(plan)
    rule, history = ledger.rule(found), pending(ledger, found, seen)
    kind = kinds.get(found.action)
    place = kind.place(ledger.settings, found)
    longest_s = kind.longest_s(place)
    if origin or approvers.identities(history) - {"ssh"}:
        ledger.must_take_passkeys(found)
    if why := policy.may_execute(history, rule, now()):
        raise refused(found, why)
    if len(history.approvals) < least:
        raise refused(
            found,
            "nobody approved it, so it cannot be executed here",
            f"`rbkernel action execute {found.plan} --digest {history.digest[:16]}`",
        )
    preview, looked = ledger.preview(found), now()
    if why := ledger.void(found, history, rule, preview):
        raise refused(found, f"{why}. Nothing was executed", AGAIN)

    def check(latest: ActionHistory | None) -> str:
        changed = ledger.changed_since(found, rule, history)
        return changed or refusal(ledger, found, rule, latest, now())

    begun = _begin(ledger, found, history, check, longest_s, by, origin)
    limit = min(instant(begun.until), history.execute_by or looked)
    return Begun(
        found=found,
        history=history,
        rule=rule,
        place=place,
        until=preview.at + (limit - looked),
    )


def carry_out(ledger: Ledger, begun: Begun) -> ActionHistory:
    """Send the statement once, watch its effect, and record the outcome.

    Returns
    -------
    ActionHistory
        The action with its outcome, which may be a failure.
    """
    history, kind = begun.history, kinds.get(begun.found.action)
    outcome = carried_out(
        lambda: kind.execute(begun.place, history.facts, begun.until),
        lambda watch_s: kind.watch(begun.place, history.facts, watch_s),
        lambda seen: kind.judge(history.facts, seen),
        watch_s=begun.rule.watch_s,
    )
    return ledger.append(
        *(begun.found, history.digest, outcome.state),
        result=outcome.result,
        facts=dict(outcome.facts),
        sent=outcome.sent,
    )


def refusal(
    ledger: Ledger, found: Proposal, rule: ActionRule, latest: ActionHistory | None, at: datetime
) -> str:
    """Return why the record or the policy forbids an execution; empty if they allow it.

    Without approvers, their file is not read; without a cool-down, other incidents are not. An undo
    of what people have approved does not wait for a cool-down.
    """
    if latest is None:
        return "its preview is not recorded"
    if why := policy.may_execute(latest, rule, at) or ledger.unproven(latest, rule):
        return why
    executed = ledger.executions(found) if rule.cool_down_s and ledger.waits(found) else ()
    return policy.too_soon(rule, executed, at)


def _begin(
    ledger: Ledger,
    found: Proposal,
    history: ActionHistory,
    check: Check,
    longest_s: float,
    by: str,
    origin: str,
) -> ActionHistory:
    """Record the intent. From here on, the action is never begun again."""
    longest = float(history.facts["watch_s"]) + longest_s
    return ledger.append(
        *(found, history.digest, ActionState.EXECUTING, check),
        until=now() + timedelta(seconds=longest),
        boundary=ledger.boundary(found),
        by=by,
        origin=origin,
    )


def carried_out(
    change: Callable[[], Facts],
    watch: Callable[[float], Outcome],
    judge: Callable[[Outcome], Outcome] = lambda seen: seen,
    *,
    watch_s: float = 0.0,
) -> Outcome:
    """Make a change once, and return its outcome; an error does not hide what happened.

    ``watch`` looks at the effect for some seconds; with 0, once. ``judge`` says what is seen after
    a change without an error.

    If the change was refused or failed, but its effect is there, somebody must look: the outcome is
    indeterminate. So it is if the server did not answer: the statement may still be on its way.
    """
    problem, answered = "", True
    said: Facts = {}
    try:
        said = change()
    except ActionRefused as error:  # nothing was sent, or its precondition did not hold
        return Outcome(state=ActionState.FAILED, result=error.what, sent=False)
    except Unsuccessful as error:
        problem, said, watch_s = error.what, error.facts, 0.0
    except Unanswered as error:
        problem, answered, said = error.what, False, error.facts
    except RbkernelError as error:
        problem, answered = error.what, bool(driver.sqlstate(error))
    try:
        seen = watch(watch_s)
    except RbkernelError as error:
        words = "; ".join(filter(None, [problem, f"its effect cannot be seen: {error.what}"]))
        return Outcome(state=ActionState.INDETERMINATE, result=words, facts=said)
    facts = {**said, **seen.facts}
    if not problem:
        seen = judge(seen)
        words = "; ".join(filter(None, [str(said.get("said", "")), seen.result]))
        return replace(seen, result=words, facts=facts)
    failed = answered and (seen.state is ActionState.FAILED or not seen.shown)
    return Outcome(
        state=ActionState.FAILED if failed else ActionState.INDETERMINATE,
        result=f"{problem}; {seen.result}" if seen.shown else problem,
        facts=facts,
    )
