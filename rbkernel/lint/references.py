"""RB6: references lead to existing files, anchors, steps, runbooks, ids and drills."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from rbkernel.errors import RunbookError
from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.lint.markdown import blocks
from rbkernel.lint.rule import (
    Found,
    Level,
    Surroundings,
    in_cell,
    in_field,
    rule,
    rule_with_surroundings,
)
from rbkernel.runbook import catalogue
from rbkernel.runbook.frontmatter_sections import HEALTHY
from rbkernel.runbook.placeholders import unfilled

_RUNBOOK_ID = re.compile(r"\bRUN-\d{3,}\b")
_LINKED_ID = re.compile(r"\b(?:MON|DEP|RISK)-\d+\b")
_STEP_NAMED = re.compile(r"(?<!next )\b[Ss]tep (\d+)\b(?! of\b)")
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//|mailto:)", re.IGNORECASE)


@rule("RB601", "dead-link", Level.ERROR, "maintained")
def dead_links(document: Document) -> Iterator[Found]:
    """A link leads to a file that does not exist.

    Web addresses are not requested.

    Why: the reader cannot open the page during an incident.

    Instead: correct the path, which is relative to the notebook, or commit the file.
    """
    for cell, line, target in _links(document):
        path = unquote(target.partition("#")[0])
        if path and not _exists(_file(document, path)):
            yield in_cell(cell, line, f"{path} does not exist", "correct the link")


@rule("RB602", "dead-anchor", Level.WARNING, "maintained")
def dead_anchors(document: Document) -> Iterator[Found]:
    """A link leads to a heading that does not exist.

    Why: the link opens the top of a long page, and the reader has to scroll.

    Instead: correct the anchor. For JupyterLab, the anchor of `## Step 4: Decide` is
    `#Step-4:-Decide`.
    """
    own = {anchor for _, block in document.blocks for anchor in _anchors(block.kind, block.text)}
    for cell, line, target in _links(document):
        path, _, anchor = unquote(target).partition("#")
        there = own if not path else _anchors_of(_file(document, path))
        if anchor and there is not None and anchor.casefold() not in there:
            yield in_cell(
                cell,
                line,
                f"the link leads to the heading #{anchor}, which does not exist",
                "correct the anchor",
            )


@rule("RB603", "dead-step", Level.WARNING, "maintained")
def dead_steps(document: Document) -> Iterator[Found]:
    """A text sends the reader to a step that does not exist.

    Why: the reader searches for a step that does not exist.

    Instead: name an existing step.
    """
    numbers = {str(step.number) for step in document.steps}
    for cell, block in document.blocks:
        for line in block.prose if numbers else ():
            for found in _STEP_NAMED.finditer(line.text):
                if found[1] not in numbers:
                    message = f"the text refers to step {found[1]}, which does not exist"
                    yield in_cell(cell, line.line, message, "name an existing step")


@rule_with_surroundings("RB604", "unknown-runbook", Level.WARNING, "maintained")
def unknown_runbooks(document: Document, around: Surroundings) -> Iterator[Found]:
    """The runbook names another runbook that is not in the catalogue.

    A planned runbook is listed in `registry.yaml`, in a folder of the catalogue:
    `RUN-010: Database server down`.

    Why: a reader who is sent to `RUN-010` finds no such runbook.

    Instead: write the runbook, register it as planned, or name another runbook.
    """
    known = {*around.runbooks, *(around.registry or ())}
    for cell in document.cells:
        for line, text in cell.lines if "RUN-" in cell.source else ():
            for name in dict.fromkeys(_RUNBOOK_ID.findall(text)):
                if name not in known and not (document.front and name == document.front.id):
                    message = f"{name} is not in the catalogue"
                    yield in_cell(
                        cell,
                        line,
                        message,
                        "choose an id from `rbkernel list`; or register this id as planned",
                    )


@rule_with_surroundings("RB605", "unknown-linked-id", Level.WARNING, "maintained")
def unknown_ids(document: Document, around: Surroundings) -> Iterator[Found]:
    """An id of an alert, a deployment or a risk (MON-, DEP-, RISK-) is not registered.

    This is checked only if a folder of the catalogue has a `registry.yaml`:
    `MON-005: {title: Connection pool above 90 %}`.

    Why: the reader cannot look up the meaning of the id.

    Instead: correct the id, or add it to `registry.yaml`.
    """
    for cell in document.cells if around.registry is not None else ():
        for line, text in cell.lines if _LINKED_ID.search(cell.source) else ():
            for name in dict.fromkeys(_LINKED_ID.findall(text)):
                if name not in (around.registry or ()):
                    yield in_cell(
                        cell, line, f"{name} is not registered", "add the id to registry.yaml"
                    )


@rule_with_surroundings("RB609", "duplicate-id", Level.ERROR, "maintained", forms=False)
def duplicates(document: Document, around: Surroundings) -> Iterator[Found]:
    """Two notebooks have the same id.

    A team's runbook may replace a bundled one; two runbooks of a team must have different ids.

    Why: an alert starts the first runbook with the id, and the other runbook never runs.

    Instead: choose an id that `rbkernel list` does not show.
    """
    front = document.front
    here = document.path.resolve()
    ours = catalogue.packaged("notebooks").resolve()
    same = around.runbooks.get(front.id, ()) if front else ()
    others = [other for other in same if other != here and not _replaces(here, other, ours)]
    if others:
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        message = f"{others[0]} has the same id{more}"
        yield in_field(document, "id", message, "give each its own id")


def _replaces(here: Path, other: Path, ours: Path) -> bool:
    """Tell whether one notebook is bundled with rbkernel and the other is a team's replacement."""
    return ours in {here.parent, other.parent} and here.parent != other.parent


