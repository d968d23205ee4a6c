"""`rb.validation`: show the runbook quality checklist, filled in by lint."""

from __future__ import annotations

from collections.abc import Mapping

from rbkernel import amounts
from rbkernel.arguments import checked
from rbkernel.lint import Document, Problem, check, load_extensions, quality
from rbkernel.lint.rule import Criterion
from rbkernel.render import tables
from rbkernel.runbook.digest import Table
from rbkernel.triage.context import document, triage
from rbkernel.triage.surroundings import surroundings

# the questions of the runbook quality checklist
_QUESTIONS: Mapping[Criterion, str] = {
    "actionable": "Can somebody follow this without asking questions?",
    "complete": "Are all steps present, with their commands?",
    "verifiable": "Does each step say how to verify it?",
    "scoped": "Is it clear what the runbook covers, and what it does not cover?",
    "escalatable": "Is the escalation path defined?",
    "tested": "Has it been tested in a drill?",
    "maintained": "Is there an owner who maintains it?",
    "safe": "Is it safe to run without a person?",
}


@checked
def validation() -> None:
    """Check the document of this run with lint, and show the quality checklist with the results.

    The checklist is about the runbook and not the server, so there is no finding. While
    placeholders are left, an item of the checklist without problems is ``unknown``.
    """
    held = document()
    read = Document(held.path, held.document)
    broken = load_extensions()
    problems = check(read, surroundings(triage().settings, [read]))
    left = len(held.placeholders)
    shown = table(quality(problems), left)
    remark = ". ".join(filter(None, [_remark(problems, left), *map(str, broken)]))
    tables.show(shown, kind="validation", remark=remark)


def table(found: Mapping[Criterion, list[Problem]], left: int) -> Table:
    """Return the quality checklist as a table. Pure.

    >>> table({"scoped": []}, 0).rows
    (('scoped', 'Is it clear what the runbook covers, and what it does not cover?', 'ok', ''),)
    >>> table({"scoped": []}, 3).rows[0][2]
    'unknown'
    """
    rows = tuple(_row(name, problems, left) for name, problems in found.items())
    return Table(
        heading="validation", names=("quality", "question", "state", "problems"), rows=rows
    )


def _row(name: Criterion, problems: list[Problem], left: int) -> tuple[str, str, str, str]:
    what = "; ".join(f"{one.code} {one.message}" for one in problems[:2])
    more = f"; and {len(problems) - 2} more" if len(problems) > 2 else ""
    state = "warning" if problems else "unknown" if left else "ok"
    return name, _QUESTIONS[name], state, what + more


def _remark(problems: list[Problem], left: int) -> str:
    if left:
        return f"{amounts.count(left, 'placeholder')} to fill in; `rbkernel lint` names the cells"
    return "`rbkernel lint` shows where each problem is, and how to fix it" if problems else ""
