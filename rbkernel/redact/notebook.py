"""Find the secrets in a notebook; the result gives their places, never their values."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rbkernel.redact.names import is_secret
from rbkernel.redact.span import MASK
from rbkernel.redact.text import TextRedactor
from rbkernel.redact.values import Redactor


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One secret: its place in the notebook, and the rule that found it."""

    where: str
    rule: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}"


def leaks(
    notebook: Mapping[str, Any],
    texts: TextRedactor | None = None,
    *,
    but_outputs_of: Container[int | None] = (),
) -> tuple[Leak, ...]:
    """Find the secrets in a notebook's cells, outputs and metadata.

    The kernel cannot redact these: papermill writes the injected cell and ``metadata.papermill``,
    and people write the sources. The outputs of the cells ``but_outputs_of``, by their index from
    0, are not searched.

    >>> [str(leak) for leak in leaks({"metadata": {"papermill": {"parameters": {"dsn": "x"}}},
    ...     "cells": [{"source": "PGPASSWORD=geheim1 psql", "metadata": {}}]})]
    ['cell 1, source: password', 'metadata papermill parameters dsn: password']
    """
    redactor = Redactor(texts)
    found = []
    for index, cell in enumerate(notebook.get("cells", ())):
        parts = [*_sources(cell), *([] if index in but_outputs_of else _outputs(cell))]
        for part, value in parts:
            where = f"cell {index + 1}, {part}"
            found += [Leak(where=where, rule=rule) for rule in _in(redactor, value)]
    for path, value in _under("metadata", notebook.get("metadata", {})):
        found += [Leak(where=path, rule=rule) for rule in _in(redactor, value)]
        if is_secret(path.rpartition(" ")[2]) and value and not MASK.fullmatch(str(value)):
            found.append(Leak(where=path, rule="password"))
    return tuple(dict.fromkeys(found))


def _sources(cell: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    source = cell.get("source", "")
    yield "source", "".join(source) if isinstance(source, list) else source
    yield "metadata", cell.get("metadata", {})
    yield "attachments", {"attachments": cell.get("attachments", {})}


def _outputs(cell: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for number, output in enumerate(cell.get("outputs", ()), 1):
        yield f"output {number}", output


def _in(redactor: Redactor, value: Any) -> list[str]:
    redactor.counts.clear()
    redactor.value(value)
    # an attached picture cannot be searched, but does not count as a secret
    return [rule for rule in redactor.counts if not rule.startswith("withheld")]


def _under(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _under(f"{path} {key}", one)
    elif isinstance(value, bool | str | int | float | list):
        yield path, value
