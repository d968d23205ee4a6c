"""Ask a provider who a person is: OpenID Connect, and the OAuth 2 of JupyterHub.

The browser is sent to the provider with a state, a nonce and a PKCE challenge, and comes back with
a code. The code is exchanged for the name with the secret, which only `rbkernel serve` has. Nothing
that the browser brings is believed before the provider has confirmed it.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from rbkernel.config.addresses import must_protect_token
from rbkernel.config.signin import JupyterHub, OpenID, SignIn
from rbkernel.errors import ConfigError, Unauthenticated
from rbkernel.evidence import manifest
from rbkernel.sources.httpclient import HttpRequest, fetch

_TIMEOUT_S, _MOST_BYTES, _MOST_WORDS = 10.0, 1_000_000, 200
# the addresses of a provider hardly ever change; s
_KEPT_S = 300.0
# clocks differ; s
_LEEWAY_S = 60
# with a key pair only: whoever has the secret of a client could sign with HS256
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
_RANDOM_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A sign-in that has begun: what must come back, and the page to go to afterwards."""

    to: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES))


@dataclass(frozen=True, kw_only=True)
class Named:
    """A person as the provider named them, with their groups."""

    name: str
    groups: frozenset[str]


class Provider(Protocol):
    """A provider at which people sign in."""

    @property
    def settings(self) -> SignIn:
        """The configuration."""

    @property
    def callback(self) -> str:
        """The address that the browser comes back to."""

    def begin(self, flow: Flow) -> str:
        """Return the address to which the browser is sent."""

    def finish(self, flow: Flow, code: str) -> Named:
        """Return who has signed in, for the code that the browser brought."""


def of(settings: SignIn, callback: str) -> Provider:
    """Return the provider of the configuration; ``callback`` is the address to come back to."""
    if isinstance(settings, OpenID):
        return OpenIDProvider(settings=settings, callback=callback)
    assert isinstance(settings, JupyterHub)
    return Hub(settings=settings, callback=callback)


def admitted(settings: SignIn, named: Named) -> str:
    """Return the name of a person who may sign in.

    Raises
    ------
    Unauthenticated
        The name cannot be recorded, or this person may not sign in.
    """
    if not manifest.is_signer(named.name):
        raise _refused(
            settings,
            f"the provider says the name {named.name!r}",
            "use a claim whose values are letters, digits and . _ @ + - of ASCII (name_claim)",
        )
    if not settings.admits(named.name, named.groups):
        raise _refused(
            settings,
            f"{named.name} is not in allowed_users, nor in one of allowed_groups",
            "ask an administrator to add you, then sign in again",
        )
    return named.name


@dataclass(kw_only=True)
class OpenIDProvider:
    """An OpenID Connect provider. What it says of its addresses is kept for some minutes."""

    settings: OpenID
    callback: str
    _kept: tuple[float, Mapping[str, Any]] | None = None

    def begin(self, flow: Flow) -> str:
        """Return the address to which the browser is sent.

        Raises
        ------
        Unauthenticated
            The provider does not answer as one.
        """
        with _asking(self.settings, self.callback):
            asked = {"scope": " ".join(("openid", *self.settings.scopes)), "nonce": flow.nonce}
            return _begun(self, _place(self._said(), "authorization_endpoint"), flow, asked)

    def finish(self, flow: Flow, code: str) -> Named:
        """Return who has signed in.

        Raises
        ------
        Unauthenticated
            The provider does not confirm it, or what it says is not valid.
        """
        with _asking(self.settings, self.callback):
            said = self._said()
            token = _exchanged(self, _place(said, "token_endpoint"), flow, code)
            claims = self._claims(said, token, flow)
            name, groups = self.settings.name_claim, self.settings.groups_claim
            if not {name, groups} <= {*claims} and "userinfo_endpoint" in said:
                more = _answer("GET", _place(said, "userinfo_endpoint"), token)
                if more.get("sub") != claims["sub"]:
                    raise ValueError("its user info is about another person")
                claims = {**more, **claims}
            if name == "email" and claims.get("email_verified") is not True:
                raise ValueError("it did not verify the address of this person (email_verified)")
            return Named(name=_text(claims.get(name)), groups=_texts(claims.get(groups)))

    def _said(self) -> Mapping[str, Any]:
        if self._kept and time.monotonic() < self._kept[0]:
            return self._kept[1]
        said = _answer("GET", f"{self.settings.issuer}/.well-known/openid-configuration")
        if str(said.get("issuer", "")).rstrip("/") != self.settings.issuer:
            raise ValueError(f"it says that its issuer is {said.get('issuer')!r}")
        self._kept = (time.monotonic() + _KEPT_S, said)
        return said

    def _claims(
        self, said: Mapping[str, Any], token: Mapping[str, Any], flow: Flow
    ) -> dict[str, Any]:
        """Return the claims of the ID token, after the checks of OpenID Connect Core 3.1.3.7."""
        keys = KeySet.import_key_set(_answer("GET", _place(said, "jwks_uri")))  # type: ignore[arg-type]  # it checks the shape itself
        found = jwt.decode(str(token["id_token"]), keys, algorithms=_ALGORITHMS)
        client_id = self.settings.client_id
        claims = CodeIDToken(
            found.claims,
            found.header,
            options={
                "iss": {"essential": True, "value": str(said["issuer"])},
                "aud": {"essential": True, "value": client_id},
            },
            params={
                "nonce": flow.nonce,
                "client_id": client_id,
                "access_token": token.get("access_token"),
            },
        )
        claims.validate(leeway=_LEEWAY_S)
        return dict(claims)


