"""Convert queries of monitoring systems to cells: those that say what they are are called.

Pure. What only looks like a query may be what a program printed: it stays text.
"""

from __future__ import annotations

from dataclasses import replace

from rbkernel.importer import monitoring
from rbkernel.importer.cells import Went, as_fence
from rbkernel.importer.page import Page
from rbkernel.importer.reading import languages
from rbkernel.importer.reading.blocks import Block


def language(block: Block) -> str:
    """Return the query language of a fence without info string; empty if none."""
    found = languages.whole(block.content) if not block.info else ""
    return found if found in languages.INFO else ""


def why_not(found: str) -> str:
    """Return why a text is not asked, by what it looks like.

    >>> why_not("PromQL"), why_not("the answer of a program")
    ('it looks like PromQL: to ask it, name the language of its fence', 'the answer of a program')
    """
    looks = f"it looks like {found}: to ask it, name the language of its fence"
    return looks if found in languages.INFO else found


def fence(page: Page, block: Block, went: Went, found: str) -> None:
    """Write a call for each query of a fence that names its language; keep another as text."""
    if languages.QUERIES.get(block.info) == found:
        for comments, text in monitoring.split(block.content):
            page.remark(block, went, comments)
            if text:
                one(page, block, went, found, text)
        return
    info = languages.INFO.get(found, "")
    no_source = f"{found}: rbkernel has no built-in data source for it"
    went.reasons.append(why_not(found) if info else no_source)
    text = as_fence(replace(block, info=info or block.info))
    page.text(block, went, f"{found}:\n\n{text}" if info else text)


def one(page: Page, block: Block, went: Went, found: str, text: str) -> None:
    """Write the call of a query; keep it as text if a parameter of it would be a secret."""
    holes = monitoring.found_holes(text)
    source = monitoring.call(found, text, holes)
    if source:
        page.declare(holes)
        went.notes += monitoring.notes(found, text)
        page.code(block, went, source)
    else:
        went.reasons.append(f"{found}: a secret cannot be a parameter")
        page.text(block, went, f"```{languages.INFO[found]}\n{text}\n```")
