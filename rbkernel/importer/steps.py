"""Convert the blocks of a source to cells: text stays Markdown, commands become calls.

The cells have the order of the blocks in the source. A command that changes
something, or is not known to only read, becomes an argument of `rb.act`; no cell executes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rbkernel.importer import calls, checktables, fields, measured, tables, titles
from rbkernel.importer.cells import Went, as_fence, entry, plain_lines, tasks, unfolded, with_breaks
from rbkernel.importer.commandcells import CommandCells
from rbkernel.importer.conditions import Conditions
from rbkernel.importer.fields import Fields
from rbkernel.importer.page import Page, Refuses
from rbkernel.importer.reading import holes, plaintext, wikitables
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.report import Entry
from rbkernel.importer.stated import communications, permissions
from rbkernel.runbook.frontmatter import FrontMatter


class Steps(Page):
    """Builds the cells of a notebook, block by block."""

    def __init__(self, front_matter: Fields, refuses: Refuses, *, document: int = 0) -> None:
        super().__init__(front_matter, refuses)
        self._document = document
        self._commands = CommandCells(self)
        self.conditions = Conditions(self)
        self._went: list[tuple[Block, Went]] = []
        self._item = ""
        self._shown: dict[int, str] = {}

    def take(self, block: Block) -> None:
        """Add the cells for the next block."""
        went = Went(notes=[*block.remarks])
        self._went.append((block, went))
        if block.kind in {"paragraph", "heading", "list"}:
            self.label = titles.label(block)
            self._item = titles.last_words(block) if block.kind == "list" else ""
        elif block.kind == "fence" and block.text[:1].isspace():
            self.label = self.label or self._item  # an indented fence belongs to the list item
        handlers: dict[str, Callable[[Block, Went], None]] = {
            "fence": self._fence,
            "code": self._commands.fence,
            "table": self._table,
            "checklist": self._checklist,
            "step": self._step,
            "heading": self._heading,
            "list": self._words,
            "paragraph": self._words,
            "quote": self._words,
            "html": self._html,
            "definition": self.text,
        }
        kind = block.kind
        if kind in {"html", "paragraph", "step"} and wikitables.is_table(block.text):
            kind = "table"
        if kind in handlers:
            handlers[kind](block, went)
        if kind not in {"fence", "code"}:
            self._commands.below(block, went)

    def bound(self, block: Block, name: str) -> None:
        """Record that the front matter already holds the content of a block."""
        went = Went(fate="front matter", into=[name], notes=[*block.remarks])
        self._went.append((block, went))

    def remark_first(self, note: str) -> None:
        """Add a note to the report's entry about the first block."""
        if self._went:
            self._went[0][1].notes.append(note)

    def keep(
        self,
        block: Block,
        text: str,
        info: str,
        reason: str,
        values: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Keep a text as a fence, and copy the values that have a front matter field."""
        went = Went(notes=[*block.remarks], reasons=[reason] if reason else [])
        self._went.append((block, went))
        for name, value in values:
            if name in FrontMatter.model_fields and name != "id":
                self.say(went, name, value)
        if text.strip():
            self.text(block, went, f"```{info}\n{plain_lines(text)}\n```")

    def finish(self) -> None:
        """Complete what depends on all blocks: shared expected answers, measured metrics."""
        self._commands.finish()
        self.conditions.finish()

    def entries(self) -> list[Entry]:
        """Return the report's entries; call this after the cells have got their ids."""
        return [entry(block, went) for block, went in self._went]

    # text

    def _heading(self, block: Block, went: Went) -> None:
        self.text(block, went, f"{'#' * block.level} {block.content}", opens=block.level <= 4)

    def _html(self, block: Block, went: Went) -> None:
        self.text(block, went, unfolded(block.text))
        self._words(block, went, shown=True)

    def _words(self, block: Block, went: Went, *, shown: bool = False) -> None:
        pairs = fields.pairs(block)
        if not shown:
            breaks = block.kind == "paragraph" and len(pairs) > 1
            self.text(block, went, with_breaks(block.text) if breaks else block.text)
        if block.document != self._document:
            self._contacts_of_another(block, went, pairs)
            return  # these lines describe the other runbook, not this one
        itself = fields.speaks_of_itself(block)
        found = [fields.of_pair(key, value) for key, value in pairs] if itself else []
        known = [one for one in found if one]
        measures = False
        for name, value in known:
            if name == "escalation.when":
                self.conditions.escalate(block, went, value)
                continue
            self.say(went, name, value)
            if name == "triggers":
                measures |= self._measure(block, went, value)
        if mode := fields.failure_mode(block):
            self.say(went, "failure_modes", [mode])
        if endpoints := tables.endpoints(block.text) if block.kind == "list" else []:
            self.say(went, "health", endpoints)
            if "health" in went.into:
                self.once(block, went, "rb.health()")
                went.evaluated()
            return
        section = fields.section_of(block)
        if not known and section and block.kind == "list":
            value = fields.of_section(section, block)
            if section == "escalation.when":
                self.conditions.escalate(block, went, value)
            else:
                self.say(went, section, value)
        if fields.is_summary(block) and not known and not self.fields.has("summary"):
            self.say(went, "summary", fields.summary_of(block.text))
        self.conditions.severities(block, went)
        if not measures:
            self.conditions.words(block, went)

    def _measure(self, block: Block, went: Went, triggers: Iterable[Mapping[str, str]]) -> bool:
        """Add a metric for a trigger's condition that a diagnostic of rbkernel measures."""
        rows = [row for one in triggers for row in measured.metrics(one.get("when", ""))]
        if rows:
            self.say(went, "metrics", rows)
            self.connections.of("")
            self.once(block, went, "rb.metrics()")
            went.evaluated()
        return bool(rows)

    def _contacts_of_another(
        self, block: Block, went: Went, pairs: Sequence[tuple[str, str]]
    ) -> None:
        """Add the escalation contacts of another runbook that the document shows in a fence.

        The title of that runbook becomes the role of the contact.
        """
        title = block.text.split("\n", 1)[0].strip()
        self._shown.setdefault(block.document, title)
        for key, value in pairs:
            if (found := fields.of_pair(key, value)) and found[0] == "escalation.contact":
                contact = {"role": self._shown[block.document], "contact": found[1]}
                self.say(went, "contacts", [contact])

    def _step(self, block: Block, went: Went) -> None:
        self._words(block, went)
        self._commands.step(block, went)

    def _fence(self, block: Block, went: Went) -> None:
        if communications.is_message(block) and block.document == self._document:
            self.text(block, went, as_fence(block))
            self.say(went, "communication.message", holes.loud(block.content.strip()))
            return
        self._commands.fence(block, went)

    # tables and checklists

    def _table(self, block: Block, went: Went) -> None:
        self.text(block, went)
        table, checks = tables.read(block.text), checktables.rows(block.text)
        pairs = tables.pairs(table)
        for key, value in pairs:
            if found := fields.of_pair(key, value):
                self.say(went, *found)
        bound = None if pairs else tables.bind(table)
        if any(one.words for one in checks) and (bound is None or bound.field != "metrics"):
            self._commands.table(block, went, checks)
            return
        if bound is None:
            self._commands.table(block, went, checks)
            if went.fate == "text":
                went.reasons.append("the front matter has no field for such a table")
            return
        self.say(went, bound.field, bound.value)
        if went.fate == "front matter" and bound.call:
            self.once(block, went, bound.call)
        if bound.field == "metrics":
            self.conditions.table(went, [row["name"] for row in bound.value])
        if bound.field == "metrics" and any("diagnostic" in row for row in bound.value):
            self.connections.of("")
        if bound.call == "rb.health()" and "health" in went.into:
            went.evaluated()
        self.conditions.levels(block, went, bound.levels)

    def _checklist(self, block: Block, went: Went) -> None:
        items = tasks(block)
        rest = [line for line in block.text.splitlines() if line.strip()]
        if len(items) != len(rest):
            self.text(block, went)  # the checklist has lines besides its items
        if not items:
            went.reasons.append("the checklist has no items")
            return
        title = self.titles.one_of_its_own(
            titles.under(titles.heading_of(block), self.label) or "Checklist"
        )
        self.code(
            block,
            went,
            calls.call(
                "rb.checklist", calls.quoted(title), calls.listed([calls.quoted(i) for i in items])
            ),
        )
        section = fields.section_of(block)
        bound = section in {"prerequisites", "escalation.when", "symptoms"}
        if bound and block.document == self._document:
            words = dict.fromkeys(plaintext.plain(text) for text, *_ in block.tasks if text)
            said = [holes.loud(item) for item in words]
            if section == "escalation.when":
                self.conditions.escalate(block, went, said)
            else:
                self.say(went, section, said)
        if block.document == self._document:
            lines = [plaintext.plain(text) for text, *_ in block.tasks]
            self.conditions.limits(block, went, lines)
            if section == "prerequisites" or (
                block.path and permissions.is_section(block.path[-1])
            ):
                self.conditions.permissions(block, went, lines)
