"""What a body may be: packed or not, how long once unpacked, and JSON that is no trap. Pure."""

from __future__ import annotations

import zlib
from typing import Any

from pydantic_core import from_json

from rbkernel.errors import TooLarge, Unreadable

_GZIP = 16 + zlib.MAX_WBITS
_BOM = b"\xef\xbb\xbf"


def unpack(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a body as it was before it was packed.

    Parameters
    ----------
    body
        As received.
    encoding
        The header ``Content-Encoding``; empty, ``identity`` and ``gzip`` are known.
    most_bytes
        How long the result may be. Nothing beyond it is ever unpacked.

    Raises
    ------
    TooLarge
        It would be longer.
    Unreadable
        It is not what the header says, or nobody here can unpack it.

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
                "its Content-Encoding is not known",
                next_step="let the sender send gzip, or nothing packed",
            )


def _gunzip(body: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise Unreadable(f"it is not gzip: {error}", next_step="see the raw bytes") from error
    if len(plain) > most_bytes:
        raise TooLarge(
            f"it is longer than {most_bytes} bytes once unpacked",
            where="Content-Encoding: gzip",
            next_step="let the sender send fewer alerts at once, or raise [gateway.limits] body_mb",
        )
    if not unpacker.eof or unpacker.unused_data:
        raise Unreadable("its gzip stream is cut, or more follows it", next_step="see its bytes")
    return plain


def parse(body: bytes) -> Any:
    """Return the JSON value of a body.

    The parser bounds depth (200 levels) and the digits of a number (4300), and takes neither lone
    surrogates nor NaN, so that nothing behind it meets them.

    Raises
    ------
    Unreadable
        It is not such JSON.

    >>> parse(b'{"a": [1]}')
    {'a': [1]}
    >>> parse(b"[" * 100_000)
    Traceback (most recent call last):
    ...
    rbkernel.errors.Unreadable: recursion limit exceeded at line 1 column 202. Next: ...
    """
    try:
        return from_json(body.removeprefix(_BOM), allow_inf_nan=False)
    except ValueError as error:
        raise Unreadable(str(error), next_step="compare it with the sender's template") from error
