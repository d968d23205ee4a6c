"""Format an action as text for a terminal. Pure; control characters are shown as escapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rbkernel import amounts
from rbkernel.cli.incident_text import line
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution.approval import Shown
from rbkernel.render.documents.wording import clock

Facts = Mapping[str, Any]


def document_lines(history: ActionHistory) -> Iterator[str]:
    """Yield the lines that say what is approved; --json has the whole document."""
    facts = history.facts
    yield from _lines(
        facts,
        [
            ("policy", _policy(facts)),
            ("valid", _validity(facts)),
            ("role", facts["role"]),
            ("incident", facts["incident"]),
            ("checked", f"{facts['verification']}; watched for {facts['watch_s']} s"),
            ("SQL", "with --json: the statement and its values, in the document"),
            ("digest", history.digest),
        ],
    )


def shown_lines(shown: Shown, now: datetime) -> Iterator[str]:
    """Yield the lines of `rbkernel action show`."""
    proposal, preview, history = shown.proposal, shown.preview, shown.recorded
    facts = {
        "title": proposal.title,
        "plan": proposal.plan,
        "risk": proposal.risk,
        "connection": proposal.connection,
        "proposed_in": f"{proposal.runbook} {proposal.run_id}".strip(),
        "server": preview.server if preview else {},
        "targets": preview.targets if preview else (),
        "effect": preview.effect if preview else "",
        "loss": preview.loss if preview else "",
        "incident": proposal.incident,
    }
    rule = shown.rule
    policy = _policy(rule.model_dump()) if rule else ""
    yield from _lines(facts, [("policy", policy), ("refused", shown.refusal)])
    if history is None:
        yield f"state     {ActionState.PROPOSED}: its preview is not recorded"
    else:
        yield from history_lines(history, now)
    if shown.void:
        yield f"          not valid any more: {line(shown.void)}"


def history_lines(history: ActionHistory, now: datetime) -> Iterator[str]:
    """Yield the lines about the state of an action, its approvals and its outcome."""
    state = history.state(now)
    yield f"state     {state}{f': {line(history.result)}' if history.result else ''}"
    if state is ActionState.PREVIEWED:
        yield f"          {len(history.approvals)} of {history.needed} approvals"
    for one in history.approvals:
        yield f"approved  by {line(one.by)}, key {line(one.key)}, at {clock(one.at)}"
    for step in history.lines:
        if boundary := step.text("boundary"):
            yield f"boundary  {line(boundary)}"
    yield f"digest    {history.digest}"


def _lines(facts: Facts, more: Iterable[tuple[str, str]]) -> Iterator[str]:
    plan, run = line(facts["plan"]), line(facts["proposed_in"])
    yield f"{line(facts['title'])} (plan {plan}, proposed in {run})"
    server = facts["server"]
    if server:
        kind = "standby" if server.get("standby") else "primary"
        where = f"database {line(server['database'])}, {kind}, {line(server['system_identifier'])}"
        yield f"on        {line(facts['connection'])}: {where}"
    for target in facts["targets"]:
        yield f"target    {_target(target)}"
    named = [
        *(("effect", facts["effect"]), ("loss", facts["loss"]), ("undo", "none: irreversible")),
        *(("risk", facts["risk"]), *more),
    ]
    yield from (f"{name:9} {line(value)}" for name, value in named if value)


def _target(target: Facts) -> str:
    """Describe a target in one line.

    >>> _target({"verb": "terminate", "pid": 7, "application": "job", "username": "shop",
    ...          "state": "idle in transaction", "transaction_s": 70.4, "writes": True,
    ...          "strong_lock": "RowExclusiveLock", "query": "UPDATE orders"})
    'terminate pid 7 job (shop): idle in transaction, for 1 min 10 s, has written: UPDATE orders'
    """
    lasts = target.get("transaction_s")
    facts = [
        str(target.get("state")),
        f"for {amounts.duration(lasts)}" if isinstance(lasts, int | float) else "",
        "has written" if target.get("writes") else "",
        f"in {target['database']}" if target.get("database") else "",
        f"from {target['client']}" if target.get("client") else "",
        f"connected {target['backend_start']}" if target.get("backend_start") else "",
    ]
    who = f"{target.get('application') or 'a session'} ({target.get('username')})"
    said = ", ".join(filter(None, facts))
    return line(f"{target['verb']} pid {target['pid']} {who}: {said}: {target.get('query')}", 200)


def _validity(facts: Facts) -> str:
    by = f"to approve until {clock(str(facts['approve_by']))}"
    return f"{by}, then to execute within {amounts.duration(facts['execute_within_s'])}"


def _policy(facts: Facts) -> str:
    """Describe who must approve.

    >>> _policy({"approvers": 2, "proposer_may_approve": False, "requested_by": "ann"})
    '2 approvals, not by ann, who asked'
    >>> _policy({"approvers": 0})
    'no approval needed'
    """
    if not facts["approvers"]:
        return "no approval needed"
    needed = amounts.count(facts["approvers"], "approval")
    if facts.get("proposer_may_approve"):
        return f"{needed}, also by the person who asks"
    asked = facts.get("requested_by")
    return f"{needed}, not by {f'{asked}, who asked' if asked else 'the person who asks'}"
