"""Parse a shell fence without a shell: its commands, SQL, comments and output. Pure.

Nothing is run. A command is one complete statement of the shell parser, so a loop is one command.
Unparseable text, and text that looks like the output of a program, stays text. Whatever sets state
(`cd`, `export`, a variable, a function) is added to the commands that follow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rbkernel.importer.reading import commands, languages, psql, spans, statements, transcripts
from rbkernel.importer.reading.commands import Piece
from rbkernel.runbook.shell import programs, syntax
from rbkernel.runbook.shell import text as shelltext
from rbkernel.runbook.shell.effect import LOOKS

LANGUAGES = frozenset(
    {
        *("bash", "sh", "shell", "console", "zsh", "shell-session", "terminal", "shellsession"),
        *("ksh", "sh-session", "bash-session"),
    }
)
# info strings of fences that show a terminal: commands and their output
_SESSIONS = frozenset(
    ["console", "shell-session", "terminal", "shellsession", "sh-session", "bash-session"]
)
_PROMPT = re.compile(
    r"^\s*(?:(?P<where>\[[^\]\n]{1,60}\] ?|[\w.-]+@[\w.-]+(?:[: ][^\s$#>%]*)? ?"
    r"|[\w.-]*(?:bash|sh)-[\d.]+|/[\w/.-]* "
    r"|(?:(?!\d+>)[.:/-]*[\w~][\w.:~/-]*|/)?)(?P<sign>[$%>#])|PS [^>]*>) (?=\S)"
)
# prompts of other programs; the text after such a prompt is no shell text
_OTHER_PROMPT = re.compile(
    r"^\s*(?:(?P<mysql>mysql|MariaDB \[[^\]]*\])"
    r"|(?P<redis>redis(?: [\w.:]+)?|[\w.-]+:\d+(?:\[\d+\])?)"
    r"|(?P<other>sqlite|cqlsh(?::\w+)?|\w+:(?:PRIMARY|SECONDARY)|mongo\w*|test|irb\S*|pry\S*|ghci|iex\S*"
    r"|>>))> (?=\S)"
)
_OPENS = re.compile(r"^\s*(?:for|while|until|if|case|select|function)\b|^\s*[\w-]+\s*\(\)|\{\s*$")
# the prompts of other programs before the further lines of a statement
_OTHER_GOES_ON = re.compile(r"^\s*(?:->|['\"`(]>|\.\.\.>?)(?:\s|$)")
# bash's prompt before the further lines of a command
_GOES_ON = re.compile(r"^>(?: |$)")
_REDIRECTS = re.compile(r"^\s*(?:\d*[<>]|&>)")
# commands that open another shell, in which the commands after them are typed
_ENTERS = re.compile(
    r"^(?:sudo\s+(?:-\w+\s+)*)?(?:ssh\s+(?:-\w\s+\S+\s+|-\w+\s+)*\S+|su(?:\s+-l?)?(?:\s+[\w-]+)?|sudo\s+-\w*[is]\w*"
    r"(?:\s+-?u?\s*\w+)?|(?:kubectl|oc|docker|podman|nerdctl|crictl|docker-compose)\s.*\bexec\b.*[\s/](?:ba|z|a|da)?sh"
    r"|oc\s+(?:-\S+\s+\S+\s+)*(?:rsh|debug)\s+\S+|gcloud\s+compute\s+ssh\s+\S+(?:\s+--\S+)*|chroot\s+\S+"
    r"|(?:ba|z)?sh|gitlab-rails\s+console|(?:sudo\s+)?gitlab-psql|redis-cli(?:\s+-\w\s+\S+)*"
    r"|mysql(?:\s+-\S+(?:\s+[\w.<>\[\]$-]+)?)*|mongosh?(?:\s+\S+)?|sqlite3\s+\S+|tmux(?:\s+new\S*)?|screen)$"
)
_SET_NOTHING = re.compile(r"^\s*(?:set\s+[-+]|shopt\b|ulimit(?:\s+-\w+)*\s*$|umask\s*$)")
_OF_POSTGRES = re.compile(r"^\s*export\s+PG[A-Z]+=[^;|&$`]*$")
_POSTGRES = re.compile(r"\b(?:psql|pg\w+|\w+db|PG[A-Z]+)\b")
_MOST_LINES = 60
_NOT_SHELL = "the text is not valid in a shell"
THERE = "the text is typed in a shell or a program that the command before it opens"


def read(text: str, info: str = "bash") -> list[Piece]:
    """Parse the content of a shell fence into pieces.

    Parameters
    ----------
    text
        The content of the fence.
    info
        The word after the fence's mark, such as ``bash`` or ``console``.

    >>> [piece.kind for piece in read("# pods\\nkubectl get pods\\nkubectl logs x | grep y")]
    ['comment', 'words', 'text']
    >>> [piece.kind for piece in read("psql -h [host]\\n\\n# depth\\nSELECT 1\\n  FROM t;")]
    ['connect', 'comment', 'sql']
    >>> read("cd /srv\\nls -l")[-1].text, [piece.kind for piece in read("ls\\n(1 row)")]
    ('cd /srv\\nls -l', ['words', 'output'])
    """
    return list(_joined([*_Reader(text, info).pieces()]))


class _Reader:
    """Parses a fence line by line into comments, SQL, monitoring queries, output and commands."""

    def __init__(self, text: str, info: str) -> None:
        self._lines = text.splitlines()
        self._root = False
        self._prompted = any(map(self._is_prompt, self._lines))
        if info in _SESSIONS and not self._prompted:
            # "# x" is a comment elsewhere; in a terminal it may be typed by root
            self._root = True
            self._root = self._prompted = any(map(self._is_prompt, self._lines))
        self._prompted = self._prompted or info in statements.LANGUAGES
        self._session = info in _SESSIONS or self._prompted
        self._state: list[str] = []
        self._target = ""
        self._environment: dict[str, str] = {}
        self._printed = self._ran = False
        self._at = 0

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of the fence in order."""
        if re.match(r"\s*#!", "\n".join(self._lines)) and self._is_whole(0, len(self._lines)):
            yield self._one("\n".join(self._lines))
            return
        apart = True
        while self._at < len(self._lines):
            if not self._lines[self._at].strip():
                self._at += 1
                self._printed = self._ran = False
                apart = True
                continue
            for number, piece in enumerate([*self._next()]):
                yield replace(piece, apart=apart and not number)
            apart = False

    def _next(self) -> Iterator[Piece]:
        lines, line = self._lines, self._lines[self._at]
        if _OTHER_PROMPT.match(line):
            yield from self._other()
        elif transcripts.PROMPT.match(line):
            yield from self._sql_prompt()
        elif self._prompted:
            yield from self._of_session()
        elif line.lstrip().startswith("#"):
            yield from self._commented()
        elif end := languages.end_of_json(lines, self._at):
            yield self._taken(end, "output")
            self._printed = True
        elif self._query():
            yield self._taken(languages.end_of_query(lines, self._at), self._query())
        elif statements.is_sql("\n".join(lines[self._at :])):
            end = _end_of_sql(lines, self._at)
            sql = "\n".join(lines[self._at : end])
            self._at = end
            yield from (
                Piece(kind="sql", text=one, target=self._target) for one in statements.split(sql)
            )
        elif label := self._output(line):
            yield self._taken(self._at + 1, label)
            self._printed = True
        else:
            yield from self._command_at()

    def _taken(self, end: int, label: str) -> Piece:
        """Return lines as an unchanged piece of output, with a label for their kind."""
        text = "\n".join(line.rstrip() for line in self._lines[self._at : end])
        self._at = end
        return Piece(kind="output", text=text, reason=label)

    def _query(self) -> str:
        """Return the language of a monitoring query at the current line; empty if none."""
        rest = self._lines[self._at :]
        blank = next((at for at, line in enumerate(rest) if not line.strip()), len(rest))
        return languages.query(rest[:blank])

    def _output(self, line: str) -> str:
        """Return the kind of output of a line; a table row counts only after other output."""
        if languages.begins_table(self._lines, self._at):
            return "table"
        known = _begins_with_a_program(line)
        if (label := languages.output(line)) and not (known and label == "output"):
            return label
        rows = self._printed and languages.is_row(line)
        rows = rows or (self._ran and languages.is_header(line))
        return "table" if rows and not (known and not line.startswith(" ")) else ""

    # prompts

    def _is_prompt(self, line: str) -> bool:
        found = _PROMPT.match(line)
        if found is None or found["sign"] is None:
            return found is not None
        # "# x" is a comment and "> x" a quotation; "#" and ">" are prompts only after a place
        typed = self._root and found["sign"] == "#" and spans.is_surely_one(line[found.end() :])
        return bool(found["where"]) or found["sign"] in "$%" or typed

    def _of_session(self) -> Iterator[Piece]:
        line = self._lines[self._at]
        found = _PROMPT.match(line)
        if not self._is_prompt(line) or found is None:
            if re.match(r"\s*#+\s", line) and not self._printed:
                yield from self._commented()
                return
            label = languages.output(line) or "output"
            yield self._taken(self._at + 1, label)
            self._printed = True
            return
        self._printed = False
        where = (found["where"] or "").strip("[] ")
        self._lines[self._at] = line[found.end() :]
        if self._lines[self._at].startswith("#"):
            yield from self._commented()
            return
        place = f"On {where}:" if re.search(r"\w@|\w\.\w|[a-z]\d", where) else ""
        yield from (replace(one, place=one.place or place) for one in self._command_at())

    def _sql_prompt(self) -> Iterator[Piece]:
        """Parse SQL after a psql prompt, which names the database."""
        typed = transcripts.read(self._lines, self._at, self._begins_anew)
        self._at = typed.end
        self._prompted = self._session = True
        target = self._target or typed.database
        if typed.problem:
            yield Piece(kind="output", text=typed.shown, reason=typed.problem)
            return
        if not statements.is_sql(typed.sql) and not typed.sql.startswith("\\"):
            reason = f"typed into psql, database {target}"
            yield Piece(kind="output", text=typed.sql, reason=reason)
            return
        for one in statements.split(typed.sql):
            yield Piece(kind="sql", text=one, target=target, place=f"On {typed.database}:")

    def _begins_anew(self, line: str) -> bool:
        """Tell whether a line begins with the prompt of a shell or of another program."""
        return self._is_prompt(line) or _OTHER_PROMPT.match(line) is not None

    def _other(self) -> Iterator[Piece]:
        """Yield a statement that was typed into a program other than a shell, as unchanged text.

        The reason of the piece names the program.
        """
        found = _OTHER_PROMPT.match(self._lines[self._at])
        assert found is not None
        name = "MySQL" if found["mysql"] else "Redis" if found["redis"] else "another program"
        self._prompted = self._session = True
        end = self._at + 1
        while end < len(self._lines) and _OTHER_GOES_ON.match(self._lines[end]):
            end += 1
        yield self._taken(end, f"typed into {name}")

    def _commented(self) -> Iterator[Piece]:
        """Yield a comment; if it ends with a backslash, its continuation lines stay text."""
        line = self._lines[self._at]
        self._at += 1
        yield Piece(kind="comment", text=_comment(line))
        end = self._at
        while line.endswith("\\") and end < len(self._lines):
            line = self._lines[end]
            if not line.strip() or line.lstrip().startswith("#"):
                break
            end += 1
        if end > self._at:
            yield self._taken(end, "the line continues a command that is commented out")

    # commands

    def _command_at(self) -> Iterator[Piece]:
        start = self._at
        end = self._end_of_command(start)
        text = "\n".join(self._lines[start : end or start + 1]).strip()
        if (own := commands.itself(text)) is not None:
            self._at = start + 1
            yield own
        elif end is None:
            # the lines of a loop without an end stay together
            to = len(self._lines) if _OPENS.search(self._lines[start]) else start + 1
            yield self._taken(to, _NOT_SHELL)
            self._printed = True
        elif not self._is_command(text):
            yield self._taken(end, languages.output(text) or "the line is not a known command")
            self._printed = True
        elif end < len(self._lines) and _ENTERS.match(text) and self._rest(end):
            yield from self._inside(start, end)
        else:
            self._at, self._ran = end, True
            yield from self._of_command(text, start)

    def _end_of_command(self, start: int) -> int | None:
        """Return the number of the line after the command that begins at ``start``.

        A command is complete when its continuations, quotes and loops have ended. None if it is
        never complete.
        """
        rest = self._lines[start : start + _MOST_LINES]
        if self._session:
            rest[1:] = [_GOES_ON.sub("", line) for line in rest[1:]]
        for count in range(1, len(rest) + 1):
            if syntax.is_complete("\n".join(rest[:count])):
                self._lines[start : start + count] = rest[:count]
                return start + count
        return None

    def _is_whole(self, start: int, end: int) -> bool:
        return syntax.is_complete("\n".join(self._lines[start:end]))

    def _is_command(self, text: str) -> bool:
        """Tell whether valid shell text is a command and not prose."""
        script = syntax.read(text)
        # a line that begins with ">" may be a further line of a command, a quotation or output
        if not script.commands or any(map(_REDIRECTS.match, _unquoted_lines(text))):
            return False
        if any(map(_is_known, script.commands)):
            return True
        first = script.commands[0]
        if not first.words:
            return all(re.match(r"[A-Z_][A-Z0-9_]*\+?=", one) for one in first.assignments) or (
                script.sets
                and f"${first.assignments[0].partition('=')[0]}" in "\n".join(self._lines)
            )
        if self._session or self._printed or not re.fullmatch(r"[a-z][\w.+-]*", first.words[0]):
            return False
        if first.words[1:2] == ("=",):
            return False  # a setting in a configuration file
        options = any(re.match(r"--?\w", word) for word in first.words[1:])
        prose = re.search(r"[.:!?]$|, |\b(?:the|is|are|and|of|to|if)\b", text)
        return options or (len(first.words) > 1 and not prose)

    def _rest(self, end: int) -> str:
        return "\n".join(self._lines[end:]).strip()

    def _inside(self, start: int, end: int) -> Iterator[Piece]:
        """Keep a command that opens a shell together with the lines typed in that shell."""
        self._lines[end:] = [_without_prompt(line) for line in self._lines[end:]]
        whole = "\n".join(self._lines[start:]).strip()
        self._at = len(self._lines)
        found = shelltext.judged(self._rest(end))
        if found is LOOKS or not syntax.is_complete(whole):
            yield Piece(kind="output", text=whole, reason=THERE)
        else:
            yield Piece(kind="text", text=whole, reason=THERE, changes=commands.changes(whole))

    def _of_command(self, text: str, start: int) -> Iterator[Piece]:
        script = syntax.read(text)
        if script.sets:
            yield from self._set(text, start)
            return
        for piece in commands.read(text):
            if piece.kind == "connect":
                self._target = piece.target or self._target
            yield self._with_state(replace(piece, target=self._whole_target(piece)))

    def _whole_target(self, piece: Piece) -> str:
        """Return the target of a command, with what variables set before it name."""
        own = piece.target or self._target
        return psql.with_environment(own, piece.place, self._environment)

    def _set(self, text: str, start: int) -> Iterator[Piece]:
        """Yield a statement that sets state, such as a variable, for the commands after it.

        If the statement does nothing else, it is added to the later commands that need it. Else it
        and the rest of the fence stay together, if the rest can be parsed.
        """
        self._environment |= psql.set_by(text)
        rest = self._rest(self._at)
        if shelltext.judged(text) is LOOKS:
            self._state.append(text)
            yield Piece(kind="state", text=text)
        elif rest and self._is_whole(start, len(self._lines)):
            self._at = len(self._lines)
            yield self._one("\n".join(self._lines[start:]).strip())
        else:
            yield self._one(text)

    def _one(self, text: str) -> Piece:
        self._at = len(self._lines) if text.endswith(self._rest(0)[-40:]) else self._at
        known = Piece(kind="text", text=text, reason=commands.SETS, changes=commands.changes(text))
        return self._with_state(known)

    def _with_state(self, piece: Piece) -> Piece:
        if piece.kind not in {"words", "text"}:
            return piece
        needed = _needed(self._state, piece.text)
        if not needed:
            return piece
        text = "\n".join([*needed, piece.text])
        return replace(
            piece,
            kind="text",
            text=text,
            words=(),
            reason="the command needs a variable, folder or setting from an earlier command",
            changes=commands.changes(text),
            own=piece.text,
        )


