"""Read `[pages.proxy]`: the proxy that says who a person is."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rbkernel.errors import ConfigError

_SHORTEST_SECRET = 32
_READABLE_BY_OTHERS = 0o077
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


class Proxy(BaseModel):
    """A proxy in front of the pages that authenticates people and sends their names.

    ``header`` holds the name of the person. It counts only in requests from one of the
    ``addresses`` (IP addresses or networks) with the shared secret in ``secret_header``. The secret
    comes from the variable ``secret_env`` or from ``secret_file``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    header: str = "X-Forwarded-User"
    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    secret_header: str = "X-Rbkernel-Proxy-Secret"  # noqa: S105  # the name of a header
    secret_env: str = ""
    secret_file: Path | None = None

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
    def _has_a_secret(self) -> Proxy:
        if bool(self.secret_env) == bool(self.secret_file):
            raise ValueError("give either secret_env or secret_file")
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

    def secret(self) -> bytes:
        """Fetch the secret that the proxy shares with rbkernel.

        Raises
        ------
        ConfigError
            It is not set or too short, or its file cannot be read, or other users can read it.
        """
        found = self._in_file() if self.secret_file else os.environ.get(self.secret_env, "")
        found = found.strip()
        if len(found) < _SHORTEST_SECRET:
            what = f"is shorter than {_SHORTEST_SECRET} characters" if found else "is not set"
            raise self._problem(
                f"the secret of the proxy {what}",
                f"set {self.secret_env or self.secret_file}, for example to the output of"
                " `openssl rand -hex 32`, here and in the proxy",
            )
        return found.encode()

    def _in_file(self) -> str:
        file = self.secret_file or Path()
        try:
            mode = file.stat().st_mode
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise self._problem(
                f"the secret of the proxy cannot be read: {error}", f"write it into {file}"
            ) from error
        if mode & _READABLE_BY_OTHERS:
            raise self._problem(
                "other users can read the secret of the proxy", f"run chmod 600 {file}"
            )
        return text

    @staticmethod
    def _problem(what: str, next_step: str) -> ConfigError:
        return ConfigError(what, where="[pages.proxy]", next_step=next_step)
