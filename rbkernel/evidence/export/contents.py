"""Pure: the record and the notebook of a run → what a report says of it.

What was found, decided and done comes from the journal, which is what is attested. The notebook
gives the steps in their order; where it says otherwise than the journal, the step is marked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import yaml
from nbformat import NotebookNode

from rbkernel.evidence import notebook as documents
from rbkernel.evidence.attest import CellCheck, verify_notebook
from rbkernel.evidence.bundle import incident_of, runbook_of
from rbkernel.evidence.export.blocks import Block, Reader, Text
from rbkernel.evidence.export.sanitize import markdown_html, plain
from rbkernel.evidence.export.tables import Table
from rbkernel.evidence.export.widgets import states
from rbkernel.evidence.normal import text
from rbkernel.evidence.reading import DONE, Record, snapshot_of
from rbkernel.evidence.rebuild import annotate
from rbkernel.model import Decision, Finding, Verdict

# a runbook says about 40; aliases in YAML can multiply without end
_MOST_LINES = 200
# as many as a run's first screen tells each for itself
_TOLD_OK = 6
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
class Plan:
    """A proposed action in its last state."""

    title: str
    state: str
    connection: str
    sql: str
    risk: str
    undo: str
    targets: Table


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
        wrong = [finding for finding in self.findings if finding.wrong]
        unseen = [finding for finding in self.findings if finding.verdict is Verdict.UNKNOWN]
        worst = Verdict.worst(finding.verdict for finding in wrong or unseen)
        told = dict.fromkeys(
            str(finding.headline) for finding in wrong or unseen if finding.verdict is worst
        )
        ok = f"all {len(self.findings)} checks passed" if self.findings else "no check was made"
        return "; ".join(told) or ok

    @property
    def told(self) -> tuple[Finding, ...]:
        """The findings that are told each for itself."""
        return tuple(finding for finding in self.findings if finding not in self.passed)

    @property
    def passed(self) -> tuple[Finding, ...]:
        """The findings that are ok, where they are so many that they would hide what is not."""
        ok = tuple(finding for finding in self.findings if finding.verdict is Verdict.OK)
        return ok if len(ok) > _TOLD_OK else ()


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
    front = _front_matter(notebook)
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
        started_at=_started_at(record),
        about=_about(record),
        findings=tuple(sorted(record.findings, key=lambda finding: -finding.verdict.rank)),
        decisions=record.decisions,
        plans=_plans(record, reader),
        remarks=_remarks(record),
        front_matter=front,
        facts=(*_facts(record), ("Attested", checked.count), *seal),
        warnings=_warnings(record, [str(one) for one in checked.problems], checked.partial),
        cells=cells,
        headings=headings,
    )


def clock(at: object) -> str:
    """Write a time of ours for people.

    >>> clock("2026-11-20T23:45:35.968906+00:00"), clock("")
    ('2026-11-20 23:45:35 UTC', '')
    """
    said = plain(str(at))
    return f"{said[:10]} {said[11:19]} UTC" if re.match(r"\d{4}-\d\d-\d\dT", said) else said


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Give nested values a line each.

    >>> list(flat({"scope": {"not_handled": ["a", "b"]}, "slo": None}))
    [('scope, not handled', 'a'), ('scope, not handled', 'b'), ('slo', '')]
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            word = plain(str(key)).replace("_", " ")
            yield from flat(part, f"{name}, {word}" if name else word)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part, name)
    else:
        yield name, "" if value is None else plain(str(value)).strip()


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
            source = plain(cell.source)
            cells.append(
                Cell(kind="markdown", label="", source=source, markup=markup, problem=problem)
            )
        elif cell.cell_type == "code" and cell.source.strip():
            blocks = tuple(reader.blocks(cell.outputs, widgets))
            cells.append(_code_cell(index, cell, blocks, problem))
        elif cell.cell_type == "raw" and index:  # the first is the front matter
            shown = (Text(text=plain(cell.source)),)
            cells.append(
                Cell(kind="raw", label="", source=cell.source, blocks=shown, problem=problem)
            )
    return tuple(cells), tuple(headings)


def _code_cell(index: int, cell: NotebookNode, blocks: tuple[Block, ...], problem: str) -> Cell:
    told = cell.metadata.get("rbkernel", {})
    return Cell(
        kind="code",
        label=documents.label(index, documents.lasting_id(cell), cell.source),
        source=plain(cell.source),
        status=str(told.get("status", "")),
        took=_took(told.get("started_at"), told.get("ended_at")),
        runs=int(told.get("runs", 1)),
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


def _front_matter(notebook: NotebookNode) -> tuple[tuple[str, str], ...]:
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw":
        return ()
    source = str(first.source).strip().removeprefix("---").removesuffix("---")
    try:
        fields = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, RecursionError):
        return (("as it was written", plain(source)),)
    return _gathered(islice(flat(fields, "" if isinstance(fields, dict) else "text"), _MOST_LINES))


def _gathered(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Gather the lines of each name.

    >>> _gathered([("a", "1"), ("a", "2"), ("b", "3")])
    (('a', '1\\n2'), ('b', '3'))
    """
    lines: dict[str, list[str]] = {}
    for name, value in pairs:
        lines.setdefault(name, []).append(value)
    return tuple((name, "\n".join(values)) for name, values in lines.items())


