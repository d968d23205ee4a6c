"""Keep secrets out of the evidence: rules that find and mask secrets, without IO.

`Redactor` redacts values and `Carry` redacts a stream. `leaks` finds the secrets in a notebook,
and `secrets_in` finds the secrets in a cell's source. Each is imported at its first use, because
the patterns are slow to compile and the settings need only the column policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbkernel.firstuse import loader

if TYPE_CHECKING:
    from rbkernel.redact.messages import MessageRedactor
    from rbkernel.redact.notebook import Leak, leaks
    from rbkernel.redact.source import secrets_in
    from rbkernel.redact.stream import Carry
    from rbkernel.redact.values import Redactor

__all__ = ["Carry", "Leak", "MessageRedactor", "Redactor", "leaks", "secrets_in"]

__getattr__ = loader(
    __name__,
    {
        "Carry": "stream",
        "Leak": "notebook",
        "MessageRedactor": "messages",
        "Redactor": "values",
        "leaks": "notebook",
        "secrets_in": "source",
    },
)
