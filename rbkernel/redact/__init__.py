"""What keeps secrets out of the evidence: pure rules, without IO.

`Redactor` redacts values, `Carry` a stream, `leaks` finds what a notebook still holds,
`told_in` what a source tells.
"""

from rbkernel.redact.messages import MessageRedactor
from rbkernel.redact.notebook import Leak, leaks
from rbkernel.redact.source import told_in
from rbkernel.redact.stream import Carry
from rbkernel.redact.values import Redactor

__all__ = ["Carry", "Leak", "MessageRedactor", "Redactor", "leaks", "told_in"]
