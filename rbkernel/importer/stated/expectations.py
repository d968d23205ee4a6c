"""Extract the answers that a document expects of its commands and queries. Pure.

An expectation is in a comment above, after or below the command, or in the fence that follows:
`sentences` reads what a comment says, `quoted` an answer that is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rbkernel.importer.reading.commands import Piece, prints_a_figure
from rbkernel.importer.stated import sentences
from rbkernel.importer.stated.expectation import Expectation, joined
from rbkernel.importer.stated.quoted import of_output, that_fails
from rbkernel.importer.stated.sides import BEGINS, FAILS, FOLLOWS, is_of_the_below, of_the_above
from rbkernel.runbook.quantities import Threshold, needs_unit

NOTHING = Expectation()
_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_FIRST_HEADER = re.compile(r"\bcurl\b.*\s-\w*[Ii]\w*\b.*\|\s*head\s+(?:-n\s*)?-?1\s*$")
# the last program of a command that prints how many lines there are
_COUNTS = re.compile(r"(?:wc\s+-l|[efz]?grep\s+(?:-\w+\s+)*-\w*c\w*|pgrep\s+-\w*c\w*)\b[^|]*$")
_SEARCH = re.compile(r"[efz]?grep|pgrep")
_RUNS_ANOTHER = re.compile(r"sudo|doas|docker|podman|kubectl|oc|ssh|timeout|nice|env|time")
# the exit codes of `systemctl is-active` and `is-enabled`
_ENDS_WITH = {"inactive": 3, "failed": 3, "disabled": 1, "masked": 1}
_SQL_COMMENT = re.compile(r"--[ \t]*(?P<line>[^\n]*)|/\*\s*(?P<block>.*?)\s*\*/", re.DOTALL)


def read(comments: Sequence[str], *, below: bool = False, beside: bool = False) -> Expectation:
    """Return the answer that comments expect of their command.

    Parameters
    ----------
    comments
        The lines of the comments, without the comment mark.
    below
        Whether the comments are below the command: the expected answer may then have several lines.
    beside
        Whether the comment is on the line of the command: a bare value is then expected, too.

    >>> read(["Expected output", '{"status": "ok"}'], below=True).json
    {'status': 'ok'}
    >>> read(["expected: active"]).answers, read(["must return HTTP 204"]).status
    ('active', 204)
    >>> bool(read(["Expected output: a list of pods"])), bool(read(["Look at the pods"]))
    (False, False)
    """
    right, wrong, rest = _parted(comments) if below else ([], [], list(comments))
    found = of_output("\n".join(right)) if right else Expectation()
    for line in rest:
        found = joined(found, sentences.read(line, beside=beside))
    return that_fails(found, "\n".join(wrong))


def _parted(comments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Divide comments into expected lines, lines of a failing answer, and sentences."""
    right: list[str] = []
    wrong: list[str] = []
    rest: list[str] = []
    into = rest
    for line in comments:
        if FAILS.search(line) and len(line) < 80:
            into = wrong
            if quoted := re.search(r"[{\[].*[}\]]", line):
                wrong.append(quoted[0])
        elif FOLLOWS.match(line):
            into = right
        elif into is rest or _is_sentence(line):
            into = rest
            rest.append(line)
        else:
            into.append(line)
    return right, wrong, rest


def _is_sentence(line: str) -> bool:
    words = line.split()
    looks = re.search(r"\s{2,}|[{}\[\]|\"]|^\S+:\s", line)
    return len(words) > 2 and not looks and re.match(r"[A-Z][a-z]+ [a-z]", line) is not None


def announced(label: str) -> bool:
    """Tell whether a line announces the expected answer, such as "Expected output:".

    >>> announced("Expected output"), announced("You should see something like this")
    (True, False)
    """
    return bool(label) and FOLLOWS.match(label) is not None


def with_answer(expected: Expectation, text: str) -> Expectation:
    """Add the content of a quoted answer to an expectation."""
    return joined(expected, of_output(text))


def of_piece(pieces: Sequence[Piece], number: int, stated: Expectation = NOTHING) -> Expectation:
    """Return the answer that the comments around a command in a fence expect.

    ``stated`` is what the document expects of it elsewhere, such as in the row of a table. The
    module `sides` says to which command a comment belongs.
    """
    piece = pieces[number]
    found = stated or _of_comments(pieces, number)
    return _of_printed(found, piece) if piece.kind in {"words", "text"} else found


def _of_comments(pieces: Sequence[Piece], number: int) -> Expectation:
    piece = pieces[number]
    found = read([piece.behind], beside=True) if piece.behind else Expectation()
    if number and pieces[number - 1].kind == "comment" and is_of_the_below(pieces, number - 1):
        found = joined(found, read(pieces[number - 1].text.splitlines()))
    below: list[str] = []
    for at in range(number + 1, len(pieces)):
        follows = below and FOLLOWS.match(below[-1])
        printed = follows and pieces[at].kind == "output"
        if not printed and not of_the_above(pieces, at, after=bool(below)):
            break
        below += pieces[at].text.splitlines()
    return joined(found, read(below, below=True)) if below else found


