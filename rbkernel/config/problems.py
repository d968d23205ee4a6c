"""Find every problem of a configuration at once, each with its line and a hint. Pure.

pydantic stops at the first problem of some kinds: a rule about a whole section is checked only once
its fields are valid. So what is wrong is removed, and the rest is checked again, until nothing new
is found. A later problem that names something that was removed is not one of its own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rbkernel.config.positions import Key, KeyPath, Node, Place
from rbkernel.config.settings import Settings
from rbkernel.config.words import AtField, advice
from rbkernel.errors import ConfigError
from rbkernel.spelling import nearest

_LOOKED_INTO = 2
_CORRECT = "correct that field"
_NO_TABLE = frozenset({"model_type", "mapping_type", "dict_type"})
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of the configuration: what is wrong, at which place, and what to do."""

    what: str
    place: Place
    hint: str = _CORRECT
    path: KeyPath = ()

    def error(self, others: int = 0) -> ConfigError:
        """Return the problem as the error that every command raises."""
        more = f"; `rbkernel config check` shows {others} more" if others else ""
        return ConfigError(
            self.what, where=str(self.place), next_step=f"{self.hint}{more}", path=self.path
        )


def dotted(path: Iterable[Key]) -> str:
    """Return a path as one text.

    >>> dotted(("routes", 0, "alert"))
    'routes.0.alert'
    """
    return ".".join(map(str, path))


def place_of(path: KeyPath, root: Node) -> Place:
    """Return the place of a field, or of the innermost section around it."""
    return _known_part(path, root)[1].place


def found_in(data: Mapping[str, Any], root: Node) -> list[Problem]:
    """Return every problem of a configuration, by file and line; empty if it is valid."""
    rest, nodes = copy.deepcopy(dict(data)), copy.deepcopy(root)
    originally = dict(_paths(nodes, ()))
    found: dict[KeyPath, Problem] = {}
    removed: set[_Removed] = set()
    while errors := _errors(rest):
        wrong = _without_alternatives([_read(one, nodes, originally) for one in errors])
        for one in wrong:
            if not any(name.explains(one.problem) for name in removed):
                found.setdefault(one.problem.path, one.problem)
        for one in wrong:
            found.pop(one.meant, None)  # not missing, but misspelt
        paths = sorted({one.remove for one in wrong if one.remove}, key=_order, reverse=True)
        for path in paths:
            _remove(rest, nodes, path)
        if not paths:
            break
        removed.update(*(one.removed for one in wrong))
    return sorted(found.values(), key=lambda one: (str(one.place.file), one.place.line))


def _without_alternatives(wrong: list[_Wrong]) -> list[_Wrong]:
    """Drop what is wrong with a value as a whole if something inside is: it is a union's other
    class.
    """
    paths = [one.problem.path for one in wrong]
    return [
        one
        for one in wrong
        if not any(
            len(at := one.problem.path) < len(path) and path[: len(at)] == at for path in paths
        )
        or not at
    ]


def _paths(node: Node, path: KeyPath) -> Iterator[tuple[int, KeyPath]]:
    """Yield the id and the path of a node and of all inside it, before any is removed."""
    yield id(node), path
    if node.items is not None:
        pairs = node.items.items() if isinstance(node.items, dict) else enumerate(node.items)
        for key, one in pairs:
            yield from _paths(one, (*path, key))


@dataclass(frozen=True, kw_only=True)
class _Removed:
    """A name that was removed, or that a problem mentioned, in a section; () for everywhere.

    ``path`` is that of a removed value; () for a name that no section has.
    """

    section: KeyPath
    name: str
    path: KeyPath = ()

    def explains(self, problem: Problem) -> bool:
        """Whether a problem that was found later may be only a consequence."""
        at = problem.path
        above = len(self.path) - len(at)
        # a rule about a section looks at its fields, and at what is in them
        if self.path and 0 <= above <= _LOOKED_INTO and self.path[: len(at)] == at:
            return True
        is_inside = at[: len(self.section)] == self.section
        return is_inside and self.name in _WORD.findall(problem.what.partition(": ")[2])


