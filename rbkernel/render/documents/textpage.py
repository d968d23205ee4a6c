"""Render chapters in Markdown as one HTML page without scripts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import unescape

from rbkernel.render.documents import page
from rbkernel.render.documents.markdown import markdown_html

_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
GENERATOR = '<meta name="generator" content="rbkernel">'


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A chapter of a page in Markdown; if ``plain`` is true, the text is shown unchanged."""

    text: str
    plain: bool = False


def render(
    title: str,
    chapters: Iterable[Chapter],
    *,
    mark: re.Pattern[str],
    mind: str = "",
    footer: str = "",
) -> bytes:
    """Return chapters as one HTML page.

    Parameters
    ----------
    title
        The title of the browser window.
    chapters
        The chapters in order; their HTML is sanitized.
    mark
        A pattern of texts to highlight; only the group ``hint`` of a match is shown.
    mind
        A remark above the chapters.
    footer
        The last line of the page.
    """
    headings: list[tuple[str, str]] = []

    def anchored(found: re.Match[str]) -> str:
        name = f"chapter-{len(headings) + 1}"
        headings.append((name, unescape(_TAG.sub("", found[1])).strip()))
        return f'<h2 id="{name}">{found[1]}</h2>'

    def markup(chapter: Chapter) -> str:
        clean = _HEADING.sub(anchored, markdown_html(chapter.text))
        return mark.sub(r"<mark>‹\g<hint>›</mark>", clean)

    rendered = [("", one.text) if one.plain else (markup(one), "") for one in chapters]
    return page.from_template(
        "text.html.j2",
        title=title,
        generator=GENERATOR,
        policy=f"{page.POLICY}; script-src 'none'",
        chapters=rendered,
        headings=headings,
        mind=mind,
        footer=footer,
    )
