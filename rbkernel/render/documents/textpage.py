"""Pure: chapters in Markdown → one HTML page that needs nothing but a browser, and no script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import unescape

from rbkernel.render.documents import page
from rbkernel.render.documents.sanitize import markdown_html

_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
GENERATOR = '<meta name="generator" content="rbkernel">'


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """Markdown, or with ``plain`` text that is shown as it is."""

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
    """Return the page.

    Parameters
    ----------
    title
        What the window is called.
    chapters
        What it tells, in order; each is cleaned of what could run or load something.
    mark
        What is marked wherever it stands; the group ``hint`` is what is shown of it.
    mind
        What a reader must know before the rest.
    footer
        The last line.
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
