"""Code blocks of Jekyll, Hugo, HTML, MyST and others are read as the fences that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rbkernel.importer.notebook import Imported
from tests.support import completeness
from tests.support.markdown_corpus import code_of, imported, text_of

CORPUS = yaml.safe_load(
    (Path(__file__).parents[1] / "corpora/code_blocks.yaml").read_text(encoding="utf-8")
)
BLOCKS = {**CORPUS["implemented"], **CORPUS["held_out"]}


def _imported(say: str) -> Imported:
    """Import a document with a block, and check that nothing of it is lost."""
    source = f"# T\n\n## Look\n\n{say}\n\nAfterwards.\n"
    [one] = imported(source.encode())
    cells = [dict(cell) for cell in one.notebook.cells]
    assert completeness.lost(source, cells) == []
    assert completeness.refused_by_bash(list(completeness.commands(cells))) == []
    return one


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_is_read_as_a_fence(block: dict[str, Any]) -> None:
    one = _imported(block["say"])
    code = f"{text_of(one)}\n{code_of(one)}"
    assert [text for text in block["runs"] if text not in code] == []


@pytest.mark.parametrize("say", CORPUS["text"].values(), ids=CORPUS["text"])
def test_a_near_miss_stays_text(say: str) -> None:
    code = code_of(_imported(say))
    assert not any(word in code for word in ("rb.shell(", "rb.act(", "rb.http(", "%%sql"))


def test_there_are_enough_of_each() -> None:
    assert len(CORPUS["implemented"]) >= 15
    assert len(CORPUS["held_out"]) >= 15
    assert len(CORPUS["text"]) >= 10
