"""Remove secrets from the texts in a line of a journal or in a document. Pure.

Only texts of people and programs are searched for secrets. All other fields are written by the
recorder: numbers, times, ids, hashes, states, counts. They have a fixed form and hold no typed
text, so they must stay unchanged even if a known secret looks like a part of them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from rbkernel import strictjson
from rbkernel.evidence.normal import text
from rbkernel.redact import Redactor

Fields = Mapping[str, Any]

# for each kind of line except events: the fields that are texts
_TEXTS: Mapping[str, frozenset[str]] = {
    "kernel": frozenset({"runbook", "incident"}),
    "request": frozenset({"code"}),
    "iopub": frozenset({"metadata"}),  # the content: by the protocol's fields
    "reply": frozenset({"ename", "evalue"}),
    "end": frozenset(),
}
# for each kind of event: the fields that the recorder itself writes
_OWN: Mapping[str, frozenset[str]] = {
    "run": frozenset({"id", "headless", "started_at", "verdict", "finished", "continues"}),
    "finding": frozenset({"verdict", "value", "at"}),
    "measured": frozenset({"value", "at", "how", "cluster", "standby"}),
    "decision": frozenset({"id", "identity", "state", "at", "origin"}),
    "plan": frozenset({"id", "state"}),
    "done": frozenset({"plan", "at"}),
    "tick": frozenset({"done", "at"}),
    "note": frozenset({"at"}),
    "summary": frozenset({"verdict"}),
    "snapshot": frozenset({"sha256", "sha256_as_it_was", "found"}),
    "redaction": frozenset({"rules"}),
    "late secret": frozenset({"name", "lines"}),
}
_OWN_OF_CELL = frozenset({"cell_type", "id", "execution_count"})
_OWN_OF_OUTPUT = frozenset({"output_type", "name", "execution_count"})
_OWN_OF_DOCUMENT = frozenset({"nbformat", "nbformat_minor"})


def redacted_data(kind: str, data: Fields, redactor: Redactor) -> Fields:
    """Return an event's data without secrets; the same object if the data holds no secret.

    >>> redactor = Redactor()
    >>> redactor.learn("typed", "unknown-2026")
    True
    >>> data = {"verdict": "unknown-2026", "actual": "seen: unknown-2026"}
    >>> dict(redacted_data("finding", data, redactor))
    {'verdict': 'unknown-2026', 'actual': 'seen: [redacted:typed]'}
    """
    return _all_but(_OWN.get(kind, frozenset()), data, redactor)


def redacted_line(line: bytes, redactor: Redactor) -> bytes:
    """Return a journal's line without secrets; the same bytes object if it holds no secret.

    >>> redacted_line(b'{"seq":1,"kind":"redaction","data":{"rules":{"password":5}}}', Redactor())
    b'{"seq":1,"kind":"redaction","data":{"rules":{"password":5}}}'
    """
    entry = strictjson.loads(line)
    kind = str(entry["kind"])
    if kind in _TEXTS:
        clean = _only(_TEXTS[kind], entry, redactor)
    else:
        data = redacted_data(kind, entry["data"], redactor)
        clean = entry if data is entry["data"] else {**entry, "data": data}
    if kind == "iopub":
        clean = _with_clean_content(clean, redactor)
    if "buffers" in entry:
        clean = _with_clean_buffers(clean, redactor)
    return line if clean is entry else strictjson.dumps(clean) + b"\n"


def redacted_document(document: bytes, redactor: Redactor) -> bytes:
    r"""Return a notebook without secrets; the same bytes object if it holds no secret.

    A secret may span several lines, so the lines of a cell are searched as one text.

    >>> redacted_document(b'{"cells": [{"source": ["PGPASSWORD=geheim1\\n", "x"]}]}', Redactor())
    b'{"cells":[{"source":"PGPASSWORD=[redacted:password]\\nx"}]}\n'
    """
    notebook = strictjson.loads(document)
    clean = _redacted_notebook(notebook, redactor)
    return document if clean is notebook else strictjson.dumps(clean) + b"\n"


def _redacted_notebook(notebook: Any, redactor: Redactor) -> Any:
    cells = notebook.get("cells") if isinstance(notebook, Mapping) else None
    if not isinstance(cells, list):
        return redactor.value(notebook)
    found = [_redacted_cell(cell, redactor) for cell in cells]
    clean = _all_but(_OWN_OF_DOCUMENT | {"cells"}, notebook, redactor)
    if all(new is old for new, old in zip(found, cells, strict=True)):
        return clean
    return {**clean, "cells": found}


def _redacted_cell(cell: Any, redactor: Redactor) -> Any:
    if not isinstance(cell, Mapping):
        return redactor.value(cell)
    clean = _all_but(_OWN_OF_CELL | {"source", "outputs"}, cell, redactor)
    source = text(cell.get("source"))
    if (said := redactor.text(source)) != source:
        clean = {**clean, "source": said}
    outputs = cell.get("outputs")
    if isinstance(outputs, list):
        found = [_redacted_output(one, redactor) for one in outputs]
        if any(new is not old for new, old in zip(found, outputs, strict=True)):
            clean = {**clean, "outputs": found}
    return clean


def _redacted_output(output: Any, redactor: Redactor) -> Any:
    if not isinstance(output, Mapping):
        return redactor.value(output)
    return _all_but(_OWN_OF_OUTPUT, output, redactor)


def _all_but(own: frozenset[str], fields: Fields, redactor: Redactor) -> Fields:
    return _only(frozenset(fields) - own, fields, redactor)


def _only(texts: frozenset[str], fields: Fields, redactor: Redactor) -> Fields:
    """Remove secrets from the named fields only; return the same object if nothing changes."""
    said = {name: value for name, value in fields.items() if name in texts}
    clean = redactor.fields(said)
    return fields if clean is said or clean == said else {**fields, **clean}


def _with_clean_content(entry: Fields, redactor: Redactor) -> Fields:
    content = redactor.fields(entry["content"])
    same = content is entry["content"] or content == entry["content"]
    return entry if same else {**entry, "content": content}


def _with_clean_buffers(entry: Fields, redactor: Redactor) -> Fields:
    buffers = [base64.b64decode(part) for part in entry["buffers"]]
    clean = [bytes(redactor.buffer(part)) for part in buffers]
    if clean == buffers:
        return entry
    return {**entry, "buffers": [base64.b64encode(part).decode() for part in clean]}
