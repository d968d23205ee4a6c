"""Front matter: required by every runbook, and no field that nothing reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.errors import RunbookError
from rbkernel.model import Severity
from rbkernel.runbook import catalogue, frontmatter

GOOD = """---
id: RUN-900
title: A title
summary: What it is for
category: incident
severity: SEV2
owner: Team
---"""


def of(source: str) -> frontmatter.FrontMatter:
    cell: Any = new_raw_cell(source)
    return frontmatter.of_notebook(new_notebook(cells=[cell]), "x.ipynb")


def test_the_team_keeps_its_words() -> None:
    found = of(GOOD)
    assert found.severity == "SEV2"
    assert found.internal_severity is Severity.HIGH
    assert found.connections == {}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("id: RUN-900", "id: 5", "id"),
        ("id: RUN-900", "id: RUN-5", "id"),
        ("id: RUN-900\n", "", "id: Field required"),
        ("title: A title", "title: ''", "title"),
        ("category: incident", "category: party", "category"),
        ("severity: SEV2", "severity: SEV9", "unknown severity"),
        ("owner: Team", "owner: [a]", "owner"),
        ("owner: Team", "owner: Team\ncolour: red", "colour: Extra inputs"),
        ("owner: Team", "owner: Team\nscope: {handels: []}", "scope.handels"),
        ("owner: Team", "owner: Team\nlast_tested: yesterday", "last_tested"),
        ("owner: Team", "owner: {", "not YAML"),
        ("owner: Team", "owner: !!python/object:os.system x", "not YAML"),
    ],
)
def test_a_bad_field_names_itself(before: str, after: str, words: str) -> None:
    with pytest.raises(RunbookError) as caught:
        of(GOOD.replace(before, after))
    assert words in caught.value.what
    assert caught.value.where == "x.ipynb, first cell"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["", "no dashes", "---", "---\nid: RUN-900"])
def test_no_front_matter_at_all(source: str) -> None:
    with pytest.raises(RunbookError, match="no front matter"):
        of(source)


@pytest.mark.parametrize("source", ["---\n---", "---\n3\n---", "---\n[a]\n---"])
def test_front_matter_that_is_no_mapping(source: str) -> None:
    with pytest.raises(RunbookError):
        of(source)


def test_only_a_raw_first_cell_counts() -> None:
    for cells in ([], [new_code_cell(GOOD)], [new_code_cell("x"), new_raw_cell(GOOD)]):
        with pytest.raises(RunbookError, match="no front matter"):
            frontmatter.of_notebook(new_notebook(cells=cells), "x.ipynb")


def test_ours_are_all_readable() -> None:
    known, problems = catalogue.runbooks(())
    assert problems == []
    assert {"RUN-001", "RUN-005", "RUN-006"} <= {runbook.id for runbook in known}
    for runbook in known:
        assert set(runbook.front_matter.connections) <= set(runbook.parameters)
        assert "incident" in runbook.parameters


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"cells": 3}', b"null"])
def test_what_is_no_notebook_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(RunbookError) as caught:
        catalogue.read(path)
    assert str(path) in caught.value.where
