"""Read the files of a configuration, and merge them.

The file of the environment (``$RBKERNEL_ENVIRONMENT``) takes precedence over `rbkernel.toml`, and
this over the files that it includes, in their order. Tables are merged key by key. Of arrays of
tables, such as `[[routes]]`, all entries are kept, those of the file with precedence first. Any
other value replaces the one below.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

from rbkernel.config.positions import KeyPath, Node, Place, positions
from rbkernel.config.problems import Problem, dotted

ENVIRONMENT = "RBKERNEL_ENVIRONMENT"
INCLUDE = "include"
_FILE = "file"  # a field of the settings that no file may set
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The content of one file."""

    file: Path
    text: str = ""
    data: Mapping[str, Any]

    @cached_property
    def root(self) -> Node:
        """The lines of all fields; found only if they are asked for."""
        return _pruned(positions(self.text, self.file), self.data)

    def only(self, data: Mapping[str, Any]) -> Layer:
        """Return this file with less content: the given tables of its sections."""
        return Layer(file=self.file, text=self.text, data=data)

    def problem(self, what: str, hint: str, *path: str | int) -> Problem:
        """Return a problem at a field of this file."""
        node = self.root
        for key in path:
            node = node.child(key) or node
        return Problem(what=what, place=node.place, hint=hint, path=path)

    def has_nul(self, path: KeyPath) -> Problem:
        """Return the problem of a field whose value contains NUL."""
        return self.problem(
            f"{dotted(path)}: contains the character U+0000, which no path, name or command can"
            " contain",
            "remove this character; TOML writes it as \\u0000",
            *path,
        )


class Layers:
    """The files of a configuration, those with precedence first, and their problems.

    ``unread`` says whether a file is missing or not valid TOML, so that the rest says little.
    """

    def __init__(self) -> None:
        self.files: list[Layer] = []
        self.problems: list[Problem] = []
        self.unread = False

    @property
    def data(self) -> dict[str, Any]:
        """The merged content of all files."""
        found: dict[str, Any] = {}
        for layer in self.files:
            found = merged(found, layer.data)
        return {name: one for name, one in found.items() if name != _FILE}

    @property
    def root(self) -> Node:
        """The places of the fields of ``data``."""
        roots = [layer.root for layer in self.files]
        return reduce(merged_nodes, roots) if roots else Node(place=Place(file=Path()), items={})

    def read(self, file: Path) -> None:
        """Read a configuration file, the one of the environment, and those that it includes."""
        if name := os.environ.get(ENVIRONMENT):
            self._read_environment(file, name)
        main = self._read(file)
        if main:
            self._read_included(main)
        for layer in self.files:
            if _FILE in layer.data:
                self.problems.append(
                    layer.problem(f"{_FILE}: is not a known field", "remove it", _FILE)
                )
            if layer is not main and INCLUDE in layer.data:
                what = f"{INCLUDE}: only {file.name} can include files"
                self.problems.append(layer.problem(what, f"list the files in {file}", INCLUDE))

    def read_alone(self, file: Path) -> None:
        """Read a file that includes no others, whatever the environment."""
        self._read(file)

    def _read_environment(self, file: Path, name: str) -> None:
        other = file.parent / f"{file.stem}.{name}.toml"
        if _NAME.fullmatch(name) and other.is_file():
            self._read(other)
            return
        self._cannot_read(
            Problem(
                what=f"{ENVIRONMENT} is {name!r}, but there is no file {file.stem}.{name}.toml",
                place=Place(file=file),
                hint=f"create it beside {file.name}, or unset {ENVIRONMENT}",
            )
        )

    def _read_included(self, main: Layer) -> None:
        patterns = main.data.get(INCLUDE, [])
        for number, pattern in enumerate(patterns if isinstance(patterns, list) else []):
            if not isinstance(pattern, str):
                continue  # the settings refuse it
            found = [one for one in _matching(main.file.parent, pattern) if one.is_file()]
            for one in found:
                if one not in {layer.file for layer in self.files}:
                    self._read(one)
            if not found:
                what = f"{INCLUDE}: there is no file {pattern!r}"
                hint = "correct the path, which is relative to this file"
                self._cannot_read(main.problem(what, hint, INCLUDE, number))

    def _read(self, file: Path) -> Layer | None:
        """Add one file; None, with its problem noted, if it is not valid TOML."""
        place, hint = Place(file=file), "correct the file"
        try:
            text = text_of(file)
            layer = Layer(file=file, text=text, data=tomllib.loads(text))
        except UnicodeDecodeError as error:
            what = f"byte {error.start + 1} of the file is not UTF-8"
            hint = "save the file as UTF-8 (in your editor: the encoding of the file)"
        # the text is not TOML, has a number that is too long for Python, or is nested too deep
        except (OSError, ValueError, RecursionError) as error:
            what = _LINE.sub("", str(error))
            if line := _LINE.search(str(error)):
                place = Place(file=file, line=int(line[1]))
        else:
            self.files.append(layer)
            self.problems += map(layer.has_nul, _with_nul(layer.data, ()))
            return layer
        self._cannot_read(Problem(what=f"cannot be read: {what}", place=place, hint=hint))
        return None

    def _cannot_read(self, problem: Problem) -> None:
        self.problems.append(problem)
        self.unread = True


def text_of(path: Path) -> str:
    """Return the text of a configuration file, without a byte order mark.

    Raises
    ------
    OSError, UnicodeDecodeError
        The file cannot be read, or is not UTF-8.
    """
    return path.read_text(encoding="utf-8-sig")


def merged(above: Any, below: Any) -> Any:
    """Return two values of TOML as one.

    >>> merged({"a": {"x": 1}, "r": [{"n": 1}]}, {"a": {"x": 2, "y": 3}, "r": [{"n": 2}]})
    {'a': {'x': 1, 'y': 3}, 'r': [{'n': 1}, {'n': 2}]}
    """
    if isinstance(above, Mapping) and isinstance(below, Mapping):
        both = dict(above)
        for name, value in below.items():
            both[name] = merged(both[name], value) if name in both else value
        return both
    return [*above, *below] if _is_tables(above) and _is_tables(below) else above


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def merged_nodes(above: Node, below: Node) -> Node:
    """Return the nodes of what `merged` returns for the values of two nodes."""
    if isinstance(above.items, dict) and isinstance(below.items, dict):
        both = dict(above.items)
        for name, node in below.items.items():
            both[name] = merged_nodes(both[name], node) if name in both else node
        return Node(place=above.place, items=both)
    if isinstance(above.items, list) and isinstance(below.items, list):
        joined = above.is_tables and below.is_tables
        return Node(place=above.place, items=[*above.items, *below.items]) if joined else above
    return above


def _pruned(node: Node, data: Any) -> Node:
    """Return a node without the keys that the data has not."""
    if not isinstance(node.items, dict) or not isinstance(data, Mapping):
        return node
    kept = {name: _pruned(one, data[name]) for name, one in node.items.items() if name in data}
    return Node(place=node.place, items=kept)


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a path, or of a glob, in a stable order."""
    path = folder / Path(pattern).expanduser()
    if not _GLOB.search(pattern):
        return [path]
    anchor = Path(path.anchor)
    return sorted(anchor.glob(str(path.relative_to(anchor))))


def _with_nul(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of each field whose value contains NUL."""
    if isinstance(value, str) and "\0" in value:
        yield path
    if isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in pairs:
            yield from _with_nul(one, (*path, key))
