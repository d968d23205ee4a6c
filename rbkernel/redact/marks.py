"""Recognize texts that replace a secret: rbkernel's marks, references and placeholders."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Sequence

# the marks that rbkernel writes; a mark may be cut off at the end of a line
OWN = re.compile(
    r"‹PLACEHOLDER:[^‹›\n]*+›?|\[redacted:[^\[\]\n]{1,120}+\]|\[withheld: [^\[\]\n]{1,200}+\]?"
)
_OWN_SIGNS = ("‹PLACEHOLDER:", "[redacted:", "[withheld:")
# a variable, a template, a format, a parameter of SQL, a hint of documentation
_REFERENCE = (
    r"\$?\{\{[^\n]*?\}\}|\$\{[^}\n]*+\}|\$\([^)\n]*+\)|\$\w++|\{[^{}\s]*+\}|<%[^\n]*?%>|<[\w .-]++>"
    r"|%\w++%|%(?:\(\w++\))?[sd]|\*++|:\w++|:'\w++'|…|\\u2026|\.\.\.|\[[A-Za-z][A-Za-z _-]*+\]"
    r"|x{3,}+|&lt(?:;[\w .-]*+(?:&gt;?)?)?"
)
_WHOLE = re.compile(rf"(?:{_REFERENCE})\Z")
_FIRST = re.compile(rf"(?:{_REFERENCE})(?![\w.~}}-])")


def own_marks(text: str) -> list[tuple[int, int]]:
    """Return the spans of the masks and notes that rbkernel wrote into a text.

    >>> own_marks("password = ‹PLACEHOLDER: name›")
    [(11, 30)]
    """
    if not any(sign in text for sign in _OWN_SIGNS):
        return []
    return [match.span() for match in OWN.finditer(text)]


def inside(places: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Tell whether start and end are inside one of these sorted, separate spans.

    >>> inside([(2, 5), (9, 12)], 10, 12), inside([(2, 5), (9, 12)], 4, 6)
    (True, False)
    """
    index = bisect_right(places, (start, sys.maxsize)) - 1
    return index >= 0 and end <= places[index][1]


def is_reference(text: str, start: int = 0, end: int | None = None) -> bool:
    """Tell whether a value is a variable, a template or a placeholder.

    >>> [is_reference(value) for value in ("$PGPASSWORD", "{{ secret }}", "<password>", "$ecret-9")]
    [True, True, True, False]
    """
    return bool(_WHOLE.match(text, start, len(text) if end is None else end))


def reference_at(text: str, start: int) -> int:
    """Return the end of a reference that begins at this position; 0 if there is none.

    >>> reference_at("${PGPASSWORD:?missing} psql", 0)
    22
    """
    match = _FIRST.match(text, start)
    return match.end() if match else 0


_TEMPLATE = re.compile(r"\$?\{\{.*\}\}|\$[{(].*[})]|<[\w .-]+>|\{[\w.]*\}|[*•.…_-]+|\[\w+\]")


def is_template(value: str) -> bool:
    """Tell whether a value is a placeholder to fill in, and therefore not a secret.

    >>> [is_template(value) for value in ("${PGPASSWORD}", "<password>", "****", "$ecret-9")]
    [True, True, True, False]
    """
    return bool(_TEMPLATE.fullmatch(value.strip()))