def _needed(state: Sequence[str], text: str) -> list[str]:
    """Return the preceding state that a command needs: directory, exports, variables it uses.

    >>> _needed(["cd /srv", "A=1", "B=2", "export C=$B", "set -e"], "ls $A")
    ['cd /srv', 'A=1', 'B=2', 'export C=$B']
    """
    found: list[str] = []
    for one in reversed(state):
        name = re.match(r"\s*(?:function\s+)?([A-Za-z_][\w-]*)(?:=|\s*\(\)|\s*\{)", one)
        used = "\n".join([*found, text])
        if _SET_NOTHING.match(one) or (_OF_POSTGRES.match(one) and not _POSTGRES.search(used)):
            continue
        if name and not re.search(rf"(?<![\w-]){re.escape(name[1])}(?![\w-])", used):
            continue
        found.insert(0, one)
    return found


def _is_known(command: syntax.Command) -> bool:
    """Tell whether a command begins with a known program or a path to a file."""
    if not command.words:
        return False
    word = command.words[0]
    if programs.named(programs.name_of(word)) or word in {"[", "[[", "!"}:
        return True
    return (
        re.match(r"(?:\.{1,2}|~|\$\{?\w+\}?)?/\w|^[\w./-]+\.(?:sh|py|pl|rb|bash)$", word)
        is not None
    )


