"""Decompress and parse a sender's body within limits on size and nesting. Pure."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from pydantic_core import from_json

from rbkernel.errors import TooLarge, Unreadable

_GZIP = 16 + zlib.MAX_WBITS
_BOM = b"\xef\xbb\xbf"
_PLACE = re.compile(r"at (line \d+ column \d+)$")
_REASONS = {  # messages of the parser → our own messages
    "recursion limit": "the body is nested deeper than 200 levels",
    "number out of range": "a number has more than 4,300 digits",
}


def unpack(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a sender's body decompressed, if it is not too long.

    Parameters
    ----------
    body
        The body as received.
    encoding
        The header ``Content-Encoding``; empty, ``identity`` and ``gzip`` are known.
    most_bytes
        The maximum length of the result. No more than that is ever decompressed.

    Raises
    ------
    TooLarge
        The result would be longer.
    Unreadable
        The body does not have this encoding, or the encoding is unknown.

    >>> import gzip
    >>> unpack(gzip.compress(b"{}"), "gzip", 100), unpack(b"{}", "", 100)
    (b'{}', b'{}')
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip":
            return _gunzip(body, most_bytes)
        case _:
            raise Unreadable(
                "the Content-Encoding of the body is not supported",
                next_step="let the sender use gzip or no compression",
            )


def _gunzip(body: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Unreadable(
            f"the body is not gzip: {error}", next_step="look at the raw bytes"
        ) from error
    if len(plain) > most_bytes:
        raise TooLarge(
            f"the body is longer than {most_bytes} bytes when decompressed",
            where="Content-Encoding: gzip",
            next_step="let the sender send fewer alerts at once, or raise [gateway.limits] body_mb",
        )
    if not unpacker.eof or unpacker.unused_data:
        raise Unreadable(
            "the gzip stream of the body is truncated, or followed by other bytes",
            next_step="look at the raw bytes",
        )
    return plain


def parse(body: bytes) -> Any:
    """Parse a sender's body as strict JSON.

    The parser limits the depth (200 levels) and the digits of a number (4300), and rejects lone
    surrogates and NaN. For a duplicate key, the parser would silently take the last value. So
    duplicate keys are searched for afterwards and rejected.

    Raises
    ------
    Unreadable
        The body is not such JSON.

    >>> parse(b'{"a": [1]}')
    {'a': [1]}
    >>> parse(b"[" * 100_000)
    Traceback (most recent call last):
    ...
    rbkernel.errors.Unreadable: the body is nested deeper than 200 levels: line 1 column ...
    >>> parse(b'{"alerts": [1], "alerts": []}')
    Traceback (most recent call last):
    ...
    rbkernel.errors.Unreadable: an object has a duplicate key. Next: ...
    """
    text = body.removeprefix(_BOM)
    if not text.strip():
        raise _unreadable("the body is empty")
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        said = str(error)
        reason = next((ours for theirs, ours in _REASONS.items() if theirs in said), "")
        place = _PLACE.search(said)
        where = f": {place[1]}" if place else ""
        raise _unreadable((reason or "the body is not JSON") + where) from error
    json.loads(text, object_pairs_hook=_must_be_told_apart, strict=False)
    return value


def _must_be_told_apart(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _unreadable("an object has a duplicate key")


def _unreadable(what: str) -> Unreadable:
    return Unreadable(what, next_step="compare it with the sender's template")
