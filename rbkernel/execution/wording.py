"""Describe an action in words: in lines for terminals, and in parts for pages. Pure.

In lines, control characters are shown as escapes; parts are not escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rbkernel import amounts
from rbkernel.displaytext import short_line
from rbkernel.evidence.incident import ActionHistory, ActionState
from rbkernel.execution import kinds
from rbkernel.execution.approval import Shown
from rbkernel.execution.proposal import question
from rbkernel.render.documents.wording import clock

Facts = Mapping[str, Any]
# characters of a session, and of a command or a line of an output, which must be seen in full
_SESSION, _COMMAND = 200, 5000


def answers(facts: Facts) -> str:
    """Describe the question that an action answers; empty if there is none.

    >>> answers({"answers": {"question": "What now?", "options": ["terminate it"]}})
    'What now? terminate it'
    """
    said = question(facts.get("answers"))
    return f"{said['question']} {' or '.join(said['options'])}" if said else ""


_SAID_BY = {"proxy": "a proxy", "oidc": "an OpenID provider", "jupyterhub": "JupyterHub"}


def policy(facts: Facts) -> str:
    """Describe who must approve.

    >>> policy({"approvers": 2, "proposer_may_approve": False, "requested_by": "ann"})
    '2 approvals, not by ann, who asked'
    >>> policy({"approvers": 0})
    'no approval needed'
    """
    if not facts["approvers"]:
        return "no approval needed"
    needed = amounts.count(facts["approvers"], "approval")
    if said := [words for one, words in _SAID_BY.items() if one in facts.get("identities", ())]:
        needed += f" (the word of {' or '.join(said)} is enough)"
    if facts.get("proposer_may_approve"):
        return f"{needed}, also by the person who asks"
    asked = facts.get("requested_by")
    return f"{needed}, not by {f'{asked}, who asked' if asked else 'the person who asks'}"


def undo(facts: Facts) -> str:
    """Describe how an action can be undone."""
    return str(facts.get("undo") or "none: irreversible")


def broken_glass(history: ActionHistory) -> str:
    """Say who approved alone what needs more people, and why; empty if nobody did."""
    one = history.broken_glass
    return f"{one.by} approved alone: {one.break_glass}" if one else ""


def document_lines(history: ActionHistory) -> Iterator[str]:
    """Yield the lines that say what is approved; --json has the whole document."""
    facts = history.facts
    yield from _lines(
        facts,
        [
            ("answers", answers(facts)),
            ("policy", policy(facts)),
            ("valid", _validity(facts)),
            ("role", facts["role"]),
            ("incident", facts["incident"]),
            ("checked", f"{facts['verification']}; watched for {facts['watch_s']} s"),
            ("details", "with --json: the statement and its values, in the document"),
            ("digest", history.digest),
        ],
    )


def shown_lines(shown: Shown, now: datetime) -> Iterator[str]:
    """Yield the lines of `rbkernel action show`."""
    proposal, preview, history = shown.proposal, shown.preview, shown.recorded
    facts = {
        "title": proposal.title,
        "action": proposal.action,
        "plan": proposal.plan,
        "risk": proposal.risk,
        "connection": proposal.connection,
        "proposed_in": f"{proposal.runbook} {proposal.run_id}".strip(),
        "server": preview.server if preview else {},
        "targets": preview.targets if preview else (),
        "effect": preview.effect if preview else "",
        "loss": preview.loss if preview else "",
        "undo": preview.undo if preview else "",
        "foretold": preview.foretold if preview else {},
        "values": preview.values if preview else (),
        "incident": proposal.incident,
    }
    rule = shown.rule
    terms = policy(rule.model_dump()) if rule else ""
    yield from _lines(facts, [("policy", terms), ("refused", shown.refusal)])
    if history is None:
        yield f"state     {ActionState.PROPOSED}: its preview is not recorded"
    else:
        yield from history_lines(history, now)
    if shown.void:
        yield f"          not valid any more: {short_line(shown.void)}"


def history_lines(history: ActionHistory, now: datetime) -> Iterator[str]:
    """Yield the lines about the state of an action, its approvals and its outcome."""
    state = history.state(now)
    yield f"state     {state}{f': {short_line(history.result)}' if history.result else ''}"
    if state is ActionState.PREVIEWED:
        yield f"          {len(history.approvals)} of {history.needed} approvals"
    if said := broken_glass(history):
        yield f"glass     broken: {short_line(said)}"
    for one in history.approvals:
        yield f"approved  by {short_line(one.by)}, key {short_line(one.key)}, at {clock(one.at)}"
    for line in history.output:
        yield f"output    {short_line(line, _COMMAND)}"
    for step in history.lines:
        if boundary := step.text("boundary"):
            yield f"boundary  {short_line(boundary)}"
    yield f"digest    {history.digest}"


def _lines(facts: Facts, more: Iterable[tuple[str, str]]) -> Iterator[str]:
    plan, run = short_line(facts["plan"]), short_line(facts["proposed_in"])
    yield f"{short_line(facts['title'])} (plan {plan}, proposed in {run})"
    if facts["server"]:
        kind = kinds.get(str(facts["action"]))
        where = short_line(kind.where(facts["server"]))
        on = short_line(facts["connection"])
        yield f"on        {on}: {where}" if on else f"on        {where}"
        for one in facts["targets"]:
            longest = _SESSION if on else _COMMAND
            yield f"target    {short_line(kind.target(one), longest)}"
        for name, said in kind.foretold(facts):
            for line in said.splitlines():
                yield f"{name.lower():9} {short_line(line, _COMMAND)}"
    named = [
        *(("effect", facts["effect"]), ("loss", facts["loss"]), ("undo", undo(facts))),
        *(("risk", facts["risk"]), *more),
    ]
    yield from (f"{name:9} {short_line(value)}" for name, value in named if value)


def _validity(facts: Facts) -> str:
    by = f"to approve until {clock(str(facts['approve_by']))}"
    return f"{by}, then to execute within {amounts.duration(facts['execute_within_s'])}"
