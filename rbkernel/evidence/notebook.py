"""Convert bytes to notebooks and back; the bytes may be old, damaged or hostile.

Every returned notebook is valid nbformat 4.5, and each of its cells has a unique id. A generated
id depends only on the cell's position, so that the same bytes always give the same notebook.

nbformat is loaded at its first use: it loads jsonschema, and a list of runs needs neither.
"""

from __future__ import annotations

import json
import re
import warnings
from itertools import count, zip_longest
from typing import TYPE_CHECKING, Any

from rbkernel import notebookformat, strictjson
from rbkernel.errors import EvidenceError
from rbkernel.evidence.normal import text

if TYPE_CHECKING:
    from nbformat import NotebookNode

_CELL_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}", re.ASCII)
_MADE_UP = "rbkernel-cell-"
_READABLE_ID = re.compile(r"[a-z]+\d{0,3}(?:[-_](?:[a-z]+\d{0,3}|\d{1,3}))*", re.ASCII)
_RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f-]{27})?", re.ASCII)
_SHOWN_CHARACTERS = 70


def parse(data: bytes, *, where: str) -> NotebookNode:
    """Parse a notebook from bytes.

    Raises
    ------
    EvidenceError
        The bytes are no notebook: cut off, not UTF-8, not JSON, nested too deeply, or without a
        notebook's structure.
    """
    import nbformat

    try:
        document = notebookformat.load(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about ids, which are repaired here
            notebook = _upgraded(document)
            nbformat.validate(notebook)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unreadable(error, where) from error
    except nbformat.ValidationError as error:
        raise _unreadable(error, where) from error
    return notebook


def dump(notebook: NotebookNode) -> bytes:
    """Return the bytes of a notebook, as Jupyter writes them, in strict JSON.

    Raises
    ------
    EvidenceError
        The notebook is not valid.
    """
    import nbformat

    try:
        nbformat.validate(notebook)
        # papermill keeps parameters as they are; JSON does not have NaN and infinity
        strict = node({**notebook, "metadata": strictjson.normal(notebook.metadata, str)})
        written: str = nbformat.writes(strict)
        return written.encode() + b"\n"
    except UnicodeEncodeError:
        # half of a surrogate pair has no UTF-8 encoding, only a JSON escape
        return json.dumps(strict, ensure_ascii=True, indent=1).encode() + b"\n"
    except nbformat.ValidationError as error:
        raise _unreadable(error, "the notebook given") from error


def code_cells(notebook: NotebookNode) -> list[tuple[int, NotebookNode]]:
    """Return the code cells that a frontend would run (not the empty ones), with their indexes."""
    return [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]


def node(value: object) -> NotebookNode:
    """Convert plain JSON to nbformat's `NotebookNode`."""
    import nbformat

    made: NotebookNode = nbformat.from_dict(value)
    return made


def label(index: int | None, cell_id: str | None, source: str) -> str:
    """Return the name of a cell for messages; the first cell is cell 1.

    The name has the cell's id if a person chose the id, else the first line of the source.

    >>> label(6, "lag", "x"), label(6, "4fa9c1d2", "\\n# Look\\nx"), label(None, None, "")
    ('cell 7 (lag)', 'cell 7, “# Look”', 'a missing cell')
    """
    number = "a missing cell" if index is None else f"cell {index + 1}"
    if cell_id and _is_readable(cell_id):
        return f"{number} ({cell_id})"
    first = first_line(source)
    return f"{number}, “{first}”" if first else number


def _is_readable(cell_id: str) -> bool:
    made_up = cell_id.startswith(_MADE_UP) or _RANDOM_ID.fullmatch(cell_id)
    return not made_up and bool(_READABLE_ID.fullmatch(cell_id))


def first_line(source: str) -> str:
    """Return the first non-blank line of a cell, cut to a readable length."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return _cut(line)


def first_difference(shown: str, recorded: str) -> str:
    r"""Describe the first difference of two texts: its line number, and the line in each text.

    >>> first_difference("a\nb = 1\nc", "a\nb = 2\nc")
    'line 2: `b = 1` instead of `b = 2`'
    >>> first_difference("\x1b[31mred", "\tred")
    'line 1: `\\x1b[31mred` instead of `\\tred`'
    >>> first_difference("a\nb", "a"), first_difference("a", "a\n")
    ('line 2: `b` instead of no line', 'line 2: no line instead of an empty line')
    """
    pairs = zip_longest(shown.split("\n"), recorded.split("\n"))
    for number, (new, old) in enumerate(pairs, 1):
        if new != old:
            letters = zip_longest(new or "", old or "")
            at = next((at for at, (one, other) in enumerate(letters) if one != other), 0)
            return f"line {number}: {_quoted(new, at)} instead of {_quoted(old, at)}"
    return ""


def _quoted(line: str | None, at: int) -> str:
    """Quote a line for a message, cut to a short length around the character at a position."""
    if not line:
        return "no line" if line is None else "an empty line"
    start = 0 if at < _SHOWN_CHARACTERS - 20 else at - 20
    return f"`{'…' if start else ''}{_cut(line[start:])}`"


def _cut(line: str) -> str:
    """Return a short line without control characters, safe for a terminal."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def lasting_id(cell: NotebookNode) -> str | None:
    """Return the cell's id if the document gave it; None for an id that rbkernel generated."""
    return None if cell.id.startswith(_MADE_UP) else str(cell.id)


def free_id(wanted: object, taken: set[str]) -> str:
    """Return a valid cell id that is not in ``taken``, and add it to ``taken``."""
    if isinstance(wanted, str) and _CELL_ID.fullmatch(wanted) and wanted not in taken:
        chosen = wanted
    else:
        chosen = next(one for n in count(1) if (one := f"{_MADE_UP}{n}") not in taken)
    taken.add(chosen)
    return chosen


def _upgraded(document: Any) -> NotebookNode:
    if document["nbformat_minor"] <= 5:
        taken: set[str] = set()
        for cell in document["cells"]:
            cell["id"] = free_id(cell.get("id"), taken)
        document["nbformat_minor"] = 5
    else:
        import nbformat

        document = nbformat.convert(node(document), 4)
    notebook = node(document)
    for cell in notebook.cells:
        cell.source = text(cell.source)
    return notebook


def _unreadable(error: Exception, where: str) -> EvidenceError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return EvidenceError(
        f"not a readable notebook: {reason}",
        where=where,
        next_step="`rbkernel evidence rebuild RUN_ID` rebuilds it from the journal",
    )