def _unquoted_lines(text: str) -> list[str]:
    """Return the lines of a text that show that it is no command if they begin with a redirection.

    These are the first line, lines after an empty line, and lines that begin with the prompt ">"
    although the line before them ends with a backslash.
    """
    lines = text.splitlines()
    return [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if not before or (before.endswith("\\") and _GOES_ON.match(line))
    ]


def _begins_with_a_program(line: str) -> bool:
    found = syntax.read(line).commands
    return bool(found) and not found[0].assignments and _is_known(found[0])


def _without_prompt(line: str) -> str:
    return re.sub(r"^\s*[$#] (?=\S)", "", line)


def _comment(line: str) -> str:
    """Return the text of a comment, without its ``#``."""
    stripped = line.strip()
    return stripped if stripped.startswith("#!") else re.sub(r"^#+\s?", "", stripped).rstrip()


def _end_of_sql(lines: Sequence[str], start: int) -> int:
    for number in range(start, len(lines)):
        if re.search(r";\s*(?:--.*)?$", lines[number]):
            return number + 1
        following = lines[number + 1 : number + 2]
        if not following or not following[0].strip() or following[0].startswith("#"):
            return number + 1
    return len(lines)


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Join adjacent comments, and adjacent lines of output."""
    last: Piece | None = None
    for piece in pieces:
        if last and piece.kind == last.kind and piece.kind in {"comment", "output"}:
            labels = dict.fromkeys(filter(None, [last.reason, piece.reason]))
            parted = piece.kind == "comment" and piece.apart
            if not parted and (len(labels) < 2 or piece.reason in languages.PRINTED):
                last = replace(last, text=f"{last.text}\n{piece.text}")
                continue
        if last:
            yield last
        last = piece
    if last:
        yield last
