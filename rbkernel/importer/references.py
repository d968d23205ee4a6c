"""Copy link definitions, such as those of ``[the guide][guide]``, to the cells that use them.

Pure. Each cell of a notebook is a separate Markdown document: a link works only if its
definition is in the same cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rbkernel.importer.cells import Cell

_DEFINITION = re.compile(
    r"^ {0,3}\[(?P<label>(?:\\.|[^\[\]\\])+)\]:[ \t]*(?P<rest>\S.*)$", re.MULTILINE
)
_USED = re.compile(r"\[(?P<text>(?:\\.|[^\[\]\\])+)\](?:\[(?P<label>[^\[\]]*)\])?(?![(:])")


def defined(texts: Iterable[str]) -> dict[str, str]:
    """Return the definition of each link label in a source; the first definition counts.

    >>> defined(["[Guide]: https://x/y 'T'\\n[//]: # (a comment)\\n"])
    {'guide': "[Guide]: https://x/y 'T'"}
    """
    found: dict[str, str] = {}
    for match in _DEFINITION.finditer("\n".join(texts)):
        if match["label"] != "//":
            found.setdefault(_normal(match["label"]), match[0].strip())
    return found


def complete(cells: Sequence[Cell], links: Mapping[str, str]) -> None:
    """Add to each Markdown cell the definitions that its links need.

    >>> cell = Cell(kind="markdown", source="See [the guide][Guide].", line=1)
    >>> complete([cell], {"guide": "[Guide]: https://x/y"})
    >>> cell.source
    'See [the guide][Guide].\\n\\n[Guide]: https://x/y'
    """
    for cell in cells:
        if cell.kind != "markdown" or not links:
            continue
        there = defined([cell.source])
        used = (_normal(found["label"] or found["text"]) for found in _USED.finditer(cell.source))
        needed = [links[one] for one in dict.fromkeys(used) if one in links and one not in there]
        if needed:
            cell.source += "\n\n" + "\n".join(needed)


def _normal(label: str) -> str:
    return " ".join(label.split()).casefold()
