"""Decide whether the policy and the record allow a step of an action. Pure.

Each function returns why the step is refused; an empty text allows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rbkernel import amounts
from rbkernel.config.actions import ActionRule, Identity
from rbkernel.evidence.incident import ActionHistory, ActionState, instant
from rbkernel.execution.document import Facts

# the fields of a rule that a document repeats; if one of them changed since, the document is void
_TERMS = (
    *("approvers", "proposer_may_approve", "break_glass", "most_targets", "cool_down_s", "watch_s"),
)
# the fewest characters of a reason to break the glass
_SHORTEST_REASON = 10
# the most by which the clocks of two hosts may differ
_SKEW = timedelta(minutes=1)


def terms(rule: ActionRule) -> Facts:
    """Return the part of a document that says under which conditions the action is approved."""
    return {
        **{name: getattr(rule, name) for name in _TERMS},
        "identities": sorted(rule.identities),
        "approve_within_s": rule.approve_within_min * 60,
        "execute_within_s": rule.execute_within_min * 60,
    }


def changed(document: Facts, rule: ActionRule, now: datetime) -> bool:
    """Return whether a document has other terms, or another expiry, than the rule gives it now."""
    previewed, by = (instant(str(document.get(name))) for name in ("previewed_at", "approve_by"))
    return (
        any(document.get(name) != value for name, value in terms(rule).items())
        or (by - previewed).total_seconds() != rule.approve_within_min * 60
        or previewed > now + _SKEW
    )


def no_rule(action: str, severity: str) -> str:
    """Return the refusal of an action that no rule of the policy allows."""
    return (
        f"no rule allows {action} in an incident of severity {severity or 'unknown'}"
        " ([[actions.rules]] of rbkernel.toml)"
    )


def too_many(rule: ActionRule, targets: int) -> str:
    """Return why an action has too many targets; empty if not.

    >>> too_many(ActionRule(action="cancel_queries", approvers=0, most_targets=2), 3)
    'the policy allows 2 targets, and these are 3'
    """
    if targets <= rule.most_targets:
        return ""
    return (
        f"the policy allows {amounts.count(rule.most_targets, 'target')}, and these are {targets}"
    )


def too_much(rule: ActionRule, targets: int, foretold: Facts) -> str:
    """Return why a rule does not allow the targets of an action; empty if it does.

    >>> rule = ActionRule(action="set_flag", approvers=0, tables=("shop.flags",))
    >>> too_much(rule, 1, {"table": "shop.users"}), too_much(rule, 1, {"table": "shop.flags"})
    ('the policy allows rows of shop.flags, not of shop.users (tables)', '')
    """
    if rule.tables and (table := foretold.get("table")) not in rule.tables:
        return f"the policy allows rows of {', '.join(rule.tables)}, not of {table} (tables)"
    return too_many(rule, targets)


def too_soon(rule: ActionRule, last: Iterable[str], now: datetime) -> str:
    """Return why an action must wait after the last execution on its connection; empty if not.

    Parameters
    ----------
    rule
        The rule of the action.
    last
        The times of its earlier executions on the connection, in any incident.
    now
        The current time.
    """
    times = [instant(at) for at in last]
    if not times or not rule.cool_down_s:
        return ""
    left = rule.cool_down_s - (now - max(times)).total_seconds()
    if left <= 0:
        return ""
    same = "the same action was executed on this connection"
    if ":" in rule.action:
        same = f"{rule.action} was executed, with these or other values"
    return f"{same}: wait {amounts.duration(left)}"


def executions(histories: Iterable[ActionHistory], action: str, connection: str) -> list[str]:
    """Return the times at which an action began to be executed on a connection."""
    return [
        line.at
        for one in histories
        if one.facts.get("action") == action and one.facts.get("connection") == connection
        for line in one.lines
        if line.text("state") == ActionState.EXECUTING
    ]


def no_identity(rule: ActionRule, known: Identity) -> str:
    """Return why an approval does not count, by how its person is known; empty if it does."""
    if known in rule.identities:
        return ""
    return f"the policy takes approvals by {' or '.join(rule.identities)}, not by {known}"


def may_approve(history: ActionHistory, rule: ActionRule, by: str, key: str, at: datetime) -> str:
    """Return why a person may not approve an action now; empty if they may."""
    if not history.is_intact:
        return "its document in the record was altered"
    state = history.state(at)
    if state is ActionState.APPROVED:
        return "it has all approvals that it needs"
    if state is not ActionState.PREVIEWED:
        return f"it is {state}"
    if not rule.proposer_may_approve and by == history.facts.get("requested_by"):
        return f"{by} asked for the approval, and the policy wants another person"
    if not rule.proposer_may_approve and key == history.facts.get("requested_key"):
        return "this key asked for the approval, and the policy wants another person"
    if any(by == one.by or key == one.key for one in history.approvals):
        return f"{by} has approved it already"
    return ""


def no_break_glass(rule: ActionRule, reason: str) -> str:
    """Return why nobody may approve alone, for a reason, what needs more people; empty if some may.

    >>> rule = ActionRule(action="cancel_queries", approvers=2)
    >>> no_break_glass(rule, "too short"), no_break_glass(rule, "nobody else answers the phone")
    ('a reason of at least 10 characters is needed to approve it alone', '')
    """
    if not rule.break_glass:
        return "the policy allows nobody to approve it alone (break_glass)"
    if len(reason.strip()) < _SHORTEST_REASON:
        return f"a reason of at least {_SHORTEST_REASON} characters is needed to approve it alone"
    return ""


def may_break_glass(
    history: ActionHistory, rule: ActionRule, by: str, key: str, reason: str, at: datetime
) -> str:
    """Return why a person may not approve alone what needs more people; empty if they may."""
    if why := no_break_glass(rule, reason):
        return why
    usual = may_approve(history, rule, by, key, at)
    if not usual and len(history.approvals) + 1 >= history.needed:
        return "this approval is the last that it needs: approve it without breaking the glass"
    is_open = history.is_intact and history.state(at) is ActionState.PREVIEWED
    return "" if is_open else usual


def may_execute(history: ActionHistory, rule: ActionRule, at: datetime) -> str:
    """Return why an action may not be executed now; empty if it may."""
    if not history.is_intact:
        return "its document in the record was altered"
    state = history.state(at)
    if state is ActionState.PREVIEWED:
        return f"it has {len(history.approvals)} of {history.needed} approvals"
    if state is not ActionState.APPROVED:
        return _ended(history, state)
    if changed(history.facts, rule, at):
        return "the policy changed since its preview"
    if history.broken_glass:
        return no_break_glass(rule, history.broken_glass.break_glass)
    if len(history.approvals) < rule.approvers:
        return f"it has {len(history.approvals)} of {rule.approvers} approvals"
    asked = {history.facts.get("requested_by"), history.facts.get("requested_key")}
    own = any({one.by, one.key} & asked for one in history.approvals)
    return "" if rule.proposer_may_approve or not own else "the person who asked has approved it"


def _ended(history: ActionHistory, state: ActionState) -> str:
    if state is ActionState.INDETERMINATE:
        return (
            "it is indeterminate: an execution was begun and has no outcome. Look at the server:"
            " nothing is tried again"
        )
    return f"it is {state}{f' ({history.result})' if history.result else ''}: it is executed once"
