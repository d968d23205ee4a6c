"""Decode a Markdown file to lines; joined, they are exactly the decoded text.

A line that is not UTF-8 is decoded as Latin-1, which loses no byte; the report lists such lines for
review.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import PurePath

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file as text: its lines with line ends, and the lines that are not UTF-8.

    Lines are numbered from 0 here, and from 1 in everything that a person reads.
    """

    lines: tuple[str, ...]
    odd_lines: tuple[int, ...] = ()
    bom: bytes = b""

    @property
    def text(self) -> str:
        """The whole text of the file."""
        return "".join(self.lines)


# files that stand for their folder
_INDEX = frozenset({"index", "readme", "_index"})


def name_of(path: str) -> str:
    """Return the name of a file; for a file such as README.md, also the folder's name.

    >>> name_of("docs/lag.md"), name_of("docs/NodeDown/README.md"), name_of("README.md")
    ('lag.md', 'NodeDown/README.md', 'README.md')
    """
    named = PurePath(path)
    folder = named.parent.name
    return f"{folder}/{named.name}" if folder and named.stem.lower() in _INDEX else named.name


def notebook_stem(path: str) -> str:
    """Return the file name of the notebook for a file; README.md is named like its folder.

    >>> notebook_stem("docs/lag.md"), notebook_stem("docs/NodeDown/README.md")
    ('lag', 'NodeDown')
    """
    named = PurePath(name_of(path))
    return named.parent.name or named.stem


def read(document: bytes) -> Source:
    r"""Decode the bytes of a file, whatever its encoding.

    >>> read(b"# T\r\nx").lines
    ('# T\r\n', 'x')
    >>> read(b"caf\xe9\n"), read(b"\xef\xbb\xbfx").lines
    (Source(lines=('café\n',), odd_lines=(0,), bom=b''), ('x',))
    """
    bom = next((mark for mark in _BOMS if document.startswith(mark)), b"")
    body = document[len(bom) :]
    if bom and _BOMS[bom] != "utf-8":
        try:
            return Source(lines=split(body.decode(_BOMS[bom])), bom=bom)
        except UnicodeDecodeError:
            bom, body = b"", document  # two bytes that only look like a mark
    try:
        return Source(lines=split(body.decode("utf-8")), bom=bom)
    except UnicodeDecodeError:
        return _line_by_line(body, bom)


def split(text: str) -> tuple[str, ...]:
    r"""Split at Markdown's line ends; U+2028 and form feeds are not line ends.

    >>> split("a\r\nb\rc\x0cd\n")
    ('a\r\n', 'b\r', 'c\x0cd\n')
    """
    return tuple(_LINE.findall(text))


def _line_by_line(body: bytes, bom: bytes) -> Source:
    lines, odd = [], []
    for number, raw in enumerate(re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", body)):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            lines.append(raw.decode("latin-1"))
            odd.append(number)
    return Source(lines=tuple(lines), odd_lines=tuple(odd), bom=bom)
