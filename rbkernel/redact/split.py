r"""Find known secrets that are split by emphasis, a line end or a backspace.

A fast check excludes most texts: blanks, backslashes and the marks of emphasis are removed from the
text and from the secrets; if the text then contains no secret, it is not searched further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact import alone
from rbkernel.redact.known import KnownSecrets, places
from rbkernel.redact.reading import JOINED, as_read, unescaped
from rbkernel.redact.span import Span

_SHORTEST = 8
_SIGNS = b"*_~`\\"
_DROPPED = bytes(range(0x21)) + b"\x7f" + _SIGNS
_NO_SIGNS = str.maketrans("", "", "*_~`\\")
_NO_BLANKS = str.maketrans("", "", "*_~`\\ \t\r\n")
_BREAK = re.compile(r"(\w)\\?[ \t\r]*\n\s*(\w)|(\w)\\n(\w)")
_EMPHASIS = "*_~`"


def split_spans(known: KnownSecrets, text: str, rough: str) -> Iterator[Span]:
    """Find known secrets whose characters are interrupted by emphasis, a line end or a backspace.

    Parameters
    ----------
    known
        The secrets.
    text
        The text to search.
    rough
        The approximate visible form of the text, see `roughly_as_read`.
    """
    squeezed = _squeezed(rough)
    values = {
        form: name
        for value, name in known.values.items()
        for form in {value, unescaped(value)}
        if len(value) >= _SHORTEST and _squeezed(form) in squeezed
    }
    if values:
        plain, back = as_read(text, JOINED)
        for value, name in values.items():
            for form in {value.translate(_NO_SIGNS), value.translate(_NO_BLANKS)}:
                for start in places(plain, form):
                    span = Span(back(start), back(start + len(form), last=True), name)
                    if _is_value(value, text, span):
                        yield span


def _squeezed(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass").translate(None, _DROPPED)


def _is_value(value: str, text: str, span: Span) -> bool:
    """Tell whether a span is the value, not two separate words that form it by chance."""
    if not alone.needs_to_be_alone(value):
        return True
    breaks = _BREAK.findall(text, span.start, span.end)
    if breaks and value.isdigit():
        return False  # two numbers on two lines
    if any((a or c).isdigit() != (b or d).isdigit() for a, b, c, d in breaks):
        return False  # a word, and a number on the next line
    # the characters around the span may be the rest of the emphasis
    start = span.start - _emphasis(text[max(0, span.start - 3) : span.start][::-1])
    end = span.end + _emphasis(text[span.end : span.end + 3])
    return alone.as_word(text, start, end)


def _emphasis(around: str) -> int:
    return len(around) - len(around.lstrip(_EMPHASIS))
