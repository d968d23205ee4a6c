r"""Hold back the end of a stream while it may be the beginning of a secret.

A text is released up to its last complete line. The unfinished line waits for the next message,
because a secret may continue there. Blanks and dots are released at once, so that progress bars
move. A private key is held until its end.

Text is held only briefly. When a program flushes, only a possible beginning of a secret is held
(`flushed`). After a short time, and before any other message is sent, all held text is released
(`rest`). The end of the sent text is kept and searched again together with the next text.
Therefore the second part of a secret is masked even if its first part was already sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rbkernel.redact.beginnings import begun
from rbkernel.redact.reading import as_read
from rbkernel.redact.rules import RULES
from rbkernel.redact.span import Span, merged
from rbkernel.redact.values import Redactor

# only this much of a long line is held: no secret except a private key is longer
_LONGEST_TAIL = 4_096
_LONGEST_HELD = 65_536
# maximum distance between a secret and the text before it that identifies it
_CONTEXT = 300
_HARMLESS = re.compile(r"[\s.·█▏▎▍▌▋▊▉]*")
# minimum length of a secret's beginning to be recognized; two characters may be shown
_SHORTEST_BEGINNING = 3
_SHORTEST_MASKED = 6


# words that stand before secrets, and the first digits of a card number
def _tells(needle: str) -> bool:
    """Tell whether a search word is distinctive; a part of a time (``9:``) or a dash is not.

    >>> [_tells(needle) for needle in ("password", "://", "$2", "9:", "--")]
    [True, True, True, False, False]
    """
    return any(map(str.isalpha, needle)) or needle.startswith(("://", "$"))


_NEEDLES = frozenset(filter(_tells, (n for rule in RULES for n in rule.needles))) | {"data:"}
_TELLING = re.compile("|".join(map(re.escape, sorted(_NEEDLES))) + r"|\d(?:[ -]?\d){5,19}$")


class Carry:
    r"""The held-back text of one stream, such as the standard output of one cell.

    >>> carry = Carry(Redactor())
    >>> carry.take("a line\npassword=hun"), carry.take("ter2\n"), carry.rest()
    ('a line\n', 'password=[redacted:password]\n', '')
    >>> carry.take("PGPASSWORD=hun"), carry.rest(), carry.take("ter2\n")
    ('', 'PGPASSWORD=[redacted:password]', '[redacted:password]\n')
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._sent = ""  # the end of the sent text, unredacted
        self._held = ""

    @property
    def holds(self) -> bool:
        """Whether some text is held back."""
        return bool(self._held)

    def take(self, text: str) -> str:
        """Add a text; return the part to send, redacted, and hold back the unfinished line."""
        whole = self._sent + self._held + text
        spans = self._redactor.spans(whole)
        return self._let_go(whole, spans, _cut(whole, len(self._sent)))

    def flushed(self) -> str:
        """Return the held-back text, redacted, up to a possible beginning of a secret."""
        if not self._held:
            return ""
        whole = self._sent + self._held
        spans = self._redactor.spans(whole)
        line = whole[_line(whole, len(whole)) :]
        telling = _TELLING.search(line.lower())
        starts = [telling.start() + len(whole) - len(line)] if telling else []
        starts += [span.start for span in self._beginnings(line, len(whole), _SHORTEST_BEGINNING)]
        return self._let_go(whole, spans, min([len(whole), *starts]))

    def rest(self) -> str:
        """Return all held-back text, redacted; a beginning of a known secret at its end is masked.

        After that, no text is held back.
        """
        if not self._held:
            return ""
        whole = self._sent + self._held
        spans = self._redactor.spans(whole)
        line = whole[_line(whole, len(whole)) :]
        beginnings = self._beginnings(line, len(whole), _SHORTEST_MASKED)
        self._held = ""
        return self._redacted(whole, [*spans, *beginnings], len(whole))

    def _beginnings(self, line: str, end: int, shortest: int) -> list[Span]:
        """Find beginnings of known secrets at the end of a line, in its raw and visible form."""
        values, offset = self._redactor.texts.known.values, end - len(line)
        plain, back = as_read(line)
        found = []
        if as_it_is := begun(line, values, shortest):
            found.append(as_it_is._replace(start=as_it_is.start + offset, end=end))
        if as_seen := begun(plain, values, shortest):
            found.append(as_seen._replace(start=back(as_seen.start) + offset, end=end))
        return found

    def _let_go(self, whole: str, spans: Sequence[Span], cut: int) -> str:
        """Release the text up to ``cut``, except a secret that may continue; hold back the rest."""
        for start, end, _ in spans:
            # a secret that reaches the end of the text may continue, too
            open_end = end == len(whole) and end - start < _LONGEST_HELD
            if start < cut < end or (start < cut and open_end):
                cut = start
                break
        cut = max(cut, len(self._sent))
        self._held = whole[cut:]
        return self._redacted(whole, spans, cut)

    def _redacted(self, whole: str, spans: Iterable[Span], cut: int) -> str:
        """Return the unsent text up to ``cut``, redacted, and mark it as sent."""
        sent = len(self._sent)
        new = whole[sent:cut]
        inside = [
            Span(max(start, sent) - sent, min(end, cut) - sent, rule)
            for start, end, rule in spans
            if start < cut and sent < end
        ]
        self._sent = whole[_context(whole, spans, cut) : cut]
        clean = self._redactor.texts.without(new, merged(inside)) if inside else new
        return self._redactor.text(clean) if ";base64," in clean else clean


def _cut(text: str, sent: int) -> int:
    """Return the position from which the text must be held back: a secret may continue there.

    It is the start of the unfinished line, or at least `_LONGEST_TAIL` characters before the end.
    If the line consists of harmless characters, nothing is held back.
    """
    line = max(_line(text, len(text)), sent)
    if _HARMLESS.fullmatch(text, line):
        return len(text)
    return max(line, len(text) - _LONGEST_TAIL)


def _context(text: str, spans: Iterable[Span], cut: int) -> int:
    """Return the start of the text before ``cut`` that must be kept.

    It is searched again together with the text after ``cut``, so that a secret that continues there
    is recognized.
    """
    places = [cut - _CONTEXT, max(_line(text, cut), cut - _LONGEST_TAIL)]
    places += [start - _CONTEXT for start, end, _ in spans if start < cut <= end]
    return max(0, cut - _LONGEST_HELD, min(places))


def _line(text: str, place: int) -> int:
    """Return the start of the line that contains a position."""
    return max(text.rfind("\n", 0, place), text.rfind("\r", 0, place)) + 1
