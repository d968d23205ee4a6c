"""Apply the lint rules to a document, with suppressions and configured levels. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import get_args

from rbkernel.errors import ExtensionError, RbkernelError
from rbkernel.lint import suppression
from rbkernel.lint.document import Document
from rbkernel.lint.rule import RULES, Criterion, Found, Level, Problem, Rule, Surroundings

# rules that cannot be suppressed: those on suppressions, and on unreadable documents
_ALWAYS = frozenset({"RB001", "RB002", "RB004", "RB005"})


def check(document: Document, around: Surroundings) -> list[Problem]:
    """Apply all lint rules to a document.

    Returns
    -------
    list of Problem
        The problems in the order of the document, without those that are suppressed with a reason
        or whose rule is off.
    """
    document = copy.copy(document)  # the parsed parts are cached in the copy and freed with it
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
    """Group lint problems by the quality criterion that they violate.

    The criteria are the seven of the checklist (actionable, complete, verifiable, scoped,
    escalatable, tested, maintained) and safe. A criterion with an empty list is met.
    """
    sorted_out: dict[Criterion, list[Problem]] = {name: [] for name in get_args(Criterion)}
    for problem in problems:
        sorted_out[RULES[problem.code].criterion].append(problem)
    return sorted_out
