"""Read the bytes of a notebook in format 4, the format that Jupyter writes. Pure.

Other formats are refused. In an older notebook, cells have no ids and outputs have another form, so
it cannot be compared with a record. A newer format is unknown.

nbformat validates notebooks, but takes longer to import than everything else that reads a runbook.
`plain` therefore recognizes the notebooks that a runbook usually is; nbformat decides about others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rbkernel import strictjson

_FORMAT, _MINOR = 4, 5
_ID = re.compile(r"[a-zA-Z0-9-_]{1,64}")
# the members of each kind of cell in nbformat's schema; all of a code cell are required
_MEMBERS: Mapping[str, frozenset[str]] = {
    "raw": frozenset({"id", "cell_type", "metadata", "source"}),
    "markdown": frozenset({"id", "cell_type", "metadata", "source"}),
    "code": frozenset({"id", "cell_type", "metadata", "source", "outputs", "execution_count"}),
}
# metadata that the schema restricts, and that is left to nbformat
_WITH_A_FORM = frozenset({"collapsed", "execution", "format", "name", "scrolled"})
_WITH_A_FORM_ABOVE = frozenset({"authors", "orig_nbformat", "title"})


class Node(dict[str, Any]):
    """A JSON object whose members are also attributes, as in nbformat's `NotebookNode`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def load(data: bytes) -> dict[str, Any]:
    """Return the JSON of a notebook of format 4.

    Raises
    ------
    ValueError
        The bytes are not such a notebook; the message gives the reason as part of a sentence.

    >>> load(b'{"nbformat": 3, "worksheets": []}')
    Traceback (most recent call last):
    ...
    ValueError: the notebook has format 3, and format 4 is needed: open the notebook ...
    """
    document = _json(data)
    if not isinstance(document, dict) or "nbformat" not in document:
        raise ValueError("the file is JSON, but not a notebook")
    given = document["nbformat"]
    if given != _FORMAT or isinstance(given, bool):
        kind = f"format {given}" if isinstance(given, int) else "an unknown format"
        newer = isinstance(given, int) and given > _FORMAT
        advice = "save it as format 4" if newer else "open the notebook in JupyterLab and save it"
        raise ValueError(f"the notebook has {kind}, and format {_FORMAT} is needed: {advice}")
    if not isinstance(document.get("cells"), list):
        raise ValueError("the file is not a notebook: it has no list of cells")  # noqa: TRY004  # of bytes
    return document


def plain(document: Mapping[str, Any]) -> Node | None:
    """Return a notebook if it is certainly valid; None if nbformat must decide.

    A certainly valid notebook has format 4.5, no outputs, no attachments, and only some of the
    metadata that the schema restricts.

    >>> cell = {"cell_type": "code", "id": "a", "metadata": {"tags": ["x"]}, "source": ["1", "2"],
    ...         "outputs": [], "execution_count": None}
    >>> document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    >>> plain(document).cells[0].source
    '12'
    >>> plain({**document, "cells": [cell, cell]}) is None  # the same id twice
    True
    """
    cells, metadata = document["cells"], document.get("metadata")
    known = document.keys() == {"nbformat", "nbformat_minor", "metadata", "cells"}
    if not known or document["nbformat_minor"] != _MINOR or not _is_plain_metadata(metadata):
        return None
    if not all(map(_is_plain_cell, cells)) or len({cell["id"] for cell in cells}) != len(cells):
        return None
    nodes = [Node({**cell, "source": "".join(cell["source"])}) for cell in cells]
    for node in nodes:
        node["metadata"] = _nodes(node["metadata"])
    return Node({**document, "metadata": _nodes(metadata), "cells": nodes})


def _is_plain_metadata(metadata: Any) -> bool:
    if not isinstance(metadata, dict) or metadata.keys() & _WITH_A_FORM_ABOVE:
        return False
    named = "kernelspec" not in metadata or _has_texts(
        metadata["kernelspec"], "name", "display_name"
    )
    if "language_info" not in metadata:
        return named
    language = metadata["language_info"]
    return named and _has_texts(language, "name") and _of_texts(language)


def _has_texts(fields: Any, *names: str) -> bool:
    return isinstance(fields, dict) and all(isinstance(fields.get(name), str) for name in names)


def _of_texts(fields: Mapping[str, Any]) -> bool:
    restricted = ("codemirror_mode", "file_extension", "mimetype", "pygments_lexer")
    return all(isinstance(fields.get(name, ""), str) for name in restricted)


def _is_plain_cell(cell: Any) -> bool:
    kind = cell.get("cell_type") if isinstance(cell, dict) else None
    if not isinstance(kind, str) or cell.keys() != _MEMBERS.get(kind):
        return False
    if kind == "code" and (cell["outputs"] != [] or cell["execution_count"] is not None):
        return False
    metadata, source, name = cell["metadata"], cell["source"], cell["id"]
    if not isinstance(metadata, dict) or metadata.keys() & _WITH_A_FORM:
        return False
    if not isinstance(name, str) or not _ID.fullmatch(name) or not _is_plain_use(metadata):
        return False
    return isinstance(source, str) or (
        isinstance(source, list) and all(isinstance(line, str) for line in source)
    )


def _is_plain_use(metadata: Mapping[str, Any]) -> bool:
    """Return whether a cell's tags, and what is hidden of the cell, have the form of the schema."""
    hidden, tags = metadata.get("jupyter", {}), metadata.get("tags", [])
    if not isinstance(hidden, dict) or not all(isinstance(one, bool) for one in hidden.values()):
        return False
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return False
    return len(set(tags)) == len(tags) and not any(tag == "" or "," in tag for tag in tags)


def _nodes(value: Any) -> Any:
    """Return JSON data with every object as a `Node`."""
    if isinstance(value, dict):
        return Node({name: _nodes(part) for name, part in value.items()})
    return [_nodes(part) for part in value] if isinstance(value, list) else value


def _json(data: bytes) -> Any:
    if not data.strip():
        raise ValueError("the file is empty")
    try:
        return strictjson.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        whole = data.rstrip().endswith(b"}")
        cut = "" if whole else ", perhaps because its end is missing"
        raise ValueError(f"the file is not JSON (line {error.lineno}){cut}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            "the JSON of the file cannot be read: it is nested too deep, or a number is too long"
        ) from error
