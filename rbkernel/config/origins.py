"""Where each value of the configuration comes from: a line of a file, the environment, a default.

Values whose name is that of a secret are not shown. Nor are arguments of commands that print a
secret, because some commands take one as an argument.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rbkernel.config.files import Examined
from rbkernel.config.positions import Key, KeyPath, Node
from rbkernel.config.problems import dotted
from rbkernel.config.settings import Settings
from rbkernel.redact.names import is_secret

DEFAULT = "default"
HIDDEN = "[hidden]"
#: Variables that replace a value of the file, and the value that they replace.
_VARIABLES: Mapping[str, KeyPath] = {"RBKERNEL_EVIDENCE": ("evidence", "root")}


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of the configuration: its path, the value, and its origin."""

    name: str
    value: Any
    origin: str


def values(found: Examined, settings: Settings) -> list[Value]:
    """Return every value of a configuration that was read, in the order of the sections."""
    root = found.layers.root
    given = [
        _value(value, path, _node(path, root))
        for path, value in fields(settings)
        if path[-1] != "name" or _node(path, root)  # the name of a table is its key
    ]
    return [*given, *_of_environment()]


def _node(path: KeyPath, root: Node) -> Node | None:
    node: Node | None = root
    for key in path:
        node = node.child(key) if node else None
    return node


def _of_environment() -> Iterator[Value]:
    """Yield the variables that have no field in the file."""
    for name in ("RBKERNEL_ENVIRONMENT", "RBKERNEL_STORE_URL", "RBKERNEL_SANDBOX"):
        if found := os.environ.get(name):
            shown = HIDDEN if name == "RBKERNEL_STORE_URL" else found
            yield Value(name=f"${name}", value=shown, origin="environment")


def fields(settings: Settings) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the path and the value of every field, also inside tables and arrays of tables."""
    for path, value in _fields(settings, ()):
        if path != ("file",):
            yield path, value


def _fields(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, inner in _inside(value):
        if isinstance(inner, BaseModel) or _is_nested(inner):
            yield from _fields(inner, (*path, key))
        else:
            yield (*path, key), inner


def _value(value: Any, path: KeyPath, node: Node | None) -> Value:
    origin = str(node.place) if node else DEFAULT
    for variable, replaced in _VARIABLES.items():
        if path == replaced and os.environ.get(variable):
            value, origin = os.environ[variable], f"${variable}"
    return Value(name=dotted(path), value=_shown(value, path), origin=origin)


def _shown(value: Any, path: KeyPath) -> Any:
    field = next((str(one) for one in reversed(path) if isinstance(one, str)), "")
    if not value or field.endswith("_env"):  # the name of a variable
        return value
    prints_a_secret = field == "command" or field.endswith("_command")
    return HIDDEN if prints_a_secret or is_secret(field) else value


def _is_nested(value: Any) -> bool:
    """Whether a value has entries that each have an origin of their own."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value)


def _inside(value: Any) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        yield from ((fields[name].alias or name, getattr(value, name)) for name in fields)
        yield from (value.model_extra or {}).items()
    elif isinstance(value, Mapping):
        yield from value.items()
    else:
        yield from enumerate(value)
