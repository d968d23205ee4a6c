"""Front matter: required by every runbook, and no field that nothing reads."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_raw_cell

from rbkernel.errors import RunbookError
from rbkernel.model import Severity
from rbkernel.runbook import catalogue, frontmatter, frontmatter_text
from rbkernel.runbook.placeholders import placeholder

GOOD = """---
id: RUN-900
title: A title
summary: What it is for
category: incident
severity: SEV2
owner: Team
---"""
NOTEBOOKS = sorted(catalogue.packaged("notebooks").glob("*.ipynb"))


def of(source: str) -> frontmatter.FrontMatter:
    cell: Any = new_raw_cell(source)
    return frontmatter.of_notebook(new_notebook(cells=[cell]), "x.ipynb")


def also(more: str) -> str:
    return GOOD.replace("owner: Team", f"owner: Team\n{more}")


def test_a_misspelt_field_is_one_problem() -> None:
    with pytest.raises(RunbookError) as caught:
        of(GOOD.replace("severity:", "severty:"))
    assert caught.value.what == "line 6: severty: unknown field; did you mean severity?"


def test_an_unknown_field_names_the_nearest_and_not_all() -> None:
    with pytest.raises(RunbookError) as caught:
        of(also("colour: red"))
    assert len(caught.value.what) < 140


def test_text_behind_the_front_matter_is_told() -> None:
    with pytest.raises(RunbookError, match="line 9: there is text behind the closing `---`"):
        of(f"{GOOD}\nmore words")


def test_a_field_that_stands_there_twice_is_named_with_its_place_in_the_list() -> None:
    with pytest.raises(RunbookError, match=r"line 9: triggers\.1\.alert: appears twice"):
        of(also("triggers: [{alert: x,\n alert: y}]"))


def test_the_team_keeps_its_words() -> None:
    found = of(GOOD)
    assert found.severity == "SEV2"
    assert found.internal_severity is Severity.HIGH
    assert found.connections == {}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("id: RUN-900", "id: 5", "line 2: id: should be RUN- and three digits"),
        ("id: RUN-900", "id: RUN-5", "line 2: id"),
        ("id: RUN-900\n", "", "line 2: id: is missing"),
        ("title: A title", "title: ''", "line 3: title: is empty"),
        ("title: A title", "title:", "line 3: title: is missing"),
        ("category: incident", "category: party", "line 5: category"),
        ("severity: SEV2", "severity: SEV9", "line 6: severity: unknown severity"),
        ("owner: Team", "owner: [a]", "line 7: owner: should be text"),
        ("owner: Team", "owner: yes", "line 7: owner: should be text; put it into quotes"),
        ("owner: Team", "owner: Team\ncolour: red", "line 8: colour: unknown field; the nearest"),
        ("owner: Team", "owner: Team\nsymtoms: [x]", "line 8: symtoms: unknown field; did you"),
        ("owner: Team", "owner: Team\nscope: {handels: []}", "line 8: scope.handels: unknown"),
        ("owner: Team", "owner: Team\nlast_tested: yesterday", "line 8: last_tested: should be"),
        ("owner: Team", "owner: Team\nlast_tested: 2025-99-99", "line 8: last_tested: should be"),
        ("owner: Team", "owner: Team\nowner: Else", "line 8: owner: appears twice"),
        ("owner: Team", "owner: {", "not YAML"),
        ("owner: Team", "owner: a: b", "line 7: the front matter is not YAML: mapping values"),
        ("owner: Team", "owner: @team", "put a text that begins with @"),
        ("owner: Team", "owner: !!python/object:os.system x", "not YAML"),
    ],
)
def test_a_bad_field_names_itself(before: str, after: str, words: str) -> None:
    with pytest.raises(RunbookError) as caught:
        of(GOOD.replace(before, after))
    assert words in caught.value.what
    assert caught.value.where == "x.ipynb, first cell"
    assert "\n" not in str(caught.value)


def test_all_problems_at_once_each_with_its_line() -> None:
    duration = "should be a duration such as 15 min or 4 h; put words under `when:`"
    source = also(
        "metrics:\n"
        "  - {name: lag, warnign: 2}\n"
        "  - just words\n"
        "  - unit: s\n"
        "escalation:\n"
        "  levels:\n"
        "    - {after: soon}\n"
        "prerequisites:\n"
        "  - version: 14"
    )
    with pytest.raises(RunbookError) as caught:
        of(source)
    assert caught.value.what.split("; line ") == [
        "line 9: metrics.1.warnign: unknown field; did you mean warning?",
        "11: metrics.3.name: is missing",
        f"14: escalation.levels.1.after: {duration}",
        "16: prerequisites.1: a version belongs to a tool: add `tool:`",
    ]
    assert source.splitlines()[9 - 1].endswith("warnign: 2}")


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


def test_short_forms_stay_legal() -> None:
    found = of(
        also(
            "prerequisites: [VPN, {tool: psql, version: '>= 14'}]\n"
            "metrics: {name: error rate, warning: '> 5%', critical: 10}\n"
            "health: http://api/health\n"
            "links: {Dashboard: https://grafana/d/1}\n"
            "impact: nobody can pay\n"
            "rollback: none\n"
            "symptoms: one\n"
            "escalation: the lead\n"
            "triggers: [scheduled release, {alert: 'Lag*', key: labels.cluster}]\n"
            "configuration: [{name: AI_ENABLED, kind: flag, default: true}]\n"
            "change_log: [{date: 2025-09-29, author: me, change: begun}]"
        )
    )
    assert found.prerequisites[0].text == "VPN"
    assert found.prerequisites[1].tool == "psql"
    [metric] = found.metrics
    assert metric.limit("warning") is not None
    assert metric.critical == 10
    assert found.health[0].url == "http://api/health"
    assert (found.links[0].title, found.links[0].url) == ("Dashboard", "https://grafana/d/1")
    assert found.impact.summary == "nobody can pay"
    assert found.rollback[0].name == "none"
    assert found.symptoms == ("one",)
    assert found.escalation.contact == "the lead"
    assert [trigger.when for trigger in found.triggers] == ["scheduled release", ""]
    assert found.triggers[1].key == ("labels.cluster",)
    assert found.configuration[0].default == "true"
    assert found.change_log[0].date == datetime.date(2025, 9, 29)


def test_a_placeholder_is_legal_and_never_a_value() -> None:
    waiting = placeholder("fill in")
    source = also(f"last_tested: '{waiting}'\nmetrics: [{{name: x, baseline: '{waiting}'}}]")
    source = source.replace("category: incident", f"category: '{waiting}'")
    found = of(source.replace("severity: SEV2", f"severity: '{waiting}'"))
    assert found.category is None
    assert found.internal_severity is None
    assert found.last_tested is None
    assert found.metrics[0].baseline is None


def test_ours_are_all_readable() -> None:
    known, problems = catalogue.runbooks(())
    assert problems == []
    assert {"RUN-001", "RUN-005", "RUN-006"} <= {runbook.id for runbook in known}
    for runbook in known:
        assert set(runbook.front_matter.connections) <= set(runbook.parameters)
        assert "incident" in runbook.parameters


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_edit_touches_nothing_else(path: Path) -> None:
    cell = catalogue.parse(path.read_bytes()).cells[0].source
    changed = frontmatter_text.edit(cell, {"owner": "Somebody Else", "escalation.contact": "me"})
    lines = zip(cell.splitlines(), changed.splitlines(), strict=True)
    different = [new.strip() for old, new in lines if old != new]
    assert different[0] == "owner: Somebody Else"
    assert different[1:] in (["contact: me"], ['contact: "me"'])  # as it was quoted
    assert frontmatter_text.edit(changed, {}) == changed


def test_an_edit_keeps_comments_order_and_style() -> None:
    cell = (
        "---\n# ours\nid: RUN-900 # fixed\ntitle: 'A'   # title\nsymptoms:\n- a  # first\n- b\n---"
    )
    changed = frontmatter_text.edit(cell, {"drill": "lock-queue", "title": "B"})
    assert changed == (
        "---\n# ours\nid: RUN-900 # fixed\ntitle: 'B'   # title\nsymptoms:\n- a  # first\n- b\n"
        "drill: lock-queue\n---"
    )
    assert frontmatter_text.edit(changed, {"drill": None}) == changed.replace(
        "drill: lock-queue\n", ""
    )


def test_an_edit_of_what_is_no_yaml_is_one_error() -> None:
    with pytest.raises(RunbookError, match="cannot be edited"):
        frontmatter_text.edit("---\na: b: c\n---", {"id": "RUN-900"})


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=200))
def test_what_is_written_is_read_back(text: str) -> None:
    written = frontmatter_text.dump({"title": text, "symptoms": [text, "on"]})
    read = yaml.safe_load(written.removeprefix("---").removesuffix("---"))
    assert read == {"title": text, "symptoms": [text, "on"]} or text == ""


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"cells": 3}', b"null"])
def test_what_is_no_notebook_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(RunbookError) as caught:
        catalogue.read(path)
    assert str(path) in caught.value.where
