"""Extract the id and the triggers of an unreadable runbook, as far as possible.

An alert for such a runbook must not silently start another runbook. Therefore its id and triggers
are also extracted from invalid text: from the fields that can be parsed, else block by block.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rbkernel.runbook import frontmatter_text
from rbkernel.runbook.frontmatter_sections import Trigger, many

if TYPE_CHECKING:
    from nbformat import NotebookNode

_ID = re.compile(r"RUN-\d{3,}|TEMPLATE(?:-[A-Z]+)+|POSTMORTEM")
_FIELD = re.compile(r"^\w+[ \t]*:", re.MULTILINE)
_LIKE = 0.75  # how similar a misspelt field's name must be, as difflib measures it


@dataclass(frozen=True, kw_only=True)
class Gist:
    """The id (empty if unknown) and the triggers (None if unknown) of a runbook."""

    id: str = ""
    triggers: tuple[Trigger, ...] | None = None


NOTHING = Gist(triggers=())


def of_notebook(notebook: NotebookNode) -> Gist:
    """Extract id and triggers from invalid front matter; both are unknown if there is none."""
    cell = notebook.cells[0] if notebook.cells else None
    source = cell.source.strip() if cell is not None and cell.cell_type == "raw" else ""
    if not source.startswith("---"):
        return NOTHING
    return of_text("\n".join(line for line in source.splitlines() if line.strip() != "---"))


def of_text(source: str) -> Gist:
    """Extract id and triggers from invalid YAML.

    >>> of_text("id: RUN-104\\nseverty: P1\\ntrigers: [{alert: DiskFull}]").triggers[0].alert
    'DiskFull'
    >>> of_text("id: RUN-104\\ntitle: a: b\\ntriggers:\\n  - alert: DiskFull").triggers[0].alert
    'DiskFull'
    >>> of_text("id: RUN-104\\ntriggers: [{alert: Disk").triggers is None
    True
    """
    fields, _, _ = frontmatter_text.load(source)
    whole = isinstance(fields, Mapping)
    said = dict(fields) if isinstance(fields, Mapping) else dict(_blocks(source))
    found = _ID.search(str(_field(said, "id") or ""))
    declared = _field(said, "triggers")
    names = said if whole else {name[0].rstrip(" \t:"): None for name in _FIELD.finditer(source)}
    if declared is None and _named(names, "triggers") is None:
        triggers: tuple[Trigger, ...] | None = ()
    else:
        triggers = tuple(_triggers(declared)) or None
    return Gist(id=found[0] if found else "", triggers=triggers)


def of_bytes(document: bytes) -> Gist:
    r"""Extract the id, if any, from a file that is not a valid notebook.

    >>> of_bytes(b'{"cells": [{"source": ["---\\n", "id: RUN-104\\n"').id
    'RUN-104'
    """
    found = re.search(rb"\bid\s*:\s*(RUN-\d{3,})", document)
    return Gist(id=found[1].decode() if found else "")


def _blocks(source: str) -> Iterator[tuple[str, Any]]:
    """Parse the top-level fields one by one, and skip those that are not YAML."""
    starts = [found.start() for found in _FIELD.finditer(source)]
    for start, end in zip(starts, [*starts[1:], len(source)], strict=True):
        fields, _, _ = frontmatter_text.load(source[start:end])
        if isinstance(fields, Mapping):
            yield from fields.items()


def _field(fields: Mapping[str, Any], name: str) -> Any:
    """Return the value of a front matter field, even if its name is misspelt."""
    return fields.get(_named(fields, name) or name)


def _named(fields: Mapping[str, Any], name: str) -> str | None:
    """Return the key of a field in this mapping, even if it is misspelt; None if there is none.

    >>> _named({"Trigers": 1}, "triggers"), _named({"title": 1}, "triggers")
    ('Trigers', None)
    """
    known = {str(one).lower(): one for one in fields}
    near = difflib.get_close_matches(name, known, 1, _LIKE)
    return known[near[0]] if near else None


def _triggers(declared: Any) -> Iterator[Trigger]:
    for one in many(declared) if isinstance(declared, str | Mapping | list) else ():
        try:
            yield Trigger.model_validate(one)
        except ValidationError:
            if isinstance(one, Mapping) and (trigger := _as_far_as_it_goes(one)):
                yield trigger


def _as_far_as_it_goes(fields: Mapping[str, Any]) -> Trigger | None:
    """Return a trigger built from the readable fields, or None."""
    alert, match = _field(fields, "alert"), _field(fields, "match")
    labels = match if isinstance(match, Mapping) else {}
    try:
        return Trigger(
            alert=str(alert or ""), match={str(name): str(labels[name]) for name in labels}
        )
    except ValidationError:
        return None