@rule_with_surroundings("RB610", "unknown-drill", Level.WARNING, "tested")
def drills(document: Document, around: Surroundings) -> Iterator[Found]:
    """The drill in the front matter is not one of the sandbox's faults.

    A drill that people do by hand is described in a sentence; this rule does not check sentences.

    Why: no fault can be injected to test the runbook.

    Instead: name an existing fault. `rbkernel sandbox inject x` lists them, because x is no fault.
    """
    if document.front is None or around.faults is None:
        return
    for one in document.front.drill:
        if not one.by_hand and one.fault not in {HEALTHY, *around.faults}:
            message = f"the sandbox has no fault {one.fault}"
            yield in_field(
                document,
                "drill",
                message,
                "name one of its faults, or describe the drill in a sentence",
            )


def _links(document: Document) -> Iterator[tuple[Cell, int, str]]:
    """Yield the links that lead to files or headings, from Markdown and front matter."""
    found = [
        (cell, link.line, link.target)
        for cell, block in document.blocks
        for line in block.prose
        for link in line.links
    ]
    front = document.front
    for link in front.links if front and document.cells else ():
        line = document.cells[0].line_of(re.escape(link.url)) if link.url else 1
        found.append((document.cells[0], line, link.url))
    for cell, line, target in found:
        plain = target and not _ELSEWHERE.match(target) and not target.startswith("/")
        # in front matter, only texts that look like a file: the field may also hold words
        named = cell.kind != "raw" or re.fullmatch(r"[\w./-]+\.\w+(?:#.*)?", target)
        if plain and named and not unfilled(unquote(target)):
            yield cell, line, target


def _file(document: Document, path: str) -> Path:
    return document.path.parent / path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # an invalid file name
        return False


def _anchors(kind: str, text: str) -> set[str]:
    """Return the anchors that JupyterLab and GitHub give a heading.

    >>> sorted(_anchors("heading", "Step 4: Decide"))
    ['step-4-decide', 'step-4:-decide']
    """
    if kind != "heading":
        return set()
    lab = text.strip().replace(" ", "-")
    github = re.sub(r"[^\w\- ]", "", text.strip()).replace(" ", "-")
    return {lab.casefold(), github.casefold()}


def _anchors_of(path: Path) -> frozenset[str] | None:
    """Return the anchors of a page or notebook; None if they cannot be determined."""
    try:
        return _anchors_at(path)
    except (OSError, ValueError, RunbookError):
        return None


@lru_cache(maxsize=256)
def _anchors_at(path: Path) -> frozenset[str] | None:
    if path.suffix == ".ipynb":
        found = [block for _, block in Document.read(path).blocks]
    elif path.suffix == ".md":
        found = blocks(path.read_text(encoding="utf-8"))
    else:
        return None
    return frozenset(anchor for block in found for anchor in _anchors(block.kind, block.text))
