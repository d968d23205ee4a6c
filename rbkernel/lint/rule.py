"""Lint rules and their registry.

A rule is a function that takes a document and its surroundings, and yields its findings. The
meaning of a rule's code never changes. A rule's docstring is its page in the documentation: the
problem, why it matters, and what to do instead. Themes: RB0 the file, RB1 the front matter, RB2
words and steps, RB3 code, RB4 SQL, RB5 safety, RB6 references, RB7 upkeep, RB8 a diagnostic.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from rbkernel.errors import ExtensionError
from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.runbook.registry import Entry
from rbkernel.sources.postgres.library import Diagnostic


class Level(StrEnum):
    """The severity of a problem; `off` turns the rule off."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


Criterion = Literal[
    "actionable", "complete", "verifiable", "scoped", "escalatable", "tested", "maintained", "safe"
]


@dataclass(frozen=True)
class Found:
    """A problem that a rule found; cell and line count from 1, and 0 means the whole file."""

    cell: int
    line: int
    message: str
    next_step: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem as it is reported: the finding with its rule, level, file and place."""

    code: str
    name: str
    level: Level
    path: Path
    cell: int
    cell_id: str
    line: int
    message: str
    next_step: str

    @property
    def where(self) -> str:
        """The file, cell and line of the problem, in words."""
        if not self.cell:
            return f"{self.path}, line {self.line}" if self.line else str(self.path)
        named = f" ({self.cell_id})" if self.cell_id else ""
        return f"{self.path}, cell {self.cell}{named}, line {self.line}"

    def __str__(self) -> str:
        end = "" if self.message.endswith("?") else "."
        said = f"{self.where}: {self.level} {self.code} {self.message}{end}"
        return f"{said} Next: {self.next_step}."


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Facts that rules may use in addition to the document.

    ``refuse_sql`` returns why the guard refuses a SQL text, or an empty text if it accepts it.
    ``rules_of`` returns the names of a diagnostic's rules. If a set is None, it is not known here,
    and rules that depend on it find nothing.
    """

    today: datetime.date
    connections: frozenset[str] = frozenset()
    runbooks: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    registry: Mapping[str, Entry] | None = None
    refuse_sql: Callable[[str], str] = lambda _text: ""
    diagnostics: frozenset[str] | None = None
    rules_of: Callable[[str], frozenset[str] | None] = lambda _name: None
    faults: frozenset[str] | None = None
    calls: frozenset[str] | None = None
    deprecated: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Level] = field(default_factory=dict)


Check = Callable[[Document, Surroundings], Iterator[Found]]
CheckAlone = Callable[[Document], Iterator[Found]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A lint rule: its code, its documentation, and the function that checks a document.

    ``criterion`` is the quality that the rule checks. ``fixable`` is true if --fix corrects the
    problem. A rule with ``forms`` also applies to templates, which are not filled in yet. A rule
    is about a runbook or a ``diagnostic``; the check of the latter takes a `DiagnosticFile`.
    """

    code: str
    name: str
    level: Level
    criterion: Criterion
    text: str
    check: Callable[[Any, Surroundings], Iterator[Found]]
    about: Literal["runbook", "diagnostic"] = "runbook"
    fixable: bool = False
    forms: bool = True

    @property
    def title(self) -> str:
        """The title of the rule: the first line of its page."""
        return self.text.splitlines()[0].rstrip(".")


@dataclass(frozen=True, kw_only=True)
class DiagnosticFile:
    """A team's diagnostic for lint rules; `declared` is None if the file cannot be read.

    ``others`` are files with the same name; ``ours`` is true if a diagnostic of rbkernel has the
    name. ``texts`` are the contents of the file and of its variants, by path.
    """

    path: Path
    name: str
    texts: Mapping[Path, str]
    declared: Diagnostic | None
    problem: str = ""
    others: tuple[Path, ...] = ()
    ours: bool = False


CheckDiagnostic = Callable[[DiagnosticFile, Surroundings], Iterator[Found]]
RULES: dict[str, Rule] = {}
CODE = re.compile(r"[A-Z]{2}\d{3}")


def rule_with_surroundings(
    code: str,
    name: str,
    level: Level,
    criterion: Criterion,
    *,
    fixable: bool = False,
    forms: bool = True,
) -> Callable[[Check], Check]:
    """Register a function as a lint rule that needs the document and its surroundings."""

    def register(check: Check) -> Check:
        _add(check, code, name, level, criterion, fixable=fixable, forms=forms)
        return check

    return register


def rule(
    code: str,
    name: str,
    level: Level,
    criterion: Criterion,
    *,
    fixable: bool = False,
    forms: bool = True,
) -> Callable[[CheckAlone], CheckAlone]:
    """Register a function as a lint rule that needs only the document."""
    register = rule_with_surroundings(code, name, level, criterion, fixable=fixable, forms=forms)

    def register_alone(check: CheckAlone) -> CheckAlone:
        @functools.wraps(check)
        def checked(document: Document, _around: Surroundings) -> Iterator[Found]:
            return check(document)

        register(checked)
        return check

    return register_alone


def diagnostic_rule(
    code: str, name: str, level: Level, criterion: Criterion
) -> Callable[[CheckDiagnostic], CheckDiagnostic]:
    """Register a function as a lint rule about a team's diagnostic."""

    def register(check: CheckDiagnostic) -> CheckDiagnostic:
        _add(check, code, name, level, criterion, about="diagnostic")
        return check

    return register


def _add(
    check: Callable[[Any, Surroundings], Iterator[Found]],
    code: str,
    name: str,
    level: Level,
    criterion: Criterion,
    **more: Any,
) -> None:
    """Register a function as a lint rule; its docstring becomes the rule's page."""
    text = inspect.cleandoc(check.__doc__ or "")
    fields = {"code": code, "name": name, "level": level, "criterion": criterion, **more}
    add(Rule(text=text, check=check, **fields))


def add(new: Rule) -> None:
    """Register a lint rule; its code must be unused.

    Raises
    ------
    ExtensionError
        The code is in use, or is not two letters and three digits.
    """
    if new.code in RULES or not CODE.fullmatch(new.code):
        raise ExtensionError(
            f"{new.code} is {'taken' if new.code in RULES else 'no code of a rule'}",
            next_step="give the rule an unused code of two letters and three digits, such as AC101",
        )
    RULES[new.code] = new


def in_cell(cell: Cell, line: int, message: str, next_step: str) -> Found:
    """Return a lint finding in a cell."""
    return Found(cell.number, line, message, next_step)


def in_field(document: Document, name: str, message: str, next_step: str) -> Found:
    """Return a lint finding in a field of the front matter."""
    return Found(1, document.field_line(name), message, next_step)
