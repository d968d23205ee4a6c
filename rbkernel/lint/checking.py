"""From documents to problems: apply the rules, honour suppressions and levels. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import get_args

from rbkernel.errors import ExtensionError, RbkernelError
from rbkernel.lint import suppression
from rbkernel.lint.document import Document
from rbkernel.lint.rule import RULES, Criterion, Found, Level, Problem, Rule, Surroundings

# a suppression cannot silence the rules on suppressions, nor what makes the document unreadable
_ALWAYS = frozenset({"RB001", "RB002", "RB004", "RB005"})


def check(document: Document, around: Surroundings) -> list[Problem]:
    """Apply all rules to one document.

    Returns
    -------
    list of Problem
        In the order of the document. What is suppressed with a reason, and rules whose level is
        off, are left out.
    """
    document = copy.copy(document)  # what is taken apart for the rules goes with the copy
    silenced = suppression.suppressed(document)
    found = [
        _problem(document, rule, level, one)
        for rule in RULES.values()
        if rule.about == "runbook"
        and (level := around.levels.get(rule.code, rule.level)) is not Level.OFF
        and (rule.forms or not document.is_template)
        for one in _found(rule, document, around)
        if rule.code in _ALWAYS or (one.cell, rule.code) not in silenced
    ]
    return sorted(set(found), key=lambda problem: (problem.cell, problem.line, problem.code))


def _found(rule: Rule, document: Document, around: Surroundings) -> list[Found]:
    try:
        return list(rule.check(document, around))
    except RbkernelError:
        raise
    except Exception as error:
        raise ExtensionError(
            f"the rule {rule.code} failed: {type(error).__name__}: {error}",
            where=f"{document.path}, rule of {rule.check.__module__}",
            next_step=f'correct the rule; until then, `{rule.code} = "off"` under [lint.severity]',
        ) from error


def _problem(document: Document, rule: Rule, level: Level, found: Found) -> Problem:
    cell = document.cells[found.cell - 1] if 0 < found.cell <= len(document.cells) else None
    return Problem(
        code=rule.code,
        name=rule.name,
        level=level,
        path=document.path,
        cell=found.cell if cell else 0,
        cell_id=cell.id if cell else "",
        line=found.line if cell else 0,
        message=found.message,
        next_step=found.next_step,
    )


def quality(problems: Iterable[Problem]) -> dict[Criterion, list[Problem]]:
    """Group problems by the quality that they violate; an empty list means that it is met.

    The seven of the checklist (actionable, complete, verifiable, scoped, escalatable, tested,
    maintained), and safe.
    """
    sorted_out: dict[Criterion, list[Problem]] = {name: [] for name in get_args(Criterion)}
    for problem in problems:
        sorted_out[RULES[problem.code].criterion].append(problem)
    return sorted_out
