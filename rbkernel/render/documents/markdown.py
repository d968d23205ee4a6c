"""Write Markdown, and render a runbook's Markdown as HTML or as safe Markdown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from types import SimpleNamespace
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from mdformat.renderer import MDRenderer, RenderContext, RenderTreeNode

from rbkernel.displaytext import one_line, visible
from rbkernel.render.documents.sanitize import clean_html

_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
# characters that make a line a list item, a heading or a horizontal rule
_LEADING = re.compile(r"^(?:(?=[-+#=])|(\d+)(?=[.)] ))")
_RUNS = re.compile(r"`+")
# the parser leaves out what is nested deeper; Python's own limit comes first
_DEEP = 10_000
_SAFE = re.compile(r"(https?|mailto):[^\s<>]*", re.IGNORECASE)


def escaped(words: object) -> str:
    r"""Return text as one line, escaped so that Markdown shows it unchanged.

    >>> escaped("a_b <i>\nc"), escaped("- [x](y)"), escaped("1. a-b"), escaped("2026-11-20")
    ('a\\_b &lt;i&gt; c', '\\- \\[x\\](y)', '1\\. a-b', '2026-11-20')
    """
    return _LEADING.sub(r"\1\\", _marked(one_line(str(words))))


def _marked(words: str) -> str:
    """Escape characters that begin HTML or Markdown anywhere in a line of text."""
    return escape(_SPECIAL.sub(r"\\\1", words), quote=False)


def fenced(words: str, language: str = "") -> str:
    r"""Return text as a code block, with a fence that does not occur in the text.

    >>> fenced("a\n```\nb")
    '````\na\n```\nb\n````'
    """
    words = visible(words)
    fence = "`" * max(3, 1 + max((len(run) for run in _RUNS.findall(words)), default=0))
    return f"{fence}{language}\n{words.rstrip()}\n{fence}"


def written_table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return rows of plain text as a Markdown table.

    >>> written_table(["a"], [["b|c"]])
    '| a |\n| --- |\n| b\\|c |'
    """
    rows = list(rows)
    names = list(header) or [""] * max((len(row) for row in rows), default=1)
    return _table([list(map(escaped, row)) for row in (names, *rows)])


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest))


def _parser(renderer: Any) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEP}, renderer_cls=renderer)
    return parser.enable(["table", "strikethrough"])


@cache
def _html() -> MarkdownIt:
    return _parser(RendererHTML)


@cache
def _rewriter() -> MarkdownIt:
    parser = _parser(MDRenderer)
    parser.options["mdformat"] = {"number": True}
    parser.options["parser_extension"] = [SimpleNamespace(RENDERERS=_RENDERERS)]
    return parser


def markdown_html(source: str) -> str:
    """Return Markdown as sanitized HTML; formulas are not rendered.

    >>> markdown_html("# Lag\\n[x](javascript:x) <img src=x onerror=y>").split("\\n")[:1]
    ['<h1>Lag</h1>']
    """
    try:
        return clean_html(str(_html().render(source)))
    except RecursionError:  # raised for deeply nested quotes
        return f"<pre>{escape(visible(source))}</pre>"


def rewritten(source: str) -> str:
    r"""Return Markdown made safe: HTML becomes text, only web links remain, headings are two levels
    lower.

    >>> rewritten("# Lag\n<b>x</b> [y](y.md) [z](https://z)")
    '### Lag\n\n&lt;b&gt;x&lt;/b&gt; y [z](<https://z>)'
    """
    try:
        return str(_rewriter().render(source)).strip()
    except RecursionError:  # raised for deeply nested quotes
        return fenced(source)


def _children(node: RenderTreeNode, context: RenderContext) -> str:
    return "".join(child.render(context) for child in node.children)


def _text(node: RenderTreeNode, _context: RenderContext) -> str:
    return _marked(node.content)


def _html_block(node: RenderTreeNode, _context: RenderContext) -> str:
    return fenced(node.content)


def _link(node: RenderTreeNode, context: RenderContext) -> str:
    words, url = _children(node, context), str(node.attrs["href"])
    return f"[{words}](<{url}>)" if _SAFE.fullmatch(url) else words


def _image(node: RenderTreeNode, context: RenderContext) -> str:
    return f"(picture: {_children(node, context) or 'without a description'})"


def _heading(node: RenderTreeNode, context: RenderContext) -> str:
    # below the report's own headings
    return f"{'#' * min(int(node.tag[1:]) + 2, 6)} {_children(node, context)}"


def _rule(_node: RenderTreeNode, _context: RenderContext) -> str:
    return "---"


def _strikethrough(node: RenderTreeNode, context: RenderContext) -> str:
    return f"~~{_children(node, context)}~~"


def _table_again(node: RenderTreeNode, context: RenderContext) -> str:
    rows = [row for part in node.children for row in part.children]
    return _table([[_children(cell, context) for cell in row.children] for row in rows])


_RENDERERS = {
    "text": _text,
    "html_block": _html_block,
    "html_inline": _text,
    "link": _link,
    "image": _image,
    "heading": _heading,
    "hr": _rule,
    "s": _strikethrough,
    "table": _table_again,
}
