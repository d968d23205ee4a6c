"""What the catalogue leaves out, and says so: unreadable runbooks, executed notebooks, doubles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output, new_raw_cell
from typer.testing import CliRunner

from rbkernel.cli import app
from rbkernel.config import Connection, Settings
from rbkernel.errors import RunbookError
from rbkernel.gateway.jobs.routing import Routing, route
from rbkernel.runbook import catalogue

pytestmark = pytest.mark.slow

FRONT = """\
---
id: RUN-104
title: Disk full
summary: The disk fills up.
category: incident
severity: P1
owner: Team
connections: {db: "*"}
triggers:
  - alert: DiskFull
    parameters: {db: labels.cluster}
---"""
TYPOS: dict[str, tuple[str, str, str]] = {
    "misspelt field": ("severity: P1", "severty: P1", "line 6: severty: unknown field"),
    "wrong value": ("severity: P1", "severity: urgent-ish", "line 6: severity:"),
    "not YAML": ("title: Disk full", "title: Disk: full", "line 3:"),
    "misspelt triggers": ("triggers:", "trigers:", "line 9: trigers: unknown field"),
    "misspelt alert": ("- alert:", "- alrt:", "line 10: triggers.1.alrt: unknown field"),
    "wrong id": ("id: RUN-104", "ids: RUN-104", "line 2: ids: unknown field"),
    "open bracket": ("owner: Team", "owner: [Team", "line 8: the front matter is not YAML"),
}


def document(front: str = FRONT, parameters: str = 'db: str = ""') -> NotebookNode:
    declared = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [new_raw_cell(front), declared, new_code_cell("1 + 1")]
    notebook: NotebookNode = new_notebook(cells=cells)
    return notebook


def write(path: Path, notebook: NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def routed(folder: Path, settings: Settings | None = None, **labels: str) -> Routing:
    connections = {"orders": Connection(name="orders", default=True)}
    found = catalogue.look([folder])
    return route(labels, found, settings or Settings(connections=connections))


@pytest.mark.parametrize(("old", "new", "reason"), TYPOS.values(), ids=TYPOS)
def test_an_alert_of_an_unreadable_runbook_says_file_line_and_field(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = write(tmp_path / "disk.ipynb", document(FRONT.replace(old, new)))
    routing = routed(tmp_path, alertname="DiskFull", cluster="orders")
    said = f"runbook RUN-104 is unreadable: {path}, first cell, {reason}"
    assert any(said in mind for mind in routing.mind)
    assert [one.runbook for one in routing.routes] == ["RUN-000"]
    # an alert that it is not for does not concern it
    assert not any("RUN-104" in mind for mind in routed(tmp_path, alertname="Other").mind)
    with pytest.raises(RunbookError) as caught:
        catalogue.find("RUN-104", [tmp_path])
    assert reason in caught.value.what
    assert str(path) in caught.value.where


@pytest.mark.parametrize(
    "content",
    [b'{"cells": [{"cell_type": "raw", "source": ["---\\n", "id: RUN-104\\n', b"", b"\xff\xfe"],
)
def test_what_nobody_can_read_may_be_for_any_alert_without_a_runbook(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "disk.ipynb").write_bytes(content)
    routing = routed(tmp_path, alertname="DiskFull", cluster="orders")
    assert any("disk.ipynb" in mind and "may be the runbook for" in mind for mind in routing.mind)
    assert not routed(tmp_path, alertname="PostgresReplicationLag", cluster="orders").mind


def test_an_unreadable_runbook_is_not_replaced_by_ours(tmp_path: Path) -> None:
    ours = catalogue.find("RUN-005", [])
    notebook = catalogue.parse(ours.document)
    notebook.cells[0].source = notebook.cells[0].source.replace("severity:", "severty:")
    write(tmp_path / "lag.ipynb", notebook)
    assert "RUN-005" not in {one.id for one in catalogue.look([tmp_path]).runbooks}
    routing = routed(tmp_path, alertname="PostgresReplicationLag", cluster="orders")
    assert any("runbook RUN-005 is unreadable" in mind for mind in routing.mind)


def test_a_route_to_an_unreadable_runbook_says_why(tmp_path: Path) -> None:
    write(tmp_path / "disk.ipynb", document(FRONT.replace("severity", "severty")))
    rules = [{"alert": "X", "runbooks": "RUN-104"}]
    orders = {"orders": {"name": "orders", "default": True}}
    settings = Settings.model_validate({"routes": rules, "connections": orders})
    [why, *_] = routed(tmp_path, settings, alertname="X").mind
    assert "[[routes]] X names RUN-104, but runbook RUN-104 is unreadable" in why


def papermill(notebook: NotebookNode) -> None:
    notebook.metadata["papermill"] = {"output_path": "out.ipynb"}
    notebook.cells[0].source = notebook.cells[0].source.replace("P1", "OLD")


def injected(notebook: NotebookNode) -> None:
    cell = new_code_cell('db = "x"', metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(2, cell)


def outputs(notebook: NotebookNode) -> None:
    notebook.cells[-1].outputs = [new_output("stream", text="2")]


def copied(notebook: NotebookNode) -> None:
    notebook.metadata["rbkernel"] = {"continues": "20261120T030211Z-3fa9c1", "incident": "INC-1"}


MARKS: list[Callable[[NotebookNode], None]] = [papermill, injected, outputs, copied]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("name", ["a-out.ipynb", "z-out.ipynb"])
def test_an_executed_notebook_never_replaces_its_runbook(
    tmp_path: Path, mark: Any, name: str
) -> None:
    runbook = write(tmp_path / "disk.ipynb", document())
    executed = document()
    mark(executed)
    write(tmp_path / name, executed)
    found = catalogue.look([tmp_path])
    assert [one.path for one in found.runbooks if one.id == "RUN-104"] == [runbook]
    assert not found.problems


@pytest.mark.parametrize("mark", MARKS[:3])
def test_an_executed_notebook_alone_is_no_entry_and_is_reported(tmp_path: Path, mark: Any) -> None:
    executed = document()
    mark(executed)
    path = write(tmp_path / "out.ipynb", executed)
    found = catalogue.look([tmp_path])
    assert "RUN-104" not in {one.id for one in found.runbooks}
    [problem] = found.problems
    assert "executed notebook" in problem.what
    assert str(path) in problem.next_step
    routing = routed(tmp_path, alertname="DiskFull", cluster="orders")
    assert any("executed notebook" in mind for mind in routing.mind)


def test_evidence_and_checkpoints_in_a_catalogue_path_are_no_entries(tmp_path: Path) -> None:
    runbook = write(tmp_path / "z.ipynb", document())
    for folder in ("evidence/open/1", "evidence/INC-1/0001-RUN-104-x", ".ipynb_checkpoints"):
        write(tmp_path / folder / "runbook.ipynb", document())
        (tmp_path / folder / "journal.jsonl").touch()
    found = catalogue.look([tmp_path])
    assert [one.path for one in found.runbooks if one.id == "RUN-104"] == [runbook]
    assert not found.problems


def test_two_documents_with_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a.ipynb", document())
    second = write(tmp_path / "b.ipynb", document())
    found = catalogue.look([tmp_path, tmp_path])  # one file twice is one document
    assert [one.path for one in found.runbooks if one.id == "RUN-104"] == [first]
    [double] = found.doubles
    assert double.where == str(second)
    assert f"{first} is used, because it comes first" in double.what
    # what a team has in the place of ours is as it should be
    shutil.copy(catalogue.find("RUN-005", []).path, tmp_path / "lag.ipynb")
    assert len(catalogue.look([tmp_path]).doubles) == 1


def test_list_and_route_report_what_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "runbooks/disk.ipynb", document(FRONT.replace("severity", "severty")))
    config = tmp_path / "rbkernel.toml"
    config.write_text('[catalogue]\npaths = ["runbooks"]\n')
    monkeypatch.setenv("RBKERNEL_CONFIG", str(config))
    alert = tmp_path / "alert.json"
    alert.write_text(json.dumps({"alertname": "DiskFull"}))
    for command in (["list"], ["route", str(alert)]):
        result = CliRunner().invoke(app, command)
        assert "line 6: severty: unknown field" in result.stderr, command
    assert "runbook RUN-104 is unreadable" in result.stdout
