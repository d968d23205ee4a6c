"""Read X.509 certificates: names, issuer and times. Pure.

Python's ``ssl`` decodes a certificate only after it was verified, and one that has expired is not.
So the few fields that are needed are read from the DER encoding here (RFC 5280, section 4.1). What
is malformed raises ValueError, since a server may send anything.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

_SEQUENCE, _INTEGER, _OID, _OCTETS, _BOOLEAN = 0x30, 0x02, 0x06, 0x04, 0x01
_UTC_TIME, _TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_BMP_STRING = 0x1E
# id-ce-subjectAltName (2.5.29.17); attributes of names (2.5.4.n)
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_ATTRIBUTES = {bytes.fromhex("550403"): "CN", bytes.fromhex("55040a"): "O"}
_COMMON_NAME = "CN="


class _Item(NamedTuple):
    """An item of DER: its tag, its content, and where it ends."""

    tag: int
    content: bytes
    end: int


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate; ``names`` are its DNS names and IP addresses, and times are in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    starts_at: datetime
    expires_at: datetime
    sha256: str

    @property
    def common_name(self) -> str:
        """The common name of the subject; empty if it has none."""
        parts = self.subject.split(", ")
        return next((p.removeprefix(_COMMON_NAME) for p in parts if p.startswith(_COMMON_NAME)), "")

    def covers(self, host: str, *, common_name: bool = False) -> bool:
        """Return whether the certificate is for a host.

        Parameters
        ----------
        host
            A DNS name or an IP address.
        common_name
            Whether the common name counts if there is no DNS name, as it does for libpq.
        """
        names = self.names
        if common_name and not any(not _is_address(name) for name in names):
            names = (*names, self.common_name)
        return any(_matches(name, host) for name in names if name)


def read(der: bytes) -> Certificate:
    """Read a certificate.

    Raises
    ------
    ValueError
        The bytes are no certificate.
    """
    outer = _item(der, 0, _SEQUENCE)
    fields = list(_items(_item(outer.content, 0, _SEQUENCE).content))
    if fields and fields[0].tag == _VERSION:
        fields = fields[1:]
    try:
        serial, _, issuer, validity, subject, _, *rest = fields
    except ValueError:
        raise ValueError("the certificate has too few fields") from None
    if serial.tag != _INTEGER:
        raise ValueError("the certificate has no serial number")
    starts, expires = (_time(one) for one in _two(validity))
    return Certificate(
        subject=_name(subject),
        issuer=_name(issuer),
        names=tuple(_alternative_names(rest)),
        starts_at=starts,
        expires_at=expires,
        sha256=hashlib.sha256(der).hexdigest(),
    )


def _items(content: bytes) -> Iterator[_Item]:
    at = 0
    while at < len(content):
        one = _item(content, at)
        yield one
        at = one.end


def _item(data: bytes, at: int, tag: int | None = None) -> _Item:
    """Return the item at a place of DER; lengths of 128 and more have a length of their own."""
    if len(data) < at + 2:
        raise ValueError("the certificate is cut off")
    found, length, begin = data[at], data[at + 1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    end = begin + length
    if end > len(data):
        raise ValueError("the certificate is cut off")
    if tag is not None and found != tag:
        raise ValueError("these bytes are no certificate")
    return _Item(found, data[begin:end], end)


def _two(item: _Item) -> tuple[_Item, _Item]:
    found = list(_items(item.content))
    if len(found) != 2:
        raise ValueError("the certificate has no two times")
    return found[0], found[1]


def _time(item: _Item) -> datetime:
    """Return a time; UTCTime has two digits for the years 1950 to 2049."""
    text = item.content.decode("ascii", errors="replace")
    if item.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif item.tag != _TIME:
        raise ValueError("the certificate has no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(item: _Item) -> str:
    """Return common name and organization of a name, such as ``CN=shop.example, O=Shop``."""
    found = []
    for part in (one for parts in _items(item.content) for one in _items(parts.content)):
        kind, value = [*_items(part.content), None, None][:2]
        if kind and value and kind.tag == _OID and kind.content in _ATTRIBUTES:
            encoding = "utf-16-be" if value.tag == _BMP_STRING else "utf-8"
            text = value.content.decode(encoding, errors="replace")
            found.append(f"{_ATTRIBUTES[kind.content]}={text}")
    return ", ".join(sorted(found))


def _alternative_names(fields: list[_Item]) -> Iterator[str]:
    extensions = [
        one for field in fields if field.tag == _EXTENSIONS for one in _items(field.content)
    ]
    for extension in (one for each in extensions for one in _items(each.content)):
        parts = [one for one in _items(extension.content) if one.tag != _BOOLEAN]
        if len(parts) != 2 or parts[0].content != _ALTERNATIVE_NAMES or parts[1].tag != _OCTETS:
            continue
        for name in _items(_item(parts[1].content, 0, _SEQUENCE).content):
            if name.tag == _DNS_NAME:
                yield name.content.decode("ascii", errors="replace")
            elif name.tag == _IP_ADDRESS and len(name.content) in {4, 16}:
                yield str(ipaddress.ip_address(name.content))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _matches(name: str, host: str) -> bool:
    """Return whether a name of a certificate is for a host; ``*`` stands for one label (RFC 6125).

    >>> [_matches("*.shop.example", host) for host in ("api.shop.example", "a.b.shop.example")]
    [True, False]
    >>> _matches("Shop.example", "shop.example."), _matches("*.0.0.1", "127.0.0.1")
    (True, False)
    """
    if _is_address(host):
        return _is_address(name) and ipaddress.ip_address(name) == ipaddress.ip_address(host)
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    first, _, rest = host.partition(".")
    return name == host or (bool(first and rest) and name == f"*.{rest}")
