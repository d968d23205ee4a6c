"""Values that Python cannot represent: they are shown as PostgreSQL's text, with the reason.

Pure. The driver's loaders make an `AsText`; `notes` collects the reasons for a column; `plain` then
converts to ordinary text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

UNDECODABLE = "bytes that are not valid text in this encoding are shown as \\xNN"
NO_TIME = "a date or time that Python cannot hold is shown as text"
NO_LENGTH = "a month or year has no fixed length in seconds, so the interval is shown as text"
NO_INTERVAL = "an interval that Python cannot hold is shown as text"
NO_JSON = "JSON that Python cannot hold is shown as text"
NO_VALUE = "a value that Python cannot hold is shown as text"


class AsText(str):
    """A server's text for a value that Python cannot represent; `why` is the reason."""

    __slots__ = ("why",)
    why: str

    def __new__(cls, text: str, why: str) -> Self:
        """Create an `AsText` from the server's text and the reason."""
        made = super().__new__(cls, text)
        made.why = why
        return made


def decoded(data: bytes, encoding: str) -> str:
    r"""Decode text; bytes that cannot be decoded are written as escapes.

    >>> decoded(b"Zo\xc3\xab", "utf-8"), decoded(b"Zo\xeb", "utf-8")
    ('Zoë', 'Zo\\xeb')
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return AsText(data.decode(encoding, "backslashreplace"), UNDECODABLE)


def notes(values: Iterable[Any]) -> list[str]:
    """Return the reasons why some of the values are shown as text, without duplicates.

    >>> notes(["a", [1, AsText("infinity", NO_TIME)], None])
    ['a date or time that Python cannot hold is shown as text']
    """
    return list(dict.fromkeys(part.why for value in values for part in _odd(value)))


def plain(value: Any) -> Any:
    """Return a value with ordinary text instead of `AsText`; values inside a range stay unchanged.

    >>> type(plain(AsText("infinity", NO_TIME))), plain([AsText("24:00:00", NO_TIME)])
    (<class 'str'>, ['24:00:00'])
    """
    if isinstance(value, AsText):
        return str.__str__(value)
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, tuple):
        return tuple(plain(part) for part in value)
    return value


def _odd(value: Any) -> Iterator[AsText]:
    if isinstance(value, AsText):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _odd(part)
    elif hasattr(value, "lower_inc"):  # a range of the driver
        yield from _odd((value.lower, value.upper))
    elif hasattr(value, "_ranges"):  # a multirange of the driver
        yield from _odd(tuple(value))
