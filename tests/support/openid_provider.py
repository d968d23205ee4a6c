"""A small OpenID Connect provider on loopback, of authlib's own server side, with a login page."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    OAuth2Error,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.models import AuthorizationCodeMixin
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import KeySet, RSAKey
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

CLIENT, SECRET = "rbkernel", "oidc-Tr0ub4dor-oidc-Tr0ub4dor-12+%"
PASSWORDS = {"ann": "a1", "bob": "b2", "eve": "e3", "dan": "d4"}
GROUPS = {"ann": ["sre"], "bob": ["sre"], "eve": ["sre"], "dan": ["dev"]}
_START_S = 20.0
_PAGE = (
    "<!doctype html><title>Log in</title><form method=post><label>User <input name=user></label>"
    "<label>Password <input name=password type=password></label><button>Log in</button>"
    "{said}</form>"
)


class _Payload(OAuth2Payload):  # type: ignore[misc]  # authlib has no types
    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    @property
    def data(self) -> dict[str, str]:
        return self._fields

    @cached_property
    def datalist(self) -> defaultdict[str, list[str]]:
        return defaultdict(list, {name: [value] for name, value in self._fields.items()})


class _Request(OAuth2Request):  # type: ignore[misc]  # authlib has no types
    def __init__(self, request: HTTPServerRequest) -> None:
        # on loopback without TLS, which the library refuses by the address
        uri = f"https://{request.host}{request.uri}"
        super().__init__(request.method or "", uri, headers=request.headers)
        every = {name: one[-1].decode() for name, one in request.arguments.items()}
        self._fields = {n: one[-1].decode() for n, one in request.body_arguments.items()}
        self.payload = _Payload(every)

    @property
    def args(self) -> dict[str, str]:
        return dict(self.payload.data)

    @property
    def form(self) -> dict[str, str]:
        return self._fields


class _Client(ClientMixin):  # type: ignore[misc]  # authlib has no types
    def __init__(self, callback: str) -> None:
        self._callback = callback

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self._callback

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self._callback

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class _Code(AuthorizationCodeMixin):  # type: ignore[misc]  # authlib has no types
    code: str
    user: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None: ...

    def get_amr(self) -> None: ...


@dataclass
class Provider:
    """The provider; tests change what it says: ``claims`` of the ID token, and its ``key``."""

    url: str = ""
    callback: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    published: RSAKey | None = None
    codes: dict[str, _Code] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @cached_property
    def server(self) -> AuthorizationServer:
        provider, client = self, _Client(self.callback)

        class Grant(AuthorizationCodeGrant):  # type: ignore[misc]  # authlib has no types
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

            def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
                said = request.payload.data
                pkce = ("code_challenge", "code_challenge_method")
                names = ("redirect_uri", "scope", "nonce", *pkce)
                fields = {name: said.get(name, "") for name in names}
                provider.codes[code] = _Code(code=code, user=request.user, **fields)

            def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
                return provider.codes.get(code)

            def delete_authorization_code(self, authorization_code: _Code) -> None:
                del provider.codes[authorization_code.code]

            def authenticate_user(self, authorization_code: _Code) -> str:
                return authorization_code.user

        class Code(OpenIDCode):  # type: ignore[misc]  # authlib has no types
            def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
                return any(one.nonce == nonce for one in provider.codes.values())

            def resolve_client_private_key(self, client: _Client) -> RSAKey:
                return provider.key

            def get_client_algorithm(self, client: _Client) -> str:
                return "RS256"

            def get_client_claims(self, client: _Client) -> dict[str, Any]:
                return {"iss": provider.url, "aud": [CLIENT]}

            def generate_user_info(self, user: str, scope: str) -> dict[str, Any]:
                return provider.info(user)

        class Server(AuthorizationServer):  # type: ignore[misc]  # authlib has no types
            def query_client(self, client_id: str) -> _Client | None:
                return client if client_id == CLIENT else None

            def save_token(self, token: dict[str, str], request: OAuth2Request) -> None:
                provider.tokens[token["access_token"]] = request.user

            def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None: ...

            def create_oauth2_request(self, request: HTTPServerRequest) -> OAuth2Request:
                return request if isinstance(request, OAuth2Request) else _Request(request)

            def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, Any]:
                return status, body, headers

        made = Server()
        made.register_grant(Grant, [CodeChallenge(required=True), Code(require_nonce=True)])
        made.register_token_generator("default", _bearer)
        return made

    def info(self, user: str) -> dict[str, Any]:
        """Return what the provider says of a person."""
        known = {"sub": f"id-of-{user}", "preferred_username": user, "groups": GROUPS[user]}
        return {**known, **self.claims}


def _bearer(**more: Any) -> dict[str, Any]:
    from secrets import token_urlsafe

    token = {"access_token": token_urlsafe(24), "token_type": "Bearer", "expires_in": 600}
    return {**token, "scope": more.get("scope") or ""}


class _Handler(RequestHandler):
    def initialize(self, provider: Provider) -> None:
        self.provider = provider

    def answer(self, made: tuple[int, Any, Any]) -> None:
        status, body, headers = made
        self.set_status(status)
        for name, value in headers:
            self.set_header(name, value)
        self.finish(json.dumps(body) if isinstance(body, dict) else str(body))


class _Discovery(_Handler):
    def get(self) -> None:
        url = self.provider.url
        self.finish(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/authorize?policy=ops",
                "token_endpoint": f"{url}/token/",
                "userinfo_endpoint": f"{url}/userinfo?policy=ops",
                "jwks_uri": f"{url}/keys",
            }
        )


class _Keys(_Handler):
    def get(self) -> None:
        key = self.provider.published or self.provider.key
        self.finish(dict(KeySet([key]).as_dict(private=False)))


class _Authorize(_Handler):
    def get(self, said: str = "") -> None:
        self.finish(_PAGE.format(said=escape(said)))

    def post(self) -> None:
        user = self.get_body_argument("user", "")
        if PASSWORDS.get(user) != self.get_body_argument("password", ""):
            self.get("wrong")
            return
        server, request = self.provider.server, _Request(self.request)
        try:
            grant = server.get_consent_grant(request, end_user=user)
        except OAuth2Error as error:
            self.answer(server.handle_error_response(request, error))
            return
        self.answer(server.create_authorization_response(request, user, grant))


class _Token(_Handler):
    def post(self) -> None:
        self.answer(self.provider.server.create_token_response(self.request))


class _UserInfo(_Handler):
    def get(self) -> None:
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.finish(self.provider.info(self.provider.tokens[token]))


@contextmanager
def openid_provider(callback: str = "") -> Iterator[Provider]:
    """Run the provider, whose client comes back to ``callback``, which may be set later.

    Its addresses are exact, as those of Django (a last slash) and Entra (a query).
    """
    started, ended = threading.Event(), asyncio.Event()
    provider, told = Provider(callback=callback), []

    async def serve() -> None:
        shared = {"provider": provider}
        places = {
            "/.well-known/openid-configuration": _Discovery,
            "/keys": _Keys,
            "/authorize": _Authorize,
            "/token/": _Token,
            "/userinfo": _UserInfo,
        }
        server = HTTPServer(Application([(one, way, shared) for one, way in places.items()]))
        server.listen(0, "127.0.0.1")
        [socket] = server._sockets.values()
        provider.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        told.append(asyncio.get_running_loop())
        started.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(_START_S)
    try:
        yield provider
    finally:
        told[0].call_soon_threadsafe(ended.set)
        thread.join(_START_S)
