"""A child that dies in the middle of writing evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from rbkernel.evidence import store


def dies_at(moment: int, names: Sequence[str], do: Callable[[], object]) -> int:
    """Do it in a child that dies at the n-th call of these of the store; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = 0

    def crashing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                os._exit(9)
            return real(*args, **named)

        return call

    for name in names:
        setattr(store, name, crashing(getattr(store, name)))
    try:
        do()
        os._exit(0)
    finally:
        os._exit(1)  # whatever it was, the child must not go on as a second pytest
