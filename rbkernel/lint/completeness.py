"""RB1: the front matter fields that each category of runbook requires, and the reasons.

The requirements come from the templates, the quality checklist and the quality gates for runbooks.
Owner, scope, escalation and last test are required for all; other fields only where an engineer
on call needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from rbkernel.lint.document import Document
from rbkernel.lint.rule import Criterion, Found, Level, Rule, Surroundings, add, in_field
from rbkernel.runbook.frontmatter import FrontMatter

_ALL = ("incident", "deployment", "maintenance", "recovery", "escalation")
_URGENT = ("incident", "recovery", "escalation")


class _Required(NamedTuple):
    code: str
    field: str
    categories: tuple[str, ...]
    criterion: Criterion
    said: Callable[[FrontMatter], object]
    why: str
    example: str
    level: Level = Level.WARNING


_REQUIRED = (
    _Required(
        "RB101", "scope.handles", _ALL, "scoped", lambda f: f.scope.handles,
        "the reader cannot tell whether it is the right runbook",
        "scope: {handles: [Slots held by sessions that are idle in a transaction]}",
    ),
    _Required(
        "RB102", "scope.does_not_handle", _ALL, "scoped", lambda f: f.scope.does_not_handle,
        "a reader may follow the wrong runbook to the end before noticing",
        "scope: {does_not_handle: [The server is down (RUN-010)]}",
    ),
    _Required(
        "RB103", "escalation.when", _ALL, "escalatable",
        lambda f: f.escalation.when or any(
            level.when or level.after or level.after_attempts for level in f.escalation.levels
        ),
        "engineers escalate too late, because nothing says when they should",
        "escalation: {when: [The steps failed after 2 attempts, It lasts longer than 1 h]}",
        Level.ERROR,
    ),
    _Required(
        "RB104", "escalation.contact", _ALL, "escalatable",
        lambda f: f.escalation.contact or any(level.contact for level in f.escalation.levels),
        "the on-call engineer does not know whom to call",
        'escalation: {contact: "Database Team Lead (PagerDuty)"}',
        Level.ERROR,
    ),
    _Required(
        "RB105", "escalation.provide", _ALL, "escalatable",
        lambda f: f.escalation.provide or any(level.provide for level in f.escalation.levels),
        "the next person has to ask everything again",
        "escalation: {provide: The sealed run}",
    ),
    _Required(
        "RB106", "response_time", _URGENT, "actionable", lambda f: f.response_time,
        "it is unclear how fast to respond, and coverage cannot compare the response time with the"
        " alert's severity",
        "response_time: 5 minutes",
    ),
    _Required(
        "RB107", "symptoms", ("incident",), "actionable", lambda f: f.symptoms,
        "an engineer without an alert cannot find the runbook by its symptoms",
        "symptoms: [Applications log `too many clients already`]",
    ),
    _Required(
        "RB108", "impact", ("incident", "recovery"), "actionable",
        lambda f: f.impact.summary or f.impact.users or f.impact.systems or f.impact.business,
        "the severity is unclear, and so is what to tell users",
        "impact: New requests that need the database fail or wait",
    ),
    _Required(
        "RB109", "triggers", ("incident",), "actionable", lambda f: f.triggers,
        "no alert leads to the runbook, and coverage does not list it",
        "triggers: [{alert: PostgresTooManyConnections}]",
    ),
    _Required(
        "RB110", "prerequisites", ("incident", "deployment", "maintenance", "recovery"),
        "actionable", lambda f: f.prerequisites,
        "missing access is only noticed during the incident",
        "prerequisites: [{connection: db, role: pg_monitor}]",
    ),
    _Required(
        "RB111", "on_call", _URGENT, "escalatable", lambda f: f.on_call or f.contacts,
        "the reader does not know who is on call",
        "on_call: Backend Team (PagerDuty)",
    ),
    _Required(
        "RB112", "communication", ("incident", "deployment", "recovery"), "escalatable",
        lambda f: f.communication.channel or f.communication.immediately,
        "users and colleagues are not informed, and interrupt the engineer",
        'communication: {channel: "Slack #incidents", every: 30 minutes}',
    ),
    _Required(
        "RB113", "rollback", ("deployment", "recovery"), "safe", lambda f: f.rollback,
        "a failed step cannot be reverted",
        "rollback: [{name: The version before, command: kubectl rollout undo deployment/api}]",
        Level.ERROR,
    ),
    _Required(
        "RB114", "recovery.rto", ("recovery",), "scoped", lambda f: f.recovery.rto,
        "it is unclear how long recovery may take",
        "recovery: {rto: 1 h}",
    ),
    _Required(
        "RB115", "recovery.rpo", ("recovery",), "scoped", lambda f: f.recovery.rpo,
        "it is unclear how much data may be lost",
        "recovery: {rpo: 5 min}",
    ),
    _Required(
        "RB116", "drill", ("incident", "recovery"), "tested", lambda f: f.drill,
        "a runbook that was never tested may not work",
        "drill: replay-paused",
    ),
    _Required(
        "RB117", "last_tested", _ALL, "tested", lambda f: f.last_tested,
        "it is unclear whether the runbook still works",
        "last_tested: 2026-11-20",
    ),
    _Required(
        "RB118", "testing_schedule", _ALL, "maintained", lambda f: f.testing_schedule,
        "the runbook will not be tested again",
        "testing_schedule: quarterly",
    ),
    _Required(
        "RB119", "linked_ids", ("incident",), "maintained", lambda f: f.linked_ids,
        "the runbook cannot be found from the alerts, deployments and risks that it covers",
        "linked_ids: [MON-005, RISK-008]",
    ),
)  # fmt: skip


def _check(required: _Required, document: Document, _around: Surroundings) -> Iterator[Found]:
    front = document.front
    if front is None or required.said(front) or not _wanted(required, front):
        return
    yield in_field(
        document,
        required.field,
        f"{required.field} is missing: {required.why}",
        f"write, for example, `{required.example}`",
    )


def _wanted(required: _Required, front: FrontMatter) -> bool:
    """Tell whether a field is required in this category; without one, only common fields are."""
    return required.categories == _ALL or front.category in required.categories


def _page(required: _Required) -> str:
    categories = "every category" if required.categories == _ALL else ", ".join(required.categories)
    return (
        f"The front matter has no `{required.field}`.\n\n"
        f"Required for {categories}.\n\n"
        f"Why: without it, {required.why}.\n\n"
        f"Instead:\n\n```yaml\n{required.example}\n```"
    )


for _one in _REQUIRED:
    add(
        Rule(
            code=_one.code,
            name=f"no-{_one.field.replace('.', '-').replace('_', '-')}",
            level=_one.level,
            criterion=_one.criterion,
            text=_page(_one),
            check=partial(_check, _one),
            forms=False,
        )
    )
