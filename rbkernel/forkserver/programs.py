"""What the server imports and its children run; by name, because those packages stand above."""

from __future__ import annotations

import importlib
from collections.abc import Callable

#: Imports the libraries, in the server.
PRELOAD = "rbkernel.kernel.preload:preload"
#: The programs that can be asked for, and the function that each runs.
PROGRAMS = {"kernel": "rbkernel.kernel.app:main", "rbkernel": "rbkernel.cli:main"}


def load(name: str) -> Callable[[], object]:
    """Import a function by its name, such as ``package.module:function``.

    Raises
    ------
    ImportError, AttributeError
        There is none.
    """
    module, _, function = name.partition(":")
    found: Callable[[], object] = getattr(importlib.import_module(module), function)
    return found
