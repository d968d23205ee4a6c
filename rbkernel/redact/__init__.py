"""Keep secrets out of the evidence: rules that find and mask secrets, without IO.

`Redactor` redacts values and `Carry` redacts a stream. `leaks` finds the secrets in a notebook,
and `secrets_in` finds the secrets in a cell's source. Each is imported at its first use, because
the patterns are slow to compile and the settings need only the column policies.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbkernel.redact.messages import MessageRedactor
    from rbkernel.redact.notebook import Leak, leaks
    from rbkernel.redact.source import secrets_in
    from rbkernel.redact.stream import Carry
    from rbkernel.redact.values import Redactor

_HOMES = {
    "Carry": "stream",
    "Leak": "notebook",
    "MessageRedactor": "messages",
    "Redactor": "values",
    "leaks": "notebook",
    "secrets_in": "source",
}

__all__ = ["Carry", "Leak", "MessageRedactor", "Redactor", "leaks", "secrets_in"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
