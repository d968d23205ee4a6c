"""Format lint problems as text, as JSON, or as annotations of a GitHub pull request. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rbkernel.errors import RbkernelError
from rbkernel.lint.document import Document
from rbkernel.lint.rule import RULES, Level, Problem

OK, WARNINGS, ERRORS, UNREADABLE = 0, 1, 2, 3
_SOURCE = re.compile(r'^\s*"source": ')


def exit_code(problems: Iterable[Problem], unread: Sequence[RbkernelError]) -> int:
    """Return the exit code of lint: 0 no problem, 1 warnings, 2 errors, 3 unreadable files."""
    if unread:
        return UNREADABLE
    levels = {problem.level for problem in problems}
    return ERRORS if Level.ERROR in levels else WARNINGS if levels else OK


def text(
    problems: Sequence[Problem], unread: Sequence[RbkernelError], count: int, diagnostics: int = 0
) -> list[str]:
    """Return lint problems as text: one line per problem, and a line with the totals."""
    lines = [*map(unreadable, unread), *map(str, problems)]
    levels = Counter(problem.level for problem in problems)
    fixable = sum(1 for problem in problems if RULES[problem.code].fixable)
    beside = f", {_count(diagnostics, 'diagnostic')}" if diagnostics else ""
    total = f"{_count(count, 'notebook')}{beside}: {_count(levels[Level.ERROR], 'error')}, "
    total += _count(levels[Level.WARNING], "warning")
    if unread:
        total += f", {len(unread)} unreadable"
    if fixable:
        total += f"; --fix corrects up to {fixable}"
    return [*lines, total]


def unreadable(error: RbkernelError) -> str:
    """Return the line for an unreadable file, as a problem of rule RB001."""
    return f"{error.where}: error RB001 {error.what}. Next: {error.next_step}."


def as_json(problems: Iterable[Problem], unread: Iterable[RbkernelError]) -> list[dict[str, Any]]:
    """Return lint problems as plain JSON values."""
    unreadable_ones = [
        {"code": "RB001", "name": "unreadable", "level": "error", "path": error.where}
        | {"cell": 0, "cell_id": "", "line": 0, "message": error.what, "next_step": error.next_step}
        for error in unread
    ]
    return unreadable_ones + [
        {**vars(problem), "path": str(problem.path), "level": problem.level.value}
        for problem in problems
    ]


def github(
    problems: Iterable[Problem], unread: Iterable[RbkernelError], documents: Iterable[Document]
) -> list[str]:
    """Return lint problems as workflow commands, which GitHub shows at the line of the file."""
    read = {document.path: document for document in documents}
    lines = [
        _command("error", error.where, 1, "RB001", f"{error.what}. Next: {error.next_step}.")
        for error in unread
    ]
    for problem in problems:
        place = f"cell {problem.cell} ({problem.cell_id}), line {problem.line}: "
        said = f"{place if problem.cell else ''}{problem.message}. Next: {problem.next_step}."
        document = read.get(problem.path)
        line = file_line(document, problem) if document else problem.line or 1
        lines.append(_command(problem.level.value, str(problem.path), line, problem.code, said))
    return lines


def file_line(document: Document, problem: Problem) -> int:
    """Return the line of a problem in the notebook file.

    The result is 1 if the file is not in Jupyter's layout, with one line per line of source.
    """
    raw = document.raw.decode(errors="replace").splitlines()
    sources = [number for number, line in enumerate(raw, 1) if _SOURCE.match(line)]
    if not problem.cell or len(sources) != len(document.cells):
        return 1
    return sources[problem.cell - 1] + problem.line


def _command(level: str, path: str, line: int, code: str, message: str) -> str:
    # escaped as in GitHub's actions toolkit
    data = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = path.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} file={name},line={line},title={code}::{data}"


def _count(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    >>> _count(1, "error"), _count(0, "error")
    ('1 error', '0 errors')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def dumps(value: object) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, indent=2, ensure_ascii=False)
