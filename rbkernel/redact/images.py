"""Remove metadata from pictures: text, EXIF, thumbnails, comments, colour profiles.

Only PNG and JPEG are supported; every other binary format is withheld, because its contents are not
known. The visible content of a picture is not searched.
"""

from __future__ import annotations

import base64
import binascii

_PNG = b"\x89PNG\r\n\x1a\n"
# PNG specification, third edition: the chunks that affect the look of the picture, and animation
_KEPT_CHUNKS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD"}
    | {b"pHYs", b"cICP", b"acTL", b"fcTL", b"fdAT"}
)
_JPEG = b"\xff\xd8"
_SCAN, _END, _STUFFED = 0xDA, 0xD9, {0x00, *range(0xD0, 0xD8)}
_KEPT_SEGMENTS = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF})
# APP0 of JFIF without its thumbnail, and Adobe's APP14, which tells the colour space
_KEPT_APPS = {(0xE0, b"JFIF\0", 16), (0xEE, b"Adobe", 14)}


def plain_picture(data: bytes) -> bytes:
    """Return a PNG or JPEG without its metadata.

    Raises
    ------
    ValueError
        The bytes are neither PNG nor JPEG, or are damaged.
    """
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_JPEG):
        return _jpeg(data)
    raise ValueError("neither PNG nor JPEG")


def plain_base64(text: str) -> str:
    """Remove the metadata of a base64 PNG or JPEG; return the text unchanged if it has none.

    Raises
    ------
    ValueError
        The text is not base64, or not a PNG or JPEG.
    """
    data = decoded(text)
    plain = plain_picture(data)
    return text if plain == data else base64.b64encode(plain).decode()


def decoded(text: str) -> bytes:
    """Decode base64 that may be broken into lines.

    Raises
    ------
    ValueError
        The text is not base64.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _png(data: bytes) -> bytes:
    kept, position = [_PNG], len(_PNG)
    while position < len(data):
        size = int.from_bytes(data[position : position + 4])
        kind, end = data[position + 4 : position + 8], position + 12 + size
        if end > len(data):
            raise ValueError("a chunk of the PNG is cut off")
        if kind in _KEPT_CHUNKS:
            kept.append(data[position:end])
        position = end
        if kind == b"IEND":
            break  # any bytes after this chunk are not part of the picture
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, position = [_JPEG], len(_JPEG)
    while True:
        if data[position : position + 1] != b"\xff" or position + 4 > len(data) + 2:
            raise ValueError("a segment of the JPEG is cut off")
        kind = data[position + 1]
        if kind == _END:
            return b"".join([*kept, b"\xff\xd9"])
        size = int.from_bytes(data[position + 2 : position + 4])
        end = position + 2 + size
        if size < 2 or end > len(data):
            raise ValueError("a segment of the JPEG is cut off")
        if kind == _SCAN:
            end = _end_of_scan(data, end)
        if kind in _KEPT_SEGMENTS or _is_kept_app(kind, data[position:end]):
            kept.append(data[position:end])
        position = end


def _is_kept_app(kind: int, segment: bytes) -> bool:
    return any(
        kind == app and segment[4:].startswith(name) and len(segment) == size + 2
        for app, name, size in _KEPT_APPS
    )


def _end_of_scan(data: bytes, position: int) -> int:
    """Return the position of the JPEG marker that follows the picture's data."""
    while (position := data.find(b"\xff", position)) >= 0:
        if position + 1 < len(data) and data[position + 1] not in _STUFFED | {0xFF}:
            return position
        position += 1
    raise ValueError("the picture's data has no end")
