"""What keeps secrets out of the evidence: pure rules, without IO.

`Redactor` redacts values, `Carry` a stream, `leaks` finds what a notebook still holds,
`told_in` what a source tells. Each is loaded at its first use: their patterns take a while, and
the settings need the column policies alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbkernel.redact.messages import MessageRedactor
    from rbkernel.redact.notebook import Leak, leaks
    from rbkernel.redact.source import told_in
    from rbkernel.redact.stream import Carry
    from rbkernel.redact.values import Redactor

_HOMES = {
    "Carry": "stream",
    "Leak": "notebook",
    "MessageRedactor": "messages",
    "Redactor": "values",
    "leaks": "notebook",
    "told_in": "source",
}

__all__ = ["Carry", "Leak", "MessageRedactor", "Redactor", "leaks", "told_in"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
