"""Decide which command a comment of a fence is about: the one above it, or the one below. Pure.

A comment belongs to the command directly below it. It belongs to the command above it if it states
an expectation, and a blank line or nothing follows it. Where both are possible, it gives no check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rbkernel.importer.reading.commands import Piece

# a comment that begins so speaks of the command above it
BEGINS = re.compile(
    r"^\W*(?:expect(?:ed|s)?\b|(?:example|sample) output|(?:the )?output\b|(?:you )?should\b|must\b"
    r"|returns?\b|alert threshold|threshold|=>)",
    re.IGNORECASE,
)
# a line that says that the expected answer follows; "should look like this" promises no equality
FOLLOWS = re.compile(
    r"^\W*(?:expected(?:\s+(?:output|result|response|answer))?(?:\s*\(.*\))?"
    r"|(?:example|sample) output|(?:it |this |you )?should (?:return|print|show|see|output|get)"
    r"|(?:healthy|good|normal|successful) (?:output|response|answer))\s*:?\s*$",
    re.IGNORECASE,
)
FAILS = re.compile(
    r"\bif (?:it |this |the \w+ )?(?:fail\w*|is (?:down|unhealthy|broken)|unhealthy)\b"
    r"|\bon failure\b|\b(?:failing|unhealthy) (?:output|answer|response)\b|\botherwise\b"
    r"|\bif not\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"\b(?:should|must|expect(?:s|ed|ing)?)\b"
    r"|^\W*(?:bad|good|ok|wrong|right|(?:un)?healthy|normal|critical|warning|alert)\s*[:=]|^=>"
    r"|\b(?:is|are|means?) (?:critical|bad|wrong|an? (?:problem|incident|issue))\b|\bthreshold\b"
    r"|\bif (?:(?:it|this|that|there|the \w+) (?:is |are )?)?(?:more|less|fewer|greater|higher"
    r"|lower|larger|smaller|above|below|over|under|any|not|zero|empty|[<>≤≥])",
    re.IGNORECASE | re.MULTILINE,
)
# what programs print, alone in a comment
_PRINTED = re.compile(
    r"pong|imok|ok|(?:in)?active|running|true|false|(?:un)?healthy", re.IGNORECASE
)
_STEP = re.compile(r"^\W*(?:step\s+)?\d+[.):]\s", re.IGNORECASE)
_SURE = re.compile(r"^\W*(?:expect|=>)", re.IGNORECASE)


def parted(pieces: Sequence[Piece]) -> list[Piece]:
    """Divide comments whose lines are about different commands.

    A numbered line begins the next step. A line such as "Expected: 3" is about the command above;
    the lines between it and the next command may be about both.

    >>> lines = Piece(kind="comment", text="Expected: < 9\\n2. the queue, must be empty")
    >>> [one.text for one in parted([lines])]
    ['Expected: < 9', '2. the queue, must be empty']
    """
    return [
        part
        for at, piece in enumerate(pieces)
        for part in (_parts(pieces, at) if piece.kind == "comment" else [piece])
    ]


def _parts(pieces: Sequence[Piece], at: int) -> Iterator[Piece]:
    lines = pieces[at].text.splitlines()
    sure = bool(at) and not pieces[at].apart and _is_tied(pieces, at)
    sure = sure and bool(_SURE.match(lines[0])) and not FOLLOWS.match(lines[0])
    starts = [n for n, line in enumerate(lines) if n and (_STEP.match(line) or (sure and n == 1))]
    for start, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        apart = pieces[at].apart and not start
        yield replace(pieces[at], text="\n".join(lines[start:end]), apart=apart)


def of_the_above(pieces: Sequence[Piece], at: int, *, after: bool = False) -> bool:
    """Tell whether a comment is about the command above it.

    ``after`` says that the comment directly above it is about that command, too.
    """
    comment = pieces[at]
    if comment.kind != "comment" or (at and pieces[at - 1].kind == "comment" and not after):
        return False
    tied = _is_tied(pieces, at)
    if after:
        return not tied and not _STEP.match(comment.text)
    first = comment.text.split("\n", 1)[0]
    begins = BEGINS.match(first) or FAILS.search(first)
    if not at or not (begins or (not comment.apart and states(comment.text))):
        return False
    # right between two commands: only "Expected …" surely speaks of the first
    return not tied or (not comment.apart and _SURE.match(first) is not None)


def of_either(pieces: Sequence[Piece], at: int) -> bool:
    """Tell whether a comment may be about the command above it or about the one below it."""
    comment = pieces[at]
    if comment.kind != "comment" or not at or comment.apart or not _is_tied(pieces, at):
        return False
    if _STEP.match(comment.text):
        return False
    if not states(comment.text) and not _PRINTED.fullmatch(comment.text.strip()):
        return False
    return not of_the_above(pieces, at)


def is_of_the_below(pieces: Sequence[Piece], at: int) -> bool:
    """Tell whether a comment is surely about the command below it."""
    return not of_the_above(pieces, at) and not of_either(pieces, at)


def states(text: str) -> bool:
    """Tell whether a comment states an expectation.

    >>> states("All members must be in sync"), states("Good: 200"), states("List the members")
    (True, True, False)
    """
    return _STATES.search(text) is not None


def _is_tied(pieces: Sequence[Piece], at: int) -> bool:
    """Tell whether a command stands directly below a comment, without a blank line or a new step
    between them.
    """
    for following in pieces[at + 1 :]:
        if following.apart or following.kind == "output":
            return False
        if following.kind != "comment":
            return True
        if _STEP.match(following.text):
            return False
    return False
