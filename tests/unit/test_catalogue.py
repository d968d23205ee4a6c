"""The catalogue as an engineer looks at it: listed by need, shown, searched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # three calls need no stubs
import pytest
import yaml
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.runbook import catalogue, frontmatter, frontmatter_text, page, scaffold, schema
from rbkernel.runbook.catalogue import Runbook
from rbkernel.runbook.search import ranked

OURS = catalogue.runbooks(())[0]
ALL = [*OURS, *scaffold.templates().values()]
NEED = ["critical", "high", "medium", "low", None]


def told(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    return result.stdout


def test_the_worst_come_first_then_incidents_then_ids(tmp_path: Path) -> None:
    new = (("RUN-100", "a", "SEV4", "incident"), ("RUN-101", "b", "P1", "maintenance"))
    for id, name, severity, category in new:  # noqa: A001
        form = scaffold.template("procedure")
        fields = {"severity": severity, "category": category}
        scaffold.create(form, tmp_path, id=id, title=name, fields=fields, known=OURS)
    known = catalogue.by_need(catalogue.runbooks([tmp_path])[0])
    places = [
        (NEED.index(front.internal_severity), front.category != "incident", front.id)
        for front in (one.front_matter for one in known)
    ]
    assert places == sorted(places)
    assert {"RUN-001", "RUN-100", "RUN-101"} <= {one.id for one in known}


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    found = catalogue.look([tmp_path / "unmounted"])
    [problem] = found.problems
    assert problem.what == "the runbook folder does not exist"
    assert problem.where == str(tmp_path / "unmounted")
    assert found.runbooks, "our own are there all the same"


def test_a_file_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_SETTLED_S", 0.0)
    form = scaffold.template("procedure")
    path = scaffold.create(form, tmp_path, id="RUN-100", title="First", fields={}, known=OURS)

    def found() -> Runbook:
        return catalogue.find("RUN-100", [tmp_path])

    first = found()
    assert found() is first
    path.write_bytes(path.read_bytes().replace(b"First", b"Other words"))
    assert found().front_matter.title == "Other words"


def test_a_file_that_has_just_changed_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = scaffold.template("procedure")
    scaffold.create(form, tmp_path, id="RUN-100", title="First", fields={}, known=OURS)
    monkeypatch.setattr(catalogue, "_SETTLED_S", 3600.0)  # this test may be slow
    found = [catalogue.find("RUN-100", [tmp_path]) for _ in range(2)]
    assert found[0] is not found[1]


def test_links_in_a_circle_are_one_unreadable_runbook(tmp_path: Path) -> None:
    (tmp_path / "loop.ipynb").symlink_to(tmp_path / "loop.ipynb")
    [problem] = catalogue.look([tmp_path]).problems
    assert "cannot be read" in problem.what
    assert problem.where == str(tmp_path / "loop.ipynb")


def test_list_tells_machines_all() -> None:
    listed = json.loads(told("list", "--json"))
    assert {one["id"] for one in listed} == {one.id for one in OURS}
    [pool] = [one for one in listed if one["id"] == "RUN-001"]
    assert pool["declared_parameters"][0]["name"] == "db"


@pytest.mark.parametrize("runbook", OURS, ids=lambda one: one.path.stem)
def test_the_code_of_a_runbook_is_short(runbook: Runbook) -> None:
    cells = catalogue.parse(runbook.document).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 60


@pytest.mark.parametrize("runbook", OURS, ids=lambda one: one.path.stem)
def test_the_front_matter_is_folded_so_that_the_box_is_on_the_first_screen(
    runbook: Runbook,
) -> None:
    first, *_ = catalogue.parse(runbook.document).cells
    assert first.metadata["jupyter"] == {"source_hidden": True}


@pytest.mark.parametrize("runbook", ALL, ids=lambda one: one.path.stem)
def test_show_fits_80_columns_and_says_every_field(runbook: Runbook) -> None:
    text = page.text(runbook)
    long = [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()]
    # a path or a command has no place to break
    assert not [line for line in long if max(map(len, line.split())) < 60]
    words = " ".join(text.split())
    for name, value in runbook.front_matter.model_dump(exclude_defaults=True).items():
        for leaf in leaves(value):
            assert " ".join(leaf.split()) in words, name
    for parameter in runbook.parameters.values():
        assert f"- {parameter.name}: {parameter.annotation}" in text
    assert page.steps(runbook)


def test_show_of_a_terminal_that_would_be_moved() -> None:
    runbook = OURS[0]
    evil = runbook.front_matter.model_copy(update={"summary": "a\x1b[2Jb"})
    shown = page.text(replace(runbook, front_matter=evil))
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("RUN-006", "RUN-006"),
        ("replication lag", "RUN-005"),
        ("too many clients", "RUN-001"),
        ("PostgresReplicationLag", "RUN-005"),
        ("ALTER TABLE", "RUN-007"),
    ],
)
def test_the_best_fit_comes_first(query: str, first: str) -> None:
    assert ranked(query, OURS)[0].runbook.id == first


def test_a_search_holds_every_word_and_says_so_when_nothing_fits() -> None:
    assert ranked("replication unicorn", OURS) == []
    assert ranked("", OURS) == []
    result = CliRunner().invoke(app, ["search", "unicorn"])
    assert result.exit_code == 1 or getattr(result.exception, "code", 0) == 1


@pytest.mark.parametrize("runbook", ALL, ids=lambda one: one.path.stem)
def test_the_schema_accepts_what_reading_accepts(runbook: Runbook) -> None:
    source = frontmatter_text.of(catalogue.parse(runbook.document))
    assert source is not None
    data = json.loads(json.dumps(yaml.safe_load(source), default=str))
    jsonschema.Draft202012Validator(schema.front_matter()).validate(data)


@pytest.mark.parametrize("wrong", [{"symtoms": "x"}, {"metrics": [{"nam": "x"}]}, {"title": 5.0}])
def test_the_schema_refuses_what_reading_refuses(wrong: dict[str, object]) -> None:
    data = {"id": "RUN-900", "title": "t", "summary": "s", "category": "Incident"}
    data |= {"severity": "P1", "owner": "o"}
    validator = jsonschema.Draft202012Validator(schema.front_matter())
    assert validator.is_valid(data)
    if "title" not in wrong:
        assert not validator.is_valid({**data, **wrong})
        with pytest.raises(ValueError, match="validation error"):
            frontmatter.FrontMatter.model_validate({**data, **wrong})


def test_the_schema_describes_every_field() -> None:
    assert set(schema.front_matter()["properties"]) == set(frontmatter.FrontMatter.model_fields)
    assert json.loads(told("schema"))["$schema"].endswith("2020-12/schema")


def leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in leaves(one)]
    return [value] if isinstance(value, str) and value else []
