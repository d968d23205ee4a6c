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


def must_protect_token(url: str, *, query: bool = False) -> None:
    """Raise a ValueError if a secret that is sent to this address could be read on its way.

    The address may have a ``query`` only where it is used as it is.

    >>> must_protect_token("https://tickets.example.org/rest/api/2/issue")
    >>> must_protect_token("http://127.0.0.2:8081/token?p=ops", query=True)
    >>> must_protect_token("http://tickets.example.org")
    Traceback (most recent call last):
    ValueError: give an https address (http only on this machine), because a secret is sent there
    """
    parts = urlsplit(url)
    # the address is not repeated, because it may contain a password
    if "@" in parts.netloc:
        raise ValueError("the address would put a secret into the file: remove all before the @")
    host = parts.hostname or ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not (host and is_safe):
        raise ValueError(
            "give an https address (http only on this machine), because a secret is sent there"
        )
    if parts.fragment or (parts.query and not query):
        raise ValueError("give an address without a query (?) and without a fragment (#)")
