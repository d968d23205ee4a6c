"""Convert Markdown to plain text. Pure."""

from __future__ import annotations

import re

_EMPHASIS = re.compile(r"(?<![\w\\])(\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)[^)]*\)")


def plain(text: str, *, code: bool = False) -> str:
    """Convert Markdown to plain text: no emphasis, links with their address, code spans optional.

    >>> plain("**On-call**, see [it](https://x/y), run `a_b`")
    'On-call, see it (https://x/y), run a_b'
    """
    text = re.sub(r"\\([\\*_{}\[\]()#+.!|-])", r"\1", text)
    text = _LINK.sub(lambda found: f"{found[1]} ({found[2]})", text.strip())
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    text = re.sub(r"<br\s*/?>", "; ", text).strip()
    return text if code else re.sub(r"`+([^`]*)`+", r"\1", text).strip()
