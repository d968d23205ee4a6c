"""Find the action items that people wrote into a postmortem. Pure.

They are the rows of each table with the columns action, owner, due and ticket, as in the template.
An item is open if its box is not ticked and it has no ticket.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from rbkernel.runbook.placeholders import PLACEHOLDER

_COLUMNS = ("action", "owner", "due", "ticket")
_OPEN = frozenset({"", "☐", "[ ]"})
_BETWEEN = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~&])")


@dataclass(frozen=True, kw_only=True)
class ActionItem:
    """An open action item; ``owner`` and ``due`` are empty if nobody filled them in."""

    action: str
    owner: str = ""
    due: str = ""

    def key(self, incident: str) -> str:
        """Return what identifies the item in its incident: the same text is the same item.

        >>> ActionItem(action="Add an alert").key("INC-1")
        '890290468f9f780f'
        """
        said = " ".join(self.action.split()).casefold()
        return hashlib.sha256(f"{incident}\n{said}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ActionItems:
    """The open items of a postmortem, and how many rows nobody has filled in yet."""

    open: tuple[ActionItem, ...]
    to_write: int


def items_of(notebook: NotebookNode) -> ActionItems:
    """Return the action items of a postmortem's notebook, each once."""
    rows = [
        row
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for row in rows_of(cell.source)
    ]
    left = [row for row in rows if _is_open(row)]
    known = [row for row in left if not PLACEHOLDER.search(row["action"])]
    found = (
        ActionItem(action=row["action"], owner=_written(row["owner"]), due=_written(row["due"]))
        for row in known
    )
    return ActionItems(
        open=tuple({one.key(""): one for one in found}.values()), to_write=len(left) - len(known)
    )


def rows_of(text: str) -> Iterator[dict[str, str]]:
    r"""Yield the rows of the tables of action items in a Markdown text.

    >>> head = "| | action | owner | due | ticket |\n|---|---|---|---|---|\n"
    >>> table = f"{head}| ☐ | a \\| b | ann | | |"
    >>> list(rows_of(table))
    [{'box': '☐', 'action': 'a | b', 'owner': 'ann', 'due': '', 'ticket': ''}]
    """
    names: list[str] = []
    for line in text.splitlines():
        if not line.lstrip().startswith("|"):
            names = []
            continue
        cells = [_plain(one) for one in _BETWEEN.split(line.strip().removeprefix("|"))]
        if line.strip().endswith("|"):
            cells = cells[:-1]
        if {one.lower() for one in cells} >= {*_COLUMNS}:
            names = [one.lower() or "box" for one in cells]
        elif names and not all(re.fullmatch(r":?-+:?", one) for one in cells):
            empty = dict.fromkeys(("box", *_COLUMNS), "")
            yield {**empty, **dict(zip(names, cells, strict=False))}


def _is_open(row: dict[str, str]) -> bool:
    return row["box"] in _OPEN and bool(row["action"]) and not _written(row["ticket"])


def _written(text: str) -> str:
    """Return what somebody wrote into a field; empty if its placeholder is still there."""
    return "" if PLACEHOLDER.search(text) else text


def _plain(cell: str) -> str:
    return _ESCAPED.sub(r"\1", cell.strip())