@dataclass(kw_only=True)
class Hub:
    """JupyterHub, of which rbkernel is a service."""

    settings: JupyterHub
    callback: str

    def begin(self, flow: Flow) -> str:
        """Return the address to which the browser is sent."""
        return _begun(self, f"{self.settings.url}/hub/api/oauth2/authorize", flow, {})

    def finish(self, flow: Flow, code: str) -> Named:
        """Return who has signed in.

        Raises
        ------
        Unauthenticated
            The Hub does not confirm it, or this person has no right to use the service.
        """
        api, service = self.settings.api, self.settings.client_id.removeprefix("service-")
        with _asking(self.settings, self.callback):
            token = _exchanged(self, f"{api}/oauth2/token", flow, code, in_body=True)
            user = _answer("GET", f"{api}/user", token)
            if user.get("kind") != "user":
                raise ValueError(f"this is no person but a {user.get('kind')}")
        scopes = _texts(user.get("scopes"))
        if not scopes & {"access:services", f"access:services!service={service}"}:
            raise _refused(
                self.settings,
                f"{user.get('name')} may not use the service {service} of JupyterHub",
                f"give this person the scope access:services!service={service} in a role of the"
                " Hub",
            )
        return Named(name=_text(user.get("name")), groups=_texts(user.get("groups")))


def _begun(provider: Provider, place: str, flow: Flow, asked: Mapping[str, str]) -> str:
    return str(
        prepare_grant_uri(
            place,
            client_id=provider.settings.client_id,
            response_type="code",
            redirect_uri=provider.callback,
            state=flow.state,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
            **asked,
        )
    )


def _exchanged(
    provider: Provider, place: str, flow: Flow, code: str, *, in_body: bool = False
) -> dict[str, Any]:
    """Return what the provider gives for a code: the tokens.

    The secret is sent as a password; or ``in_body``, where the provider takes it only there.
    """
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.callback,
        "code_verifier": flow.verifier,
    }
    client, secret = provider.settings.client_id, provider.settings.secret().decode()
    if in_body:
        fields |= {"client_id": client, "client_secret": secret}
        return _answer("POST", place, form=fields)
    # RFC 6749 2.3.1: both are encoded before they are the user and the password
    return _answer("POST", place, form=fields, auth=(quote_plus(client), quote_plus(secret)))


def _answer(
    method: str, url: str, token: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return the JSON object that the provider answers; send it a person's token, if given."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token['access_token']}"
    request = HttpRequest(
        *(method, url, _TIMEOUT_S, _MOST_BYTES, headers), verify=_authorities(), **more
    )
    answer = fetch(request)
    if answer.code != HTTPStatus.OK or answer.cut:
        # the answer may be long and say anything: its first words are enough
        raise ValueError(f"{url} answered {answer.code}: {answer.body[:_MOST_WORDS]!r}")
    found = json.loads(answer.body)
    if not isinstance(found, dict):
        raise ValueError(f"the answer of {url} is no JSON object")  # noqa: TRY004
    return found


@cache
def _authorities() -> ssl.SSLContext:
    """Return the certificate authorities that are trusted; reading them takes a while."""
    return httpx.create_ssl_context()


@contextmanager
def _asking(settings: SignIn, callback: str) -> Iterator[None]:
    """Say in one way what goes wrong with a provider.

    Raises
    ------
    Unauthenticated
        The provider does not answer, refuses, or answers what is not valid.
    """
    try:
        yield
    except (httpx.HTTPError, OSError) as error:
        if isinstance(error, Unauthenticated):
            raise
        raise _refused(
            settings,
            f"{settings.place} does not answer: {error or type(error).__name__}",
            "check the address and the network of `rbkernel serve`, then sign in again",
        ) from error
    except (JoseError, ValueError, KeyError) as error:
        if isinstance(error, ConfigError):
            raise
        raise _refused(
            settings,
            f"{settings.place} does not confirm who this is: {_words(error)}",
            "sign in again; if it stays, compare client_id, secret and redirect URI"
            f" ({callback}) with those at the provider",
        ) from error


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its answer has no {error}"
    return str(error) or type(error).__name__


def _place(said: Mapping[str, Any], name: str) -> str:
    """Return an address that the provider says, exactly: a last slash or a query is part of it."""
    found = str(said[name])
    try:
        must_protect_token(found, query=True)
    except ValueError as error:
        raise ValueError(f"its {name} is not safe: {error}") from error
    return found


def _text(value: object) -> str:
    """Return a name; empty if it is none, so that nobody is called "None"."""
    return value if isinstance(value, str) else ""


def _texts(value: object) -> frozenset[str]:
    found = value if isinstance(value, list | tuple) else ()
    return frozenset(one for one in found if isinstance(one, str))


def _refused(settings: SignIn, why: str, next_step: str) -> Unauthenticated:
    return Unauthenticated(
        f"nobody was signed in: {why}", where=f"[pages.{settings.identity}]", next_step=next_step
    )
