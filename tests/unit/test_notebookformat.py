"""Files that are no notebook of format 4: refused with a sentence, whoever reads them."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from rbkernel.errors import RbkernelError
from rbkernel.evidence import notebook as documents
from rbkernel.lint.document import Document
from rbkernel.notebookformat import load, plain
from rbkernel.runbook import catalogue
from rbkernel.runbook.catalogue import packaged

CELL = {"cell_type": "code", "metadata": {}, "source": "x = 1", "outputs": []}
GOOD: dict[str, Any] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
V3 = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": "old"},
    "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1", "outputs": []}]}],
}


def text(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


FILES = {
    "format 2": (json.dumps({**V3, "nbformat": 2}).encode(), "format 2, and format 4 is needed"),
    "format 3": (json.dumps(V3).encode(), "format 3, and format 4 is needed"),
    "format 5": (text(nbformat=5), "format 5, and format 4 is needed"),
    "format 0": (text(nbformat=0), "format 0, and format 4 is needed"),
    "format in words": (text(nbformat="four"), "an unknown format"),
    "format null": (text(nbformat=None), "an unknown format"),
    "format Infinity": (text(nbformat=float("inf")), "an unknown format"),
    "format true": (text(nbformat=True), "format 4 is needed"),
    "another object": (b'{"a": 1}', "JSON, but not a notebook"),
    "a list": (b"[1, 2]", "JSON, but not a notebook"),
    "null": (b"null", "JSON, but not a notebook"),
    "cut": (text()[:40], "its end is missing"),
    "empty": (b"", "the file is empty"),
    "blank": (b" \n", "the file is empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
    "UTF-16": (text().decode().encode("utf-16"), "not UTF-8"),
    "a page": (b"<html></html>", "not JSON"),
    "too deep": (b"[" * 100_000, "nested too deep"),
    "a long number": (b'{"nbformat": ' + b"9" * 5000 + b"}", "an unknown format"),
    "no cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no list of cells"),
    "cells of text": (text(cells=["x"]), ""),
    "no minor": (b'{"nbformat": 4, "metadata": {}, "cells": []}', ""),
}


@pytest.mark.parametrize(("data", "words"), FILES.values(), ids=FILES)
def test_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "it.ipynb"
    path.write_bytes(data)
    readers = (
        lambda: catalogue.read(path),
        lambda: Document.read(path),
        lambda: documents.parse(data, where=str(path)),
    )
    for read in readers:
        with pytest.raises(RbkernelError) as caught:
            read()
        assert words in caught.value.what
        assert caught.value.where == str(path)
        assert caught.value.next_step


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + text(cells=[{**CELL, "execution_count": None, "id": "a"}])
    assert [cell.source for cell in catalogue.parse(data).cells] == ["x = 1"]
    assert [cell.source for cell in documents.parse(data, where="x").cells] == ["x = 1"]


VALID: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"name": "rbkernel", "display_name": "rbkernel"},
        "language_info": {"name": "python"},
    },
    "cells": [
        {
            "cell_type": "raw",
            "id": "a",
            "metadata": {"jupyter": {"source_hidden": True}},
            "source": "---\nid: RUN-1\n---",
        },
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {"tags": ["parameters"], "own": {"deep": [1]}},
            "source": ["x = 1\n", "y = 2"],
            "outputs": [],
            "execution_count": None,
        },
        {"cell_type": "markdown", "id": "c", "metadata": {}, "source": ""},
    ],
}
# each is put at each place of a valid notebook
VALUES: list[Any] = [None, True, 0, -1, 4, 5, 1.5, "", "a", "b,c", "code"]
VALUES += [[], ["a", "a"], ["a,b"], [1], {}, {"a": 1}]
NAMES = [
    "collapsed",
    "format",
    "jupyter",
    "name",
    "scrolled",
    "title",
    "authors",
    "attachments",
    "id",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changes() -> Iterator[dict[str, Any]]:
    """Yield a valid notebook with one member changed, left out or added."""
    for place in filter(None, places(VALID)):
        last = place[-1]
        for value in (*VALUES, KeyError):
            changed = copy.deepcopy(VALID)
            within = functools.reduce(lambda part, key: part[key], place[:-1], changed)
            if value is KeyError:
                del within[last]
            else:
                within[last] = value
            yield changed
    for path in places(VALID):
        for name, value in itertools.product(NAMES, VALUES):
            changed = copy.deepcopy(VALID)
            within = functools.reduce(lambda part, key: part[key], path, changed)
            if isinstance(within, dict):
                within[name] = value
                yield changed


def test_what_is_plain_is_valid_and_read_as_nbformat_reads_it() -> None:
    seen = {True: 0, False: 0}
    for changed in changes():
        document = json.dumps(changed)
        try:
            node = plain(load(document.encode()))
        except ValueError:
            continue
        seen[node is not None] += 1
        if node is not None:
            nbformat.validate(changed)
            assert node == nbformat.reads(document, as_version=4)
    whole = plain(VALID)
    assert whole is not None
    assert whole.cells[1].metadata.own.deep == [1]
    assert seen[True] > 100
    assert seen[False] > 1_000


@pytest.mark.parametrize("kind", ["notebooks", "templates"])
def test_our_own_notebooks_are_plain(kind: str) -> None:
    paths = sorted(packaged(kind).glob("**/*.ipynb"))
    assert paths
    assert [path.name for path in paths if plain(load(path.read_bytes())) is None] == []


def test_the_catalogue_is_read_without_nbformat() -> None:
    program = """
import sys
from rbkernel.runbook import catalogue
known, problems = catalogue.runbooks([])
print(len(known), len(problems), 'nbformat' in sys.modules)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, problems, loaded = done.stdout.split()
    assert int(count) > 10
    assert (problems, loaded) == ("0", "False")
