"""Collect the contents of a report from the journal and the notebook of a run. Pure.

Findings, decisions and actions come from the journal, because the journal is attested. The notebook
gives the steps in their order. A cell that differs from the journal is marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from nbformat import NotebookNode

from rbkernel import amounts
from rbkernel.displaytext import visible
from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import CellCheck, verify_notebook
from rbkernel.evidence.incident import Known
from rbkernel.evidence.normal import text
from rbkernel.evidence.reading import Record, snapshot_of
from rbkernel.evidence.rebuild import annotate
from rbkernel.model import Decision, Finding, Verdict, by_urgency, folded, leading
from rbkernel.render.documents import wording
from rbkernel.render.documents.blocks import Block, Figure, Image, Reader, Text
from rbkernel.render.documents.markdown import markdown_html
from rbkernel.render.documents.widgets import states
from rbkernel.render.documents.wording import Plan

# the same number of ok findings as on the first screen of a run
_MOST_OK_SHOWN = 6
_HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.DOTALL)
# a heading as `_anchored` writes it
_ANCHORED = re.compile(r'<h([1-6]) id="[^"]*" class="md[1-6]">(.*?)</h\1>', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A line of the table of contents; ``level`` is the level of the Markdown heading, from 1."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the run; a Markdown cell has only ``markup`` and ``source``, a code cell no
    ``markup``.
    """

    kind: str
    label: str
    source: str
    markup: str = ""
    status: str = ""
    took: str = ""
    runs: int = 1
    blocks: tuple[Block, ...] = ()
    problem: str = ""

    @property
    def titles(self) -> str:
        """The headings of a Markdown cell as HTML, with their anchors."""
        return "".join(found[0] for found in _ANCHORED.finditer(self.markup))

    @property
    def prose(self) -> str:
        """A Markdown cell as HTML, without anchors; empty if it has headings only."""
        if not _ANCHORED.sub("", self.markup).strip():
            return ""
        return _ANCHORED.sub(r"<h\1>\2</h\1>", self.markup)


@dataclass(frozen=True, kw_only=True)
class Section:
    """The section of a report about one run."""

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
        """All blocks of all cells of the section, in order."""
        return (block for cell in self.cells for block in cell.blocks)

    @property
    def pictures(self) -> tuple[Block, ...]:
        """The figures and images of the section, without figures that cannot be drawn."""
        return tuple(
            one
            for one in self.blocks
            if isinstance(one, Image) or (isinstance(one, Figure) and one.drawn)
        )

    @property
    def prose(self) -> tuple[str, ...]:
        """The text of the runbook as HTML, one item for each Markdown cell."""
        return tuple(cell.prose for cell in self.cells if cell.prose)

    @property
    def headline(self) -> str:
        """The problems of the run in one line.

        If there are none, the findings whose verdict is unknown; if there are none of these either,
        the number of passed checks.
        """
        wording = dict.fromkeys(str(finding.headline) for finding in leading(self.findings))
        ok = (
            f"{amounts.all_of(len(self.findings), 'check')} passed"
            if self.findings
            else "no checks"
        )
        return "; ".join(wording) or ok

    @property
    def recommended(self) -> str:
        """The option that the last question recommends; empty if it is answered."""
        last = next((one for one in reversed(self.decisions) if one.recommended), None)
        return last.recommended or "" if last and not last.choice else ""

    @property
    def findings_shown(self) -> tuple[Finding, ...]:
        """The findings that the report shows: all that are not ok, and the ok ones if they are few.

        Unknown findings with the same reason are merged into one.
        """
        return tuple(folded(one for one in self.findings if one not in self.passed))

    @property
    def passed(self) -> tuple[Finding, ...]:
        """The ok findings that are listed apart, because there are so many; else empty."""
        ok = tuple(finding for finding in self.findings if finding.verdict is Verdict.OK)
        return ok if len(ok) > _MOST_OK_SHOWN else ()


def section(
    record: Record,
    executed: bytes,
    reader: Reader,
    *,
    anchor: str = "run-1",
    seal: Iterable[tuple[str, str]] = (),
    known: Known | None = None,
) -> Section:
    """Return the section of a report about one run.

    Parameters
    ----------
    record
        The contents of the run's journal.
    executed
        The run's notebook, sealed or rebuilt.
    reader
        The reader that makes the blocks of the whole report.
    anchor
        The prefix of the run's anchors in the page.
    seal
        The known facts about the seal, by name.
    known
        What the record of the incident says, which may be newer than the journal.

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
        runbook=record.runbook or "a notebook",
        title=title or str(dict(front).get("title", "")) or "untitled",
        incident=record.incident,
        verdict=record.verdict,
        complete=record.complete,
        started_at=wording.started_at(record),
        about=wording.about(record),
        findings=tuple(by_urgency(record.findings)),
        decisions=known.answers.in_run(record.run_id, record.decisions)
        if known
        else record.decisions,
        plans=wording.plans(record, reader, known.done if known else None),
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
        elif cell.cell_type == "raw" and index:  # the first cell is the front matter
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
    """Return a Markdown cell as sanitized HTML, including the images pasted into it."""
    source = str(cell.source)
    attached = cell.get("attachments")
    for name, bundle in attached.items() if isinstance(attached, Mapping) else ():
        for mimetype, data in bundle.items() if isinstance(bundle, Mapping) else ():
            url = f"data:{mimetype};base64,{''.join(text(data).split())}"
            source = source.replace(f"(attachment:{name})", f"({url})")
    return markdown_html(source)


def _anchored(markup: str, anchor: str) -> tuple[str, list[Heading]]:
    """Return HTML whose headings have anchors and are two levels lower, and the list of
    headings.
    """
    found: list[Heading] = []

    def mark(match: re.Match[str]) -> str:
        level, inner = int(match[1]), match[2]
        name = f"{anchor}-{len(found) + 1}"
        found.append(Heading(level=level, text=_TAG.sub("", inner).strip(), anchor=name))
        shown = min(level + 2, 6)
        return f'<h{shown} id="{name}" class="md{level}">{inner}</h{shown}>'

    return _HEADING.sub(mark, markup), found


def _took(started: object, ended: object) -> str:
    """Return how long a cell was executed, as text; empty if unknown.

    >>> _took("2026-11-20T23:45:35+00:00", "2026-11-20T23:45:36.500000+00:00"), _took(None, "")
    ('1.5 s', '')
    """
    try:
        took = datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(started))
    except (ValueError, TypeError):
        return ""
    return f"{took.total_seconds():.1f} s"
