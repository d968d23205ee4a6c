"""Convert each section of the front matter to a table of text. Pure.

The tables are used for cards, pages and terminals. Empty sections, and columns that are empty in
every row, are left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbkernel import amounts
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.frontmatter_sections import EscalationLevel, Section

# the sections that an engineer on call needs first; the others follow in the model's order
_FIRST = (
    "symptoms",
    "impact",
    "triggers",
    "scope",
    "prerequisites",
    "severity_levels",
    "kill_switches",
    "rollback",
    "escalation",
    "contacts",
    "communication",
    "links",
    "gotchas",
)
# fields that the heading shows, or that only the program uses
_ELSEWHERE = {"id", "title", "summary", "category", "severity", "owner"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A section as rows of text under column names; a table without names is a plain list."""

    heading: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(front_matter: FrontMatter) -> list[Table]:
    """Return the tables of all non-empty sections, the most urgent first."""
    rest = [name for name in FrontMatter.model_fields if name not in {*_FIRST, *_ELSEWHERE}]
    found = [section(front_matter, name) for name in (*_FIRST, *rest)]
    steps = _records("recovery steps", front_matter.recovery.steps)
    return [table for table in (*found, steps) if table.rows]


def section(front_matter: FrontMatter, name: str) -> Table:
    """Return the table of one section; an empty section has no rows.

    The steps of a recovery are a separate table.

    Raises
    ------
    KeyError
        The front matter has no such field.
    """
    if name not in FrontMatter.model_fields:
        raise KeyError(name)
    value = getattr(front_matter, name)
    heading = name.replace("_", " ")
    if name == "escalation":
        return _escalation(front_matter)
    if _is_records(value):
        return _records(heading, value)
    if isinstance(value, tuple):
        return Table(heading=heading, names=(), rows=tuple((words(one),) for one in value))
    pairs = _said(value).items() if isinstance(value, Section | Mapping) else ()
    if pairs:
        rows = tuple((_label(key), words(one)) for key, one in pairs if not _is_records(one))
        return Table(heading=heading, names=("", ""), rows=rows)
    text = "" if isinstance(value, Section | Mapping) else words(value)
    return Table(heading=heading, names=(), rows=((text,),) if text else ())


def words(value: Any) -> str:
    """Return a value as text in one line.

    >>> words(("a", "b")), words({"severity": "critical"}), words(None), words(2.0), words(True)
    ('a; b', 'severity = critical', '', '2', 'yes')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Section):
        return ", ".join(f"{_label(name)}: {words(one)}" for name, one in _said(value).items())
    if isinstance(value, Mapping):
        return "; ".join(f"{key} = {words(one)}" for key, one in value.items())
    if isinstance(value, tuple | list):
        return "; ".join(words(one) for one in value)
    return str(value)


def due(level: EscalationLevel) -> str:
    """Say in words when an escalation level is due.

    >>> due(EscalationLevel(level="L2", after_attempts=2, after="1 h", severity="SEV1"))
    'after 2 attempts, or after 1 h at SEV1'
    """
    last = f" at {level.severity}" if level.severity else ""
    reasons = [
        f"after {amounts.count(level.after_attempts, 'attempt')}" if level.after_attempts else "",
        f"after {level.after}{last}" if level.after else "",
        f"{level.when}{'' if level.after else last}" if level.when else "",
    ]
    when = ", or ".join(filter(None, reasons))
    return when or last.strip()


def _escalation(front_matter: FrontMatter) -> Table:
    escalation = front_matter.escalation
    names = ("level", "when", "contact", "response time", "provide")
    rows = [
        (one.level, due(one), one.contact, one.response_time, one.provide)
        for one in escalation.levels
    ]
    if escalation.when or escalation.contact or escalation.provide:
        rows.append(("", "; ".join(escalation.when), escalation.contact, "", escalation.provide))
    return compact("escalation", names, rows)


def _is_records(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Section)


def _records(heading: str, records: Sequence[Section]) -> Table:
    names = list(type(records[0]).model_fields) if records else []
    rows = [tuple(words(_said(one).get(name)) for name in names) for one in records]
    return compact(heading, [_label(name) for name in names], rows)


def compact(heading: str, names: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    """Make a table without the columns that are empty in every row.

    >>> compact("x", ["a", "b"], [("1", ""), ("2", "")]).names
    ('a',)
    """
    kept_rows = list(rows)
    kept = [number for number in range(len(names)) if any(row[number] for row in kept_rows)]
    return Table(
        heading=heading,
        names=tuple(names[number] for number in kept),
        rows=tuple(tuple(row[number] for number in kept) for row in kept_rows),
    )


def _said(value: Section | Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a section that differ from their defaults."""
    if isinstance(value, Mapping):
        return dict(value)
    return {
        name: getattr(value, name)
        for name, field in type(value).model_fields.items()
        if field.is_required() or getattr(value, name) != field.default
    }


def _label(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ") + (" (s)" if name.endswith("_s") else "")
