"""The Markdown files of the corpus, and what must hold for the import of any file."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from rbkernel import cli
from rbkernel.errors import RbkernelError
from rbkernel.importer import report
from rbkernel.importer.convert import convert
from rbkernel.importer.notebook import Imported
from rbkernel.importer.reading import secrets, source
from rbkernel.runbook import catalogue, frontmatter, parameters
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.sql import guard

FOLDER = Path(__file__).parents[1] / "corpora" / "markdown"
SEEDS = sorted((FOLDER / "seeds").glob("*.md"))
WILD = sorted((FOLDER / "wild").glob("*.md"))


def refuses(sql: str) -> str:
    """Ask the guard, as the command does."""
    try:
        guard.check(sql)
    except RbkernelError as error:
        return error.what
    return ""


def imported(document: bytes, *, name: str = "x.md", split: bool = False) -> list[Imported]:
    """Import, and hold the result against everything that must hold for all files."""
    made = convert(document, name=name, refuses=refuses, split=split)
    nothing_is_lost(document, made)
    for one in made:
        is_a_runbook(one)
    return made


def nothing_is_lost(document: bytes, made: list[Imported]) -> None:
    """All reports together cite every line exactly once, in order; secrets are taken out."""
    read = source.read(document)
    entries = report.joined(one.report for one in made).entries
    lines, _ = secrets.taken_out(read.lines)
    assert "".join(entry.text for entry in entries) == "".join(lines)
    line = 1
    for entry in entries:
        assert entry.first == line
        assert entry.text == "".join(lines[entry.first - 1 : entry.last])
        line = entry.last + 1
    assert line == len(read.lines) + 1


def is_a_runbook(one: Imported) -> None:
    """The notebook is valid, its front matter and parameters too, and its code is Python."""
    notebook = catalogue.parse(one.document)
    assert frontmatter.of_notebook(notebook, "x").id == one.id
    declared = parameters.declared(notebook, "x")
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for text in code:
        if not re.match(r"%%sql db\w*(?: --into \w+)? --untried\n", text):
            ast.parse(text)
    assert code[0].splitlines()
    assert code[1].startswith("import rbkernel as rb\n\nrb.start(")
    assert code[-1] == "rb.summary()"
    [start] = [node for node in ast.walk(ast.parse(code[1])) if isinstance(node, ast.Call)]
    assert not start.keywords  # `rb.start` takes the parameters from the notebook
    assert "incident" in declared
    for entry in one.report.entries:
        for place in entry.into:
            if place.startswith("line-"):
                assert place in ids


def code_of(one: Imported) -> str:
    """All code cells under each other."""
    cells = (cell.source for cell in one.notebook.cells if cell.cell_type == "code")
    return "\n\n".join(cells)


def text_of(one: Imported) -> str:
    """All Markdown cells under each other."""
    cells = (cell.source for cell in one.notebook.cells if cell.cell_type == "markdown")
    return "\n\n".join(cells)


def command(*words: str, code: int = 0) -> str:
    """Call `rbkernel import` as the command line does, and return what it says."""
    return "".join(called("import", *words, code=code))


def called(*words: str, code: int | None = 0) -> tuple[str, str]:
    """Call a command of `rbkernel`, and return what it says on both streams; None: any code."""
    said, warned = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(warned):
        patch.setattr(sys, "argv", ["rbkernel", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert code in {None, ended.value.code or 0}, warned.getvalue()
    return said.getvalue(), warned.getvalue()


def by_command(name: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Import a seed by the command, and return what it tells a machine."""
    source = str(FOLDER / "seeds" / f"{name}.md")
    said, _ = called("import", source, "-o", str(folder), "--json", *options)
    told: list[dict[str, Any]] = json.loads(said)
    return told


def front_of(one: Imported) -> FrontMatter:
    """The front matter of an imported notebook."""
    return frontmatter.of_notebook(catalogue.parse(one.document), "x")
