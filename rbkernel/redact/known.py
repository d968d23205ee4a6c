"""Find known secrets in every form in which the output may contain them.

Some values are too common to be searched for: see `can_be_secret`. A value that may occur in other
words by chance counts only if it is a whole word: see `rbkernel.redact.alone`. A value that is not
searched for can still be found by the patterns of the other modules, which recognize a secret by
the words around it, such as ``password=``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from rbkernel.redact import alone
from rbkernel.redact.forms import SHORTEST_ENCODED, encodings, forms
from rbkernel.redact.marks import OWN, is_template
from rbkernel.redact.reading import unescaped
from rbkernel.redact.span import Span

SHORTEST = 4
# shorter words and shorter numbers occur in too many texts
_SHORTEST_PLAIN = 8
# minimum length of the rest of a value that tables, `reprlib` or `%whos` truncated
_CUT = ("...", "…", "<...>")
_SHORTEST_PIECE = 6
# base64 that continues in the next line; the line break may be an escape
_BASE64_LINE_END = re.compile(
    r"(?<=[A-Za-z0-9+/_-]{16})(?:(?:\\r)?\\n|\r?\n)(?=[A-Za-z0-9+/_=-]{2})"
)
# common words in texts about databases, in the record and in the kernel protocol
_COMMON = frozenset(
    {"rbkernel", "critical", "postgres", "postgresql", "localhost", "database", "databases"}
    | {"password", "passwords", "passwd", "username", "hostname", "changeme", "placeholder"}
    | {"redacted", "withheld", "production", "staging", "development", "sandbox", "required"}
    | {"disabled", "connection", "connections", "replication", "infinity", "undefined"}
)
_LONG_WORD = re.compile(r"[^\s<>\"',;]{9,}+")


def can_be_secret(value: str, public: Collection[str] = ()) -> bool:
    """Tell whether a value is uncommon enough to be searched for as a secret.

    rbkernel's marks, templates, short words, short numbers, common words and public names are not
    searched for. Public names are given in lower case.

    >>> [can_be_secret(one) for one in ("hunter2", "orders", "1234567", "12345678", "postgres")]
    [True, False, False, True, False]
    >>> can_be_secret("‹PLACEHOLDER: password›"), can_be_secret("Orders-db", {"orders-db"})
    (False, False)
    """
    if len(value) < SHORTEST or OWN.search(value) or is_template(value):
        return False
    if value.isascii() and (value.isdigit() or value.isalpha()) and len(value) < _SHORTEST_PLAIN:
        return False
    word = value.lower()
    return word not in _COMMON and word not in public


class _Form(NamedTuple):
    """A form of a known secret, and the test that it is a whole word (None: not needed)."""

    text: str
    name: str
    is_alone: Callable[[str, int, int], bool] | None
    encoded: bool = False


class KnownSecrets:
    """The known secrets, with the names of their sources: ``environment: ORDERS_DIAG_PASSWORD``."""

    def __init__(self) -> None:
        self._forms: dict[str, _Form] = {}
        self._words: tuple[_Form, ...] = ()
        self._others: tuple[_Form, ...] = ()
        self._encoded: tuple[_Form, ...] = ()
        self.values: dict[str, str] = {}
        self.names: set[str] = set()
        self.beyond_ascii = False
        self._public: set[str] = set()

    def learn(self, name: str, value: str, *, public: Collection[str] = ()) -> bool:
        """Remember a secret; return False if it cannot be searched for, or is already known.

        Parameters
        ----------
        name
            The name that the mask shows.
        value
            The secret; each of its lines is also remembered separately.
        public
            Words that are in the evidence anyway, such as the user's name. A value equal to one
            of these words is never remembered, from this call on.
        """
        self._public |= {word.lower() for word in public}
        if not can_be_secret(value, self._public):
            return False
        parts = {value, value.strip(), *(line.strip() for line in value.splitlines())}
        new = {
            part for part in parts if part not in self.values and can_be_secret(part, self._public)
        }
        for part in new:
            self.values[part] = name
            self.names.add(name)
            self.beyond_ascii |= not part.isascii()
            self._forms |= {form.text: form for form in _forms_of(part, name)}
        if new:
            self._order()
        return bool(new)

    def spans(self, text: str) -> Iterator[Span]:
        """Find all places of known secrets, in any form."""
        if not self._forms:
            return
        long = "\n".join(_LONG_WORD.findall(text))
        for form in self._words:
            if form.text in long:
                yield from _found(form, text)
        for form in self._others:
            yield from _found(form, text)
        if any(mark in text for mark in _CUT):
            yield from self._cut(text)
        if self._encoded:
            yield from self._wrapped(text)

    def _cut(self, text: str) -> Iterator[Span]:
        """Find known secrets that were truncated at their beginning, their end, or both."""
        for value, name in self.values.items():
            if len(value) < SHORTEST_ENCODED:
                continue
            head, tail = value[:_SHORTEST_PIECE], value[-_SHORTEST_PIECE:]
            loose = not alone.needs_to_be_alone(value)
            for start in places(text, head):
                end = start + _common(value, text, start)
                if text.startswith(_CUT, end) and (loose or alone.begins_word(text, start)):
                    yield Span(start, end, name)
            for start in places(text, tail):
                end = start + len(tail)
                start = end - _common(value[::-1], text[max(0, end - len(value)) : end][::-1], 0)
                if text[:start].endswith(_CUT) and (loose or alone.ends_word(text, end)):
                    yield Span(start, end, name)

    def _wrapped(self, text: str) -> Iterator[Span]:
        """Find known secrets in base64 that is broken into lines."""
        whole, back = _unwrapped(text)
        if whole is text:
            return
        for form in self._encoded:
            for start in places(whole, form.text):
                yield Span(back(start), back(start + len(form.text) - 1) + 1, form.name)

    def _order(self) -> None:
        ordered = sorted(self._forms.values(), key=lambda form: -len(form.text))
        self._words = tuple(form for form in ordered if _LONG_WORD.fullmatch(form.text))
        self._others = tuple(form for form in ordered if not _LONG_WORD.fullmatch(form.text))
        self._encoded = tuple(form for form in ordered if form.encoded)


def _forms_of(value: str, name: str) -> Iterator[_Form]:
    is_word = alone.needs_to_be_alone(value)
    for text in encodings(value):
        yield _Form(text, name, _encoded_check(text, value) if is_word else None, encoded=True)
    # the last form is the value after escapes were decoded
    for text in forms(value) | {unescaped(value)}:
        is_hex = is_word and _HEX.fullmatch(text) and text != value
        check = alone.in_hex if is_hex else alone.as_word if is_word else None
        yield _Form(text, name, check)


_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+|[0-9A-Fa-f]{2}(?:[ :]?[0-9A-Fa-f]{2})+")


def _encoded_check(text: str, value: str) -> Callable[[str, int, int], bool]:
    if _HEX.fullmatch(text) and text.lower() == value.encode("utf-8", "surrogatepass").hex():
        return alone.in_hex
    return lambda whole, start, end: alone.in_base64(whole, start, end, value)


def _found(form: _Form, text: str) -> Iterator[Span]:
    for start in places(text, form.text):
        end = start + len(form.text)
        if form.is_alone is None or form.is_alone(text, start, end):
            yield Span(start, end, form.name)


def places(text: str, piece: str) -> Iterator[int]:
    """Yield the positions of a piece in a text."""
    start = text.find(piece)
    while start >= 0:
        yield start
        start = text.find(piece, start + len(piece))


def _unwrapped(text: str) -> tuple[str, Callable[[int], int]]:
    r"""Join wrapped base64 into single lines; return the text, and a map of positions back.

    >>> whole, back = _unwrapped("x: QUJDREVGR0hJSktM\nTU5P\n")
    >>> whole, back(19)
    ('x: QUJDREVGR0hJSktMTU5P\n', 20)
    """
    parts: list[str] = []
    whole_at, text_at, position, length = [0], [0], 0, 0
    for end in _BASE64_LINE_END.finditer(text):
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
    """Return the number of the value's characters that match the text at this position."""
    length = 0
    while length < len(value) and text.startswith(value[length], start + length):
        length += 1
    return length
