"""--fix: what it mends, that nothing else changes, and that a second time changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode

from rbkernel.lint import Document, Level, check
from rbkernel.lint.fix import fix
from rbkernel.runbook import catalogue
from tests.support.good_runbook import (
    Spoil,
    code,
    document,
    front,
    good,
    replace,
    surroundings,
    words,
)
from tests.support.lint_examples import EXAMPLES

FIXED = {
    code: EXAMPLES[code].bad
    for code in ("RB003", "RB006", "RB007", "RB009")
} | {"RB305": EXAMPLES["RB305"].bad[:1], "RB008": EXAMPLES["RB008"].bad[:2]}  # fmt: skip
SPOILS = [spoil for spoils in FIXED.values() for spoil in spoils]
PATH = Path("good.ipynb")


def spoiled(*spoils: Spoil) -> Document:
    notebook = good()
    for spoil in spoils:
        spoil(notebook)
    return document(notebook, PATH)


def sources(read: Document) -> list[str]:
    return sorted(cell.source for cell in read.cells)


@pytest.mark.parametrize(
    ("code", "spoil"), [(code, spoil) for code, spoils in FIXED.items() for spoil in spoils]
)
def test_it_mends(code: str, spoil: Spoil) -> None:
    before = spoiled(spoil)
    assert code in {problem.code for problem in check(before, surroundings())}
    mended, done = fix(before, {})
    assert done
    assert code not in {problem.code for problem in check(mended, surroundings())}
    kept = [text for text in sources(before) if text != 'db = "other"']
    assert sources(mended) == kept
    assert fix(mended, {}) == (mended, [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(SPOILS), unique=True, max_size=4))
def test_it_is_idempotent_and_keeps_every_source(spoils: list[Spoil]) -> None:
    def spoil_all(notebook: NotebookNode) -> None:
        for one in spoils:
            try:
                one(notebook)
            except (AttributeError, StopIteration, KeyError):
                continue  # an earlier one has taken away what this one spoils

    before = spoiled(spoil_all)
    mended, _ = fix(before, {})
    again, done = fix(mended, {})
    assert done == []
    assert again.raw == mended.raw
    assert [text for text in sources(before) if text != 'db = "other"'] == sources(mended)


@pytest.mark.parametrize("path", sorted(catalogue.packaged("notebooks").glob("*.ipynb")))
def test_what_is_good_is_not_touched(path: Path) -> None:
    read = Document.read(path)
    assert fix(read, {}) == (read, [])


def test_comments_and_order_of_the_front_matter_stay() -> None:
    comment = replace("front-matter", "severity: SEV2", "severity: SEV2  # as the team says it")
    before = spoiled(comment, FIXED["RB003"][0], FIXED["RB008"][1])
    mended, _ = fix(before, {})
    assert mended.cells[0].source == before.cells[2].source


def test_what_is_suppressed_or_off_is_left_alone() -> None:
    spoil = FIXED["RB003"][0]
    reason = replace(
        "query", "slots =", "# rbkernel: ignore RB003 because it is an example\nslots ="
    )
    kept = spoiled(spoil, reason)
    assert fix(kept, {}) == (kept, [])
    plain = spoiled(spoil)
    assert fix(plain, {"RB003": Level.OFF}) == (plain, [])


def _assigned_before(notebook: NotebookNode) -> None:
    notebook.cells.insert(2, notebook.cells.pop(3))
    replace("start", "rb.start(", "db = 'x'\nrb.start(")(notebook)


def _two_could_be_meant(notebook: NotebookNode) -> None:
    code("threshold: int = 1", after="parameters")(notebook)
    notebook.cells[2].metadata.tags = []


def _another_language(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "Bash", "language": "bash"}


@pytest.mark.parametrize("spoil", [_assigned_before, _two_could_be_meant, _another_language])
def test_what_is_not_plain_is_left_to_a_human(spoil: Spoil) -> None:
    before = spoiled(spoil)
    assert check(before, surroundings())
    assert fix(before, {}) == (before, [])


def test_the_file_is_laid_out_as_jupyter_does_it() -> None:
    mended, _ = fix(spoiled(FIXED["RB003"][0], words("ü"), front(owner="Ölteam")), {})
    text = mended.raw.decode()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
    assert "Ölteam" in text
