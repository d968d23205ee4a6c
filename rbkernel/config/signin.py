"""Read `[pages.oidc]` and `[pages.jupyterhub]`: where people sign in, and who may."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from rbkernel.config.addresses import must_protect_token
from rbkernel.config.people import NamesPeople, Said
from rbkernel.config.quantities import Hours
from rbkernel.config.words import AtField

Model = TypeVar("Model", bound="SignIn")
# in allowed_users: everybody whom the provider knows
EVERYBODY = "*"


def _base(url: str) -> str:
    """Return an address that others are made of, without a slash at its end."""
    must_protect_token(url)
    return url.rstrip("/")


class SignIn(NamesPeople):
    """A provider at which people sign in to the pages, as OAuth 2 defines it.

    Who may sign in, and so read all pages, is in ``allowed_users`` or in one of the
    ``allowed_groups``. A person is signed in for ``session_hours``.
    """

    client_id: Annotated[str, Field(min_length=1)]
    allowed_users: tuple[str, ...] = ()
    allowed_groups: tuple[str, ...] = ()
    session_hours: Annotated[Hours, Field(le=24)] = 8.0

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        if not (self.allowed_users or self.allowed_groups):
            raise ValueError(
                "says of nobody that they may sign in: name allowed_users or allowed_groups, or"
                f' everybody with allowed_users = ["{EVERYBODY}"]'
            )
        if EVERYBODY in self.allowed_groups:
            raise AtField(
                f'"{EVERYBODY}" is no group: for everybody, write allowed_users = ["{EVERYBODY}"]',
                "allowed_groups",
            )
        return self

    def admits(self, name: str, groups: Collection[str]) -> bool:
        """Return whether a person may sign in.

        >>> from rbkernel.config.signin import JupyterHub
        >>> hub = JupyterHub(url="https://hub.example.org", client_id="service-rbkernel",
        ...     secret_env="S", allowed_users=("ann",), allowed_groups=("sre",))
        >>> hub.admits("ann", ()), hub.admits("bob", ("sre",)), hub.admits("eve", ("dev",))
        (True, True, False)
        """
        everybody = EVERYBODY in self.allowed_users
        return everybody or name in self.allowed_users or bool({*groups} & {*self.allowed_groups})

    @property
    def place(self) -> str:
        """The address of the provider, as the record names it."""
        raise NotImplementedError


class OpenID(SignIn):
    """An OpenID Connect provider, found by the address of its ``issuer``.

    ``name_claim`` is the claim with the name of a person: the one that stands in the file of
    approvers. People must not be able to change it themselves. ``groups_claim`` is the claim with
    their groups. ``scopes`` are asked for in addition to ``openid``.
    """

    identity: ClassVar[Said] = "oidc"

    issuer: str
    name_claim: Annotated[str, Field(min_length=1)]
    groups_claim: str = "groups"
    scopes: tuple[str, ...] = ("profile", "email")

    _issuer_is_safe = field_validator("issuer")(_base)

    @property
    def place(self) -> str:
        """The address of the issuer."""
        return self.issuer


class JupyterHub(SignIn):
    """JupyterHub, of which `rbkernel serve` is a service: the Hub signs people in.

    ``url`` is the address of the Hub for browsers, with its path. ``api_url`` is the address of its
    API for rbkernel; by default, below ``url``.
    """

    identity: ClassVar[Said] = "jupyterhub"

    url: str
    api_url: str = ""

    _url_is_safe = field_validator("url")(_base)

    @field_validator("client_id")
    @classmethod
    def _is_a_service(cls, name: str) -> str:
        if not name.startswith("service-"):
            raise ValueError(f"{name!r} is no service of JupyterHub: give service-NAME")
        return name

    @field_validator("api_url")
    @classmethod
    def _api_is_safe(cls, url: str) -> str:
        return _base(url) if url else url

    @property
    def place(self) -> str:
        """The address of the Hub."""
        return self.url

    @property
    def api(self) -> str:
        """The address of the Hub's API."""
        return self.api_url or f"{self.url}/hub/api"
