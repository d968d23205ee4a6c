"""Blocks of the source as cells: text stays Markdown, what can be done becomes a call.

Ordering: blocks come in the order of the source, and so do the cells. A mutation, and whatever is
not known to only read, stands behind `rb.act`; nothing that is written here executes one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rbkernel.importer import (
    calls,
    commands,
    fields,
    holes,
    languages,
    measured,
    psql,
    shell,
    statements,
    tables,
    titles,
)
from rbkernel.importer.blocks import Block
from rbkernel.importer.cells import (
    Cell,
    Went,
    as_fence,
    entry,
    plain_lines,
    remark,
    tasks,
    unfolded,
    with_breaks,
)
from rbkernel.importer.commands import Piece
from rbkernel.importer.fields import Fields
from rbkernel.importer.holes import Hole
from rbkernel.importer.report import Entry
from rbkernel.runbook.frontmatter import FrontMatter
from rbkernel.runbook.placeholders import placeholder

# asks whether SQL only reads: empty when it does, else the reason
Refuses = Callable[[str], str]


class Steps:
    """The cells of one notebook as they are made, and what they need."""

    def __init__(self, front_matter: Fields, refuses: Refuses, *, document: int = 0) -> None:
        self._document = document
        self.fields = front_matter
        self.cells: list[Cell] = []
        self.parameters: dict[str, Hole] = {}
        self.options: list[str] = []
        self.connections = psql.Connections()
        self._refuses = refuses
        self._went: list[tuple[Block, Went]] = []
        self._titles = titles.Titles()
        self._label = self._item = ""
        self._after: list[str] = []
        self._shown: dict[int, str] = {}
        self._called: set[str] = set()

    def take(self, block: Block) -> None:
        """Make the cells of the next block."""
        went = Went(notes=[*block.remarks])
        self._went.append((block, went))
        if block.kind in {"paragraph", "heading", "list"}:
            self._label = titles.label(block)
            self._item = titles.last_words(block) if block.kind == "list" else ""
        elif block.kind == "fence" and block.text[:1].isspace():
            self._label = self._label or self._item  # it lies in that item
        handlers: dict[str, Callable[[Block, Went], None]] = {
            "fence": self._fence,
            "code": self._fence,
            "table": self._table,
            "checklist": self._checklist,
            "step": self._step,
            "heading": self._heading,
            "list": self._words,
            "paragraph": self._words,
            "quote": self._words,
            "html": self._html,
            "definition": self._text,
        }
        if block.kind in handlers:
            handlers[block.kind](block, went)

    def bound(self, block: Block, name: str) -> None:
        """Note that the front matter says already what a block holds: it needs no cell."""
        went = Went(fate="front matter", into=[name], notes=[*block.remarks])
        self._went.append((block, went))

    def keep(
        self,
        block: Block,
        text: str,
        info: str,
        reason: str,
        values: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Keep a text as a fence, and bind what of it the front matter has fields for."""
        went = Went(notes=[*block.remarks], reasons=[reason] if reason else [])
        self._went.append((block, went))
        for name, value in values:
            if name in FrontMatter.model_fields and name != "id":
                self._say(went, name, value)
        if text.strip():
            self._text(block, went, f"```{info}\n{plain_lines(text)}\n```")

    def entries(self) -> list[Entry]:
        """Return where each block went; to be asked when the cells have their ids."""
        return [entry(block, went) for block, went in self._went]

    # text

    def _text(
        self, block: Block, went: Went, text: str | None = None, *, opens: bool = False
    ) -> None:
        source = textwrap.dedent(plain_lines(block.text if text is None else text)).strip("\n")
        if not source.strip():
            return
        last = self.cells[-1] if self.cells else None
        if last and last.kind == "markdown" and not opens:
            last.source += f"\n\n{source}"
        else:
            last = Cell(kind="markdown", source=source, line=block.start + 1, opens=opens)
            self.cells.append(last)
        if last not in went.cells:
            went.cells.append(last)

    def _code(
        self, block: Block, went: Went, source: str, *, joins: bool = False, act: str = ""
    ) -> None:
        last = self.cells[-1] if self.cells else None
        if joins and last and last in went.cells and last.takes(source):
            last.source += f"\n{source}"
            last.act = last.act or act
        else:
            last = Cell(kind="code", source=source, line=block.start + 1, act=act)
            self.cells.append(last)
            went.cells.append(last)
        went.executable()

    def _heading(self, block: Block, went: Went) -> None:
        self._text(block, went, f"{'#' * block.level} {block.content}", opens=block.level <= 4)

    def _html(self, block: Block, went: Went) -> None:
        self._text(block, went, unfolded(block.text))
        self._words(block, went, shown=True)

    def _words(self, block: Block, went: Went, *, shown: bool = False) -> None:
        pairs = fields.pairs(block)
        if not shown:
            breaks = block.kind == "paragraph" and len(pairs) > 1
            self._text(block, went, with_breaks(block.text) if breaks else block.text)
        if block.document != self._document:
            self._contacts_of_another(block, went, pairs)
            return  # what another runbook says of itself is not said of this one
        itself = fields.speaks_of_itself(block)
        found = [fields.of_pair(key, value) for key, value in pairs] if itself else []
        known = [one for one in found if one]
        for name, value in known:
            self._say(went, name, value)
            if name == "triggers":
                self._measure(block, went, value)
        if mode := fields.failure_mode(block):
            self._say(went, "failure_modes", [mode])
        if endpoints := tables.endpoints(block.text) if block.kind == "list" else []:
            self._say(went, "health", endpoints)
            if "health" in went.into:
                self._once(block, went, "rb.health()")
            return
        section = fields.section_of(block)
        if not known and section and block.kind == "list":
            self._say(went, section, fields.of_section(section, block))
        if fields.is_summary(block) and not known and not self.fields.has("summary"):
            self._say(went, "summary", holes.loud(tables.plain(" ".join(block.text.split()))))

    def _measure(self, block: Block, went: Went, triggers: Iterable[Mapping[str, str]]) -> None:
        """Check a condition that a diagnostic of rbkernel measures, in its place."""
        rows = [row for one in triggers for row in measured.metrics(one.get("when", ""))]
        if rows:
            self._say(went, "metrics", rows)
            self.connections.of("")
            self._once(block, went, "rb.metrics()")

    def _contacts_of_another(
        self, block: Block, went: Went, pairs: Sequence[tuple[str, str]]
    ) -> None:
        """Keep whom a runbook that is only shown here wants to be called, under its title."""
        title = block.text.split("\n", 1)[0].strip()
        self._shown.setdefault(block.document, title)
        for key, value in pairs:
            if (found := fields.of_pair(key, value)) and found[0] == "escalation.contact":
                contact = {"role": self._shown[block.document], "contact": found[1]}
                self._say(went, "contacts", [contact])

    def _say(self, went: Went, name: str, value: Any) -> None:
        """Bind a value; of a list that is refused as a whole, each item that is not."""
        if value in ("", [], None):
            return
        reason = self.fields.say(name, value)
        if reason and isinstance(value, list) and len(value) > 1:
            refused = [one for item in value if (one := self.fields.say(name, [item]))]
            if len(refused) < len(value):
                went.bound(name)
            went.reasons += refused
        elif reason:
            went.reasons += [] if reason.endswith("is set already") else [reason]
        else:
            went.bound(name)

    # tables and checklists

    def _table(self, block: Block, went: Went) -> None:
        self._text(block, went)
        table = tables.read(block.text)
        pairs = tables.pairs(table)
        for key, value in pairs:
            if found := fields.of_pair(key, value):
                self._say(went, *found)
        bound = None if pairs else tables.bind(table)
        if bound is None:
            if went.fate == "text":
                went.reasons.append("the front matter has no field for such a table")
            return
        self._say(went, bound.field, bound.value)
        if went.fate == "front matter" and bound.call:
            self._once(block, went, bound.call)
        if bound.field == "metrics" and any("diagnostic" in row for row in bound.value):
            self.connections.of("")

    def _once(self, block: Block, went: Went, call: str) -> None:
        """Make a call that looks at all of a field, where the source speaks of it first."""
        if call not in self._called:
            self._called.add(call)
            self._code(block, went, call)

    def _checklist(self, block: Block, went: Went) -> None:
        items = tasks(block)
        rest = [line for line in block.text.splitlines() if line.strip()]
        if len(items) != len(rest):
            self._text(block, went)  # it has lines beside its items
        if not items:
            went.reasons.append("the checklist has no items")
            return
        title = self._titles.one_of_its_own(
            titles.under(titles.heading_of(block), self._label) or "Checklist"
        )
        self._code(
            block,
            went,
            calls.call(
                "rb.checklist", calls.quoted(title), calls.listed([calls.quoted(i) for i in items])
            ),
        )
        section = fields.section_of(block)
        bound = section in {"prerequisites", "escalation.when", "symptoms"}
        if bound and block.document == self._document:
            words = dict.fromkeys(tables.plain(text) for text, *_ in block.tasks if text)
            self._say(went, section, [holes.loud(item) for item in words])

    # commands and queries

    def _step(self, block: Block, went: Went) -> None:
        self._words(block, went)
        self._label = titles.lead(block)
        for code in block.codes:
            if statements.is_sql(code):
                for one in statements.split(code):
                    self._sql(block, went, one, "")
            elif shell.is_command(code):
                self._pieces(block, went, shell.read(code))

    def _fence(self, block: Block, went: Went) -> None:
        if block.caption:
            self._remark(block, went, [f"{block.caption}:"])
        if block.info in statements.LANGUAGES or (
            not block.info and statements.is_sql(block.content)
        ):
            for one in statements.split(block.content):
                self._sql(block, went, one, "")
            return
        if block.info in shell.LANGUAGES or (
            not block.info and shell.looks_like_one(block.content)
        ):
            if language := languages.whole(block.content):
                self._foreign(block, went, language)
                return
            pieces = shell.read(block.content, block.info)
            if any(piece.kind not in {"comment", "hole", "output"} for piece in pieces):
                self._pieces(block, went, pieces)
                return
            went.reasons += dict.fromkeys(piece.reason for piece in pieces if piece.reason)
            if not went.reasons:
                went.reasons.append("there is no command in it yet" if pieces else "it is empty")
            self._text(block, went, holes.loud(as_fence(block)))
            return
        if language := languages.QUERIES.get(block.info) or _query(block):
            self._foreign(block, went, language)
            return
        if block.info not in {"", "text", "txt", "mermaid"}:
            went.reasons.append(f"{block.info} is not run")
        self._text(block, went, as_fence(block))

    def _foreign(self, block: Block, went: Went, language: str) -> None:
        """Keep what is written in another language, and say in which."""
        went.reasons.append(f"{language}: rbkernel has no source for it")
        text = as_fence(replace(block, info=languages.INFO.get(language, block.info)))
        self._text(block, went, f"{language}:\n\n{text}" if language in languages.INFO else text)

    def _pieces(self, block: Block, went: Went, pieces: Sequence[Piece]) -> None:
        said: list[str] = []
        place = ""
        for number, piece in enumerate(pieces):
            place = self._placed(block, went, piece, place)
            if piece.kind == "comment":
                said += piece.text.splitlines()
            elif piece.kind in {"words", "text", "http"}:
                expected = shell.expected_after(pieces[number + 1 :])
                self._command(block, went, piece, [*said, piece.behind], expected)
                said = []
            elif piece.kind == "sql":
                remarks = [*said, piece.behind]
                self._sql(block, went, piece.text, "\n".join(filter(None, remarks)), piece.target)
                said = []
            else:
                self._aside(block, went, piece, said)
                said = []
        self._remark(block, went, said)
        for call in self._after:
            self._once(block, went, call)
        self._after = []

    def _aside(self, block: Block, went: Went, piece: Piece, said: list[str]) -> None:
        """What stands between the commands: requirements, output, holes, a psql that connects."""
        if piece.kind == "requirement":
            tool, version = piece.words
            self._say(went, "prerequisites", [{"tool": tool, "version": f">= {version}"}])
            self._remark(block, went, [*said, f"`{piece.text}`"])
            self._after.append("rb.prerequisites()")
        elif piece.kind == "connect":
            db = self._connection(went, piece.target)
            went.bound(f"connections.{db}")
            self._remark(
                block, went, [*said, f"`{piece.text}`: the parameter `{db}` names the connection."]
            )
        elif piece.kind == "hole":
            self._remark(block, went, [*said, placeholder(piece.text)])
            went.reasons.append(f"{piece.text}: there is no command yet")
        elif piece.kind == "state":
            self._remark(block, went, [*said, f"`{piece.text}`" if "`" not in piece.text else ""])
            if "`" in piece.text or "\n" in piece.text:
                self._text(block, went, f"```sh\n{piece.text}\n```")
        else:
            self._remark(block, went, said)
            info = languages.INFO.get(piece.reason, "text")
            if piece.reason not in {"", "output", "table", "log lines"}:
                went.reasons.append(piece.reason)
            self._text(block, went, f"```{info}\n{piece.text}\n```")

    def _placed(self, block: Block, went: Went, piece: Piece, last: str) -> str:
        """Write down where a piece belongs, once: a prompt's host, the command that named it."""
        if piece.place and piece.place != last:
            prompt = piece.place.startswith("On ")
            self._text(block, went, piece.place if prompt else f"```sh\n{piece.place}\n```")
        return piece.place or last

    def _remark(self, block: Block, went: Went, lines: Iterable[str]) -> None:
        self._text(block, went, remark(lines))

    def _command(
        self,
        block: Block,
        went: Went,
        piece: Piece,
        said: Sequence[str],
        expected: Mapping[str, str],
    ) -> None:
        """Write a command: shown to copy where it only looks, else proposed behind the decision.

        A test says what is right; it runs only where somebody has allowed it.
        """
        if shell.holds_a_secret(piece.text):
            went.notes.append("it contains what looks like a password: remove it from the runbook")
        told = [line for line in said if line.strip()]
        words = told[-1] if told and not piece.behind else (told[-2:-1] or [""])[0]
        found = self._declare(holes.find(piece.text))
        is_test = bool(expected) and piece.kind == "words"
        if piece.changes and not is_test:
            title = self._titles.one_of_its_own(words or titles.of_code(piece.name))
            self._keep_remarks(block, went, told, title)
            self._proposed(block, went, piece, title, found)
            return
        title = self._look(block, words, piece.name)
        self._keep_remarks(block, went, told, title)
        if piece.kind == "http":
            call = calls.call("rb.http", calls.quoted(title), calls.filled(piece.words[0], found))
        else:
            went.notes += [piece.reason] if piece.reason else []
            call = calls.call(
                "rb.shell",
                calls.quoted(title),
                self._argv(piece, found),
                expect=calls.mapped({name: calls.quoted(of) for name, of in expected.items()}),
            )
        self._code(block, went, call, joins=True)

    def _keep_remarks(self, block: Block, went: Went, told: Sequence[str], title: str) -> None:
        """Write the comments of a command as text, but for one that its title says in full."""
        self._remark(block, went, [line for line in told if tables.plain(line) not in title])

    def _argv(self, piece: Piece, found: Sequence[Hole]) -> str:
        """Write the words of a command; what fills a placeholder can be no command."""
        if piece.words:
            return calls.listed([calls.filled(word, found) for word in piece.words])
        taken = commands.with_arguments(piece.text, found) if found else (piece.text, [])
        if taken is None:
            text = commands.louder(piece.text, found)
            return calls.listed([calls.quoted(word) for word in ("bash", "-c", text)])
        text, names = taken
        shown = [calls.quoted(word) for word in ("bash", "-c", text, *(["bash"] if names else []))]
        of = {hole.parameter: hole for hole in found}
        return calls.listed([*shown, *(calls.filled(of[name].text, [of[name]]) for name in names)])

    def _look(self, block: Block, said: str, text: str) -> str:
        """Return the title of a look: what stands right above it, else what it is."""
        words, self._label = said or self._label, ""
        return self._titles.of_a_look(titles.heading_of(block), words, text)

    def _proposed(
        self, block: Block, went: Went, piece: Piece, title: str, found: Sequence[Hole]
    ) -> None:
        """Write a plan that waits for the decision; its title is its command."""
        went.notes.append(f"proposed: {piece.changes}")
        self._act(block, went, calls.command(title, piece.text, found))

    def _connection(self, went: Went, target: str) -> str:
        """Return the parameter that carries a target's connection."""
        name = self.connections.of(target)
        if name != "db":
            went.notes.append(f"{target}: the parameter {name} names its connection")
        return name

    def _sql(self, block: Block, went: Went, text: str, remark: str, target: str = "") -> None:
        statement = statements.read(text)
        kept = "a command of psql, to be run there" if text.startswith("\\") else ""
        if dialect := languages.dialect(text):
            kept = f"SQL for {dialect}: it is not sent to PostgreSQL"
        kept = kept or statement.problem
        refused = kept or self._refuses(statement.sql)
        self._remark(block, went, [*remark.splitlines(), f"For {dialect}:" if dialect else ""])
        if kept:
            went.reasons.append(kept)
            self._text(block, went, f"```sql\n{statement.source}\n```")
            return
        db = self._connection(went, target)
        self._declare(statement.holes)
        if not refused:
            self._code(block, went, f"%%sql {db} --untried\n{statement.sql}")
            return
        went.notes.append(f"proposed: {refused}")
        words = (remark.splitlines() or [""])[-1] or titles.of_code(statement.source)
        title = self._titles.one_of_its_own(words)
        names = {hole.parameter: hole.parameter for hole in statement.holes}
        plan = calls.call(
            "rb.actions.statement",
            db,
            calls.quoted(statement.sql),
            title=calls.quoted(title),
            values=calls.mapped(names),
        )
        self._act(block, went, plan)

    def _act(self, block: Block, went: Went, plan: str) -> None:
        option = titles.option(block)
        if option not in self.options:
            self.options.append(option)
        when = f"choice.chose({calls.quoted(option)})"
        self._code(block, went, calls.call("rb.act", plan, when=when), joins=True, act=option)

    def _declare(self, found: Iterable[Hole]) -> list[Hole]:
        known = list(found)
        for hole in known:
            if hole.parameter:
                self.parameters.setdefault(hole.parameter, hole)
        return known


def _query(block: Block) -> str:
    """Say whether a fence without a word holds a query of a monitoring system."""
    language = languages.whole(block.content) if not block.info else ""
    return language if language in languages.INFO else ""
