"""The names of the programs that the fork server starts, and of the libraries that it loads."""

from __future__ import annotations

import importlib
from collections.abc import Callable

#: Imports the libraries; runs in the server.
PRELOAD = "rbkernel.kernel.preload:preload"
#: The programs that a client can request, and the function that each runs.
PROGRAMS = {"kernel": "rbkernel.kernel.app:main", "rbkernel": "rbkernel.cli:main"}


def load(name: str) -> Callable[[], object]:
    """Import a function by its name, such as ``package.module:function``.

    Raises
    ------
    ImportError, AttributeError
        There is no such function.
    """
    module, _, function = name.partition(":")
    found: Callable[[], object] = getattr(importlib.import_module(module), function)
    return found