@dataclass(frozen=True, kw_only=True)
class _Wrong:
    """A problem, the path to remove before the next look, and the names that this removes.

    ``meant`` is the path of the field that a misspelt one was meant to be; else ().
    """

    problem: Problem
    remove: KeyPath
    removed: frozenset[_Removed]
    meant: KeyPath = ()


def _errors(data: Mapping[str, Any]) -> list[Any]:
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        return error.errors(include_input=False, include_url=False)
    return []


def _read(error: Mapping[str, Any], root: Node, originally: Mapping[int, KeyPath]) -> _Wrong:
    said = error.get("ctx", {}).get("error")
    at = said if isinstance(said, AtField) else AtField("")
    loc = (*error["loc"], *at.at)
    remove, node = _known_part(loc, root)
    path = originally[id(node)]
    shown = (*path, loc[-1]) if error["type"] == "missing" else path
    words = "should be a table" if error["type"] in _NO_TABLE else advice(error)
    what = f"{dotted(shown)}: {words}" if shown else words
    hint, meant = at.hint or _CORRECT, ""
    is_unknown = error["type"] == "extra_forbidden"
    if is_unknown:
        known = sorted(_fields(Settings, path[:-1]))
        meant = nearest(str(path[-1]), known)
        hint = f"write {meant}" if meant else f"remove it; known here: {', '.join(known)}"
    elif shown == path and loc == (*remove, "name"):  # the key of a table by name
        what, hint = f"the name of [{dotted(path)}] {words}", "rename that section"
    return _Wrong(
        problem=Problem(what=what, place=node.place, hint=hint, path=shown),
        remove=remove,
        removed=frozenset(_removed(path, node, f"{what} {meant}", is_unknown=is_unknown)),
        meant=(*path[:-1], meant) if meant else (),
    )


def _removed(path: KeyPath, node: Node, words: str, *, is_unknown: bool) -> Iterator[_Removed]:
    if not path:
        return
    is_table = isinstance(node.items, dict)
    section = path if is_table else path[:-1]
    yield _Removed(
        section=() if is_table else section, name=str(path[-1]), path=() if is_unknown else path
    )
    mentioned = {*_WORD.findall(words)} & {*_fields(Settings, section)}
    yield from (_Removed(section=section, name=name) for name in mentioned)


def _known_part(loc: Iterable[Key], root: Node) -> tuple[KeyPath, Node]:
    """Return the part of an error's location that is in the files, and its node.

    pydantic's locations also contain the classes of a union, and fields that are missing.
    """
    path, node = [], root
    for part in loc:
        if child := node.child(part):
            path.append(part)
            node = child
    return tuple(path), node


def _order(path: KeyPath) -> list[tuple[bool, int, str]]:
    """Return a key that sorts the items of a list by their number."""
    return [(isinstance(one, int), one if isinstance(one, int) else 0, str(one)) for one in path]


def _remove(data: Any, node: Node, path: KeyPath) -> None:
    *outer, last = path
    for key in outer:
        child = node.child(key)
        if child is None:
            return  # a section around it was removed
        data, node = data[key], child
    if node.child(last) is not None:
        del data[last]
        del node.items[last]  # type: ignore[arg-type, union-attr]  # `child` found it


def _fields(kind: Any, path: KeyPath) -> Iterator[str]:
    """Yield the fields that a configuration may have at a path."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        of_file = {one.alias or name: one for name, one in kind.model_fields.items()}
        if not path:
            yield from of_file.keys() - {"file", "name"}
        elif field := of_file.get(str(path[0])):
            yield from _fields(field.annotation, path[1:])
        return
    is_container = get_origin(kind) in {Mapping, tuple}
    for inner in get_args(kind):
        yield from _fields(inner, path[1:] if is_container else path)
