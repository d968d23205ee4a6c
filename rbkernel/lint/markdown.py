"""Parse the Markdown of a cell into blocks: headings, fences, and prose with its links. Pure.

Code spans are not part of the prose: a word in a code span is a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True)
class Link:
    """A link or picture in Markdown."""

    line: int
    target: str


@dataclass(frozen=True)
class Prose:
    """One line of visible text; `code` holds the code spans in the line."""

    line: int
    text: str
    code: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True)
class Block:
    """A heading, fence, paragraph or list item; `text` of a fence is its content."""

    kind: str
    line: int
    text: str
    level: int = 0
    language: str = ""
    prose: tuple[Prose, ...] = field(default=())


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def blocks(source: str) -> list[Block]:
    """Split Markdown into blocks, in order.

    >>> [(b.kind, b.line, b.text) for b in blocks("# A\\n\\n- see `x`\\n\\n```sh\\nls\\n```")]
    [('heading', 1, 'A'), ('item', 3, 'see '), ('fence', 5, 'ls\\n')]
    """
    return list(_blocks(_parser().parse(source)))


def _blocks(tokens: Iterable[Token]) -> Iterator[Block]:
    level, ordered, items = 0, [], 0
    for token in tokens:
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type in {"ordered_list_open", "bullet_list_open"}:
            ordered.append(token.type.startswith("ordered"))
        elif token.type in {"ordered_list_close", "bullet_list_close"}:
            ordered.pop()
        elif token.type == "list_item_open":
            items = 1
        elif token.type in {"fence", "code_block"}:
            language = (token.info.split() or [""])[0].lower()
            yield Block("fence", _line(token), token.content, language=language)
        elif token.type == "inline":
            prose = tuple(_prose(token))
            kind = "heading" if level else "item" if items else "text"
            if kind == "item" and ordered and ordered[-1]:
                kind = "numbered"
            text = " ".join(line.text for line in prose)
            yield Block(kind, _line(token), text, level=level, prose=prose)
            level = items = 0


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 1


def _prose(token: Token) -> Iterator[Prose]:
    """Yield the visible text of each line of the source."""
    line, text = _line(token), ""
    code: list[str] = []
    links: list[Link] = []
    for child in token.children or ():
        if child.type in {"softbreak", "hardbreak"}:
            yield Prose(line, text, tuple(code), tuple(links))
            line, text, code, links = line + 1, "", [], []
        elif child.type == "code_inline":
            code.append(child.content)
        elif child.type == "link_open":
            links.append(Link(line, str(child.attrs.get("href", ""))))
        elif child.type == "image":
            links.append(Link(line, str(child.attrs.get("src", ""))))
        elif child.type == "text":
            text += child.content
    yield Prose(line, text, tuple(code), tuple(links))