def _about(record: Record) -> tuple[tuple[str, str], ...]:
    run = record.run
    ended = max((cell.ended_at for cell in record.cells), default="")
    executed = "headless" if run and run.headless else "by hand, in a notebook"
    values = run.parameters if run else {}
    given = ", ".join(plain(f"{name} = {value}") for name, value in values.items())
    pairs = (
        ("Run", record.run_id),
        ("Started", clock(_started_at(record))),
        ("Ended", clock(ended)),
        ("Executed", executed if run else ""),
        ("Parameters", given),
    )
    return tuple((name, value) for name, value in pairs if value)


def _started_at(record: Record) -> str:
    return str(record.run.started_at if record.run else record.kernel.get("at", ""))


def _facts(record: Record) -> tuple[tuple[str, str], ...]:
    told = record.of_kind("run")
    facts = flat(told[-1].data.get("facts", {})) if told else ()
    counts: Counter[str] = Counter()
    for event in record.of_kind("redaction"):
        rules = event.data.get("rules")
        counts.update(rules if isinstance(rules, dict) else {})
    redacted = ", ".join(f"{rule} {number}" for rule, number in sorted(counts.items()))
    return (*facts, *([("Redacted", redacted)] if redacted else ()))


def _plans(record: Record, reader: Reader) -> tuple[Plan, ...]:
    last = {str(event.data.get("id")): event.data for event in record.of_kind("plan")}
    return tuple(_plan(data, reader) for data in last.values())


def _plan(data: Mapping[str, Any], reader: Reader) -> Plan:
    names = ("title", "state", "connection", "sql", "risk", "undo")
    targets = data.get("targets")
    rows = [row for row in targets if isinstance(row, Mapping)] if isinstance(targets, list) else []
    header = tuple(dict.fromkeys(str(name) for row in rows for name in row))
    cells = (("" if (v := row.get(n)) is None else plain(str(v)) for n in header) for row in rows)
    table = reader.table(header, tuple(map(tuple, cells)))
    return Plan(**{name: plain(str(data.get(name) or "")) for name in names}, targets=table)


def _remarks(record: Record) -> tuple[tuple[str, str, str], ...]:
    """Return what people added: when, what kind, and their words."""
    found = []
    for event in record.events:
        if event.kind == "note":
            found.append((event.at, "note", plain(str(event.data.get("text", "")))))
        elif event.kind == "done":
            said = f"{event.data.get('title', '')}. {event.data.get('note', '')}"
            found.append((event.at, "done by a human", plain(said)))
    return tuple(found)


def _warnings(record: Record, problems: list[str], partial: str) -> tuple[str, ...]:
    told = [f"Not as the journal has it: {problem}" for problem in problems]
    if partial:
        told.append(f"Verified in part: {partial}")
    if not record.complete:
        told.append("The run did not come to its end: what is missing here never happened.")
    left = [cell for cell in record.cells if cell.status != DONE]
    told += [
        f"{cell.status}: {documents.first_line(cell.code)}" for cell in left if cell.code.strip()
    ]
    return tuple(told)


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
