r"""Redact a text: what is known, what shows by its form, also through colours and markup.

Two looks at each text. The first takes it as it is. The second sees what a reader sees: terminal
colours and inline tags are gone, HTML entities and JSON escapes are decoded, a table's cell is a
line. Whatever it finds is carried back to the text as it is, and the markup there stays.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from rbkernel.redact.known import KnownSecrets
from rbkernel.redact.rules import pattern_spans
from rbkernel.redact.span import Span, mask, merged

# what stands inside a tag; a quoted attribute may hold what would end it
_INSIDE = r"(?:(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>|[^<>]*+>)"
_COMMENT = r"<!--(?:[^-]|-(?!->)){0,300}+-->"
_CODED = (
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
    r"|\\(?:u[0-9a-fA-F]{4}|x[0-7][0-9a-fA-F]|[\"'/\\])"
    r"|[\xad\u200b-\u200d\u2060\ufeff]"
)
_MARKUP = re.compile(
    rf"\x1b\[[0-?]*+[ -/]*+[@-~]|</?([A-Za-z][\w-]{{0,20}}+){_INSIDE}|{_COMMENT}|{_CODED}"
)
# the same where tags are no markup: for what stands in their attributes
_ONLY_CODED = re.compile(_CODED)
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "code", "em", "font", "i", "ins", "kbd", "mark", "s", "samp"}
    | {"small", "span", "strong", "sub", "sup", "tspan", "tt", "u", "var", "wbr"}
)
_INVISIBLE = re.compile("[\xad\u200b-\u200d\u2060\ufeff]")
_SIGNS = ("\x1b[", "<", "&", "\\")


class TextRedactor:
    """Redacts texts, and counts what it took by rule."""

    def __init__(self, known: KnownSecrets | None = None) -> None:
        self.known = known or KnownSecrets()
        self.counts: Counter[str] = Counter()

    def spans(self, text: str) -> list[Span]:
        """Return the places that must go, in order and apart."""
        found = [*self._both(text)]
        if any(sign in text for sign in _SIGNS) or not text.isascii():
            found += self._as_read(text)
        if "<" in text and "&" in text:
            found += self._in_attributes(text)
        return merged(found)

    def first(self, text: str) -> Span | None:
        """Return one place that must go, if there is any, in data that nobody reads as a text."""
        return next(self._both(text), None)

    def text(self, text: str) -> str:
        """Return the text without its secrets; the very same text where there are none.

        >>> TextRedactor().text("ALTER ROLE x PASSWORD 'geheim'; -- x")
        "ALTER ROLE x PASSWORD '[redacted:sql password]'; -- x"
        """
        spans = self.spans(text)
        return self.without(text, spans) if spans else text

    def without(self, text: str, spans: Iterable[Span]) -> str:
        """Put masks in the places of these spans, and count them."""
        parts, position = [], 0
        for start, end, rule in spans:
            self.counts[rule] += 1
            markup = "".join(m[0] for m in _MARKUP.finditer(text, start, end) if m[0][0] in "\x1b<")
            parts += [text[position:start], mask(rule), markup]
            position = end
        return "".join([*parts, text[position:]])

    def _as_read(self, text: str) -> Iterable[Span]:
        rough = _roughly_as_read(text)
        # the exact look, with its way back, is for the few texts that need it
        if rough == text or not any(True for _ in self._both(rough)):
            return
        plain, back = as_read(text)
        for start, end, rule in self._both(plain):
            yield Span(back(start), back(end, last=True), rule)

    def _in_attributes(self, text: str) -> Iterable[Span]:
        """Find known values in the attributes of tags, whose quotes may be written in any way."""
        if not any(True for _ in self.known.spans(html.unescape(text))):
            return
        plain, back = as_read(text, _ONLY_CODED)
        for start, end, rule in self.known.spans(plain):
            yield Span(back(start), back(end, last=True), rule)

    def _both(self, text: str) -> Iterator[Span]:
        yield from self.known.spans(text)
        yield from pattern_spans(text)


_COLOUR = re.compile(r"\x1b\[[0-?]*+[ -/]*+[@-~]")
_TAG = re.compile(rf"</?[A-Za-z]{_INSIDE}")
_NO_SPACE = re.compile(
    rf"{_COMMENT}|</?(?:{'|'.join(sorted(_INLINE))})(?=[\s/>]){_INSIDE}", re.IGNORECASE
)
_ESCAPE = re.compile(r"\\(?:[ux]((?<=u)[0-9a-fA-F]{4}|(?<=x)[0-7][0-9a-fA-F])|([\"'/\\]))")


def _roughly_as_read(text: str) -> str:
    """Return about what `as_read` does, ten times as fast."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if "<" in text:
        text = _TAG.sub("\n", _NO_SPACE.sub("", text))
    if "&" in text:
        text = html.unescape(text)
    if any(escape in text for escape in ('\\"', "\\'", "\\u", "\\x", "\\\\")):
        text = _ESCAPE.sub(_unescaped, text)
    return text if text.isascii() else _INVISIBLE.sub("", text)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2]


Back = Callable[..., int]


def as_read(text: str, markup: re.Pattern[str] = _MARKUP) -> tuple[str, Back]:
    r"""Return a text as it is read, and a function from its places to those in the text.

    >>> plain, back = as_read("a<b>b</b>&lt;c")
    >>> plain, back(2), back(3, last=True)
    ('ab<c', 9, 13)
    """
    parts: list[str] = []
    plain_at, text_at, length, position = [0], [0], 0, 0
    for match in markup.finditer(text):
        between, shown = match.start() - position, _shown(match)
        parts += [text[position : match.start()], shown]
        position = match.end()
        if shown:
            plain_at.append(length + between)
            text_at.append(match.start())
        length += between + len(shown)
        plain_at.append(length)
        text_at.append(position)
    parts.append(text[position:])

    def back(place: int, *, last: bool = False) -> int:
        """Return the place in the text; the end of a span ends before the markup that follows."""
        if last:
            return _end(back(place - 1), place)
        index = bisect_right(plain_at, place) - 1
        return text_at[index] + place - plain_at[index]

    def _end(start: int, place: int) -> int:
        index = bisect_right(plain_at, place - 1) - 1
        following = index + 1
        atomic = (
            following < len(plain_at)
            and plain_at[following] == place
            and text_at[following] - start > 1
            and markup.match(text, start)
        )
        return text_at[following] if atomic else start + 1

    return "".join(parts), back


def _shown(match: re.Match[str]) -> str:
    """Return what a reader sees of a piece of markup."""
    piece = match[0]
    if piece[0] == "\x1b" or piece.startswith("<!"):
        return ""
    if piece[0] == "<":
        return "" if match[1].lower() in _INLINE else "\n"
    shown = html.unescape(piece) if piece[0] == "&" else _ESCAPE.sub(_unescaped, piece)
    return "" if _INVISIBLE.fullmatch(shown) else shown
