"""Find secrets in HTTP headers other than ``Authorization``: ``X-Honeycomb-Team: …``.

A header whose name says that it is a key, such as ``X-API-Key``, holds a secret. Any other header
``X-…`` or ``…-Key`` holds a secret if its value looks random. A header whose name says that the
value is an identifier never holds a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rbkernel.redact.keyvalue import is_no_secret

NEEDLES = ("x-", "-key")
_HEADER = re.compile(
    r"(?<![\w.-])(X-[A-Za-z][\w-]{1,60}+|[A-Za-z][A-Za-z-]{1,60}-Key)[\"'\]]{0,2}"
    r"\s{0,3}(?:=>|[:=,])[ \t]{0,3}[\"']?([\w.~+/=-]{6,512}+)(?=[\"'\s,;\\&)}\]]|$)",
    re.IGNORECASE,
)
_KEY = re.compile(r"(?:^X-(?:.*-)?|.*-)(?:api-?)?(?:key|secret|art-api)\Z", re.IGNORECASE)
# names of public or identifying values: traces, hashes, builds, caches, SSH and TLS
_IDENTIFIES = re.compile(
    r"(?:\A|-)(?:\w*id|\w*trace\w*|spans?|digest|\w*hash|(?:content-)?sha\d*|md5|checksum|etag|commit"
    r"|revision|version|builds?|release|cache|surrogate|idempotency|dedup\w*|request|correlation"
    r"|fingerprint|partition|sort|primary|foreign|public|routing|group|object|host|user|client-cert"
    r"|websocket|lookup|row|message|event|signature|nonce|served|server|backend|host|pod|node)(?:-|\Z)",
    re.IGNORECASE,
)
_RANDOM = re.compile(
    r"(?=[^\d]*\d)(?:(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[\w+/=]{20,}+|[0-9a-f]{32,}+)\Z"
)

# `"X-API-Key": self.key`
_OF_CODE = re.compile(r"[a-z_]\w*(?:\.[A-Za-z_]\w*)+\Z")
_MIXED = re.compile(r"(?=[^\d]*\d)(?=[\d_-]*[A-Za-z])[\w-]{12,}+\Z")


def headers(text: str) -> Iterator[tuple[int, int]]:
    """Find the header values that are API keys; yield the start and end of each.

    >>> text = "X-Honeycomb-Team: hcaik01abcDEF23ghi45 X-Request-Id: 4f1c9aB24f1c9aB24f1c9aB2"
    >>> [text[start:end] for start, end in headers(text)]
    ['hcaik01abcDEF23ghi45']
    """
    for match in _HEADER.finditer(text):
        name, value = match.groups()
        if _IDENTIFIES.search(name) or is_no_secret(value) or _OF_CODE.match(value):
            continue
        of_team = name.lower().endswith("-team") and _MIXED.match(value)
        named = bool(_KEY.match(name)) and name[:2] in {"X-", "x-"} and value[0] not in "./"
        if named or of_team or _RANDOM.match(value):
            yield match.span(2)
