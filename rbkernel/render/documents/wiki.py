"""Render a report as Markdown with picture files, for a wiki or GitHub. Pure.

All text is escaped. Markdown of the runbook is parsed and written again without HTML and without
URLs that run scripts, because a wiki may allow more than GitHub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from rbkernel.model import Decision, Finding
from rbkernel.render import cards
from rbkernel.render.documents.blocks import Block, Card, Error, Figure, Html, Image, Text
from rbkernel.render.documents.contents import Cell, Section
from rbkernel.render.documents.markdown import escaped, fenced, rewritten, written_table
from rbkernel.render.documents.page import Report
from rbkernel.render.documents.tables import Table
from rbkernel.render.documents.wording import Plan, clock

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


def file_name(image: Image) -> str:
    """Return the name of the file for a picture of the report."""
    return f"figure-{image.number:02d}.{_EXTENSIONS.get(image.mimetype, 'svg')}"


def address(folder: str) -> str:
    """Return a folder's name as a URL that Markdown can contain.

    >>> address("my report (2).files")
    'my%20report%20%282%29.files'
    """
    return quote(folder)


def render(report: Report, pictures: Mapping[int, str], folder: str) -> str:
    """Return a report as Markdown.

    Parameters
    ----------
    report
        The contents of the report.
    pictures
        The file of each picture by its number; a figure without a picture is replaced by its
        caption.
    folder
        The folder of pictures and tables, relative to the Markdown, as `address` returns it.
    """
    return "\n\n".join(part for part in _report(report, _Files(pictures, folder)) if part) + "\n"


class _Files:
    """The files of pictures and tables to which a Markdown report refers."""

    def __init__(self, pictures: Mapping[int, str], folder: str) -> None:
        self.pictures = pictures
        self.folder = folder

    def picture(self, block: Image | Figure) -> str:
        caption = escaped(block.text)
        name = self.pictures.get(block.number)
        if name is None:
            note = (
                block.note if isinstance(block, Figure) and block.note else "no picture was drawn"
            )
            return f"*{caption}* ({escaped(note)})"
        return f"![{caption}]({self.folder}/{name})\n\n*{caption}*"

    def table(self, table: Table) -> str:
        shown = written_table(table.header, table.shown)
        if not table.name:
            return shown
        return f"{shown}\n\n{escaped(table.note)}: [{table.name}]({self.folder}/{table.name})"


def _report(report: Report, files: _Files) -> Iterator[str]:
    yield f"# {escaped(report.title)}"
    yield escaped(report.subtitle)
    if report.recommended:
        yield f"**Recommended:** {escaped(report.recommended)}"
    if report.facts:
        yield _pairs(report.facts)
    yield _list(f"**Note:** {escaped(warning)}" for warning in report.warnings)
    if report.incident and report.sections:
        yield "## Results of the runs"
        yield _list(
            f"{_badge(run.verdict)} {escaped(run.runbook)} {escaped(run.title)}:"
            f" {escaped(run.headline)}"
            for run in report.sections
        )
    if report.timeline:
        yield "## Timeline"
        yield _list(
            f"{escaped(at)}: {escaped(what)}" + (f" *{escaped(who)}*" if who else "")
            for at, what, who in report.timeline
        )
    for run in report.sections:
        yield from _section(run, files)
    yield "---"
    yield escaped(report.footer)


def _section(run: Section, files: _Files) -> Iterator[str]:
    yield f"## {escaped(run.runbook)} {escaped(run.title)}: {_badge(run.verdict)}"
    yield _pairs(run.about)
    yield _list(f"**Note:** {escaped(warning)}" for warning in run.warnings)
    yield "### Findings"
    yield _list(map(_finding, run.findings)) or "This run had no checks."
    if run.decisions or run.plans or run.remarks:
        yield "### Decisions and actions"
        yield _list(map(_decision, run.decisions))
        yield from (_plan(plan, files) for plan in run.plans)
        yield _list(f"{escaped(clock(a))}: {kind}: {escaped(w)}" for a, kind, w in run.remarks)
    yield "### Step by step"
    for cell in run.cells:
        yield from _cell(cell, files)
    yield "### Evidence"
    yield _pairs(run.facts)


def _finding(one: Finding) -> str:
    text = f"{_badge(one.verdict)} **{escaped(one.title)}**: {escaped(one.actual)}"
    text += f" (expected {escaped(one.expected)})" if one.expected else ""
    if one.cause and one.cause not in {one.title, one.actual}:
        text += f". {escaped(one.cause)}"
    if which := cards.rows_of(one):
        text += f". Which: {escaped(which)}"
    step = "; ".join(filter(None, [one.next_step, one.opens and f"open {one.opens}"]))
    return text + (f". **Next:** {escaped(step)}" if step else "")


def _decision(one: Decision) -> str:
    if one.choice:
        return f"**{escaped(one.question)}** {escaped(one.choice)} ({escaped(one.by_whom)})"
    options = (
        f"{escaped(option)} (recommended)" if option == one.recommended else escaped(option)
        for option in one.options
    )
    return f"{escaped(one.state)}: **{escaped(one.question)}** {', '.join(options)}"


def _plan(plan: Plan, files: _Files) -> str:
    if not plan.text:
        return f"nothing to do: **{escaped(plan.title)}**"
    heading = f"{escaped(plan.state)}: **{escaped(plan.title)}**, {escaped(plan.place)}"
    language = "sh" if plan.command else "sql"
    is_script = "\n" in plan.undo
    after = _pairs([("Risk", plan.risk), ("Undo", "" if is_script else plan.undo)])
    undo = f"Undo:\n\n{fenced(plan.undo, 'sql')}" if is_script else ""
    parts = [heading, fenced(plan.text, language), after, undo, files.table(plan.targets)]
    return "\n\n".join(filter(None, parts))


def _cell(cell: Cell, files: _Files) -> Iterator[str]:
    if cell.problem:
        yield f"**Differs from the journal:** {escaped(cell.problem)}"
    if cell.kind == "markdown":
        yield rewritten(cell.source)
        return
    if cell.kind == "code":
        status = f" ({escaped(cell.status)}{', ' if cell.took else ''}{escaped(cell.took)})"
        yield f"**{escaped(cell.label)}**{status}"
        yield fenced(cell.source, "sql" if cell.source.lstrip().startswith("%%sql") else "python")
    for block in cell.blocks:
        yield _block(block, files)


def _block(block: Block, files: _Files) -> str:
    if isinstance(block, Image | Figure):
        return files.picture(block)
    if isinstance(block, Error):
        return f"**{escaped(block.text)}**\n\n{fenced(block.traceback)}"
    if isinstance(block, Card):
        if block.name in {"run", "overview"}:
            return "*See the findings at the top of this report.*"
        return _quoted(block.lines)
    if isinstance(block, Html):
        if block.tables:
            return "\n\n".join(map(files.table, block.tables))
        return fenced(block.text) if block.text else ""
    assert isinstance(block, Text)
    return fenced(block.text) if block.text.strip() else ""


def _badge(verdict: object) -> str:
    return f"**{escaped(str(verdict).upper())}**"


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _list(f"{escaped(name)}: {escaped(value)}" for name, value in pairs if value)


def _quoted(lines: Iterable[str]) -> str:
    return "\n>\n".join(f"> {escaped(line)}" for line in lines)
