"""Extensions: objects that other packages add through their entry points.

A `Group` maps names to objects of one kind: first those of rbkernel, then those of installed
packages. Listing names only reads the metadata of packages. A package is imported when one of its
names is used, so a broken package affects only its users. A package cannot replace a name of
rbkernel, and a name that two packages use is an error. Extensions run with all rights of rbkernel.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from rbkernel.errors import ExtensionError, RbkernelError

PREFIX = "rbkernel."
GUIDE = "docs/how-to/extend.md shows how to write one"
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, kw_only=True)
class Extension:
    """An extension: an entry point of an installed package."""

    group: str
    name: str
    package: str
    version: str
    entry: metadata.EntryPoint

    def __str__(self) -> str:
        return f"{self.package} {self.version}, {self.group}, {self.name} = {self.entry.value}"


def installed() -> tuple[Extension, ...]:
    """Return the extensions of all installed packages, sorted by group, name and package."""
    return _installed(tuple(sys.path))


@lru_cache(maxsize=4)
def _installed(_path: tuple[str, ...]) -> tuple[Extension, ...]:
    every = metadata.entry_points()
    groups = [group for group in every.groups if group.startswith(PREFIX)]
    found = [
        Extension(
            group=entry.group,
            name=entry.name,
            package=entry.dist.name,
            version=entry.dist.version,
            entry=entry,
        )
        for group in groups
        for entry in every.select(group=group)
        if entry.dist
    ]
    return tuple(sorted(found, key=lambda one: (one.group, one.name, one.package)))


def packages() -> str:
    """List the packages that add extensions, with the names they add; empty if none does.

    Example: ``acme-rbkernel 1.2 (channels: pager; sources: flags, stock)``.
    """
    added: dict[str, dict[str, list[str]]] = {}
    for one in installed():
        groups = added.setdefault(f"{one.package} {one.version}", {})
        groups.setdefault(one.group.removeprefix(PREFIX), []).append(one.name)
    return ", ".join(f"{package} ({_added(groups)})" for package, groups in added.items())


def _added(groups: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{group}: {', '.join(names)}" for group, names in groups.items())


class Group(Mapping[str, _Kind], Generic[_Kind]):
    """The objects of one kind, such as senders, by name. Extensions are loaded at their first use.

    Parameters
    ----------
    name
        The group of entry points, such as ``rbkernel.senders``.
    kind
        The class or runtime-checkable protocol of the objects that entry points name.
    ours
        The objects of rbkernel itself.
    unusable
        Returns why an object with this name cannot be used although it is of the kind, such as a
        function with other arguments; empty if it can be used.
    """

    def __init__(
        self,
        name: str,
        kind: Any,
        ours: Mapping[str, _Kind],
        *,
        unusable: Callable[[str, Any], str] = lambda _name, _thing: "",
    ) -> None:
        self.name = name
        self._kind = kind
        self._ours = ours
        self._unusable = unusable
        self._loaded: dict[metadata.EntryPoint, _Kind] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._ours, *(one.name for one in self.extensions())]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def __getitem__(self, name: str) -> _Kind:
        """Return the object with this name.

        Raises
        ------
        KeyError
            There is no such object.
        ExtensionError
            The object cannot be loaded, is of another kind, or two packages use this name.
        """
        if name in self._ours:
            return self._ours[name]
        found = self._named(name)
        if not found:
            raise KeyError(name)
        if len(found) > 1:
            raise self._clash(found[0])
        return self._load(found[0])

    def extension(self, name: str) -> Extension | None:
        """Return the extension with this name; None for an object of rbkernel."""
        return None if name in self._ours else next(iter(self._named(name)), None)

    def _named(self, name: str) -> list[Extension]:
        return [one for one in self.extensions() if one.name == name]

    def _clash(self, extension: Extension) -> ExtensionError:
        others = [one.package for one in self._named(extension.name) if one != extension]
        what = f"the package {' and '.join(others)} adds the same name"
        return unusable(extension, what, "uninstall one of them")

    def extensions(self) -> list[Extension]:
        """Return the extensions of installed packages in this group."""
        return [one for one in installed() if one.group == self.name]

    def origin(self, name: str) -> str:
        """Return the package and version that add this name; empty for objects of rbkernel."""
        found = self.extension(name)
        return f"{found.package} {found.version}" if found else ""

    def problem(self, extension: Extension) -> ExtensionError | None:
        """Load an extension, and return the error if it cannot be used, else None."""
        if extension.name in self._ours:
            what = f"rbkernel itself has {extension.name}, so that of the package is not used"
            return unusable(
                extension, what, "ask the authors of the package to choose another name"
            )
        if len(self._named(extension.name)) > 1:
            return self._clash(extension)
        try:
            self[extension.name]
        except ExtensionError as error:
            return error
        return None

    def _load(self, extension: Extension) -> _Kind:
        if extension.entry in self._loaded:
            return self._loaded[extension.entry]
        repair = f"repair it, or run `pip uninstall {extension.package}`"
        try:
            thing = extension.entry.load()
        except ExtensionError as error:
            raise unusable(extension, error.what, error.next_step or repair) from error
        except (Exception, SystemExit) as error:  # a foreign package may raise anything
            raise unusable(extension, f"{type(error).__name__}: {error}", repair) from error
        if not isinstance(thing, self._kind):
            kind, given = self._kind.__name__, type(thing).__name__
            why = f"its entry point must refer to a {kind}, not to a {given}"
        else:
            why = self._unusable(extension.name, thing)
        if why:
            raise unusable(extension, why, f"correct {extension.package}: {GUIDE}")
        self._loaded[extension.entry] = cast("_Kind", thing)
        return self._loaded[extension.entry]


def refuses(call: Callable[..., object], *names: str, **named: object) -> str:
    """Return why a function cannot be called with these arguments; empty if it can.

    A function whose signature Python does not know, such as some in C, is assumed to fit.

    >>> refuses(lambda target: 1, "target"), refuses(lambda: 1, "target")
    ('', 'it cannot be called with (target): too many positional arguments')
    """
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*names, **named)
    except TypeError as error:
        outline = ", ".join([*names, *(f"{name}=…" for name in named)])
        return f"it cannot be called with ({outline}): {error}"
    return ""


@contextlib.contextmanager
def blaming(extension: Extension, what: str, next_step: str = "") -> Iterator[None]:
    """Convert an exception of an extension's code to an `ExtensionError` that names the extension.

    Raises
    ------
    ExtensionError
        The block raised; the message begins with ``what``.
    """
    try:
        yield
    except RbkernelError:
        raise
    except Exception as error:  # code of others may raise anything
        raise unusable(
            extension,
            f"{what}: {type(error).__name__}: {error}",
            next_step or f"repair {extension.package}",
        ) from error


def unusable(extension: Extension, what: str, next_step: str) -> ExtensionError:
    """Return the error about an unusable extension; it names the package and the entry point."""
    return ExtensionError(
        f"an extension cannot be used: {what}", where=str(extension), next_step=next_step
    )
