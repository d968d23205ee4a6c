r"""Make untrusted text safe to show in a page, a terminal, a log or a message. Pure functions.

A label, a table's name or a note may hold invisible characters that change how other text looks:
a terminal executes ESC sequences, U+202E reverses the rest of a line, zero-width characters make
two different names look alike. `visible` writes them as Python's escapes. Characters that a
script needs stay unchanged: joiners in emoji, in Persian and in Indic scripts, marks of
Arabic and Hebrew text, one variation selector after a character that has variants.

Only displayed text is changed. The record keeps every character.

>>> visible("db\x1b[2J\u202e1"), visible("a\nb\tc")
('db\\x1b[2J\\u202e1', 'a\nb\tc')
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import partial

_LONGEST_LINE = 600
_RTL = (
    "\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
)
# Characters that are invisible or control the text: Unicode's Cc, Cf, Cs, Zl and Zp, without the
# signs before Arabic and Kaithi numbers, plus the letters and marks that show nothing.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufdd0-\ufdef\ufff0-\ufffb\ufffe\uffff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_RIGHT_TO_LEFT = re.compile(f"[{_RTL}]")
# separators of names and values in a line; each name and value is isolated by itself
_RIGHT_TO_LEFT_PART = re.compile(f"[{_RTL}](?:[^=;·|\n]*[{_RTL}\u200c-\u200f])?")
_VIRAMA = 9  # Unicode's combining class of the marks that join Indic letters
_PILING = ("Mn", "Me")  # categories of marks that take no width
_PILE = re.compile(r"[^\w\s\x21-\u02ff]{6}")  # six non-Latin marks or signs
_MOST_MARKS = 5  # on one letter; Hebrew with vowels and accents needs this many
_JOINERS, _DIRECTION_MARKS = "\u200c\u200d", "\u200e\u200f\u061c"
_TEXT_STYLE, _EMOJI_STYLE = "\ufe0e", "\ufe0f"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{2,6}\U000e007f")
_LONGEST_FLAG = 8
_FIRST_STRONG, _ISOLATE_END = "\u2068", "\u2069"


def visible(text: str) -> str:
    r"""Return text with invisible characters written as escapes; line ends and tabs are kept.

    >>> visible("a\u200bb \x9b31m \ud800 \u2066x\u2069 \U000e0041")
    'a\\u200bb \\x9b31m \\ud800 \\u2066x\\u2069 \\U000e0041'
    >>> family, persian = "\U0001f468\u200d\U0001f469", "می\u200cخواهم"
    >>> visible(family) == family, visible(persian) == persian, visible("ad\u200dmin")
    (True, True, 'ad\\u200dmin')
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    if _UNSEEN.search(text):
        text = _UNSEEN.sub(partial(_shown, keep_direction=reads_from_right(text)), text)
    return _with_few_marks(text) if _PILE.search(text) else text


def one_line(text: str) -> str:
    r"""Return text as one line, for a title, a row or a log.

    >>> one_line("disk\nfull\x1b[1A"), one_line("  a \u2028 b ")
    ('disk full\\x1b[1A', 'a \\u2028 b')
    """
    return " ".join(visible(text).split())


def short_line(words: object, longest: int = _LONGEST_LINE) -> str:
    r"""Return untrusted text as one safe line of limited length; --json shows the full text.

    >>> short_line("a\x1b[31m\nb"), short_line("abcdef", 4)
    ('a\\x1b[31m b', 'abc…')
    """
    # names from senders may be very long
    text = one_line(str(words)[: longest * 10])
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def escape(text: str) -> str:
    r"""Return text as HTML; right-to-left text is isolated and cannot reorder text beside it.

    >>> escape("<b> \u202e"), escape("host=שלום עולם, 3 & 4")
    ('&lt;b&gt; \\u202e', 'host=<bdi>שלום עולם</bdi>, 3 &amp; 4')
    """
    return _with_isolates(visible(text), "<bdi>", "</bdi>", html.escape)


def isolated(text: str) -> str:
    r"""Return one line of text for a place without markup, such as a page's title.

    >>> isolated("a\u202eb"), isolated("שלום: 3") == "\u2068שלום\u2069: 3"
    ('a\\u202eb', True)
    """
    return _with_isolates(one_line(text), _FIRST_STRONG, _ISOLATE_END, str)