def _of_printed(found: Expectation, piece: Piece) -> Expectation:
    """Return what is expected of a command that prints one figure, as its output.

    A figure that must be equal is compared as text; a warning below a critical limit cannot be told
    of an output.
    """
    last = piece.bare.replace("\\\n", " ").splitlines()[-1]
    if found.status and _FIRST_HEADER.search(last):
        return replace(found, contains=str(found.status))
    of_status = "http_code" in last and found.status
    if piece.changes or found.warnings or not prints_a_figure(last):
        return found
    if found.empty and _COUNTS.search(last):
        return replace(found, empty=False, answers="0")
    limits = [limit for column, limit in found.limits if not column]
    if len(limits) != len(found.limits) or not (limits or of_status):
        return found
    none = limits == [Threshold(value=0)]
    if none or of_status or (len(limits) == 2 and limits[0].value == limits[1].value):
        figure = found.status if of_status else limits[0].value
        return replace(found, answers=found.answers or f"{figure:.15g}")
    if not all(_is_comparable(limit, last) for limit in limits):
        return found
    words = ", ".join(map(_met, limits))
    return replace(found, figures={"output": words, **found.figures})


def _is_comparable(limit: Threshold, command: str) -> bool:
    """Tell whether the figure that a command prints has the unit of a limit."""
    if limit.unit in {"s", "sec", "seconds"}:
        return re.search(r"%\{time_\w+\}", command) is not None  # of curl, in s
    return not needs_unit(limit.unit) or (
        limit.unit == "%" and re.search("pcent|%", command) is not None
    )


def _met(limit: Threshold) -> str:
    """Return when a figure meets a limit, as `rbkernel.runbook.printed` reads it."""
    sign = (">" if limit.below else "<") + ("" if limit.inclusive else "=")
    return f"{sign} {limit.value:.15g}{'%' if limit.unit == '%' else ''}"


def exit_code(text: str, expected: Expectation) -> int:
    """Return the exit code with which a command ends if its output is the expected one.

    >>> exit_code("kubectl get pods | grep -v Running", Expectation(empty=True))
    1
    >>> exit_code("systemctl is-active old-api", Expectation(answers="inactive"))
    3
    >>> exit_code("systemctl is-failed api", Expectation(answers="active"))
    1
    """
    last = re.split(r"\||;|&&", _QUOTED.sub("Q", text).strip())[-1].split()
    if expected.empty and _searches(last):
        return 1  # nothing was found
    if re.match(r"(?:sudo )?systemctl is-failed\b", " ".join(last)):
        return 0 if expected.answers == "failed" else 1
    if re.match(r"(?:sudo )?systemctl is-(?:active|enabled)\b", " ".join(last)):
        return _ENDS_WITH.get(expected.answers, 0)
    return 0


def _searches(words: Sequence[str]) -> bool:
    """Tell whether a command is grep or one like it, perhaps run by another command.

    >>> [_searches(one.split()) for one in ("sudo /bin/grep x", "LC_ALL=C grep x", "xargs grep x")]
    [True, True, False]
    """
    names = [word.rsplit("/", 1)[-1] for word in words if not re.match(r"\w+=", word)]
    if names and _RUNS_ANOTHER.fullmatch(names[0]):
        return any(map(_SEARCH.fullmatch, names))
    return bool(names and _SEARCH.fullmatch(names[0]))


def of_statements(content: str, statements: Sequence[str]) -> list[tuple[list[str], Expectation]]:
    """Return the comments in and around each statement of a fence, and the answer that they expect.

    >>> sql = "SELECT 1 AS a;\\n-- expected: 0\\n\\nSELECT 2 AS b;"
    >>> found = of_statements(sql, ["SELECT 1 AS a", "-- expected: 0\\nSELECT 2 AS b"])
    >>> [(comments, len(one.limits)) for comments, one in found]
    [(['expected: 0'], 1), ([], 0)]
    """
    own: list[list[str]] = []
    lines = [line.strip() for line in content.splitlines()]
    for number, statement in enumerate(statements):
        comments = [one["line"] or one["block"] or "" for one in _SQL_COMMENT.finditer(statement)]
        own.append(comments)
        leading = statement.lstrip().startswith("--")
        if number and leading and comments and BEGINS.match(comments[0]):
            at = next((at for at, line in enumerate(lines) if line.endswith(comments[0])), 0)
            apart, tied = not lines[at - 1], bool(lines[at + 1 : at + 2] and lines[at + 1])
            if not apart:
                own[number] = comments[1:]
                own[number - 1] += [] if tied else comments[:1]
    return [
        (comments, read(comments, beside=len(comments) == 1 and _is_beside(statement)))
        for comments, statement in zip(own, statements, strict=True)
    ]


def _is_beside(statement: str) -> bool:
    """Tell whether the last line of a statement has a comment behind its code."""
    return re.search(r"\S[ \t]*--[^\n]*\Z", statement.rstrip()) is not None
