"""Load the names of a package at their first use, so that a program loads only what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function `__getattr__` of a package whose names live in its modules.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        The name of the module of each name, without the package.

    >>> loader("rbkernel", {"cut": "displaytext"})("missing")
    Traceback (most recent call last):
    ...
    AttributeError: module 'rbkernel' has no attribute 'missing'
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return load
