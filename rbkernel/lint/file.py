"""RB0: the file as a whole: front matter, order of cells, outputs of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rbkernel.lint import suppression
from rbkernel.lint.cells import Cell
from rbkernel.lint.document import Document
from rbkernel.lint.rule import RULES, Found, Level, Rule, add, in_cell, rule

KERNEL = "rbkernel"


add(
    Rule(
        code="RB001",
        name="unreadable",
        level=Level.ERROR,
        criterion="complete",
        text="""The file is not a notebook.

It cannot be opened: it contains a merge conflict, is cut off, or has another format.

Why: the runbook will not open when it is needed.

Instead: restore the file from version control. `rbkernel lint` ends with exit code 3.""",
        # an unreadable file has no document to apply rules to
        check=lambda _document, _around: iter(()),
    )
)


@rule("RB002", "front-matter-invalid", Level.ERROR, "complete")
def front_matter(document: Document) -> Iterator[Found]:
    """The front matter is missing or invalid.

    The first cell must be a raw cell with YAML between two lines `---`, and each field must be
    valid. `rbkernel schema` prints the JSON Schema for an editor.

    Why: without valid front matter the runbook is not listed, and neither alerts nor people
    can start it.

    Instead: correct the line in the message.
    """
    for problem in document.examined[1]:
        field = f"{problem.field}: " if problem.field else ""
        yield Found(
            1, problem.line, f"{field}{problem.message}", "correct that line of the front matter"
        )


@rule("RB003", "outputs-committed", Level.ERROR, "maintained", fixable=True)
def outputs(document: Document) -> Iterator[Found]:
    """A code cell holds outputs or an execution count.

    Why: an old output looks like a current finding, and may contain customers' data. The
    findings of a run belong to its evidence.

    Instead: run `rbkernel lint --fix`, which removes outputs and execution counts.
    """
    for cell in document.cells:
        if cell.kind != "code":
            continue
        if cell.node.outputs:
            yield in_cell(cell, 1, "the cell holds outputs of an earlier run", _FIX)
        elif cell.node.execution_count is not None:
            yield in_cell(cell, 1, "the cell holds the execution count of an earlier run", _FIX)


_FIX = "run `rbkernel lint --fix`"


@rule("RB004", "suppression-without-reason", Level.ERROR, "maintained")
def reasons(document: Document) -> Iterator[Found]:
    """A rule is suppressed without a reason.

    Why: the next reader cannot tell a considered exception from an accidental one.

    Instead: write `rbkernel: ignore RB303 because the table is long`, in a comment of the cell:
    `# …` in code and front matter, `<!-- … -->` in Markdown.
    """
    for cell, said in suppression.of(document):
        if not said.reason:
            yield in_cell(
                cell,
                said.line,
                f"{', '.join(said.codes) or 'a rule'} is suppressed without a reason",
                "write `because …` after the code",
            )


@rule("RB005", "suppression-unknown", Level.WARNING, "maintained")
def known_codes(document: Document) -> Iterator[Found]:
    """A suppression names a rule that does not exist.

    Why: the comment suppresses nothing, although its author expects it to.

    Instead: use a code that `rbkernel lint --rules` lists.
    """
    for cell, said in suppression.of(document):
        for code in said.codes:
            if code not in RULES:
                message = f"no rule has the code {code}"
                yield in_cell(cell, said.line, message, "see `rbkernel lint --rules`")


@rule("RB006", "run-left-behind", Level.ERROR, "maintained", fixable=True)
def leftovers(document: Document) -> Iterator[Found]:
    """The runbook contains a cell that papermill injected.

    This cell, or papermill's metadata, shows that the output of a run was saved over the runbook.

    Why: the injected values override the declared ones, so the next run
    queries the database of the last one.

    Instead: `rbkernel lint --fix` removes the injected cell and papermill's metadata.
    """
    for cell in document.cells:
        if "injected-parameters" in cell.tags:
            yield in_cell(cell, 1, "the values of an earlier run are injected here", _FIX)
    if "papermill" in document.notebook.metadata:
        yield Found(0, 0, "the notebook's metadata is that of an earlier run", _FIX)


@rule("RB007", "kernel-not-recorded", Level.ERROR, "safe", fixable=True)
def kernel(document: Document) -> Iterator[Found]:
    """The notebook does not name the recording kernel.

    Why: with another kernel nothing is recorded in a journal, and `rb.start` raises an error.

    Instead: choose the kernel *rbkernel (recorded)* in JupyterLab, or run `rbkernel lint --fix`.
    """
    named = document.notebook.metadata.get("kernelspec", {}).get("name", "")
    if named != KERNEL:
        said = (
            f"the notebook names the kernel {named!r}" if named else "the notebook names no kernel"
        )
        yield Found(0, 0, f"{said}, and not {KERNEL}", _FIX)


@rule("RB008", "cell-order", Level.ERROR, "complete", fixable=True)
def order(document: Document) -> Iterator[Found]:
    """The cells are not in the order that readers and papermill expect.

    The order is: front matter, an introduction in Markdown, the parameters cell, `rb.start`, then
    everything else.

    Why: papermill injects the values of a run below the parameters cell, so code above that cell
    does not use them. Without an introduction, the reader does not know what the runbook is for.

    Instead: `rbkernel lint --fix` moves front matter and parameters; write the introduction.
    """
    first = parameters_too_late(document)
    if first is not None:
        message = f"code in cell {first.number} runs before the parameters are known"
        yield in_cell(document.parameter_cells[0], 1, message, _FIX)
    for cell in misplaced_front_matter(document):
        yield in_cell(cell, 1, "front matter that is not in the first cell is not read", _FIX)
    kinds = [cell.kind for cell in document.cells]
    if "code" in kinds and "markdown" not in kinds[: kinds.index("code")]:
        message = "nothing at the top says what this is, how to read it and when to escalate"
        yield Found(1, 1, message, "add a Markdown cell after the front matter")


@rule("RB009", "cell-ids", Level.ERROR, "maintained", fixable=True)
def cell_ids(document: Document) -> Iterator[Found]:
    """Cells have no ids, or two cells have the same id.

    The cause is usually a merge or an old tool.

    Why: the evidence of a run is compared with the runbook cell by cell, and the ids tell which
    cells belong together.

    Instead: `rbkernel lint --fix` gives new ids to cells without an id and to duplicates.
    """
    written = [cell.get("id", "") for cell in json.loads(document.raw).get("cells", ())]
    for cell in document.cells:
        was = written[cell.number - 1] if cell.number <= len(written) else cell.id
        if was != cell.id:
            said = f"another cell has the id {was}" if was else "the cell has no id"
            yield in_cell(cell, 1, said, _FIX)


def parameters_too_late(document: Document) -> Cell | None:
    """Return the first code cell that runs before the parameters cell, or None."""
    if not document.parameter_cells:
        return None
    first = next(code.cell for code in document.codes) if document.codes else None
    return first if first and first.number < document.parameter_cells[0].number else None


def misplaced_front_matter(document: Document) -> list[Cell]:
    """Return the raw cells after the first cell that look like front matter."""
    return [
        cell
        for cell in document.cells[1:]
        if cell.kind == "raw" and cell.source.strip().startswith("---\n") and "\nid:" in cell.source
    ]
