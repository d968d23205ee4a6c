"""Format an action as text for a terminal. Pure; control characters are shown as escapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rbkernel import amounts
from rbkernel.cli.incident_text import line
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import wording
from rbkernel.execution.approval import Shown
from rbkernel.render.documents.wording import clock

Facts = Mapping[str, Any]


def document_lines(history: ActionHistory) -> Iterator[str]:
    """Yield the lines that say what is approved; --json has the whole document."""
    facts = history.facts
    yield from _lines(
        facts,
        [
            ("policy", wording.policy(facts)),
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
    policy = wording.policy(rule.model_dump()) if rule else ""
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
        where = line(wording.server(server))
        yield f"on        {line(facts['connection'])}: {where}"
    for target in facts["targets"]:
        yield f"target    {line(wording.target(target), 200)}"
    named = [
        *(("effect", facts["effect"]), ("loss", facts["loss"]), ("undo", "none: irreversible")),
        *(("risk", facts["risk"]), *more),
    ]
    yield from (f"{name:9} {line(value)}" for name, value in named if value)


def _validity(facts: Facts) -> str:
    by = f"to approve until {clock(str(facts['approve_by']))}"
    return f"{by}, then to execute within {amounts.duration(facts['execute_within_s'])}"
