r"""What a stream holds back until the rest of a secret may have come.

A text is let go up to its last whole line; what follows waits for the next message, because a
secret may go on there. Blanks and dots are let go at once: a progress bar should move. A private
key waits for its end. Whoever sends asks for what is held before anything else is said.
"""

from __future__ import annotations

import re

from rbkernel.redact.values import Redactor

# longer lines go on without their last part: no secret but a private key is longer than that
_LONGEST_TAIL = 4_096
_LONGEST_HELD = 65_536
_CONTEXT = 300
_HARMLESS = re.compile(r"[\s.·█▏▎▍▌▋▊▉]*")


class Carry:
    r"""One stream, such as the standard output of one cell.

    >>> carry = Carry(Redactor())
    >>> carry.take("a line\npassword=hun"), carry.take("ter2\n"), carry.rest()
    ('a line\n', 'password=[redacted:password]\n', '')
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def take(self, text: str) -> str:
        """Return what may go, redacted, and hold the rest."""
        whole = self._held + text
        cut, spans = _cut(whole), self._redactor.spans(whole)
        for start, end, _ in spans:
            # also one that reaches to the end, and may not be at its own
            open_end = end == len(whole) and end - start < _LONGEST_HELD
            if start < cut < end or (start < cut and open_end):
                # with what tells that it is one
                cut = max(_line(whole, start), start - _CONTEXT)
                break
        self._held = whole[cut:]
        let_go = whole[:cut]
        return self._redactor.text(let_go) if spans or ";base64," in let_go else let_go

    def rest(self) -> str:
        """Return all that is held, redacted."""
        held, self._held = self._held, ""
        return self._redactor.text(held)


def _cut(text: str) -> int:
    """Return where the part begins that a later message may go on with."""
    line = _line(text, len(text))
    if _HARMLESS.fullmatch(text, line):
        return len(text)
    return max(line, len(text) - _LONGEST_TAIL)


def _line(text: str, place: int) -> int:
    """Return where the line of a place begins."""
    return max(text.rfind("\n", 0, place), text.rfind("\r", 0, place)) + 1
