"""Assemble a notebook: front matter, parameters, `rb.start`, steps, one decision, `rb.summary`.

Pure. The same source gives the same bytes: cell ids are made from line numbers, and the clock is
not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from rbkernel.importer import calls
from rbkernel.importer.cells import Cell
from rbkernel.importer.reading.holes import Hole, printable
from rbkernel.importer.report import Report
from rbkernel.importer.steps import Steps
from rbkernel.runbook import frontmatter_text
from rbkernel.runbook.placeholders import PLACEHOLDER, placeholder

_HELP = """\
Imported from `{source}`. Queries run with a read-only role. A command that changes something is \
only shown, for you to copy: **the notebook itself changes nothing**. Read the box below first. \
Then fill in what is marked ‹›, in the first cell and in the parameters, and run the notebook \
again."""
_RECORD = """\
## At the end

**Goal:** keep what this notebook could not see. Write down what you did by hand with \
`rb.note("…")`; it stays with the run."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A notebook that an import created, and where each block of the source went."""

    id: str
    title: str
    notebook: NotebookNode
    report: Report

    @property
    def document(self) -> bytes:
        """The notebook's bytes."""
        text: str = nbformat.writes(self.notebook)
        return (text.rstrip("\n") + "\n").encode()


def assemble(steps: Steps, *, source: str, digest: str, db: str) -> Imported:
    """Assemble the notebook from the imported steps.

    Parameters
    ----------
    steps
        The cells and the front matter that were made from the source.
    source
        The source's file name, which the notebook's metadata names.
    digest
        SHA-256 of the source's bytes.
    db
        Default of the parameter that carries the connection's name.
    """
    if carriers := _carriers(steps):
        steps.fields.say("connections", dict.fromkeys(carriers, "*"))
    values = steps.fields.values
    cells = _ids([*steps.cells])
    decided = _with_decision(cells, steps.options)
    title = PLACEHOLDER.sub(r"[\g<hint>]", values["title"])
    notebook = new_notebook(
        cells=[
            new_raw_cell(
                frontmatter_text.dump(values),
                id="front-matter",
                metadata={"jupyter": {"source_hidden": True}},
            ),
            new_markdown_cell(
                f"# {values['id']}: {title}\n\n{_HELP.format(source=source)}", id="overview"
            ),
            new_code_cell(
                _parameters(steps, db), id="parameters", metadata={"tags": ["parameters"]}
            ),
            new_code_cell(_start(values["id"]), id="start"),
            *(_node(cell) for cell in decided),
            new_markdown_cell(_RECORD, id="record"),
            new_code_cell("rb.summary()", id="summary"),
        ],
        metadata={
            "kernelspec": {
                "name": "rbkernel",
                "display_name": "rbkernel (recorded)",
                "language": "python",
            },
            "language_info": {"name": "python"},
        },
    )
    notebook.metadata["rbkernel"] = {
        "import": {"source": source, "sha256": digest, "made": fingerprint(notebook)}
    }
    return Imported(
        id=values["id"],
        title=values["title"],
        notebook=notebook,
        report=Report(entries=tuple(steps.entries())),
    )


def fingerprint(notebook: NotebookNode) -> str:
    """Return a hash of everything in a notebook that a person can change, outputs included."""
    content = [
        [cell.cell_type, cell.source, cell.metadata.get("tags", []), len(cell.get("outputs", []))]
        for cell in notebook.cells
    ]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def untouched(notebook: NotebookNode) -> bool:
    """Tell whether a notebook is unchanged since an import wrote it."""
    try:
        return bool(notebook.metadata["rbkernel"]["import"]["made"] == fingerprint(notebook))
    except (KeyError, TypeError):
        return False


def _ids(cells: Sequence[Cell]) -> Sequence[Cell]:
    """Give each cell an id made from its source line; several cells of a line are numbered."""
    seen: dict[int, int] = {}
    for cell in cells:
        number = seen[cell.line] = seen.get(cell.line, 0) + 1
        cell.id = f"line-{cell.line}" if number == 1 else f"line-{cell.line}-{number}"
    return cells


