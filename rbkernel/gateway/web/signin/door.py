"""Where people sign in to the pages: the provider, the cookies, and who is signed in."""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import quote

from tornado.web import create_signed_value, decode_signed_value

from rbkernel.config import Settings
from rbkernel.errors import Unauthenticated
from rbkernel.execution.named_person import Person
from rbkernel.gateway.web.signin.providers import Flow, Provider, admitted, of
from rbkernel.gateway.web.signin.sessions import Sessions

CALLBACK = "/signin/callback"
# how long a sign-in at the provider may take, in days
_BEGUN_DAYS = 10 / (24 * 60)
_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Door:
    """The sign-in of the pages at an address that the configuration says, never a request.

    ``key`` signs the cookie of a sign-in that has begun, so a new start of the server ends it.
    """

    base: str
    is_secure: bool
    provider: Provider
    sessions: Sessions = field(default_factory=lambda: Sessions(clock=time.monotonic))
    key: bytes = field(default_factory=lambda: secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def made(cls, settings: Settings, base: str) -> Door:
        """Return the sign-in of the configuration, which must have one.

        Raises
        ------
        ConfigError
            The secret cannot be fetched.
        """
        signin = settings.pages.signin
        assert signin
        signin.secret()
        address = settings.gateway.address
        provider = of(signin, f"{address}{base}{CALLBACK}")
        return cls(base=base, is_secure=address.startswith("https:"), provider=provider)

    def cookie(self, name: str) -> str:
        """Return the full name of a cookie; with TLS, no other host can set it."""
        return f"{'__Host-' if self.is_secure else ''}rbkernel-{name}"

    def page(self, wanted: str) -> str:
        """Return the page to go to after the sign-in; the console, if it is none of these pages.

        >>> door = Door(base="/rbkernel", is_secure=True, provider=None)
        >>> [door.page(one) for one in ("/rbkernel/incidents/INC-1", "//evil.example", "/x", "")]
        ['/rbkernel/incidents/INC-1', '/rbkernel', '/rbkernel', '/rbkernel']
        """
        is_ours = re.fullmatch(rf"{self.base}(/[0-9A-Za-z-]+)*", wanted, re.ASCII)
        return wanted if is_ours else self.base

    def address(self, page: str) -> str:
        """Return the address at which people sign in who then go to a page."""
        return f"{self.base}/signin?to={quote(self.page(page), safe='/')}"

    def sealed(self, flow: Flow) -> str:
        """Return the cookie of a sign-in that begins."""
        return create_signed_value(self.key, "flow", json.dumps(asdict(flow))).decode()

    def flow(self, cookie: str, state: str) -> Flow:
        """Return the sign-in that this browser began.

        Raises
        ------
        Unauthenticated
            It began none, or another one, or too long ago.
        """
        text = decode_signed_value(self.key, "flow", cookie, max_age_days=_BEGUN_DAYS)
        found = Flow(**json.loads(text)) if text else None
        if not found or not secrets.compare_digest(found.state.encode(), state.encode()):
            raise Unauthenticated(
                "nobody was signed in: this browser did not begin this sign-in, or more than 10"
                " minutes ago",
                where="sign-in",
                next_step="open the page again, and sign in there; cookies must be allowed",
            )
        return found

    def enter(self, flow: Flow, code: str) -> str:
        """Sign in the person whom the provider names for a code; return the token of the session.

        Raises
        ------
        Unauthenticated
            The provider does not confirm who it is, or this person may not sign in.
        """
        settings = self.provider.settings
        name = admitted(settings, self.provider.finish(flow, code))
        person = Person(name=name, address=settings.place, identity=settings.identity)
        return self.sessions.begin(person, settings.session_hours * 3600)
