"""Read `[pages]`: who may read the pages of `rbkernel serve`, and the address of JupyterLab."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rbkernel.config.limits import LONGEST_LINK_H
from rbkernel.config.people import NamesPeople
from rbkernel.config.printed import printed_by
from rbkernel.config.proxy import Proxy
from rbkernel.config.quantities import Hours
from rbkernel.config.signin import JupyterHub, OpenID, SignIn
from rbkernel.errors import ConfigError

# half of an HMAC-SHA-256 is long enough not to be guessed
_SHORTEST_SECRET = 16


class Pages(BaseModel):
    """Access to the pages: by links that expire, or from this machine without a link.

    ``open_on_loopback`` lets all users of this machine read without a link; it is refused if other
    machines can reach the gateway. Links are signed with a secret. It comes from the
    variable ``link_secret_env`` or from a command; by default it is created once for this machine.
    ``proxy`` says who a person is, or people sign in at ``oidc`` or ``jupyterhub``; without one of
    them, nobody has a name that is more than typed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    open_on_loopback: bool = False
    link_hours: Annotated[Hours, Field(le=LONGEST_LINK_H)] = 72.0
    link_secret_env: str = ""
    link_secret_command: tuple[str, ...] = ()
    jupyter_url: str = ""
    proxy: Proxy | None = None
    oidc: OpenID | None = None
    jupyterhub: JupyterHub | None = None

    @field_validator("jupyter_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        # a port that is none raises an error, too
        bad = parts.scheme not in {"http", "https"} or not parts.netloc or parts.query
        if url and (bad or parts.port == 0):
            raise ValueError("give an address such as https://jupyter.example.org/user/alice")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_names_people(self) -> Pages:
        found = [one.identity for one in (self.proxy, self.oidc, self.jupyterhub) if one]
        if len(found) > 1:
            raise ValueError(
                f"[pages.{found[0]}] and [pages.{found[1]}] exclude each other: a person would have"
                " two names; keep one of them"
            )
        if found and self.open_on_loopback:
            raise ValueError(
                f"open_on_loopback and [pages.{found[0]}] exclude each other: every process of this"
                " machine can open the pages"
            )
        return self

    @property
    def naming(self) -> NamesPeople | None:
        """The table that says who a person is; None if nobody has a name."""
        return self.proxy or self.signin

    @property
    def signin(self) -> SignIn | None:
        """The provider at which people sign in; None if there is none."""
        return self.oidc or self.jupyterhub

    def link_secret(self) -> bytes | None:
        """Fetch the secret that signs links; None if the configuration names none.

        Raises
        ------
        ConfigError
            The secret is not set or too short, or its command failed.
        """
        if self.link_secret_env:
            return self._long_enough(os.environ.get(self.link_secret_env, ""))
        if not self.link_secret_command:
            return None
        return self._long_enough(
            printed_by(self.link_secret_command, "link_secret_command", "[pages]")
        )

    def _long_enough(self, secret: str) -> bytes:
        found = secret.strip().encode()
        if len(found) < _SHORTEST_SECRET:
            raise self._problem(
                "the secret for links is not set"
                if not found
                else f"the secret for links is shorter than {_SHORTEST_SECRET} bytes"
            )
        return found

    def _problem(self, what: str) -> ConfigError:
        name = self.link_secret_env
        return ConfigError(
            what,
            where="[pages]",
            next_step=f"set {name}, for example to the output of `openssl rand -hex 32`"
            if name
            else "run the command by hand and see why",
        )
