"""Files that are no notebook of format 4: refused with a sentence, whoever reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rbkernel.errors import RbkernelError
from rbkernel.evidence import notebook as documents
from rbkernel.lint.document import Document
from rbkernel.runbook import catalogue

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
