r"""Read what was typed at the prompts of psql, as a terminal shows it. Pure.

psql's prompt says where a statement begins (`orders=#`) and where it goes on (`orders-#`). Only
complete statements are read. A statement stays text if its end is not certain, or if it is part of
a transaction that a person types and watches line by line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# the signs of PROMPT1 and PROMPT2 in psql's manual: %R, %x, %#
PROMPT = re.compile(
    r"^\s*(?P<database>[\w-]*\w)(?:(?P<first>[=^!@])|(?P<further>[-(*'\"$]))(?P<open>[*!?]?)[#>]"
    r"(?:[ \t]|$)"
)
_ENDS = re.compile(r";\s*(?:--[^\n]*|/\*[^\n]*\*/\s*)?$|\\(?:g\w*|crosstabview|watch)\b[^\n]*$")
_OPENS = re.compile(r"^\s*(?:begin|start\s+transaction)\b", re.IGNORECASE)
_CLOSES = re.compile(r"^\s*(?:commit|rollback|end|abort)\b(?!\s+to\b)", re.IGNORECASE)
NOT_ENDED = "the end of the statement is not certain"
TRANSACTION = "a transaction that a person types, and watches, line by line"


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A statement typed at a prompt of psql.

    ``shown`` is its text with prompts. ``end`` is the number of the line after it. ``problem`` says
    why the statement cannot be used alone; empty if it can.
    """

    database: str
    sql: str
    shown: str
    end: int
    problem: str = ""


def in_text(text: str) -> bool:
    """Tell whether a text shows a prompt of psql with a statement behind it.

    >>> in_text("orders=*# DELETE FROM t;"), in_text("UPDATE t SET a = 1")
    (True, False)
    """
    found = map(PROMPT.match, text.splitlines())
    return any(one and one["first"] and one.string[one.end() :].strip() for one in found)


def read(lines: Sequence[str], start: int, begins_anew: Callable[[str], bool]) -> Typed:
    """Read the statement at the prompt in a line.

    Parameters
    ----------
    lines
        All lines of the transcript.
    start
        The number of the line with the prompt.
    begins_anew
        Tells whether a line begins with the prompt of a shell or of another program.

    >>> read(["a=# DELETE FROM t", "a-#  WHERE c;", "DELETE 1"], 0, lambda _: False).sql
    'DELETE FROM t\\n WHERE c;'
    >>> read(["a=# DELETE FROM t", "      WHERE c;"], 0, lambda _: False).problem
    'the end of the statement is not certain'
    """
    prompt = PROMPT.match(lines[start])
    assert prompt is not None
    said, end = _statement(lines, start)
    if prompt["open"] or _OPENS.match(said[0]) or _leaves_open(lines[end:]):
        end = _end_of_transaction(lines, start)
        return _typed(prompt, said, lines[start:end], end, TRANSACTION)
    if not prompt["first"]:
        return _typed(prompt, said, lines[start:end], end, NOT_ENDED)
    whole = said[0].startswith("\\") or _ENDS.search(said[-1]) is not None
    if whole or not said[0].strip():
        return _typed(prompt, said, lines[start:end], end, "")
    following = next((line for line in lines[end:] if line.strip()), "")
    if not following or PROMPT.match(following) or begins_anew(following):
        return _typed(prompt, said, lines[start:end], end, "")
    end = _end_of_unread(lines, end, begins_anew)
    return _typed(prompt, said, lines[start:end], end, NOT_ENDED)


def _typed(
    prompt: re.Match[str], said: Sequence[str], shown: Sequence[str], end: int, problem: str
) -> Typed:
    return Typed(
        database=prompt["database"],
        sql="\n".join(said),
        shown="\n".join(line.rstrip() for line in shown),
        end=end,
        problem=problem,
    )


def _statement(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """Return the lines of a statement without prompts, and the number of the line after it."""
    said: list[str] = []
    for number in range(start, len(lines)):
        prompt = PROMPT.match(lines[number])
        if prompt is None or (said and not prompt["further"]):
            return said, number
        said.append(lines[number][prompt.end() :].rstrip())
    return said, len(lines)


def _leaves_open(rest: Sequence[str]) -> bool:
    """Tell whether the next prompt shows an open transaction, to which the statement belongs."""
    following = next(filter(None, map(PROMPT.match, rest)), None)
    return bool(following and following["first"] and following["open"])


def _end_of_transaction(lines: Sequence[str], start: int) -> int:
    """Return the number of the line after the end of a transaction.

    If the transaction does not end, this is the line after the last one.
    """
    for number in range(start, len(lines)):
        prompt = PROMPT.match(lines[number])
        if prompt and prompt["first"] and _CLOSES.match(lines[number][prompt.end() :]):
            return number + 1
    return len(lines)


def _end_of_unread(lines: Sequence[str], start: int, begins_anew: Callable[[str], bool]) -> int:
    """Return the number of the line after all that may belong to a statement without a clear end.

    This is the line with the next prompt, or the line after the last one.
    """
    for number in range(start, len(lines)):
        if PROMPT.match(lines[number]) or begins_anew(lines[number]):
            return number
    return len(lines)
