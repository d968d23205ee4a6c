"""Find the line of every key and section of a TOML text that `tomllib` has accepted. Pure.

`tomllib` gives no positions. Because the text is known to be valid, only strings, comments and
brackets must be told apart; the values themselves are not read.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Key = str | int
KeyPath = tuple[Key, ...]
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]+")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A line of a file; line 0 stands for the whole file."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@dataclass(kw_only=True)
class Node:
    """A value of a document: its place, and the nodes of its keys or items.

    ``items`` is a dict for a table, a list for an array, and None for other values.
    """

    place: Place
    items: dict[str, Node] | list[Node] | None = field(default=None)

    def child(self, key: Key) -> Node | None:
        """Return the node of a key or an item; None if there is none."""
        if isinstance(self.items, dict) and isinstance(key, str):
            return self.items.get(key)
        if isinstance(self.items, list) and isinstance(key, int) and key < len(self.items):
            return self.items[key]
        return None

    @property
    def is_tables(self) -> bool:
        """Whether this is an array of tables, such as `[[routes]]`."""
        return isinstance(self.items, list) and all(
            isinstance(one.items, dict) for one in self.items
        )


def positions(text: str, file: Path) -> Node:
    """Return the root node of a valid TOML text.

    >>> root = positions('[a]\\nb = 1\\n[[c]]\\nd = [1,\\n 2]\\n', Path("x"))
    >>> [root.child(key).place.line for key in "ac"]
    [1, 3]
    >>> root.child("c").child(0).child("d").child(1).place.line
    5
    """
    return _Scanner(text.replace("\r\n", "\n"), file).document()


class _Scanner:
    def __init__(self, text: str, file: Path) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def document(self) -> Node:
        root = Node(place=Place(file=self._file), items={})
        table = root
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header(root)
            else:
                self._pair(table)
            self._skip(_SPACE)
        return root

    def _header(self, root: Node) -> Node:
        place, is_array = self._place(), self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        *outer, last = self._keys()
        self._at += 2 if is_array else 1
        table = self._inside(root, outer, place)
        if not is_array:
            return self._inside(table, [last], place)
        new = Node(place=place, items={})
        array = _table(table).setdefault(last, Node(place=place, items=[]))
        if isinstance(array.items, list):
            array.items.append(new)
        return new

    def _pair(self, table: Node) -> None:
        place = self._place()
        *outer, last = self._keys()
        self._at += 1  # =
        self._skip(_BLANK)
        value = self._value()
        value.place = place
        _table(self._inside(table, outer, place))[last] = value

    def _inside(self, table: Node, keys: list[str], place: Place) -> Node:
        """Return the table at these keys, made where it is missing; of an array, its last one."""
        for key in keys:
            table = _table(table).setdefault(key, Node(place=place, items={}))
            if isinstance(table.items, list):
                table = table.items[-1]
        return table

    def _value(self) -> Node:
        place, first = self._place(), self._text[self._at]
        if first == "[":
            return Node(place=place, items=[self._value() for _ in self._entries("]")])
        if first == "{":
            table = Node(place=place, items={})
            for _ in self._entries("}"):
                self._pair(table)
            return table
        self._skip(_TEXT if first in "\"'" else _BARE)
        return Node(place=place)

    def _entries(self, bracket: str) -> Iterator[None]:
        """Step through the entries up to a closing bracket; the caller reads each of them."""
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != bracket:
            yield
            self._skip(_SPACE)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_SPACE)
        self._at += 1

    def _keys(self) -> list[str]:
        """Read a key such as `a."b.c"`, up to the sign behind it."""
        found: list[str] = []
        while True:
            self._skip(_BLANK)
            found.append(_plain(self._skip(_KEY)))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return found
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _place(self) -> Place:
        return Place(file=self._file, line=bisect.bisect_left(self._ends, self._at) + 1)


def _plain(key: str) -> str:
    if key[:1] not in {'"', "'"}:
        return key
    return str(tomllib.loads(f"key = {key}")["key"])


def _table(node: Node) -> dict[str, Node]:
    """Return the keys of a table; valid TOML has a table in every place where this is asked."""
    return node.items if isinstance(node.items, dict) else {}
