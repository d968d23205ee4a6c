"""The values that are known to be secrets, and every form in which they may leave.

A value shorter than eight characters, or a number, is found as a whole word only, one shorter than
four characters not at all: its letters are everywhere, and every text would be blackened. The
patterns still see it where the words around it tell.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator

from rbkernel.redact.forms import SHORTEST_ENCODED, encodings, forms
from rbkernel.redact.span import Span

SHORTEST = 4
_SHORTEST_INSIDE_WORDS = SHORTEST_ENCODED
# what tables, `reprlib` and `%whos` leave of a value that they cut
_CUT = ("...", "…", "<...>")
_SHORTEST_PIECE = 6
# base64 goes on in the next line, also where that stands as an escape in a text
_LINE_END = re.compile(r"(?:\\r)?\\n|\r?\n")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/_-]{16}")
_BASE64_GOES_ON = re.compile(r"[A-Za-z0-9+/_=-]{2}")
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
            for start in _places(text, form):
                yield Span(start, start + len(form), name)
        if self._words:
            for match in self._words.finditer(text):
                yield Span(*match.span(), self._forms[match[0]])
        if any(mark in text for mark in _CUT):
            yield from self._cut(text)
        if self._encoded:
            yield from self._wrapped(text)

    def _cut(self, text: str) -> Iterator[Span]:
        """Find what a cut has left of a value: its beginning, its end, or both."""
        for value, name in self._values.items():
            if len(value) < _SHORTEST_INSIDE_WORDS:
                continue
            head, tail = value[:_SHORTEST_PIECE], value[-_SHORTEST_PIECE:]
            for start in _places(text, head):
                end = start + _common(value, text, start)
                if text.startswith(_CUT, end):
                    yield Span(start, end, name)
            for start in _places(text, tail):
                end = start + len(tail)
                start = end - _common(value[::-1], text[max(0, end - len(value)) : end][::-1], 0)
                if text[:start].endswith(_CUT):
                    yield Span(start, end, name)

    def _wrapped(self, text: str) -> Iterator[Span]:
        """Find values in base64 that is broken into lines."""
        whole, back = _unwrapped(text)
        if whole is text:
            return
        for form in self._encoded:
            for start in _places(whole, form):
                yield Span(back(start), back(start + len(form) - 1) + 1, self._forms[form])

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


def _places(text: str, piece: str) -> Iterator[int]:
    start = text.find(piece)
    while start >= 0:
        yield start
        start = text.find(piece, start + len(piece))


def _unwrapped(text: str) -> tuple[str, Callable[[int], int]]:
    r"""Return a text whose base64 stands in one line each, and the way back; itself if it does.

    >>> whole, back = _unwrapped("x: QUJDREVGR0hJSktM\nTU5P\n")
    >>> whole, back(19)
    ('x: QUJDREVGR0hJSktMTU5P\n', 20)
    """
    parts: list[str] = []
    whole_at, text_at, position, length = [0], [0], 0, 0
    for end in _LINE_END.finditer(text):
        before = max(position, end.start() - 16)
        if _BASE64_LINE.fullmatch(text, before, end.start()) and _BASE64_GOES_ON.match(
            text, end.end()
        ):
            parts.append(text[position : end.start()])
            length += end.start() - position
            position = end.end()
            whole_at.append(length)
            text_at.append(position)

    def back(place: int) -> int:
        index = bisect_right(whole_at, place) - 1
        return text_at[index] + place - whole_at[index]

    return ("".join([*parts, text[position:]]) if parts else text), back


def _common(value: str, text: str, start: int) -> int:
    """Return how many characters of the value stand in the text from there on."""
    length = 0
    while length < len(value) and text.startswith(value[length], start + length):
        length += 1
    return length
