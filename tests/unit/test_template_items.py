"""The list of what the templates ask for: complete, up to date, and each place in it exists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import rbkernel
from rbkernel.cli import app
from rbkernel.lint import RULES
from rbkernel.runbook import catalogue, registry, scaffold
from rbkernel.runbook.catalogue import Runbook
from rbkernel.sources.postgres import diagnostics
from tests import template_items
from tests.template_items import SHORT_OF, TARGETS, Item

ROOT = Path(__file__).parents[2]
ITEMS = template_items.read()
# how many items of each kind the templates have: what is wanted may grow, and never shrinks
_KINDS = ("evaluated", "executed", "action", "recorded", "field", "prose")
WANTED = {
    "module": (38, 7, 20, 5, 19, 0),
    "service": (46, 19, 25, 8, 21, 3),
    "AI system": (72, 20, 35, 10, 21, 1),
    "RUN- entries": (101, 12, 6, 14, 22, 2),
    "incident": (64, 15, 14, 16, 42, 1),
}
# calls of a cell that can be what a state says; each is one of `rb.…`
_JUDGE = (
    r"assess baseline breakdown causes\.[a-z]+ check decide dependencies diagnose escalation flags"
    " health http metrics migration overview prerequisites pressure reconcile releases"
    " schema_since severity shell signoff start validation watch watch_queries"
)
CALLS = {
    "evaluated": _JUDGE,
    "executed": f"{_JUDGE} ask history logql promql query sample traces",
    "action": "act commands",
    "proposed": "act commands",
    "recorded": "act acknowledge checklist decide done note prerequisites",
}
# parts of rbkernel that items are to be fulfilled in, besides runbooks and templates
PARTS = {"coverage", "drill", "lint", "stats"}


def test_the_page_is_up_to_date() -> None:
    committed = template_items.PAGE.read_text(encoding="utf-8")
    assert committed == template_items.page(ITEMS), "run: python -m tests.template_items"


def test_no_item_is_dropped_or_lowered() -> None:
    ids = [one.id for one in ITEMS]
    assert len(ids) == len(set(ids))
    for number, (template, counts) in enumerate(WANTED.items()):
        of_it = [one for one in ITEMS if one.template == template]
        have = Counter(one.target for one in of_it)
        wanted = dict(zip(_KINDS, counts, strict=True))
        assert {kind: have[kind] for kind in wanted if have[kind] < wanted[kind]} == {}
        # a split item has a letter after its number
        numbers = {int(re.sub(r"\D", "", one.id.partition("-")[2])) for one in of_it}
        assert numbers >= set(range(1, sum(counts) + 1))
        assert all(one.id.startswith(f"S{number}-") for one in of_it)


def test_each_item_says_truly_where_it_is_fulfilled() -> None:
    problems = {one.id: found for one in ITEMS if (found := [*_problems(one)])}
    assert problems == {}


@pytest.mark.parametrize(
    "reference",
    [
        *("rbkernel nonsense", "rbkernel incident nonsense", "rb.nonsense", "RB999", "RUN-999"),
        *("RUN-001#nonsense", "RUN-001@nonsense", "service@links.nonsense", "nonsense#start"),
        *("docs/reference/nonsense.md", "queue/nonsense", "incident@drill_result"),
    ],
)
def test_a_place_that_does_not_exist_is_a_problem(reference: str) -> None:
    assert _problem(reference)


def test_text_is_neither_executed_nor_evaluated() -> None:
    """A Markdown cell and a field are no check; a check is no action."""
    assert not _does("incident#rollback", CALLS["executed"].split())
    assert not _does("incident@rollback.verify", CALLS["executed"].split())
    assert not _does("RUN-001#check-saturation", CALLS["action"].split())
    assert _does("RUN-001#check-saturation", CALLS["evaluated"].split())


@cache
def _runbooks() -> Mapping[str, Runbook]:
    return {one.id: one for one in catalogue.runbooks([])[0]}


@cache
def _templates() -> Mapping[str, Runbook]:
    return scaffold.templates()


@cache
def _planned() -> frozenset[str]:
    return frozenset(registry.read([]) or ())


@cache
def _commands() -> frozenset[str]:
    top = typer.main.get_command(app)
    groups = {name: getattr(one, "commands", {}) for name, one in top.commands.items()}  # type: ignore[attr-defined]  # a group
    inner = {f"rbkernel {name} {sub}" for name, subs in groups.items() for sub in subs}
    return frozenset(inner | {f"rbkernel {name}" for name, subs in groups.items() if not subs})


def _problems(item: Item) -> Iterator[str]:
    """Yield what is wrong with an item: unknown words and places, or a state that nothing earns."""
    places = {*PARTS, *_templates(), *_runbooks(), *_planned()}
    if item.target not in TARGETS or item.state not in {*TARGETS, *SHORT_OF}:
        yield f"unknown: {item.target} or {item.state}"
    if item.belongs_in not in places or not item.item or not item.shown_by:
        yield f"belongs in {item.belongs_in!r}, which does not exist; or a text is empty"
    if (item.state == "missing") is bool(item.references):
        yield "missing is what nothing fulfils, and nothing else is"
    if wrong := [problem for one in item.references if (problem := _problem(one))]:
        yield "; ".join(wrong)
    elif item.state in CALLS and not any(
        _does(one, CALLS[item.state].split()) for one in item.references
    ):
        yield f"nothing that fulfils it makes it {item.state}"


def _problem(reference: str) -> str:
    """Return what is wrong with a reference; empty if what it names exists."""
    known = (
        reference in _commands()
        or reference in RULES
        or (reference.startswith("rb.") and reference[3:] in rbkernel.__all__)
        or (reference.startswith("docs/") and (ROOT / reference).is_file())
        or reference in diagnostics.names()
        or reference in _runbooks()
    )
    if known:
        return ""
    place, mark, inside = re.fullmatch(r"([^#@]*)([#@]?)(.*)", reference).groups()  # type: ignore[union-attr]  # any text fits
    if not mark or place not in {*_runbooks(), *_templates()}:
        return f"nothing is called {reference}"
    there = _cells(place) if mark == "#" else _fields(place)
    return "" if inside in there else f"{place} has no {inside}"


@cache
def _cells(place: str) -> Mapping[str, Any]:
    """Return the cells of a runbook or a template, by their ids."""
    runbook = _runbooks().get(place) or _templates()[place]
    return {cell.id: cell for cell in catalogue.parse(runbook.document).cells}


@cache
def _fields(place: str) -> frozenset[str]:
    """Return the paths of all fields of a front matter, such as ``escalation.levels.contact``.

    A field with a placeholder counts. The catalogue has read the front matter: its fields exist.
    """
    head = next(iter(_cells(place).values()))
    return frozenset(_paths(yaml.safe_load(head.source.strip().strip("-"))))


def _paths(value: Any, path: str = "") -> Iterator[str]:
    if path and value not in (None, "", [], {}):
        yield path
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, path)


def _does(reference: str, calls: list[str]) -> bool:
    """Tell whether a reference is a program, or a code cell with one of these calls."""
    place, mark, inside = re.fullmatch(r"([^#@]*)([#@]?)(.*)", reference).groups()  # type: ignore[union-attr]  # any text fits
    if not mark:
        return not reference.startswith("docs/")
    if mark == "@":
        return False
    cell = _cells(place)[inside]
    asked = rf"\brb\.(?:{'|'.join(calls)})\("
    return cell.cell_type == "code" and bool(re.search(asked, cell.source))
