"""The values that are known to be secrets, and every form in which they may leave.

A value shorter than eight characters, or a number, is found as a whole word only, one shorter than
four characters not at all: its letters are everywhere, and every text would be blackened. The
patterns still see it where the words around it tell.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Collection, Iterator
from urllib.parse import quote, quote_plus

from rbkernel.redact.span import Span

SHORTEST = 4
_SHORTEST_INSIDE_WORDS = 8
# what a printed table leaves of a value that it cuts
_CUT = ("...", "…")
# words that the record and the protocol of kernels are made of
_OURS = frozenset(
    {"stdout", "stderr", "error", "aborted", "busy", "idle", "python", "rbkernel", "jupyter"}
    | {"critical", "warning", "unknown", "true", "false", "null", "none", "postgres", "localhost"}
)
_LONG_WORD = re.compile(r"[^\s<>\"',;]{9,}+")


class KnownSecrets:
    """Secrets by the name of their source, such as ``environment: ORDERS_DIAG_PASSWORD``."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}
        self._ordered: tuple[tuple[str, str], ...] = ()
        self._values: dict[str, str] = {}
        self._encoded: set[str] = set()
        self.beyond_ascii = False
        self._words: re.Pattern[str] | None = None

    def learn(self, name: str, value: str, *, public: Collection[str] = ()) -> bool:
        """Remember a secret; False when it is none that can be searched for, or known already.

        Parameters
        ----------
        name
            What to call it in the mask.
        value
            The secret; each line of it counts by itself, too.
        public
            Words that stand in the evidence anyway, such as the user's name.
        """
        parts = {value, value.strip(), *(line.strip() for line in value.splitlines())}
        new = {
            part
            for part in parts
            if len(part) >= SHORTEST
            and part not in self._values
            and part not in public
            and part.lower() not in _OURS
        }
        for part in new:
            self._values[part] = name
            self.beyond_ascii |= not part.isascii()
            encoded = encodings(part)
            self._encoded |= encoded
            self._forms |= dict.fromkeys(forms(part) | encoded, name)
        if new:
            self._order()
        return bool(new)

    def spans(self, text: str) -> Iterator[Span]:
        """Find all places where a known secret stands, in any form."""
        long = "\n".join(_LONG_WORD.findall(text)) if self._ordered else ""
        for form, name in self._ordered:
            if form in self._encoded and form not in long:
                continue
            start = text.find(form)
            while start >= 0:
                yield Span(start, start + len(form), name)
                start = text.find(form, start + len(form))
        if self._words:
            for match in self._words.finditer(text):
                yield Span(*match.span(), self._forms[match[0]])
        if any(mark in text for mark in _CUT):
            yield from self._cut(text)

    def _cut(self, text: str) -> Iterator[Span]:
        for value, name in self._values.items():
            if len(value) < _SHORTEST_INSIDE_WORDS:
                continue
            start = text.find(value[:6])
            while start >= 0:
                end = start + _common(value, text, start)
                if text.startswith(_CUT, end):
                    yield Span(start, end, name)
                start = text.find(value[:6], end)

    def _order(self) -> None:
        long = [item for item in self._forms.items() if len(item[0]) >= _SHORTEST_INSIDE_WORDS]
        self._ordered = tuple(sorted(long, key=lambda item: -len(item[0])))
        short = sorted(
            (form for form in self._forms if len(form) < _SHORTEST_INSIDE_WORDS), key=len
        )
        words = "|".join(re.escape(form) for form in reversed(short))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None


def _is_word(form: str) -> bool:
    """Tell whether a form is so short, or so plain a number, that it counts as a word only."""
    return len(form) < _SHORTEST_INSIDE_WORDS or (form.isdigit() and len(form) < _LONG_NUMBER)


_LONG_NUMBER = 16


def forms(value: str) -> set[str]:
    """Return the value as texts carry it: raw, URL-, JSON-, HTML-, SQL- and shell-quoted.

    >>> sorted(forms("a&b c"))
    ['a%26b%20c', 'a%26b+c', 'a&amp;b c', 'a&b c']
    """
    escaped = json.dumps(value)[1:-1]
    return {
        value,
        quote(value, safe=""),
        quote(value),
        _lower_hex(quote(value, safe="")),
        quote_plus(value),
        escaped,
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(escaped)[1:-1],
        repr(value)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        value.replace("'", "''"),
        shlex.quote(value)[1:-1] if "'" in value else value,
    }


def encodings(value: str) -> set[str]:
    """Return what of the value is always seen in base64 and hex, wherever in the data it stands.

    >>> sorted(encodings("hunter2!"))
    ['68756E7465723221', '68756e7465723221', 'aHVudGVyMi', 'h1bnRlcjIh', 'odW50ZXIyI']
    """
    data = value.encode("utf-8", errors="surrogatepass")
    if len(data) < _SHORTEST_INSIDE_WORDS:
        return set()
    cores = set(_base64_cores(data))
    return cores | {core.translate(_URL_SAFE) for core in cores} | {data.hex(), data.hex().upper()}


_URL_SAFE = str.maketrans("+/", "-_")


def _base64_cores(data: bytes) -> Iterator[str]:
    """Return what base64 makes of the data wherever it begins, without the edges it shares."""
    for offset, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        last = (offset + len(data)) * 8 // 6
        yield encoded[first:last]


def _lower_hex(quoted: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)


def _common(value: str, text: str, start: int) -> int:
    """Return how many characters of the value stand in the text from there on."""
    length = 0
    while length < len(value) and text.startswith(value[length], start + length):
        length += 1
    return length
