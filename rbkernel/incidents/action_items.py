"""Find the action items that people wrote into a postmortem. Pure.

They are the rows of each table with the columns action, owner, due and ticket, as in the template.
An item is open if its box is not ticked and it has no ticket. A row that can be read in two ways is
neither open nor closed: it is unclear, and a person is told.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode

from rbkernel.runbook.placeholders import PLACEHOLDER

_COLUMNS = ("action", "owner", "due", "ticket")
_OPEN, _CLOSED = frozenset({"", "☐", "[ ]"}), frozenset({"☑", "☒", "✅", "[x]", "[X]"})
_CHAPTER = re.compile(r"(?im)^#+ *action items\b")
_TICKET = re.compile(r"https?://\S|(?<!\w)[A-Za-z]\w*-\d+(?!\w)|#\d+")
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
    """The open items of a postmortem, and how many rows nobody has filled in yet.

    ``unclear`` are the rows of which nobody can tell whether they are open.
    """

    open: tuple[ActionItem, ...]
    to_write: int
    unclear: tuple[str, ...] = ()


def items_of(notebook: NotebookNode) -> ActionItems:
    """Return the action items of a postmortem's notebook, each once."""
    rows = [
        row
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for row in rows_of(cell.source)
    ]
    unclear = tuple(row["row"] for row in rows if _is_unclear(row))
    left = [row for row in rows if _is_open(row)]
    known = [row for row in left if not PLACEHOLDER.search(row["action"])]
    found = (
        ActionItem(action=row["action"], owner=_written(row["owner"]), due=_written(row["due"]))
        for row in known
    )
    return ActionItems(
        open=tuple({one.key(""): one for one in found}.values()),
        to_write=len(left) - len(known),
        unclear=unclear,
    )


def rows_of(text: str) -> Iterator[dict[str, str]]:
    r"""Yield the rows of the tables of action items in a Markdown text.

    ``row`` is the text of the row. A row that does not fit the head of its table has no other
    field, and so has each row of a chapter "Action items" whose table has other columns.

    >>> head = "| | action | owner | due | ticket |\n|---|---|---|---|---|\n"
    >>> table = f"{head}| ☐ | a \\| b | ann | | |"
    >>> [row] = rows_of(table)
    >>> row["box"], row["action"], row["owner"], row["ticket"]
    ('☐', 'a | b', 'ann', '')
    >>> list(rows_of(f"{head}| ☐ | a | b | ann | | |"))
    [{'row': '| ☐ | a | b | ann | | |'}]
    """
    names: list[str] = []
    is_chapter = bool(_CHAPTER.search(text))
    for line in text.splitlines():
        if not line.lstrip().startswith("|"):
            names = []
            continue
        cells = [_plain(one) for one in _BETWEEN.split(line.strip().removeprefix("|"))]
        if line.strip().endswith("|"):
            cells = cells[:-1]
        if {one.lower() for one in cells} >= {*_COLUMNS}:
            names = [one.lower() or "box" for one in cells]
        elif all(re.fullmatch(r":?-+:?", one) for one in cells):
            continue
        elif names and len(cells) == len(names):
            empty = dict.fromkeys(("box", *_COLUMNS), "")
            yield {**empty, **dict(zip(names, cells, strict=True)), "row": line.strip()}
        elif (names or is_chapter) and any(cells):
            yield {"row": line.strip()}


def _is_open(row: dict[str, str]) -> bool:
    if not row.get("action"):
        return False
    return row["box"] in _OPEN and not _written(row["ticket"])


def _is_unclear(row: dict[str, str]) -> bool:
    """Return whether nobody can tell if a row is open: its cells, box or ticket are no known form.

    >>> def row(box, ticket):
    ...     return {"box": box, "action": "a", "ticket": ticket}
    >>> [_is_unclear(row(*one)) for one in (("☐", "SHOP-1"), ("☐", "#12"), ("☑", "-"), ("[]", ""))]
    [False, False, False, True]
    >>> [_is_unclear(row("☐", ticket)) for ticket in ("-", "tbd", "2026-12-24")]
    [True, True, True]
    """
    if "action" not in row:
        return True
    if row["box"] in _CLOSED or not row["action"]:
        return False
    ticket = _written(row["ticket"])
    return row["box"] not in _OPEN or bool(ticket and not _TICKET.search(ticket))


def _written(text: str) -> str:
    """Return what somebody wrote into a field; empty if its placeholder is still there."""
    return "" if PLACEHOLDER.search(text) else text


def _plain(cell: str) -> str:
    return _ESCAPED.sub(r"\1", cell.strip())
