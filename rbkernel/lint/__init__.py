"""Lint: check runbooks against rules. Each rule has a code and a page in `docs/reference/lint`.

`check` is pure: it takes a document and its surroundings, and returns problems. `read`,
`documents` and `registry` read files. Each module of rules covers one theme, and other packages may
add modules; importing a module registers its rules.
"""

from __future__ import annotations

from types import ModuleType

from rbkernel.errors import ExtensionError
from rbkernel.extensions import Group
from rbkernel.lint import (
    code,
    completeness,
    connections,
    diagnostics,
    file,
    references,
    safety,
    skeleton,
    sql,
    steps,
    upkeep,
)
from rbkernel.lint.checking import check, quality
from rbkernel.lint.document import Document
from rbkernel.lint.rule import (
    RULES,
    Found,
    Level,
    Problem,
    Rule,
    Surroundings,
    in_cell,
    in_field,
    rule,
    rule_with_surroundings,
)

__all__ = [
    "RULES",
    "THEMES",
    "Document",
    "Found",
    "Level",
    "Problem",
    "Rule",
    "Surroundings",
    "check",
    "in_cell",
    "in_field",
    "load_extensions",
    "quality",
    "rule",
    "rule_with_surroundings",
]

THEMES: Group[ModuleType] = Group(
    "rbkernel.lint_rules",
    ModuleType,
    {
        "code": code,
        "completeness": completeness,
        "connections": connections,
        "diagnostics": diagnostics,
        "file": file,
        "references": references,
        "safety": safety,
        "skeleton": skeleton,
        "sql": sql,
        "steps": steps,
        "upkeep": upkeep,
    },
)


def load_extensions() -> list[ExtensionError]:
    """Register the lint rules of other packages; return an error for each package that fails."""
    problems = []
    for extension in THEMES.extensions():
        before = dict(RULES)
        if problem := THEMES.problem(extension):
            RULES.clear()
            RULES.update(before)
            problems.append(problem)
    return problems
