"""Read `[pages.proxy]`: the proxy that says who a person is."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from rbkernel.config.people import NamesPeople, Said

_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", re.ASCII)
# browsers send these, or a proxy adds them to every request, whoever sends it
_TAKEN = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "cookie"),
        *("date", "forwarded", "host", "origin", "referer", "te", "transfer-encoding", "upgrade"),
        *("user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
        *("x-real-ip", "sec-fetch-site"),
    }
)


class Proxy(NamesPeople):
    """A proxy in front of the pages that authenticates people and sends their names.

    ``header`` holds the name of the person. It counts only in requests from one of the
    ``addresses`` (IP addresses or networks) with the shared secret in ``secret_header``. The secret
    comes from the variable ``secret_env`` or from ``secret_file``.
    """

    identity: ClassVar[Said] = "proxy"

    header: str = "X-Forwarded-User"
    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    secret_header: str = "X-Rbkernel-Proxy-Secret"  # noqa: S105  # the name of a header

    @field_validator("header", "secret_header")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
            raise ValueError(
                f"{name!r} is not the name of a header that only the proxy sends: use one such as"
                " X-Forwarded-User"
            )
        return name

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for one in addresses:
            try:
                network = ipaddress.ip_network(one)
            except ValueError as error:
                raise ValueError(
                    f"{error}: give IP addresses or networks such as 10.0.0.5 or 10.0.1.0/28"
                ) from error
            if network.prefixlen == 0:
                raise ValueError(f"{one} is every address: name those of the proxy")
        return addresses

    @model_validator(mode="after")
    def _two_headers(self) -> Proxy:
        if self.header.lower() == self.secret_header.lower():
            raise ValueError("header and secret_header must be two headers")
        return self

    def sends(self, peer: str) -> bool:
        """Return whether requests from a peer's address may say who a person is.

        >>> proxy = Proxy(addresses=("10.0.0.5", "10.0.1.0/28"), secret_env="S")
        >>> [proxy.sends(peer) for peer in ("10.0.0.5", "::ffff:10.0.1.3", "10.0.0.6", "", "@")]
        [True, True, False, False, False]
        """
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:  # a UNIX socket has no address
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in ipaddress.ip_network(one) for one in self.addresses)
