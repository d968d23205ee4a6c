"""Convert commands and queries to cells: those that only read are called, others are proposed.

Pure. A command that changes something, or is not known to only read, becomes an argument of
`rb.act`; no cell from here executes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rbkernel.importer import calls, monitoring, querycells, sqlchecks, titles
from rbkernel.importer.asked import Asked
from rbkernel.importer.cells import Went, as_fence
from rbkernel.importer.checktables import Row
from rbkernel.importer.page import Page
from rbkernel.importer.reading import (
    commands,
    holes,
    languages,
    plaintext,
    shell,
    spans,
    statements,
    transcripts,
)
from rbkernel.importer.reading.blocks import Block
from rbkernel.importer.reading.commands import Piece
from rbkernel.importer.reading.holes import Hole
from rbkernel.importer.sqlchecks import Check
from rbkernel.importer.stated import expectations, permissions, sides
from rbkernel.importer.stated.expectation import Expectation
from rbkernel.runbook.placeholders import placeholder

NOTHING = Expectation()
_LEADING = re.compile(r"\A--[ \t]*([^\n]+)")
_PRINTS = "(?:return|print|show|say|output|report|answer|respond)s?(?: with)?"
_IN_WORDS = "the expected result is kept as text, because only a person can judge it"
_BEHIND_CODE = re.compile(r"\s*(?P<mark>→|->|=>|[–—:(-]\s)?\s*(?P<what>\S.*?)[\s.)]*")
_FOR_YOU = "*For you to judge:*"
_OF_EITHER = "*For you to judge, about the command above or the one below:*"


class CommandCells:
    """Writes the cells for code fences, and for list items that contain a command."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._after: list[str] = []
        self._dialect = ""
        self._last: Asked | None = None
        self._alone: Piece | None = None
        self._answers: set[str] = set()
        self._asked: list[tuple[Asked, Went]] = []

    def step(self, block: Block, went: Went) -> None:
        """Write cells for the commands and queries in code spans of a list item or paragraph."""
        self._page.label = titles.lead(block)
        for code in block.codes:
            if _is_printed(block.text, code):
                continue
            stated = _stated_behind(block.text, code)
            if statements.is_sql(code):
                for one in statements.split(code):
                    self._sql(block, went, one, "", expected=stated)
            elif spans.is_command(code):
                self._pieces(block, went, shell.read(code), stated=stated)

    def table(self, block: Block, went: Went, rows: Sequence[Row]) -> None:
        """Write cells for the commands and queries in a table, with the answers that it expects."""
        for row in rows:
            self._page.label = row.title
            if statements.is_sql(row.code):
                for one in statements.split(row.code):
                    self._sql(block, went, one, "", expected=row.expected)
            else:
                self._pieces(block, went, shell.read(row.code), stated=row.expected)
            if row.words and not row.expected:
                went.notes.append(_IN_WORDS)
        self._page.label = ""

    def fence(self, block: Block, went: Went) -> None:
        """Write cells for the content of a fence, in order."""
        if block.caption:
            self._page.remark(block, went, [f"{block.caption}:"])
        typed = block.info in statements.LANGUAGES and transcripts.in_text(block.content)
        if not typed and (
            block.info in statements.LANGUAGES
            or (not block.info and statements.is_sql(block.content))
        ):
            found = statements.split(block.content)
            # a statement without marks of its own is for the database of the others
            dialects = map(languages.dialect, found)
            self._dialect = next((one for one in dialects if one not in {"", "pgbouncer"}), "")
            expected = expectations.of_statements(block.content, found)
            for one, (comments, what) in zip(found, expected, strict=True):
                self._sql(block, went, one, "", expected=what, comments=comments)
            self._dialect = ""
            return
        if self._answers_the_last(block, went):
            return
        if (
            typed
            or block.info in shell.LANGUAGES
            or (not block.info and spans.looks_like_one(block.content))
        ):
            language = "" if typed else languages.whole(block.content)
            if language:
                querycells.fence(self._page, block, went, language)
                return
            pieces = shell.read(block.content, block.info)
            if any(piece.kind not in {"comment", "hole", "output"} for piece in pieces):
                self._pieces(block, went, pieces)
                return
            went.reasons += dict.fromkeys(piece.reason for piece in pieces if piece.reason)
            if not went.reasons:
                went.reasons.append("there is no command in it yet" if pieces else "it is empty")
            self._page.text(block, went, holes.loud(as_fence(block)))
            return
        if language := languages.QUERIES.get(block.info) or querycells.language(block):
            querycells.fence(self._page, block, went, language)
            return
        if block.info not in {"", "text", "txt", "mermaid"}:
            went.reasons.append(f"{block.info} is not run")
        self._page.text(block, went, as_fence(block))

    def _pieces(
        self, block: Block, went: Went, pieces: Sequence[Piece], stated: Expectation = NOTHING
    ) -> None:
        said: list[str] = []
        place, above = "", False
        pieces = sides.parted(pieces)
        for number, piece in enumerate(pieces):
            place = self._placed(block, went, piece, place)
            above = sides.of_the_above(pieces, number, after=above)
            if above:
                self._expected_in_words(block, went)
                self._page.remark(block, went, [*said, *piece.text.splitlines()])
                said = []
            elif sides.of_either(pieces, number):
                self._page.remark(block, went, said)
                said = []
                went.notes.append(_IN_WORDS)
                self._page.text(block, went, _OF_EITHER)
                self._page.remark(block, went, piece.text.splitlines())
            elif piece.kind == "comment":
                said += piece.text.splitlines()
            elif piece.kind in {"words", "text", "http"}:
                expected = expectations.of_piece(pieces, number, stated)
                if answer := permissions.answer(piece.words, block.codes, block.text):
                    expected = replace(expected, answers=answer)
                self._command(block, went, piece, [*said, piece.behind], expected)
                said = []
            elif piece.kind == "sql":
                remarks = "\n".join(filter(None, [*said, piece.behind]))
                expected = expectations.of_piece(pieces, number, stated)
                self._sql(block, went, piece.text, remarks, piece.target, expected)
                said = []
            else:
                self._aside(block, went, piece, said)
                said = []
        self._page.remark(block, went, said)
        asked = [one for one in pieces if one.kind in {"words", "text", "http", "sql", "connect"}]
        self._alone = asked[0] if len(asked) == 1 else None
        for call in self._after:
            self._page.once(block, went, call)
        self._after = []

    def _expected_in_words(self, block: Block, went: Went) -> None:
        """Add a label to an expected result that no program checks, so that a person checks it."""
        last = self._last
        if last and not last.checks(last.expected) and _IN_WORDS not in went.notes:
            went.notes.append(_IN_WORDS)
            self._page.text(block, went, _FOR_YOU)

    def _aside(self, block: Block, went: Went, piece: Piece, said: list[str]) -> None:
        """Write what is between the commands of a fence: requirements, output, connections."""
        if piece.kind == "requirement":
            tool, version = piece.words
            self._page.say(went, "prerequisites", [{"tool": tool, "version": f">= {version}"}])
            self._page.remark(block, went, [*said, f"`{piece.text}`"])
            self._after.append("rb.prerequisites()")
            went.evaluated()
        elif piece.kind == "connect":
            db = self._page.connection(went, piece.target)
            went.bound(f"connections.{db}")
            self._page.remark(
                block, went, [*said, f"`{piece.text}`: the parameter `{db}` names the connection."]
            )
        elif piece.kind == "hole":
            self._page.remark(block, went, [*said, placeholder(piece.text)])
            went.reasons.append(f"{piece.text}: there is no command yet")
        elif piece.kind == "state":
            self._page.remark(
                block, went, [*said, f"`{piece.text}`" if "`" not in piece.text else ""]
            )
            if "`" in piece.text or "\n" in piece.text:
                self._page.text(block, went, f"```sh\n{piece.text}\n```")
        else:
            self._page.remark(block, went, said)
            if piece.reason and piece.reason not in languages.PRINTED:
                went.reasons.append(querycells.why_not(piece.reason))
            info = languages.INFO.get(piece.reason, "text")
            self._page.text(block, went, f"```{info}\n{piece.text}\n```")

    def _placed(self, block: Block, went: Went, piece: Piece, last: str) -> str:
        """Write where a piece is typed, such as a prompt's host, once for consecutive pieces."""
        if piece.place and piece.place != last:
            prompt = piece.place.startswith("On ")
            self._page.text(block, went, piece.place if prompt else f"```sh\n{piece.place}\n```")
        return piece.place or last

    def _command(
        self,
        block: Block,
        went: Went,
        piece: Piece,
        said: Sequence[str],
        expected: Expectation,
    ) -> None:
        """Write a command: called by `rb.shell` or `rb.http` if it only reads, else proposed.

        A command whose output has expected figures (a test) is called too; it only runs if the
        configuration allows it.
        """
        if spans.holds_a_secret(piece.text):
            went.notes.append(
                "the command contains what looks like a password: remove it from the runbook"
            )
        told = [line for line in said if line.strip()]
        if not piece.changes and (query := monitoring.of_command(piece.words)):
            # the host, the range and the limit of the command are kept for the reader
            self._page.remark(block, went, told)
            self._page.text(block, went, f"In place of:\n\n```sh\n{piece.text}\n```")
            went.notes.append("its time range is that of the call: add last_s= and until=")
            querycells.one(self._page, block, went, *query)
            return
        words = told[-1] if told and not piece.behind else (told[-2:-1] or [""])[0]
        found = self._page.declare(holes.find(piece.text))
        is_test = bool(expected.figures) and piece.kind == "words"
        if piece.changes and not is_test:
            title = self._page.titles.one_of_its_own(words or titles.of_code(piece.name))
            self._keep_remarks(block, went, told, title)
            self._proposed(block, went, piece, title, found)
            return
        title = self._look(block, words, piece.name)
        asked = Asked(function="rb.http" if piece.kind == "http" else "rb.shell", arguments=())
        judged = [line for line in told if sides.states(line) and line not in title]
        if judged and not asked.checks(expected):
            went.notes.append(_IN_WORDS)
            self._page.text(block, went, _FOR_YOU)
        self._keep_remarks(block, went, told, title)
        went.notes += [piece.reason] if piece.reason and piece.kind != "http" else []
        if piece.kind == "http":
            what = calls.filled(piece.words[0], found)
        else:
            what = self._argv(piece, found)
        asked = replace(asked, arguments=(calls.quoted(title), what), text=piece.bare)
        self._page.code(block, went, asked.call(expected), joins=True)
        if asked.checks(expected):
            went.evaluated()
        self._last = replace(asked, cell=went.cells[-1], expected=expected)
        self._asked.append((self._last, went))

    def below(self, block: Block, went: Went) -> None:
        """Make a paragraph directly below a fence with one command the check of that command."""
        last, piece, self._alone = self._last, self._alone, None
        if block.kind != "paragraph" or not last or not piece or last.checks(last.expected):
            return
        said = expectations.read([plaintext.plain(block.text, code=True)])
        self._check_the_last(went, expectations.of_piece([piece], 0, said) if said else NOTHING)

    def _check_the_last(self, went: Went, expected: Expectation) -> bool:
        """Give the last command an expected answer; return whether its call checks it."""
        last = self._last
        if last is None or last.cell is None or not last.checks(expected):
            return False
        old, new = last.call(last.expected), last.call(expected)
        if old not in last.cell.source:
            return False
        last.cell.source = last.cell.source.replace(old, new, 1)
        self._asked.append((replace(last, expected=expected), went))
        went.cells.append(last.cell)
        went.evaluated()
        self._last = None
        return True

    def _answers_the_last(self, block: Block, went: Went) -> bool:
        """Make a fence below "Expected output:" the check of the command above it."""
        last = self._last
        if last is None or not expectations.announced(self._page.label):
            return False
        if not self._check_the_last(went, expectations.with_answer(last.expected, block.content)):
            return False
        self._page.text(block, went, as_fence(block))
        self._page.label = ""
        return True

    def finish(self) -> None:
        """Give each command the expected answer that the document states for an equal command.

        Otherwise one of two equal health checks would report ok for an answer that the document
        calls failing.
        """
        known: dict[tuple[str, str], Expectation] = {}
        for asked, _ in self._asked:
            if asked.checks(asked.expected):
                known.setdefault((asked.function, asked.arguments[-1]), asked.expected)
        for asked, went in self._asked:
            expected = known.get((asked.function, asked.arguments[-1]))
            cell, old = asked.cell, asked.call(asked.expected)
            if expected and cell and not asked.checks(asked.expected) and old in cell.source:
                cell.source = cell.source.replace(old, asked.call(expected), 1)
                went.evaluated()

    def _keep_remarks(self, block: Block, went: Went, told: Sequence[str], title: str) -> None:
        """Write the comments of a command as text, except those that its title contains."""
        self._page.remark(
            block, went, [line for line in told if plaintext.plain(line) not in title]
        )

    def _argv(self, piece: Piece, found: Sequence[Hole]) -> str:
        """Return the argument list of a command as source; placeholder values never run as code."""
        if piece.words:
            return calls.listed([calls.filled(word, found) for word in piece.words])
        taken = commands.with_arguments(piece.bare, found) if found else (piece.bare, [])
        if taken is None:
            text = commands.louder(piece.bare, found)
            return calls.listed([calls.quoted(word) for word in ("bash", "-c", text)])
        text, names = taken
        shown = [calls.quoted(word) for word in ("bash", "-c", text, *(["bash"] if names else []))]
        of = {hole.parameter: hole for hole in found}
        return calls.listed([*shown, *(calls.filled(of[name].text, [of[name]]) for name in names)])

    def _look(self, block: Block, said: str, text: str) -> str:
        """Return the title of a command that reads: the words above it, else the command."""
        words, self._page.label = said or self._page.label, ""
        return self._page.titles.of_a_look(titles.heading_of(block), words, text)

    def _proposed(
        self, block: Block, went: Went, piece: Piece, title: str, found: Sequence[Hole]
    ) -> None:
        """Write a plan that waits for the decision, and note why the command is not run."""
        self._last = None
        went.notes.append(f"proposed: {piece.changes}")
        self._act(block, went, calls.command(title, piece.text, found))

    def _sql(
        self,
        block: Block,
        went: Went,
        text: str,
        remark: str,
        target: str = "",
        expected: Expectation = NOTHING,
        comments: Sequence[str] = (),
    ) -> None:
        self._last = None
        statement = statements.read(text)
        kept = "a command of psql, to be run there" if text.startswith("\\") else ""
        if dialect := languages.dialect(text) or self._dialect:
            kept = f"SQL for {dialect}: it is not sent to PostgreSQL"
        kept = kept or statement.problem
        refused = kept or self._page.refuses(statement.sql)
        checked = [] if refused else sqlchecks.of(statement.sql, expected)
        said = remark.splitlines()
        judged = [] if refused or checked else [*filter(sides.states, [*said, *comments])]
        above = [line for line in said if line not in judged]
        self._page.remark(block, went, [*above, f"For {dialect}:" if dialect else ""])
        if kept:
            went.reasons.append(kept)
            self._page.text(block, went, f"```sql\n{statement.source}\n```")
            return
        db = self._page.connection(went, target)
        self._page.declare(statement.holes)
        if not refused:
            self._query(block, went, db, statement.sql, remark, checked)
            if judged:
                went.notes.append(_IN_WORDS)
                self._page.text(block, went, _FOR_YOU)
                self._page.remark(block, went, judged)
            return
        went.notes.append(f"proposed: {refused}")
        words = (remark.splitlines() or [""])[-1] or titles.of_code(statement.source)
        title = self._page.titles.one_of_its_own(words)
        names = {hole.parameter: hole.parameter for hole in statement.holes}
        plan = calls.call(
            "rb.actions.statement",
            db,
            calls.quoted(statement.sql),
            title=calls.quoted(title),
            values=calls.mapped(names),
        )
        self._act(block, went, plan)

    def _query(
        self, block: Block, went: Went, db: str, sql: str, remark: str, checked: Sequence[Check]
    ) -> None:
        """Write a query, and the checks of its expected answer."""
        into = self._answer(checked[0].column) if checked else ""
        named = f" --into {into}" if into else ""
        self._page.code(block, went, f"%%sql {db}{named} --untried\n{sql}")
        if checked:
            said = [*remark.splitlines()[-1:], *_LEADING.findall(sql)[:1]]
            words = self._look(block, next(iter(said), ""), "")
            self._page.code(block, went, sqlchecks.calls_of(checked, words, into))
            went.evaluated()

    def _answer(self, column: str) -> str:
        """Return a new name for the frame that holds an answer; no other cell uses this name."""
        name, number = f"{column or 'answer'}_rows", 2
        while name in self._answers or name in self._page.parameters:
            name, number = f"{column or 'answer'}_rows_{number}", number + 1
        self._answers.add(name)
        return name

    def _act(self, block: Block, went: Went, plan: str) -> None:
        option = titles.option(block)
        if option not in self._page.options:
            self._page.options.append(option)
        when = f"choice.chose({calls.quoted(option)})"
        self._page.code(block, went, calls.call("rb.act", plan, when=when), joins=True, act=option)


def _stated_behind(text: str, code: str) -> Expectation:
    """Return what the words behind a code span, in its line, expect of the command in it.

    >>> _stated_behind("- `nproc` → must be at least 4", "nproc").limits[0][1].value
    4.0
    >>> bool(_stated_behind("`nproc` shows the cores", "nproc"))
    False
    """
    behind = text.partition(f"`{code}`")[2].partition("\n")[0]
    found = _BEHIND_CODE.fullmatch(behind)
    if found is None:
        return NOTHING
    words = re.sub(r"^is (?=[\d`\"'])", "should be ", found["what"])
    return expectations.read([words], beside=bool(found["mark"]))


def _is_printed(text: str, code: str) -> bool:
    """Tell whether a code span is what the command in the code span before it prints.

    >>> _is_printed("`mysqladmin ping` returns `mysqld is alive`", "mysqld is alive")
    True
    """
    before = text.partition(f"`{code}`")[0]
    return re.search(rf"`\s+(?:(?:should|must|will)\s+)?{_PRINTS}\W*$", before) is not None
