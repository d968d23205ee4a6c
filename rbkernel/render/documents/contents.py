"""Pure: the record and the notebook of a run → what a report says of it.

What was found, decided and done comes from the journal, which is what is attested. The notebook
gives the steps in their order; where it says otherwise than the journal, the step is marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from nbformat import NotebookNode

from rbkernel.displaytext import visible
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import CellCheck, verify_notebook
from rbkernel.evidence.bundle import incident_of, runbook_of
from rbkernel.evidence.normal import text
from rbkernel.evidence.reading import Record, snapshot_of
from rbkernel.evidence.rebuild import annotate
from rbkernel.model import Decision, Finding, Verdict, by_urgency, folded, leading
from rbkernel.render.documents import wording
from rbkernel.render.documents.blocks import Block, Reader, Text
from rbkernel.render.documents.sanitize import markdown_html
from rbkernel.render.documents.widgets import states
from rbkernel.render.documents.wording import Plan

# as many as a run's first screen tells each for itself
_MOST_OK_SHOWN = 6
_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A line of the table of contents; ``level`` is Markdown's, 1 the most general."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: Markdown has only ``markup`` and ``source``, code has all but ``markup``."""

    kind: str
    label: str
    source: str
    markup: str = ""
    status: str = ""
    took: str = ""
    runs: int = 1
    blocks: tuple[Block, ...] = ()
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """All that a report says of one run."""

    anchor: str
    run_id: str
    runbook: str
    title: str
    incident: str
    verdict: Verdict
    complete: bool
    started_at: str
    about: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    decisions: tuple[Decision, ...]
    plans: tuple[Plan, ...]
    remarks: tuple[tuple[str, str, str], ...]
    front_matter: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    cells: tuple[Cell, ...]
    headings: tuple[Heading, ...]

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks of all cells, in order."""
        return (block for cell in self.cells for block in cell.blocks)

    @property
    def headline(self) -> str:
        """What is wrong, else what could not be seen, else that all is well; in one line."""
        wording = dict.fromkeys(str(finding.headline) for finding in leading(self.findings))
        ok = f"all {len(self.findings)} checks passed" if self.findings else "no checks"
        return "; ".join(wording) or ok

    @property
    def findings_shown(self) -> tuple[Finding, ...]:
        """The findings that are not ok, one reason for many unknowns once; few that are ok, too."""
        return tuple(folded(one for one in self.findings if one not in self.passed))

    @property
    def passed(self) -> tuple[Finding, ...]:
        """The findings that are ok, where they are so many that they would hide what is not."""
        ok = tuple(finding for finding in self.findings if finding.verdict is Verdict.OK)
        return ok if len(ok) > _MOST_OK_SHOWN else ()


def section(
    record: Record,
    executed: bytes,
    reader: Reader,
    *,
    anchor: str = "run-1",
    seal: Iterable[tuple[str, str]] = (),
) -> Section:
    """Gather what a report says of one run.

    Parameters
    ----------
    record
        What its journal tells.
    executed
        Its notebook, sealed or rebuilt.
    reader
        Makes the blocks of the whole report.
    anchor
        What the run is called inside the page.
    seal
        Facts of the seal, by name, as far as they are known.

    Raises
    ------
    EvidenceError
        The notebook cannot be read.
    """
    notebook = documents.parse(executed, where=f"the notebook of run {record.run_id}")
    checked = verify_notebook(notebook, record, snapshot_of(record))
    problems = {check.index: check for check in checked.problems}
    cells, headings = _cells(annotate(notebook, record), problems, reader, anchor)
    front = wording.front_matter(notebook)
    run = record.run
    title = run.title if run else ""
    return Section(
        anchor=anchor,
        run_id=record.run_id,
        runbook=runbook_of(record) or "a notebook",
        title=title or str(dict(front).get("title", "")) or "untitled",
        incident=incident_of(record),
        verdict=record.verdict,
        complete=record.complete,
        started_at=wording.started_at(record),
        about=wording.about(record),
        findings=tuple(by_urgency(record.findings)),
        decisions=record.decisions,
        plans=wording.plans(record, reader),
        remarks=wording.remarks(record),
        front_matter=front,
        facts=(*wording.facts(record), ("Attested", checked.count), *seal),
        warnings=wording.warnings(record, [str(one) for one in checked.problems], checked.partial),
        cells=cells,
        headings=headings,
    )


def _cells(
    notebook: NotebookNode, problems: Mapping[int | None, CellCheck], reader: Reader, anchor: str
) -> tuple[tuple[Cell, ...], tuple[Heading, ...]]:
    widgets = states(notebook.metadata)
    cells: list[Cell] = []
    headings: list[Heading] = []
    for index, cell in enumerate(notebook.cells):
        problem = str(problems[index]) if index in problems else ""
        if cell.cell_type == "markdown":
            markup, found = _anchored(_markdown(cell), f"{anchor}-cell-{index + 1}")
            headings += found
            source = visible(cell.source)
            cells.append(
                Cell(kind="markdown", label="", source=source, markup=markup, problem=problem)
            )
        elif cell.cell_type == "code" and cell.source.strip():
            blocks = tuple(reader.blocks(cell.outputs, widgets))
            cells.append(_code_cell(index, cell, blocks, problem))
        elif cell.cell_type == "raw" and index:  # the first is the front matter
            shown = (Text(text=visible(cell.source)),)
            cells.append(
                Cell(kind="raw", label="", source=cell.source, blocks=shown, problem=problem)
            )
    return tuple(cells), tuple(headings)


def _code_cell(index: int, cell: NotebookNode, blocks: tuple[Block, ...], problem: str) -> Cell:
    known = cell.metadata.get("rbkernel", {})
    return Cell(
        kind="code",
        label=documents.label(index, documents.lasting_id(cell), cell.source),
        source=visible(cell.source),
        status=str(known.get("status", "")),
        took=_took(known.get("started_at"), known.get("ended_at")),
        runs=int(known.get("runs", 1)),
        blocks=blocks,
        problem=problem,
    )


def _markdown(cell: NotebookNode) -> str:
    """Return a cell's clean markup, with the pictures that were pasted into it."""
    source = str(cell.source)
    attached = cell.get("attachments")
    for name, bundle in attached.items() if isinstance(attached, Mapping) else ():
        for mimetype, data in bundle.items() if isinstance(bundle, Mapping) else ():
            url = f"data:{mimetype};base64,{''.join(text(data).split())}"
            source = source.replace(f"(attachment:{name})", f"({url})")
    return markdown_html(source)


def _anchored(markup: str, anchor: str) -> tuple[str, list[Heading]]:
    """Give the headings in clean markup their anchors, below the headings of the report."""
    found: list[Heading] = []

    def mark(match: re.Match[str]) -> str:
        level, inner = int(match[1]), match[2]
        name = f"{anchor}-{len(found) + 1}"
        found.append(Heading(level=level, text=_TAG.sub("", inner).strip(), anchor=name))
        shown = min(level + 2, 6)
        return f'<h{shown} id="{name}" class="md{level}">{inner}</h{shown}>'

    return _HEADING.sub(mark, markup), found


def _took(started: object, ended: object) -> str:
    """Write how long a cell ran.

    >>> _took("2026-11-20T23:45:35+00:00", "2026-11-20T23:45:36.500000+00:00"), _took(None, "")
    ('1.5 s', '')
    """
    try:
        took = datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(started))
    except (ValueError, TypeError):
        return ""
    return f"{took.total_seconds():.1f} s"
