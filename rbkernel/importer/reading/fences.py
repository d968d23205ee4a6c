"""Repair fences that CommonMark would not close as intended, on a copy that is only parsed.

Three mistakes occur in real files: a fence closed by a line such as ```` ```text ````, a fenced
document that contains fences, and a fence that is never closed. A file is changed only if a fence
contains what looks like the opening of another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

FENCE = re.compile(
    r"^(?P<indent>[ \t>]*(?:[-*+] +|\d+[.)] +)?)(?P<mark>`{3,}|~{3,})(?P<info>[^`\r\n]*)"
    r"(?=[\r\n]|$)"
)
# info strings of a fence that may show a whole document, with fences inside
_SHOWN = frozenset({"", "markdown", "md"})
# the first line of a tab, an admonition or a fold of MkDocs; its content is indented below it
_FOLD = re.compile(r"^ *(?:===[+!]?|!!!|\?\?\?\+?) +[\w\"]")
_SECTION = re.compile(r"^#{2,6} +\S")
# a file with more unclosed fences is no runbook, and no more of them are closed
_MOST_MENDED = 50


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line for the parser; ``origin`` is its number in the source, None for an inserted line."""

    text: str
    origin: int | None


@dataclass(frozen=True)
class _Open:
    at: int
    mark: str
    info: str


@dataclass(frozen=True, kw_only=True)
class Mended:
    """Lines with repaired fences, and remarks about the repairs."""

    lines: tuple[Line, ...]
    remarks: tuple[tuple[int, str], ...] = ()


def mend(texts: Sequence[str]) -> Mended:
    r"""Close fences where their author intended the end.

    >>> [line.text for line in mend(["```sh\n", "ls\n", "```text\n", "\n", "Done.\n"]).lines]
    ['```sh\n', 'ls\n', '```\n', '\n', 'Done.\n']
    """
    lines = [Line(text=text, origin=number) for number, text in enumerate(unfolded(texts))]
    remarks: list[tuple[int, str]] = []
    for _ in range(_MOST_MENDED):
        trial = list(lines)
        found: list[tuple[int, str]] = []
        unclosed = _close(trial, found)
        if unclosed is None:
            return Mended(lines=tuple(trial), remarks=(*remarks, *found))
        end = _end_of_unclosed(lines, unclosed)
        if end is None:
            return Mended(lines=tuple(trial), remarks=(*remarks, *found))
        remarks.append((_origin(lines, unclosed), "the fence was never closed"))
        lines.insert(end, Line(text=_closing(lines[unclosed].text), origin=None))
    return Mended(lines=tuple(lines), remarks=tuple(remarks))


def unfolded(texts: Sequence[str]) -> list[str]:
    r"""Remove the indentation of the content of MkDocs tabs and admonitions.

    >>> unfolded(['=== "Linux"\n', "\n", "    ```sh\n", "    ls\n", "    ```\n", "x\n"])[2:]
    ['```sh\n', 'ls\n', '```\n', 'x\n']
    """
    found: list[str] = []
    depths: list[int] = []
    for text in texts:
        indent = len(text) - len(text.lstrip(" "))
        while depths and text.strip() and indent < depths[-1]:
            depths.pop()
        found.append(text[min(indent, 4 * len(depths)) :] if depths else text)
        if _FOLD.match(text):
            depths.append(indent + 4)
    return found


def _close(lines: list[Line], remarks: list[tuple[int, str]]) -> int | None:
    """Repair all fences in place; return the line of a fence that is never closed, or None."""
    stack: list[_Open] = []
    number = 0
    while number < len(lines):
        match = FENCE.match(lines[number].text)
        info = match["info"].strip() if match else ""
        if match is None:
            pass
        elif not stack:
            stack.append(_Open(number, match["mark"], info))
        elif not match["mark"].startswith(stack[-1].mark):
            pass  # another mark, or a shorter one: content
        elif not info:
            _pop(lines, stack, number)
        elif _closes(lines, number):
            lines[number] = replace(lines[number], text=_closing(lines[number].text))
            remarks.append((_origin(lines, number), f"a line ```{info} closes a fence"))
            _pop(lines, stack, number)
        elif stack[-1].info in _SHOWN and _balanced(lines, number):
            stack.append(_Open(number, match["mark"], info))
        else:
            remarks.append((_origin(lines, stack[-1].at), "the fence was never closed"))
            lines.insert(number, Line(text=_closing(lines[number].text), origin=None))
            _pop(lines, stack, number)
        number += 1
    return stack[0].at if stack else None


def _pop(lines: list[Line], stack: list[_Open], end: int) -> None:
    """Close the innermost fence; give it a longer mark if it contains fences with the same mark."""
    opened = stack.pop()
    inner = [FENCE.match(line.text) for line in lines[opened.at + 1 : end]]
    longest = max(
        (len(m["mark"]) for m in inner if m and m["mark"][0] == opened.mark[0]), default=0
    )
    if longest < len(opened.mark):
        return
    for at in (opened.at, end):
        mark = opened.mark[0] * (longest + 1)
        text = lines[at].text
        lines[at] = replace(lines[at], text=re.sub(r"`{3,}|~{3,}", mark, text, count=1))


def _closes(lines: Sequence[Line], number: int) -> bool:
    """Tell whether a fence line with an info string, such as ```` ```text ````, closes a fence.

    It does if the line before it has text and the line after it has none.
    """
    before = lines[number - 1].text.strip()
    after = lines[number + 1].text.strip() if number + 1 < len(lines) else ""
    return bool(before) and not after


def _balanced(lines: Sequence[Line], number: int) -> bool:
    """Tell whether an inner fence and its outer fence are both closed from this line on."""
    depth = 1
    for line in lines[number:]:
        match = FENCE.match(line.text)
        if match:
            depth += 1 if match["info"].strip() else -1
        if depth == 0:
            return True
    return False


def _end_of_unclosed(lines: Sequence[Line], start: int) -> int | None:
    """Return the line where an unclosed fence should end: before the next section, or None."""
    for number in range(start + 1, len(lines) - 1):
        if not lines[number].text.strip() and _SECTION.match(lines[number + 1].text):
            return number
    return None


def _closing(text: str) -> str:
    match = FENCE.match(text)
    assert match is not None  # only called for lines that are fences
    indent = re.sub(r"[-*+]|\d+[.)]", lambda m: " " * len(m.group()), match["indent"])
    return f"{indent}{match['mark']}\n"


def _origin(lines: Sequence[Line], number: int) -> int:
    return next((line.origin for line in lines[number:] if line.origin is not None), 0)
