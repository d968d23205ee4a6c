"""The documentation names everything there is: commands, calls, diagnostics, runbooks, errors."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import typer.main

import rbkernel
from rbkernel import errors
from rbkernel.cli import app
from rbkernel.runbook import catalogue, registry
from rbkernel.runbook.frontmatter_sections import HEALTHY
from rbkernel.sandbox.faults.catalogue import FAULTS
from rbkernel.sources.postgres import diagnostics

ROOT = Path(__file__).parents[2]
# ids of examples begin with another figure, such as RUN-900
_RUNBOOK = re.compile(r"\bRUN-0\d\d\b")
_WRITTEN = {".py", ".sql", ".ipynb", ".md", ".yaml"}
REFERENCE = "\n".join(
    page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/reference").glob("*.md"))
)


def _commands() -> list[str]:
    top = typer.main.get_command(app)
    found = []
    for name, command in top.commands.items():  # type: ignore[attr-defined]  # a group
        inner = getattr(command, "commands", None)
        found += [f"rbkernel {name} {sub}" for sub in inner] if inner else [f"rbkernel {name}"]
    return found


@pytest.mark.parametrize("command", _commands())
def test_every_command_is_in_the_reference(command: str) -> None:
    assert re.search(rf"`{command}[ `]", REFERENCE)


@pytest.mark.parametrize(
    "error", [name for name, kind in vars(errors).items() if inspect.isclass(kind)]
)
def test_every_error_is_in_the_reference(error: str) -> None:
    assert re.search(rf"\b{error}\b", REFERENCE)


@pytest.mark.parametrize("name", [name for name in rbkernel.__all__ if not name.startswith("_")])
def test_every_call_is_in_the_reference(name: str) -> None:
    # the whole name: `rb.actions` is not `rb.act`
    assert re.search(rf"`rb\.{name}\b", REFERENCE)


@pytest.mark.parametrize("name", diagnostics.names())
def test_every_diagnostic_is_in_the_reference_with_its_parameters(name: str) -> None:
    [line] = [line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}` |")]
    for parameter in diagnostics.get(name).parameters:
        assert f"`{parameter}`" in line


def test_every_runbook_and_its_drill_are_in_the_reference() -> None:
    known, problems = catalogue.runbooks([])
    assert not problems
    for runbook in known:
        [line] = [line for line in REFERENCE.splitlines() if line.startswith(f"| {runbook.id} |")]
        assert runbook.path.name in line
        faults = [drill.fault for drill in runbook.front_matter.drill]
        assert faults
        assert [
            fault for fault in faults if fault not in {HEALTHY, *FAULTS} or fault not in line
        ] == []


@pytest.mark.parametrize("folder", ["rbkernel", "notebooks", "templates", "docs"])
def test_every_runbook_that_is_named_exists_or_is_planned(folder: str) -> None:
    """Rules and causes of findings, scopes, front matter and text: nothing leads nowhere."""
    planned = registry.read([]) or {}
    known = {one.id for one in catalogue.runbooks([])[0]} | set(planned)
    files = (one for one in (ROOT / folder).rglob("*") if one.suffix in _WRITTEN)
    named = {path: set(_RUNBOOK.findall(path.read_text(encoding="utf-8"))) for path in files}
    assert {f"{path.name}: {one}" for path, ids in named.items() for one in ids - known} == set()
    assert any(named.values())


def test_what_a_rule_or_a_cause_opens_is_there_today() -> None:
    """A runbook that is only planned is emptied from a finding, so it must be known to be."""
    known = {one.id for one in catalogue.runbooks([])[0]}
    opened = {rule.opens for name in diagnostics.names() for rule in diagnostics.get(name).rules}
    assert opened - known - {""} == set()


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8"))
    dead = [link for link in links if not (page.parent / link).exists()]
    assert not dead


def test_the_index_leads_to_every_page() -> None:
    docs = ROOT / "docs"
    index = re.findall(r"\]\(([^)#]+)\)", (docs / "README.md").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(docs)) for page in docs.glob("*/*.md")}
    missing = {page for page in pages - set(index) if not page.startswith("adr/")}
    assert not missing, "name these pages in docs/README.md"
