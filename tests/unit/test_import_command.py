"""`rbkernel import` as a user calls it: idempotent, careful, clear about what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from tests.support.markdown_corpus import FOLDER, by_command, called, command


@pytest.mark.slow
def test_the_same_again_says_so_and_keeps_the_id(tmp_path: Path) -> None:
    [first] = by_command("service", tmp_path)
    before = Path(first["notebook"]).read_bytes()
    [again] = by_command("service", tmp_path)
    assert (first["written"], again["written"]) == (True, False)
    assert Path(again["notebook"]).read_bytes() == before


def test_a_changed_source_is_imported_anew(tmp_path: Path) -> None:
    source = tmp_path / "x.md"
    source.write_text("# X\n\n- [ ] a\n")
    command(str(source))
    source.write_text("# X\n\n- [ ] a\n- [ ] b\n")
    assert "unchanged" not in command(str(source))
    assert '["a", "b"]' in (tmp_path / "x.ipynb").read_text().replace("\\", "")


def test_an_edited_notebook_is_not_written_over(tmp_path: Path) -> None:
    source, path = tmp_path / "x.md", tmp_path / "x.ipynb"
    source.write_text("# X\n\ntext\n")
    command(str(source))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source = "rb.summary()  # mine"
    nbformat.write(notebook, path)
    source.write_text("# X\n\nother text\n")
    said = command(str(source), code=3)
    assert "was edited or run since its import" in said
    assert "--force" in said
    assert "mine" in path.read_text()
    command(str(source), "--force")
    assert "mine" not in path.read_text()


def test_a_notebook_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    source, path = tmp_path / "x.md", tmp_path / "x.ipynb"
    source.write_text("# X\n")
    path.write_text("not a notebook")
    command(str(source), code=3)
    assert path.read_text() == "not a notebook"


@pytest.mark.slow
def test_the_report_gives_the_source_back(tmp_path: Path) -> None:
    source = FOLDER / "seeds" / "incident.md"
    for name in ("report.json", "report.md"):
        report = tmp_path / name
        command(str(source), "-o", str(tmp_path), "--report", str(report))
    told = json.loads((tmp_path / "report.json").read_text())
    text = "".join(block["text"] for one in told.values() for block in one["blocks"])
    assert text == source.read_text().replace(
        '"password":"test"', '"password":"‹PLACEHOLDER: secret›"'
    )
    assert "| executable |" in (tmp_path / "report.md").read_text()


def test_a_secret_in_the_source_is_said_on_stderr(tmp_path: Path) -> None:
    source = tmp_path / "x.md"
    source.write_text("# T\n\n```sh\nexport PGPASSWORD=hunter2hunter\n```\n")
    said = command(str(source))
    assert "line 4: a secret (password) was removed from the notebook" in said
    assert "hunter2" not in said + (tmp_path / "x.ipynb").read_text()


@pytest.mark.parametrize("problem", ["missing", "empty", "one file for several"])
def test_what_cannot_be_done_is_said(problem: str, tmp_path: Path) -> None:
    source = tmp_path / "x.md"
    options: tuple[str, ...] = ()
    if problem != "missing":
        source.write_text("")
    if problem == "one file for several":
        source.write_text("# Runbook: A\n\n# Runbook: B\n")
        options = ("--split", "-o", str(tmp_path / "one.ipynb"))
    said = command(str(source), *options, code=3)
    assert said.count("\n") == 1
    assert "Next: " in said
    assert not list(tmp_path.glob("*.ipynb"))


def test_a_report_into_a_missing_folder_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    source = FOLDER / "seeds" / "incident.md"
    report = tmp_path / "missing" / "report.md"
    _, said = called("import", str(source), "-o", str(tmp_path), "--report", str(report), code=3)
    assert "the folder of the report does not exist; nothing was written" in said
    assert "RBKERNEL_EVIDENCE" not in said
    assert not list(tmp_path.iterdir())
