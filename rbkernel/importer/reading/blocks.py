"""Split the source into blocks; every line belongs to exactly one block.

Order: repair fences, parse, assign lines to headings and paragraphs, then to list items, then to
fences and tables. Each remaining line, such as a blank one, belongs to the block before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markdown_it import MarkdownIt
from markdown_it.token import Token

from rbkernel.importer.reading import codeblocks, fences

# a list item, or a paragraph, that holds one of these in `code` stands for itself
Speaks = Callable[[str], bool]

_TASK = re.compile(r"^(?P<indent>\s*)(?:[-*+]|\d+[.)])\s+\[(?P<mark>[ xX])\]\s+(?P<text>.*)")
_SHOWN_DOCUMENT = re.compile(r"^#{1,3} +\S|^RUN-\w+:", re.MULTILINE)
_KINDS = {
    "paragraph_open": "paragraph",
    "blockquote_open": "quote",
    "html_block": "html",
    "hr": "rule",
    "heading_open": "heading",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
}
_HAS_PARTS = re.compile(r"^\s*(?:`{3,}\w|[-*] \[[ xX]\] )", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive lines of the source that form a unit, such as a heading, a fence or a table.

    ``kind`` is one of: yaml, heading, fence, code, table, checklist, step, list, paragraph, quote,
    html, definition, rule, frame, blank. ``content`` is the inside of a fence, or a heading's
    words. ``caption`` is the title in a fence's attributes. ``codes`` are the inline code spans.
    ``path`` are the headings above the block. ``document`` is the number of the document, shown in
    a fence, that contains the block; else 0. ``secrets`` describes the secrets that were removed.
    """

    kind: str
    start: int
    end: int
    text: str = ""
    content: str = ""
    info: str = ""
    caption: str = ""
    level: int = 0
    codes: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    document: int = 0
    remarks: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The line numbers of the block for people, counted from 1."""
        first, last = self.start + 1, self.end
        return f"line {first}" if first >= last else f"lines {first}-{last}"

    @property
    def tasks(self) -> list[tuple[str, bool, int]]:
        """The items of a checklist as (text, ticked in the source, level of nesting)."""
        found = [match for line in self.text.splitlines() if (match := _TASK.match(line))]
        above: list[int] = []
        tasks = []
        for match in found:
            indent = len(match["indent"].expandtabs(4))
            above = [*(one for one in above if one < indent), indent]
            tasks.append((match["text"].strip(), match["mark"] != " ", len(above) - 1))
        return tasks


def read(lines: Sequence[str], speaks: Speaks) -> list[Block]:
    """Split a document into blocks.

    Parameters
    ----------
    lines
        The document's lines, with their ends.
    speaks
        Tells whether an inline code span is a command or a query.

    Returns
    -------
    list of Block
        In order, without a gap and without an overlap.

    >>> [one.kind for one in read(["# T\\n", "\\n", "- [ ] a\\n", "- b\\n"], lambda _: False)]
    ['heading', 'checklist', 'list']
    """
    front = _front_matter(lines)
    blocks = [Block(kind="yaml", start=0, end=front)] if front else []
    blocks += _nested(lines, front, len(lines), speaks)
    return list(_under_headings(_without_gaps(blocks, lines)))


def _front_matter(lines: Sequence[str]) -> int:
    """Return the number of front matter lines (YAML, or the TOML of Hugo); 0 if there are none."""
    ends = {"---": {"---", "..."}, "+++": {"+++"}}.get(lines[0].strip() if lines else "")
    if not ends:
        return 0
    for number, line in enumerate(lines[1:], 1):
        if line.strip() in ends:
            return number + 1 if number > 1 else 0
    return 0


def _nested(lines: Sequence[str], start: int, end: int, speaks: Speaks) -> list[Block]:
    """Split lines into blocks; a document that a fence shows is split into its own blocks."""
    found: list[Block] = []
    documents = 0
    for block in _parse(lines[start:end], start, speaks):
        if not _shows_a_document(block):
            found.append(block)
            continue
        documents += 1
        first, last = block.start + 1, block.start + 1 + block.content.count("\n")
        inner = _nested(lines, first, min(last, block.end), speaks)
        found.append(Block(kind="frame", start=block.start, end=first, document=documents))
        found += [replace(one, document=documents) for one in inner]
        if last < block.end:
            found.append(Block(kind="frame", start=last, end=block.end, document=documents))
    return found


def _shows_a_document(block: Block) -> bool:
    if block.kind != "fence" or block.info not in {"", "text", "markdown", "md"}:
        return False
    return bool(_SHOWN_DOCUMENT.search(block.content) and _HAS_PARTS.search(block.content))


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """Repaired lines that form a unit; adjacent lines with the same key are one block."""

    key: tuple[str, int]
    start: int
    end: int
    content: str = ""
    info: str = ""
    caption: str = ""
    level: int = 0
    codes: tuple[str, ...] = ()


def _parse(texts: Sequence[str], offset: int, speaks: Speaks) -> list[Block]:
    mended = fences.mend(texts)
    lines = codeblocks.as_fences(mended.lines)
    tokens = MarkdownIt("commonmark").enable("table").parse(_for_the_parser(lines))
    owners: list[_Claim | None] = [None] * len(lines)
    for claim in _claims(tokens, lines, speaks):
        end = min(claim.end, len(owners))
        owners[claim.start : end] = [claim] * (end - claim.start)
    _claim_definitions(lines, owners)
    owned = [
        (line.origin + offset, claim)
        for line, claim in zip(lines, owners, strict=True)
        if line.origin is not None and claim is not None
    ]
    remarks = [(number + offset, text) for number, text in mended.remarks]
    return [_block(list(run), remarks) for _, run in groupby(owned, key=lambda one: one[1].key)]


def _claim_definitions(lines: Sequence[fences.Line], owners: list[_Claim | None]) -> None:
    """Claim lines without a parser token: link definitions, and `[//]: # (comments)`."""
    for at, line in enumerate(lines):
        if owners[at] is None and line.origin is not None and line.text.strip():
            goes_on = at > 0 and (before := owners[at - 1]) and before.key[0] == "definition"
            owners[at] = before if goes_on else _Claim(key=("definition", at), start=at, end=at + 1)


def _for_the_parser(lines: Sequence[fences.Line]) -> str:
    """Join the lines for the Markdown parser; NUL is replaced, or the parser would drop it."""
    return "".join(line.text for line in lines).replace("\0", "\ufffd")


def _block(run: list[tuple[int, _Claim]], remarks: Sequence[tuple[int, str]]) -> Block:
    (start, claim), (last, _) = run[0], run[-1]
    texts = (text for number, text in remarks if start <= number <= last)
    return Block(
        kind=claim.key[0],
        start=start,
        end=last + 1,
        content=claim.content,
        info=claim.info,
        caption=claim.caption,
        level=claim.level,
        codes=claim.codes,
        remarks=tuple(dict.fromkeys(texts)),
    )


def _claims(tokens: Sequence[Token], lines: Sequence[fences.Line], speaks: Speaks) -> list[_Claim]:
    """Return the claims of all units; later claims take lines from earlier ones."""
    return [*_texts(tokens, speaks), *_items(tokens, speaks), *_insets(tokens, lines)]


def _texts(tokens: Sequence[Token], speaks: Speaks) -> Iterator[_Claim]:
    for at, token in enumerate(tokens):
        if token.level or token.type not in _KINDS or token.map is None:
            continue
        kind, (start, end) = _KINDS[token.type], token.map
        inline = tokens[at + 1] if at + 1 < len(tokens) else token
        codes = _codes(inline) if kind == "paragraph" else ()
        kind = "step" if any(speaks(code) for code in codes) else kind
        level = int(token.tag[1]) if kind == "heading" else 0
        words = inline.content if kind == "heading" else ""
        yield _Claim(key=(kind, at), start=start, end=end, content=words, level=level, codes=codes)


def _items(tokens: Sequence[Token], speaks: Speaks) -> Iterator[_Claim]:
    """Yield list items: a checklist as one unit, an item with a command as its own unit."""
    inside: list[str] = []
    outermost = 0
    for at, token in enumerate(tokens):
        if token.type == "list_item_close":
            inside.pop()
        if token.type != "list_item_open" or token.map is None:
            outermost = at if not inside and token.type.endswith("list_open") else outermost
            continue
        inline = next((one for one in tokens[at + 1 : at + 3] if one.type == "inline"), None)
        codes = _codes(inline) if inline else ()
        task = bool(inline and re.match(r"\[[ xX]\]\s", inline.content))
        kind = "checklist" if task or "checklist" in inside else "list"
        inside.append(kind)
        speaking = not task and any(speaks(code) for code in codes)
        key = ("step", at) if speaking else (kind, outermost)
        yield _Claim(key=key, start=token.map[0], end=token.map[1], codes=codes if speaking else ())


def _insets(tokens: Sequence[Token], lines: Sequence[fences.Line]) -> Iterator[_Claim]:
    """Yield fences and tables at any depth of lists."""
    for at, token in enumerate(tokens):
        start, end = token.map or (0, 0)
        if token.type in {"fence", "code_block"}:
            kind = "fence" if token.type == "fence" else "code"
            word, rest = codeblocks.info(token.info)
            content, first, caption = codeblocks.options(token.content, token.info)
            below = codeblocks.named_below(lines[end].text) if end < len(lines) else ""
            yield _Claim(
                key=(kind, at),
                start=start,
                end=end + bool(below),
                content=content,
                info=word or first or below,
                caption=caption or _caption(rest),
            )
        elif token.type == "table_open":
            yield _Claim(key=("table", at), start=start, end=end)


def _caption(attributes: str) -> str:
    """Return the caption in a fence's attributes; empty if there is none.

    >>> _caption('title="On the primary" {3}'), _caption("{1,2} linenos")
    ('On the primary', '')
    """
    named = re.search(r"""(?:title|caption|file|filename|name)\s*=\s*["']?([^"'}]+)""", attributes)
    return named[1].strip() if named else ""


def _codes(inline: Token) -> tuple[str, ...]:
    return tuple(one.content for one in inline.children or () if one.type == "code_inline")


def _without_gaps(blocks: list[Block], lines: Sequence[str]) -> Iterator[Block]:
    """Assign each remaining line, usually a blank one, to the block before it."""
    if lines and (not blocks or blocks[0].start > 0):
        first = blocks[0].start if blocks else len(lines)
        blocks = [Block(kind="blank", start=0, end=first), *blocks]
    edges = [*(block.start for block in blocks), len(lines)]
    for block, end in zip(blocks, edges[1:], strict=True):
        yield replace(block, end=end, text="".join(lines[block.start : end]))


def _under_headings(blocks: Iterable[Block]) -> Iterator[Block]:
    """Add to each block the headings above it; a document shown in a fence begins with none."""
    above: list[tuple[int, str]] = []
    outside: list[tuple[int, str]] = []
    document = 0
    for block in blocks:
        if block.document != document:
            outside = above if not document else outside
            above, document = ([] if block.document else outside), block.document
        if block.kind == "heading":
            above = [(level, words) for level, words in above if level < block.level]
        yield replace(block, path=tuple(words for _, words in above))
        if block.kind == "heading":
            above.append((block.level, block.content))