def _with_isolates(text: str, start: str, end: str, quote: Callable[[str], str]) -> str:
    """Put isolate marks around the right-to-left part of a text, first to last letter."""
    parts, done = [], 0
    for found in _RIGHT_TO_LEFT_PART.finditer(text):
        parts += [quote(text[done : found.start()]), start, quote(found[0]), end]
        done = found.end()
    return "".join([*parts, quote(text[done:])])


def reads_from_right(text: str) -> bool:
    """Tell whether a text has letters of a script that is written from right to left.

    >>> reads_from_right("abc"), reads_from_right("abc שלום")
    (False, True)
    """
    return _RIGHT_TO_LEFT.search(text) is not None


def _shown(found: re.Match[str], *, keep_direction: bool) -> str:
    """Return an invisible character unchanged if its neighbours need it, else as an escape."""
    character, text, at = found[0], found.string, found.start()
    before = text[at - 1 : at]
    if character in _JOINERS:
        fits = _joins(text, at)
    elif character in _DIRECTION_MARKS:
        fits = keep_direction
    elif "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        fits = _has_variant(before, character)
    elif "\u180b" <= character <= "\u180f":
        fits = "\u1820" <= before <= "\u18aa"  # Mongolian
    elif "\U000e0020" <= character <= "\U000e007f":
        fits = _is_in_a_flag(text, at)
    else:
        fits = False
    return character if fits else _escaped(character)


def _joins(text: str, at: int) -> bool:
    """Tell whether a zero-width joiner is part of an emoji or joins two letters."""
    last = text[max(0, at - 3) : at].rstrip(f"{_EMOJI_STYLE}{_SKIN_TONES}")[-1:]
    after = text[at + 1 : at + 2]
    if not last or last in _JOINERS:
        return False
    if unicodedata.combining(last) == _VIRAMA:
        return True
    if not after:
        return False
    if _is_pictograph(last):
        return text[at] == "\u200d" and _is_pictograph(after)
    return _is_of_a_joining_script(last) and _is_of_a_joining_script(after)


def _is_pictograph(character: str) -> bool:
    return unicodedata.category(character) in {"So", "Sk", "Sm", "Cn"}


def _is_of_a_joining_script(character: str) -> bool:
    """Tell whether joiners change letters of this letter's script, such as Arabic or Khmer.

    >>> [_is_of_a_joining_script(one) for one in "aяیक"]
    [False, False, True, True]
    """
    return (
        "\u0600" <= character <= "\u0dff"
        or "\u1000" <= character <= "\u109f"
        or "\u1780" <= character <= "\u18af"
        or "\ua840" <= character <= "\uabff"
        or "\U00010a00" <= character <= "\U00011fff"
    )


def _has_variant(before: str, selector: str) -> bool:
    """Tell whether a variation selector may follow a character.

    >>> _has_variant("❤", "\\ufe0f"), _has_variant("1", "\\ufe0f"), _has_variant("a", "\\ufe00")
    (True, True, False)
    """
    if not before or _UNSEEN.match(before):
        return False
    if selector in (_TEXT_STYLE, _EMOJI_STYLE):
        return before in "0123456789#*©®" or (before > "\u00ff" and not before.isalpha())
    is_chinese = unicodedata.name(before, "").startswith("CJK ")
    if selector >= "\U000e0100":
        return is_chinese
    has_forms = "\u1000" <= before <= "\u109f" or "\ua840" <= before <= "\ua877"
    return is_chinese or has_forms or unicodedata.category(before) == "Sm"


def _is_in_a_flag(text: str, at: int) -> bool:
    """Tell whether a Unicode tag character belongs to a complete flag emoji, such as Scotland's."""
    start = text.rfind("\U0001f3f4", max(0, at - _LONGEST_FLAG), at)
    found = _FLAG.match(text, start) if start >= 0 else None
    return found is not None and at < found.end()


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _with_few_marks(text: str) -> str:
    r"""Escape combining marks that would stack up and cover other lines.

    >>> _with_few_marks("e\u0301" + "\u0301" * 20).count("\\u0301")
    16
    """
    shown, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in _PILING else 0
        shown.append(character if marks <= _MOST_MARKS else _escaped(character))
    return "".join(shown)
