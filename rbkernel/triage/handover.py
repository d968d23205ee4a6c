"""`rb.severity`, `rb.escalation`, `rb.commands`, `rb.show`: show parts of the front matter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rbkernel import actions, amounts
from rbkernel.arguments import checked
from rbkernel.config.commands import PLACEHOLDER
from rbkernel.config.quantities import Whole
from rbkernel.errors import ParameterError
from rbkernel.model import ActionPlan, Finding, Severity, Verdict, now
from rbkernel.render import tables
from rbkernel.runbook import digest
from rbkernel.runbook.conditions import Fact, Facts
from rbkernel.runbook.escalation import is_due
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import EscalationLevel, Operation
from rbkernel.runbook.placeholders import unfilled
from rbkernel.runbook.severity import Assessment, assess
from rbkernel.triage.act import act
from rbkernel.triage.check import keep
from rbkernel.triage.context import front_matter, triage
from rbkernel.triage.decide import Condition

_VERDICTS = {
    Severity.CRITICAL: Verdict.CRITICAL,
    Severity.HIGH: Verdict.CRITICAL,
    Severity.MEDIUM: Verdict.WARNING,
    Severity.LOW: Verdict.OK,
}


@checked
def severity(**facts: Fact) -> str:
    """Compute the severity from ``severity_levels`` of the front matter, and show the reason.

    Parameters
    ----------
    facts
        Known values, by the names that the conditions use; None means unknown. Three kinds of
        values need not be passed: ``criticals`` and ``warnings``, which count the findings of this
        run, and the metrics that `metrics` has measured, by their names. See
        `rbkernel.runbook.conditions`.

    Returns
    -------
    str
        The team's name of the level, such as ``SEV2``; empty if the severity is unknown.
    """
    tables.show(digest.section(front_matter(), "severity_levels"))
    triage().known.update(facts)
    found = assess(front_matter().severity_levels, _facts())
    keep(_severity_finding(found))
    return found.level.level if found.level else ""


@checked
def escalation(*, attempts: Whole = 0, severity: str = "", began: str = "") -> None:
    """Show the escalation path, and mark the levels that are due now.

    Parameters
    ----------
    attempts
        How many attempts to follow the steps have failed.
    severity
        The severity that `rb.severity` returned. If it is empty, the escalation levels of every
        severity can be due.
    began
        Start of the incident in ISO 8601, in UTC unless it has an offset; empty for the start of
        this run.

    Raises
    ------
    ParameterError
        ``began`` is not a valid time.
    """
    escalation_ = front_matter().escalation
    tables.show(digest.section(front_matter(), "escalation"))
    lasted_s = _lasted_s(began)
    facts = _facts()
    # a condition on the whole path is stored as a level without a name
    whole = [EscalationLevel(when=one, contact=escalation_.contact) for one in escalation_.when]
    levels = [*escalation_.levels, *(one for one in whole if not unfilled(one.when))]
    due = [(level, is_due(level, attempts, lasted_s, severity, facts)) for level in levels]
    reached = [level for level, is_now in due if is_now]
    asked = [level for level, is_now in due if is_now is None]
    # a path with placeholders as contacts is not ok, even if no level is due
    if reached or (levels and not unfilled(digest.words(escalation_))):
        counted = f"{amounts.count(attempts, 'attempt')}, {_duration(lasted_s)}"
        keep(_escalation_finding(reached, asked, counted, escalation_.provide))


@checked
def commands(
    section: str = "operations", group: str = "", *, when: Condition | bool = True
) -> None:
    """Propose every command of a section of the front matter; nothing is executed here.

    A command with ``run`` or ``request`` can be executed after an approval, if ``rbkernel.toml``
    allows it. All others are shown to copy.

    Parameters
    ----------
    section
        ``kill_switches``, ``operations``, ``rollback``, or ``recovery``.
    group
        Show only the commands of this group; empty for all.
    when
        The condition under which the commands are proposed, as for `rb.act`.

    Raises
    ------
    ParameterError
        The front matter has no such section of commands.
    """
    declared = [one for one in _operations(section) if group in {"", one.group}]
    waiting = [one for one in declared if not one.command or unfilled(digest.words(one))]
    names = ("name", "effect", "command", "undo", "risk", "verify")
    rows = tuple(tuple(getattr(one, name) for name in names) for one in waiting)
    if rows or not declared:
        heading = f"{section.replace('_', ' ')}{f': {group}' if group else ''}"
        tables.show(digest.compact(heading, names, rows))
    for one in declared:
        if one not in waiting:
            act(_plan(one), when=when)


@checked
def show(*sections: str) -> None:
    """Show sections of the front matter as tables, such as ``rb.show("contacts", "links")``.

    Raises
    ------
    ParameterError
        The front matter has no such section.
    """
    for name in sections:
        if name not in FrontMatter.model_fields:
            known = ", ".join(FrontMatter.model_fields)
            raise ParameterError(
                f"front matter has no section {name!r}", where="rb.show", next_step=f"use {known}"
            )
        tables.show(digest.section(front_matter(), name))


def _facts() -> Facts:
    """Return all values known to severity conditions; values that a person gave override others."""
    return {**_counted(), **triage().known}


def _counted() -> dict[str, Fact]:
    """Count the critical and warning findings; a count of 0 is None while a finding is unknown."""
    verdicts = [finding.verdict for finding in triage().findings.values()]
    unseen = Verdict.UNKNOWN in verdicts or not verdicts
    counts = {
        "criticals": verdicts.count(Verdict.CRITICAL),
        "warnings": verdicts.count(Verdict.WARNING),
    }
    return {name: None if unseen and not count else count for name, count in counts.items()}


def _severity_finding(found: Assessment) -> Finding:
    missing = ", ".join(found.unknown)
    step = f"find out these values and pass them to rb.severity: {missing}" if missing else ""
    if found.level is None:
        verdict, actual = Verdict.UNKNOWN, "too little is known to compute a level"
    else:
        verdict = _VERDICTS[Severity.parse(found.level.level)]
        least = "at least " if missing else ""
        actual = f"{least}{found.level.level}: {found.because}"
        if missing and verdict is Verdict.OK:
            verdict = Verdict.UNKNOWN
    action = found.level.action if found.level else ""
    return Finding(
        title="Severity",
        verdict=verdict,
        expected="low",
        actual=actual + (f" (not known: {missing})" if missing else ""),
        next_step="; ".join(filter(None, [action if verdict is not Verdict.OK else "", step])),
        at=now(),
    )


def _escalation_finding(
    reached: list[EscalationLevel], asked: list[EscalationLevel], counted: str, provide: str
) -> Finding:
    due, open_levels = (
        "; ".join(f"{one.level} ({digest.due(one)})".strip() for one in some)
        for some in (reached, asked)
    )
    if not reached and asked:
        return Finding(
            title="Escalation, by attempts and time",
            verdict=Verdict.UNKNOWN,
            expected="no level is due",
            actual=f"for you to decide: {open_levels}; {counted}",
            next_step="compute the severity, and decide whether one of these conditions applies",
            at=now(),
        )
    who = "; ".join(dict.fromkeys(one.contact for one in reached if one.contact))
    provide = (reached[-1].provide if reached else "") or provide
    hand_over = f"; provide: {provide}" if provide else ""
    return Finding(
        title="Escalation, by attempts and time",
        verdict=Verdict.WARNING if reached else Verdict.OK,
        expected="no level is due",
        actual=f"due: {due}; {counted}" if reached else f"none due: {counted}",
        next_step=f"call {who}{hand_over}" if who else "",
        at=now(),
    )


def _lasted_s(began: str) -> float:
    words = began or triage().run.started_at
    try:
        start = datetime.fromisoformat(words)
    except ValueError as error:
        raise ParameterError(
            f"began={began!r} is not a time",
            where="rb.escalation",
            next_step="write it as 2026-11-20T03:02, in UTC",
        ) from error
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return max(0.0, (datetime.now(UTC) - start).total_seconds())


def _duration(seconds: float) -> str:
    """Write a duration as text.

    >>> _duration(59), _duration(3700)
    ('0 min', '1 h 1 min')
    """
    hours, minutes = divmod(int(seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _operations(section: str) -> tuple[Operation, ...]:
    front = front_matter()
    declared = front.recovery.steps if section == "recovery" else getattr(front, section, ())
    if section not in {"kill_switches", "operations", "rollback", "recovery"}:
        raise ParameterError(
            f"{section!r} has no commands",
            where="rb.commands",
            next_step="use kill_switches, operations, rollback or recovery",
        )
    return tuple(declared)


def _plan(one: Operation) -> ActionPlan:
    effect = "; ".join(filter(None, [one.effect, one.verify and f"verify with: {one.verify}"]))
    risk = "; ".join(filter(None, [one.risk, effect and f"effect: {effect}"]))
    values = _values(one)
    places = {
        place: value for name, value in values.items() if (place := f"{{{name}}}") in one.command
    }
    plan = actions.command(one.name, one.command, values=places, undo=one.undo, risk=risk)
    if one.run:
        return actions.run(one.run, otherwise=plan, **values)
    return actions.request(one.request, otherwise=plan, **values) if one.request else plan


def _values(one: Operation) -> dict[str, Any]:
    """Return the values of a command: its own, and the parameters that it names.

    A value that is only a placeholder, such as ``{service}``, is that parameter. A parameter that
    is empty is not known.
    """
    parameters = {name: value or None for name, value in triage().run.parameters.items()}
    inside = PLACEHOLDER.findall(one.command)
    named = {name: parameters[name] for name in inside if name in parameters}
    given = {
        name: parameters.get(whole[1]) if (whole := PLACEHOLDER.fullmatch(value)) else value
        for name, value in one.values.items()
    }
    return {**named, **given}
