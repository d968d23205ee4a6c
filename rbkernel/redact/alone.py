"""Decide whether a found value is a whole word or number, or part of a longer one.

A known password of digits must not mask digits of a longer number, and a password that is a plain
word must not mask letters of a longer word. The characters around a value are checked as text; in
base64 and hex, the decoded characters are checked.
"""

from __future__ import annotations

import base64
import binascii
import re

# a value with letters of at least this length is never part of another word by chance
_LONG = 12
# words of at least three letters, and numbers; joined directly, by a hyphen or an underscore
_PLAIN = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{3,}|\d+)(?:[_-]?(?:[A-Z]?[a-z]{2,}|[A-Z]{3,}|\d+))*")
# prefixes that end in a letter or a digit, but are not part of the word after them
_ESCAPE = re.compile(
    r"(?:\\[abefnrtv0]|%[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\x1b\[[\d;]{0,20}m)\Z"
)
# `0.12345678`, and a position in the write-ahead log: `2A/12345678`
_NUMBER_BEFORE = re.compile(r"(?:\d\.|(?<![\w/])[0-9A-F]{1,8}/)\Z")
_NUMBER_AFTER = re.compile(r"\.\d")


def needs_to_be_alone(value: str) -> bool:
    """Tell whether longer words may contain a value by chance, so that only whole words are masked.

    >>> [needs_to_be_alone(value) for value in ("12345678", "production", "hunter2", "c4n&ry-Tr0u")]
    [True, True, True, False]
    """
    if value.isdigit() or len(value) < 8:
        return True
    return len(value) < _LONG and bool(_PLAIN.fullmatch(value))


def as_word(text: str, start: int, end: int) -> bool:
    r"""Tell whether the text between these positions is a whole word or number.

    >>> as_word("wal_bytes 9123456780", 11, 19), as_word("pw 12345678.", 3, 11)
    (False, True)
    """
    if not (begins_word(text, start) and ends_word(text, end)):
        return False
    if not text[start:end].isdigit():
        return True
    before = _NUMBER_BEFORE.search(text, max(0, start - 10), start)
    return not (before or _NUMBER_AFTER.match(text, end))


def begins_word(text: str, start: int) -> bool:
    """Tell whether a word begins here, instead of continuing from the text before this position."""
    if not _goes_on(text[start : start + 1], text[start - 1 : start] if start else ""):
        return True
    return bool(_ESCAPE.search(text, max(0, start - 24), start))


def ends_word(text: str, end: int) -> bool:
    """Tell whether a word ends here, instead of continuing after this position."""
    return not _goes_on(text[end - 1 : end], text[end : end + 1])


def _goes_on(edge: str, beyond: str) -> bool:
    return _is_word(edge) and _is_word(beyond)


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def in_hex(text: str, start: int, end: int) -> bool:
    """Tell whether a value in hex is a whole word: the bytes around it belong to other words.

    >>> as_hex = b"id 9123456780".hex()
    >>> in_hex(as_hex, as_hex.find("31"), as_hex.find("31") + 16)
    False
    """
    separator = text[start + 2 : start + 3] if text[start + 2 : start + 3] in {" ", ":"} else ""
    before, after = text[max(0, start - 2 - len(separator)) : start], text[end : end + 3]
    return not (
        _is_hex_of_word(before[:2] if before[2:] == separator else "")
        or _is_hex_of_word(after.removeprefix(separator)[:2] if separator else after[:2])
    )


def _is_hex_of_word(pair: str) -> bool:
    try:
        return len(pair) == 2 and _is_word(chr(int(pair, 16)))
    except ValueError:
        return False


def in_base64(text: str, start: int, end: int, value: str) -> bool:
    """Tell whether a value is a whole word in the text that the surrounding base64 encodes.

    >>> one, more = (base64.b64encode(data).decode() for data in (b"u:12345678", b"9123456780"))
    >>> in_base64(one, 3, 14, "12345678"), in_base64(more, 2, 12, "12345678")
    (True, False)
    """
    for shift in (0, 2, 3):
        first = start - shift
        if first < 0:
            continue
        run = text[max(0, first - 4) if first >= 4 else first : end + 8]
        decoded = _decoded(run)
        place = decoded.find(value)
        if place >= 0:
            return as_word(decoded, place, place + len(value))
    return True


def _decoded(run: str) -> str:
    """Decode the base64 at the beginning of a text."""
    match = re.match(r"[A-Za-z0-9+/_-]*", run)
    letters = (match[0] if match else "").translate(str.maketrans("-_", "+/"))
    whole = letters[: len(letters) // 4 * 4]
    rest = letters[len(whole) :]
    padded = whole + (rest + "=" * (4 - len(rest)) if len(rest) > 1 else "")
    try:
        return base64.b64decode(padded).decode("latin-1")
    except binascii.Error:
        return ""
