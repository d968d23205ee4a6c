"""Lint as a whole: our own catalogue, what is removed is missed, suppressions, levels, speed."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from rbkernel.config import Settings
from rbkernel.errors import ConfigError, RunbookError
from rbkernel.lint import RULES, Document, Level, check, pages, quality, reading
from rbkernel.lint.report import file_line
from rbkernel.runbook import catalogue, frontmatter_text, registry
from rbkernel.sandbox.faults.catalogue import FAULTS
from rbkernel.triage.surroundings import surroundings
from tests.support.good_runbook import (
    code,
    document,
    front,
    good,
    problems,
    replace,
    without,
    words,
)

pytestmark = pytest.mark.slow

OURS = sorted(catalogue.packaged("notebooks").glob("*.ipynb"))
TEMPLATES = sorted(catalogue.packaged("templates").glob("*.ipynb"))
# what a runbook of ours must say; `incident` is the category of most of them
FIELDS = (
    *("id", "title", "summary", "category", "severity", "owner", "on_call", "response_time"),
    *("last_tested", "testing_schedule", "symptoms", "impact", "scope", "scope.handles"),
    *("scope.does_not_handle", "prerequisites", "triggers", "escalation", "escalation.when"),
    *("escalation.contact", "escalation.provide", "communication", "linked_ids", "drill"),
    "connections",
)
# what a runbook of another category may leave out
NOT_URGENT = {"on_call", "response_time", "symptoms", "impact", "triggers", "linked_ids", "drill"}
LABELS = ("**Goal:**", "**Expected:**", "**If it does not work:**")


def real(*read: Document) -> Any:
    """Return the surroundings that the command uses."""
    return surroundings(Settings(), read, faults=list(FAULTS))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_runbooks_keep_all_rules(path: Path) -> None:
    read = Document.read(path)
    assert list(map(str, check(read, real(read)))) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_our_templates_keep_all_rules_but_their_placeholders(path: Path) -> None:
    read = Document.read(path)
    assert read.is_template
    assert list(map(str, check(read, real(read)))) == []


# a step that says it in other words misses nothing
ELSEWHERE = re.compile(r"roll(?:ed)? ?back|otherwise|escalat|verif", re.IGNORECASE)


def removals(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield the notebook without one thing that it must have, for each of these."""
    for field in FIELDS:
        if "." in field or re.search(rf"^{field}:", notebook.cells[0].source, re.MULTILINE):
            one = copy.deepcopy(notebook)
            one.cells[0].source = frontmatter_text.edit(one.cells[0].source, {field: None})
            yield field, one
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and cell.source.startswith("## Step"):
            for label in LABELS:
                one = copy.deepcopy(notebook)
                one.cells[index].source = re.sub(
                    rf"{re.escape(label)}.*?(?=\n\n|\Z)", "", cell.source, flags=re.DOTALL
                )
                said = label != "**Goal:**" and ELSEWHERE.search(one.cells[index].source)
                if one != notebook and not said:
                    yield f"{cell.id} {label}", one
        if cell.id in {"front-matter", "overview", "parameters", "start", "summary"}:
            one = copy.deepcopy(notebook)
            del one.cells[index]
            yield cell.id, one
    for index, cell in enumerate(notebook.cells):
        asked = re.search(r"^(\w+) = rb\.decide\(", cell.source, re.MULTILINE)
        if asked and f"{asked[1]}.chose" in str(notebook):
            one = copy.deepcopy(notebook)
            del one.cells[index]
            yield cell.id, one
    if any("rb.act(" in cell.source for cell in notebook.cells):
        one = copy.deepcopy(notebook)
        one.cells[0].source = frontmatter_text.edit(one.cells[0].source, {"rollback": None})
        yield "rollback", one


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_whatever_is_removed_is_missed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    around = real(Document.read(path))
    removed = [
        (what, check(Document(path, nbformat.writes(one).encode()), around))
        for what, one in removals(notebook)
    ]
    assert len(removed) > 30
    head = notebook.cells[0].source
    optional = set() if "category: incident" in head else NOT_URGENT
    if "category: maintenance" in head:
        optional = {*optional, "communication"}
    if "\n  levels:" in head:  # a level says when, and whom
        optional = {*optional, "escalation.when", "escalation.contact"}
    assert [what for what, found in removed if not found and what not in optional] == []


def test_without_a_category_what_all_need_is_still_needed(tmp_path: Path) -> None:
    bare = front(category="‹PLACEHOLDER: category›", escalation=None, last_tested=None)
    found = {problem.code for problem in problems(tmp_path, bare)}
    assert {"RB103", "RB104", "RB117"} <= found


@pytest.mark.parametrize("category", ["deployment", "maintenance", "recovery", "escalation"])
def test_the_other_categories_have_needs_of_their_own(category: str, tmp_path: Path) -> None:
    assert problems(tmp_path, front(category=category)) == []
    bare = front(category=category, escalation=None, rollback=None, last_tested=None, recovery=None)
    found = {problem.code for problem in problems(tmp_path, bare)}
    assert {"RB103", "RB104", "RB117"} <= found
    assert ("RB113" in found) is (category in {"deployment", "recovery"})
    assert ("RB114" in found) is (category == "recovery")


