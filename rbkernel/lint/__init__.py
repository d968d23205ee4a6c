"""Lint: is this runbook fit for the night? Rules with codes, each a page in `docs/reference/lint`.

`check` is pure: a document and its surroundings in, problems out. `read`, `documents` and
`registry` read files. The rules stand in a module a theme; importing them here registers them.
"""

from __future__ import annotations

from rbkernel.lint import (  # noqa: F401  # registers the rules
    code,
    completeness,
    connections,
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
from rbkernel.lint.rule import RULES, Level, Problem, Rule, Surroundings

__all__ = [
    "RULES",
    "Document",
    "Level",
    "Problem",
    "Rule",
    "Surroundings",
    "check",
    "quality",
]
