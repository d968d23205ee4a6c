"""RB1: what the front matter must say, by category, and why it matters.

From the forms, the quality checklist and the quality gates that runbooks are held to: owner, scope,
escalation and last test for all; the rest where somebody would miss it at night.
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
        "whoever opens it cannot tell whether it is the right one",
        "scope: {handles: [Slots held by sessions that are idle in a transaction]}",
    ),
    _Required(
        "RB102", "scope.does_not_handle", _ALL, "scoped", lambda f: f.scope.does_not_handle,
        "whoever opens the wrong one follows it to the end before they notice",
        "scope: {does_not_handle: [The server is down (RUN-010)]}",
    ),
    _Required(
        "RB103", "escalation.when", _ALL, "escalatable",
        lambda f: f.escalation.when or any(
            level.when or level.after or level.after_attempts for level in f.escalation.levels
        ),
        "people wake somebody too late, because nothing tells them that they may",
        "escalation: {when: [The steps failed after 2 attempts, It lasts longer than 1 h]}",
        Level.ERROR,
    ),
    _Required(
        "RB104", "escalation.contact", _ALL, "escalatable",
        lambda f: f.escalation.contact or any(level.contact for level in f.escalation.levels),
        "a dead end at 3 am: nobody knows whom to call",
        'escalation: {contact: "Database Team Lead (PagerDuty)"}',
        Level.ERROR,
    ),
    _Required(
        "RB105", "escalation.provide", _ALL, "escalatable",
        lambda f: f.escalation.provide or any(level.provide for level in f.escalation.levels),
        "the one who is woken asks everything again",
        "escalation: {provide: The sealed run}",
    ),
    _Required(
        "RB106", "response_time", _URGENT, "actionable", lambda f: f.response_time,
        "nobody knows whether twenty minutes is late, and coverage cannot hold it against the"
        " alert's severity",
        "response_time: 5 minutes",
    ),
    _Required(
        "RB107", "symptoms", ("incident",), "actionable", lambda f: f.symptoms,
        "somebody without an alert cannot find it by what they see",
        "symptoms: [Applications log `too many clients already`]",
    ),
    _Required(
        "RB108", "impact", ("incident", "recovery"), "actionable",
        lambda f: f.impact.summary or f.impact.users or f.impact.systems or f.impact.business,
        "nobody can judge how bad it is, or what to tell users",
        "impact: New requests that need the database fail or wait",
    ),
    _Required(
        "RB109", "triggers", ("incident",), "actionable", lambda f: f.triggers,
        "no alert leads here, neither by itself nor by coverage's table",
        "triggers: [{alert: PostgresTooManyConnections}]",
    ),
    _Required(
        "RB110", "prerequisites", ("incident", "deployment", "maintenance", "recovery"),
        "actionable", lambda f: f.prerequisites,
        "an access that is missing is noticed in the middle",
        "prerequisites: [{connection: db, role: pg_monitor}]",
    ),
    _Required(
        "RB111", "on_call", _URGENT, "escalatable", lambda f: f.on_call or f.contacts,
        "whoever meets the symptoms without a page does not know who is on call",
        "on_call: Backend Team (PagerDuty)",
    ),
    _Required(
        "RB112", "communication", ("incident", "deployment", "recovery"), "escalatable",
        lambda f: f.communication.channel or f.communication.immediately,
        "users and colleagues hear nothing, and ask the one who has no time",
        'communication: {channel: "Slack #incidents", every: 30 minutes}',
    ),
    _Required(
        "RB113", "rollback", ("deployment", "recovery"), "safe", lambda f: f.rollback,
        "a step forward without a way back",
        "rollback: [{name: The version before, command: kubectl rollout undo deployment/api}]",
        Level.ERROR,
    ),
    _Required(
        "RB114", "recovery.rto", ("recovery",), "scoped", lambda f: f.recovery.rto,
        "nobody knows how long it may take",
        "recovery: {rto: 1 h}",
    ),
    _Required(
        "RB115", "recovery.rpo", ("recovery",), "scoped", lambda f: f.recovery.rpo,
        "nobody knows how much may be lost",
        "recovery: {rpo: 5 min}",
    ),
    _Required(
        "RB116", "drill", ("incident", "recovery"), "tested", lambda f: f.drill,
        "a runbook that was never tried is a guess",
        "drill: replay-paused",
    ),
    _Required(
        "RB117", "last_tested", _ALL, "tested", lambda f: f.last_tested,
        "nobody knows whether it still works",
        "last_tested: 2026-11-20",
    ),
    _Required(
        "RB118", "testing_schedule", _ALL, "maintained", lambda f: f.testing_schedule,
        "the last test was the last one",
        "testing_schedule: quarterly",
    ),
    _Required(
        "RB119", "linked_ids", ("incident",), "maintained", lambda f: f.linked_ids,
        "alerts, deployments and risks that it answers cannot be traced to it",
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
        f"{required.field} is not said: {required.why}",
        f"write, for example, `{required.example}`",
    )


def _wanted(required: _Required, front: FrontMatter) -> bool:
    """Tell whether a field is wanted; without a category, only what every category wants."""
    return required.categories == _ALL or front.category in required.categories


def _page(required: _Required) -> str:
    categories = "every category" if required.categories == _ALL else ", ".join(required.categories)
    return (
        f"The front matter does not say `{required.field}`.\n\n"
        f"Wanted for {categories}.\n\n"
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
