"""List every form in which texts may contain a known value. Pure."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

# shorter values occur inside too many words
SHORTEST_ENCODED = 8
_SHELL_SPECIAL = re.compile(r"[^\w@%+=:,./\x80-\U0010ffff-]", re.ASCII)


def forms(value: str) -> set[str]:
    """Return a value's forms: raw, quoted for URL, JSON, HTML, SQL and shell, and as bytes.

    >>> sorted(forms("a&b"))
    ['a%2526b', 'a%26b', 'a&amp;b', 'a&b', 'a\\\\&b']
    """
    escaped = json.dumps(value)[1:-1]
    quoted, in_html = quote(value, safe=""), html.escape(value)
    data = _bytes(value)
    found = {
        value,
        *(quoted, quote(value), _lower_hex(quoted), quote_plus(value), quote(quoted)),
        *(escaped, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(escaped)[1:-1]),
        *(repr(value)[1:-1], repr(data)[2:-1], _escaped(value, "\\x{:02x}")),
        *(in_html, html.escape(value, quote=False)),
        in_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
        value.replace("'", "''"),
        # shell quoting: quotes in quotes, `printf %q`, `$'…'`
        *(value.replace("'", "'\"'\"'"), value.replace("'", "'\\''")),
        *(_SHELL_SPECIAL.sub(r"\\\g<0>", value), _escaped(value, "\\{:03o}")),
        *(unicodedata.normalize(form, value) for form in ("NFC", "NFD")),
    }
    if len(data) >= SHORTEST_ENCODED:
        spaced, colons = data.hex(" "), data.hex(":")
        found |= {spaced, spaced.upper(), colons, colons.upper()}
        found.add("".join(f"\\x{byte:02x}" for byte in data))
        found |= {"".join(f"%{byte:{kind}}" for byte in data) for kind in ("02x", "02X")}
    return found


def _escaped(value: str, escape: str) -> str:
    """Return the value with each non-ASCII byte escaped; quotes and backslashes are unchanged."""
    return "".join(chr(byte) if byte < 0x80 else escape.format(byte) for byte in _bytes(value))


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", errors="surrogatepass")


def encodings(value: str) -> set[str]:
    """Return the base64 and hex forms of a value, as they occur inside encoded data.

    There are three base64 forms, one for each offset of the value in the data, modulo 3. They lack
    the characters at the edges, which also depend on the neighbouring bytes.

    >>> sorted(encodings("hunter2!"))
    ['68756E7465723221', '68756e7465723221', 'aHVudGVyMi', 'h1bnRlcjIh', 'odW50ZXIyI']
    """
    data = _bytes(value)
    if len(data) < SHORTEST_ENCODED:
        return set()
    cores = set(_base64_cores(data))
    return cores | {core.translate(_URL_SAFE) for core in cores} | {data.hex(), data.hex().upper()}


_URL_SAFE = str.maketrans("+/", "-_")


def _base64_cores(data: bytes) -> Iterator[str]:
    """Return the base64 of the data at each of three offsets, without the edge characters."""
    for offset, first in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        last = (offset + len(data)) * 8 // 6
        yield encoded[first:last]


def _lower_hex(quoted: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
