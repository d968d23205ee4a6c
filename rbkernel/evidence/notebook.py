"""Bytes ↔ notebook, for documents that may be anything: old, damaged, hostile.

Every notebook that leaves here is valid nbformat 4.5 and each of its cells has an id of its own.
Ids that had to be made up depend on the position alone, so that the same bytes always give the
same notebook.
"""

from __future__ import annotations

import json
import re
import warnings
from itertools import count
from typing import Any

import nbformat
from nbformat import NotebookNode

from rbkernel.errors import EvidenceError
from rbkernel.evidence.normal import text

_CELL_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}", re.ASCII)
_MADE_UP = "rbkernel-cell-"


def parse(data: bytes, *, where: str) -> NotebookNode:
    """Return the notebook that the bytes hold.

    Raises
    ------
    EvidenceError
        They hold none: cut, not UTF-8, not JSON, too deep, or not of a notebook's shape.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the ids, which are mended here
            notebook = _upgraded(document)
            nbformat.validate(notebook)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(error, where) from error
    except nbformat.ValidationError as error:
        raise _unreadable(error, where) from error
    return notebook


def dump(notebook: NotebookNode) -> bytes:
    """Return the bytes of a notebook, as Jupyter writes them.

    Raises
    ------
    EvidenceError
        It is not valid.
    """
    try:
        nbformat.validate(notebook)
        written: str = nbformat.writes(notebook)
        return written.encode() + b"\n"
    except UnicodeEncodeError:
        # half of a surrogate pair, as a cell may print it, has no UTF-8: only JSON can say it
        return json.dumps(notebook, ensure_ascii=True, indent=1).encode() + b"\n"
    except nbformat.ValidationError as error:
        raise _unreadable(error, "the notebook given") from error


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Return the code cells that a frontend would run, each with its position."""
    return [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def node(value: object) -> NotebookNode:
    """Return plain JSON as the kind of mapping that nbformat works with."""
    made: NotebookNode = nbformat.from_dict(value)
    return made


def label(index: int, source: str) -> str:
    """Return how to name a cell to a person; cells count from 1.

    >>> label(6, "\\n# Look\\nx")
    'cell 7: # Look'
    """
    first = first_line(source)
    return f"cell {index + 1}: {first}" if first else f"cell {index + 1}"


def first_line(source: str) -> str:
    """Return the first line of a cell that is not blank, cut to a readable length."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return line if len(line) <= 70 else f"{line[:69]}…"


def lasting_id(cell: NotebookNode) -> str | None:
    """Return the id that the document itself gives the cell; None for one made up here."""
    return None if cell.id.startswith(_MADE_UP) else str(cell.id)


def free_id(wanted: object, taken: set[str]) -> str:
    """Return a valid cell id that no other cell has, and take it."""
    if isinstance(wanted, str) and _CELL_ID.fullmatch(wanted) and wanted not in taken:
        chosen = wanted
    else:
        chosen = next(one for n in count(1) if (one := f"{_MADE_UP}{n}") not in taken)
    taken.add(chosen)
    return chosen


def _upgraded(document: Any) -> NotebookNode:
    if document["nbformat"] == 4 and document["nbformat_minor"] <= 5:
        taken: set[str] = set()
        for cell in document["cells"]:
            cell["id"] = free_id(cell.get("id"), taken)
        document["nbformat_minor"] = 5
    else:
        document = nbformat.convert(node(document), 4)
    notebook = node(document)
    for cell in notebook.cells:
        cell.source = text(cell.source)
    return notebook


def _unreadable(error: Exception, where: str) -> EvidenceError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return EvidenceError(
        f"not a notebook that can be read: {reason}",
        where=where,
        next_step="`rbkernel evidence rebuild RUN_ID` makes it again from the journal",
    )