def test_a_suppression_with_a_reason_holds_for_its_cell(tmp_path: Path) -> None:
    vague = "Investigate the issue.\n\n"
    reason = "<!-- rbkernel: ignore RB204 because the drill says what -->"
    assert {problem.code for problem in problems(tmp_path, words(vague))} == {"RB204"}
    assert problems(tmp_path, words(vague + reason)) == []
    elsewhere = replace("step-2", "**Goal:**", f"{vague}**Goal:**")
    twice = problems(tmp_path, words(vague + reason), elsewhere)
    assert [(problem.code, problem.cell_id) for problem in twice] == [("RB204", "step-2")]


def test_a_suppression_in_the_front_matter_holds_for_the_file(tmp_path: Path) -> None:
    reason = replace(
        "front-matter", "id: RUN-900", "# rbkernel: ignore RB210 because x\nid: RUN-900"
    )
    steps = without("step-1", "step-2", "step-3")
    linked = replace("overview", "#Step-2:-Decide", "good.md")
    assert [problem.code for problem in problems(tmp_path, steps, linked)] == ["RB210"]
    assert problems(tmp_path, steps, linked, reason) == []


def test_a_suppression_without_a_reason_suppresses_and_is_an_error(tmp_path: Path) -> None:
    found = problems(tmp_path, words("Investigate the issue.\n\n<!-- rbkernel: ignore RB204 -->"))
    assert [problem.code for problem in found] == ["RB004"]
    hidden = words("<!-- rbkernel: ignore RB204, RB004 -->")
    assert [problem.code for problem in problems(tmp_path, hidden)] == ["RB004"]


def test_a_level_can_be_changed_or_switched_off(tmp_path: Path) -> None:
    spoil = words("Investigate the issue.")
    [problem] = problems(tmp_path, spoil, levels={"RB204": Level.ERROR})
    assert problem.level is Level.ERROR
    assert problems(tmp_path, spoil, levels={"RB204": Level.OFF}) == []


def test_a_level_of_an_unknown_rule_is_an_error() -> None:
    settings = Settings.model_validate({"lint": {"severity": {"RB999": "off"}}})
    with pytest.raises(ConfigError, match="RB999"):
        surroundings(settings, [])


def test_a_problem_names_cell_line_and_the_line_of_the_file(tmp_path: Path) -> None:
    spoil = code("x = 1\n\nrb.querry('x', db)", after="query")
    [problem] = problems(tmp_path, spoil)
    assert (problem.cell, problem.cell_id, problem.line) == (7, "added", 3)
    notebook = good()
    spoil(notebook)
    read = document(notebook, tmp_path / "good.ipynb")
    line = read.raw.decode().splitlines()[file_line(read, problem) - 1]
    assert "rb.querry" in line


def test_problems_are_sorted_by_quality(tmp_path: Path) -> None:
    found = quality(problems(tmp_path, words("Investigate the issue."), front(drill=None)))
    assert {name for name, some in found.items() if some} == {"actionable", "tested"}
    assert len(found) == 8


def test_ids_of_other_documents_come_from_the_registry(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("RISK-1: {title: x, level: high}\nRUN-777: y\n")
    found = registry.read([tmp_path])
    assert found is not None
    assert found["RISK-1"].level == "high"
    assert found["RUN-777"].title == "y"
    assert "MON-005" in found


@pytest.mark.parametrize("text", ["- a", "RISK: x", "MON-1: [x]", "MON-1: {tittle: x}", "a: b: c"])
def test_a_wrong_registry_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        registry.read([tmp_path])
    assert caught.value.where == str(tmp_path / "registry.yaml")


def test_what_our_registry_plans_is_not_there_yet() -> None:
    known, _ = catalogue.runbooks([])
    planned = {name for name in registry.read([]) or {} if name.startswith("RUN-")}
    assert not planned & {runbook.id for runbook in known}


def test_two_runbooks_with_one_id_are_found_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.ipynb", "b.ipynb", "c.ipynb"):
        nbformat.write(good(), tmp_path / name)
    read, unread = reading.documents(reading.notebooks([tmp_path]))
    around = real(*read)
    duplicates = [p for one in read for p in check(one, around) if p.code == "RB609"]
    assert len(duplicates) == 3
    assert all(problem.message.endswith("has the same id, and 1 more") for problem in duplicates)
    assert unread == []


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunbookError, match="the file or folder does not exist"):
        reading.notebooks([tmp_path / "gone"])


def test_the_pages_are_current() -> None:
    folder = Path(__file__).parents[2] / "docs/reference/lint"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert committed == pages.pages(), "run: python -m rbkernel.lint.pages docs/reference/lint"
    assert set(pages.THEMES) == {name[:3] for name in RULES}
