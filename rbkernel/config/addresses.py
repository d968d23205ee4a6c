"""Check the addresses in the configuration to which a secret is sent. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine only.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "", "db1")]
    [True, True, True, False, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def must_protect_token(url: str) -> None:
    """Raise a ValueError if a token that is sent to this address could be read on its way.

    >>> must_protect_token("https://tickets.example.org/rest/api/2/issue")
    >>> must_protect_token("http://tickets.example.org")
    Traceback (most recent call last):
    ValueError: url: give an https address, because the token is sent there
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https" or is_loopback(parts.hostname or "")
    if parts.scheme not in {"http", "https"} or not parts.netloc or not secure or parts.query:
        raise ValueError("url: give an https address, because the token is sent there")
    if "@" in parts.netloc:
        raise ValueError("url would put a secret into the file: name a variable, token_env")
