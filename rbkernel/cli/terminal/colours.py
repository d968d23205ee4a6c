"""Colour the verdicts in the text of a command. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

# bold red, yellow, green and magenta of the 16 colours, which every theme of a terminal defines
_COLOURS = {"CRITICAL": "1;31", "WARNING": "33", "OK": "32", "UNKNOWN": "35"}
_WORDS = "|".join(_COLOURS)
_VERDICT = re.compile(
    rf"(?m)^(?P<start>[ ]*)(?P<first>{_WORDS})\b|(?<=  )(?P<cell>{_WORDS.lower()})(?=  |$)"
)


def painted(text: str) -> str:
    """Return a text in which the verdicts at the start of a line or alone in a column have colours.

    >>> painted("OK 3 checks: a warning is text")
    '\\x1b[32mOK\\x1b[0m 3 checks: a warning is text'
    >>> painted("RUN-005  critical  open")
    'RUN-005  \\x1b[1;31mcritical\\x1b[0m  open'
    """
    return _VERDICT.sub(_painted, text)


def wanted(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether output has colours: on a terminal, unless NO_COLOR is set or it is dumb.

    >>> wanted({}, is_terminal=True), wanted({}, is_terminal=False)
    (True, False)
    >>> wanted({"NO_COLOR": "1"}, is_terminal=True), wanted({"TERM": "dumb"}, is_terminal=True)
    (False, False)
    """
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _painted(found: re.Match[str]) -> str:
    word = found["first"] or found["cell"]
    return f"{found['start'] or ''}\x1b[{_COLOURS[word.upper()]}m{word}\x1b[0m"
