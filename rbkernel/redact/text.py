r"""Redact a text: known secrets and patterns, also inside colours and markup.

Each text is searched several times. The first search uses the raw text. The next searches use its
visible form: terminal colours and inline tags are removed, HTML entities and JSON escapes are
decoded, each table cell is a line, and backspaces erase characters. The last search finds known
secrets that are split by emphasis or line ends. The positions are mapped back to the raw text,
whose markup stays. Existing marks of rbkernel stay, too.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator

from rbkernel.redact.known import KnownSecrets
from rbkernel.redact.marks import inside
from rbkernel.redact.reading import CODED, ERASED, MARKUP, as_read, looks_written, roughly_as_read
from rbkernel.redact.rules import RULE_NAMES, pattern_spans
from rbkernel.redact.span import MASK, Span, mask, merged
from rbkernel.redact.split import split_spans


class TextRedactor:
    """Redacts texts, and counts the redactions by rule."""

    def __init__(self, known: KnownSecrets | None = None) -> None:
        self.known = known or KnownSecrets()
        self.counts: Counter[str] = Counter()

    def spans(self, text: str) -> list[Span]:
        """Return the spans to redact, sorted and without overlaps."""
        found = [*self._both(text)]
        rough = text
        if looks_written(text):
            rough = roughly_as_read(text)
            found += self._as_read(text, rough)
        if "<" in text and "&" in text:
            found += self._in_attributes(text)
        if "\b" in text:
            found += self._erased(text)
        if self.known.values:
            found += split_spans(self.known, text, rough)
        spans = merged(found)
        return self._without_own(text, spans) if spans and "[redacted:" in text else spans

    def first(self, text: str) -> Span | None:
        """Return one span to redact in binary data, or None."""
        return next(self._both(text), None)

    def text(self, text: str) -> str:
        """Return the text without its secrets; the same object if there are none.

        >>> TextRedactor().text("ALTER ROLE x PASSWORD 'geheim'; -- x")
        "ALTER ROLE x PASSWORD '[redacted:sql password]'; -- x"
        """
        spans = self.spans(text)
        return self.without(text, spans) if spans else text

    def without(self, text: str, spans: Iterable[Span]) -> str:
        """Return the text with these spans masked, and count the masks by rule."""
        parts, position = [], 0
        for start, end, rule in spans:
            self.counts[rule] += 1
            markup = "".join(m[0] for m in MARKUP.finditer(text, start, end) if m[0][0] in "\x1b<")
            parts += [text[position:start], mask(rule), markup]
            position = end
        return "".join([*parts, text[position:]])

    def _as_read(self, text: str, rough: str, levels: int = 2) -> Iterable[Span]:
        """Find secrets in the text without markup and escapes; escapes may be nested."""
        deeper = roughly_as_read(rough) if levels > 1 and "\\" in rough else rough
        shows = rough != text and any(True for _ in self._both(rough))
        shows_deeper = deeper != rough and any(True for _ in self._both(deeper))
        # the exact search is slow: it runs only if the rough search finds something
        if not (shows or shows_deeper):
            return
        plain, back = as_read(text)
        found = [*self._both(plain)]
        if shows_deeper:
            found += self._as_read(plain, deeper, levels - 1)
        for start, end, rule in found:
            yield Span(back(start), back(end, last=True), rule)

    def _erased(self, text: str) -> Iterable[Span]:
        plain, back = as_read(text, ERASED)
        for start, end, rule in self._both(plain):
            begin = back(start)
            # including erased characters
            while text[begin - 1 : begin] == "\b" and begin >= 2:
                begin -= 2
            yield Span(begin, back(end, last=True), rule)

    def _without_own(self, text: str, spans: Iterable[Span]) -> list[Span]:
        """Remove spans inside marks that an earlier redaction wrote."""
        own = [
            match.span()
            for match in MASK.finditer(text)
            if (name := match[0][len("[redacted:") : -1]) in RULE_NAMES or name in self.known.names
        ]
        return [span for span in spans if not inside(own, span.start, span.end)]

    def _in_attributes(self, text: str) -> Iterable[Span]:
        """Find known values in the attributes of tags, with any form of quotes."""
        if not any(True for _ in self.known.spans(html.unescape(text))):
            return
        plain, back = as_read(text, CODED)
        for start, end, rule in self.known.spans(plain):
            yield Span(back(start), back(end, last=True), rule)

    def _both(self, text: str) -> Iterator[Span]:
        yield from self.known.spans(text)
        yield from pattern_spans(text)
