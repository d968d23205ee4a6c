r"""Convert a text to the form that a reader sees, and map positions back to the original.

`as_read` removes terminal colours, inline tags and invisible characters, and decodes HTML entities
and JSON escapes. With `JOINED` it also removes Markdown emphasis and line ends; with `ERASED` it
also removes the characters that backspaces erase.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable

# terminal sequences for colours, cursor and window titles, also written as escapes
TERMINAL = (
    r"\x1b\[[0-?]*+[ -/]*+[@-~]|\x1b\][^\x07\x1b\n]{0,1000}+(?:\x07|\x1b\\)|\x1b[=>78cDEHMNOPVWXZ]"
    r"|\x9b[0-?]*+[@-~]|\\(?:x1b|033|u001b|e)\[[0-9;]{0,20}+[A-Za-z]"
)
# zero-width characters, soft hyphens, marks of direction, variation selectors, control characters
INVISIBLE = (
    "[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
# the inside of a tag; a quoted attribute may contain `>`
_INSIDE = r"(?:(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>|[^<>]*+>)"
_COMMENT = r"<!--(?:[^-]|-(?!->)){0,300}+-->"
_CODED = (
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,16});"
    r"|\\(?:u[0-9a-fA-F]{4}|x[0-7][0-9a-fA-F]|[\"'/\\bnrt])"
    rf"|{INVISIBLE}"
)
_TAG = rf"</?([A-Za-z][\w-]{{0,20}}+){_INSIDE}"
MARKUP = re.compile(rf"{TERMINAL}|{_TAG}|{_COMMENT}|{_CODED}")
# the same, but tags are not removed: used to search their attributes
CODED = re.compile(_CODED)
# a line end with a backslash or blanks around it; Markdown emphasis and escapes
_LINE_END = r"\\?[ \t]*+(?:[\r\n\x0b\x0c\u0085\u2028\u2029]++[ \t]*+)++"
JOINED = re.compile(rf"{MARKUP.pattern}|{_LINE_END}|[*_~`\\\x08]")
# up to four characters, and the backspaces that erase them
ERASED = re.compile("|".join(f"[^\x08\n]{{{n}}}\x08{{{n}}}" for n in (4, 3, 2, 1)) + "|\x08")

_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "code", "em", "font", "i", "ins", "kbd", "mark", "s", "samp"}
    | {"small", "span", "strong", "sub", "sup", "tspan", "tt", "u", "var", "wbr", "del", "strike"}
)
_SIGNS = ("\x1b", "\x9b", "<", "&", "\\")
_TERMINAL = re.compile(TERMINAL)
_ANY_TAG = re.compile(rf"</?[A-Za-z]{_INSIDE}")
_NO_SPACE = re.compile(
    rf"{_COMMENT}|</?(?:{'|'.join(sorted(_INLINE))})(?=[\s/>]){_INSIDE}", re.IGNORECASE
)
_ESCAPE = re.compile(r"\\(?:[ux]((?<=u)[0-9a-fA-F]{4}|(?<=x)[0-7][0-9a-fA-F])|([\"'/\\bnrt]))")
_ESCAPES = ('\\"', "\\'", "\\u", "\\x", "\\\\", "\\/", "\\b", "\\n", "\\r", "\\t")
_CONTROLS = {"b": "\b", "n": "\n", "r": "\r", "t": "\t"}
_INVISIBLE = re.compile(INVISIBLE)

Back = Callable[..., int]


def looks_written(text: str) -> bool:
    """Tell whether the visible form of a text may differ from its characters, as with escapes."""
    return any(sign in text for sign in _SIGNS) or not text.isascii()


def unescaped(text: str) -> str:
    r"""Decode the JSON escapes in a text.

    >>> unescaped(r"a\"b\u0041")
    'a"bA'
    """
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def roughly_as_read(text: str) -> str:
    """Fast approximation of `as_read`, without the mapping of positions."""
    if any(sign in text for sign in ("\x1b", "\x9b", "\\x1b", "\\033", "\\u001b", "\\e[")):
        text = _TERMINAL.sub("", text)
    if "<" in text:
        text = _ANY_TAG.sub("\n", _NO_SPACE.sub("", text))
    if "&" in text:
        text = html.unescape(text)
    if any(escape in text for escape in _ESCAPES):
        text = _ESCAPE.sub(_unescaped, text)
    return text if text.isascii() else _INVISIBLE.sub("", text)


def as_read(text: str, markup: re.Pattern[str] = MARKUP) -> tuple[str, Back]:
    r"""Return the visible form of a text, and a function that maps its positions to the original.

    >>> plain, back = as_read("a<b>b</b>&lt;c")
    >>> plain, back(2), back(3, last=True)
    ('ab<c', 9, 13)
    >>> as_read("hun**ter**\n  2", JOINED)[0], as_read("hux\bnter2", ERASED)[0]
    ('hunter2', 'hunter2')
    """
    parts: list[str] = []
    plain_at, text_at, length, position = [0], [0], 0, 0
    for match in markup.finditer(text):
        between, shown = match.start() - position, _shown(match, markup)
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
        """Map a position to the original text; the end of a span excludes markup after it."""
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


def _shown(match: re.Match[str], markup: re.Pattern[str]) -> str:
    """Return the visible text of a piece of markup."""
    piece = match[0]
    if markup is ERASED:
        return ""
    if piece[0] == "<" and not piece.startswith("<!"):
        tag = match[1].lower()
        return "" if tag in _INLINE or (markup is JOINED and tag in {"br", "p", "div"}) else "\n"
    if piece[0] == "&":
        shown = html.unescape(piece)
    elif escape := _ESCAPE.fullmatch(piece):
        shown = _unescaped(escape)
    else:
        return ""
    dropped = _INVISIBLE.fullmatch(shown) or (markup is JOINED and shown in "\b\n\r")
    return "" if dropped else shown


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _CONTROLS.get(match[2], match[2])
