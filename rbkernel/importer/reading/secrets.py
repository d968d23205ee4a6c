"""Remove secrets from a source before it is converted, and list what was removed.

Pure. Notebooks are shared, run and kept; a password in the Markdown file would be in each of them.
The same rules keep secrets out of the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rbkernel.importer.reading import holes, source
from rbkernel.redact.rules import pattern_spans
from rbkernel.redact.span import merged
from rbkernel.runbook.placeholders import placeholder

# a value that is put in when it is run is none yet
_PUT_IN = re.compile(r"\$[({\w]|`|\{\{|‹")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A secret that was removed: its line, counted from 0, and the rule that found it."""

    line: int
    rule: str

    def __str__(self) -> str:
        """Return one line for people; it does not contain the secret."""
        return f"line {self.line + 1}: a secret ({self.rule}) was removed from the notebook"


def taken_out(lines: Sequence[str]) -> tuple[tuple[str, ...], list[Found]]:
    r"""Replace each secret by a placeholder; line numbers do not change.

    >>> lines, found = taken_out(["# T\n", "export PGPASSWORD=hunter2hunter\n"])
    >>> lines[1], str(found[0])
    ('export PGPASSWORD=‹PLACEHOLDER: secret›\n', 'line 2: a secret (password) was removed ...')
    """
    text = "".join(lines)
    found: list[Found] = []
    parts: list[str] = []
    position = 0
    for start, end, rule in merged(pattern_spans(text)):
        secret = text[start:end]
        if _PUT_IN.search(secret) or holes.find(secret):
            continue
        found.append(Found(line=len(_LINE_END.findall(text, 0, start)), rule=rule))
        parts += [text[position:start], placeholder("secret"), *_LINE_END.findall(secret)]
        position = end
    return source.split("".join([*parts, text[position:]])), found