def _with_decision(cells: Sequence[Cell], options: Sequence[str]) -> list[Cell]:
    """Insert the decision before the section with the first change, or at the end.

    If that section reads something before the change, the decision is directly before the change.
    """
    first = next((number for number, cell in enumerate(cells) if cell.act), None)
    if first is None:
        at = len(cells)
        ask = calls.call(
            "rb.decide",
            calls.quoted("Is it solved?"),
            calls.listed([calls.quoted(word) for word in ("solved", "not yet", "escalate")]),
        )
        words = "## Decide\n\n**Goal:** say whether the problem is solved."
    else:
        openings = [number for number in range(first + 1) if cells[number].opens]
        at = openings[-1] if openings else first
        if any(cell.kind == "code" for cell in cells[at:first]):
            at = first  # what the section reads before its first change is known by then
        named = [*options, "do nothing", "escalate"]
        ask = "choice = " + calls.call(
            "rb.decide",
            calls.quoted("What should be done?"),
            calls.listed([calls.quoted(option) for option in dict.fromkeys(named)]),
        )
        words = (
            "## Decide\n\n**Goal:** choose the option that the findings support. Its steps are then"
            " marked *proposed*. Choosing changes nothing yet."
        )
    decision = [
        Cell(kind="markdown", source=words, line=0, opens=True, id="decide"),
        Cell(kind="code", source=ask, line=0, id="decision"),
    ]
    return [*cells[:at], *decision, *cells[at:]]


def _node(cell: Cell) -> NotebookNode:
    make: Callable[..., NotebookNode] = (
        new_markdown_cell if cell.kind == "markdown" else new_code_cell
    )
    return make(cell.source, id=cell.id)


def _parameters(steps: Steps, db: str) -> str:
    lines = []
    if "db" in steps.connections.targets:
        lines.append(
            f"db: str = {calls.quoted(db)}  # connection name, from rbkernel.toml; used read-only"
        )
    lines.append(
        'incident: str = ""  # incident id, such as INC-20261120-7f3a; empty for a new one'
    )
    lines += [
        f"{name}: str = {calls.quoted(placeholder(f'connection of {target}'))}"
        f"  # connection to {' '.join(printable(target).split())}: its name in rbkernel.toml;"
        " used read-only"
        for name, target in steps.connections.targets.items()
        if name != "db"
    ]
    lines += [_parameter(hole) for hole in steps.parameters.values()]
    return "\n".join(lines)


def _carriers(steps: Steps) -> list[str]:
    """Return the names of the parameters that hold a connection's name."""
    return sorted(steps.connections.targets, key=lambda name: name != "db")


def _parameter(hole: Hole) -> str:
    hole_text = " ".join(printable(hole.text).split())
    if hole.annotation == "str":
        return f"{hole.parameter}: str = {calls.quoted(placeholder(hole.hint))}  # {hole_text}"
    return f"{hole.parameter}: {hole.annotation} = None  # {placeholder(hole.hint)}, {hole_text}"


def _start(runbook_id: str) -> str:
    return f"import rbkernel as rb\n\n{calls.call('rb.start', calls.quoted(runbook_id))}"


def identity(document: bytes, source: str) -> tuple[str, str] | None:
    """Return the title and id of a notebook that an earlier import of the same file wrote.

    A new import gives the runbook the same id. The result is None for other notebooks and other
    files.
    """
    try:
        made = nbformat.reads(document.decode("utf-8"), as_version=4)
        fields, *_ = frontmatter_text.load(frontmatter_text.of(made) or "")
        named = made.metadata["rbkernel"]["import"]["source"] == source
        return (str(fields["title"]), str(fields["id"])) if named else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def id_of(document: bytes) -> str:
    """Return the id that a notebook declares; empty if it declares none."""
    try:
        there = nbformat.reads(document.decode("utf-8"), as_version=4)
        fields, *_ = frontmatter_text.load(frontmatter_text.of(there) or "")
        return str(fields["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
